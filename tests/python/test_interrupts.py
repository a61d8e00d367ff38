"""The interrupt of a UIO device: events as the kernel counts them, at a socket in the place of its file."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import devregs
import pytest

MAP = """
[device]
name = "block"
[regions.regs]
size = 0x100
registers.CTRL = { offset = 0 }
"""


class Kernel:
    """The other end of the interrupt, and the tree a device is found in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        folder = root / "sys/class/uio/uio0"
        (folder / "maps/map0").mkdir(parents=True)
        (folder / "name").write_text("block\n")
        self.event = folder / "event"
        self.event.write_text("0\n")
        for key, text in {"name": "", "addr": "0x1000", "offset": "0x0", "size": "0x1000"}.items():
            (folder / "maps/map0" / key).write_text(f"{text}\n")
        (root / "dev").mkdir()
        (root / "dev/uio0").write_bytes(bytes(0x1000))
        (root / "block.toml").write_text(MAP)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The path of a socket has 107 bytes at most.
        before = Path.cwd()
        os.chdir(root / "dev")
        try:
            self.server.bind("uio0.irq")
        finally:
            os.chdir(before)
        self.server.listen()
        self.files: list[socket.socket] = []

    def open(self) -> Any:
        device = devregs.open(self.root / "block.toml", "uio:block", root=self.root)
        self.files.append(self.server.accept()[0])
        return device

    def count(self, count: int) -> None:
        """So many events have come in all."""
        for file in self.files:
            file.send(count.to_bytes(4, sys.byteorder))

    def enabled(self) -> list[int]:
        """What was written to the last device opened, to enable or disable its interrupt."""
        file = self.files[-1]
        file.setblocking(False)
        try:
            heard = file.recv(64)
        except BlockingIOError:
            heard = b""
        finally:
            file.setblocking(True)
        return [int.from_bytes(heard[at : at + 4], sys.byteorder) for at in range(0, len(heard), 4)]

    def close(self) -> None:
        for file in (*self.files, self.server):
            file.close()


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path / "root")
    yield kernel
    kernel.close()


def test_events_are_those_since_the_open(kernel):
    kernel.event.write_text("41\n")
    with kernel.open() as device:
        assert (device.irq.count, device.irq.missed) == (41, 0)
        kernel.count(44)
        assert device.irq.wait(timeout=10) == 3
        assert (device.irq.count, device.irq.missed) == (44, 2)
        kernel.count(45)
        assert device.irq.wait(timeout=10) == 1
        assert (device.irq.count, device.irq.missed) == (45, 2)


def test_the_count_goes_on_at_0_after_the_last_of_32_bits(kernel):
    kernel.event.write_text(f"{2**32 - 2}\n")
    with kernel.open() as device:
        kernel.count(2**32 - 1)
        assert device.irq.wait(timeout=10) == 1
        kernel.count(1)
        assert device.irq.wait(timeout=10) == 2
        assert (device.irq.count, device.irq.missed) == (1, 1)
        kernel.count(2)
        assert device.irq.wait(timeout=10) == 1


def test_an_event_told_twice_is_one(kernel):
    """One that comes while the device is opened is in sysfs, and in the socket once more."""
    kernel.event.write_text("5\n")
    with kernel.open() as device:
        kernel.count(5)
        with pytest.raises(devregs.WaitTimeout, match="the count stands at 5"):
            device.irq.wait(timeout=0)
        kernel.count(6)
        assert device.irq.wait(timeout=10) == 1


def test_the_interrupt_is_enabled_before_a_wait_and_not_where_an_event_is_there(kernel):
    with kernel.open() as device:
        with pytest.raises(devregs.WaitTimeout):
            device.irq.wait(timeout=0)
        assert kernel.enabled() == [1]
        kernel.count(1)
        assert device.irq.wait(timeout=10) == 1
        assert kernel.enabled() == []
        with pytest.raises(devregs.WaitTimeout):
            device.irq.wait(timeout=0, rearm=False)
        assert kernel.enabled() == []
        device.irq.disable()
        device.irq.enable()
        assert kernel.enabled() == [0, 1]


def test_signals_in_the_middle_of_a_wait_do_not_end_it(kernel):
    """Each interrupts the system call that the wait sleeps in."""
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(time.monotonic()))
    try:
        with kernel.open() as device:
            signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
            with pytest.raises(devregs.WaitTimeout):
                device.irq.wait(timeout=0.3)
            timer = threading.Timer(0.3, kernel.count, [1])
            timer.start()
            assert device.irq.wait(timeout=60) == 1
            timer.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(seen) > 1


def test_a_wait_of_one_thread_is_ended_by_the_close_of_another(kernel):
    device = kernel.open()
    timer = threading.Timer(0.1, device.close)
    timer.start()
    with pytest.raises(devregs.AccessError, match="closed"):
        device.irq.wait(timeout=60)
    timer.join()
