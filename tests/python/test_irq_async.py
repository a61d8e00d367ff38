"""Interrupts under asyncio, on a stand-in whose events are those of an eventfd."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import devregs
import pytest
from devregs import _aio


class FakeInterrupt:
    """Waits and counts as a UIO interrupt does; remembers how often it was enabled."""

    _due = None

    def __init__(self) -> None:
        self.file = os.eventfd(0, os.EFD_NONBLOCK)
        self.enabled = 0
        self.broken: Exception | None = None

    def fire(self, events: int = 1) -> None:
        os.eventfd_write(self.file, events)

    def fileno(self) -> int:
        return self.file

    def wait(self, timeout: float | None = None, *, rearm: bool = True) -> int:
        assert timeout == 0, "a blocking wait would block the loop"
        self.enabled += rearm
        if self.broken is not None:
            raise self.broken
        try:
            return os.eventfd_read(self.file)
        except BlockingIOError:
            raise devregs.WaitTimeout("nothing") from None


@pytest.fixture
def irq():
    fake = FakeInterrupt()
    yield fake
    os.close(fake.file)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_events_come_with_their_counts(irq):
    async def main():
        got = []
        asyncio.get_running_loop().call_later(0.01, irq.fire, 1)
        asyncio.get_running_loop().call_later(0.03, irq.fire, 3)
        async for count in _aio.events(irq):
            got.append(count)
            if len(got) == 2:
                break
        return got

    assert asyncio.run(main()) == [1, 3]


def test_the_interrupt_is_enabled_before_each_wait_and_not_again_when_it_fires(irq):
    async def main():
        events = _aio.events(irq)
        for _ in range(3):
            asyncio.get_running_loop().call_later(0.005, irq.fire)
            await anext(events)
        await events.aclose()

    asyncio.run(main())
    assert irq.enabled == 3


def test_an_event_that_was_pending_comes_at_once(irq):
    async def main():
        irq.fire(2)
        return await anext(_aio.events(irq))

    assert asyncio.run(main()) == 2


def test_the_loop_goes_on_meanwhile(irq):
    async def main():
        turns = 0

        async def work():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        worker = asyncio.create_task(work())
        asyncio.get_running_loop().call_later(0.05, irq.fire)
        await anext(_aio.events(irq))
        worker.cancel()
        return turns

    assert asyncio.run(main()) > 5


def test_a_ready_file_nobody_waits_for_does_not_keep_the_loop_busy(irq):
    """While the body of an `async for` works, its interrupt may fire: that must not spin."""

    async def main():
        events = _aio.events(irq)
        irq.fire()
        await anext(events)
        irq.fire()
        before = os.times()
        await asyncio.sleep(0.2)
        after = os.times()
        await events.aclose()
        return after.user + after.system - before.user - before.system

    assert asyncio.run(main()) < 0.1


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_nothing_is_left_behind(irq, end):
    async def main():
        before = open_files()
        events = _aio.events(irq)
        if end == "cancel":
            task = asyncio.create_task(anext(events))
            await asyncio.sleep(0.01)
            assert open_files() > before
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        else:
            irq.fire()
            await anext(events)
        await events.aclose()
        assert open_files() == before
        # A reader that is gone does not wake anybody.
        irq.fire()
        await asyncio.sleep(0.01)

    asyncio.run(main())


def test_several_tasks_wait_on_one_interrupt(irq):
    async def main():
        waits = [asyncio.create_task(_aio.wait(irq, 5)) for _ in range(3)]
        for _ in waits:
            await asyncio.sleep(0.01)
            irq.fire()
        return await asyncio.gather(*waits)

    assert asyncio.run(main()) == [1, 1, 1]


def test_wait_ends_in_time(irq):
    async def main():
        with pytest.raises(devregs.WaitTimeout, match=r"nothing after 0\.02 s"):
            await _aio.wait(irq, 0.02)
        with pytest.raises(devregs.WaitTimeout):
            await _aio.wait(irq, 0)
        irq.fire(4)
        assert await _aio.wait(irq, 0) == 4
        asyncio.get_running_loop().call_later(0.01, irq.fire)
        assert await _aio.wait(irq) == 1

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_is_a_time(irq, timeout):
    with pytest.raises(devregs.MapError, match="no time in seconds"):
        asyncio.run(_aio.wait(irq, timeout))


def test_what_wait_raises_comes_through(irq):
    irq.broken = devregs.SourceError("uio:0: the UIO device has no interrupt")

    async def main():
        async for _ in _aio.events(irq):
            pass

    with pytest.raises(devregs.SourceError, match="no interrupt"):
        asyncio.run(main())
