"""Registers as text for the bench: what `print(dev.CTRL)` and a notebook show.

Everything here reads a register at most once, and never one that cannot be read or whose read
changes something.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from ._devregs import Array, BusError, Device, Field, Group, Register
from ._text import clean, columns, cut, summary

__all__ = ["format_dump", "format_register", "format_value", "register_html"]


class Part(NamedTuple):
    """A line of a register's table: a field, or bits that no field covers."""

    bits: str
    name: str
    # As numbers, and as one of the field's names. Empty where the register was not read.
    number: str
    value: str
    notes: str
    doc: str


class Shown(Protocol):
    """What a line of a dump is about: a register, or what is remembered of one."""

    @property
    def path(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def address(self) -> int | None: ...
    @property
    def width(self) -> int: ...
    @property
    def fields(self) -> tuple[Field, ...]: ...


AnyShown = TypeVar("AnyShown", bound=Shown)


class Look(NamedTuple):
    """What a look at a register gave: its value, or why there is none."""

    value: int | None
    reason: str


def format_register(reg: Register, *, width: int | None = None) -> str:
    """The register with its fields, one a line.

    Reads it once, if reading it changes nothing; else says why not.
    `width` is in columns; doc texts, and nothing else, are cut to it. Without it, the terminal's
    is taken where there is one. Raises BusError where the read faults, AccessError where the
    device is closed.
    """
    seen = look(reg)
    return _table(reg, seen, _terminal(width))


def format_value(reg: Register, value: int, *, width: int | None = None) -> str:
    """The register with its fields as they are in `value`. Touches nothing.

    Raises MapError where the value does not fit the register.
    """
    reg.decode(value)
    return _table(reg, Look(value, ""), _terminal(width))


def format_dump(part: Device | Group | Array | Register) -> str:
    """All registers of a device, group or array, one a line. Reads each once that may be read.

    Neighbours in an array that show the same share a line. A register that answers with a fault
    says so on its line, and the others follow.
    """
    rows = dump_rows((reg, look_safely(reg)) for reg in walk(part))
    head = [f"{clean(part.name)} at {clean(part.source)}"] if isinstance(part, Device) else []
    return "\n".join([*head, *columns(rows)]) or "no registers"


def register_html(reg: Register) -> str:
    """The register as a table for a notebook, with the same rules as `format_register`."""
    from html import escape

    def row(kind: str, texts: Iterable[str]) -> str:
        return (
            "<tr>"
            + "".join(f"<{kind} style='text-align:left'>{escape(t)}</{kind}>" for t in texts)
            + "</tr>"
        )

    seen = look_safely(reg)
    lines = [
        f"<b>{escape(clean(reg.path))}</b> {escape(_place(reg))}",
        f"<code>{escape(_value(reg, seen))}</code>",
    ]
    if doc := summary(reg.doc):
        lines.insert(1, f"<i>{escape(doc)}</i>")
    table = ""
    if reg.fields:
        head = row("th", ("bits", "field", "value", "name", "access", "doc"))
        table = (
            f"<table>{head}{''.join(row('td', part) for part in parts(reg, seen.value))}</table>"
        )
    return f"<div>{'<br>'.join(lines)}{table}</div>"


def look(reg: Register) -> Look:
    """The register's value by one read, or why it is not read."""
    if not reg.readable:
        return Look(None, "write-only")
    if effect := reg.read_effect:
        return Look(None, f"not read: {clean(effect)}")
    return Look(reg.read(), "")


def look_safely(reg: Register) -> Look:
    """The same; a fault on the bus is a reason too, that begins with `bus error`."""
    try:
        return look(reg)
    except BusError as error:
        return Look(None, f"bus error: {clean(str(error.strerror or error))}")


def walk(part: Device | Group | Array | Register) -> Iterator[Register]:
    """Every register of a part of a device, in the order of the map."""
    if isinstance(part, Register):
        yield part
    elif isinstance(part, Array):
        for element in part:
            yield from walk(element)
    else:
        yield from part.registers()


def digits(value: int, bits: int) -> str:
    """A value of so many bits in hexadecimal, leading zeros too: `0x00000013`."""
    return f"0x{value:0{-(-bits // 4)}x}"


def hexadecimal(value: int, bits: int) -> str:
    """All digits of a value of so many bits, in groups of four: `0x0000_0013`."""
    count = -(-bits // 4)
    return f"0x{value:0{count + (count - 1) // 4}_x}"


def binary(value: int, bits: int) -> str:
    """All bits of a value in groups of four."""
    return f"0b{value:0{bits + (bits - 1) // 4}_b}"


def number(value: int) -> str:
    """A field's value: decimal, and hexadecimal too where they differ."""
    return str(value) if value < 10 else f"{value} ({value:#x})"


def bits(lsb: int, width: int) -> str:
    """Positions as map files write them: `7:4`, or `3`."""
    return str(lsb) if width == 1 else f"{lsb + width - 1}:{lsb}"


def name_of(field: Field, value: int) -> str:
    """The name that the map gives a field's value, or an empty text."""
    if field.values is None:
        return ""
    try:
        return clean(field.values(value).name)
    except ValueError:
        return ""


def brief(field: Field, value: int) -> str:
    """A field's value by its name, or as a short number."""
    return name_of(field, value) or (str(value) if value < 10 else f"{value:#x}")


def part_of(field: Field, value: int) -> int:
    """The number that a field has in its register's value."""
    return value >> field.lsb & ((1 << field.width) - 1)


def mask_of(field: Field) -> int:
    """The field's bits, in place in its register."""
    return ((1 << field.width) - 1) << field.lsb


def readable(field: Field) -> bool:
    """Whether what a read of the register returns in the field's place means something."""
    return not field.access.startswith("wo")


def parts(reg: Register, value: int | None) -> list[Part]:
    """The register's fields and uncovered bits, highest bit first."""
    found: list[Part] = []
    next_bit = 0
    for field in reg.fields:
        if field.lsb > next_bit:
            found.append(_gap(next_bit, field.lsb - next_bit, value))
        next_bit = max(next_bit, field.lsb + field.width)
        found.append(_part(reg, field, value))
    if next_bit < reg.width:
        found.append(_gap(next_bit, reg.width - next_bit, value))
    return found[::-1]


def dump_rows(
    registers: Iterable[tuple[AnyShown, Look]], region: Callable[[AnyShown], str] = lambda reg: ""
) -> list[tuple[str, str, str, str]]:
    """Lines of a dump: where, what, the value, its fields. `region` is put before offsets."""
    rows: list[tuple[str, str, str, str]] = []
    # Of the line before, where it is of an array: its path without index, and its first index.
    array, first, last = "", 0, 0
    for reg, seen in registers:
        path, _, index = reg.path.removesuffix("]").rpartition("[")
        row = _row(reg, seen, region)
        if not reg.path.endswith("]"):
            array = ""
        elif rows and path == array and int(index) == last + 1 and row[2:] == rows[-1][2:]:
            last += 1
            rows[-1] = (rows[-1][0], f"{clean(path)}[{first}..{last}]", *row[2:])
            continue
        else:
            array, first, last = path, int(index), int(index)
        rows.append(row)
    return rows


def _row(reg: AnyShown, seen: Look, region: Callable[[AnyShown], str]) -> tuple[str, str, str, str]:
    where = f"{region(reg)}+{reg.offset:#x}" if reg.address is None else f"{reg.address:#x}"
    if seen.value is None:
        return where, clean(reg.path), "-", seen.reason
    fields = []
    for field in reg.fields:
        if readable(field):
            fields.append(f"{clean(field.name)}={brief(field, part_of(field, seen.value))}")
    return where, clean(reg.path), digits(seen.value, reg.width), " ".join(fields)


def _part(reg: Register, field: Field, value: int | None) -> Part:
    shown = name = ""
    if value is not None and readable(field):
        part = part_of(field, value)
        shown, name = number(part), name_of(field, part)
    notes = []
    if field.access != reg.access:
        notes.append(field.access)
    if field.on_read:
        notes.append(f"read: {field.on_read}")
    if field.on_write:
        notes.append(f"write: {field.on_write}")
    return Part(
        bits(field.lsb, field.width),
        clean(field.name),
        shown,
        name,
        ", ".join(notes),
        summary(field.doc),
    )


def _gap(lsb: int, width: int, value: int | None) -> Part:
    # Bits no field covers are worth a value only where they are not 0.
    left = 0 if value is None else value >> lsb & ((1 << width) - 1)
    return Part(bits(lsb, width), "-", number(left) if left else "", "", "", "")


def _place(reg: Register) -> str:
    """Where it is and what may be done: `at 0x9030400, offset 0x400, 32 bits, rw`."""
    address = "" if reg.address is None else f"at {reg.address:#x}, "
    reset = "" if reg.reset is None else f", reset {reg.reset:#x}"
    return f"{address}offset {reg.offset:#x}, {reg.width} bits, {reg.access}{reset}"


def _value(reg: Register, seen: Look) -> str:
    if seen.value is None:
        return seen.reason
    return f"{hexadecimal(seen.value, reg.width)} = {seen.value} = {binary(seen.value, reg.width)}"


def _table(reg: Register, seen: Look, width: int | None) -> str:
    lines = [f"{clean(reg.path)}  {_place(reg)}"]
    if doc := summary(reg.doc):
        lines.append(cut(f"  {doc}", width))
    lines.append(f"  {_value(reg, seen)}")
    if reg.fields:
        lines += columns(parts(reg, seen.value), width=width, indent="  ")
    return "\n".join(lines)


def _terminal(width: int | None) -> int | None:
    if width is None and sys.stdout is not None and sys.stdout.isatty():
        from shutil import get_terminal_size

        return get_terminal_size().columns
    return width
