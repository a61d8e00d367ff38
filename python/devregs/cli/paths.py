"""Paths and values on the command line."""

from __future__ import annotations

import contextlib
import re
from typing import NamedTuple

from .._devregs import Array, Device, Field, Group, Register
from .._devregs import Region as DeviceRegion
from .._text import clean
from .options import Failure


class Named:
    """A register, or a field of one."""

    __slots__ = ("field", "register")

    def __init__(self, register: Register, field: Field | None) -> None:
        self.register = register
        # None where the whole register is meant.
        self.field = field


class Raw(NamedTuple):
    """A word of a region, by offset in bytes and width in bits."""

    region: DeviceRegion
    offset: int
    width: int


_RAW = re.compile(r"(?P<region>[^+]+)\+(?P<offset>[0-9a-zA-Z_]+)(:(?P<width>[0-9]+))?")


# What registers are taken from.
Part = Device | Group | Array | Register


def find(device: Device, path: str) -> Named | Raw | Group | Array:
    """What a path names. Touches nothing.

    A path is `REGISTER`, `GROUP[1].REGISTER.FIELD` and the like, or `REGION+OFFSET` and
    `REGION+OFFSET:WIDTH`. Raises Failure or MapError where it names nothing.
    """
    raw = _RAW.fullmatch(path)
    if raw and (region := _region(device, raw["region"])):
        return Raw(region, _offset(path, raw["offset"]), int(raw["width"] or region.width))
    here: Group | Array | Register = device
    segments = path.split(".")
    for at, segment in enumerate(segments):
        if isinstance(here, Register):
            return Named(here, _field(here, ".".join(segments[at:])))
        if isinstance(here, Array):
            raise Failure(_which(here))
        try:
            here = here[segment]
        except IndexError as error:
            raise Failure(clean(str(error))) from error
    return Named(here, None) if isinstance(here, Register) else here


def place(device: Device, path: str) -> Named | Raw:
    """What a path names, where it must be one register, field or word."""
    found = find(device, path)
    if isinstance(found, Array):
        raise Failure(_which(found))
    if isinstance(found, Group):
        raise Failure(
            f"{clean(path) or 'the device'} is a group of registers: name one of them, or dump it"
        )
    return found


def _which(array: Array) -> str:
    path = clean(array.path)
    return f"{path} is an array of {len(array)}: say which one, {path}[0]"


def _offset(path: str, text: str) -> int:
    """An offset, which begins with 0x: digits alone are hexadecimal to some and decimal to others."""
    if text[:2] in ("0x", "0X"):
        return integer(text)
    before = clean(path).partition("+")[0]
    readings = []
    for base in (16, 10):
        with contextlib.suppress(ValueError):
            readings.append(f"{before}+{int(text, base):#x}")
    if not readings:
        raise Failure(f"{clean(text)!r} is no offset; one is {before}+0x10")
    last = f", or {readings[1]}, which is {text} in decimal?" if len(readings) > 1 else ""
    raise Failure(f"an offset begins with 0x: {'is it ' if last else ''}{readings[0]}{last}")


def integer(text: str) -> int:
    """A number in decimal, or in any base after 0x, 0o or 0b."""
    try:
        return int(text, 0)
    except ValueError:
        raise Failure(f"{clean(text)!r} is no number: 10, 0x1f, 0b101, 0o17, 1_000") from None


def field_value(field: Field, text: str) -> int | str:
    """A field's value: a name, or a number. The register itself says what names there are."""
    if field.values is not None and text in field.values.__members__:
        return text
    try:
        return int(text, 0)
    except ValueError:
        return text


def _region(device: Device, name: str) -> DeviceRegion | None:
    return next((region for known, region in device.regions.items() if known == name), None)


def _field(register: Register, name: str) -> Field:
    for field in register.fields:
        if field.name == name:
            return field
    # Raises: there is no such field, and which are near.
    register.encode({name: 0})
    raise Failure(f"{clean(register.path)} has no field {clean(name)!r}")
