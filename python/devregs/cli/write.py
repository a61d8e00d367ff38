"""`devregs write`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any

from .._devregs import AccessError, MapError, Register
from .._text import clean
from ..display import readable
from . import paths
from .options import NO, OK, Failure, Parser, add_source
from .output import note, print_json
from .target import Bench


@dataclass
class Store:
    """One write: a whole register, a word, or some fields of a register together."""

    place: paths.Named | paths.Raw
    # Of a whole register or a word.
    value: int = 0
    # The fields of a register, as they were given.
    fields: dict[str, int | str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    # What can be compared when the register is read back.
    mask: int = 0
    expected: int = 0


def configure(parser: Parser) -> None:
    """The options of the command."""
    parser.usage = "devregs write [OPTION…] SOURCE PATH=VALUE…\n       devregs write --board FILE [OPTION…] DEVICE.PATH=VALUE…"
    parser.add_argument(
        "words",
        metavar="PATH=VALUE",
        nargs="+",
        help="REGISTER=1, REGISTER.FIELD=0x1f, REGISTER.FIELD=NAME; or a word of a region: REGION+0x10=1",
    )
    parser.add_argument(
        "--verify",
        dest="read_back",
        action="store_true",
        help="read back and compare, where that is harmless and means something",
    )
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Write in the order given; fields of one register beside each other in one write. All is checked first."""
    with Bench(options) as bench:
        stores = _stores(bench, options.words)
        for store in stores:
            _check(store)
        wrong, results = False, []
        for store in stores:
            _write(store)
            seen = _read_back(store) if options.read_back else None
            wrong |= seen is False
            results.append(
                {
                    "words": store.words,
                    "path": _path(store),
                    "value": _value(store),
                    "verified": seen,
                }
            )
    if options.json:
        print_json(results)
    return NO if wrong else OK


def _stores(bench: Bench, words: list[str]) -> list[Store]:
    stores: list[Store] = []
    for name, word in bench.words(words):
        path, equals, text = word.partition("=")
        if not equals or not path or not text:
            raise Failure(f"{clean(word or name)}: what is to be written, and where? PATH=VALUE")
        place = paths.place(bench.device(name), path)
        label = bench.label(name, word)
        if isinstance(place, paths.Raw) or place.field is None:
            stores.append(Store(place, paths.integer(text), words=[label]))
            continue
        last = stores[-1] if stores else None
        same = last is not None and last.fields and _register(last) is place.register
        store = last if last is not None and same else Store(place._replace(field=None))
        if place.field.name in store.fields:
            raise Failure(f"{clean(path)} is given twice")
        store.fields[place.field.name] = paths.field_value(place.field, text)
        store.words.append(label)
        if store is not last:
            stores.append(store)
    return stores


def _check(store: Store) -> None:
    """Refuse what cannot be written, and work out what can be compared, without touching anything."""
    place = store.place
    if isinstance(place, paths.Raw):
        if not 0 <= store.value < 1 << place.width:
            raise MapError(f"{store.words[0]}: the value does not fit {place.width} bits")
        store.mask, store.expected = (1 << place.width) - 1, store.value
        return
    reg = place.register
    if not reg.writable:
        raise AccessError(f"{clean(reg.path)} is read-only: it cannot be written")
    named = reg.fields
    if store.fields:
        store.expected = reg.encode(store.fields)
        named = tuple(part for part in reg.fields if part.name in store.fields)
        for part in named:
            if part.access == "ro":
                raise AccessError(
                    f"{clean(reg.path)}.{clean(part.name)} is read-only: it cannot be written"
                )
    else:
        reg.decode(store.value)
        store.expected = store.value
        if not reg.fields:
            store.mask = (1 << reg.width) - 1
    for part in named:
        if readable(part) and part.access != "ro" and part.on_write is None:
            store.mask |= ((1 << part.width) - 1) << part.lsb


def _write(store: Store) -> None:
    place = store.place
    if isinstance(place, paths.Raw):
        place.region.write(place.offset, store.value, width=place.width)
    elif store.fields:
        place.register.modify(store.fields)
    else:
        place.register.write(store.value)


def _read_back(store: Store) -> bool | None:
    """Whether what was written is there; None where a look would change something or tell nothing."""
    place, words = store.place, clean(" ".join(store.words))
    if isinstance(place, paths.Raw):
        note(f"{words}: not read back: the map does not say what a read of a plain word does")
        return None
    reg = place.register
    if not reg.readable or reg.read_effect:
        note(f"{words}: not read back: {clean(reg.read_effect or 'the register is write-only')}")
        return None
    if not store.mask:
        note(f"{words}: not read back: what was written acts, and does not stay")
        return None
    seen = reg.read()
    if seen & store.mask == store.expected & store.mask:
        return True
    note(
        f"{words}: {clean(reg.path)} reads {seen:#x}, not {store.expected & store.mask:#x} in the bits {store.mask:#x}"
    )
    return False


def _register(store: Store) -> Register | None:
    return None if isinstance(store.place, paths.Raw) else store.place.register


def _path(store: Store) -> str:
    place = store.place
    return (
        f"{place.region.name}+{place.offset:#x}"
        if isinstance(place, paths.Raw)
        else place.register.path
    )


def _value(store: Store) -> Any:
    return store.fields or store.value
