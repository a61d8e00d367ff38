"""A model of the hardware: registers as random maps describe them, and what a write does to them.

It is written from the reference of the map format, not from the library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import devregs
from hypothesis import strategies as st

# What to write so that nothing happens; None where every write does something.
NEUTRAL = {
    "one-to-clear": 0,
    "one-to-set": 0,
    "one-to-toggle": 0,
    "zero-to-clear": 1,
    "zero-to-set": 1,
    "zero-to-toggle": 1,
    "clear": None,
    "set": None,
    "modify": None,
}
SHORT = {
    "w1c": "one-to-clear",
    "w1s": "one-to-set",
    "w1t": "one-to-toggle",
    "w0c": "zero-to-clear",
    "w0s": "zero-to-set",
    "w0t": "zero-to-toggle",
    "wc": "clear",
    "ws": "set",
}
ON_READ = ["clear", "set", "modify", "modify-external"]

BASE = 0x40
SIZE = 0x80


@dataclass(frozen=True, eq=False)
class Part:
    """A field as the map gives it, with what it is in the end."""

    name: str
    lsb: int
    width: int
    text: str
    access: str
    on_read: str | None
    on_write: str | None
    self_clear: bool
    values: dict[str, int]

    @property
    def mask(self) -> int:
        return ((1 << self.width) - 1) << self.lsb

    @property
    def readable(self) -> bool:
        return self.access in ("rw", "ro", "rw-once")

    @property
    def writable(self) -> bool:
        return self.access != "ro"


@dataclass(frozen=True, eq=False)
class Model:
    """A register and its fields."""

    path: str
    toml: str
    width: int
    order: str
    access: str
    on_read: str | None
    on_write: str | None
    reserved: str
    reset: int
    parts: tuple[Part, ...]

    @property
    def all(self) -> int:
        return (1 << self.width) - 1

    @property
    def loads(self) -> bool:
        """Whether a field write may read the register first."""
        effect = self.on_read or any(part.on_read for part in self.parts)
        return self.access in ("rw", "ro", "rw-once") and not effect

    @property
    def uncovered(self) -> int:
        covered = 0
        for part in self.parts:
            covered |= part.mask
        return self.all & ~covered

    def others(self, named: int) -> list[Part]:
        """The fields a write of the bits `named` must spare. Of two that share bits, the one for writes counts."""
        return [
            part
            for part in self.parts
            if part.writable and part.mask & ~named and self.access != "ro"
        ]

    def can_spare(self, part: Part) -> bool:
        """Whether there is anything to write to a field that leaves it as it is."""
        if part.access in ("rw-once", "wo-once"):
            return False
        if part.on_write:
            return NEUTRAL[part.on_write] is not None
        if part.self_clear:
            return True
        return part.access == "rw" and self.loads

    def spared(self, part: Part, before: int, word: int) -> bool:
        """Whether a field that held `before` is untouched by a write of `word`."""
        written = word & part.mask
        if part.on_write:
            return written == (part.mask if NEUTRAL[part.on_write] else 0)
        if part.self_clear:
            return written == 0
        return written == before & part.mask

    def check_reserved(self, before: int, word: int) -> None:
        """The bits no field covers got what the map says."""
        bits = self.uncovered
        if self.reserved == "zero":
            want = 0
        elif self.reserved == "one":
            want = bits
        elif self.on_write:
            want = bits if NEUTRAL[self.on_write] else 0
        else:
            want = before & bits if self.loads else 0
        assert word & bits == want


def effects(draw: Any, register: dict[str, Any]) -> dict[str, Any]:
    """The rights and effects of a field, which are within those of its register."""
    above = register["access"]
    # A field of a register that is written once is written once.
    allowed = {
        "rw": ["rw", "rw", "rw", "ro", "wo", "rw-once", "wo-once"],
        "ro": ["ro"],
        "wo": ["wo", "wo", "wo-once"],
    }[above]
    access = draw(st.sampled_from([None, *allowed, *(SHORT if above == "rw" else ())]))
    keys: dict[str, Any] = {}
    if access is not None:
        keys["access"] = access
    plain = "rw" if access in SHORT else access or above
    on_write, on_read = SHORT.get(access or ""), register["on-read"]
    if on_write is None and plain != "ro":
        given = draw(st.sampled_from([None, None, None, "none", *NEUTRAL]))
        if given is not None:
            keys["on-write"] = given
        on_write = register["on-write"] if given is None else None if given == "none" else given
    if plain in ("rw", "ro", "rw-once"):
        given = draw(st.sampled_from([None, None, None, None, "none", *ON_READ]))
        if given is not None:
            keys["on-read"] = given
            on_read = None if given == "none" else given
    else:
        on_read = None
    self_clear = plain != "ro" and on_write is None and draw(st.integers(0, 4)) == 0
    if self_clear:
        keys["self-clear"] = True
    return {
        "keys": keys,
        "access": plain,
        "on_read": on_read,
        "on_write": on_write,
        "self_clear": self_clear,
    }


def toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, int) and value < 1 << 63:
        return str(value)
    return f'"{value}"'


@st.composite
def fields(draw: Any, register: dict[str, Any]) -> list[Part]:
    """Fields that share no bits, or one for reads and one for writes that do."""
    found: list[Part] = []
    lsb = 0
    while lsb < register["width"] and len(found) < 8:
        lsb += draw(st.integers(0, 3))
        left = register["width"] - lsb
        if left <= 0:
            break
        width = draw(st.integers(1, min(left, draw(st.sampled_from([1, 1, 4, 16, 64])))))
        made = effects(draw, register)
        pair = made["access"] == "wo" and register["access"] == "rw" and draw(st.booleans())
        values = {}
        if draw(st.booleans()):
            numbers = st.integers(0, (1 << width) - 1)
            values = {f"V{n}": n for n in draw(st.sets(numbers, min_size=1, max_size=3))}
        keys = {"bits": f"{lsb + width - 1}:{lsb}", **made.pop("keys")}
        if values:
            keys["values"] = values
        name = f"F{len(found)}"
        found.append(Part(name, lsb, width, toml_value(keys), values=values, **made))
        if pair:
            text = toml_value({"bits": keys["bits"], "access": "ro", "on-read": "none"})
            found.append(Part(f"{name}R", lsb, width, text, "ro", None, None, False, {}))
        lsb += width
    return found


@st.composite
def models(draw: Any) -> Model:
    """A register anywhere in a map: plain, in an array, in a group of one."""
    access = draw(st.sampled_from(["rw", "rw", "rw", "wo", "ro"]))
    made: dict[str, Any] = {
        "access": access,
        "width": draw(st.sampled_from([8, 16, 32, 32, 64])),
        "on-read": draw(st.sampled_from([None] * 6 + ON_READ)) if access != "wo" else None,
        "on-write": draw(st.sampled_from([None] * 9 + [*NEUTRAL])) if access != "ro" else None,
        "byte-order": draw(st.sampled_from(["little", "big"])),
        "reserved": draw(st.sampled_from(["preserve", "preserve", "zero", "one"])),
    }
    if made["width"] == 64 and draw(st.booleans()):
        made["split"] = draw(st.sampled_from(["low-first", "high-first"]))
    reset = draw(st.integers(0, (1 << made["width"]) - 1))
    keys = {key: value for key, value in made.items() if value is not None}
    keys |= {"offset": BASE, "reset": reset}
    parts = tuple(draw(fields(made)))
    place = draw(st.sampled_from(["R", "R[1]", "G.R", "G[2].R[1]"]))
    table = "regions.r.groups.G.registers.R" if "G" in place else "regions.r.registers.R"
    if "R[1]" in place:
        keys |= {"count": 2, "stride": 8, "offset": BASE - 8}
    toml = ""
    if "G" in place:
        many = "G[2]" in place
        # The last register of the last group is the one.
        keys["offset"] -= 0x20 if many else 0
        toml += "[regions.r.groups.G]\noffset = 0\n" + "count = 3\nstride = 0x10\n" * many
    toml += f"[{table}]\n" + "".join(f"{key} = {toml_value(keys[key])}\n" for key in keys)
    toml += "".join(f"fields.{part.name} = {part.text}\n" for part in parts)
    return Model(
        place,
        toml,
        made["width"],
        made["byte-order"],
        access,
        made["on-read"],
        made["on-write"],
        made["reserved"],
        reset,
        parts,
    )


@contextmanager
def device(toml: str, *, shared: bool = False) -> Iterator[Any]:
    """The map over plain memory; `shared` takes the long way round in the library."""
    head = f'[device]\nname = "x"\n[regions.r]\nsize = {SIZE:#x}\n'
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.toml")
        path.write_text(head + toml, encoding="utf-8")
        memory = Path(folder, "memory")
        memory.write_bytes(bytes(SIZE))
        with devregs.open(path, f"file:{memory}", shared=shared) as opened:
            yield opened


class Memory:
    """The device's bytes, and the register's word in them."""

    def __init__(self, dev: Any, model: Model) -> None:
        self.region = dev.regions.r
        self.order: Any = model.order
        self.bytes = model.width // 8

    def all(self) -> bytes:
        buffer = bytearray(SIZE)
        self.region.read_into(buffer, width=8)
        return bytes(buffer)

    def fill(self, data: bytes) -> None:
        self.region.write_from(data, width=8)

    def word(self, data: bytes) -> int:
        return int.from_bytes(data[BASE : BASE + self.bytes], self.order)

    def beside(self, data: bytes) -> bytes:
        return data[:BASE] + data[BASE + self.bytes :]
