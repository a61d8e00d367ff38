"""What a mock does where much is asked of it: by many threads, of small stacks, by rules without end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import devregs
import pytest

MAP = """
[device]
name = "m"
[regions.r]
size = 0x1000
[regions.r.registers]
R = { offset = 0, count = 512 }
C = { offset = 0x800, count = 16, on-write = "one-to-clear" }
ST = { offset = 0x840, access = "ro", fields = { READY = 0, N = "7:4" } }
DATA = { offset = 0x844, fifo = 4, width = 8 }
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """A mock of the map with these rules, by a clock that stands still."""

    def make(rules: str = "", clock: Any = "virtual") -> Any:
        path = tmp_path / "m.toml"
        path.write_text(MAP + rules, encoding="utf-8")
        return devregs.mock(path, clock=clock, access_time=0)

    return make


def chain(length: int) -> str:
    return "".join(
        f'[[behaviour]]\nassign = {{ "R[{index + 1}]" = "R[{index}] + 1" }}\n'
        for index in range(length)
    )


VIEWS = pytest.mark.skipif(
    not devregs.TRAPS, reason="this machine cannot trap the accesses of a view"
)


@VIEWS
def test_rules_that_ask_for_each_other_fit_the_stack_of_a_signal_handler(tmp_path):
    """The one of faulthandler, which pytest turns on, has room for no more than a dozen of them."""
    path = tmp_path / "m.toml"
    path.write_text(MAP + chain(63), encoding="utf-8")
    code = (
        "import faulthandler, sys; faulthandler.enable()\n"
        "import devregs; dev = devregs.mock(sys.argv[1])\n"
        "view = dev.regions.r.view(size=0x100)\n"
        "dev.R[0].write(5)\n"
        "assert view[63] == dev.R[63].read() == 68, (view[63], dev.R[63].read())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@VIEWS
def test_an_access_by_name_comes_before_or_after_one_through_a_view(make):
    """Copies of NumPy let the interpreter go: the other thread's access must not fall into one of theirs."""
    numpy = pytest.importorskip("numpy")
    dev = make()
    # The last words, which lie beside a register that the other thread uses, over and over.
    last = numpy.asarray(dev.regions.r.view(offset=0x7C0, size=0x40))
    array = numpy.lib.stride_tricks.as_strided(last, (64, 16), (0, 4))
    zeros, stop = numpy.zeros((64, 16), "u4"), threading.Event()

    def copy() -> None:
        while not stop.is_set():
            numpy.copyto(array, zeros)

    thread = threading.Thread(target=copy)
    thread.start()
    flags, hardware = dev.C[0], dev.hw["C[0]"]
    try:
        for _ in range(20_000):
            hardware.write(0xFF)
            flags.write(0x0F)
            assert flags.read() == 0xF0
    finally:
        stop.set()
        thread.join()


def test_rules_of_tests_that_ask_for_each_other_twice_end(make):
    dev = make()
    for one, other in ((0, 1), (1, 0)):
        dev.hw.rule(assign={f"R[{one}]": f"R[{other}] + R[{other}]"})
    for index in range(10, 70):
        dev.hw.rule(assign={f"R[{index + 1}]": f"R[{index}] + R[{index}]"})
    dev.R[10].write(3)
    assert dev.R[26].read() == 3 << 16
    dev.R[0].read()
    dev.R[70].read()


def test_a_long_time_with_much_in_it_can_be_interrupted(make):
    """The clock stands where it got to, and what was not due until then is not done later at one go."""
    dev = make('[[behaviour]]\nevery = 1e-6\nset = { "R[0]" = "R[0] + 1" }\n')
    dev.hw.advance(0.001_5)
    assert dev.R[0].read() == 1500
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        dev.hw.advance(86_400)
    timer.join()
    assert dev.hw.time < 86_400
    assert dev.R[0].read() == round(dev.hw.time * 1e6)


def test_rules_act_at_their_own_time(make):
    """In the order of their times, the line between them as they drive it."""
    dev = make(
        '[[behaviour]]\nevery = 2\nset = { "R[0]" = "R[0] + 1", "R[1]" = "R[1] * 2 + 1" }\n'
        '[[behaviour]]\nevery = 3\nset = { "R[0]" = 0, "R[1]" = "R[1] * 2" }\n'
        '[[behaviour]]\ninterrupt = "R[0]"\n'
    )
    dev.hw.advance(9)
    assert (dev.R[0].read(), dev.R[1].read()) == (0, 0b101_0110)
    assert dev.irq.wait(timeout=0) == 1


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 4e10, -1.0, float("nan")])
def test_no_clock_goes_so_far(make, seconds):
    dev = make()
    with pytest.raises(devregs.MapError, match=r"^advance: \S+ (s is too long|is no time)"):
        dev.hw.advance(seconds)
    with pytest.raises(devregs.MapError, match=r"^mock: access_time: \S+ (s is|is no)"):
        devregs.mock(dev.map, clock="virtual", access_time=seconds)
    assert dev.hw.time == 0


@pytest.mark.parametrize(
    ("path", "answer"),
    [("ST.N", 0x10), ("ST", 1 << 32), ("R[3]", -1), ("DATA", 0x100)],
)
def test_what_a_hook_returns_fits(make, path, answer):
    dev = make()
    dev.hw[path].on_read(lambda _: answer)
    with pytest.raises(devregs.MapError, match=r"what a hook returned: \S+ does not fit") as raised:
        dev[path.partition(".")[0]].read()
    assert f"m.{path}: " in str(raised.value)


def test_a_thread_in_a_hook_does_not_end_the_process_at_exit(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(MAP, encoding="utf-8")
    code = (
        "import sys, threading, time, devregs\n"
        "dev = devregs.mock(sys.argv[1])\n"
        "dev.hw['R[0]'].on_write(lambda _: time.sleep(0.001))\n"
        "def run():\n"
        "    while True: dev.R[0].write(1)\n"
        "threading.Thread(target=run, daemon=True).start()\n"
        "time.sleep(0.05)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
