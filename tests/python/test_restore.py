"""Restore: what of a snapshot is written back, and what is not, and why."""

from __future__ import annotations

import os
from pathlib import Path

import devregs
import pytest
from devregs import Snapshot

# Registers that a restore must be careful with.
CARE = """
[device]
name = "care"
[regions.regs]
size = 0x100
registers.PLAIN = { offset = 0x00 }
registers.NARROW = { offset = 0x04, width = 8 }
registers.W1C = { offset = 0x08, access = "w1c" }
registers.MODIFY = { offset = 0x0c, on-write = "modify" }
registers.ONCE = { offset = 0x10, access = "rw-once" }
registers.BANK_A = { offset = 0x14 }
registers.BANK_B = { offset = 0x14, overlaps = true }
registers.QUEUE = { offset = 0x18, fifo = 4, on-read = "none" }
registers.RO = { offset = 0x1c, access = "ro" }

[regions.regs.registers.CLEARS]
offset = 0x20
fields.LEVEL = "7:0"
fields.ANY = { bits = 8, access = "wc" }

[regions.regs.registers.HIDDEN]
offset = 0x24
fields.LEVEL = "7:0"
fields.KEY = { bits = "15:8", access = "wo" }

[regions.regs.registers.LOCK]
offset = 0x28
fields.LEVEL = "7:0"
fields.LOCKED = { bits = 8, access = "rw-once" }

[regions.regs.registers.ZEROS]
offset = 0x2c
reserved = "zero"
fields.LEVEL = "7:0"
"""


@pytest.fixture
def care(tmp_path):
    """The careful device over a file, which keeps what is written: what was stored can be seen."""
    (tmp_path / "care.toml").write_text(CARE)
    (tmp_path / "care.bin").write_bytes(bytes(0x100))
    with devregs.open(tmp_path / "care.toml", tmp_path / "care.bin") as device:
        yield device


def poke(device: devregs.Device, offset: int, value: int) -> None:
    device.regions.regs.write(offset, value)


# writing back


def test_what_differs_is_written_back(kit):
    kit.CH[2].DATA[1].write(7)
    kit.HALF.write(0x1234)
    kit.BIGSPLIT.write(0x1_0000_0002)
    before = kit.snapshot()
    kit.CTRL.modify(EN=0, MODE="SLOW")
    kit.CH[2].DATA[1].write(8)
    kit.HALF.TOP = 15
    kit.BIGSPLIT.write(0)
    done = kit.restore(before)
    assert list(done.written) == ["CTRL", "BIGSPLIT", "HALF", "CH[2].DATA[1]"]
    assert (done.differs, done.errors) == ({}, {})
    assert "CH[2].DATA[0]" in done.same
    assert not before.diff(kit.snapshot())
    assert "CTRL           0x80010000 -> 0x80010031  EN 0 -> 1, MODE SLOW -> FAST" in str(done)
    again = kit.restore(before)
    assert again.written == {}
    assert str(again).startswith("0 written, ")


def test_what_is_left_alone_has_a_reason(kit):
    left = kit.restore(kit.snapshot()).left
    assert set(left) >= {"COMMAND", "POP", "MIXED", "KICK", "ID"}
    assert left["ID"] == "read-only"
    assert left["KICK"] == "any write to it has an effect: write() does it"
    assert "write-only" in left["COMMAND"]
    assert "FIFO" in left["POP"]


def test_bits_that_act_get_what_does_nothing(kit_map, memory):
    with devregs.open(kit_map, memory) as device:
        poke(device, 4, 0x1_5503)  # GO, LEVEL, ERROR and READY
        before = device.snapshot()
        poke(device, 4, 0x1_0003)
        done = device.restore(before)
        # LEVEL as it was; GO and ERROR (a 1 acts) 0, DONE (a 0 acts) 1, READY as it is.
        assert done.written["STATUS"].value == 0x5505
        assert device.regions.regs.read(4) == 0x5505
        poke(device, 4, 0x5500)
        done = device.restore(before)
    assert done.written == {}
    assert done.left["STATUS.READY"] == "read-only"
    assert done.left["STATUS.ERROR"] == "it acts when written: one-to-clear"
    assert done.left["STATUS.GO"] == "it clears itself"


def test_only_what_is_chosen_is_written(kit):
    before = kit.snapshot()
    kit.CTRL.EN = 0
    kit.CH[1].CTRL.write(1)
    kit.CH[2].CTRL.write(1)
    done = kit.restore(before, only="CH[1]")
    assert list(done.written) == ["CH[1].CTRL"]
    assert "ID" not in done.left
    assert (kit.CTRL.EN, kit.CH[2].CTRL.EN) == (0, 1)
    with pytest.raises(devregs.MapError, match="'CH\\[9\\]' names nothing"):
        kit.restore(before, only=["CTRL", "CH[9]"])
    assert kit.CTRL.EN == 0


def test_a_dry_run_writes_nothing(kit):
    before = kit.snapshot()
    kit.CTRL.EN = 0
    done = kit.restore(before, dry_run=True)
    assert done.dry_run
    assert (done.written["CTRL"].before, done.written["CTRL"].value) == (0x8001_0030, 0x8001_0031)
    assert str(done).startswith("1 would be written, ")
    assert kit.CTRL.EN == 0


def changed(device: devregs.Device) -> Snapshot:
    """A snapshot of the device with ones in it, and then zeros in the device."""
    for offset in range(0, 0x30, 4):
        poke(device, offset, 0x101)
    taken = device.snapshot()
    for offset in range(0, 0x30, 4):
        poke(device, offset, 0)
    return taken


def test_registers_whose_write_does_more_are_left(care):
    done = care.restore(changed(care))
    assert list(done.written) == ["PLAIN", "NARROW", "ZEROS"]
    assert done.left["W1C"] == "none of its bits keeps what is written"
    assert done.left["MODIFY"] == (
        "a write has an effect that the map does not describe; name it, and it is written nonetheless"
    )
    assert done.left["ONCE"] == "it can be written only once"
    assert done.left["BANK_A"].startswith("it shares its address with BANK_B")
    assert done.left["BANK_B"].startswith("it shares its address with BANK_A")
    assert done.left["QUEUE"].startswith("a write puts a word into the FIFO")
    assert done.left["RO"] == "read-only"
    assert done.left["CLEARS"].startswith("any write to it has an effect")
    assert done.left["HIDDEN"] == (
        "a write would be one of KEY too, which cannot be read, so what it holds is not known"
    )
    assert done.left["LOCK"].endswith("LOCKED too, which can be written only once")
    assert (care.PLAIN.read(), care.NARROW.read(), care.ZEROS.LEVEL) == (0x101, 1, 1)
    assert [care.regions.regs.read(at) for at in range(8, 0x2C, 4)] == [0] * 9


def test_bits_in_no_field_get_what_the_map_says(care):
    taken = changed(care)
    poke(care, 0x2C, 0x200)
    assert care.restore(taken, only="ZEROS").written["ZEROS"].value == 1


def test_they_are_written_if_named(care):
    taken = changed(care)
    done = care.restore(taken, only=["MODIFY", "BANK_A", "QUEUE", "W1C", "ONCE", "LOCK", "CLEARS"])
    assert list(done.written) == ["MODIFY", "BANK_A", "QUEUE"]
    # What cannot be right is not done for its name either.
    assert set(done.left) == {"W1C", "ONCE", "LOCK", "CLEARS"}
    assert care.restore(taken, only="*").written.keys() == {"PLAIN", "NARROW", "ZEROS"}


def test_what_reads_back_differently_is_told(care):
    poke(care, 0x14, 1)
    first = care.snapshot(only="BANK_A")
    poke(care, 0x14, 2)
    both = Snapshot(
        care.map,
        care.source,
        first.time,
        [first.entries["BANK_A"], care.snapshot(only="BANK_B").entries["BANK_B"]],
    )
    poke(care, 0x14, 0)
    done = care.restore(both, only=["BANK_A", "BANK_B"])
    assert done.differs == {"BANK_A": (1, 2)}
    assert "differs: BANK_A reads 0x2, not 0x1" in str(done)
    poke(care, 0x14, 0)
    assert care.restore(both, only=["BANK_A", "BANK_B"], verify=False).differs == {}


def test_a_fault_does_not_end_it(kit_map, memory):
    with devregs.open(kit_map, memory) as device:
        before = device.snapshot(only=["CTRL", "STATUS"])
        os.truncate(memory, 0)
        done = device.restore(before)
    assert set(done.errors) == {"CTRL", "STATUS"}
    assert "failed: CTRL: kit.CTRL: the bus answered" in str(done)


def test_a_snapshot_of_something_else_is_refused_whole(kit, care, tmp_path):
    taken = changed(care)
    with pytest.raises(devregs.MapError, match="this is a kit, and the snapshot is of a care"):
        kit.restore(taken)
    with pytest.raises(TypeError, match=r"Snapshot\.load"):
        kit.restore("snapshot.json")
    (tmp_path / "other.toml").write_text(CARE.replace("registers.PLAIN", "registers.PLAN"))
    (tmp_path / "wide.toml").write_text(CARE.replace("0x04, width = 8", "0x04, width = 16"))
    memory = Path(tmp_path / "care.bin")
    for name, message in (("other", "PLAIN, which the map"), ("wide", "16 bits, and 8 in the")):
        with devregs.open(tmp_path / f"{name}.toml", memory) as device:
            with pytest.raises(devregs.MapError, match=message):
                device.restore(taken)
            assert device.ZEROS.read() == 0


def test_an_array_that_shares_its_addresses_is_left_as_one():
    """MASKED_DATA of the PL061: its last element is DATA, and all of them are the same lines."""
    with devregs.mock("pl061") as gpio:
        before = gpio.snapshot(only=["DATA", "MASKED_DATA", "DIR"])
        done = gpio.restore(before)
        assert set(done.left) == {"DATA", *(f"MASKED_DATA[{at}]" for at in range(256))}
        lines = str(done).splitlines()
        assert len(lines) == 3
        assert lines[1].startswith("left: MASKED_DATA[0..255]: it shares its address with DATA")
        assert "DATA" not in gpio.restore(before, only="DATA").left
