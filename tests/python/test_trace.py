"""Recordings of accesses, and what plays them back."""

from __future__ import annotations

import json
import threading
from array import array
from pathlib import Path

import devregs
import pytest
from devregs.testing import anything, expect, irq, read, write


def accesses(log: devregs.Trace) -> list[tuple]:
    return [(entry.op, entry.path, entry.value, entry.mask) for entry in log]


ALL = 2**32 - 1


def test_each_access_is_recorded_once_with_what_was_meant(kit):
    with kit.trace() as log:
        kit.CTRL.read()
        _ = kit.CTRL.MODE
        kit.CTRL.write(0x11)
        kit.CTRL.EN = 0
        kit.CTRL.modify(EN=1, MODE="FAST")
        kit["CH[3].DATA[1]"].write(5)
        kit.CTRL.wait(EN=1)
        kit.regions.regs.read(0x10)
        kit.regions.regs.write(0x14, 1, width=8)
    kit.CTRL.read()
    assert accesses(log) == [
        ("read", "CTRL", 0x8001_0031, ALL),
        ("read", "CTRL", 0x8001_0031, 0x70),
        ("write", "CTRL", 0x11, ALL),
        ("read", "CTRL", 0x11, 0),
        ("write", "CTRL", 0x10, 1),
        ("read", "CTRL", 0x10, 0),
        ("write", "CTRL", 0x31, 0x71),
        ("write", "CH[3].DATA[1]", 5, ALL),
        ("read", "CTRL", 0x31, 1),
        ("read", "regs+0x10", 0, ALL),
        ("write", "regs+0x14", 1, 0xFF),
    ]
    times = [entry.time for entry in log]
    assert times == sorted(times)
    assert log[6].fields == {"EN": 1, "MODE": "FAST"}
    assert (log[-1].named, log[-1].width, log[-1].region, log[-1].offset) == (
        False,
        8,
        "regs",
        0x14,
    )
    assert str(log[6]).split() == ["write", "CTRL", "0x0000_0031", "EN=1", "MODE=FAST"]
    assert [entry.op for entry in log[-3:]] == ["read", "read", "write"]
    with pytest.raises(IndexError, match="has 11 accesses, and no number 11"):
        log[11]


def test_blocks_are_recorded_word_by_word(kit):
    with kit.trace() as log:
        kit.regions.ram.write_from(bytes(range(8)), 16)
        kit.regions.ram.read_into(bytearray(8), 16)
    assert [(entry.op, entry.offset, entry.value) for entry in log] == [
        ("write", 16, 0x0302_0100),
        ("write", 20, 0x0706_0504),
        ("read", 16, 0x0302_0100),
        ("read", 20, 0x0706_0504),
    ]


def test_only_the_last_are_kept_where_there_is_a_limit(kit):
    with kit.trace(limit=2) as log:
        for value in range(5):
            kit.CTRL.write(value)
    assert ([entry.value for entry in log], log.dropped, len(log)) == ([3, 4], 3, 2)
    log.clear()
    assert (list(log), log.dropped) == ([], 0)


def test_traces_may_overlap_and_end_in_any_order(kit):
    first, second = kit.trace(), kit.trace()
    first.start()
    kit.CTRL.write(1)
    second.start()
    kit.CTRL.write(2)
    first.stop()
    kit.CTRL.write(3)
    second.stop()
    kit.CTRL.write(4)
    assert [[entry.value for entry in log] for log in (first, second)] == [[1, 2], [2, 3]]
    with pytest.raises(RuntimeError, match="started before"):
        first.start()


def test_a_fault_is_recorded(kit_map):
    with devregs.mock(kit_map) as dev, dev.trace() as log:
        dev.hw.CTRL.fail()
        with pytest.raises(devregs.BusError):
            dev.CTRL.read()
    assert (log[0].value, log[0].signal, str(log[0])) == (None, 7, "read   CTRL  failed: signal 7")


def test_threads_write_one_record(kit):
    with kit.trace() as log:
        threads = [
            threading.Thread(target=lambda: [kit.CTRL.read() for _ in range(2000)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(log) == 8000
    times = [entry.time for entry in log]
    assert max(times) < 60


def test_a_transcript_is_decoded(kit):
    with kit.trace() as log:
        kit.CTRL.modify(MODE="TURBO")
    lines = [line.split() for line in str(log).splitlines()]
    assert [line[2:] for line in lines] == [
        ["read", "CTRL", "0x8001_0031"],
        ["write", "CTRL", "0x8001_0071", "MODE=TURBO"],
    ]


# expectations


def test_expected_accesses_pass(kit):
    with expect(
        kit,
        write("CTRL", EN=1),
        read("STATUS").times(0, None),
        read("CTRL", returns=0x31),
        anything("COMMAND"),
        write("CTRL", 0x8001_0031),
    ):
        kit.CTRL.write(0x11)
        for _ in range(3):
            kit.STATUS.read()
        assert kit.CTRL.read() == 0x31
        kit.CTRL.write(0x8001_0031)
    kit.CH[0].CTRL.read()


@pytest.mark.parametrize(
    ("steps", "made"),
    [
        ([write("CTRL", EN=1)], lambda kit: kit.CTRL.write(0x10)),
        ([write("CTRL", 1)], lambda kit: kit.CTRL.read()),
        ([write("CTRL").times(2)], lambda kit: kit.CTRL.write(1)),
        ([write("CTRL").times(0, 1)], lambda kit: [kit.CTRL.write(1), kit.CTRL.write(1)]),
        ([read("CTRL"), write("CTRL")], lambda kit: kit.CTRL.write(1)),
        ([], lambda kit: kit.CTRL.read()),
        ([read("CTRL")], lambda kit: None),
        ([read("CTRL", EN=0)], lambda kit: kit.CTRL.read()),
        ([irq()], lambda kit: None),
        ([read("STATUS")], lambda kit: kit.regions.regs.read(4)),
    ],
)
def test_other_accesses_do_not(kit, steps, made):
    with pytest.raises(devregs.ExpectationError) as caught, expect(kit, *steps):
        made(kit)
    assert isinstance(caught.value, AssertionError)
    assert "expected" in str(caught.value)
    kit.CTRL.read()


def test_a_write_that_is_not_expected_is_not_made(kit):
    before = kit.CTRL.read()
    with pytest.raises(devregs.ExpectationError), expect(kit, write("CTRL", EN=1)):
        kit.CTRL.write(0)
    assert kit.CTRL.read() == before


def test_what_was_expected_and_what_was_made_stand_side_by_side(kit):
    steps = write("CTRL", EN=1), read("STATUS").times(1, None), write("COMMAND")

    def drive() -> None:
        with expect(kit, *steps):
            kit.CTRL.write(0x31)
            kit.STATUS.read()
            kit.CTRL.modify(MODE="FAST")

    with pytest.raises(devregs.ExpectationError) as caught:
        drive()
    lines = [line.split() for line in str(caught.value).splitlines()]
    assert " ".join(lines[0]) == "kit: access 3 is not that of what is expected"
    assert lines[1] == ["expected", "made"]
    assert lines[2][1:5] == ["write", "CTRL", "EN=1", "write"]
    assert lines[2][-3:] == ["0x0000_0031", "EN=1", "MODE=FAST"]
    assert lines[4][:4] == [">", "3", "read", "STATUS"]
    assert "| write COMMAND" in " ".join(lines[4])
    assert lines[4][-3:] == ["read", "CTRL", "0x0000_0031"]


def test_steps_that_make_no_sense(kit):
    for step, message in [
        (lambda: read("CTLR"), 'did you mean "CTRL"'),
        (lambda: read("CTRL", MOOD=1), 'did you mean "MODE"'),
        (lambda: write("CTRL", 2**32), "does not fit 32 bits"),
        (lambda: read("CH"), "is no register"),
        (lambda: read("CTRL").times(3, 1), "at least 3 and at most 1"),
    ]:
        with pytest.raises(devregs.MapError, match=message), expect(kit, step()):
            pass


def test_a_long_wait_for_wildcards_stays_quick(kit):
    """Steps without end beside each other: each access may be any of them."""
    steps = [read("STATUS").times(0, None)] * 5
    with expect(kit, *steps, write("CTRL"), anything()):
        for _ in range(5000):
            kit.STATUS.read()
        kit.CTRL.write(0)


# replay


@pytest.fixture
def recorded(kit_map, tmp_path: Path) -> str:
    """A session at a mock that becomes ready: polls, a write, an interrupt, a fault."""
    path = tmp_path / "session.jsonl"
    with devregs.mock(kit_map) as dev, dev.trace() as log:
        dev.hw.rule(on_write="CTRL.EN=1", after_reads=3, set={"STATUS.READY": 1}, interrupt=True)
        session(dev)
    log.save(path)
    return f"replay:{path}"


def session(dev: devregs.Device) -> None:
    dev.CTRL.EN = 1
    dev.STATUS.wait(READY=1, timeout=5)
    dev.irq.wait(timeout=1)
    dev.regions.regs.write(0x10, 7)
    with pytest.raises(devregs.WaitTimeout):
        dev.irq.wait(timeout=0.01)
    dev.STATUS.ERROR = 1


def test_a_recording_plays_the_same_session(kit_map, recorded):
    with devregs.open(kit_map, recorded) as dev:
        assert dev.irq
        session(dev)


def test_a_recording_has_no_views(kit_map, recorded):
    device = devregs.open(kit_map, recorded)
    with pytest.raises(devregs.AccessError, match="no view of a recording"):
        device.regions.regs.view()


def test_polls_may_be_more_or_fewer(kit_map, recorded):
    with devregs.open(kit_map, recorded) as dev:
        dev.CTRL.EN = 1
        assert dev.STATUS.READY == 0  # gives up early
        dev.irq.wait(timeout=1)
        dev.regions.regs.write(0x10, 7)
        with pytest.raises(devregs.WaitTimeout):
            dev.irq.wait(timeout=0.01)
        dev.STATUS.ERROR = 1
    with devregs.open(kit_map, recorded) as dev:
        dev.CTRL.EN = 1
        assert [dev.STATUS.READY for _ in range(9)] == [0] * 3 + [1] * 6
        dev.irq.wait(timeout=1)
        dev.regions.regs.write(0x10, 7)
        with pytest.raises(devregs.WaitTimeout):
            dev.irq.wait(timeout=1)
        dev.STATUS.ERROR = 1


def test_words_of_a_fifo_are_played_back_one_by_one(kit_map, tmp_path):
    """Each read took one: read once more or once less it is another session."""
    path = tmp_path / "words.jsonl"
    with devregs.mock(kit_map) as dev, dev.trace() as log:
        for word in (7, 8, 9):
            dev.hw.POP.push(word)
        assert [dev.POP.read() for _ in range(3)] == [7, 8, 9]
        dev.CTRL.read()
    log.save(path)

    def play(reads: int) -> list[int]:
        with devregs.open(kit_map, f"replay:{path}") as dev:
            words = [dev.POP.read() for _ in range(reads)]
            dev.CTRL.read()
            return words

    assert play(3) == [7, 8, 9]
    for reads in (4, 2, 0):
        with pytest.raises(devregs.ExpectationError, match=f"access {min(reads, 3) + 1} is not"):
            play(reads)


def test_a_fault_is_played_back_as_it_was(kit_map, tmp_path):
    path = tmp_path / "fault.jsonl"

    def fault(dev: devregs.Device) -> tuple[str, int | None]:
        with pytest.raises(devregs.BusError) as raised:
            dev.STATUS.read()
        return str(raised.value), raised.value.errno

    with devregs.mock(kit_map) as dev, dev.trace() as log:
        dev.hw.STATUS.fail()
        before = fault(dev)
    log.save(path)
    with devregs.open(kit_map, f"replay:{path}") as dev:
        assert fault(dev) == before


def test_a_recording_knows_which_fields_were_meant(kit_map, tmp_path):
    path = tmp_path / "fields.jsonl"
    with devregs.mock(kit_map) as dev, dev.trace() as log:
        dev.CTRL.modify(EN=0)
    log.save(path)
    with (
        pytest.raises(devregs.ExpectationError, match=r"write  CTRL  0x8001_0030  EN=0 +write"),
        devregs.open(kit_map, f"replay:{path}") as dev,
    ):
        dev.CTRL.modify(EN=1)


def test_words_of_a_region_that_is_a_fifo_are_played_back_one_by_one(kit_map, tmp_path):
    path = tmp_path / "words.jsonl"
    head = {"devregs-trace": 1, "map": "kit", "source": "uio:kit"}
    access = {"op": "read", "region": "fifo", "offset": "0x0", "width": 32}
    words = [{**access, "value": word} for word in (7, 8, 9)]
    path.write_text("".join(json.dumps(line) + "\n" for line in (head, *words)))
    buffer = array("I", [0] * 3)
    with devregs.open(kit_map, f"replay:{path}") as dev:
        dev.regions.fifo.read_into(buffer)
    assert buffer.tolist() == [7, 8, 9]
    for count in (4, 2):
        with (
            pytest.raises(devregs.ExpectationError, match="is not that of the recording"),
            devregs.open(kit_map, f"replay:{path}") as dev,
        ):
            dev.regions.fifo.read_into(array("I", [0] * count))


@pytest.mark.parametrize(
    ("other", "number"),
    [
        (lambda dev: dev.CTRL.write(1), 1),
        (lambda dev: [dev.CTRL.read(), dev.CTRL.write(0)], 2),
        (lambda dev: [dev.CTRL.modify(EN=1), dev.CTRL.read()], 3),
        (lambda dev: [dev.CTRL.modify(EN=1), dev.irq.wait(timeout=1)], 3),
        (lambda dev: dev.CTRL.modify(EN=1), 3),
    ],
)
def test_the_first_deviation_is_told(kit_map, recorded, other, number):
    with (
        pytest.raises(
            devregs.ExpectationError, match=f"access {number} is not that of the recording"
        ),
        devregs.open(kit_map, recorded) as dev,
    ):
        other(dev)


def test_a_recording_is_json_lines_that_a_person_can_read(recorded):
    lines = [
        json.loads(line) for line in Path(recorded.removeprefix("replay:")).read_text().splitlines()
    ]
    assert lines[0]["devregs-trace"] == 2
    assert (lines[0]["map"], lines[0]["source"], lines[0]["irq"]) == ("kit", "mock:", True)
    assert {**lines[2], "t": 0} == {
        "t": 0,
        "op": "write",
        "path": "CTRL",
        "value": "0x80010031",
        "mask": "0x1",
        "fields": {"EN": 1, "MODE": "FAST", "COUNT": 0x8001},
    }
    assert [line["count"] for line in lines[1:] if line["op"] == "irq"] == [1, 0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: ["{}", *lines[1:]], 'line 1: does not say "devregs-trace"'),
        (
            lambda lines: [lines[0].replace('"kit"', '"kat"')],
            'line 1: the recording is of a "kat", and the map',
        ),
        (lambda lines: [lines[0].replace(":2,", ":9,", 1)], "is of format 9"),
        (lambda lines: [*lines[:2], "nonsense"], "line 3: is no JSON"),
        (lambda lines: [*lines[:2], "[]"], "line 3: is no JSON object"),
        (
            lambda lines: [*lines[:2], '{"op":"jump"}'],
            'line 3: "op" is "read", "write" or "irq", not "jump"',
        ),
        (
            lambda lines: [*lines[:2], '{"op":"read","path":"CTLR","value":"0x1"}'],
            'did you mean "CTRL"',
        ),
        (
            lambda lines: [*lines[:2], '{"op":"read","path":"CTRL","value":"0x1_0000_0000"}'],
            "does not fit 32 bits",
        ),
        (lambda lines: [*lines[:2], '{"op":"read","path":"CTRL"}'], 'line 3: has no "value"'),
        (
            lambda lines: [lines[0].replace('"dropped":0', '"dropped":3')],
            "lacks its first 3 accesses",
        ),
    ],
)
def test_a_damaged_recording_is_refused_with_the_place(kit_map, recorded, damage, message):
    path = Path(recorded.removeprefix("replay:"))
    path.write_text("\n".join(damage(path.read_text().splitlines())) + "\n")
    with pytest.raises(devregs.SourceError) as caught:
        devregs.open(kit_map, recorded)
    assert message in str(caught.value)


def test_a_recording_that_is_not_there_or_empty(kit_map, tmp_path):
    (tmp_path / "empty").touch()
    for path, message in [
        ("/no/such/file", "there is no such file"),
        (tmp_path / "empty", "is empty"),
    ]:
        with pytest.raises(devregs.SourceError, match=message):
            devregs.open(kit_map, f"replay:{path}")


def test_what_cannot_be_recorded_or_saved(kit, tmp_path):
    with pytest.raises(
        devregs.MapError, match=r"trace\(\): how many accesses to keep: -0x1 does not"
    ):
        kit.trace(-1)
    with pytest.raises(TypeError, match="how many accesses to keep: an integer"):
        kit.trace(1.5)
    path = tmp_path / "log"
    with pytest.raises(RuntimeError, match="never started"):
        kit.trace().save(path)
    assert not path.exists()
    with kit.trace(0) as log:
        kit.CTRL.read()
    assert (len(log), log.dropped) == (0, 1)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        log.save(tmp_path / "nowhere" / "log")
    with pytest.raises(ValueError, match="NUL"):
        log.save("a\0b")
