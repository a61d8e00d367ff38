"""`devregs write`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field

from .._devregs import AccessError, Device, Field, MapError, Register
from .._text import clean
from ..display import readable
from . import model, paths
from .options import NO, OK, Failure, Parser, add_source
from .output import note, print_json
from .target import Bench


@dataclass
class Store:
    """One write: a whole register, a word, or some fields of a register together."""

    device: Device
    place: paths.Named | paths.Raw
    # Of a whole register or a word.
    value: int = 0
    # The fields of a register, as they were given.
    fields: dict[str, int | str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    # What the register should hold afterwards, as far as it is written.
    expected: int = 0

    def of(self, register: Register) -> bool:
        """Whether this writes fields of a register."""
        return (
            bool(self.fields)
            and isinstance(self.place, paths.Named)
            and self.place.register is register
        )


def configure(parser: Parser) -> None:
    """The options of the command."""
    parser.usage = (
        "devregs write [OPTION…] SOURCE PATH=VALUE…\n"
        "       devregs write --board FILE [OPTION…] DEVICE.PATH=VALUE…"
    )
    parser.add_argument(
        "words",
        metavar="PATH=VALUE",
        nargs="+",
        help="REGISTER=1, REGISTER.FIELD=0x1f, REGISTER.FIELD=NAME; or a word of a region by its "
        "offset in bytes: REGION+0x10=1",
    )
    parser.add_argument(
        "--verify",
        dest="read_back",
        action="store_true",
        help="read back and compare, where that is harmless and means something",
    )
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Write in the order given, neighbouring fields of one register together. Check all first."""
    with Bench(options) as bench:
        stores = _stores(bench, options.words)
        for store in stores:
            _check(store)
        results = []
        for store in stores:
            _write(store)
            seen = _read_back(store) if options.read_back else None
            results.append(
                {
                    "path": _path(store),
                    "value": store.fields or store.value,
                    "words": store.words,
                    "verified": seen,
                }
            )
    if options.json:
        print_json(results)
    return NO if any(result["verified"] is False for result in results) else OK


def _stores(bench: Bench, words: list[str]) -> list[Store]:
    stores: list[Store] = []
    for name, word in bench.words(words):
        path, equals, text = word.partition("=")
        if not equals or not path or not text:
            shown = clean(word or name)
            raise Failure(f"{shown}: what is to be written, and where? PATH=VALUE")
        device, label = bench.device(name), bench.label(name, word)
        place = paths.place(device, path)
        if isinstance(place, paths.Raw) or place.field is None:
            stores.append(Store(device, place, paths.integer(text), words=[label]))
            continue
        if not stores or not stores[-1].of(place.register):
            stores.append(Store(device, place))
        fields = stores[-1].fields
        if place.field.name in fields:
            raise Failure(f"{clean(path)} is given twice")
        fields[place.field.name] = paths.field_value(place.field, text)
        stores[-1].words.append(label)
    return stores


def _check(store: Store) -> None:
    """Refuse what cannot be written, without touching anything."""
    place = store.place
    if isinstance(place, paths.Raw):
        if not 0 <= store.value < 1 << place.width:
            raise MapError(f"{store.words[0]}: the value does not fit {place.width} bits")
        return
    reg = place.register
    if not reg.writable:
        raise AccessError(f"{clean(reg.path)} is read-only: it cannot be written")
    for part in _written(store, reg):
        if part.access == "ro" and store.fields:
            path = f"{clean(reg.path)}.{clean(part.name)}"
            raise AccessError(f"{path} is read-only: it cannot be written")
    if store.fields:
        store.expected = reg.encode(store.fields)
    else:
        reg.decode(store.value)
        store.expected = store.value


def _write(store: Store) -> None:
    place = store.place
    if isinstance(place, paths.Raw):
        place.region.write(place.offset, store.value, width=place.width)
    elif store.fields:
        place.register.modify(store.fields)
    else:
        place.register.write(store.value)


def _written(store: Store, reg: Register) -> Iterable[Field]:
    return [part for part in reg.fields if part.name in store.fields or not store.fields]


def _read_back(store: Store) -> bool | None:
    """Whether what was written is there; None where a look would be harmful or tell nothing."""
    place, words = store.place, clean(" ".join(store.words))
    if isinstance(place, paths.Raw):
        note(f"{words}: not read back: the map does not say what a read of a plain word does")
        return None
    reg = place.register
    if not reg.readable or reg.read_effect:
        note(f"{words}: not read back: {clean(reg.read_effect or 'the register is write-only')}")
        return None
    mask = _staying(store, reg)
    if not mask:
        note(f"{words}: not read back: what was written acts, and does not stay")
        return None
    seen, expected = reg.read() & mask, store.expected & mask
    if seen == expected:
        return True
    note(f"{words}: the register reads {seen:#x}, not {expected:#x}, in the bits {mask:#x}")
    return False


def _staying(store: Store, reg: Register) -> int:
    """The bits written that a later read should return: those of ordinary fields."""
    node = model.find(model.of(store.device.map), reg.path).way[-1]
    if not node["fields"]:
        return 0 if node["on_write"] else (1 << reg.width) - 1
    pulses = {part["name"] for part in node["fields"] if part["self_clear"]}
    mask = 0
    for part in _written(store, reg):
        if readable(part) and part.access != "ro" and not part.on_write and part.name not in pulses:
            mask |= ((1 << part.width) - 1) << part.lsb
    return mask


def _path(store: Store) -> str:
    place = store.place
    if isinstance(place, paths.Raw):
        return f"{place.region.name}+{place.offset:#x}"
    return place.register.path
