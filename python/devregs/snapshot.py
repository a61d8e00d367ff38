"""What the registers of a device held at one moment: taken, compared, saved and loaded.

Taking a snapshot reads each register once that a read does not change; all else here touches
nothing. A snapshot knows its map, so that it is decoded without the device too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

from ._devregs import AccessError, Device, Field, Map, MapError, Register
from ._text import clean, columns, near
from .display import Look, brief, dump_rows, look_safely, mask_of, part_of, readable, walk

__all__ = ["Change", "Diff", "Entry", "FieldChange", "Snapshot"]


class Entry(NamedTuple):
    """A register in a snapshot: where it is, and what it held or why that is not known."""

    path: str
    region: str
    # In bytes from the start of the region.
    offset: int
    address: int | None
    # In bits.
    width: int
    fields: tuple[Field, ...]
    seen: Look


class FieldChange(NamedTuple):
    """A field that differs: its values, as members of its enum where the map names them."""

    name: str
    before: int
    after: int


class Change(NamedTuple):
    """A register that differs. A value is None where a snapshot has none; `note` says why."""

    path: str
    before: int | None
    after: int | None
    fields: tuple[FieldChange, ...]
    note: str
    # The values and what is behind them, as they are printed.
    values: str
    details: str

    def __str__(self) -> str:
        return f"{clean(self.path)}  {self.values}  {self.details}".rstrip()


class Diff(tuple[Change, ...]):
    """The registers that differ between two snapshots, in ascending order. False if none does."""

    __slots__ = ()

    def __str__(self) -> str:
        rows = [(clean(change.path), change.values, change.details) for change in self]
        return "\n".join(columns(rows)) or "no changes"


class Snapshot(Mapping[str, int]):
    """What the registers of a device held: register path to value, in ascending order.

    `snapshot["CTRL"]` is a register's value, `snapshot["CTRL.MODE"]` a field's, as a member of its
    enum where the map names it. Registers without a value are in `skipped` and `errors`; asking
    for one raises a KeyError that says why there is none.
    """

    __slots__ = ("_entries", "_map", "_only", "_source", "_time")

    def __init__(
        self,
        map: Map,
        source: str,
        time: str,
        entries: Iterable[Entry],
        only: Iterable[str] | None = None,
    ) -> None:
        self._map = map
        self._source = source
        self._time = time
        self._entries = {entry.path: entry for entry in entries}
        self._only = None if only is None else tuple(only)

    @property
    def name(self) -> str:
        """The name of the device's map."""
        return self._map.name

    @property
    def map(self) -> Map:
        """The map that decodes it."""
        return self._map

    @property
    def source(self) -> str:
        """The source the device was opened from."""
        return self._source

    @property
    def time(self) -> str:
        """When it was taken, in UTC: `2026-03-01T12:00:00Z`."""
        return self._time

    @property
    def only(self) -> tuple[str, ...] | None:
        """The paths and patterns it is limited to; None for the whole device."""
        return self._only

    @property
    def entries(self) -> Mapping[str, Entry]:
        """Every register it knows of, those without a value too."""
        return MappingProxyType(self._entries)

    @property
    def skipped(self) -> Mapping[str, str]:
        """The registers that were not read, each with the reason."""
        return self._without(faulted=False)

    @property
    def errors(self) -> Mapping[str, str]:
        """The registers whose read met a fault, each with the bus error."""
        return self._without(faulted=True)

    def __getitem__(self, path: str) -> int:
        if path in self._entries:
            return self._value(self._entries[path])
        register, _, name = path.rpartition(".")
        entry = self._entries.get(register)
        if entry is None:
            raise KeyError(f"the snapshot has no {path!r}{near(path, self._entries)}")
        for field in entry.fields:
            if field.name == name:
                if not readable(field):
                    raise KeyError(f"{path} is write-only: what it held is not known")
                return _decoded(field, self._value(entry))
        raise KeyError(
            f"{register} has no field {name!r}{near(name, [field.name for field in entry.fields])}"
        )

    def __iter__(self) -> Iterator[str]:
        return (path for path, entry in self._entries.items() if entry.seen.value is not None)

    def __len__(self) -> int:
        return sum(entry.seen.value is not None for entry in self._entries.values())

    # `==` is that of mappings: the same registers with the same values. What else it knows does not count.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[str], Snapshot], tuple[str]]:
        # As its file: who unpickles it needs the map from where it was.
        return _unpickled, (self.to_json(),)

    def __repr__(self) -> str:
        return f"<devregs.Snapshot of {self.name} at {self._source}, {self._time}>"

    def __str__(self) -> str:
        several = len({entry.region for entry in self._entries.values()}) > 1
        rows = dump_rows(
            ((entry, entry.seen) for entry in self._entries.values()),
            lambda entry: clean(entry.region) if several else "",
        )
        head = f"{clean(self.name)} at {clean(self._source)}, {clean(self._time)}"
        return "\n".join([head, *columns(rows)])

    def diff(self, other: Snapshot, *, ignore: str | Iterable[str] = ()) -> Diff:
        """What is different in `other`, decoded to fields; false if nothing is.

        `ignore` names registers, groups or fields that do not count, or is patterns with `*` and
        `?`. Raises MapError where the snapshots are of different devices, or one of `ignore`
        names nothing.
        """
        if not isinstance(other, Snapshot):
            raise TypeError(f"a snapshot is compared with a snapshot, not {type(other).__name__}")
        if other.name != self.name:
            raise MapError(
                f"a snapshot of {self.name} and one of {other.name}: there is nothing to compare"
            )
        both = _by_address([*self._entries.values(), *other._entries.values()])
        names = dict.fromkeys(entry.path for entry in both)
        names |= dict.fromkeys(f"{e.path}.{field.name}" for e in both for field in e.fields)
        ignored = chosen(ignore, names)
        found = []
        for path in (entry.path for entry in both if entry.path not in ignored):
            change = _change(self._entries.get(path), other._entries.get(path), ignored)
            if change is not None:
                found.append(change)
        return Diff(found)

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a JSON file, a register a line, decoded so that a person can read it."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """What `save` writes."""
        from ._snapshot_file import text

        return text(self)

    @classmethod
    def load(cls, path: str | PathLike[str], map: str | PathLike[str] | Map | None = None) -> Self:
        """Read a file that `save` wrote. Without `map`, the map it names is taken.

        Raises MapError where that map is not to be found, the file is of another one, a register
        is not in it, or the file is damaged; the error says where.
        """
        from ._snapshot_file import parse

        shown = clean(str(path))
        return cls(*parse(Path(path).read_bytes(), shown, map))

    def _value(self, entry: Entry) -> int:
        if entry.seen.value is None:
            raise KeyError(f"{entry.path} has no value in the snapshot: {entry.seen.reason}")
        return entry.seen.value

    def _without(self, faulted: bool) -> Mapping[str, str]:
        return MappingProxyType(
            {
                path: entry.seen.reason
                for path, entry in self._entries.items()
                if entry.seen.value is None and entry.seen.reason.startswith("bus error") == faulted
            }
        )


def _unpickled(text: str) -> Snapshot:
    from ._snapshot_file import parse

    return Snapshot(*parse(text.encode(), "a pickled snapshot", None))


def take(device: Device, only: str | Iterable[str] | None = None) -> Snapshot:
    """What `Device.snapshot` does."""
    registers = ascending(device)
    if only is not None:
        only = [only] if isinstance(only, str) else list(only)
        wanted = chosen(only, dict.fromkeys(reg.path for reg in registers))
        registers = [reg for reg in registers if reg.path in wanted]
    time = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    entries = []
    for reg in registers:
        try:
            seen = look_safely(reg)
        except AccessError as error:
            if device.closed:
                raise
            # The machine has no single access so wide.
            seen = Look(None, f"not read: {clean(str(error))}")
        place = (reg.path, reg.region.name, reg.offset, reg.address, reg.width, reg.fields)
        entries.append(Entry(*place, seen))
    return Snapshot(device.map, device.source, time, entries, only)


def ascending(device: Device) -> list[Register]:
    """The registers of a device by address: arrays may be woven into each other."""
    regions = {name: at for at, name in enumerate(device.regions)}
    return sorted(walk(device), key=lambda reg: (regions[reg.region.name], reg.offset))


def chosen(patterns: str | Iterable[str], names: Collection[str]) -> set[str]:
    """The names that the patterns mean: a name means what is in it too, `CH[2]` all below it.

    `*` stands for any text and `?` for one character. Raises MapError for one that means nothing.
    """
    found: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        escaped = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        match = re.compile(rf"{escaped}([.\[].*)?", re.DOTALL).fullmatch
        meant = {name for name in names if match(name)}
        if not meant:
            raise MapError(f"{clean(pattern)!r} names nothing here{near(pattern, names)}")
        found |= meant
    return found


def _by_address(entries: Iterable[Entry]) -> list[Entry]:
    """Registers of two snapshots, each once, in ascending order."""
    each = {entry.path: entry for entry in entries}
    regions = list(dict.fromkeys(entry.region for entry in each.values()))
    return sorted(each.values(), key=lambda e: (regions.index(e.region), e.offset))


def _change(before: Entry | None, after: Entry | None, ignored: set[str]) -> Change | None:
    entry = after or before
    assert entry is not None
    old = None if before is None else before.seen.value
    new = None if after is None else after.seen.value
    if old is None and new is None:
        return None
    if old is None or new is None:
        lacking = before if old is None else after
        side = "second" if old is None else "first"
        note = f"only in the {side}" if lacking is None else lacking.seen.reason
        values = f"{_hex(old)} -> {_hex(new)}"
        return Change(entry.path, old, new, (), note, values, clean(note))
    assert before is not None
    assert after is not None
    fields, details = [], []
    other = ((1 << max(before.width, after.width)) - 1) & (old ^ new)
    for field in entry.fields:
        mask = mask_of(field)
        if f"{entry.path}.{field.name}" in ignored:
            other &= ~mask
        elif readable(field):
            if other & mask:
                fields.append(FieldChange(field.name, _decoded(field, old), _decoded(field, new)))
                texts = (brief(field, part_of(field, value)) for value in (old, new))
                details.append(f"{clean(field.name)} {' -> '.join(texts)}")
            other &= ~mask
    if not fields and not other:
        return None
    note = ""
    if other and entry.fields:
        note = f"other bits {old & other:#x} -> {new & other:#x}"
    if before.width != after.width:
        note = f"{before.width} bits -> {after.width} bits"
    details += [note] if note else []
    values = f"{_hex(old)} -> {_hex(new)}"
    return Change(entry.path, old, new, tuple(fields), note, values, ", ".join(details))


def _hex(value: int | None) -> str:
    return "-" if value is None else f"{value:#x}"


def _decoded(field: Field, value: int) -> int:
    """The field's number in its register's value, or the member of its enum."""
    part = part_of(field, value)
    try:
        return part if field.values is None else field.values(part)
    except ValueError:
        # A number that the map has no name for.
        return part
