"""Nanoseconds per call, side by side with a raw memoryview of the same memory.

Every way is timed in one process, in turn, again and again; the table shows medians, with the cost of an empty loop
taken off, and ratios of the medians. The memory is a mock device's: what is measured is the way to the bus, not the bus.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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


def timer(statement: str, names: dict[str, object], calls: int) -> Callable[[], float]:
    """A function that runs the statement `calls` times and returns nanoseconds for one."""
    source = (
        f"def run({', '.join(names)}):\n"
        f"    start = clock()\n"
        f"    for _ in repeat(None, {calls // 8}):\n"
        + f"        {statement}\n" * 8
        + "    return (clock() - start)\n"
    )
    from itertools import repeat

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.toml"
        path.write_text(MAP)
        dev = devregs.open(path, "mock:")
    view = dev.regions.regs.view()
    dev.CTRL.write(VALUE)
    names: dict[str, object] = {
        "dev": dev,
        "ctrl": dev.CTRL,
        "data": dev.DATA,
        "mv": view,
        "i": 0,
        "j": 1,
        "v": 0x1234,
    }
    statements = {
        "empty": "pass",
        "mv[i]": "mv[i]",
        "dev.CTRL.EN": "dev.CTRL.EN",
        "dev.CTRL.read()": "dev.CTRL.read()",
        "ctrl.read()": "ctrl.read()",
        "mv[i] = v": "mv[j] = v",
        "dev.DATA.write(v)": "dev.DATA.write(v)",
        "data.write(v)": "data.write(v)",
        "mv[i] = mv[i] & ~MASK | VALUE": "mv[i] = mv[i] & ~0x70 | 0x30",
        "dev.CTRL.MODE = 3": "dev.CTRL.MODE = 3",
        "dev.CTRL.modify(EN=1, MODE=3)": "dev.CTRL.modify(EN=1, MODE=3)",
    }
    medians = measure(
        {name: timer(statement, names, options.calls) for name, statement in statements.items()},
        options.rounds,
    )
    empty = medians.pop("empty")
    net = {name: time - empty for name, time in medians.items()}

    read, write, change = "mv[i]", "mv[i] = v", "mv[i] = mv[i] & ~MASK | VALUE"
    rows = [
        ("dev.CTRL.EN", read, 1.0),
        ("dev.CTRL.read()", read, 1.0),
        ("ctrl.read()", read, 1.0),
        ("dev.DATA.write(v)", write, 1.0),
        ("data.write(v)", write, 1.0),
        ("dev.CTRL.MODE = 3", change, 0.6),
        ("dev.CTRL.modify(EN=1, MODE=3)", change, 0.6),
    ]
    table = [(name, net[name], base, net[base], net[name] / net[base], goal) for name, base, goal in rows]
    if options.json:
        print(json.dumps([dict(zip(("call", "ns", "against", "against_ns", "ratio", "goal"), row, strict=True)) for row in table]))
        return 0
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}; "
          f"medians of {options.rounds} rounds, net of an empty loop")
    print(f"{'call':<32} {'ns':>7}   {'against':<32} {'ns':>7}   {'ratio':>5}  goal")
    for name, own, base, other, ratio, goal in table:
        print(f"{name:<32} {own:7.1f}   {base:<32} {other:7.1f}   {ratio:5.2f}  {goal:.1f}{'' if ratio <= goal else '  missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
