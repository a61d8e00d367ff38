"""`devregs stubs`: the types of a map, for editors and type checkers."""

from __future__ import annotations

import argparse
import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import _devregs
from .._text import clean, summary
from . import model
from .options import OK, Parser
from .output import note
from .target import load_map

_HEAD = '''\
"""Types of the device {name}{title}. Written by: devregs stubs {map}

    from typing import TYPE_CHECKING, cast
    import devregs
    if TYPE_CHECKING:
        from {module} import {device}

    device = cast("{device}", devregs.open('{map}', SOURCE))
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Generic, Literal, Never, TypeVar, overload

import devregs

_Element = TypeVar("_Element")

class Elements(Generic[_Element]):
    """Registers or groups that repeat."""

    path: str
    stride: int
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int) -> _Element: ...
    @overload
    def __getitem__(self, index: slice) -> list[_Element]: ...
    def __iter__(self) -> Iterator[_Element]: ...
'''

# Words that the stub itself uses. Parts with these names are left out.
_WORDS = {"Elements", "Iterator", "Mapping", "IntEnum", "Generic", "Literal", "Never", "TypeVar"}
_WORDS |= {"overload", "property", "devregs", "int", "str", "float", "slice", "list"}


def configure(parser: Parser) -> None:
    """The options of the command."""
    parser.add_argument("map", metavar="MAP", help="a map of the library, or a file")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the .pyi file to write, beside the script that uses it (default: print it)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the stub."""
    data = model.of(load_map(options.map))
    file = None if options.output is None else Path(options.output)
    text = stub(data, options.map, file.stem if file else f"{data['name'].replace('-', '_')}_types")
    if file is None:
        print(text, end="")
    else:
        file.write_text(text, encoding="utf-8")
        note(f"wrote {clean(str(file))}")
    return OK


def stub(data: dict[str, Any], name: str, module: str) -> str:
    """The text of a stub for a map, which was loaded by `name` and will be imported as `module`."""
    names = set(_WORDS)
    words = re.split(r"\W|_", data["name"])
    device = _unique("".join(word[:1].upper() + word[1:] for word in words), names)
    title = f", {summary(data['title'])}" if data["title"] else ""
    head = _HEAD.format(
        name=clean(data["name"]),
        title=_quotable(title),
        map=_quotable(clean(name)),
        module=module,
        device=device,
    )
    nodes = [node for region in data["regions"] for node in region["nodes"]]
    lines = list(_group(device, _devregs.Device, nodes, data["title"], "", names))
    return head + "\n".join(["", *lines])


def _group(
    name: str, base: type, nodes: list[model.Node], doc: str | None, prefix: str, names: set[str]
) -> Iterator[str]:
    """The class of a device or group, after those of what is in it."""
    parts: list[str] = []
    called = _called(base, nodes)
    for node in nodes:
        own = _unique(f"{prefix}_" + re.sub(r"\W", "_", node["name"]), names)
        if node["kind"] == "group":
            yield from _group(own, _devregs.Group, node["nodes"], node["doc"], own, names)
        else:
            yield from _register(own, node, names)
        if attribute := called.get(node["name"]):
            parts.append(f"    {attribute}: {f'Elements[{own}]' if node['array'] else own}")
    yield from _class(name, base, doc)
    yield from parts
    yield from _end(nodes, called)


def _register(name: str, node: model.Node, names: set[str]) -> Iterator[str]:
    """The class of a register, after the enumerations of its fields."""
    called = _called(_devregs.Register, node["fields"])
    fields = [field for field in node["fields"] if field["name"] in called]
    kinds: dict[str, str] = {}
    for field in fields:
        if members := _members(field["values"]):
            kinds[field["name"]] = kind = _unique(f"{name}_{field['name']}", names)
            yield f"class {kind}(IntEnum):"
            yield from (f"    {member} = {value:#x}" for member, value in members)
            yield ""
    yield from _class(name, _devregs.Register, node["doc"])
    for field in fields:
        yield from _field(called[field["name"]], kinds.get(field["name"]), field, node)
    yield from _methods([field for field in fields if _plain(field["name"])], node)
    yield from _end(node["fields"], called)


def _end(parts: list[model.Node], called: dict[str, str]) -> Iterator[str]:
    """What ends a class: no other name passes, unless some part had to be left out."""
    if all(part["name"] in called for part in parts):
        yield "    __getattr__: None  # type: ignore[assignment, misc]"
    else:
        yield "    ..."
    yield ""


def _field(name: str, kind: str | None, field: model.Node, node: model.Node) -> Iterator[str]:
    """A property: what reading gives, the enumeration `kind` or a number, and what is written."""
    read = f"{kind} | int" if kind else "int"
    # A write-only field is there, but looking at it never gives anything.
    readable = "wo" not in (field["access"][:2], node["access"][:2])
    bits = f"bits {model.field_bits(field)}"
    doc = ". ".join(text for text in (summary(field["doc"]), bits) if text)
    yield "    @property"
    yield f"    def {name}(self) -> {read if readable else 'Never'}: {_string(doc)}"
    if _writable(field, node):
        yield f"    @{name}.setter"
        yield f"    def {name}(self, value: {_written(field)}) -> None: ..."


def _methods(fields: list[model.Node], node: model.Node) -> Iterator[str]:
    """The methods that take fields by keyword."""
    readable = [field for field in fields if not field["access"].startswith("wo")]
    writable = [field for field in fields if _writable(field, node)]
    first = "self, fields: Mapping[str, int | str] = ..., /, *"
    ignore = "# type: ignore[override]"
    if writable:
        given = "".join(f", {field['name']}: {_written(field)} = ..." for field in writable)
        yield f"    def modify({first}{given}) -> None: ...  {ignore}"
        yield f"    def encode({first}{given}) -> int: ...  {ignore}"
    if readable and not node["access"].startswith("wo"):
        given = "".join(
            f", {field['name']}: {_given(field['values'])} = ..."
            for field in readable
            # The method has these for itself.
            if field["name"] not in ("timeout", "interval")
        )
        times = "timeout: float | None = None, interval: float = 0.0"
        yield f"    def wait({first}, {times}{given}) -> int: ...  {ignore}"


def _class(name: str, base: type, doc: str | None) -> Iterator[str]:
    yield f"class {name}(devregs.{base.__name__}):"
    if doc:
        yield f"    {_string(summary(doc))}"


def _writable(field: model.Node, node: model.Node) -> bool:
    return bool(field["access"] != "ro" and node["access"] != "ro")


def _written(field: model.Node) -> str:
    values = field["values"] if field["write_values"] is None else field["write_values"]
    return _given(values)


def _given(values: list[model.Node]) -> str:
    names = ", ".join(f'"{value["name"]}"' for value in values)
    return f"int | Literal[{names}]" if names else "int"


def _members(values: list[model.Node]) -> list[tuple[str, int]]:
    """The values whose names a member of an enumeration can have."""
    return [(v["name"], v["value"]) for v in values if _plain(v["name"]) and v["name"] != "mro"]


def _called(base: type, parts: list[model.Node]) -> dict[str, str]:
    """The parts that are attributes in the stub, and what they are called there."""
    called = _devregs._attributes(base.__name__.lower(), [part["name"] for part in parts])
    return {
        name: attribute
        for attribute, name in called.items()
        if _plain(attribute) and attribute not in _WORDS
    }


def _plain(name: str) -> bool:
    """Whether it is a name in code. What begins with an underscore may be one of the stub's own."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and name[0] != "_"


def _unique(name: str, names: set[str]) -> str:
    """The name, with a number where it is taken; and now it is."""
    found, count = name, 1
    while found in names:
        count += 1
        found = f"{name}_{count}"
    names.add(found)
    return found


def _string(text: str) -> str:
    return f'"""{_quotable(text)}"""'


def _quotable(text: str) -> str:
    """Clean text as it may stand between quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
