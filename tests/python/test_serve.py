"""The live stand-in: what one program writes, the mock and another program see."""

from __future__ import annotations

import gc
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import devregs
import pytest
from devregs.testing import serve, serve_board

PAGE = os.sysconf("SC_PAGESIZE")
EXAMPLES = Path(__file__).parents[2] / "examples/standin"
ENGINE = EXAMPLES / "engine.toml"


def until(true, seconds: float = 5.0) -> None:
    """Waits for something that another process or thread does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.001)


def settled(made) -> None:
    """Waits until the stand-in has looked again, so that what was written before is done."""
    seen = []
    made.hw["NOTE[3]"].on_write(seen.append)
    with devregs.open(ENGINE, made.source, root=made.root) as other:
        for value in (1, 2):
            other.NOTE[3].write(value)
            until(lambda value=value: value in seen)


def child(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def engine():
    with serve(ENGINE) as made:
        yield made


@pytest.fixture
def other(engine):
    """The stand-in as another program has it: through the files, not through the mock."""
    with devregs.open(ENGINE, engine.source, root=engine.root) as device:
        yield device


# what others write


def test_a_second_process_drives_the_device(engine):
    script = """
import sys, devregs
with devregs.open(sys.argv[1], sys.argv[2], root=sys.argv[3]) as engine:
    engine.NOTE[1].write(0x1234)
    engine.CTRL.modify(START=1, MODE=5)
    engine.STATUS.wait(BUSY=1, timeout=5)
    engine.EVENTS.wait(DONE=1, timeout=5)
    engine.CTRL.wait(START=0, MODE=5, timeout=5)
    print(engine.STATUS.RUNS, engine.NOTE[2].read())
"""
    engine.hw["NOTE[2]"].write(0x5678)
    done = child(script, ENGINE, engine.source, engine.root)
    assert (done.stderr, done.stdout) == ("", f"1 {0x5678}\n")
    assert engine.hw["NOTE[1]"].read() == 0x1234
    assert engine.hw.STATUS.RUNS == 1


def test_one_to_clear_by_another_program(engine, other):
    engine.hw.EVENTS.write(3)
    other.EVENTS.wait(DONE=1, ERROR=1, timeout=5)
    other.EVENTS.DONE = 1
    other.EVENTS.wait(DONE=0, timeout=5)
    assert engine.hw.EVENTS.read() == 2
    assert other.EVENTS.read() == 2


def test_a_write_of_what_is_shown_is_not_seen_and_with_a_mark_it_is():
    for mark, left in (False, 1), (True, 0):
        with serve(ENGINE, mark=mark) as made:
            made.hw.EVENTS.DONE = 1
            with devregs.open(ENGINE, made.source, root=made.root) as other:
                other.EVENTS.wait(DONE=1, timeout=5)
                assert other.EVENTS.read() >> 31 == mark
                other.EVENTS.DONE = 1
                settled(made)
                assert made.hw.EVENTS.DONE == other.EVENTS.DONE == left
                assert other.EVENTS.read() >> 31 == mark


def test_any_value_written_to_a_write_only_register_is_seen(engine, other):
    for value in (0, 0, 1, 0xFFFF_FFFF):
        engine.hw.EVENTS.write(1)
        other.EVENTS.wait(DONE=1, timeout=5)
        other.ACK.write(value)
        other.EVENTS.wait(DONE=0, timeout=5)
    assert engine.hw.ACK.read() == 0xFFFF_FFFF


def test_what_software_may_only_read_stays(engine, other):
    engine.hw.STATUS.RUNS = 7
    other.STATUS.wait(RUNS=7, timeout=5)
    with engine["engine"].node.open("r+b") as file, mmap.mmap(file.fileno(), PAGE) as raw:
        raw[4] = 0xFF
        until(lambda: raw[4] == 0)
    assert engine.hw.STATUS.read() == 0x700


def test_this_process_and_others_use_it_at_once(engine, other):
    own = engine[0].device
    own.CTRL.modify(START=1, MODE=2)
    other.CTRL.wait(START=0, MODE=2, timeout=5)
    other.CTRL.MODE = 6
    until(lambda: own.CTRL.MODE == 6)
    own.EVENTS.wait(DONE=1, timeout=5)
    own.EVENTS.DONE = 1
    other.EVENTS.wait(DONE=0, timeout=5)


def test_hooks_and_rules_that_a_test_adds(engine, other):
    seen = []
    engine.hw["CTRL.MODE"].on_write(seen.append)
    engine.hw.rule(on_write="NOTE[0]", set={"NOTE[1]": "written + 1"})
    other.CTRL.MODE = 4
    other.NOTE[0].write(41)
    until(lambda: other.NOTE[1].read() == 42)
    until(lambda: seen == [4])


def test_the_device_resets_itself(tmp_path):
    path = tmp_path / "engine.toml"
    path.write_text(
        ENGINE.read_text() + '\n[[behaviour]]\non-write = "NOTE[3]=0xdead"\nreset = true\n'
    )
    with serve(path) as made, devregs.open(path, made.source, root=made.root) as other:
        other.CTRL.MODE = 3
        made.hw.EVENTS.ERROR = 1
        other.EVENTS.wait(ERROR=1, timeout=5)
        other.NOTE[3].write(0xDEAD)
        other.EVENTS.wait(ERROR=0, timeout=5)
        other.CTRL.wait(MODE=0, timeout=5)


ODD = """
[device]
name = "odd"
[regions.regs]
size = 0x40
registers.TX = { offset = 0x0, width = 8, access = "wo", fifo = 4 }
registers.RX = { offset = 0x0, width = 8, access = "ro" }
registers.BIG = { offset = 0x4, width = 16, byte-order = "big", access = "w1t", fields.LOW = "7:0" }
registers.WIDE = { offset = 0x8, width = 64, split = "low-first", fields.GO = { bits = 0, self-clear = true }, fields.REST = "63:1" }
registers.CHECK = { offset = 0x10, access = "ro" }
[[behaviour]]
assign = { CHECK = "BIG ^ 0xffff" }
"""


def test_widths_byte_orders_and_registers_that_share_an_address(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text(ODD)
    with serve(path) as made, devregs.open(path, made.source, root=made.root) as other:
        made.hw.RX.write(0x42)
        until(lambda: other.RX.read() == 0x42)
        other.TX.write(0x11)
        until(lambda: made.hw.TX.sent == 1)
        until(lambda: other.RX.read() == 0x42)
        other.TX.write(0x12)
        until(lambda: made.hw.TX.sent == 2)
        assert made.hw.TX.pop_all() == [0x11, 0x12]
        other.BIG.write(0x0102)
        until(lambda: made.hw.BIG.read() == 0x0102)
        other.BIG.write(0x0300)
        until(lambda: other.BIG.read() == 0x0202)
        until(lambda: other.CHECK.read() == 0xFDFD)
        other.WIDE.write(0x1122_3344_5566_7789)
        until(lambda: other.WIDE.read() == 0x1122_3344_5566_7788)
        assert made.hw.WIDE.REST == 0x1122_3344_5566_7788 >> 1


# interrupts


def test_interrupts_reach_other_processes(engine):
    script = """
import sys, devregs
with devregs.open(sys.argv[1], sys.argv[2], root=sys.argv[3]) as engine:
    engine.MASK.write(1)
    for run in range(3):
        engine.CTRL.START = 1
        assert engine.irq.wait(timeout=5) == 1, run
        engine.ACK.write(0)
        engine.EVENTS.wait(DONE=0, timeout=5)
    print(engine.irq.count, engine.irq.missed)
    try:
        engine.irq.wait(timeout=0.05)
    except devregs.WaitTimeout:
        print("none")
"""
    done = child(script, ENGINE, engine.source, engine.root)
    assert (done.stderr, done.stdout) == ("", "3 0\nnone\n")
    # Who comes later has not had them.
    until(lambda: (engine[0].sysfs / "event").read_text() == "3\n")
    with devregs.open(ENGINE, engine.source, root=engine.root) as late:
        assert late.irq.count == 3
        with pytest.raises(devregs.WaitTimeout):
            late.irq.wait(timeout=0.02)


def test_an_end_while_another_program_waits():
    with serve(ENGINE) as made:
        device = devregs.open(ENGINE, made.source, root=made.root)
    with pytest.raises(devregs.SourceError, match="gone"):
        device.irq.wait(timeout=5)
    device.close()


def test_a_plain_file_has_no_interrupt_and_stays_as_it_is(engine):
    node = engine[0].node
    (node.parent / "uio0.irq").unlink()
    with devregs.open(ENGINE, engine.source, root=engine.root) as device:
        assert not device.irq
        with pytest.raises(devregs.SourceError, match=r"plain file.*no interrupt.*register.wait"):
            device.irq.wait(timeout=0.01)
        assert device.CTRL.read() == 0


# layout


BANKS = f"""
[device]
name = "banks"
compatible = ["acme,banks", "pci:1234:5678"]
[regions.a]
size = {3 * PAGE}
[regions.a.registers.A]
offset = {2 * PAGE}
access = "w1s"
fields.X = 0
[regions.b]
uio-map = 1
offset = 0x40
size = {PAGE}
registers.B = {{ offset = 0, fields.GO = {{ bits = 0, self-clear = true }} }}
[regions.c]
uio-map = "named"
size = 0x20
registers.C = {{ offset = 0x10 }}
[regions.d]
pci-bar = 2
size = 0x20
registers.D = {{ offset = 0x10, reset = 0xdd }}
"""


def test_maps_of_several_pages_do_not_overlap(tmp_path):
    path = tmp_path / "banks.toml"
    path.write_text(BANKS)
    with serve(path) as made, devregs.open(path, made.source, root=made.root) as other:
        for name in "ABCD":
            other[name].write(0x11 * (int(name, 16)))
        until(lambda: made.hw.A.read() == 0xAA & 1 | 0xAA)
        assert other.B.read() == 0xBB & ~1
        assert [made.hw[name].read() for name in "CD"] == [0xCC, 0xDD]
        # A program that does as the kernel's manual says: map N is at N pages, and `offset` further.
        for number, register, value in (1, 0x40, 0xBA), (2, 0x10, 0xDD), (3, 0x10, 0xCC):
            folder = made[0].sysfs / f"maps/map{number}"
            size, offset = (int((folder / name).read_text(), 16) for name in ("size", "offset"))
            with (
                made[0].node.open("r+b") as file,
                mmap.mmap(file.fileno(), size, offset=number * PAGE) as raw,
            ):
                assert raw[offset + register] == value
        names = [(made[0].sysfs / f"maps/map{n}/name").read_text() for n in range(4)]
        assert names == ["banks\n", "banks\n", "BAR2\n", "named\n"]
        found = devregs.scan(made.root)
        assert [entry["name"] for entry in found] == ["banks"]
        assert "acme,banks" in found[0]["compatible"]


def test_a_board(tmp_path):
    board = tmp_path / "lab.toml"
    board.write_text(
        f'[devices.one]\nmap = "{ENGINE}"\nsource = "uio:labengine"\n'
        f'[devices.two]\nmap = "{ENGINE}"\nsource = "uio:0"\n'
        '[devices.gpio]\nmap = "pl061"\nsource = "uio:labgpio"\n'
    )
    with serve_board(board) as made:
        assert [served.number for served in made] == [1, 0, 2]
        with devregs.open_board(board, root=made.root) as lab:
            lab.one.CTRL.START = 1
            lab.one.EVENTS.wait(DONE=1, timeout=5)
            assert lab.two.EVENTS.read() == 0
            assert made["uio:labgpio"].hw["DIR"].read() == 0
            lab.gpio.DIR.write(3)
            assert made["uio:labgpio"].hw["DIR"].read() == 3
    for source, message in ("mem:0x1000", "only UIO"), ("uio:0", "two devices"):
        board.write_text(
            f'[devices.a]\nmap = "pl061"\nsource = "{source}"\n'
            '[devices.b]\nmap = "pl061"\nsource = "uio:0"\n'
        )
        with pytest.raises(devregs.SourceError, match=message), serve_board(board, tmp_path / "at"):
            pass
        assert not (tmp_path / "at").exists()


# the folder


def test_nothing_is_left_behind(tmp_path):
    before = set(Path("/proc/self/fd").iterdir())
    with serve(ENGINE, tmp_path / "new/at") as made:
        assert made.root == tmp_path / "new/at"
    assert list((tmp_path / "new").iterdir()) == []
    own = tmp_path / "own"
    own.mkdir()
    with pytest.raises(KeyError), serve(ENGINE, own):
        raise KeyError
    assert list(own.iterdir()) == []
    with serve(ENGINE) as made:
        root = made.root
    assert not root.exists()
    del made
    gc.collect()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(devregs.SourceError, match=r"something else in it \(thesis.txt\)"),
        serve(ENGINE, tmp_path),
    ):
        pass
    with (
        pytest.raises(devregs.SourceError, match=r"thesis\.txt"),
        serve(ENGINE, tmp_path / "thesis.txt"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_others_put_there_meanwhile_stays(tmp_path):
    with serve(ENGINE, tmp_path / "at") as made:
        (made.root / "dev/thesis.txt").write_text("years of work")
    left = [path for path in (tmp_path / "at").rglob("*") if path.is_file()]
    assert left == [tmp_path / "at/dev/thesis.txt"]


def test_a_folder_is_served_by_one_process_and_taken_over_from_a_dead_one(tmp_path):
    at = tmp_path / "at"
    words = [sys.executable, "-m", "devregs", "serve-mock", str(ENGINE), "--at", str(at)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        until(lambda: (at / "sys/class/uio/uio0/name").exists(), 30)
        with (
            pytest.raises(devregs.SourceError, match=rf"served by process {process.pid}:"),
            serve(ENGINE, at),
        ):
            pass
        process.kill()
    assert (at / "dev/uio0").exists()
    with serve("pl061", at) as made, devregs.open("pl061", "uio:pl061", root=made.root) as gpio:
        assert gpio.DIR.read() == 0
    assert not (at / "dev").exists()


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "uio0").write_text("years of work")
    at = tmp_path / "at"
    at.mkdir()
    (at / ".devregs-stand-in").write_text("1\n")
    (at / "dev").symlink_to(elsewhere)
    with (
        pytest.raises(devregs.SourceError, match=r"something else in it now \(dev\)"),
        serve(ENGINE, at),
    ):
        pass
    assert (elsewhere / "uio0").read_text() == "years of work"


# failures


def test_what_a_hook_raises_ends_it():
    def broken(value: int) -> None:
        raise RuntimeError(f"no mode {value}")

    with pytest.raises(RuntimeError, match="no mode 4"), serve(ENGINE) as made:  # noqa: PT012
        made.hw["CTRL.MODE"].on_write(broken)
        with devregs.open(ENGINE, made.source, root=made.root) as other:
            other.CTRL.MODE = 4
        assert made.ended.wait(5)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: os.truncate(path, 0), "cut its file off at 0x0"),
        (os.unlink, "removed its file"),
    ],
)
def test_a_file_that_somebody_has_harmed(harm, message):
    with pytest.raises(devregs.SourceError, match=message), serve(ENGINE) as made:  # noqa: PT012
        harm(made[0].node)
        assert made.ended.wait(5)


def test_too_many_registers_to_look_at(tmp_path):
    path = tmp_path / "many.toml"
    path.write_text(
        '[device]\nname = "many"\n[regions.regs]\nsize = 0x100000\n'
        'registers.A = { offset = 0, access = "w1c", count = 0x10000 }\n'
        "registers.B = { offset = 0x40000, count = 0x10000 }\n"
    )
    with pytest.raises(devregs.SourceError, match="more than 16384 registers"), serve(path):
        pass
    path.write_text(path.read_text().replace(', access = "w1c"', ""))
    with serve(path) as made:
        assert made.hw.A[3].read() == 0


@pytest.mark.parametrize("poll", [0, -1, 2, float("nan")])
def test_a_poll_that_is_no_time(poll):
    with pytest.raises(devregs.SourceError, match="1 second"), serve(ENGINE, poll=poll):
        pass


# a program that is not Python


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_c_program(tmp_path):
    program = tmp_path / "engine"
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-O2", "-o", program, EXAMPLES / "engine.c"],
        check=True,
    )
    with serve(ENGINE) as made:
        done = subprocess.run(
            [program, made[0].node, made[0].sysfs],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stderr, done.stdout, done.returncode) == ("", "run 1 is done\n", 0)
        assert made.hw["NOTE[0]"].read() == 0xC0FFEE
        assert made.hw.CTRL.MODE == 3


# the command


def command(*words: object, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devregs", "serve-mock", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def test_a_command_runs_with_the_tree_up(tmp_path):
    script = "test -e {root}/dev/uio0 && echo {root} && exit 7"
    done = command(ENGINE, "--at", tmp_path / "at", "--exec", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{tmp_path / 'at'}\n", "")
    assert not (tmp_path / "at").exists()
    assert command(ENGINE, "--exec", "sh", "-c", "kill -9 $$").returncode == 137
    missing = command(ENGINE, "--exec", "./no such program")
    assert missing.returncode == 127
    assert "cannot run './no such program': No such file" in missing.stderr


def test_writes_are_printed(tmp_path):
    script = (
        "devregs='{python} -m devregs'; $devregs write --root {root} --map {map} uio:x CTRL.MODE=2"
    )
    script = script.replace("{python}", sys.executable).replace("{map}", str(ENGINE))
    done = command(ENGINE, "--name", "x", "--trace", "--exec", "sh", "-c", script + "; sleep 0.2")
    assert done.returncode == 0
    assert done.stderr.endswith(" s  uio:x  CTRL  0x20\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_it_is_told_to_end(tmp_path, number):
    at = tmp_path / "at"
    words = [sys.executable, "-m", "devregs", "serve-mock", "pl061", "--at", str(at)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(6)]
        assert lines[0] == f"serving under {at}\n"
        assert f"  devregs dump --root {at} uio:pl061\n" in lines
        assert f"  devregs.open('pl061', 'uio:pl061', root={str(at)!r})\n" in lines
        shown = subprocess.run(
            [sys.executable, "-m", *lines[3].split()], capture_output=True, text=True, check=True
        )
        assert "PERIPHID0" in shown.stdout
        process.send_signal(number)
        assert process.wait(30) == 0
    assert not at.exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "needs a MAP or a --board"),
        (["pl061", "--board", "x.toml"], 2, "needs a MAP or a --board"),
        (["no-such-map"], 2, "no-such-map"),
        (["pl061", "--poll", "0"], 2, "--poll is a time in seconds"),
        (["pl061", "--at", "/proc/x"], 3, "/proc/x"),
        (["pl061", "--exec"], 2, "--exec needs a command"),
    ],
)
def test_command_lines_that_are_wrong(words, code, message):
    done = command(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
