"""For tests: the accesses a test expects, and whether they were made; mocks that other programs map.

from devregs.testing import anything, expect, read, write

with expect(gpio, write("DIR", 0x0F), read("DATA").times(0, None), write("IC", PIN=1)):
    driver.start(gpio)
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ._devregs import Device, ExpectationError, MapError, Register
from ._devregs import Field as RegisterField
from .standin import serve, serve_board

__all__ = [
    "ExpectationError",
    "Step",
    "anything",
    "expect",
    "irq",
    "read",
    "serve",
    "serve_board",
    "write",
]


@dataclass(frozen=True)
class Step:
    """An expected access. Made by `read`, `write`, `irq` and `anything`."""

    op: str | None
    path: str | None = None
    value: int | None = None
    fields: dict[str, int | str] = field(default_factory=dict)
    returns: int | None = None
    least: int = 1
    most: int | None = 1

    def times(self, least: int, *most: int | None) -> Step:
        """The same access so many times in a row: `times(3)`, `times(0, 5)`, or `times(1, None)` without end."""
        end = most[0] if most else least
        for count in (least, end):
            if not isinstance(count, int | None):
                raise TypeError(f"times: a count is an integer, not {count!r}")
        if not 0 <= least <= (least if end is None else end) < 2**63:
            raise MapError(f"times: at least {least} and at most {end} is no count")
        return replace(self, least=least, most=end)


def read(path: str, value: int | None = None, *, returns: int | None = None, **fields: Any) -> Step:
    """A read of the register at `path`. With a value, or values of fields, it must read that.

    With `returns` the device is not asked: the read gives this.
    """
    return Step("read", path, value, fields, returns)


def write(path: str, value: int | None = None, **fields: Any) -> Step:
    """A write to the register at `path`: of any value, of this value, or with these fields in it."""
    return Step("write", path, value, fields)


def irq() -> Step:
    """A wait for the interrupt, however it ends."""
    return Step("irq")


def anything(path: str | None = None) -> Step:
    """Accesses of any kind, none or more: of the register at `path`, or of all."""
    return Step(None, path).times(0, None)


@contextlib.contextmanager
def expect(device: Device, *steps: Step) -> Iterator[None]:
    """Let only these accesses pass, in this order, while the block runs.

    Raises ExpectationError out of an access that is another one, and at the end of the block if some
    were not made, or if that error was caught inside; it shows what was expected and what was done,
    side by side. AccessError where accesses are expected already. Accesses through views are not seen.
    """
    device._expect([_raw(device, step) for step in steps])
    try:
        yield
        device._finish()
    finally:
        device._expect(None)


def _number(at: str, value: Any, width: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{at}: an integer is needed, not {value!r}") from None
    if not 0 <= number < 2**width:
        raise MapError(f"{at}: {number:#x} does not fit {width} bits")
    return number


def _numbers(
    at: str, known: dict[str, RegisterField], fields: dict[str, int | str]
) -> dict[str, int | str]:
    """The fields with numbers for the names of values, as a read has them: a write may have others."""
    numbers = dict(fields)
    for name, value in fields.items():
        values = known[name].values if name in known else None
        if isinstance(value, str) and values is not None:
            if value not in values.__members__:
                names = ", ".join(values.__members__)
                raise MapError(
                    f"{at}.{name}: {value!r} is none of the values that are read: {names}"
                )
            numbers[name] = values[value]
    return numbers


def _raw(device: Device, step: Step) -> dict[str, Any]:
    mask, bits = 0, 0
    if step.path is not None:
        register = device[step.path]
        if not isinstance(register, Register):
            raise MapError(f"{device.name}.{step.path}: is no register")
        at = f"{device.name}.{step.path}"
        if step.value is not None:
            mask, bits = 2**register.width - 1, _number(at, step.value, register.width)
        if step.returns is not None:
            _number(f"{at}: returns", step.returns, register.width)
        if step.fields:
            known = {info.name: info for info in register.fields}
            given = step.fields if step.op == "write" else _numbers(at, known, step.fields)
            wanted = register.encode(given)
            asked = sum((2 ** known[name].width - 1) << known[name].lsb for name in step.fields)
            if mask & asked & (bits ^ wanted):
                raise MapError(
                    f"{at}: {bits:#x} does not have the fields it is to have: {step.fields}"
                )
            mask, bits = mask | asked, bits | wanted & asked
    return {
        "op": step.op,
        "path": step.path,
        "mask": mask,
        "bits": bits,
        "answer": step.returns,
        "least": step.least,
        "most": step.most,
    }
