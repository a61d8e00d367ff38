"""Regions: words at offsets and block transfers."""

from __future__ import annotations

import array

import devregs
import pytest


def test_words_of_every_width(kit):
    ram = kit.regions.ram
    for width in (8, 16, 32, 64):
        ram.write(0x10, (1 << width) - 1, width=width)
        assert ram.read(0x10, width=width) == (1 << width) - 1
    ram.write(0x20, 0x1122_3344)
    assert [ram.read(0x20 + i, width=8) for i in range(4)] == [0x44, 0x33, 0x22, 0x11]


def test_a_foreign_byte_order_is_swapped(kit):
    big = kit.regions.big
    assert (big.byte_order, big.width) == ("big", 16)
    big.write(0, 0x1234)
    assert [big.read(i, width=8) for i in (0, 1)] == [0x12, 0x34]
    words = array.array("H", [0, 0])
    big.write(2, 0xABCD)
    assert big.read_into(words) == 2
    assert list(words) == [0x1234, 0xABCD]
    assert big.write_from(array.array("H", [1, 2]), 4) == 2
    assert [big.read(4), big.read(6)] == [1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.read(2), r"\+0x2.*multiple of 4"),
        (lambda r: r.read(1, width=16), "multiple of 2"),
        (lambda r: r.read(0x4000), "beyond"),
        (lambda r: r.read(0x3FFC, width=64), "multiple of 8"),
        (lambda r: r.read(-4), "offset"),
        (lambda r: r.read(1 << 64), "offset"),
        (lambda r: r.read((1 << 64) - 4), "beyond"),
        (lambda r: r.read(0, width=24), "8, 16, 32 or 64"),
        (lambda r: r.read(0, width=0), "8, 16, 32 or 64"),
        (lambda r: r.write(0, 1 << 32), "does not fit 32 bits"),
        (lambda r: r.write(0, 256, width=8), "does not fit 8 bits"),
        (lambda r: r.write(0, -1), "does not fit 32 bits"),
        (lambda r: r.read_into(bytearray(6)), "whole number"),
        (lambda r: r.read_into(bytearray(8), 0x3FFC), "beyond"),
        (lambda r: r.read_into(bytearray(0), 0x4000), "beyond"),
        (lambda r: r.write_from(bytes(0x4004)), "beyond"),
    ],
)
def test_what_does_not_fit_is_refused(kit, call, message):
    with pytest.raises(devregs.MapError, match=message):
        call(kit.regions.ram)


def test_block_transfers(kit):
    ram = kit.regions.ram
    data = bytes(range(256)) * 64
    assert ram.write_from(data) == 4096
    back = bytearray(len(data))
    assert ram.read_into(back) == 4096
    assert back == data
    part = bytearray(8)
    assert ram.read_into(memoryview(part)[4:], 8) == 1
    assert part == bytes(4) + data[8:12]
    assert ram.read_into(bytearray(4), width=8) == 4
    assert ram.read_into(bytearray()) == 0


def test_a_fifo_is_one_address(kit):
    fifo = kit.regions.fifo
    fifo.write(0, 7)
    fifo.write(4, 8)
    words = array.array("I", [0, 0, 0])
    assert fifo.read_into(words) == 3
    assert list(words) == [7, 7, 7]
    fifo.read_into(words, fixed=False)
    assert list(words) == [7, 8, 0]
    assert fifo.write_from(array.array("I", [1, 2, 3]), 4) == 3
    assert [fifo.read(0), fifo.read(4), fifo.read(8)] == [7, 3, 0]
    longer = array.array("I", bytes(0x400))
    assert fifo.read_into(longer) == 0x100


def test_rights_of_regions(kit):
    with pytest.raises(devregs.AccessError, match=r"regions\.id: is read-only"):
        kit.regions.id.write(0, 1)
    with pytest.raises(devregs.AccessError, match="read-only"):
        kit.regions.id.write_from(bytes(4))
    with pytest.raises(devregs.AccessError, match=r"regions\.push: is write-only"):
        kit.regions.push.read(0)
    with pytest.raises(devregs.AccessError, match="write-only"):
        kit.regions.push.read_into(bytearray(4))
    kit.regions.push.write(0, 1)
    assert kit.regions.push.write_from(bytes(8)) == 2


@pytest.mark.parametrize("buffer", [bytes(4), memoryview(bytes(4))])
def test_a_read_only_buffer_cannot_be_read_into(kit, buffer):
    with pytest.raises(TypeError, match="read-only"):
        kit.regions.ram.read_into(buffer)


@pytest.mark.parametrize("buffer", [5, "text", None, [1]])
def test_what_is_no_buffer_is_refused(kit, buffer):
    with pytest.raises(TypeError):
        kit.regions.ram.read_into(buffer)


def test_what_a_region_says_of_itself(kit):
    regs = kit.regions.regs
    assert (regs.name, regs.offset, regs.size, regs.access, regs.width) == (
        "regs",
        0,
        0x1000,
        "rw",
        32,
    )
    assert len(regs) == 0x1000
    assert list(kit.regions) == [
        "regs",
        "effects",
        "id",
        "fifo",
        "big",
        "push",
        "ram",
    ]
    assert len(kit.regions) == 7
    assert kit.regions["id"].access == "ro"
    assert "regs" in dir(kit.regions)
    with pytest.raises(AttributeError, match="no region"):
        _ = kit.regions.nope
    with pytest.raises(KeyError, match="no region"):
        _ = kit.regions["nope"]
