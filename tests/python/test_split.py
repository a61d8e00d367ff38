"""A register that the bus carries in several accesses: mock, trace, expectation and recording have each of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import devregs
import pytest
from devregs.testing import ExpectationError, anything, expect, read, write

MAP = """
[device]
name = "m"
[regions.r]
size = 0x100
[regions.r.registers.S]
offset = 4
width = 64
split = "{split}"
byte-order = "{order}"
fields.LOW = "7:0"
fields.ACROSS = {{ bits = "35:28", values = {{ FEW = 1, MANY = 0xc3 }} }}
fields.HIGH = {{ bits = "63:56", values = {{ ON = 0x12 }} }}
[regions.r.registers.PLAIN]
offset = 0
"""

VALUE = 0x1234_567C_3ABC_DEF0


@pytest.fixture(params=["low-first little", "high-first little", "low-first big"])
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    split, order = request.param.split()
    return split, order


@pytest.fixture
def make(tmp_path: Path, kind: tuple[str, str]) -> Callable[..., Any]:
    def make(more: str = "", **options: Any) -> Any:
        path = tmp_path / "m.toml"
        path.write_text(MAP.format(split=kind[0], order=kind[1]) + more)
        return devregs.mock(path, **options)

    return make


def halves(kind: tuple[str, str], value: int) -> list[tuple[int, int, int, int]]:
    """Offset, width, lowest bit and value of each access, in their order."""
    split, order = kind
    low = (4 if order == "little" else 8, 32, 0, value & 0xFFFF_FFFF)
    high = (8 if order == "little" else 4, 32, 32, value >> 32)
    return [low, high] if split == "low-first" else [high, low]


def shown(log: devregs.Trace) -> list[tuple]:
    return [(entry.offset, entry.width, entry.lsb, entry.value) for entry in log]


def test_a_trace_has_each_access(make, kind):
    dev = make()
    with dev.trace() as log:
        dev.S.write(VALUE)
        assert dev.S.read() == VALUE
    assert shown(log) == halves(kind, VALUE) * 2
    assert [(entry.op, entry.path) for entry in log] == [("write", "S")] * 2 + [("read", "S")] * 2
    low, high = sorted(log[:2], key=lambda entry: entry.lsb)
    # A field that no access carries by itself is in none.
    assert (low.fields, high.fields) == ({"LOW": 0xF0}, {"HIGH": "ON"})
    assert "S[31:0]  0x3abc_def0  LOW=0xf0" in str(low)
    assert "S[63:32]  0x1234_567c  HIGH=ON" in str(high)


def test_a_field_write_loads_and_stores_both_and_means_one(make, kind):
    dev = make()
    dev.S.write(VALUE)
    with dev.trace() as log:
        dev.S.LOW = 0x11
    after = VALUE & ~0xFF | 0x11
    assert shown(log) == halves(kind, VALUE) + halves(kind, after)
    assert {entry.lsb: entry.mask for entry in log[2:]} == {0: 0xFF, 32: 0}
    assert [entry.mask for entry in log[:2]] == [0, 0]


def test_one_line_expects_all_of_its_accesses(make):
    dev = make()
    dev.S.write(VALUE)
    with expect(dev, read("S"), write("S", 5), read("S", 5).times(0, None), write("PLAIN")):
        dev.S.read()
        dev.S.write(5)
        dev.S.read()
        dev.S.read()
        dev.PLAIN.write(1)
    with expect(dev, read("S", returns=VALUE).times(2), anything("S"), read("PLAIN")):
        assert [dev.S.read(), dev.S.read()] == [VALUE, VALUE]
        dev.S.write(7)
        dev.S.read()
        dev.PLAIN.read()
    with expect(dev, write("S", HIGH="ON"), anything()):
        dev.S.write(VALUE)
        dev.S.LOW = 1


@pytest.mark.parametrize("bit", [0, 63])
def test_a_wrong_half_is_another_access_and_is_not_made(make, bit):
    dev = make()
    with (
        pytest.raises(ExpectationError, match=r"write  S  0x1234_567c_3abc_def0"),
        expect(dev, write("S", VALUE)),
    ):
        dev.S.write(VALUE ^ 1 << bit)
    with pytest.raises(ExpectationError, match="nothing more"), expect(dev, read("S")):
        _ = [dev.S.read(), dev.S.read()]


def test_a_recording_has_each_access_and_plays(make, kind, tmp_path):
    dev = make("[[behaviour]]\non-read = 'PLAIN'\nset = { S = 'S + 1' }\n")
    with dev.trace() as log:
        for _ in range(3):
            dev.S.read()
        dev.S.write(VALUE)
        dev.S.LOW = 1
        dev.PLAIN.write(1)
    log.save(tmp_path / "s.jsonl")
    head, *lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert head["devregs-trace"] == 2
    assert {line.get("bits") for line in lines} == {"31:0", "63:32", None}
    # Reads in a row may be fewer, or more.
    for times in (1, 3, 5):
        with devregs.open(dev.map, f"replay:{tmp_path / 's.jsonl'}") as replayed:
            for _ in range(times):
                assert replayed.S.read() == 0
            replayed.S.write(VALUE)
            replayed.S.LOW = 1
            replayed.PLAIN.write(1)
    with (
        pytest.raises(ExpectationError, match=r"S\[\d+:\d+\]"),
        devregs.open(dev.map, f"replay:{tmp_path / 's.jsonl'}") as replayed,
    ):
        replayed.S.write(replayed.S.read() + VALUE ^ 1)


def test_a_recording_of_the_first_format_plays(make, tmp_path):
    dev = make()
    file = tmp_path / "old.jsonl"
    lines = [
        {"devregs-trace": 1, "map": "m", "source": "mock:", "begun": 0.0, "irq": False},
        {"t": 0.0, "op": "read", "path": "S", "value": f"{VALUE:#x}"},
        {"t": 0.0, "op": "read", "path": "S", "value": "0x5", "mask": "0xff"},
        {"t": 0.0, "op": "write", "path": "S", "value": "0x7"},
        {"t": 0.0, "op": "read", "path": "S", "signal": 7, "code": 2},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with devregs.open(dev.map, f"replay:{file}") as old:
        assert old.S.read() == VALUE
        assert old.S.LOW == 5
        old.S.write(7)
        with pytest.raises(devregs.BusError):
            old.S.read()


@pytest.mark.parametrize(
    ("head", "line", "message"),
    [
        ({}, {"bits": "63:0"}, r"its accesses are (31:0 and 63:32|63:32 and 31:0)"),
        ({}, {"bits": "31:0", "value": "0x100000000"}, "does not fit 32 bits"),
        ({"devregs-trace": 3}, {}, "format 3.*formats 1 to 2"),
    ],
)
def test_a_recording_that_is_wrong_says_so(make, tmp_path, head, line, message):
    dev = make()
    file = tmp_path / "wrong.jsonl"
    first = {"devregs-trace": 2, "map": "m", "source": "mock:", "irq": False} | head
    second = {"t": 0.0, "op": "read", "path": "S", "value": "0x1"} | line
    file.write_text(json.dumps(first) + "\n" + json.dumps(second) + "\n")
    with pytest.raises(devregs.SourceError, match=message):
        devregs.open(dev.map, f"replay:{file}")


def test_hooks_and_rules_come_once_with_all_of_it(make):
    dev = make(
        "[[behaviour]]\non-write = 'S'\nset = { PLAIN = '(written >> 32) + (old & 0xff)' }\n"
        "[[behaviour]]\non-write = 'S.HIGH=0x34'\nset = { PLAIN = '99' }\n"
    )
    written, asked = [], []
    dev.hw["S"].on_write(written.append)
    dev.hw["S"].on_read(lambda value: asked.append(value))
    dev.S.write(VALUE)
    assert dev.PLAIN.read() == 0x1234_567C
    dev.S.write(0x34 << 56)
    assert dev.PLAIN.read() == 99
    dev.S.write(0)
    assert written == [VALUE, 0x34 << 56, 0]
    dev.S.read()
    assert asked == [0]
    # A hook of bits that one access carries sees those.
    high = []
    dev.hw["S.HIGH"].on_write(high.append)
    dev.S.write(VALUE)
    assert high == [0x12]
    answers = iter([VALUE, 3])
    dev.hw["S"].on_read(lambda value: next(answers))
    assert [dev.S.read(), dev.S.read()] == [VALUE, 3]


def test_a_wide_fifo_moves_whole_words(make):
    dev = make(
        '[regions.r.registers.F]\noffset = 0x20\nwidth = 64\nsplit = "high-first"\nfifo = 2\n'
    )
    dev.hw.F.push(VALUE, 5)
    assert [dev.F.read(), dev.F.read(), dev.F.read()] == [VALUE, 5, 0]
    dev.F.write(VALUE)
    dev.F.write(6)
    assert dev.hw.F.pop_all() == [VALUE, 6]


def test_effects_come_with_each_access(make, kind):
    dev = make(
        '[regions.r.registers.C]\noffset = 0x20\nwidth = 64\nsplit = "low-first"\non-read = "clear"\n'
        '[regions.r.registers.W]\noffset = 0x28\nwidth = 64\nsplit = "low-first"\non-write = "one-to-clear"\nfields.TOP = "63:60"\n'
    )
    dev.hw.C.write(VALUE)
    assert dev.C.read() == VALUE
    assert dev.C.read() == 0
    dev.hw.W.write(VALUE)
    dev.W.write(0xF000_0000_0000_00FF)
    assert dev.W.read() == VALUE & ~0xF000_0000_0000_00FF


def test_a_fault_of_the_second_access_leaves_the_first_one_done(make, kind):
    dev = make()
    seen = []
    dev.hw["S"].on_write(seen.append)
    first, second = halves(kind, VALUE)
    part = "S.LOW" if second[2] == 0 else "S.HIGH"
    dev.hw[part].fail(1)
    with pytest.raises(devregs.BusError) as failed, dev.trace() as log:
        dev.S.write(VALUE)
    assert (failed.value.offset, failed.value.width) == (second[0], 32)
    assert "m.S: the bus answered a 32-bit write" in str(failed.value)
    assert [entry.signal is not None for entry in log] == [False, True]
    assert dev.hw.S.read() == first[3] << first[2]
    # The write did not end: nobody is told of it.
    assert seen == []
    dev.S.write(VALUE)
    assert seen == [VALUE]
    dev.hw[part].fail(1)
    with pytest.raises(devregs.BusError) as failed:
        dev.S.read()
    assert failed.value.offset == second[0]
    assert dev.S.read() == VALUE


def test_a_neighbour_over_one_half_has_its_own(make, kind):
    more = "[regions.r.registers.OVER]\noffset = 8\noverlaps = true\n"
    dev = make(more)
    calls = []
    dev.hw["OVER"].on_write(lambda value: calls.append(("OVER", value)))
    dev.hw["S"].on_write(lambda value: calls.append(("S", value)))
    dev.S.write(VALUE)
    dev.OVER.write(7)
    assert (dev.S.read(), dev.OVER.read()) == (VALUE, 7)
    assert calls == [("S", VALUE), ("OVER", 7)]
    # By offset a write is of both, and of S one half.
    calls.clear()
    dev.regions.r.write(8, 0x99)
    high = kind[1] == "little"
    word = 0x99 if dev.regions.r.byte_order == kind[1] else 0x9900_0000
    assert dev.OVER.read() == 0x99
    assert calls == [("S", word << 32 if high else word), ("OVER", 0x99)]
    dev.hw["OVER"].fail()
    assert dev.S.read() == (
        VALUE & 0xFFFF_FFFF | word << 32 if high else VALUE & ~0xFFFF_FFFF | word
    )
    with pytest.raises(devregs.BusError):
        dev.OVER.read()


def test_coverage_counts_registers_and_knows_fields_across(make):
    with devregs.coverage.collect() as coverage:
        dev = make()
        dev.hw.S.write(1 << 28)
        dev.S.read()
        dev.hw["S.HIGH"].fail(1)
        with pytest.raises(devregs.BusError):
            dev.S.write(0xC3 << 28)
        dev.S.ACROSS = "MANY"
    entry = coverage.maps[0]
    assert entry.counts["values seen"][0] == 2
    assert entry.counts["registers written"][0] == 1


def test_on_a_real_file_it_is_the_same(tmp_path, kind):
    memory = tmp_path / "m.bin"
    memory.write_bytes(bytes(0x1000))
    path = tmp_path / "m.toml"
    path.write_text(MAP.format(split=kind[0], order=kind[1]))
    with devregs.open(path, f"file:{memory}") as dev:
        dev.S.write(VALUE)
        dev.S.LOW = 0x11
        dev.S.modify(HIGH=0xAB)
        value = VALUE & 0x00FF_FFFF_FFFF_FF00 | 0xAB << 56 | 0x11
        assert (dev.S.read(), dev.S.LOW, dev.S.ACROSS) == (value, 0x11, 0xC3)
        assert memory.read_bytes()[4:12] == value.to_bytes(8, kind[1])
        with dev.trace() as log:
            dev.S.read()
        assert shown(log) == halves(kind, value)
