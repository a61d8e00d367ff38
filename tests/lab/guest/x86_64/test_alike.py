"""The edu card against its mock: random accesses that the map allows read the same on both."""

import random
import time
from collections.abc import Callable

import devregs
from alike import Step, check

Answered = Callable[[str, str], None]
LENGTH = 50


def start(edu: devregs.Device) -> None:
    """Nothing is computed, and nothing interrupts."""
    edu.STATUS.wait(BUSY=0, timeout=5)
    edu.STATUS.write(0)
    edu.LIVENESS.write(0)
    # The card raises its interrupt after it has said that it is done.
    time.sleep(0.001)
    edu.IRQ_ACK.write(0xFFFF_FFFF)


def plan(chance: random.Random) -> list[Step]:
    """Any writes, and reads after them. What has an interrupt of its own is waited for without."""
    steps: list[Step] = []
    while len(steps) < LENGTH:
        match chance.randrange(6):
            case 0:
                steps.append(Step("write", "LIVENESS", chance.randrange(2**32)))
            case 1:
                steps.append(Step("write", "FACTORIAL", chance.randrange(48)))
                steps.append(Step("idle", "STATUS.BUSY"))
            case 2:
                name = chance.choice(["IRQ_RAISE", "IRQ_ACK"])
                steps.append(Step("write", name, chance.randrange(2**32)))
            case _:
                names = ["ID", "LIVENESS", "FACTORIAL", "STATUS", "IRQ_STATUS"]
                steps.append(Step("read", chance.choice(names)))
    return steps


def test_edu(answered: Answered) -> None:
    with devregs.open("edu", "uio:0") as edu:
        edu.irq.disable()
        reads = check(edu, "edu", start, plan, range(200))
        start(edu)
    answered("edu and its mock", f"{reads} reads alike")


def test_factorial_interrupts_on_both(answered: Answered) -> None:
    with devregs.open("edu", "uio:0") as edu, devregs.mock("edu") as mock:
        for card in (edu, mock):
            card.irq.disable()
            start(card)
            card.STATUS.IRQ = 1
            card.FACTORIAL.write(9)
            card.irq.wait(timeout=5)
            assert card.IRQ_STATUS.FACTORIAL
            assert card.FACTORIAL.read() == 362_880
            card.STATUS.IRQ = 0
            card.IRQ_ACK.write(0xFFFF_FFFF)
