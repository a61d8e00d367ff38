"""`devregs show` and `devregs maps`."""

from __future__ import annotations

import argparse
from typing import Any

from .. import _devregs
from .._text import clean, summary
from . import model
from .options import OK, Parser, add_output
from .output import paint, print_json, print_table, width
from .target import load_map

Row = tuple[str, ...]


def configure(parser: Parser) -> None:
    """The options of `show`."""
    parser.add_argument("map", metavar="MAP", help="a map of the library, or a file")
    parser.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        help="a region, group, register or field: that alone, in full",
    )
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Print a map, or a part of it."""
    data = model.of(load_map(options.map))
    if options.path is not None:
        return _part(data, options.path, options.json)
    if options.json:
        print_json(data)
        return OK
    print(
        paint(f"{clean(data['name'])}", "bold")
        + (f"  {summary(data['title'])}" if data["title"] else "")
    )
    about = [summary(data["reference"])] if data["reference"] else []
    about += (
        [f"fits {', '.join(clean(text) for text in data['compatible'])}"]
        if data["compatible"]
        else []
    )
    for line in [*about, clean(data["origin"])]:
        print(paint(f"  {line}", "dim"))
    _paragraph(data["doc"], "  ")
    for region in data["regions"]:
        print()
        _region(region)
    return OK


def configure_maps(parser: Parser) -> None:
    """The options of `maps`."""
    add_output(parser)


def run_maps(options: argparse.Namespace) -> int:
    """Print the maps of the library, one a line."""
    found = [model.of(_devregs.load(name)) for name in _devregs.builtin_maps()]
    if options.json:
        keys = ("name", "title", "reference", "compatible", "origin")
        print_json([{key: data[key] for key in keys} for data in found])
        return OK
    print_table((clean(data["name"]), summary(data["title"])) for data in found)
    return OK


def _part(data: dict[str, Any], path: str, as_json: bool) -> int:
    found = model.find(data, path)
    if not isinstance(found, model.Found):
        if as_json:
            print_json(found)
        else:
            _region(found)
        return OK
    node = found.field or found.way[-1]
    if as_json:
        print_json(node)
    elif found.field is not None:
        print_table(_field(found.field, found.way[-1], 0, True))
        _paragraph(found.field["doc"], "  ")
    elif node["kind"] == "group":
        print(
            paint(model.title(node), "bold") + f"  {_spread(node)} in {clean(found.region['name'])}"
        )
        _paragraph(node["doc"], "  ")
        print_table(_nodes(node["nodes"], found.region, 0), indent="  ")
    else:
        print(
            paint(model.title(node), "bold") + f"  {_offset(node)} in {clean(found.region['name'])}"
        )
        facts = [node["access"], f"{node['width']} bits", *model.register_notes(node, {**node})]
        if node["reset"]:
            facts.append(f"reset {model.reset(node)}")
        print(f"  {', '.join(facts)}")
        _paragraph(node["doc"], "  ")
        print_table(
            [row for field in _down(node["fields"]) for row in _field(field, node, 0, True)],
            indent="  ",
        )
    return OK


def _region(region: model.Node) -> None:
    facts = [
        region["access"],
        f"{region['width']} bits",
        f"{region['size']:#x} bytes at {region['offset']:#x}",
    ]
    if region["byte_order"] != "little":
        facts.append("big-endian")
    if region["uio_map"] is not None:
        facts.append(f"UIO map {clean(str(region['uio_map']))}")
    if region["pci_bar"] is not None:
        facts.append(f"BAR {region['pci_bar']}")
    print(
        paint(clean(region["name"]), "bold")
        + f"  {', '.join([*facts, *model.effects(_region_effects(region))])}"
    )
    _paragraph(region["doc"], "  ")
    print_table(_nodes(region["nodes"], region, 0), indent="  ", dim=(5,))


def _region_effects(region: model.Node) -> model.Node:
    return {"fifo": 0 if region["fifo"] else None, "on_read": region["on_read"]}


def _nodes(nodes: list[model.Node], region: model.Node, depth: int) -> list[Row]:
    """Rows of offset, name, access, reset, notes, doc; fields below their register, indented."""
    rows: list[Row] = []
    pad = "  " * depth
    for node in nodes:
        where, name = _offset(node), pad + model.title(node)
        if node["kind"] == "group":
            rows.append((where, name, "", "", _spread(node), summary(node["doc"])))
            rows += _nodes(node["nodes"], region, depth + 1)
            continue
        notes = model.register_notes(node, region)
        rows.append(
            (where, name, node["access"], model.reset(node), ", ".join(notes), summary(node["doc"]))
        )
        for field in _down(node["fields"]):
            rows += _field(field, node, depth + 1, False)
    return rows


def _field(field: model.Node, register: model.Node, depth: int, full: bool) -> list[Row]:
    """A field's row, and in full one for each value."""
    same = field["access"] == register["access"] and not full
    # What the register says of itself needs no saying again.
    inherited = [] if full else model.effects(register)
    notes = [note for note in model.effects(field) if note not in inherited]
    named = field["values"] or field["write_values"]
    if named and not full:
        notes.append(model.values(field))
    name = "  " * depth + clean(field["name"])
    row = (
        model.field_bits(field),
        name,
        "" if same else field["access"],
        "",
        ", ".join(notes),
        summary(field["doc"]),
    )
    rows: list[Row] = [row]
    if full:
        for key, what in (("values", ""), ("write_values", "to write")):
            rows += [
                (
                    f"{value['value']:#x}",
                    f"  {clean(value['name'])}",
                    what,
                    "",
                    "",
                    summary(value["doc"]),
                )
                for value in field[key] or ()
            ]
    return rows


def _down(fields: list[model.Node]) -> list[model.Node]:
    """Highest bit first, as manuals draw registers."""
    return fields[::-1]


def _offset(node: model.Node) -> str:
    return f"{node['offset']:#x}"


def _spread(node: model.Node) -> str:
    array = node["array"]
    return f"{array['count']} times, {array['stride']:#x} bytes apart" if array else "group"


def _paragraph(doc: str | None, indent: str) -> None:
    """Doc text in full, wrapped to the terminal."""
    from textwrap import wrap

    for paragraph in (doc or "").split("\n\n"):
        text = clean(" ".join(paragraph.split()))
        for line in wrap(text, max((width() or 100) - len(indent), 20), break_long_words=False):
            print(paint(indent + line, "dim"))
