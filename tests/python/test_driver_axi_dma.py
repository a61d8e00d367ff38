"""A driver tested on a mock: what works only because the device behaves fails on plain memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import devregs
import pytest


@pytest.fixture(scope="module")
def driver(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("axi_dma")


def test_transfer_on_a_mock(driver: ModuleType) -> None:
    with devregs.mock("axi-dma") as dma:
        for length in (1, 4096):
            driver.transfer(dma, "MM2S", 0x1_2000_0000, length, timeout=5)
            assert dma.hw.MM2S.SA.read() == 0x2000_0000
            assert dma.hw.MM2S.SA_MSB.read() == 1
            assert dma.MM2S.LENGTH.read() == length
            assert dma.MM2S.DMASR.Idle
            assert not dma.MM2S.DMASR.IOC_Irq


def test_transfer_on_plain_memory(driver: ModuleType, tmp_path: Path) -> None:
    # Nothing takes the reset back there.
    (memory := tmp_path / "memory").write_bytes(bytes(0x400))
    with (
        devregs.open("axi-dma", f"file:{memory}") as dma,
        pytest.raises(devregs.WaitTimeout, match="Reset"),
    ):
        driver.transfer(dma, "MM2S", 0x2000_0000, 64, timeout=0.05)


def test_received_packet(driver: ModuleType) -> None:
    with devregs.mock("axi-dma", clock="virtual") as dma:

        @dma.hw["S2MM.LENGTH"].on_write
        def send(size: int) -> None:
            dma.hw.S2MM.LENGTH = size - 10

        driver.transfer(dma, "S2MM", 0x2000_0000, 64, timeout=1e-3)
        assert dma.S2MM.LENGTH.read() == 54


def test_no_packet(driver: ModuleType) -> None:
    with devregs.mock("axi-dma", clock="virtual") as dma, pytest.raises(devregs.WaitTimeout):
        driver.transfer(dma, "S2MM", 0x2000_0000, 64, timeout=1e-3)


@pytest.mark.parametrize("error", ["DMAIntErr", "DMASlvErr", "DMADecErr"])
def test_error(driver: ModuleType, error: str) -> None:
    with devregs.mock("axi-dma", clock="virtual") as dma:

        @dma.hw["MM2S.LENGTH"].on_write
        def fail(_: int) -> None:
            setattr(dma.hw.MM2S.DMASR, error, 1)

        with pytest.raises(RuntimeError, match=f"MM2S stopped: {error}"):
            driver.transfer(dma, "MM2S", 0x2000_0000, 64, timeout=1e-3)
        status = dma.MM2S.DMASR.decode(dma.MM2S.DMASR.read())
        assert status["Halted"]
        assert status["Err_Irq"]
        assert not status["IOC_Irq"]
        assert not dma.MM2S.DMACR.RS
        # After the error only a reset lets it go on; the driver makes one.
        dma.MM2S.DMACR.RS = 1
        assert dma.MM2S.DMASR.Halted
        dma.hw.remove_hooks()
        driver.transfer(dma, "MM2S", 0x2000_0000, 64, timeout=1e-3)


def test_interrupt(driver: ModuleType) -> None:
    with devregs.mock("axi-dma", clock="virtual") as dma:
        dma.MM2S.DMACR.modify(RS=1, IOC_IrqEn=1)
        dma.MM2S.LENGTH.write(64)
        assert dma.irq.wait(timeout=1) == 1
        assert dma.MM2S.DMASR.IOC_Irq
        dma.MM2S.DMASR.IOC_Irq = 1
        with pytest.raises(devregs.WaitTimeout):
            dma.irq.wait(timeout=1e-3)
