"""Interrupts for asyncio: what `async for` over an interrupt runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from ._devregs import Interrupt, MapError, WaitTimeout


async def events(irq: Interrupt) -> AsyncIterator[int]:
    """How many events came since the last, each time there are some, until closed or cancelled.

    The interrupt is enabled before each wait. Raises SourceError where there is none or the device
    is gone.
    """
    while True:
        yield await _next(irq)


async def wait(irq: Interrupt, timeout: float | None = None) -> int:
    """Wait for an event without blocking the loop; return how many came since the last.

    `timeout` is in seconds, None for no end. Raises WaitTimeout, and SourceError as `events` does.
    """
    if timeout is not None and not timeout >= 0:
        raise MapError(f"irq.wait: timeout: {timeout} is no time in seconds")
    try:
        async with asyncio.timeout(timeout):
            return await _next(irq)
    except TimeoutError:
        raise WaitTimeout(f"interrupt: nothing after {timeout} s") from None


async def _next(irq: Interrupt) -> int:
    rearm = True
    while True:
        try:
            return irq.wait(0, rearm=rearm)
        except WaitTimeout:
            pass
        # Once for each wait. Where another task took the event that woke us, enabling again is its
        # business: the interrupt may still be masked because the device is not served yet.
        rearm = False
        await _readable(irq.fileno(), irq._due)


async def _readable(fd: int, due: float | None) -> None:
    """Return when the file can be read, or after `due` seconds."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    # A loop has one reader for each file descriptor. A descriptor of our own lets several tasks
    # wait, and keeps the file from being closed under the loop.
    own = os.dup(fd)
    # Watched only while waited for: a readable file nobody reads would keep the loop busy.
    loop.add_reader(own, _wake, ready)
    timer = None if due is None else loop.call_later(due, _wake, ready)
    try:
        await ready
    finally:
        if timer is not None:
            timer.cancel()
        loop.remove_reader(own)
        os.close(own)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
