"""A device that stopped answering is told apart from one whose registers hold all ones."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import devregs
import pytest
from devregs.cli import main
from systems import MEMORY, PAGE, Pci, Uio, decode, poke, put

ONES = 0xFFFF_FFFF
FUNCTION = "0000:01:00.0"

MAP = """
[device]
name = "card"
[regions.regs]
size = 0x100
registers.ID = { offset = 0x0, expect = 0x1234 }
registers.CTRL = { offset = 0x4, fields.EN = 0, fields.MODE = "7:4" }
registers.WIDE = { offset = 0x8, width = 64 }
registers.SMALL = { offset = 0x10, width = 8 }
registers.NAMED = { offset = 0x14, fields.F = { bits = "31:0", values = { ALL = 0xffffffff } } }
"""


def fill(folder: Path, byte: int = 0xFF) -> None:
    """What the registers read as, but for the id."""
    with (folder / "resource0").open("r+b") as file:
        file.write(struct.pack("<I", 0x1234) + bytes([byte]) * (PAGE - 4))


def after_a_while() -> None:
    """Until no answer is kept any more."""
    time.sleep(0.005)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """The folder of a PCI function whose registers hold all ones."""
    folder = Pci(tmp_path / "root").add(FUNCTION, (0x10EE, 0x7021), [(0xFE00_0000, PAGE, MEMORY)])
    fill(folder)
    return folder


@pytest.fixture
def map_path(tmp_path: Path) -> Path:
    path = tmp_path / "card.toml"
    path.write_text(MAP)
    return path


@pytest.fixture(params=["pci", "uio", "traced"])
def device(
    request: pytest.FixtureRequest, card: Path, map_path: Path, tmp_path: Path
) -> Iterator[devregs.Device]:
    """The card, opened as it is, as a UIO device on it, and with somebody who listens."""
    root, source = tmp_path / "root", f"pci:{FUNCTION}"
    if request.param == "uio":
        node = Uio(root).add(0, "uio_pci_generic", [{"addr": 0xFE00_0000, "size": PAGE}], card)
        # One memory behind both.
        node.unlink()
        node.hardlink_to(card / "resource0")
        source = f"uio:{FUNCTION}"
    with devregs.open(map_path, source, root=root) as device:
        if request.param == "traced":
            with device.trace():
                yield device
        else:
            yield device


def whole_block(device: devregs.Device) -> None:
    device.regions.regs.read_into(bytearray(0x100))


# Ways to read all ones.
READS: dict[str, Callable[[devregs.Device], object]] = {
    "read": lambda device: device.CTRL.read(),
    "field": lambda device: device.CTRL.EN,
    "named field": lambda device: device.NAMED.F,
    "by path": lambda device: device["CTRL.MODE"],
    "wide": lambda device: device.WIDE.read(),
    "small": lambda device: device.SMALL.read(),
    "word": lambda device: device.regions.regs.read(4),
    "byte": lambda device: device.regions.regs.read(5, width=8),
    "block": whole_block,
    "fixed block": lambda device: device.regions.regs.read_into(bytearray(8), 4, fixed=True),
    "wait": lambda device: device.CTRL.wait(EN=0, timeout=20),
    "field write": lambda device: setattr(device.CTRL, "EN", 0),
    "modify": lambda device: device.CTRL.modify(EN=0, MODE=2),
    "print": lambda device: str(device.CTRL),
}


def silence(card: Path) -> None:
    poke(card, 0, b"\xff" * 64)


def remove(card: Path) -> None:
    shutil.rmtree(card)


def remove_and_rescan(card: Path) -> None:
    other = card.with_name("later")
    shutil.copytree(card, other)
    shutil.rmtree(card)
    other.rename(card)


def sleep(card: Path) -> None:
    # What is asleep is not asked further: its configuration space would wake it.
    put(card / "power_state", "D3hot\n")
    silence(card)


WAYS_TO_GO = {
    "not-decoding": lambda card: decode(card, on=False),
    "silent": silence,
    "removed": remove_and_rescan,
    "asleep": sleep,
    "replaced": lambda card: poke(card, 0x10, bytes(4)),
}


@pytest.mark.parametrize("read", [name for name in READS if name not in ("wait",)])
def test_registers_that_hold_all_ones_are_no_alarm(device: devregs.Device, read: str) -> None:
    READS[read](device)
    assert device.ID.read() == 0x1234


@pytest.mark.parametrize("reason", WAYS_TO_GO)
@pytest.mark.parametrize("read", READS)
def test_a_device_that_stopped_answering_is_a_bus_error(
    device: devregs.Device, card: Path, read: str, reason: str
) -> None:
    before = (card / "resource0").read_bytes()
    memory = (card / "resource0").open("rb")
    WAYS_TO_GO[reason](card)
    after_a_while()
    began = time.monotonic()
    with pytest.raises(
        devregs.BusError, match=rf"gave all ones.*PCI function {FUNCTION}"
    ) as raised:
        READS[read](device)
    assert time.monotonic() - began < 15
    error = raised.value
    assert error.reason == reason
    assert (error.signal, error.code, error.write) == (None, None, False)
    assert error.address == 0xFE00_0000 + error.offset
    # The write of a read-modify-write is withheld.
    assert memory.read() == before
    memory.close()
    # What reads as something else answers.
    assert device.ID.read() == 0x1234


def test_a_block_tells_the_first_word_that_was_not_answered(
    device: devregs.Device, card: Path
) -> None:
    decode(card, on=False)
    after_a_while()
    buffer = bytearray(0x100)
    with pytest.raises(devregs.BusError) as raised:
        device.regions.regs.read_into(buffer)
    assert raised.value.offset == 4
    assert buffer[:4] == struct.pack("<I", 0x1234)
    assert device.regions.regs.read_into(bytearray(4)) == 1


def test_a_device_that_comes_back_answers_again(device: devregs.Device, card: Path) -> None:
    for _ in range(3):
        decode(card, on=False)
        after_a_while()
        with pytest.raises(devregs.BusError, match="COMMAND register"):
            device.CTRL.read()
        decode(card, on=True)
        after_a_while()
        assert device.CTRL.read() == ONES


def test_remedies(device: devregs.Device, card: Path) -> None:
    decode(card, on=False)
    after_a_while()
    with pytest.raises(devregs.BusError, match=rf"setpci -s {FUNCTION} COMMAND=2:2"):
        device.CTRL.read()
    put(card / "enable", "0\n")
    with pytest.raises(devregs.BusError, match=r"echo 1 > .*/enable"):
        device.CTRL.read()
    put(card / "power_state", "D3hot\n")
    after_a_while()
    with pytest.raises(devregs.BusError, match=r"sleeps \(D3hot\).*echo on > .*/power/control"):
        device.CTRL.read()


def test_virtual_functions_have_that_bit_wired_to_0(
    card: Path, map_path: Path, tmp_path: Path
) -> None:
    (card / "physfn").symlink_to("../0000:01:00.1")
    # Nor do they show their ids in their own configuration space.
    poke(card, 0, b"\xff\xff\xff\xff\x00\x00")
    with devregs.open(map_path, f"pci:{FUNCTION}", root=tmp_path / "root") as device:
        assert device.CTRL.read() == ONES
        device.verify()
        silence(card)
        after_a_while()
        with pytest.raises(devregs.BusError, match="does not answer"):
            device.CTRL.read()


def test_without_a_configuration_space_nothing_is_asked(map_path: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder = Pci(root).add(FUNCTION, (1, 2), [(0xFE00_0000, PAGE, MEMORY)], command=None)
    fill(folder)
    with devregs.open(map_path, f"pci:{FUNCTION}", root=root) as device:
        assert device.CTRL.read() == ONES
        device.CTRL.EN = 1
    with devregs.open(map_path, f"file:{folder / 'resource0'}") as device:
        assert device.CTRL.read() == device.WIDE.read() & ONES == ONES
        device.verify()


@pytest.mark.skipif(not devregs.GUARDED, reason="faults end the process on this machine")
def test_a_fault_gets_the_same_reason(device: devregs.Device, card: Path) -> None:
    os.truncate(card / "resource0", 0)
    with pytest.raises(devregs.BusError, match="powered, clocked and out of reset") as raised:
        device.CTRL.write(0)
    assert raised.value.reason is None
    decode(card, on=False)
    with pytest.raises(devregs.BusError, match=r"SIGBUS.*COMMAND register.*setpci") as raised:
        device.CTRL.write(0)
    assert (raised.value.signal, raised.value.reason) == (signal.SIGBUS, "not-decoding")
    assert raised.value.write


@pytest.mark.parametrize("way", [decode, silence, remove, remove_and_rescan, sleep])
def test_an_open_says_the_same(card: Path, map_path: Path, tmp_path: Path, way) -> None:
    way(card, False) if way is decode else way(card)
    root, source = tmp_path / "root", f"pci:{FUNCTION}"
    if way is remove_and_rescan:
        devregs.open(map_path, source, root=root).close()
    else:
        with pytest.raises(devregs.SourceError) as raised:
            devregs.open(map_path, source, root=root)
        assert raised.value.source == source
        assert raised.value.remedy


@pytest.mark.parametrize("reason", WAYS_TO_GO)
def test_verify_asks_again(device: devregs.Device, card: Path, reason: str) -> None:
    device.verify()
    WAYS_TO_GO[reason](card)
    # Whatever was answered a moment ago.
    with pytest.raises(devregs.SourceError, match=FUNCTION):
        device.verify()


def test_verify_compares_what_the_map_expects(device: devregs.Device) -> None:
    device.ID.write(0x4321)
    with pytest.raises(devregs.SourceError, match=r"this is not a card.*ID is 0x4321, not 0x1234"):
        device.verify()
    device.ID.write(0x1234)
    device.verify()
    device.close()
    with pytest.raises(devregs.AccessError, match="closed"):
        device.verify()


def test_verify_of_a_mock() -> None:
    with devregs.mock("pl061") as gpio:
        gpio.verify()
        gpio.hw.vanish("ones")
        with pytest.raises(devregs.SourceError, match="this is not a pl061"):
            gpio.verify()


def test_verify_finds_a_uio_device_unbound(map_path: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    node = Uio(root).add(4, "timer", [{"addr": 0x4000_0000, "size": PAGE}])
    with node.open("r+b") as file:
        file.write(struct.pack("<II", 0x1234, ONES))
    with devregs.open(map_path, "uio:timer", root=root) as device:
        device.verify()
        shutil.rmtree(root / "sys/class/uio/uio4")
        # No card is behind it: all ones are a value as any other.
        assert device.CTRL.read() == ONES
        Uio(root).add(4, "other", [{"addr": 0x4000_0000, "size": PAGE}])
        with pytest.raises(devregs.SourceError, match="UIO device uio4 was removed"):
            device.verify()


def test_the_commands_profit(
    card: Path, map_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, source = str(tmp_path / "root"), f"pci:{FUNCTION}"
    argv = ["--root", root, "--map", str(map_path), source]
    assert main(["doctor", *argv]) == 0
    assert "awake and answers to memory accesses" in capsys.readouterr().out
    decode(card, on=False)
    assert main(["doctor", *argv]) == 1
    out = capsys.readouterr().out
    assert f"no  the PCI function {FUNCTION} does not answer to memory accesses" in out
    assert f"setpci -s {FUNCTION} COMMAND=2:2" in out
    assert main(["read", *argv, "CTRL"]) == 3
    assert "COMMAND register" in capsys.readouterr().err


def test_a_dump_goes_on(card: Path, map_path: Path, tmp_path: Path) -> None:
    from devregs.display import look_safely

    with devregs.open(map_path, f"pci:{FUNCTION}", root=tmp_path / "root") as device:
        decode(card, on=False)
        after_a_while()
        looks = {register.path: look_safely(register) for register in device.registers()}
        assert looks["ID"].value == 0x1234
        assert "gave all ones" in looks["CTRL"].reason
        taken = device.snapshot()
        assert set(taken.errors) == set(looks) - {"ID"}


@pytest.mark.skipif(
    not Path("/proc/self/io").exists(), reason="this kernel does not count system calls"
)
def test_an_answer_is_kept_for_a_moment(card: Path, map_path: Path, tmp_path: Path) -> None:
    """A loop over such a register does not ask each time; and it asks again."""
    with devregs.open(map_path, f"pci:{FUNCTION}", root=tmp_path / "root") as device:
        asked = count_system_calls(lambda: [device.CTRL.read() for _ in range(20_000)])
        assert 0 < asked < 10_000


def count_system_calls(run: Callable[[], object]) -> int:
    """System calls that read files, as the kernel counts them for this process."""

    def count() -> int:
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["syscr"])

    own = -count() + count()
    before = count()
    run()
    return count() - before - own
