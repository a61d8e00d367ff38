"""Which registers, fields and named values a run read and wrote: in a block, or of a whole script.

>>> with devregs.coverage.collect() as coverage:
...     run()
>>> print(coverage)

$ python -m devregs.coverage script.py --its-options
"""

from __future__ import annotations

import contextlib
import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ._devregs import Device, _Tally, _unwatch_opens, _watch_opens

__all__ = ["Coverage", "FieldCoverage", "MapCoverage", "RegisterCoverage", "collect"]

# How many names of a list a report shows unless it is to be full.
SHOWN = 12


@dataclass
class FieldCoverage:
    """What was touched of a field, in any element of its register's array."""

    name: str
    readable: bool
    writable: bool
    read: bool
    written: bool
    values: dict[str, bool]
    """Each named value, and whether it was seen."""


@dataclass
class RegisterCoverage:
    """What was touched of a register, or of all elements of an array of it."""

    path: str
    """`CH[].CTRL`: arrays have no index."""
    elements: int
    readable: bool
    writable: bool
    reads: int
    writes: int
    elements_read: int
    elements_written: int
    fields: list[FieldCoverage]


@dataclass
class MapCoverage:
    """What was touched of a map, over all devices that were opened with it."""

    name: str
    origin: str
    registers: list[RegisterCoverage]

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """What there is to touch, by kind: how much was touched, and how much there is."""
        registers, fields = self.registers, [f for r in self.registers for f in r.fields]
        return {
            "registers read": _count(r.reads > 0 for r in registers if r.readable),
            "registers written": _count(r.writes > 0 for r in registers if r.writable),
            "fields read": _count(f.read for f in fields if f.readable),
            "fields written": _count(f.written for f in fields if f.writable),
            "values seen": _count(seen for f in fields for seen in f.values.values()),
        }

    @property
    def percent(self) -> float:
        """How much of all there is to touch was touched, from 0 to 100."""
        return _percent([self])


class Coverage:
    """What was touched so far. str() of it is a report."""

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}
        self._texts: dict[str, str] = {}
        self._merged: dict[str, dict[str, Any]] = {}

    def add(self, device: Device) -> None:
        """Count the accesses of this device from now on, until `stop()`. Those through views are not seen."""
        # Devices whose maps say the same count together, wherever the maps came from: the origin is the last key.
        text = device.map.to_json()
        key = text[: text.rindex('"origin"')]
        if key not in self._tallies:
            self._tallies[key] = _Tally(device.map)
            self._texts.setdefault(key, text)
        self._tallies[key].attach(device)

    def stop(self) -> None:
        """Count no more."""
        for tally in self._tallies.values():
            tally.stop()

    def save(self) -> str:
        """All of it as text, for `merge` of another process."""
        entries = {self._texts[key]: list(found.values()) for key, found in self._found().items()}
        return json.dumps(entries)

    def merge(self, saved: str) -> None:
        """Add what another process saved."""
        for text, entries in json.loads(saved).items():
            key = text[: text.rindex('"origin"')]
            self._texts.setdefault(key, text)
            _join(self._merged.setdefault(key, {}), entries)

    @property
    def maps(self) -> list[MapCoverage]:
        """Map by map, in the order of their names."""
        found = self._found()
        made = [_of_map(json.loads(self._texts[key]), found[key]) for key in found]
        return sorted(made, key=lambda item: (item.name, item.origin))

    @property
    def percent(self) -> float:
        """How much of all there is to touch was touched, from 0 to 100; 100 where no device was opened."""
        return _percent(self.maps)

    def report(self, *, full: bool = False) -> str:
        """A table, and what was never touched; long lists are cut, with a count, unless `full`."""
        maps = self.maps
        if not maps:
            return "no device was opened\n"
        return _table(maps) + "".join(_gaps(item, full) for item in maps)

    def to_json(self) -> str:
        """The report for programs."""
        maps = [
            {**asdict(item), "percent": round(item.percent, 2), "counts": item.counts}
            for item in self.maps
        ]
        return json.dumps({"percent": round(self.percent, 2), "maps": maps}, indent=2) + "\n"

    def __str__(self) -> str:
        return self.report()

    def _found(self) -> dict[str, dict[str, Any]]:
        """By map and path, what the tallies and the other processes have."""
        found: dict[str, dict[str, Any]] = {}
        for key, entries in self._merged.items():
            _join(found.setdefault(key, {}), entries.values())
        for key, tally in self._tallies.items():
            _join(found.setdefault(key, {}), json.loads(tally.to_json()))
        return found


@contextlib.contextmanager
def collect(*devices: Device) -> Iterator[Coverage]:
    """See what is touched while the block runs: of devices opened in it, and of `devices`.

    It keeps no device open and does not grow with the number of accesses. Accesses through views are
    not seen.
    """
    coverage = Coverage()
    for device in devices:
        coverage.add(device)
    _watch_opens(coverage.add)
    try:
        yield coverage
    finally:
        _unwatch_opens(coverage.add)
        coverage.stop()


def _join(into: dict[str, Any], entries: Any) -> None:
    for entry in entries:
        have = into.get(entry["path"])
        if have is None:
            into[entry["path"]] = {
                "path": entry["path"],
                **{way: dict(entry[way]) for way in ("read", "written")},
            }
            continue
        for way in ("read", "written"):
            old, new = have[way], entry[way]
            have[way] = {
                "count": old["count"] + new["count"],
                "mask": old["mask"] | new["mask"],
                "elements": sorted({*old["elements"], *new["elements"]}),
                "fields": [
                    {"name": a["name"], "values": _either(a["values"], b["values"])}
                    for a, b in zip(old["fields"], new["fields"], strict=True)
                ],
            }


def _either(one: list[list[Any]], other: list[list[Any]]) -> list[list[Any]]:
    return [[number, a or b] for (number, a), (_, b) in zip(one, other, strict=True)]


def _of_map(model: dict[str, Any], found: dict[str, Any]) -> MapCoverage:
    registers = [
        _of_register(register, path, elements, found.get(path))
        for region in model["regions"]
        for register, path, elements in _walk(region["nodes"], "", 1)
    ]
    return MapCoverage(model["name"], model["origin"], registers)


def _walk(nodes: Any, prefix: str, times: int) -> Iterator[tuple[dict[str, Any], str, int]]:
    for node in nodes:
        array = node["array"]
        path = prefix + node["name"] + ("[]" if array else "")
        elements = times * (array["count"] if array else 1)
        if node["kind"] == "group":
            yield from _walk(node["nodes"], path + ".", elements)
        else:
            yield node, path, elements


NOTHING: dict[str, Any] = {"count": 0, "mask": 0, "elements": [], "fields": []}


def _of_register(
    register: dict[str, Any], path: str, elements: int, entry: dict[str, Any] | None
) -> RegisterCoverage:
    read, written = (entry["read"], entry["written"]) if entry else (NOTHING, NOTHING)
    return RegisterCoverage(
        path=path,
        elements=elements,
        readable="r" in register["access"],
        writable="w" in register["access"],
        reads=read["count"],
        writes=written["count"],
        elements_read=len(read["elements"]),
        elements_written=len(written["elements"]),
        fields=[_of_field(field, read, written) for field in register["fields"]],
    )


def _of_field(field: dict[str, Any], read: Any, written: Any) -> FieldCoverage:
    mask = (2 ** field["width"] - 1) << field["lsb"]
    name, readable, writable = field["name"], "r" in field["access"], "w" in field["access"]
    seen_read, seen_written = _numbers(read, name), _numbers(written, name)
    # Where reads and writes have names of their own, a name is seen one way only.
    if field["write_values"] is None:
        seen = seen_read | seen_written
        values = {value["name"]: value["value"] in seen for value in field["values"]}
    else:
        values = {value["name"]: value["value"] in seen_read for value in field["values"]}
        for value in field["write_values"]:
            values[value["name"]] = (
                values.get(value["name"], False) or value["value"] in seen_written
            )
    return FieldCoverage(
        name=name,
        readable=readable,
        writable=writable,
        read=readable and bool(read["mask"] & mask),
        written=writable and bool(written["mask"] & mask),
        values=values,
    )


def _numbers(way: dict[str, Any], field: str) -> set[int]:
    """The numbers with names that were seen of a field."""
    return {
        number
        for named in way["fields"]
        if named["name"] == field
        for number, seen in named["values"]
        if seen
    }


def _count(touched: Iterator[bool]) -> tuple[int, int]:
    every = list(touched)
    return sum(every), len(every)


def _percent(maps: list[MapCoverage]) -> float:
    counts = [count for item in maps for count in item.counts.values()]
    there = sum(total for _, total in counts)
    return 100.0 * sum(touched for touched, _ in counts) / there if there else 100.0


def _table(maps: list[MapCoverage]) -> str:
    head = ["map", *maps[0].counts, "covered"]
    rows = [head]
    for item in maps:
        counts = [
            f"{touched} of {total}" if total else "-" for touched, total in item.counts.values()
        ]
        rows.append([item.name, *counts, _floor(item.percent)])
    if len(maps) > 1:
        sums = [
            [sum(column) for column in zip(*kind, strict=True)]
            for kind in zip(*(item.counts.values() for item in maps), strict=True)
        ]
        counts = [f"{touched} of {total}" if total else "-" for touched, total in sums]
        rows.append(["all", *counts, _floor(_percent(maps))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + "\n"
        for row in rows
    )


def _floor(percent: float) -> str:
    """Whole per cents; 100 % only where nothing is missing."""
    return f"{int(percent)} %"


def _gaps(item: MapCoverage, full: bool) -> str:
    """What was never touched. Of registers that were not touched at all, fields and values are not told."""
    registers = item.registers
    read = [r for r in registers if r.reads]
    written = [r for r in registers if r.writes]
    touched = [r for r in registers if r.reads or r.writes]
    lists = {
        "never read": [r.path for r in registers if r.readable and not r.reads],
        "never written": [r.path for r in registers if r.writable and not r.writes],
        "fields never read": [
            f"{r.path}.{f.name}" for r in read for f in r.fields if f.readable and not f.read
        ],
        "fields never written": [
            f"{r.path}.{f.name}" for r in written for f in r.fields if f.writable and not f.written
        ],
        "values never seen": [
            f"{r.path}.{f.name}={name}"
            for r in touched
            for f in r.fields
            if f.read or f.written
            for name, seen in f.values.items()
            if not seen
        ],
        "elements": [_elements(r) for r in touched if r.elements > 1],
    }
    lines = [
        textwrap.fill(
            _names(names, full),
            width=110,
            initial_indent=f"  {title:22}",
            subsequent_indent=" " * 24,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for title, names in lists.items()
        if names
    ]
    return "\n".join(["", f"{item.name} ({item.origin})", *lines, ""])


def _elements(register: RegisterCoverage) -> str:
    ways = []
    if register.readable:
        ways.append(f"{register.elements_read} read")
    if register.writable:
        ways.append(f"{register.elements_written} written")
    return f"{register.path}: {' and '.join(ways)} of {register.elements}"


def _names(names: list[str], full: bool) -> str:
    if full or len(names) <= SHOWN + 1:
        return ", ".join(names)
    return ", ".join(names[:SHOWN]) + f", and {len(names) - SHOWN} more"


def main() -> None:
    """Run a script, and tell at its end, on standard error, what it touched."""
    import argparse
    import runpy
    import sys
    from pathlib import Path

    parser = argparse.ArgumentParser(
        prog="python -m devregs.coverage",
        description="Run a script, and tell at its end what it read and wrote of each device map.",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the report as JSON too")
    parser.add_argument("--full", action="store_true", help="cut no list")
    parser.add_argument("script", help="the script to run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments")
    options = parser.parse_args()
    if not Path(options.script).exists():
        parser.error(f"{options.script}: there is no such script")
    sys.argv = [options.script, *options.arguments]
    sys.path[0] = str(Path(options.script).resolve().parent)
    with collect() as coverage:
        try:
            runpy.run_path(options.script, run_name="__main__")
        finally:
            sys.stdout.flush()
            sys.stderr.write("\n" + coverage.report(full=options.full))
            if options.json is not None:
                try:
                    options.json.write_text(coverage.to_json())
                except OSError as error:
                    sys.exit(f"the report was not written: {error}")


if __name__ == "__main__":
    main()
