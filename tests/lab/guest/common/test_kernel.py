"""What Linux says to those who ask for the wrong thing."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import devregs
import pytest

Answered = Callable[[str, str], None]


def iomem(pattern: str) -> int:
    """Where /proc/iomem has the first range whose owner matches."""
    for line in Path("/proc/iomem").read_text().splitlines():
        place, _, owner = line.strip().partition(" : ")
        if re.fullmatch(pattern, owner):
            return int(place.partition("-")[0], 16)
    raise LookupError(pattern)


def test_unknown_uio_name_lists_those_there_are() -> None:
    names = [path.read_text().strip() for path in Path("/sys/class/uio").glob("uio*/name")]
    with pytest.raises(devregs.SourceError) as error:
        devregs.open("pl061", "uio:nowhere")
    assert names
    for name in names:
        assert name in str(error.value)


def test_unknown_uio_number_lists_those_there_are() -> None:
    with pytest.raises(devregs.SourceError, match="uio0"):
        devregs.open("pl061", "uio:77")


def test_unknown_pci_function_lists_those_there_are() -> None:
    with pytest.raises(devregs.SourceError, match=r"0000:00:00\.0"):
        devregs.open("edu", "pci:dead:beef")


def test_ram_is_refused_before_the_kernel_is_asked(maps: Path) -> None:
    ram = iomem("System RAM") + 0x10_0000
    with pytest.raises(devregs.SourceError, match=f"is RAM.*ram:{ram:#x}") as error:
        devregs.open(maps / "page.toml", f"mem:{ram:#x}")
    assert error.value.errno is None


def test_the_kernel_refuses_ram_asked_for_by_name(maps: Path, answered: Answered) -> None:
    ram = iomem("System RAM") + 0x10_0000
    with pytest.raises(devregs.SourceError, match="STRICT_DEVMEM") as error:
        devregs.open(maps / "page.toml", f"ram:{ram:#x}")
    assert error.value.errno == errno.EPERM
    answered("/dev/mem", "RAM: EPERM, said to be RAM")


def test_misaligned_address_is_refused(maps: Path) -> None:
    # Each of its registers would lie across a word's border.
    with pytest.raises((devregs.SourceError, devregs.MapError)):
        devregs.open(maps / "page.toml", "mem:0x0a00_0002")


def test_scan_finds_what_the_kernel_shows() -> None:
    found = {name for entry in devregs.scan() for name in entry["names"]}
    assert {f"uio:{path.name[3:]}" for path in Path("/sys/class/uio").iterdir()} <= found
    assert {f"pci:{path.name}" for path in Path("/sys/bus/pci/devices").iterdir()} <= found


def test_what_scan_prints_opens_the_same_device() -> None:
    for entry in devregs.scan():
        again = [other for other in devregs.scan() if entry["source"] in other["names"]]
        assert [other["path"] for other in again] == [entry["path"]]


def test_scan_on_the_command_line_says_the_same() -> None:
    command = [sys.executable, "-m", "devregs", "scan", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == devregs.scan()


def test_doctor_tells_why_ram_does_not_open() -> None:
    command = [
        sys.executable,
        "-m",
        "devregs",
        "doctor",
        f"mem:{iomem('System RAM') + 0x10_0000:#x}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "RAM" in done.stdout
