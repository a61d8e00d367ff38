"""`devregs show` and `devregs maps`."""

from __future__ import annotations

import argparse
from typing import Any

from .. import _devregs
from .._text import clean, summary
from . import model, rules
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
    _paragraph(data["doc"])
    for region in data["regions"]:
        print()
        _region(region)
    if data.get("behaviour"):
        print(f"\n{paint('behaviour', 'bold')}")
        print_table(rules.rows(data["behaviour"]), indent="  ", dim=(2,))
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
    regions = {region["name"]: region for region in data["regions"]}
    if path in regions and path not in model.names(data):
        found = model.Found(regions[path], [], None)
    else:
        found = model.find(data, path)
    where = clean(found.region["name"])
    if as_json:
        print_json(found.field or (found.way[-1] if found.way else found.region))
    elif found.field is not None:
        _one_field(found.field)
    elif not found.way:
        _region(found.region)
    elif found.way[-1]["kind"] == "group":
        _group(found.way[-1], where)
    else:
        _register(found.way[-1], where)
    return OK


def _group(node: model.Node, where: str) -> None:
    print(f"{paint(model.title(node), 'bold')}  {_spread(node)}, at {_offset(node)} in {where}")
    _paragraph(node["doc"])
    _table(_nodes(node["nodes"], None, 1))


def _register(node: model.Node, where: str) -> None:
    print(f"{paint(model.title(node), 'bold')}  at {_offset(node)} in {where}")
    facts = [node["access"], f"{node['width']} bits", *model.register_notes(node, None)]
    if node["reset"]:
        facts.append(f"reset {model.reset(node)}")
    print(f"  {', '.join(facts)}")
    _paragraph(node["doc"])
    print_table(
        [row for field in node["fields"][::-1] for row in _field_in_full(field)], indent="  "
    )


def _one_field(node: model.Node) -> None:
    bits, name, access, effects, _ = _field_in_full(node)[0]
    print(f"{paint(name, 'bold')}  bits {bits}, {access}{', ' if effects else ''}{effects}")
    _paragraph(node["doc"])
    print_table(_field_in_full(node)[1:], indent="  ")


def _region(region: model.Node) -> None:
    size, offset = f"{region['size']:#x}", f"{region['offset']:#x}"
    facts = [region["access"], f"{region['width']} bits", f"{size} bytes at {offset}"]
    if region["byte_order"] != "little":
        facts.append(f"{region['byte_order']}-endian")
    if region["uio_map"] is not None:
        facts.append(f"UIO map {clean(str(region['uio_map']))}")
    if region["pci_bar"] is not None:
        facts.append(f"BAR {region['pci_bar']}")
    facts += model.effects({"fifo": 0 if region["fifo"] else None, "on_read": region["on_read"]})
    print(f"{paint(clean(region['name']), 'bold')}  {', '.join(facts)}")
    _paragraph(region["doc"])
    _table(_nodes(region["nodes"], region, 0))


def _table(rows: list[Row]) -> None:
    if rows:
        print_table(rows, head=("offset", "name", "access", "reset", "", ""), indent="  ", dim=(5,))


def _nodes(nodes: list[model.Node], region: model.Node | None, depth: int) -> list[Row]:
    """Rows of offset, name, access, reset, notes, doc; fields below their register, indented.

    Offsets in a group are from its start, and so have a plus sign.
    """
    rows: list[Row] = []
    pad = "  " * depth
    for node in nodes:
        where = ("+" if depth else "") + _offset(node)
        name, doc = pad + model.title(node), summary(node["doc"])
        if node["kind"] == "group":
            rows.append((where, name, "", "", _spread(node), doc))
            rows += _nodes(node["nodes"], region, depth + 1)
            continue
        notes = ", ".join(model.register_notes(node, region))
        rows.append((where, name, node["access"], model.reset(node), notes, doc))
        rows += [_field(field, node, pad + "  ") for field in node["fields"][::-1]]
    return rows


def _field(field: model.Node, register: model.Node, pad: str) -> Row:
    """A field's row: what it shares with its register is not said again."""
    access = "" if field["access"] == register["access"] else field["access"]
    known = model.effects(register)
    notes = [note for note in model.effects(field) if note not in known]
    notes += [model.values(field)] if model.values(field) else []
    bits = model.field_bits(field)
    return bits, pad + clean(field["name"]), access, "", ", ".join(notes), summary(field["doc"])


def _field_in_full(field: model.Node) -> list[Row]:
    """A field's row and one for each of its values."""
    bits, name, effects = model.field_bits(field), clean(field["name"]), model.effects(field)
    rows: list[Row] = [(bits, name, field["access"], ", ".join(effects), summary(field["doc"]))]
    for key, use in (("values", ""), ("write_values", "to write")):
        for value in field[key] or ():
            number, meaning = f"{value['value']:#x}", summary(value["doc"])
            rows.append((number, f"  {clean(value['name'])}", use, "", meaning))
    return rows


def _offset(node: model.Node) -> str:
    return f"{node['offset']:#x}"


def _spread(node: model.Node) -> str:
    array = node["array"]
    return f"{array['count']} times, {array['stride']:#x} bytes apart" if array else "group"


def _paragraph(doc: str | None) -> None:
    """Doc text in full, wrapped to the terminal."""
    from textwrap import wrap

    for paragraph in (doc or "").split("\n\n"):
        text = clean(" ".join(paragraph.split()))
        for line in wrap(text, max((width() or 100) - 2, 20), break_long_words=False):
            print(paint(f"  {line}", "dim"))
