"""`devregs read`."""

from __future__ import annotations

import argparse
from typing import Any

from .._devregs import AccessError, Register
from .._text import clean
from ..display import digits, name_of, readable
from . import paths
from .dump import fields
from .options import OK, Failure, Parser, add_source
from .output import print_json, print_table
from .target import Bench

Wanted = tuple[str, paths.Named | paths.Raw]


def configure(parser: Parser) -> None:
    """The options of the command."""
    parser.usage = (
        "devregs read [OPTION…] SOURCE PATH…\n"
        "       devregs read --board FILE [OPTION…] DEVICE.PATH…"
    )
    parser.add_argument(
        "words",
        metavar="PATH",
        nargs="+",
        help="REGISTER, GROUP[1].REGISTER, REGISTER.FIELD; or a word of a region by its offset in "
        "bytes: REGION+0x10, REGION+0x10:16 (16 bits)",
    )
    parser.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="print the values alone, in hexadecimal, one a line",
    )
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Read and print. Neighbouring paths of one register share one read."""
    with Bench(options) as bench:
        pairs = bench.words(options.words)
        wanted: list[Wanted] = []
        for name, path in pairs:
            if not path:
                raise Failure(f"what is to be read of {clean(name)}? Name a register, or dump it")
            place = paths.place(bench.device(name), path)
            _refuse(place)
            wanted.append((bench.label(name, path), place))
        found = _read(wanted)
    if options.json:
        print_json(found)
    elif options.quiet:
        for item in found:
            print(f"{item['value']:#x}")
    else:
        print_table(
            (
                clean(item["path"]),
                digits(item["value"], item["width"]),
                str(item["value"]),
                clean(item["name"] or ""),
                "",
            )
            for item in found
        )
    return OK


def _refuse(place: paths.Named | paths.Raw) -> None:
    """Refuse what cannot be read before anything is."""
    if isinstance(place, paths.Raw):
        return
    path = clean(place.register.path)
    if not place.register.readable:
        raise AccessError(f"{path} is write-only: it cannot be read")
    if place.field is not None and not readable(place.field):
        raise AccessError(
            f"{path}.{clean(place.field.name)} is write-only: reading it has no meaning"
        )


def _read(wanted: list[Wanted]) -> list[dict[str, Any]]:
    found = []
    last: Register | None = None
    value = 0
    for path, place in wanted:
        if isinstance(place, paths.Raw):
            last = None
            value = place.region.read(place.offset, width=place.width)
            address = place.region.address
            found.append(
                {
                    "path": path,
                    "value": value,
                    "name": None,
                    "width": place.width,
                    "offset": place.offset,
                    "address": None if address is None else address + place.offset,
                    "fields": None,
                }
            )
            continue
        reg, field = place.register, place.field
        # Who names a whole register again wants it read again.
        if reg is not last or field is None:
            value, last = reg.read(), reg
        shown = value if field is None else value >> field.lsb & ((1 << field.width) - 1)
        found.append(
            {
                "path": path,
                "value": shown,
                "name": None if field is None else name_of(field, shown) or None,
                "width": reg.width if field is None else field.width,
                "offset": reg.offset,
                "address": reg.address,
                "fields": fields(reg, value) if field is None else None,
            }
        )
    return found
