"""An alarm recorded on a real clock in the lab, played back to the driver that made it, and to others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import devregs
import pytest

TREE = Path(__file__).parents[2]
RECORDING = TREE / "tests/recordings/rtc_alarm.jsonl"


@pytest.fixture(scope="module")
def driver(example: Callable[[str], ModuleType]) -> ModuleType:
    return example("rtc_alarm")


def replay() -> devregs.Device:
    return devregs.open("pl031", f"replay:{RECORDING}")


def test_same_driver(driver: ModuleType) -> None:
    with replay() as rtc, rtc.trace() as trace:
        assert driver.wait_for_alarm(rtc, 1) == "the interrupt"
    recorded = [json.loads(line) for line in RECORDING.read_text().splitlines()[1:]]
    assert [(access.op, access.path) for access in trace] == [
        (line["op"], line.get("path")) for line in recorded
    ]


def test_another_alarm(driver: ModuleType) -> None:
    with pytest.raises(devregs.ExpectationError) as error, replay() as rtc:
        driver.wait_for_alarm(rtc, 2)
    # The access that is another one: what was recorded there, and what was made.
    (told,) = [line for line in str(error.value).splitlines() if line.startswith(">")]
    assert told.split() == [">", "5", "write", "MR", "0x0000_0014", "write", "MR", "0x0000_0015"]


def test_another_order() -> None:
    def hasty(rtc: devregs.Device) -> None:
        rtc.CR.START = 1
        rtc.IMSC.ALARM = 1

    with pytest.raises(devregs.ExpectationError) as error, replay() as rtc:
        hasty(rtc)
    (told,) = [line for line in str(error.value).splitlines() if line.startswith(">")]
    assert "ICR" in told
    assert "IMSC" in told


def test_half_of_it() -> None:
    with pytest.raises(devregs.ExpectationError, match="nothing more"), replay() as rtc:
        rtc.CR.START = 1


def test_more_than_was_recorded(driver: ModuleType) -> None:
    rtc = replay()
    driver.wait_for_alarm(rtc, 1)
    with pytest.raises(devregs.ExpectationError, match="the end of the recording"):
        rtc.MR.write(0)
    rtc.close()


def test_another_device() -> None:
    with pytest.raises(devregs.DevregsError, match="pl031"):
        devregs.open("pl061", f"replay:{RECORDING}")
