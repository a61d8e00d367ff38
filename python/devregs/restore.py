"""Writing a snapshot back: ordinary read-write bits only, one load and at most one store each.

What acts when written gets the value that does nothing, and a register where there is no such
value is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ._devregs import BusError, Device, Field, MapError, Register
from ._text import clean, columns
from .display import brief, mask_of, part_of, readable
from .snapshot import Entry, Snapshot, ascending, chosen

__all__ = ["Restored"]


class Write(NamedTuple):
    """A register that was written: what it held, what was stored, and the bits that were meant."""

    before: int
    value: int
    mask: int
    details: str


class Restored(NamedTuple):
    """What a restore did, by the paths of registers, in ascending order."""

    # Nothing was written: `written` is what would have been.
    dry_run: bool
    written: dict[str, Write]
    # Those that held what the snapshot has, as far as it can be written.
    same: list[str]
    # Registers, and fields that differ, that were not written: each with the reason.
    left: dict[str, str]
    # What was written and reads back differently: what the snapshot has, and what was read.
    differs: dict[str, tuple[int, int]]
    # Accesses that met a fault on the bus.
    errors: dict[str, str]

    def __str__(self) -> str:
        rows = [
            (clean(path), f"{write.before:#x} -> {write.value:#x}", write.details)
            for path, write in self.written.items()
        ]
        verb = "would be written" if self.dry_run else "written"
        lines = [f"{len(rows)} {verb}, {len(self.same)} the same", *columns(rows)]
        reasons: dict[str, list[str]] = {}
        for path, reason in self.left.items():
            reasons.setdefault(reason, []).append(path)
        lines += [f"left: {_spans(paths)}: {clean(why)}" for why, paths in reasons.items()]
        lines += [
            f"differs: {clean(path)} reads {read:#x}, not {wanted:#x}"
            for path, (wanted, read) in self.differs.items()
        ]
        lines += [f"failed: {clean(path)}: {clean(text)}" for path, text in self.errors.items()]
        return "\n".join(lines)


class Plan(NamedTuple):
    """How a register is written back."""

    # The bits that get the snapshot's value.
    mask: int
    # The bits that get what they hold.
    keep: int
    # Those of the mask that a later read should return.
    staying: int


def restore(
    device: Device,
    snapshot: Snapshot,
    only: str | Iterable[str] | None,
    dry_run: bool,
    verify: bool,
) -> Restored:
    """What `Device.restore` does."""
    if not isinstance(snapshot, Snapshot):
        raise TypeError(
            f"a Snapshot is restored, not {type(snapshot).__name__}: Snapshot.load(file)"
        )
    if only is not None:
        only = [only] if isinstance(only, str) else list(only)
    registers = ascending(device)
    wanted = _wanted(device, snapshot, registers, only)
    sharing = _sharing(registers)
    named = frozenset(only or ())
    done = Restored(dry_run, {}, [], {}, {}, {})
    plans: list[tuple[Register, Entry, Plan]] = []
    for reg in registers:
        entry = wanted.get(reg.path)
        if entry is None:
            continue
        plan = _plan(device, reg, entry, sharing.get(_plain(reg.path)), reg.path in named)
        if isinstance(plan, str):
            done.left[reg.path] = plan
        elif _write(reg, entry, plan, done):
            plans.append((reg, entry, plan))
    if verify and not dry_run:
        # After all writes: one may have changed what another has written.
        for reg, entry, plan in plans:
            _compare(reg, entry, plan, done)
    return done


def _wanted(
    device: Device, snapshot: Snapshot, registers: list[Register], only: list[str] | None
) -> dict[str, Entry]:
    """What is to be restored. Raises MapError where that is not of this device."""
    if snapshot.name != device.name:
        raise MapError(
            f"this is a {device.name}, and the snapshot is of a {snapshot.name}: nothing is written"
        )
    widths = {reg.path: reg.width for reg in registers}
    for path, entry in snapshot.entries.items():
        if path not in widths:
            raise MapError(
                f"the snapshot has {path}, which the map of {device.name} has not: nothing is written"
            )
        if entry.width != widths[path]:
            raise MapError(
                f"{device.name}.{path} has {widths[path]} bits, and {entry.width} in the snapshot: "
                "nothing is written"
            )
    entries = dict(snapshot.entries)
    if only is None:
        return entries
    names = chosen(only, entries)
    return {path: entry for path, entry in entries.items() if path in names}


def _write(reg: Register, entry: Entry, plan: Plan, done: Restored) -> bool:
    """Write a register where it differs: one load, and one store or none. Whether it is written."""
    wanted = entry.seen.value
    assert wanted is not None
    try:
        now = reg.read()
        _note_rest(reg, (now ^ wanted) & ~plan.mask, done)
        if not (now ^ wanted) & plan.mask:
            done.same.append(reg.path)
            return False
        # Over the values that do nothing.
        rest = now & plan.keep | reg.encode() & ~plan.keep
        value = wanted & plan.mask | rest & ~plan.mask
        if not done.dry_run:
            reg.write(value)
    except BusError as error:
        done.errors[reg.path] = str(error.strerror or error)
        return False
    details = ", ".join(
        f"{clean(field.name)} {brief(field, part_of(field, now))} -> "
        f"{brief(field, part_of(field, value))}"
        for field in reg.fields
        if mask_of(field) & plan.mask & (now ^ value)
    )
    done.written[reg.path] = Write(now, value, plan.mask, details)
    return True


def _compare(reg: Register, entry: Entry, plan: Plan, done: Restored) -> None:
    """Note where a register that was written reads differently: one load, or none."""
    if not plan.staying:
        return
    wanted = (entry.seen.value or 0) & plan.staying
    try:
        seen = reg.read() & plan.staying
    except BusError as error:
        done.errors[reg.path] = str(error.strerror or error)
        return
    if seen != wanted:
        done.differs[reg.path] = (wanted, seen)


def _note_rest(reg: Register, different: int, done: Restored) -> None:
    """Note the bits that differ and are not written back."""
    for field in reg.fields:
        mask = mask_of(field)
        if readable(field) and different & mask:
            done.left[f"{reg.path}.{field.name}"] = _not_ordinary(field) or "it is kept"
        different &= ~mask
    if different:
        done.left[reg.path] = f"the bits {different:#x}, which no field covers, are kept"


def _plan(
    device: Device, reg: Register, entry: Entry, sharing: str | None, named: bool
) -> Plan | str:
    """How a register is written back, or why it is not. `named`: the caller insists."""
    if entry.seen.value is None:
        return f"no value was taken: {entry.seen.reason}"
    if not reg.writable:
        return "read-only"
    if effect := reg.read_effect:
        return f"cannot be compared: {effect}"
    said = device.map.describe(reg.path)
    writable = [field for field in reg.fields if field.access != "ro"]
    for field in writable:
        if reason := _without_neutral(field):
            return f"a write would be one of {field.name} too, {reason}"
    if "once" in reg.access:
        return "it can be written only once"
    insist = "; name it, and it is written nonetheless"
    if not named:
        if said["fifo"] is not None:
            return f"a write puts a word into the FIFO{insist}"
        if sharing:
            return f"it shares its address with {sharing}, so which is meant is not known{insist}"
    every = (1 << reg.width) - 1
    covered = _mask(reg.fields)
    effects = {field.on_write for field in writable}
    if covered != every:
        effects.add(said["on_write"])
    if effects & {"clear", "set"}:
        return "any write to it has an effect: write() does it"
    if "modify" in effects and not named:
        return f"a write has an effect that the map does not describe{insist}"
    ordinary = _mask(field for field in writable if not _not_ordinary(field))
    acting = _mask(field for field in writable if field.on_write == "modify")
    keep = _mask(field for field in reg.fields if field.access == "ro") & ~_mask(writable)
    if not reg.fields:
        ordinary = every if said["on_write"] is None else 0
        acting = every if said["on_write"] == "modify" else 0
    elif said["reserved"] == "preserve" and said["on_write"] is None:
        keep |= every & ~covered
    if not ordinary | acting:
        return "none of its bits keeps what is written"
    return Plan(ordinary | acting, keep, ordinary)


def _not_ordinary(field: Field) -> str:
    """Why a field is not just what was written to it last, or an empty text."""
    if field.access == "ro":
        return "read-only"
    if field.self_clear:
        return "it clears itself"
    return f"it acts when written: {field.on_write}" if field.on_write else ""


def _without_neutral(field: Field) -> str:
    """Why nothing can be written to a field without harm, or an empty text."""
    if "once" in field.access:
        return "which can be written only once"
    if field.access == "wo" and not field.on_write and not field.self_clear:
        return "which cannot be read, so what it holds is not known"
    return ""


def _spans(paths: list[str]) -> str:
    """Paths in one line: neighbours in an array share a word, `TRIM[0..3]`."""
    words: list[str] = []
    array, first, last = "", 0, 0
    for path in paths:
        name, _, index = path.removesuffix("]").rpartition("[")
        if not path.endswith("]"):
            array = ""
        elif name == array and int(index) == last + 1:
            last += 1
            words[-1] = f"{clean(name)}[{first}..{last}]"
            continue
        else:
            array, first, last = name, int(index), int(index)
        words.append(clean(path))
    return ", ".join(words)


def _mask(fields: Iterable[Field]) -> int:
    mask = 0
    for field in fields:
        mask |= mask_of(field)
    return mask


def _plain(path: str) -> str:
    """A path without indices: what one element of an array does, the others do."""
    return re.sub(r"\[\d+\]", "", path)


def _sharing(registers: list[Register]) -> dict[str, str]:
    """Writable registers that share bytes with another writable one, each with one such."""
    found: dict[str, str] = {}
    # Of each region, where the register that reaches furthest ends.
    reach: dict[str, tuple[int, str]] = {}
    for reg in registers:
        if reg.writable:
            path, region = _plain(reg.path), reg.region.name
            end, other = reach.get(region, (0, path))
            if reg.offset < end:
                found.setdefault(path, other)
                found.setdefault(other, path)
            if reg.offset + reg.width // 8 > end:
                reach[region] = (reg.offset + reg.width // 8, path)
    return found
