"""Cards that stop answering, as a real kernel shows it. Behind the other tests: the cards are taken away and found again."""

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import devregs
import pytest

Answered = Callable[[str, str], None]
FUNCTIONS = Path("/sys/bus/pci/devices")
EDU = FUNCTIONS / "0000:00:01.0"
CONTROLLERS = [FUNCTIONS / f"0000:00:0{slot}.0" for slot in (2, 3, 4)]


def command(function: Path, set_bits: int, clear: int) -> None:
    """Changes the command register as setpci does."""
    with (function / "config").open("r+b", buffering=0) as config:
        config.seek(4)
        (before,) = struct.unpack("<H", config.read(2))
        config.seek(4)
        config.write(struct.pack("<H", before & ~clear | set_bits))


def rescan() -> None:
    Path("/sys/bus/pci/rescan").write_text("1")


@pytest.fixture
def off() -> Iterator[None]:
    command(EDU, 0, 2)
    yield
    command(EDU, 2, 0)


@pytest.mark.parametrize("source", ["pci:0000:00:01.0", "uio:0000:00:01.0"])
def test_decode_off_while_open(source: str, answered: Answered) -> None:
    with devregs.open("edu", source) as edu:
        assert (EDU / "enable").read_text() == "1\n"
        try:
            command(EDU, 0, 2)
            # QEMU's bus answers for nobody with 0, where a real one has all ones: the read itself tells nothing here.
            value = edu.ID.read()
            with pytest.raises(devregs.SourceError, match="COMMAND register"):
                edu.verify()
            answered(f"edu {source}", f"decode off: reads {value:#x}; verify() tells")
        finally:
            command(EDU, 2, 0)
        time.sleep(0.01)
        assert edu.ID.read() == 0x0100_00ED
        edu.verify()


@pytest.mark.usefixtures("off")
def test_decode_off_at_open() -> None:
    # The kernel still counts a user.
    assert (EDU / "enable").read_text() != "0\n"
    for source in ("pci:0000:00:01.0", "uio:uio_pci_generic"):
        with pytest.raises(devregs.SourceError, match="COMMAND register"):
            devregs.open("edu", source)


def test_all_ones_of_a_card_that_answers() -> None:
    with devregs.open("edu", "pci:0000:00:01.0") as edu:
        edu.LIVENESS.write(0)
        for _ in range(1000):
            assert edu.LIVENESS.read() == 0xFFFF_FFFF


def test_small_bars_begin_inside_a_page(tmp_path: Path, answered: Answered) -> None:
    for controller in CONTROLLERS:
        (controller / "remove").write_text("1")
    rescan()
    (ohci := tmp_path / "ohci.toml").write_text(
        '[device]\nname = "ohci"\n[regions.r]\nsize = 0x100\n'
        "registers.REVISION = { offset = 0, expect = 0x10, access = 'ro' }\n"
    )
    addresses = []
    for controller in CONTROLLERS:
        # The kernel has placed them; nobody has let them answer yet.
        (controller / "enable").write_text("1")
        with devregs.open(ohci, f"pci:{controller.name}") as device:
            assert device.REVISION.read() == 0x10
            addresses.append(device.REVISION.address)
        (controller / "enable").write_text("0")
    assert any(address % 0x1000 for address in addresses)
    answered("pci-ohci", ", ".join(f"{address:#x}" for address in addresses))


def test_removed_and_found_again_while_open(answered: Answered) -> None:
    # The firmware has chosen another place than the kernel will: from now on it is the same each time.
    (EDU / "remove").write_text("1")
    rescan()
    with devregs.open("edu", "pci:0000:00:01.0") as edu:
        edu.verify()
        (EDU / "remove").write_text("1")
        with pytest.raises(devregs.SourceError, match="was removed"):
            edu.verify()
        rescan()
        # What has the place now is another handle's.
        with pytest.raises(devregs.SourceError, match="was removed"):
            edu.verify()
        command(EDU, 2, 0)
        assert int((EDU / "resource").read_text().split()[0], 16) == edu.ID.address
        # The old mapping reaches it, and a register that holds all ones makes the handle ask.
        edu.LIVENESS.write(0)
        time.sleep(0.01)
        with pytest.raises(devregs.BusError, match=r"gave all ones.*was removed") as raised:
            edu.LIVENESS.read()
        assert raised.value.reason == "removed"
    with devregs.open("edu", "pci:0000:00:01.0") as edu:
        edu.verify()
    answered("edu pci:0000:00:01.0", "removed and found again: told")
