"""Snapshots as JSON files: what is written, and what is made of a file that may be damaged.

A file has one register a line, so that it can be read, and compared by other tools too.
"""

from __future__ import annotations

import json
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ._devregs import Map, MapError, load
from ._text import clean
from .display import Look, digits, name_of, part_of, readable
from .snapshot import Entry

if TYPE_CHECKING:
    from .snapshot import Snapshot

FORMAT = "devregs-snapshot"
VERSION = 1

Parts = tuple[Map, str, str, list[Entry], list[str] | None]


def text(snapshot: Snapshot) -> str:
    """The file of a snapshot."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "map": snapshot.name,
        "origin": snapshot.map.origin,
        "source": snapshot.source,
        "time": snapshot.time,
    }
    if snapshot.only is not None:
        head["only"] = list(snapshot.only)
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    registers = [
        f"    {json.dumps(entry.path)}: {json.dumps(_data(entry))}"
        for entry in snapshot.entries.values()
    ]
    body = ",\n".join(registers)
    return "\n".join(["{", *lines, '  "registers": {', *([body] if body else []), "  }", "}", ""])


def _data(entry: Entry) -> dict[str, Any]:
    value, reason = entry.seen
    data: dict[str, Any] = {"width": entry.width}
    if entry.address is not None:
        data["address"] = f"{entry.address:#x}"
    if value is None:
        return {**data, "error" if reason.startswith("bus error") else "skipped": reason}
    data["value"] = digits(value, entry.width)
    if fields := _fields(entry, value):
        data["fields"] = fields
    return data


def _fields(entry: Entry, value: int) -> dict[str, int | str]:
    """Each field's value by its name, or as a number."""
    parts = {f.name: (f, part_of(f, value)) for f in entry.fields if readable(f)}
    return {name: name_of(field, part) or part for name, (field, part) in parts.items()}


def parse(content: bytes, file: str, given: str | PathLike[str] | Map | None) -> Parts:
    """What a Snapshot is made of. Raises MapError with the place of what is wrong."""
    data = _json(content, file)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        _wrong(file, f'this is no snapshot: "format" is not {FORMAT!r}')
    if data.get("version") != VERSION:
        _wrong(
            f"{file}: version",
            f"this devregs reads version {VERSION}, and the file has {data.get('version')!r}",
        )
    known = {"format", "version", "map", "origin", "source", "time", "only", "registers"}
    _keys(data, known, known - {"only"}, file)
    for key in ("map", "origin", "source", "time"):
        if not isinstance(data[key], str):
            _wrong(f"{file}: {key}", f"text is needed, not {_shown(data[key])}")
    try:
        datetime.fromisoformat(data["time"])
    except ValueError:
        _wrong(f"{file}: time", f"{_shown(data['time'])} is no time such as 2026-03-01T12:00:00Z")
    only = data.get("only")
    if only is not None and not (
        isinstance(only, list) and all(isinstance(path, str) for path in only)
    ):
        _wrong(f"{file}: only", f"a list of paths is needed, not {_shown(only)}")
    if not isinstance(data["registers"], dict):
        _wrong(f"{file}: registers", f"an object is needed, not {_shown(data['registers'])}")
    device_map = _map(data, file, given)
    entries = [
        _entry(device_map, path, register, f"{file}: registers.{clean(path)}")
        for path, register in data["registers"].items()
    ]
    return device_map, data["source"], data["time"], entries, only


def _json(content: bytes, file: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice!r} is there twice")
        return found

    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=once)
    except json.JSONDecodeError as error:
        _wrong(f"{file}:{error.lineno}:{error.colno}", f"this is no JSON: {error.msg}")
    except UnicodeDecodeError as error:
        _wrong(file, f"byte {error.start} is no UTF-8: the file is damaged, or is no snapshot")
    except RecursionError:
        _wrong(file, "this is no snapshot: it is nested too deep")
    except ValueError as error:
        _wrong(file, clean(str(error)))


def _map(data: dict[str, Any], file: str, given: str | PathLike[str] | Map | None) -> Map:
    """The map that was given, or the one the snapshot was taken with, from where it was."""
    name, origin = data["map"], data["origin"]
    if given is not None:
        found = load(given)
    elif origin.startswith("builtin:"):
        try:
            found = load(name)
        except MapError as error:
            _wrong(f"{file}: map", f"{error}; give the map it is of")
    elif Path(origin).is_file():
        found = load(Path(origin))
    else:
        shown = f"{clean(name)} ({clean(origin)})"
        _wrong(f"{file}: origin", f"it is of the map {shown}, which is not there; give the map")
    if found.name != name:
        other = f"{found.name} ({clean(found.origin)})"
        _wrong(f"{file}: map", f"it is a snapshot of {clean(name)}, and the map is {other}")
    return found


def _entry(device_map: Map, path: str, data: Any, place: str) -> Entry:
    try:
        said = device_map.describe(path)
    except MapError as error:
        _wrong(place, f"the map {device_map.name} has no such register: {error}")
    if said["path"] != path:
        _wrong(place, f"the map {device_map.name} writes it {said['path']!r}")
    if not isinstance(data, dict):
        _wrong(place, f"an object is needed, not {_shown(data)}")
    _keys(data, {"width", "address", "value", "fields", "skipped", "error"}, {"width"}, place)
    width = data["width"]
    if width != said["width"]:
        _wrong(f"{place}.width", f"{_shown(width)}, and the register has {said['width']} bits")
    kinds = [kind for kind in ("value", "skipped", "error") if kind in data]
    if len(kinds) != 1 or ("fields" in data and kinds != ["value"]):
        _wrong(place, 'one of "value" (with "fields"), "skipped" and "error" is needed')
    address = _number(data["address"], 64, f"{place}.address") if "address" in data else None
    where = (path, said["region"], said["offset"], address, width, said["fields"])
    if kinds != ["value"]:
        reason = data[kinds[0]]
        if not isinstance(reason, str) or reason.startswith("bus error") != (kinds == ["error"]):
            _wrong(f"{place}.{kinds[0]}", f"{_shown(reason)} is no reason why there is no value")
        return Entry(*where, Look(None, reason))
    entry = Entry(*where, Look(_number(data["value"], width, f"{place}.value"), ""))
    _check_fields(entry, data.get("fields", {}), f"{place}.fields")
    return entry


def _check_fields(entry: Entry, fields: Any, place: str) -> None:
    """The fields are there to be read; what they say must be what the value says."""
    if not isinstance(fields, dict):
        _wrong(place, f"an object is needed, not {_shown(fields)}")
    decoded = _fields(entry, entry.seen.value or 0)
    for name, value in fields.items():
        if name not in decoded:
            _wrong(place, f"{entry.path} has no field {_shown(name)} that can be read")
        if value != decoded[name] or isinstance(value, bool):
            number = f"the value {digits(entry.seen.value or 0, entry.width)}"
            _wrong(
                f"{place}.{clean(name)}",
                f"{_shown(value)}, but {number} has {_shown(decoded[name])} there: one of them was "
                "changed, or the map was; leave the fields out to go by the value",
            )


def _number(value: Any, bits: int, place: str) -> int:
    try:
        number = int(value, 0) if isinstance(value, str) else -1
    except ValueError:
        number = -1
    if not 0 <= number < 1 << bits:
        _wrong(place, f'{_shown(value)} is no number of {bits} bits in text, such as "0x1f"')
    return number


def _keys(data: dict[str, Any], known: set[str], needed: set[str], place: str) -> None:
    for key in data:
        if key not in known:
            _wrong(place, f"there is no key {_shown(key)}; the keys are {', '.join(sorted(known))}")
    for key in sorted(needed):
        if key not in data:
            _wrong(place, f"{key!r} is missing")


def _shown(value: Any) -> str:
    """A value of the file, as far as a message has room for it."""
    shown = clean(json.dumps(value, ensure_ascii=False))
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def _wrong(place: str, problem: str) -> NoReturn:
    raise MapError(f"{place}: {problem}")
