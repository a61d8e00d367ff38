"""Registers that share bytes: what is written by name is read by name, whatever lies over it.

The model keeps a value for each register. By name each is by itself; a write by offset reaches all that lie
there, and a read by offset gives each byte from the first register in the map that has it and can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import devregs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_mock import WRITES
from test_properties import quick

SIZE = 0x40

APPLY = {
    None: lambda old, new: new,
    "one-to-clear": lambda old, new: old & ~new,
    "one-to-set": lambda old, new: old | new,
    "one-to-toggle": lambda old, new: old ^ new,
    "zero-to-clear": lambda old, new: old & new,
}


@dataclass
class Model:
    """One register, or one element of an array of them."""

    path: str
    offset: int
    width: int
    order: str
    access: str
    effect: str | None
    clears: bool
    value: int = 0
    after_reset: int = 0

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1

    def byte_at(self, place: int) -> int | None:
        """Which bits of the register lie at a byte of the region: their lowest."""
        index = place - self.offset
        size = self.width // 8
        if not 0 <= index < size:
            return None
        return 8 * (index if self.order == "little" else size - 1 - index)

    def written(self, value: int, lanes: int) -> None:
        if self.access != "ro":
            new = APPLY[self.effect](self.value, value)
            self.value = (self.value & ~lanes | new & lanes) & self.mask

    def was_read(self, lanes: int) -> None:
        if self.clears:
            self.value &= ~lanes


@st.composite
def maps(draw: Any) -> tuple[str, list[Model]]:
    """A map whose registers lie over each other as they come."""
    lines: list[str] = []
    models: list[Model] = []

    def register(table: str, prefix: str, bases: list[int], room: int) -> None:
        width = draw(st.sampled_from([8, 8, 16, 32, 32, 64]))
        size = width // 8
        split = width == 64 and draw(st.booleans())
        unit = 4 if split else size
        offset = draw(st.integers(0, (room - size) // unit)) * unit
        access = draw(st.sampled_from(["rw", "rw", "rw", "ro", "wo"]))
        order = draw(st.sampled_from(["little", "little", "big"]))
        effect = draw(st.sampled_from([None, None, *APPLY])) if access != "ro" else None
        clears = access != "wo" and draw(st.integers(0, 4)) == 0
        reset = draw(st.integers(0, (1 << width) - 1))
        count = draw(st.integers(0, 3))
        fitting = (room - offset) // size
        count = min(count, fitting)
        lines.append(f"[{table}]\noffset = {offset}\nwidth = {width}\noverlaps = true")
        lines.append(f'access = "{access}"\nbyte-order = "{order}"\nreset = "{reset:#x}"')
        if split:
            lines.append(f'split = "{draw(st.sampled_from(["low-first", "high-first"]))}"')
        if effect:
            lines.append(f'on-write = "{effect}"')
        if clears:
            lines.append('on-read = "clear"')
        if count > 1:
            lines.append(f"count = {count}\nstride = {size}")
        name = table.rsplit(".", 1)[1]
        for index, base in enumerate(bases):
            holder = prefix if len(bases) == 1 else prefix.replace("[]", f"[{index}]")
            for element in range(max(count, 1)):
                models.append(
                    Model(
                        holder + name + (f"[{element}]" if count > 1 else ""),
                        base + offset + element * size,
                        width,
                        order,
                        access,
                        effect,
                        clears,
                        reset,
                        reset,
                    )
                )

    for index in range(draw(st.integers(1, 5))):
        register(f"regions.r.registers.R{index}", "", [0], SIZE)
    if draw(st.booleans()):
        start, stride = draw(st.sampled_from([0, 8, 16])), draw(st.sampled_from([8, 16]))
        count = draw(st.integers(2, 3))
        lines.append(f"[regions.r.groups.G]\noffset = {start}\ncount = {count}\nstride = {stride}")
        for index in range(draw(st.integers(1, 3))):
            bases = [start + element * stride for element in range(count)]
            register(f"regions.r.groups.G.registers.S{index}", "G[].", bases, 16)
    text = f'[device]\nname = "m"\nwidth = 8\n[regions.r]\nsize = {SIZE}\n' + "\n".join(lines)
    return text + "\n", models


@given(data=st.data())
@quick(150)
def test_what_is_written_by_name_is_read_by_name(data):
    text, models = data.draw(maps())
    with TemporaryDirectory() as folder:
        path = Path(folder) / "m.toml"
        path.write_text(text)
        with devregs.mock(path) as dev:
            # The order that the map has them in decides which is read by offset.
            order = [register.path for register in dev.registers()]
            models.sort(key=lambda model: order.index(model.path))
            memory = bytearray(SIZE)
            for _ in range(data.draw(st.integers(1, 12))):
                step(data, dev, models, memory)
                compare(dev, models)


def step(data: Any, dev: Any, models: list[Model], memory: bytearray) -> None:
    """One thing done to the device, and to the model."""
    model = data.draw(st.sampled_from(models))
    value = data.draw(st.integers(0, model.mask))
    width = data.draw(st.sampled_from([8, 16, 32]))
    offset = data.draw(st.integers(0, SIZE // (width // 8) - 1)) * (width // 8)
    region = dev.regions.r
    match data.draw(
        st.sampled_from(["write", "write", "read", "hw", "write at", "read at", "reset"])
    ):
        case "write" if model.access == "ro":
            with pytest.raises(devregs.AccessError, match=model.path.replace("[", r"\[")):
                dev[model.path].write(value)
        case "write":
            dev[model.path].write(value)
            model.written(value, model.mask)
        case "read" if model.access == "wo":
            with pytest.raises(devregs.AccessError, match=model.path.replace("[", r"\[")):
                dev[model.path].read()
        case "read":
            assert dev[model.path].read() == model.value
            model.was_read(model.mask)
        case "hw":
            dev.hw[model.path].write(value)
            model.value = value
        case "write at":
            word = data.draw(st.integers(0, (1 << width) - 1))
            region.write(offset, word, width=width)
            write_at(models, memory, offset, word.to_bytes(width // 8, "little"))
        case "read at":
            word = region.read(offset, width=width)
            assert word.to_bytes(width // 8, "little") == read_at(
                models, memory, offset, width // 8
            )
        case "reset":
            dev.hw.reset()
            memory[:] = bytes(SIZE)
            for each in models:
                each.value = each.after_reset


def write_at(models: list[Model], memory: bytearray, offset: int, written: bytes) -> None:
    for model in models:
        value = lanes = 0
        for index, byte in enumerate(written):
            shift = model.byte_at(offset + index)
            if shift is not None:
                value |= byte << shift
                lanes |= 0xFF << shift
        if lanes:
            model.written(value, lanes)
    for index, byte in enumerate(written):
        if all(model.byte_at(offset + index) is None for model in models):
            memory[offset + index] = byte


def read_at(models: list[Model], memory: bytearray, offset: int, size: int) -> bytes:
    got = bytearray()
    reads: dict[int, int] = {}
    for place in range(offset, offset + size):
        there = [model for model in models if model.byte_at(place) is not None]
        first = next((model for model in there if model.access != "wo"), None)
        if first is None:
            # What can only be written reads 0 by offset.
            got.append(0 if there else memory[place])
            continue
        shift = first.byte_at(place)
        assert shift is not None
        got.append(first.value >> shift & 0xFF)
        index = models.index(first)
        reads[index] = reads.get(index, 0) | 0xFF << shift
    for index, lanes in reads.items():
        models[index].was_read(lanes)
    return bytes(got)


def compare(dev: Any, models: list[Model]) -> None:
    for model in models:
        assert dev.hw[model.path].read() == model.value, model.path
        if model.access != "wo" and not model.clears:
            assert dev[model.path].read() == model.value, model.path


@pytest.mark.parametrize("effect", [None, *sorted(set(WRITES) - {"modify", "none"})])
@pytest.mark.parametrize("share", ["same", "upper half", "array", "group"])
def test_a_neighbour_over_the_same_bytes_changes_nothing(tmp_path, effect, share):
    other = {
        "same": "registers.B = { offset = 4, overlaps = true }",
        "upper half": "registers.B = { offset = 6, width = 16, overlaps = true }",
        "array": "registers.B = { offset = 0, width = 8, count = 16, overlaps = true }",
        # Its first element lies elsewhere: the second does not.
        "group": "groups.G = { offset = 0, count = 2, stride = 4, registers.B = { offset = 0, overlaps = true } }",
    }[share]
    path = {"array": "B[6]", "group": "G[1].B"}.get(share, "B")
    acts = f'on-write = "{effect}"' if effect else ""
    source = tmp_path / "m.toml"
    source.write_text(
        '[device]\nname = "m"\n[regions.r]\nsize = 0x40\n'
        + other
        + "\n[regions.r.registers.A]\noffset = 4\nreset = 0xa5a5a5a5\n"
        + acts
        + "\n"
    )
    dev = devregs.mock(source)
    dev[path].write(0x5A)
    assert dev.A.read() == 0xA5A5A5A5
    dev.A.write(0)
    written = dev.A.read()
    assert dev[path].read() == 0x5A
    assert dev.A.read() == written


def test_the_rules_of_access_by_offset(tmp_path):
    """As docs/testing.md has them: a write reaches all that lie there, a read gives the first."""
    source = tmp_path / "m.toml"
    source.write_text(
        '[device]\nname = "m"\nwidth = 8\n[regions.r]\nsize = 8\n'
        'registers.FIRST = { offset = 0, on-read = "clear" }\n'
        'registers.SECOND = { offset = 0, on-read = "clear", overlaps = true }\n'
    )
    dev = devregs.mock(source)
    dev.regions.r.write(0, 0x11)
    assert (dev.hw.FIRST.read(), dev.hw.SECOND.read()) == (0x11, 0x11)
    dev.FIRST.write(0x22)
    assert dev.regions.r.read(0) == 0x22
    # The read was the first one's, and so was its effect.
    assert (dev.hw.FIRST.read(), dev.hw.SECOND.read()) == (0, 0x11)
    assert dev.SECOND.read() == 0x11


def test_the_divisor_of_a_16550(tmp_path):
    uart = devregs.mock("uart16550")
    uart.IER.write(5)
    assert uart.IER.read() == 5
    uart.LCR.DLAB = 1
    uart.DLM.write(3)
    uart.DLL.write(1)
    assert (uart.DLM.read(), uart.DLL.read()) == (3, 1)
    uart.LCR.DLAB = 0
    assert uart.IER.read() == 5
    assert uart.hw.THR.sent == 0


def test_an_array_is_found_beyond_registers_in_its_gaps(tmp_path: Path) -> None:
    """Places are searched, not walked: an element that lies behind later registers is found all the same."""
    text = '[device]\nname = "gaps"\n[regions.r]\nsize = 0x1000\n'
    text += "[regions.r.registers.FAR]\noffset = 0\ncount = 8\nstride = 0x100\n"
    text += "".join(f"[regions.r.registers.R{i}]\noffset = {0x104 + 4 * i:#x}\n" for i in range(40))
    text += "[regions.r.groups.G]\noffset = 0x800\ncount = 4\nstride = 0x40\n"
    text += "[regions.r.groups.G.registers.IN]\noffset = 8\n"
    text += "[regions.r.registers.LAST]\noffset = 0xffc\n"
    path = tmp_path / "gaps.toml"
    path.write_text(text)
    with devregs.mock(path) as dev:
        places = {f"FAR[{i}]": 0x100 * i for i in range(8)}
        places |= {f"R{i}": 0x104 + 4 * i for i in range(40)}
        places |= {f"G[{i}].IN": 0x808 + 0x40 * i for i in range(4)} | {"LAST": 0xFFC}
        for name, offset in places.items():
            dev.hw[name].fail(1)
            with pytest.raises(devregs.BusError):
                dev.regions.r.read(offset)
            assert dev.regions.r.read(offset) == 0
