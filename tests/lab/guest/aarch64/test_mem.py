"""/dev/mem on arm64: what the kernel gives, and what it keeps."""

import errno
from collections.abc import Callable
from pathlib import Path

import devregs
import pytest

Answered = Callable[[str, str], None]


def test_claimed_uart_names_its_owner(maps: Path, answered: Answered) -> None:
    with pytest.raises(devregs.SourceError, match="pl011") as error:
        devregs.open(maps / "page.toml", "mem:0x0900_0000")
    assert error.value.errno == errno.EPERM
    assert "IO_STRICT_DEVMEM" in str(error.value)
    answered("/dev/mem", "claimed range at 0x9000000: EPERM, names pl011")


def test_unclaimed_block(maps: Path, answered: Answered) -> None:
    # Nobody claims the virtio-mmio blocks while their driver is not there.
    with devregs.open(maps / "page-ro.toml", "mem:0x0a00_0000") as page:
        assert page.WORD.read() == int.from_bytes(b"virt", "little")
        answered("/dev/mem", "unclaimed range at 0xa000000: opens")


def test_clock_while_uio_has_it(answered: Answered) -> None:
    # uio_pdrv_genirq claims no memory: IO_STRICT_DEVMEM lets it pass.
    with devregs.open("pl031", "mem:0x0901_0000") as rtc:
        assert rtc.PERIPHID0.read() == 0x31
        assert rtc.regions.id.view().readonly
