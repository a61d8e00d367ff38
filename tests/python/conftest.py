"""One device map with a bit of everything, on a mock and on a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import devregs
import pytest

KIT = """
[device]
name = "kit"
title = "A bit of everything"
width = 32

[regions.regs]
size = 0x1000

[regions.regs.registers.CTRL]
offset = 0x00
reset = 0x8001_0031
doc = "Control"
[regions.regs.registers.CTRL.fields]
EN = 0
MODE = { bits = "6:4", values = { SLOW = 0, FAST = 3, TURBO = { value = 7, doc = "at your own risk" } } }
COUNT = { bits = "31:16" }

[regions.regs.registers.STATUS]
offset = 0x04
[regions.regs.registers.STATUS.fields]
READY = { bits = 0, access = "ro" }
ERROR = { bits = 1, access = "w1c" }
DONE = { bits = 2, access = "w0c" }
LEVEL = { bits = "15:8" }
GO = { bits = 16, self-clear = true }

[regions.regs.registers.COMMAND]
offset = 0x08
access = "wo"
fields.CODE = { bits = "7:0" }
fields.FLAG = { bits = 8 }

[regions.regs.registers.ACK]
offset = 0x0c
access = "wo"
fields.A = { bits = 0, on-write = "one-to-clear" }
fields.B = { bits = 1, on-write = "one-to-clear" }

[regions.effects]
offset = 0xa000
size = 0x10

[regions.effects.registers.POP]
offset = 0x0
fifo = 16

[regions.effects.registers.MIXED]
offset = 0x4
fields.EVENT = { bits = 0, on-read = "clear", access = "ro" }
fields.ENABLE = { bits = 8 }
fields.CLEAR = { bits = 9, on-write = "one-to-clear" }

[regions.regs.registers.KICK]
offset = 0x18
fields.ANY = { bits = "7:0", on-write = "set" }
fields.LEVEL = { bits = "15:8" }

[regions.regs.registers.BIG]
offset = 0x20
width = 64
fields.HIGH = "63:32"
fields.LOW = "31:0"

[regions.regs.registers.BIGSPLIT]
offset = 0x2c
width = 64
split = "high-first"

[regions.regs.registers.SMALL]
offset = 0x34
width = 8
count = 4

[regions.regs.registers.HALF]
offset = 0x38
width = 16
byte-order = "big"
fields.TOP = "15:12"

[regions.regs.registers.class]
offset = 0x3c
fields.read = 0
fields.WIDE = "8:1"

[regions.regs.groups.CH]
offset = 0x100
count = 8
stride = 0x20
registers.CTRL = { offset = 0x00, fields.EN = 0 }
registers.DATA = { offset = 0x04, count = 2 }
groups.DMA.offset = 0x10
groups.DMA.registers.ADDR = { offset = 0x0, width = 64 }

[regions.id]
offset = 0x1000
size = 0x20
access = "ro"
registers.ID = { offset = 0x0, expect = { value = 0x61, mask = 0xff } }

[regions.fifo]
offset = 0x2000
size = 0x100
fifo = true

[regions.big]
offset = 0x3000
size = 0x100
byte-order = "big"
width = 16

[regions.push]
offset = 0x4000
size = 0x100
access = "wo"

[regions.ram]
offset = 0x5000
size = 0x4000
"""


@pytest.fixture(scope="session")
def kit_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "kit.toml"
    path.write_text(KIT)
    return path


@pytest.fixture(scope="session")
def kit_map(kit_path: Path) -> devregs.Map:
    return devregs.load(kit_path)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """A file that stands in for the kit's memory."""
    path = tmp_path / "memory"
    content = bytearray(0xa010)
    content[0x1000] = 0x61
    path.write_bytes(content)
    return path


@pytest.fixture(params=["mock", "file"])
def kit(request: pytest.FixtureRequest, kit_map: devregs.Map, memory: Path) -> Iterator[devregs.Device]:
    """The kit, on each source a test without hardware can have: the behaviour is the same."""
    source = "mock:" if request.param == "mock" else f"file:{memory}"
    device = devregs.open(kit_map, source)
    if request.param == "file":
        device.CTRL.write(0x8001_0031)
    yield device
    device.close()
