"""The guard against bad accesses among the signal handlers of others, in every order.

Two things hold: a bad access is a BusError, whoever has set handlers before and after the device was opened; and what is
not ours ends as it does in a process that never opened one.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import devregs
import pytest

SCRIPT = Path(__file__).with_name("guarded.py")

# Python's own ways to set handlers: noticed when they are called.
NOTICED = ("enable", "disable", "register", "python", "ignore", "default", "siginterrupt")
# What libraries do: found at the next look.
NATIVE = ("plain", "siginfo", "onstack", "once", "once-siginfo", "chaining", "taken-back")
STACKS = ("small-stack", "no-stack")


class End(NamedTuple):
    """How a child ended: its exit code, or a signal's number below 0; and what it wrote."""

    code: int
    said: str

    @property
    def known(self) -> tuple[int, str, int]:
        """What the device must not change."""
        marks = "".join(mark for mark in self.said.partition("Fatal")[0] if mark in "hcp")
        return self.code, marks, self.said.count("Fatal Python error")


@pytest.fixture
def ends(kit_path: Path, tmp_path: Path):
    """Runs children, each with its steps."""

    def run(table: list[list[str]]) -> list[tuple[list[str], End]]:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONFAULTHANDLER"}
        done = subprocess.run(
            [sys.executable, SCRIPT, kit_path, tmp_path / "memory"],
            input=json.dumps(table),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        return [
            (steps, End(*end)) for steps, end in zip(table, json.loads(done.stdout), strict=True)
        ]

    return run


def not_contained(found: list[tuple[list[str], End]]) -> list[tuple[list[str], End]]:
    return [(steps, end) for steps, end in found if end.code != 0]


def test_each_order_of_what_python_code_does(ends):
    """No look is needed: the calls are noticed."""
    table = [
        [*before, "open", *after, "contained"]
        for count in range(3)
        for steps in itertools.permutations(NOTICED, count)
        for place in range(count + 1)
        for before, after in [(steps[:place], steps[place:])]
    ]
    table += [["enable", "open", "disable", "enable", "disable", "contained"]]
    table += [["open", *itertools.chain(*[("enable", "disable")] * 3), "contained"]]
    assert not not_contained(ends(table))


def test_each_order_with_what_libraries_do(ends):
    table = [
        [*before, "open", *after, "look", "contained"]
        for steps in [*itertools.product(NATIVE, NOTICED), *itertools.permutations(NATIVE, 2)]
        for order in {steps, steps[::-1]}
        for place in range(3)
        for before, after in [(order[:place], order[place:])]
    ]
    assert not not_contained(ends(table))


@pytest.mark.parametrize("probe", ["elsewhere", "sent", "raised"])
def test_what_is_not_ours_ends_as_without_us(ends, probe):
    # A handler of Python that returns to a fault runs for ever, and so does what hands on to one that was good for once.
    steps = [step for step in NOTICED if probe != "elsewhere" or step != "python"]
    endless = {("once", "chaining"), ("once-siginfo", "chaining")}
    orders = [
        order
        for count in range(3)
        for order in itertools.permutations((*steps, *NATIVE[:-1]), count)
        if order not in endless
    ]
    # What hands on to one that came later calls that, where it would have called nobody.
    plain = [[*order, probe] for order in orders]
    ours = [
        [*order[:place], "open", *order[place:], "keep", probe]
        for order in orders
        for place in range(len(order) + 1)
        if "chaining" not in order[place:]
    ]
    expected = {tuple(steps[:-1]): end for steps, end in ends(plain)}
    wrong = []
    for order, end in ends(ours):
        bare = tuple(step for step in order[:-1] if step not in ("open", "keep"))
        if end.known != expected[bare].known:
            wrong.append((order, end, expected[bare]))
    assert not wrong, "\n".join(map(str, wrong))


def test_a_handler_that_hands_on_to_ours_ends_somewhere(ends):
    """It was put above ours, and ours above it: a ring, which the oldest handler ends."""
    found = ends(
        [
            [*before, "open", "chaining", "look", probe]
            for before in ([], ["enable"], ["onstack"], ["ignore"])
            for probe in ("elsewhere", "raised")
        ]
    )
    for steps, end in found:
        expected = {"onstack": 42, "ignore": 7 if steps[-1] == "raised" else -signal.SIGSEGV}
        assert end.code == expected.get(steps[0], -signal.SIGSEGV), (steps, end)
        assert end.said.count("c") >= 1, (steps, end)
        assert end.said.count("Fatal Python error") == (steps[0] == "enable"), (steps, end)


@pytest.mark.parametrize("stack", STACKS)
def test_signal_stacks(ends, stack):
    table = [
        [stack, "open", "contained"],
        ["open", stack, "contained"],
        ["enable", "open", stack, "contained"],
        ["open", stack, "contained-in-a-thread"],
    ]
    assert not not_contained(ends(table))


def test_blocked_signals_and_threads(ends):
    table = [
        ["block", "open", "contained"],
        ["open", "block", "contained"],
        ["open", "block", "contained-in-a-thread"],
        ["block", "open", "contained-in-a-thread"],
        ["open", "block", "fork", "contained"],
        ["blocked-thread"],
        ["open", "enable", "contained-in-a-thread"],
        ["open", "fork", "enable", "fork", "contained"],
    ]
    assert not not_contained(ends(table))


def test_a_handler_found_above_ours_is_warned_of_once(ends):
    [(_, end)] = ends([["open", "onstack", "look", "look", "contained"]])
    assert end.code == 0
    assert end.said.count("warned SIGBUS or SIGSEGV had ") == 1
    assert "devregs.keep_guard()" in end.said
    # What was noticed, or asked for, is no news.
    quiet = ends(
        [
            ["open", "enable", "look", "disable", "look", "python", "look", "contained"],
            ["open", "onstack", "keep", "look", "contained"],
            ["onstack", "open", "look", "contained"],
        ]
    )
    assert not [(steps, end) for steps, end in quiet if (end.code, end.said) != (0, "")]


def test_what_a_subinterpreter_does_is_found_at_the_next_look(ends):
    [(_, end)] = ends([["open", "subinterpreter", "look", "contained"]])
    assert end.code == 0, end.said


@pytest.mark.parametrize(
    "moment",
    [
        "devregs.open(sys.argv[1], 'file:' + sys.argv[2], verify=False)",
        "device.regions.ram.view()",
        "device.CTRL.wait(EN=0)",
        "device.regions.ram.read_into(bytearray(0x1000))",
        "device.regions.ram.write_from(bytes(0x1000))",
        "devregs.keep_guard()",
        "signal.signal(signal.SIGINT, signal.SIG_DFL)",
        "faulthandler.is_enabled() or faulthandler.enable()",
    ],
)
def test_the_moments_at_which_it_is_looked_after(kit_path, tmp_path, moment):
    """Each puts the guard back above a handler that a library has set."""
    script = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import guarded
from guarded import *
open_device()
device = guarded.device
native(SIGINFO)
warnings.simplefilter("ignore")
{moment}
contained()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, kit_path, tmp_path / "memory"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _in_a_process(map_path: str, memory: str, results: Any) -> None:
    device = devregs.open(map_path, f"file:{memory}")
    os.truncate(memory, 0)
    try:
        device.CTRL.read()
        results.put("read")
    except devregs.BusError:
        results.put("contained")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(kit_path, memory, method):
    context = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    process = context.Process(target=_in_a_process, args=(str(kit_path), str(memory), results))
    process.start()
    assert results.get() == "contained"
    process.join(30)
    assert process.exitcode == 0


def test_functions_that_are_noticed_stay_what_they_are(kit_path, memory):
    """The same objects, with their names, signatures, results and errors."""
    script = """
import faulthandler, inspect, signal, sys
names = [(faulthandler, n) for n in ("enable", "disable", "register", "unregister")] + [(signal, "signal"), (signal, "pthread_sigmask")]
functions = [getattr(*name) for name in names]
def seen():
    return [(repr(f), f.__doc__, f.__text_signature__ if hasattr(f, "__text_signature__") else None) for f in functions]
before = seen()
import devregs
device = devregs.open(sys.argv[1], "file:" + sys.argv[2])
assert seen() == before
assert all(function is getattr(*name) for function, name in zip(functions, names))
handler = lambda *_: None
assert signal.signal(signal.SIGUSR1, handler) is signal.SIG_DFL
assert signal.getsignal(signal.SIGUSR1) is handler
assert signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2}) == set()
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR2}
assert faulthandler.disable() is False
for call in (lambda: signal.signal(1 << 20, handler), lambda: faulthandler.register(signal.SIGSEGV)):
    try:
        call()
    except (ValueError, RuntimeError):
        continue
    raise SystemExit("no error")
try:
    signal.signal()
except TypeError:
    print("as ever")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, kit_path, memory],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("as ever\n", "")
