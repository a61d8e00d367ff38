"""No read-modify-write is lost: between threads, devices and processes that each own a field and count."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import devregs
import pytest

COUNTS = """
[device]
name = "counts"
[regions.regs]
size = 0x1000
[regions.regs.registers.R]
offset = 0
width = 64
fields = { F0 = "15:0", F1 = "31:16", F2 = "47:32", F3 = "63:48" }
[regions.regs.registers.OTHER]
offset = 8
fields = { A = 0, B = 1 }
"""


@pytest.fixture
def counts(tmp_path):
    path = tmp_path / "counts.toml"
    path.write_text(COUNTS)
    memory = tmp_path / "memory"
    memory.write_bytes(bytes(0x1000))
    return path, f"file:{memory}"


def count(register, field: str, times: int) -> None:
    """Adds to what is there: an update that is lost once is missing in the end."""
    for _ in range(times):
        setattr(register, field, getattr(register, field) + 1)


def test_between_threads(counts):
    with devregs.open(*counts) as device:
        threads = [
            threading.Thread(target=count, args=(device.R, f"F{n}", 20_000)) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert device.R.read() == 0x4E20_4E20_4E20_4E20


CHILD = """
import sys, devregs
device = devregs.open(sys.argv[1], sys.argv[2], shared=True)
print("ready", flush=True)
device.OTHER.wait(A=1, timeout=60)
for _ in range(100_000):
    setattr(device.R, sys.argv[3], getattr(device.R, sys.argv[3]) + 1 & 0xffff)
"""


def test_between_processes(counts):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, *map(str, counts), f"F{n}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    with devregs.open(*counts) as device:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        device.OTHER.A = 1
        for child in children:
            assert child.stdout is not None
            child.stdout.close()
            assert child.wait(timeout=120) == 0
        assert device.R.read() == 0x86A0_86A0_86A0_86A0  # 100000 of 65536


def test_between_a_process_and_its_fork(counts):
    script = """
import os, sys, devregs
device = devregs.open(sys.argv[1], sys.argv[2], shared=True)
device.R.F0 = 0
child = os.fork()
field = "F1" if child else "F2"
setattr(device.OTHER, "AB"[child == 0], 1)
device.OTHER.wait(A=1, B=1, timeout=60)
for _ in range(100_000):
    setattr(device.R, field, getattr(device.R, field) + 1 & 0xffff)
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", script, *map(str, counts)], check=True, timeout=120)
    with devregs.open(*counts) as device:
        assert device.R.read() == 0x0000_86A0_86A0_0000


def test_between_two_devices_of_one_process(counts):
    """What they share is the file: each has its own lock, as two processes have."""
    devices = [devregs.open(*counts, shared=True) for _ in range(2)]
    threads = [
        threading.Thread(target=count, args=(device.R, f"F{n}", 5000))
        for n, device in enumerate(devices)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert devices[0].R.read() == 0x1388_1388
    for device in devices:
        device.close()


def test_the_kernel_releases_the_lock_of_a_process_that_dies(counts):
    """Killed at any moment, it blocks nobody."""
    loop = (
        CHILD.replace("range(100_000)", "iter(int, 1)")
        .replace(" + 1", " | 1")
        .replace("A=1, timeout=60", "A=0")
    )
    with devregs.open(*counts, shared=True) as device:
        for _ in range(5):
            child = subprocess.Popen(
                [sys.executable, "-c", loop, *map(str, counts), "F3"], stdout=subprocess.DEVNULL
            )
            deadline = time.monotonic() + 30
            while device.R.F3 == 0 and time.monotonic() < deadline:
                time.sleep(0.001)
            assert device.R.F3, "the child has not begun"
            child.send_signal(signal.SIGKILL)
            child.wait()
            device.R.modify(F0=1, F3=0)
        assert device.R.read() == 1


def test_signals_while_another_process_has_the_lock_are_no_error(counts):
    """Each interrupts the system call in which the write waits for its turn."""
    holder = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(0.5)\n"
    )
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(time.monotonic()))
    with devregs.open(*counts, shared=True) as device:
        file = counts[1].removeprefix("file:")
        with subprocess.Popen(
            [sys.executable, "-c", holder, file], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
            try:
                device.R.modify(F0=1)
                device.R.F1 = 2
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
        assert device.R.read() == 0x0002_0001
    assert seen


def test_a_fork_while_the_lock_is_held_leaves_the_child_free(counts):
    """A thread that is inside a block write when the process forks does not exist in the child."""
    script = """
import os, sys, threading, devregs
device = devregs.open(sys.argv[1], sys.argv[2])
stop = threading.Event()
block = bytes(0x800)
def write():
    while not stop.is_set():
        device.regions.regs.write_from(block, 0x800)
thread = threading.Thread(target=write)
thread.start()
for _ in range(200):
    child = os.fork()
    if child == 0:
        device.OTHER.A = 1
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, counts)], timeout=60, check=False
    )
    assert done.returncode == 0


def test_a_shared_device_does_what_any_device_does(counts):
    with devregs.open(*counts, shared=True) as device:
        device.R.write(5)
        device.R.modify(F0=6, F1=7)
        assert device.R.read() == 0x0007_0006
        assert device.regions.regs.write_from(bytes(8)) == 2
        device.regions.regs.write(0, 1)
        assert device.R.F0 == 1
        with pytest.raises(devregs.MapError):
            device.R.F0 = 1 << 16
    before = set(Path("/proc/self/fd").iterdir())
    devregs.open(*counts, shared=True).close()
    assert len(set(Path("/proc/self/fd").iterdir()) - before) <= 1
