"""`devregs scan`."""

from __future__ import annotations

import argparse
from typing import Any

from .. import _devregs
from .._text import clean
from .options import NO, OK, Parser, add_output, add_root
from .output import note, print_json, print_table


def configure(parser: Parser) -> None:
    """The options of the command."""
    add_root(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Print what is here; no device is opened."""
    found = _devregs.scan(options.root)
    if options.json:
        print_json(found)
    elif found:
        rows = [row for entry in found for row in _rows(entry)]
        print_table(rows, head=("SOURCE", "NAME", "DRIVER", "MAP THAT FITS", "MEMORY"))
    if not found:
        note("no UIO devices and no PCI functions here")
        return NO
    return OK


def _rows(entry: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    memory = []
    for span in entry["maps"]:
        place = "-" if span["address"] is None else f"{span['address']:#x}"
        memory.append(f"{clean(span['name'])} {place}, {span['size']:#x} bytes")
    first, *more = memory or ["-"]
    fits = ", ".join(entry["fits"]) or "-"
    # A source is printed as it is typed: it has no characters that a terminal acts on.
    row = (entry["source"], clean(entry["name"]), clean(entry["driver"] or "-"), fits, first)
    return [row, *(("", "", "", "", text) for text in more)]
