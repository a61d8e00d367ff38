"""Systems as the kernel shows them, made of plain files: UIO devices and PCI functions under a root."""

from __future__ import annotations

import os
import struct
from pathlib import Path

PAGE = os.sysconf("SC_PAGESIZE")

# The columns of a BAR in sysfs: flags of the kernel's ioport.h.
IO, MEMORY, UNSET = 0x101, 0x40200, 0x2000_0000

# The command register of a PCI function, and its bit for memory accesses.
COMMAND, DECODE = 4, 2


def put(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


class Uio:
    """/sys/class/uio and /dev, with a file for a device."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(
        self,
        number: int,
        name: str | bytes,
        maps: list[dict[str, int | str]],
        device: dict[str, str] | Path | None = None,
    ) -> Path:
        """Makes a device on a platform device with these files, or on the PCI function in a folder."""
        folder = self.root / f"sys/class/uio/uio{number}"
        put(folder / "name", (name.encode() if isinstance(name, str) else name) + b"\n")
        put(folder / "event", "0\n")
        for index, map in enumerate(maps):
            put(folder / f"maps/map{index}/name", f"{map.get('name', '')}\n")
            for key in ("addr", "offset", "size"):
                put(folder / f"maps/map{index}/{key}", f"0x{map.get(key, 0):016x}\n")
        if isinstance(device, Path):
            (folder / "device").symlink_to(device)
            (device / f"uio/uio{number}").mkdir(parents=True)
        else:
            (folder / "device").mkdir(exist_ok=True)
            for key, text in (device or {}).items():
                put(folder / "device" / key, text)
        node = self.root / f"dev/uio{number}"
        node.parent.mkdir(exist_ok=True)
        node.write_bytes(bytes(PAGE * (len(maps) + 1)))
        return node


class Pci:
    """/sys/bus/pci/devices, with a file for each BAR."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(
        self,
        address: str,
        ids: tuple[int, int],
        bars: list[tuple[int, int, int]],
        *,
        enable: int = 1,
        command: int | None = 0x103 | DECODE,
    ) -> Path:
        """Makes a function. Without `command` its configuration space cannot be read."""
        folder = self.root / "sys/bus/pci/devices" / address
        put(folder / "vendor", f"0x{ids[0]:04x}\n")
        put(folder / "device", f"0x{ids[1]:04x}\n")
        put(folder / "enable", f"{enable}\n")
        put(folder / "power_state", "D0\n")
        lines = [
            f"0x{start:016x} 0x{start + size - 1 if size else 0:016x} 0x{flags:016x}"
            for start, size, flags in bars
        ]
        put(folder / "resource", "\n".join(lines) + "\n")
        for index, (_, size, _) in enumerate(bars):
            # As long as the BAR, as sysfs has it.
            (folder / f"resource{index}").write_bytes(bytes(size))
        if command is not None:
            config = bytearray(256)
            struct.pack_into("<HHH", config, 0, *ids, command)
            for index, (start, _, _) in enumerate(bars[:6]):
                struct.pack_into("<I", config, 0x10 + 4 * index, start & 0xFFFF_FFFF)
            put(folder / "config", bytes(config))
        return folder


def poke(folder: Path, offset: int, data: bytes) -> None:
    """Changes bytes of a function's configuration space."""
    with (folder / "config").open("r+b") as config:
        config.seek(offset)
        config.write(data)


def decode(folder: Path, on: bool) -> None:
    """Sets or clears the bit that lets a function answer to memory accesses."""
    poke(folder, COMMAND, struct.pack("<H", 0x101 | DECODE * on))
