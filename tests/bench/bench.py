"""Nanoseconds per call, side by side with a raw memoryview of the same memory.

Every way is timed in one process, in turn, again and again; the table shows medians, with the cost of an empty loop
taken off, and ratios of the medians. The memory is a file's: what is measured is the way to the bus, not the bus.

`mock` is the same device mocked, `hooked` a mock with a Python hook, and `traced` the first device with a recording under
way that keeps the last 1000 accesses.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from itertools import repeat
from pathlib import Path
from typing import Any

import devregs

MAP = """
[device]
name = "bench"
[regions.regs]
size = 0x8000
[regions.regs.registers.CTRL]
offset = 0x0
fields.EN = 0
fields.MODE = { bits = "6:4" }
fields.SPEED = { bits = "15:8" }
[regions.regs.registers.DATA]
offset = 0x4
"""

# A value as registers have it: more than 30 bits, so that Python's arithmetic on it is the usual one.
VALUE = 0x8001_1031

WORDS = 4096

# Statements, each with the one it is measured against and the ratio it should not exceed.
READ, WRITE = "mv[i]", "mv[j] = v"
CHANGE = "mv[i] = mv[i] & ~0x70 | 0x30"
LOOP = "volatile_loop(to, start, 4096)"
CASES = [
    ("dev.CTRL.EN", READ, 1.0),
    ("dev.CTRL.read()", READ, 1.0),
    ("ctrl.read()", READ, 1.0),
    ("dev.DATA.write(v)", WRITE, 1.0),
    ("data.write(v)", WRITE, 1.0),
    ("dev.CTRL.MODE = 3", CHANGE, 0.6),
    ("dev.CTRL.modify(EN=1, MODE=3)", CHANGE, 0.6),
    ("regs.read_into(buffer)", LOOP, 1.1),
    ("regs.write_from(buffer)", LOOP, 1.1),
    ("mock.CTRL.read()", "dev.CTRL.read()", 3.0),
    ("mock.CTRL.EN", "dev.CTRL.EN", 3.0),
    ("mock.DATA.write(v)", "dev.DATA.write(v)", 3.0),
    ("mock.CTRL.MODE = 3", "dev.CTRL.MODE = 3", 3.0),
    ("traced.CTRL.read()", "dev.CTRL.read()", 3.0),
    ("traced.CTRL.EN", "dev.CTRL.EN", 3.0),
    ("traced.DATA.write(v)", "dev.DATA.write(v)", 3.0),
    ("traced.CTRL.MODE = 3", "dev.CTRL.MODE = 3", 3.0),
]
# What a Python hook adds to its own call: microseconds at most.
HOOK, HOOKED, HOOK_GOAL = "hook(v)", "hooked.CTRL.read()", 1.0
# The same read in the same build but for the guard against faults, where that is given.
BARE = "bare.CTRL.read()"
GUARD = ("dev.CTRL.read()", BARE, 1.02)
SLOW = {LOOP, "regs.read_into(buffer)", "regs.write_from(buffer)"}


def timer(statement: str, names: dict[str, object], calls: int) -> Callable[[], float]:
    """A function that runs the statement `calls` times and returns nanoseconds for one."""
    source = (
        f"def run({', '.join(names)}):\n"
        "    began = clock()\n"
        f"    for _ in repeat(None, {calls // 8}):\n"
        + f"        {statement}\n" * 8
        + "    return clock() - began\n"
    )
    scope: dict[str, object] = {"clock": time.perf_counter_ns, "repeat": repeat}
    exec(source, scope)
    run = scope["run"]
    assert callable(run)
    return lambda: run(**names) / (calls // 8 * 8)


def measure(cases: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Medians over rounds; each round runs every case once, so that a slow moment hits all alike."""
    seen: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            seen[name].append(run())
    return {name: statistics.median(times) for name, times in seen.items()}


def volatile_loop(folder: Path) -> Callable[..., None]:
    """The loop a C or Rust programmer would write, compiled here."""
    library = folder / "volatile_loop.so"
    source = Path(__file__).with_name("volatile_loop.rs")
    subprocess.run(
        ["rustc", "--edition=2024", "--crate-type=cdylib", "-O", "-o", library, source], check=True
    )
    function = ctypes.CDLL(str(library)).volatile_loop
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    function.restype = None
    return function


def address(view: memoryview) -> int:
    return ctypes.addressof((ctypes.c_char * view.nbytes).from_buffer(view))


def unguarded(library: Path) -> Any:
    """The core built without the fault guard, beside the one that is installed."""
    loader = ExtensionFileLoader("_devregs", str(library))
    module = module_from_spec(spec_from_loader("_devregs", loader))
    loader.exec_module(module)
    return module


def run(rounds: int, calls: int, bare: Path | None) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.toml"
        path.write_text(MAP)
        memory = Path(folder) / "memory"
        memory.write_bytes(bytes(0x8000))
        dev = devregs.open(path, memory)
        traced, mock, hooked = devregs.open(path, memory), devregs.mock(path), devregs.mock(path)
        loop = volatile_loop(Path(folder))
        other_dev = unguarded(bare).open(str(path), f"file:{memory}") if bare else dev
    trace = traced.trace(limit=1000)
    trace.start()
    mock.CTRL.write(VALUE)

    def hook(value: int) -> None: ...

    hooked.hw.CTRL.on_read(hook)
    view = dev.regions.regs.view()
    dev.CTRL.write(VALUE)
    other_dev.CTRL.write(VALUE)
    buffer, other = bytearray(4 * WORDS), bytearray(4 * WORDS)
    names: dict[str, object] = {
        "dev": dev,
        "bare": other_dev,
        "traced": traced,
        "mock": mock,
        "hooked": hooked,
        "hook": hook,
        "ctrl": dev.CTRL,
        "data": dev.DATA,
        "regs": dev.regions.regs,
        "mv": view,
        "i": 0,
        "j": 1,
        "v": 0x1234,
        "buffer": buffer,
        "volatile_loop": loop,
        "start": address(view),
        "to": address(memoryview(other)),
    }
    cases = [*CASES, GUARD] if bare else CASES
    used = (s for call, base, _ in cases for s in (base, call))
    statements = dict.fromkeys(["pass", *used, HOOK, HOOKED])
    medians = measure(
        {s: timer(s, names, max(calls // 200, 8) if s in SLOW else calls) for s in statements},
        rounds,
    )
    empty = medians["pass"]
    rows = [
        {
            "call": call,
            "ns": medians[call] - empty,
            "against": base,
            "against_ns": medians[base] - empty,
            "ratio": (medians[call] - empty) / (medians[base] - empty),
            "goal": goal,
        }
        for call, base, goal in cases
    ]
    # A hook is called in the middle of an access: the access and the call of the hook are not its cost.
    plain = medians["mock.CTRL.read()"] - empty
    added = (medians[HOOKED] - empty) - (medians[HOOK] - empty) - plain
    rows.append(
        {
            "call": HOOKED,
            "ns": medians[HOOKED] - empty,
            "against": f"mock.CTRL.read() + {HOOK}, and 1 us",
            "against_ns": 1000.0,
            "ratio": added / 1000,
            "goal": HOOK_GOAL,
        }
    )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=41, help="times each way is measured")
    parser.add_argument("--calls", type=int, default=20_000, help="calls in each measurement")
    parser.add_argument("--unguarded", type=Path, help="the library built without the fault guard")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = run(options.rounds, options.calls, options.unguarded)
    if options.json:
        print(json.dumps(table, indent=2))
        return 0
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}; "
        f"medians of {options.rounds} rounds, net of an empty loop\n"
    )
    print(f"{'call':<32} {'ns':>8}   {'against':<32} {'ns':>8}   {'ratio':>5}  goal")
    for row in table:
        missed = "" if row["ratio"] <= row["goal"] else "  missed"
        print(
            f"{row['call']:<32} {row['ns']:8.1f}   {row['against']:<32} {row['against_ns']:8.1f}"
            f"   {row['ratio']:5.2f}  {row['goal']:g}{missed}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
