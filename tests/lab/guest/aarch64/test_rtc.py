"""PL031, the real-time clock: a second is a second, and its alarm is a real interrupt."""

import asyncio
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import devregs
import pytest

Answered = Callable[[str, str], None]


@pytest.fixture
def rtc() -> Iterator[devregs.Device]:
    with devregs.open("pl031", "uio:labrtc") as device:
        device.irq.disable()
        yield device
        device.IMSC.write(0)
        device.ICR.write(1)


def set_alarm(rtc: devregs.Device) -> None:
    """In a second from now."""
    rtc.ICR.write(1)
    rtc.MR.write(rtc.DR.read() + 1)
    rtc.IMSC.write(1)


def test_by_name_number_and_address(rtc: devregs.Device, answered: Answered) -> None:
    number = next(
        path.parent.name[3:]
        for path in Path("/sys/class/uio").glob("*/name")
        if path.read_text() == "labrtc\n"
    )
    rtc.MR.write(0x1234_5678)
    for source in (f"uio:{number}", "mem:0x0901_0000"):
        with devregs.open("pl031", source) as same:
            assert same.MR.read() == 0x1234_5678
            assert same.MR.address == rtc.MR.address == 0x0901_0004
            answered(f"pl031 {same.source}", f"PERIPHID0 {same.PERIPHID0.read():#x}")


def test_periphid_region_is_read_only(rtc: devregs.Device) -> None:
    with rtc.regions.id.view() as view:
        assert view.readonly
        assert view.tolist() == [0x31, 0x10, 0x14, 0x00, 0x0D, 0xF0, 0x05, 0xB1]
    with pytest.raises(devregs.AccessError, match="PERIPHID0"):
        rtc.PERIPHID0.write(0)


def test_clock_runs(rtc: devregs.Device, answered: Answered) -> None:
    start, before = time.monotonic(), rtc.DR.read()
    time.sleep(2.1)
    passed, counted = time.monotonic() - start, rtc.DR.read() - before
    assert abs(counted - passed) < 1.5
    answered(f"pl031 {rtc.source}", f"counted {counted} s in {passed:.1f} s")


def test_load_register_sets_the_clock(rtc: devregs.Device) -> None:
    rtc.LR.write(0x1000)
    assert rtc.DR.read() in (0x1000, 0x1001)


def test_match_register_keeps_all_its_bits(rtc: devregs.Device) -> None:
    for value in (0, 0xFFFF_FFFF, 0x8000_0001):
        rtc.MR.write(value)
        assert rtc.MR.read() == value


def test_write_only_register_refuses_reads(rtc: devregs.Device) -> None:
    with pytest.raises(devregs.AccessError, match="ICR"):
        rtc.ICR.read()


def test_alarm(rtc: devregs.Device, answered: Answered) -> None:
    start = time.monotonic()
    set_alarm(rtc)
    assert rtc.irq.wait(timeout=5) == 1
    assert time.monotonic() - start < 4
    assert rtc.RIS.read() == rtc.MIS.read() == 1
    rtc.ICR.write(1)
    assert rtc.RIS.read() == 0
    answered(f"pl031 {rtc.source}", f"alarm after {time.monotonic() - start:.2f} s")


def test_alarm_not_acknowledged_comes_again(rtc: devregs.Device) -> None:
    set_alarm(rtc)
    assert rtc.irq.wait(timeout=5) == 1
    with pytest.raises(devregs.WaitTimeout):
        rtc.irq.wait(timeout=0.1, rearm=False)
    assert rtc.irq.wait(timeout=1) == 1


def test_missed_alarms_are_counted(rtc: devregs.Device) -> None:
    set_alarm(rtc)
    time.sleep(1.2)
    for _ in range(3):
        rtc.irq.enable()
        time.sleep(0.02)
    assert rtc.irq.wait(timeout=1, rearm=False) == 3
    assert rtc.irq.missed == 2


def test_alarm_wakes_poll(rtc: devregs.Device) -> None:
    poll = select.poll()
    poll.register(rtc.irq.fileno(), select.POLLIN)
    assert poll.poll(0) == []
    rtc.irq.enable()
    set_alarm(rtc)
    assert poll.poll(5000) == [(rtc.irq.fileno(), select.POLLIN)]
    assert rtc.irq.wait(timeout=0, rearm=False) == 1


def test_alarm_in_asyncio(rtc: devregs.Device) -> None:
    async def two_alarms() -> list[int]:
        events = []
        set_alarm(rtc)
        async for count in rtc.irq:
            events.append(count)
            if len(events) == 2:
                break
            set_alarm(rtc)
        return events

    assert asyncio.run(asyncio.wait_for(two_alarms(), 10)) == [1, 1]
