"""PL061, the GPIO block: lines out, and interrupts from outside: line 3 is the power button."""

import time
from collections.abc import Callable, Iterator

import devregs
import pytest

Answered = Callable[[str, str], None]
Press = Callable[[], None]
BUTTON = 1 << 3


@pytest.fixture
def gpio() -> Iterator[devregs.Device]:
    with devregs.open("pl061", "uio:labgpio") as device:
        for register in (device.IE, device.IS, device.IBE, device.DIR):
            register.write(0)
        device.irq.disable()
        wait_for_release(device)
        device.IC.write(0xFF)
        yield device
        device.IE.write(0)
        wait_for_release(device)
        device.IC.write(0xFF)


def wait_for_release(gpio: devregs.Device) -> None:
    """Until the button, pressed for a tenth of a second, is up again."""
    while gpio.MASKED_DATA[BUTTON].read():
        time.sleep(0.01)


def test_periphid(gpio: devregs.Device, answered: Answered) -> None:
    assert gpio.regions.id.view(size=8).tolist() == [0x61, 0x10]
    answered(f"pl061 {gpio.source}", f"PERIPHID0 {gpio.PERIPHID0.read():#x}")


def test_lines_out(gpio: devregs.Device) -> None:
    gpio.DIR.write(0xF0)
    gpio.DATA.write(0xA0)
    assert gpio.DATA.read() & 0xF0 == 0xA0


def test_data_is_masked_by_its_address(gpio: devregs.Device) -> None:
    gpio.DIR.write(0xF0)
    gpio.DATA.write(0x00)
    # Bits 9:2 of the address are the mask: only line 6 changes, and only line 5 is read.
    gpio.MASKED_DATA[0x40].write(0xFF)
    assert gpio.MASKED_DATA[0xF0].read() == 0x40
    assert gpio.MASKED_DATA[0x20].read() == 0x00
    assert gpio["MASKED_DATA[64]"].read() == 0x40


def test_view_reaches_the_same_registers(gpio: devregs.Device) -> None:
    with gpio.regions.regs.view(offset=0x400, size=4) as view:
        view[0] = 0x30
    assert gpio.DIR.read() == 0x30


def test_close_is_refused_while_a_view_lives(gpio: devregs.Device) -> None:
    view = gpio.regions.id.view()
    with pytest.raises(BufferError):
        gpio.close()
    assert view[0] == 0x61
    view.release()


def test_power_button(gpio: devregs.Device, press_power_button: Press, answered: Answered) -> None:
    gpio.IEV.write(BUTTON)
    gpio.IE.write(BUTTON)
    press_power_button()
    assert gpio.irq.wait(timeout=10) == 1
    assert gpio.MIS.read() == BUTTON
    gpio.IC.write(BUTTON)
    assert gpio.MIS.read() == 0
    answered(f"pl061 {gpio.source}", "interrupt from outside on line 3")


def test_both_edges_of_the_button(gpio: devregs.Device, press_power_button: Press) -> None:
    gpio.IBE.write(BUTTON)
    gpio.IE.write(BUTTON)
    press_power_button()
    for _ in ("down", "up"):
        assert gpio.irq.wait(timeout=10) == 1
        gpio.IC.write(BUTTON)
    with pytest.raises(devregs.WaitTimeout):
        gpio.irq.wait(timeout=0.3)


def test_masked_button_is_seen_but_does_not_interrupt(
    gpio: devregs.Device, press_power_button: Press
) -> None:
    gpio.IEV.write(BUTTON)
    press_power_button()
    with pytest.raises(devregs.WaitTimeout):
        gpio.irq.wait(timeout=1)
    assert gpio.RIS.read() == BUTTON
    assert gpio.MIS.read() == 0


def test_event_before_the_wait_counts_once(gpio: devregs.Device, press_power_button: Press) -> None:
    gpio.IEV.write(BUTTON)
    gpio.IE.write(BUTTON)
    gpio.irq.enable()
    press_power_button()
    while not gpio.MIS.read():
        time.sleep(0.01)
    # It has come and has masked itself: enabling it before it is served would only count it again.
    assert gpio.irq.wait(timeout=10) == 1
    assert gpio.irq.missed == 0
