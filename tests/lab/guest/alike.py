"""The same accesses on a device and on its mock: what they read must be the same."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import devregs


@dataclass(frozen=True)
class Step:
    """`read` or `write`; or `idle`: until the field at the path is 0."""

    op: str
    path: str
    value: int = 0
    # How far apart two reads of a thing that counts may be.
    near: int = 0

    def __str__(self) -> str:
        return f"{self.op} {self.path}" + (f" {self.value:#x}" if self.op == "write" else "")


Plan = Callable[[random.Random], list[Step]]
Start = Callable[[devregs.Device], None]


def check(real: devregs.Device, name: str, start: Start, plan: Plan, seeds: range) -> int:
    """Play a plan of each seed on both. Returns how many reads were compared; AssertionError says what differs."""
    compared = 0
    with devregs.mock(name) as mock:
        for seed in seeds:
            steps = plan(random.Random(seed))
            wrong = difference(real, mock, start, steps)
            if wrong is not None:
                steps = shortest(real, mock, start, steps[: wrong[0] + 1])
                found = difference(real, mock, start, steps) or wrong
                lines = "\n".join(f"  {step}" for step in steps)
                raise AssertionError(f"seed {seed}: {found[1]}, after\n{lines}")
            compared += sum(step.op == "read" for step in steps)
    return compared


def difference(
    real: devregs.Device, mock: devregs.Device, start: Start, steps: list[Step]
) -> tuple[int, str] | None:
    """The first step whose reads differ, and how."""
    start(real)
    start(mock)
    for number, step in enumerate(steps):
        one, two = play(real, step), play(mock, step)
        apart = min((one - two) % 2**32, (two - one) % 2**32)
        if apart > step.near:
            return number, f"the device reads {one:#x}, its mock {two:#x}"
    return None


def play(device: devregs.Device, step: Step) -> int:
    if step.op == "read":
        return device[step.path].read()
    if step.op == "write":
        device[step.path].write(step.value)
    else:
        register, _, field = step.path.rpartition(".")
        device[register].wait({field: 0}, timeout=5)
    return 0


def shortest(
    real: devregs.Device, mock: devregs.Device, start: Start, steps: list[Step]
) -> list[Step]:
    """Leave out what does not matter: the last step differs still."""
    for number in reversed(range(len(steps) - 1)):
        fewer = steps[:number] + steps[number + 1 :]
        wrong = difference(real, mock, start, fewer)
        if wrong is not None and wrong[0] == len(fewer) - 1:
            steps = fewer
    return steps
