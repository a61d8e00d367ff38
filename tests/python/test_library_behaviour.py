"""The library's maps on mocks: each does what its device does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import devregs
import pytest

Make = Callable[[str], devregs.Device]


@pytest.fixture
def make() -> Iterator[Make]:
    devices: list[devregs.Device] = []

    def mock(name: str) -> devregs.Device:
        devices.append(devregs.mock(name, clock="virtual"))
        return devices[-1]

    yield mock
    for device in devices:
        device.close()


def test_pl061_writes_outputs_only(make: Make) -> None:
    gpio = make("pl061")
    gpio.hw.DATA = 0x05
    gpio.DIR.write(0xF0)
    gpio.DATA.write(0xAA)
    assert gpio.DATA.read() == 0xA5
    gpio.MASKED_DATA[0x20].write(0x00)
    assert gpio.DATA.read() == 0x85
    assert [gpio.MASKED_DATA[mask].read() for mask in (0, 0x0F, 0x80, 0xFF)] == [0, 5, 0x80, 0x85]


def test_pl061_by_offset(make: Make) -> None:
    gpio = make("pl061")
    gpio.DIR.write(0xFF)
    gpio.regions.regs.write(0x3FC, 0x3C)
    assert gpio.DATA.read() == 0x3C
    gpio.regions.regs.write(4 * 0x0C, 0x04)
    assert gpio.regions.regs.read(0x3FC) == 0x34
    assert gpio.regions.regs.read(4 * 0x30) == 0x30


def test_pl061_edges(make: Make) -> None:
    gpio = make("pl061")
    gpio.IEV.write(0x01)
    gpio.IBE.write(0x04)
    gpio.IE.write(0x05)
    gpio.hw.DATA = 0x07
    # Line 0 rose, line 1 waits for a fall, line 2 for any.
    assert (gpio.RIS.read(), gpio.MIS.read()) == (0x05, 0x05)
    assert gpio.irq.wait(timeout=1) == 1
    gpio.IC.write(0xFF)
    gpio.hw.DATA = 0x00
    assert (gpio.RIS.read(), gpio.MIS.read()) == (0x06, 0x04)


def test_pl061_levels(make: Make) -> None:
    gpio = make("pl061")
    gpio.IS.write(0x03)
    gpio.IEV.write(0x01)
    assert gpio.RIS.read() == 0x02
    gpio.hw.DATA = 0x01
    assert gpio.RIS.read() == 0x03
    # A level stays as long as the line does.
    gpio.IC.write(0x03)
    assert gpio.RIS.read() == 0x03
    gpio.hw.DATA = 0x02
    assert gpio.RIS.read() == 0x00


def test_pl031_counts_from_its_start(make: Make) -> None:
    rtc = make("pl031")
    rtc.hw.advance(10)
    assert rtc.DR.read() == 0
    rtc.CR.START = 1
    rtc.hw.advance(10)
    assert rtc.DR.read() == 10
    rtc.LR.write(0xFFFF_FFFE)
    rtc.hw.advance(3)
    assert rtc.DR.read() == 1


def test_pl031_alarm(make: Make) -> None:
    rtc = make("pl031")
    rtc.CR.START = 1
    rtc.LR.write(100)
    rtc.MR.write(103)
    rtc.IMSC.ALARM = 1
    rtc.hw.advance(2.5)
    assert (rtc.RIS.ALARM, rtc.MIS.ALARM) == (0, 0)
    assert rtc.irq.wait(timeout=2) == 1
    assert (rtc.DR.read(), rtc.MIS.ALARM) == (103, 1)
    rtc.ICR.ALARM = 1
    assert (rtc.RIS.ALARM, rtc.MIS.ALARM) == (0, 0)
    rtc.MR.write(rtc.DR.read())
    assert rtc.RIS.ALARM == 1


def test_edu_computes(make: Make) -> None:
    edu = make("edu")
    edu.LIVENESS.write(0x1234_5678)
    assert edu.LIVENESS.read() == 0xEDCB_A987
    for number in range(40):
        edu.FACTORIAL.write(number)
        assert edu.STATUS.BUSY
        edu.FACTORIAL.write(5)
        edu.STATUS.wait(BUSY=0, timeout=1)
        assert edu.FACTORIAL.read() == math.factorial(number) % 2**32
    assert edu.IRQ_STATUS.read() == 0


def test_edu_interrupts(make: Make) -> None:
    edu = make("edu")
    edu.STATUS.IRQ = 1
    edu.FACTORIAL.write(4)
    assert edu.irq.wait(timeout=1) == 1
    assert edu.IRQ_STATUS.read() == 1
    edu.IRQ_RAISE.write(0x30)
    edu.IRQ_ACK.write(0x11)
    assert edu.IRQ_STATUS.read() == 0x20


def test_edu_transfer(make: Make) -> None:
    edu = make("edu")
    edu.DMA_COUNT.write(8)
    edu.DMA_CMD.write(edu.DMA_CMD.encode(IRQ=1))
    assert edu.DMA_CMD.read() == 0
    edu.DMA_CMD.write(edu.DMA_CMD.encode(RUN=1, IRQ=1))
    edu.DMA_COUNT.write(9)
    assert (edu.DMA_COUNT.read(), edu.DMA_CMD.RUN) == (8, 1)
    edu.hw.advance(0.1)
    assert not edu.DMA_CMD.RUN
    assert edu.IRQ_STATUS.DMA


def test_pl011_flags_follow_its_fifos(make: Make) -> None:
    uart = make("pl011")
    uart.LCR_H.FEN = 1
    for letter in b"sixteen letters!":
        assert not uart.FR.TXFF
        uart.DR.write(letter)
    assert (uart.FR.TXFF, uart.FR.BUSY, uart.FR.TXFE) == (1, 1, 0)
    # Nothing leaves before it is enabled.
    uart.hw.advance(1)
    assert uart.FR.TXFF
    uart.CR.UARTEN = 1
    uart.FR.wait(BUSY=0, timeout=1)
    assert (uart.FR.TXFF, uart.FR.TXFE, uart.RIS.TX) == (0, 1, 1)
    assert bytes(uart.hw.DR.pop_all()) == b"sixteen letters!"


def test_pl011_receives(make: Make) -> None:
    uart = make("pl011")
    uart.LCR_H.FEN = 1
    uart.IFLS.RXIFLSEL = "EIGHTH"
    uart.IMSC.RX = 1
    uart.hw.DR.push(0x41)
    assert (uart.FR.RXFE, uart.RIS.RX) == (0, 0)
    uart.hw.DR.push(0x42 | 1 << 8)
    assert uart.irq.wait(timeout=1) == 1
    assert (uart.RIS.RX, uart.RIS.RT) == (1, 0)
    uart.hw.advance(1e-3)
    assert uart.RIS.RT
    assert uart.DR.read() == 0x41
    assert (uart.RIS.RX, uart.RIS.RT, uart.RSR.FE) == (0, 1, 0)
    assert uart.DR.DATA == 0x42
    assert (uart.RIS.RT, uart.RSR.FE, uart.FR.RXFE) == (0, 1, 1)


def test_pl011_overruns(make: Make) -> None:
    uart = make("pl011")
    uart.LCR_H.FEN = 1
    uart.hw.DR.push(*range(16))
    assert (uart.FR.RXFF, uart.RIS.OE) == (1, 0)
    with pytest.raises(devregs.MapError, match="full"):
        uart.hw.DR.push(16)
    assert (uart.RIS.OE, uart.RSR.OE) == (1, 1)
    uart.LCR_H.FEN = 0
    assert uart.FR.RXFE


def test_pl011_hears_itself(make: Make) -> None:
    uart = make("pl011")
    uart.CR.modify(UARTEN=1, LBE=1)
    uart.DR.write(0x55)
    uart.FR.wait(RXFE=0, timeout=1)
    assert uart.RIS.RX
    assert uart.DR.read() == 0x55


@pytest.mark.parametrize("name", ["uart16550", "uart16550-32"])
def test_uart16550(make: Make, name: str) -> None:
    uart = make(name)
    uart.FCR.write(uart.FCR.encode(ENABLE=1))
    assert uart.IIR.FIFOS.name == "ON"
    for letter in b"hello":
        uart.THR.write(letter)
    assert (uart.LSR.THRE, uart.LSR.TEMT) == (0, 0)
    uart.LSR.wait(TEMT=1, timeout=1)
    assert bytes(uart.hw.THR.pop_all()) == b"hello"
    uart.hw.RBR.push(*range(16))
    assert (uart.LSR.DR, uart.LSR.OE) == (1, 0)
    uart.FCR.write(uart.FCR.encode(ENABLE=1, RX_RESET=1))
    assert not uart.LSR.DR
    uart.MCR.LOOP = 1
    uart.THR.write(7)
    uart.LSR.wait(DR=1, timeout=1)
    assert uart.RBR.read() == 7
    assert uart.hw.THR.sent == 0


def test_axi_uartlite(make: Make) -> None:
    uart = make("axi-uartlite")
    uart.CTRL_REG.write(uart.CTRL_REG.encode(ENABLE_INTR=1))
    for letter in range(16):
        uart.TX_FIFO.write(letter)
    status = uart.STAT_REG.decode(uart.STAT_REG.read())
    assert (status["TX_FULL"], status["TX_EMPTY"], status["INTR_ENABLED"]) == (1, 0, 1)
    assert uart.irq.wait(timeout=1)
    assert uart.STAT_REG.read() == 0x14
    assert uart.hw.TX_FIFO.pop_all() == list(range(16))
    uart.hw.RX_FIFO.push(*range(16))
    with pytest.raises(devregs.MapError):
        uart.hw.RX_FIFO.push(99)
    assert uart.STAT_REG.read() == 0x37
    assert uart.STAT_REG.read() == 0x17
    uart.CTRL_REG.write(uart.CTRL_REG.encode(RST_RX_FIFO=1))
    assert uart.STAT_REG.read() == 0x04


@pytest.mark.parametrize("number", [0, 1])
def test_axi_timer(make: Make, number: int) -> None:
    timer = make("axi-timer")
    control = timer[f"TCSR{number}"]
    load, count = timer[f"TLR{number}"], timer[f"TCR{number}"]
    load.write(1_000_000)
    control.modify({f"UDT{number}": "DOWN", f"LOAD{number}": 1, f"ENIT{number}": 1})
    assert count.read() == 1_000_000
    control.modify({f"LOAD{number}": 0, f"ARHT{number}": 1, f"ENT{number}": 1})
    assert timer.irq.wait(timeout=1) == 1
    # A hundred megahertz in steps of a millisecond.
    assert timer.hw.time == pytest.approx(0.011, abs=0.002)
    assert count.read() == 1_000_000
    control.modify({f"T{number}INT": 1, f"ARHT{number}": 0})
    timer.hw.advance(1)
    assert control.decode(control.read())[f"T{number}INT"]
    assert count.read() == 0


def test_axi_timer_starts_both(make: Make) -> None:
    timer = make("axi-timer")
    timer.TCSR1.ENALL = 1
    assert (timer.TCSR0.ENALL, timer.TCSR0.ENT0, timer.TCSR1.ENT1) == (1, 1, 1)
    timer.TCSR0.ENALL = 0
    assert (timer.TCSR1.ENALL, timer.TCSR0.ENT0, timer.TCSR1.ENT1) == (0, 1, 1)


def test_axi_gpio(make: Make) -> None:
    gpio = make("axi-gpio")
    gpio.GPIO_TRI.write(0x0F)
    gpio.hw.GPIO_DATA = 0x05
    gpio.IP_ISR.CH1 = 1
    gpio.GPIO_DATA.write(0xAA)
    assert gpio.GPIO_DATA.read() == 0xA5
    gpio.IP_IER.CH1 = 1
    gpio.GIER.GIE = 1
    with pytest.raises(devregs.WaitTimeout):
        gpio.irq.wait(timeout=1)
    gpio.hw.GPIO_DATA = 0xA4
    assert gpio.irq.wait(timeout=1) == 1
    assert gpio.IP_ISR.read() == 1
