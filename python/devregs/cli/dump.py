"""`devregs dump`."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

from .._devregs import Device, Register
from .._text import clean
from ..display import Look, dump_rows, format_value, look_safely, name_of, part_of, readable, walk
from . import model, paths
from .options import BUS, OK, Failure, Parser, add_source
from .output import paint, print_json, print_table, width
from .target import Bench


class Dump(NamedTuple):
    """What is dumped of a device."""

    # What the board calls it; empty without a board.
    name: str
    device: Device
    parts: list[paths.Part]
    seen: list[tuple[Register, Look]]


def configure(parser: Parser) -> None:
    """The options of the command."""
    parser.usage = (
        "devregs dump [OPTION…] SOURCE [PATH…]\n"
        "       devregs dump --board FILE [OPTION…] [DEVICE[.PATH]…]"
    )
    parser.add_argument(
        "words",
        metavar="SOURCE",
        nargs="*",
        help="the source, then registers, groups or arrays in it (default: all of it)",
    )
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Print all registers that may be read. One that faults says so; the exit code tells."""
    if not options.words and options.board is None:
        raise Failure("dump needs a SOURCE; see devregs dump --help")
    with Bench(options) as bench:
        dumps: list[Dump] = []
        for name, path in bench.words(options.words):
            device = bench.device(name)
            if not dumps or dumps[-1].device is not device:
                dumps.append(Dump(name if options.board else "", device, [], []))
            dumps[-1].parts.append(_part(device, path))
        for dump in dumps:
            dump.seen.extend((reg, look_safely(reg)) for part in dump.parts for reg in walk(part))
        if options.json:
            print_json([_data(dump) for dump in dumps])
        else:
            for dump in dumps:
                _print(dump)
    failed = any(look.reason.startswith("bus error") for dump in dumps for _, look in dump.seen)
    return BUS if failed else OK


def _part(device: Device, path: str) -> paths.Part:
    if not path:
        return device
    found = paths.find(device, path)
    if isinstance(found, paths.Raw):
        raise Failure(f"{clean(path)}: a dump is of registers; read gives plain words")
    return found.register if isinstance(found, paths.Named) else found


def _print(dump: Dump) -> None:
    device = dump.device
    name = f"{clean(dump.name)}: " if dump.name else ""
    print(paint(f"{name}{clean(device.name)} at {clean(device.source)}", "bold"))
    if len(dump.seen) == 1 and isinstance(dump.parts[0], Register):
        # One register alone is worth a table of its own.
        reg, seen = dump.seen[0]
        if seen.value is not None:
            print(format_value(reg, seen.value, width=width()))
            return
    regions = _regions(device)
    # Offsets begin anew in each region.
    several = len(set(regions.values())) > 1
    rows = dump_rows(dump.seen, lambda reg: clean(_region(regions, reg)) if several else "")
    print_table(((*row, "") for row in rows), dim=(0,))
    if not rows:
        print("no registers")


def _data(dump: Dump) -> dict[str, Any]:
    regions = _regions(dump.device)
    return {
        "name": dump.name or None,
        "device": dump.device.name,
        "source": dump.device.source,
        "map": dump.device.map.origin,
        "registers": [
            {
                "path": reg.path,
                "region": _region(regions, reg),
                "offset": reg.offset,
                "address": reg.address,
                "width": reg.width,
                "access": reg.access,
                "value": seen.value,
                "reason": seen.reason or None,
                "fields": None if seen.value is None else fields(reg, seen.value),
            }
            for reg, seen in dump.seen
        ],
    }


def fields(reg: Register, value: int) -> dict[str, dict[str, Any]]:
    """The fields of a value that can be read: each its number, and that number's name or None."""
    found = {}
    for field in reg.fields:
        if readable(field):
            part = part_of(field, value)
            found[field.name] = {"value": part, "name": name_of(field, part) or None}
    return found


def _regions(device: Device) -> dict[str, str]:
    """The region of each register and group of a device."""
    data = model.of(device.map)
    return {node["name"]: region["name"] for region in data["regions"] for node in region["nodes"]}


def _region(regions: dict[str, str], reg: Register) -> str:
    return regions[reg.path.partition(".")[0].partition("[")[0]]
