"""Maps as plain data: what `Map.to_json` tells, and how it is put in words."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from .._devregs import Map
from .._text import clean
from ..display import bits
from .options import Failure
from .target import near

Node = dict[str, Any]

_READS = {
    "clear": "a read clears it",
    "set": "a read sets it",
    "modify": "a read changes it",
    "modify-external": "a read acts",
}
_WRITES = {
    "one-to-clear": "1 clears",
    "one-to-set": "1 sets",
    "one-to-toggle": "1 toggles",
    "zero-to-clear": "0 clears",
    "zero-to-set": "0 sets",
    "zero-to-toggle": "0 toggles",
    "clear": "any write clears",
    "set": "any write sets",
    "modify": "a write acts",
}


class Found(NamedTuple):
    """What a path names in a map."""

    region: Node
    # The registers and groups on the way, outermost first; the last one is meant.
    way: list[Node]
    field: Node | None


def of(device_map: Map) -> dict[str, Any]:
    """The map as data."""
    data: dict[str, Any] = json.loads(device_map.to_json())
    return data


def find(data: dict[str, Any], path: str) -> Found:
    """What a path names: a group, register or field, with or without indices."""
    homes = {node["name"]: region for region in data["regions"] for node in region["nodes"]}
    here = {node["name"]: node for region in data["regions"] for node in region["nodes"]}
    way: list[Node] = []
    field: Node | None = None
    done, region = data["name"], homes
    for segment in path.split("."):
        name, index = _segment(segment, path)
        if field is not None or name not in here:
            what = "field" if way and way[-1]["kind"] == "register" else "part"
            raise Failure(f"{clean(done)} has no {what} {clean(name)!r}{near(name, list(here))}")
        node = here[name]
        count = (node.get("array") or {"count": 0})["count"]
        if index is not None and index >= count:
            reach = f"it goes from 0 to {count - 1}" if count else "it is no array"
            raise Failure(f"{clean(path)}: there is no {clean(name)}[{index}]: {reach}")
        done = f"{done}.{name}"
        if "lsb" in node:
            field, here = node, {}
            continue
        region = region if way else homes[name]
        way.append(node)
        # A group holds nodes, a register fields, and a field nothing.
        here = {part["name"]: part for part in node.get("nodes", node.get("fields", ()))}
    return Found(region, way, field)


def names(data: dict[str, Any]) -> set[str]:
    """The names of a map's registers and groups, but for those inside groups."""
    return {node["name"] for region in data["regions"] for node in region["nodes"]}


def title(node: Node) -> str:
    """The name, with the indices of an array: `CH[0..3]`."""
    array = node.get("array")
    return clean(node["name"]) + (f"[0..{array['count'] - 1}]" if array else "")


def effects(node: Node) -> list[str]:
    """What reading and writing a register or field does, in words."""
    words = []
    if node.get("fifo") is not None:
        words.append("FIFO" + (f" of {node['fifo']} words" if node["fifo"] else ""))
    elif node.get("on_read"):
        words.append(_READS[node["on_read"]])
    if node.get("on_write"):
        words.append(_WRITES[node["on_write"]])
    if node.get("self_clear"):
        words.append("clears itself")
    return words


def register_notes(node: Node, region: Node | None) -> list[str]:
    """All that is particular about a register, beside what it has from its region."""
    words = effects(node)
    if region is not None and node["width"] != region["width"]:
        words.append(f"{node['width']} bits")
    if node["byte_order"] != ("little" if region is None else region["byte_order"]):
        words.append(f"{node['byte_order']}-endian")
    if node["split"]:
        words.append(f"two accesses, {node['split']}")
    if node["expect"]:
        mask = node["expect"]["mask"]
        whole = mask == (1 << node["width"]) - 1
        words.append(
            f"must be {node['expect']['value']:#x}" + ("" if whole else f" in the bits {mask:#x}")
        )
    if node["reserved"] != "preserve":
        words.append(f"reserved bits: {node['reserved']}")
    words += [f"{what} by {clean(name)}" for what, name in node["aliases"].items() if name]
    return words


def reset(node: Node) -> str:
    """The reset value, with `X` for each digit of which nothing is known."""
    if not node["reset"]:
        return ""
    value, mask = node["reset"]["value"], node["reset"]["mask"]
    if mask == (1 << node["width"]) - 1:
        return f"{value:#x}"
    digits = range(node["width"] // 4 - 1, -1, -1)
    return "0x" + "".join(f"{value >> 4 * d & 15:x}" if mask >> 4 * d & 15 else "X" for d in digits)


def field_bits(field: Node) -> str:
    """`7:4`, or `3`."""
    return bits(field["lsb"], field["width"])


def values(field: Node) -> str:
    """The names of a field's values in one line."""
    text = " ".join(f"{clean(value['name'])}={value['value']:#x}" for value in field["values"])
    if field["write_values"] is not None:
        written = " ".join(
            f"{clean(value['name'])}={value['value']:#x}" for value in field["write_values"]
        )
        return f"{text}; to write: {written}" if text else f"to write: {written}"
    return text


def counts(data: dict[str, Any]) -> tuple[int, int]:
    """How many registers a map has, elements of arrays each, and how many regions."""

    def registers(nodes: list[Node]) -> int:
        total = 0
        for node in nodes:
            times = node["array"]["count"] if node["array"] else 1
            total += times * (1 if node["kind"] == "register" else registers(node["nodes"]))
        return total

    return sum(registers(region["nodes"]) for region in data["regions"]), len(data["regions"])


def _segment(segment: str, path: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"([^\[\]]+)(?:\[(\d+)\])?", segment)
    if match is None:
        raise Failure(f"{clean(path)!r} is no path: REGISTER, GROUP[1].REGISTER, REGISTER.FIELD")
    return match[1], None if match[2] is None else int(match[2])
