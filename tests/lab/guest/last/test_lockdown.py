"""A kernel locked down, as under secure boot. Runs last: there is no way back but a new boot."""

import errno
import subprocess
from collections.abc import Callable
from pathlib import Path

import devregs
import pytest

Answered = Callable[[str, str], None]
LOCKDOWN = Path("/sys/kernel/security/lockdown")


@pytest.fixture(scope="module", autouse=True)
def locked_down() -> None:
    if not LOCKDOWN.exists():
        subprocess.run(["mount", "-t", "securityfs", "securityfs", LOCKDOWN.parent], check=True)
    LOCKDOWN.write_text("integrity")
    assert "[integrity]" in LOCKDOWN.read_text()


def test_dev_mem_is_closed_and_says_why(maps: Path, answered: Answered) -> None:
    with pytest.raises(devregs.SourceError, match="locked down") as error:
        devregs.open(maps / "page.toml", "mem:0x0")
    assert error.value.errno == errno.EPERM
    assert "uio:" in str(error.value)
    answered("/dev/mem", "locked down: EPERM")


def test_pci_resources_are_closed_and_say_why(maps: Path) -> None:
    functions = [
        entry["source"]
        for entry in devregs.scan()
        if entry["source"].startswith("pci:") and entry["maps"]
    ]
    for source in functions:
        with pytest.raises(devregs.SourceError):
            devregs.open(maps / "page.toml", source)


def test_uio_still_works(maps: Path) -> None:
    for entry in devregs.scan():
        if entry["source"].startswith("uio:") and entry["maps"]:
            with devregs.open(maps / "page-ro.toml", entry["source"]) as device:
                assert device.regions.page.view(size=4).readonly
