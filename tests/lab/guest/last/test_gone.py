"""A device taken from its driver while it is open. Late: its number may change when it is back."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import devregs
import pytest

Answered = Callable[[str, str], None]
SOURCE, DEVICE = {
    "x86_64": ("uio:uio_pci_generic", Path("/sys/bus/pci/devices/0000:00:01.0")),
    "armv7": ("uio:uio_pci_generic", Path("/sys/bus/pci/devices/0000:00:01.0")),
    "aarch64": ("uio:labrtc", Path("/sys/bus/platform/devices/9010000.pl031")),
}[os.environ["LAB_MACHINE"]]


@pytest.fixture
def driver() -> Iterator[Path]:
    folder = (DEVICE / "driver").resolve()
    yield folder
    if not (DEVICE / "driver").exists():
        (folder / "bind").write_text(DEVICE.name)


def test_unbound_while_open(driver: Path, maps: Path, answered: Answered) -> None:
    with devregs.open(maps / "page-ro.toml", SOURCE) as device:
        unbind = threading.Timer(0.3, lambda: (driver / "unbind").write_text(DEVICE.name))
        unbind.start()
        start = time.monotonic()
        with pytest.raises(devregs.SourceError, match="gone"):
            device.irq.wait(timeout=30)
        assert time.monotonic() - start < 10
        unbind.join()
        # The mapping stays for as long as it is open.
        device.WORD.read()
    with pytest.raises(devregs.SourceError):
        devregs.open(maps / "page-ro.toml", SOURCE)
    (driver / "bind").write_text(DEVICE.name)
    with devregs.open(maps / "page-ro.toml", SOURCE) as device:
        device.WORD.read()
    answered(SOURCE, "unbound while waited for: SourceError; opens again")
