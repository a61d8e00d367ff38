"""What the usual ways of Python do to one 32-bit register, measured with the tracer.

    python alternatives.py

prints the tables as Markdown. They depend on the processor and the C library: `facts()` says which
these are, and stands below the tables.
"""

from __future__ import annotations

import ctypes
import importlib
import mmap
import os
import platform
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tracer import trace

REGISTER = 0x40
SPAN = slice(REGISTER, REGISTER + 4)
VALUE = 0x1234_5678
FIELD = 0x7
BLOCK = slice(0x100, 0x140)


@dataclass(frozen=True)
class Row:
    """One way, and what it does: "R4, W4" is a load of four bytes, then a store."""

    way: str
    read: str
    write: str
    """Each empty where there is no such way."""


class Registers:
    """A page of a shared file mapping, as UIO and /dev/mem give it, and Python's views of it."""

    def __init__(self) -> None:
        fd = os.memfd_create("registers")
        try:
            os.truncate(fd, mmap.PAGESIZE)
            self.map = mmap.mmap(fd, mmap.PAGESIZE)
        finally:
            os.close(fd)
        self.view = memoryview(self.map)
        self.words = self.view.cast("I")

    def overlay(self, kind: Any, offset: int = REGISTER) -> Any:
        """A ctypes object laid over the register."""
        return kind.from_buffer(self.map, offset)


class Bits(ctypes.LittleEndianStructure):
    """A register with two fields, the ctypes way."""

    _fields_ = [("mode", ctypes.c_uint32, 3), ("rest", ctypes.c_uint32, 29)]


Action = Callable[[], object]
Way = tuple[str, Action | None, Action | None]


def _single(r: Registers) -> list[Way]:
    """Ways to read or write one register whole."""
    i = REGISTER // 4
    data = VALUE.to_bytes(4, sys.byteorder)
    word = struct.Struct("=I")
    one = memoryview(data).cast("I")
    cell = r.overlay(ctypes.c_uint32)
    cells = r.overlay(ctypes.c_uint32 * 32, 0)
    pointer = ctypes.pointer(cell)
    address = ctypes.addressof(cell)

    def read_file() -> None:
        r.map.seek(REGISTER)
        r.map.read(4)

    def write_file() -> None:
        r.map.seek(REGISTER)
        r.map.write(data)

    def store_value() -> None:
        cell.value = VALUE

    def store_pointer() -> None:
        pointer[0] = VALUE

    return [
        ("`mmap[a:a+4]`", lambda: r.map[SPAN], lambda: _set(r.map, SPAN, data)),
        (
            "`mmap.seek`, `read(4)` / `write`",
            read_file,
            write_file,
        ),
        ("`view[a:a+4]`, `.tobytes()`", r.view[SPAN].tobytes, lambda: _set(r.view, SPAN, data)),
        ("`bytes(view[a:a+4])`", lambda: bytes(r.view[SPAN]), None),
        ("`view[a:a+4].hex()`", lambda: r.view[SPAN].hex(), None),
        ('`int.from_bytes(view[a:a+4], "little")`', lambda: _number(r.view[SPAN]), None),
        (
            "`struct.unpack_from` / `pack_into`",
            lambda: word.unpack_from(r.map, REGISTER),
            lambda: word.pack_into(r.map, REGISTER, VALUE),
        ),
        (
            '`struct` with `"@I"`',
            lambda: struct.unpack_from("@I", r.map, REGISTER),
            lambda: struct.pack_into("@I", r.map, REGISTER, VALUE),
        ),
        ("`c_uint32.from_buffer(…).value`", lambda: cell.value, store_value),
        ("`(c_uint32 * n)[i]`", lambda: cells[i], lambda: _set(cells, i, VALUE)),
        ("`POINTER(c_uint32)[0]`", lambda: pointer[0], store_pointer),
        (
            "`ctypes.string_at` / `memmove`",
            lambda: ctypes.string_at(address, 4),
            lambda: ctypes.memmove(address, data, 4),
        ),
        ('`view.cast("I")[i]`', lambda: r.words[i], lambda: _set(r.words, i, VALUE)),
        (
            '`view.cast("I")[i:i+1]`, `.tolist()`',
            r.words[i : i + 1].tolist,
            lambda: _set(r.words, slice(i, i + 1), one),
        ),
    ]


def _numpy(r: Registers) -> list[Way]:
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        return []
    i = REGISTER // 4
    array = numpy.frombuffer(r.map, dtype=numpy.uint32)
    return [
        ("NumPy `a[i]`", lambda: array[i], lambda: _set(array, i, VALUE)),
        (
            "NumPy `a[i:i+1]`, copied",
            lambda: array[i : i + 1].copy(),
            lambda: _set(array, slice(i, i + 1), VALUE),
        ),
        ("NumPy `print(a[i:i+1])`", lambda: str(array[i : i + 1]), None),
        ("NumPy field: `a[i] |= 7`", None, lambda: _or_item(array, i)),
    ]


def _fields(r: Registers) -> list[Way]:
    """Ways to read or write a field of a register: the store should be one load and one store."""
    i = REGISTER // 4
    bits = r.overlay(Bits)
    cell = r.overlay(ctypes.c_uint32)

    def set_bits() -> None:
        bits.mode = FIELD

    def or_value() -> None:
        cell.value |= FIELD

    def or_slice() -> None:
        r.map[SPAN] = (_number(r.map[SPAN]) | FIELD).to_bytes(4, sys.byteorder)

    def or_struct() -> None:
        (old,) = struct.unpack_from("=I", r.map, REGISTER)
        struct.pack_into("=I", r.map, REGISTER, old | FIELD)

    return [
        ("field by `mmap[a:a+4]`", None, or_slice),
        ("field by `struct`", None, or_struct),
        ("field by ctypes `.value |= 7`", None, or_value),
        ("field by ctypes bit-field", lambda: bits.mode, set_bits),
        ('field by `view.cast("I")[i] |= 7`', None, lambda: _or_item(r.words, i)),
    ]


def _blocks(r: Registers) -> list[Way]:
    """Ways to copy sixteen registers."""
    data = bytes(range(64))
    words = r.words[BLOCK.start // 4 : BLOCK.stop // 4]
    return [
        ("`mmap[a:b]`", lambda: r.map[BLOCK], lambda: _set(r.map, BLOCK, data)),
        ("`bytes(view[a:b])`", lambda: bytes(r.view[BLOCK]), lambda: _set(r.view, BLOCK, data)),
        ("`view[a:b].hex()`", lambda: r.view[BLOCK].hex(), None),
        ('`view.cast("I")[i:j].tolist()`', words.tolist, None),
        ('`view.cast("I")[i:j].tobytes()`', words.tobytes, None),
        ('`struct.unpack_from("=16I")`', lambda: struct.unpack_from("=16I", r.map, 0x100), None),
    ]


def _peers(path: str) -> Iterator[tuple[object, Way]]:
    """Libraries that are installed here, each on a file, with the mapping it made."""
    try:
        periphery = importlib.import_module("periphery")
    except ImportError:
        pass
    else:
        mmio = periphery.MMIO(0, mmap.PAGESIZE, path=path)
        read, write = partial(mmio.read32, REGISTER), partial(mmio.write32, REGISTER, VALUE)
        yield mmio.mapping, ("python-periphery `MMIO.read32` / `write32`", read, write)
        span = partial(mmio.read, REGISTER, 4), partial(mmio.write, REGISTER, bytes(4))
        yield mmio.mapping, ("python-periphery `MMIO.read` / `write`", *span)
    try:
        pyral = importlib.import_module("peakrdl_pyral_runtime.hwio.mmap")
    except ImportError:
        pass
    else:
        hwio = pyral.MMapFileHWIO(path)
        read, write = partial(hwio.read, REGISTER), partial(hwio.write, REGISTER, VALUE)
        yield hwio._mm, ("PeakRDL-PyRAL `HWIO.read` / `write`", read, write)


def _set(target: Any, key: object, value: object) -> None:
    target[key] = value


def _or_item(target: Any, index: int) -> None:
    target[index] |= FIELD


def _number(data: Any) -> int:
    return int.from_bytes(data, sys.byteorder)


def _measure(target: object, action: Action | None) -> str:
    if action is None:
        return ""
    # Once before: what is set up lazily is no matter of the register.
    action()
    with trace(target) as log:
        action()
    return _shorten([f"{access.kind}{access.width}" for access in log])


def _shorten(steps: Sequence[str]) -> str:
    """ "R4, R4, W4", with runs of three and more counted: "16 x R4"."""
    runs: list[tuple[str, int]] = []
    for step in steps:
        if runs and runs[-1][0] == step:
            runs[-1] = (step, runs[-1][1] + 1)
        else:
            runs.append((step, 1))
    return ", ".join(
        f"{count} x {step}" if count > 2 else ", ".join([step] * count) for step, count in runs
    )


def _rows(ways: Callable[[Registers], list[Way]]) -> list[Row]:
    registers = Registers()
    return [
        Row(way, _measure(registers.view, read), _measure(registers.view, write))
        for way, read, write in ways(registers)
    ]


def rows() -> list[Row]:
    """What each way does to one register."""
    return _rows(lambda r: [*_single(r), *_fields(r), *_numpy(r)])


def block_rows() -> list[Row]:
    """What each way does to sixteen registers side by side."""
    return _rows(_blocks)


def peer_rows() -> list[Row]:
    """What libraries do to one register; empty where none is installed."""
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        return [
            Row(way, _measure(mapping, read), _measure(mapping, write))
            for mapping, (way, read, write) in _peers(file.name)
        ]


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; a way that does not exist is a dash."""
    lines = ["| way | read | write |", "| --- | --- | --- |"]
    for row in rows:
        way = row.way.replace("|", "\\|")
        lines.append(f"| {way} | {row.read or '-'} | {row.write or '-'} |")
    return "\n".join(lines)


def facts() -> str:
    """What the tables hold for."""
    versions = [f"{platform.python_implementation()} {platform.python_version()}"]
    versions.append(" ".join(platform.libc_ver()))
    try:
        versions.append(f"NumPy {importlib.import_module('numpy').__version__}")
    except ImportError:
        versions.append("no NumPy")
    return ", ".join([*versions, platform.machine()])


def main() -> None:
    """Prints the tables."""
    print("One 32-bit register:", table(rows()), sep="\n\n", end="\n\n")
    print("Sixteen of them:", table(block_rows()), sep="\n\n", end="\n\n")
    if peers := peer_rows():
        print("Libraries, one register:", table(peers), sep="\n\n", end="\n\n")
    print("R4 is a load of four bytes, W4 a store.", f"Measured with {facts()}.")


if __name__ == "__main__":
    main()
