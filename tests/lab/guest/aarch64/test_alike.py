"""PL061 and PL031 against their mocks: random accesses that the map allows read the same on both."""

import itertools
import random
from collections.abc import Callable

import devregs
from alike import Step, check

Answered = Callable[[str, str], None]
Press = Callable[[], None]
LENGTH = 50
BUTTON = 1 << 3


def start_gpio(gpio: devregs.Device) -> None:
    """All lines are inputs that read 0, and nothing interrupts."""
    for name, value in (("IE", 0), ("DIR", 0xFF), ("DATA", 0), ("DIR", 0)):
        gpio[name].write(value)
    for name in ("IS", "IBE", "IEV", "AFSEL"):
        gpio[name].write(0)
    gpio.IC.write(0xFF)


def plan_gpio(chance: random.Random) -> list[Step]:
    """Any writes, and reads after them.

    The model goes its own ways in two places. It keeps a level in RIS until IC is written, where the manual lets
    it go with the line: so IC comes before RIS and MIS. It sees an edge where an output of 1 becomes an
    input, whose pin here nobody drives: so only outputs of 0 become inputs.
    """
    steps: list[Step] = []
    data = direction = 0
    while len(steps) < LENGTH:
        value, mask = chance.randrange(256), chance.randrange(256)
        match chance.randrange(8):
            case 0:
                steps.append(Step("write", "DATA", value))
                data = data & ~direction | value & direction
            case 1:
                steps.append(Step("write", f"MASKED_DATA[{mask}]", value))
                data = data & ~(direction & mask) | value & direction & mask
            case 2:
                direction = value | direction & data
                steps.append(Step("write", "DIR", direction))
            case 3:
                name = chance.choice(["IS", "IBE", "IEV", "IE", "AFSEL", "IC"])
                steps.append(Step("write", name, value))
            case 4:
                steps.append(Step("read", chance.choice(["DATA", f"MASKED_DATA[{mask}]"])))
            case 5:
                names = ["DIR", "IS", "IBE", "IEV", "IE", "AFSEL", "PERIPHID0"]
                steps.append(Step("read", chance.choice(names)))
            case _:
                steps += [Step("write", "IC", 0xFF), Step("read", "RIS"), Step("read", "MIS")]
    return steps


def start_rtc(rtc: devregs.Device) -> None:
    """It runs, far from its alarm."""
    rtc.CR.START = 1
    rtc.LR.write(0)
    rtc.MR.write(0x8000_0000)
    rtc.IMSC.write(0)
    rtc.ICR.write(1)


def plan_rtc(chance: random.Random) -> list[Step]:
    """Any writes, and reads after them; an alarm comes when the clock is set to it, and by counting it is far."""
    steps: list[Step] = []
    now, match = 0, 0x8000_0000
    while len(steps) < LENGTH:
        case = chance.randrange(8)
        if case < 2:
            value = chance.randrange(2**32)
            away = min((value - now) % 2**32, (value - match) % 2**32, (match - value) % 2**32)
            if away > 3600:
                steps.append(Step("write", "MR" if case else "LR", value))
                match, now = (value, now) if case else (match, value)
        elif case == 2:
            steps.append(Step("write", "LR", match))
            # Away again at once: a second later it would count on, and the alarm not come again.
            now = match
        elif case == 3:
            steps.append(Step("write", chance.choice(["IMSC", "ICR"]), chance.randrange(2)))
        elif case == 4:
            steps.append(Step("read", "DR", near=2))
        else:
            name = chance.choice(["MR", "LR", "CR", "IMSC", "RIS", "MIS", "PERIPHID0"])
            steps.append(Step("read", name))
    return steps


def test_gpio(answered: Answered) -> None:
    with devregs.open("pl061", "uio:labgpio") as gpio:
        gpio.irq.disable()
        reads = check(gpio, "pl061", start_gpio, plan_gpio, range(200))
        start_gpio(gpio)
    answered("pl061 and its mock", f"{reads} reads alike")


def test_rtc(answered: Answered) -> None:
    with devregs.open("pl031", "uio:labrtc") as rtc:
        rtc.irq.disable()
        reads = check(rtc, "pl031", start_rtc, plan_rtc, range(200))
        start_rtc(rtc)
    answered("pl031 and its mock", f"{reads} reads alike")


def test_edges_of_a_pin(press_power_button: Press) -> None:
    with devregs.open("pl061", "uio:labgpio") as gpio, devregs.mock("pl061") as mock:
        gpio.irq.disable()
        button = gpio.MASKED_DATA[BUTTON]
        for both, event in itertools.product((0, BUTTON), repeat=2):
            button.wait(PIN=0, timeout=10)
            for device in (gpio, mock):
                start_gpio(device)
                device.IBE.write(both)
                device.IEV.write(event)
                device.IE.write(0xFF)
            mock.hw.DATA = BUTTON
            pressed = mock.RIS.read(), mock.MIS.read()
            mock.hw.DATA = 0
            released = mock.RIS.read(), mock.MIS.read()
            # The pulse is a tenth of a second: nothing slow until its end.
            press_power_button()
            button.wait(PIN=BUTTON, timeout=10)
            assert (gpio.RIS.read(), gpio.MIS.read()) == pressed
            button.wait(PIN=0, timeout=10)
            assert (gpio.RIS.read(), gpio.MIS.read()) == released
        start_gpio(gpio)


def test_alarm_by_counting() -> None:
    with devregs.open("pl031", "uio:labrtc") as rtc, devregs.mock("pl031") as mock:
        rtc.irq.disable()
        for device in (rtc, mock):
            start_rtc(device)
            device.LR.write(0xFFFF_FFFF)
            device.MR.write(0)
            assert device.RIS.ALARM == 0
            device.RIS.wait(ALARM=1, timeout=3)
            assert device.DR.read() == 0
            start_rtc(device)
