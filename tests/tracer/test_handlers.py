"""The tracer among other signal handlers: what is not its own reaches them unchanged."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tracer
from tracer import TraceError, address_of, trace

if not tracer.SUPPORTED:
    pytest.skip("the tracer runs on x86_64 Linux only", allow_module_level=True)

PAGE = mmap.PAGESIZE
HERE = Path(__file__).parent


class Guard:
    """A fault guard like that of a register library."""

    def __init__(self) -> None:
        self.library = ctypes.PyDLL(tracer._library()._name)
        for name in ("guard_load", "guard_store"):
            getattr(self.library, name).restype = ctypes.c_int64
        self.library.guard_load.argtypes = [ctypes.c_size_t]
        self.library.guard_store.argtypes = [ctypes.c_size_t, ctypes.c_uint32]

    def load(self, address: int) -> int | signal.Signals:
        return self._result(self.library.guard_load(address))

    def store(self, address: int, value: int) -> int | signal.Signals:
        return self._result(self.library.guard_store(address, value))

    @staticmethod
    def _result(raw: int) -> int | signal.Signals:
        return raw if raw >= 0 else signal.Signals(-1 - raw)


@pytest.fixture
def guard() -> Iterator[Guard]:
    guard = Guard()
    guard.library.guard_install()
    yield guard
    guard.library.guard_remove()


class Half:
    """Two pages of a file; the second can be taken away, and is a bus error then."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("half")
        os.truncate(self.fd, 2 * PAGE)
        self.map = mmap.mmap(self.fd, 2 * PAGE)
        self.address, _ = address_of(self.map)

    def cut(self) -> None:
        os.truncate(self.fd, PAGE)


@pytest.fixture
def half() -> Iterator[Half]:
    half = Half()
    yield half
    os.close(half.fd)


def test_a_guard_below_sees_no_fault_of_the_tracer(guard: Guard, half: Half) -> None:
    address = half.address
    with trace(half.map) as log:
        assert guard.store(address + 8, 5) == 0
        assert guard.load(address + 8) == 5
    assert str(log) == "W4@0x8 R4@0x8"


def test_a_bus_error_reaches_the_guard_once_and_is_marked(guard: Guard, half: Half) -> None:
    half.cut()
    address = half.address
    assert guard.load(address + PAGE) is signal.SIGBUS
    with trace(half.map) as log:
        assert guard.load(address + PAGE) is signal.SIGBUS
        assert guard.load(address) == 0
        assert guard.store(address + PAGE + 4, 1) is signal.SIGBUS
    assert str(log) == "R4@0x1000! R4@0x0 W4@0x1004!"
    assert [access.failed for access in log] == [True, False, True]
    assert guard.load(address + PAGE) is signal.SIGBUS


def test_a_store_to_a_read_only_page_reaches_the_guard(guard: Guard) -> None:
    fixed = mmap.mmap(-1, PAGE, prot=mmap.PROT_READ)
    address, _ = address_of(fixed)
    with trace(fixed) as log:
        assert guard.store(address, 1) is signal.SIGSEGV
        assert guard.load(address) == 0
    assert str(log) == "W4@0x0! R4@0x0"


def test_pages_without_access_stay_so(guard: Guard) -> None:
    reserved = mmap.mmap(-1, PAGE, prot=0)
    address, _ = address_of(reserved)
    with trace(reserved) as log:
        assert guard.load(address) is signal.SIGSEGV
    assert str(log) == "R4@0x0!"
    assert guard.load(address) is signal.SIGSEGV


def test_a_fault_outside_the_range_reaches_the_guard(guard: Guard, half: Half) -> None:
    with trace(half.map) as log:
        assert guard.load(PAGE) is signal.SIGSEGV
        assert guard.load(2**63) is signal.SIGSEGV
        half.map[0]
    assert str(log) == "R1@0x0"


def test_a_guard_above_is_noticed_and_does_no_lasting_harm(half: Half) -> None:
    guard = Guard()
    address = half.address
    before = handlers()
    for _ in range(3):
        running = trace(half.map)
        running.start()
        guard.library.guard_install()
        half.map[0]
        with pytest.raises(TraceError, match="another signal handler was installed"):
            running.stop()
        with trace(half.map) as log:
            assert guard.load(address) == 0
            assert guard.load(PAGE) is signal.SIGSEGV
        assert str(log) == "R4@0x0"
        assert guard.load(PAGE) is signal.SIGSEGV
        guard.library.guard_remove()
        # What the guard put back is the handler of the first trace: it only passes on by now.
        with trace(half.map) as log:
            half.map[0]
        assert str(log) == "R1@0x0"
        set_handlers(before)


SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP)
Actions = list[ctypes.Array[ctypes.c_char]]


def handlers() -> Actions:
    """The C library's description of each handler the tracer replaces."""
    found = []
    for number in SIGNALS:
        action = ctypes.create_string_buffer(256)
        assert ctypes.CDLL(None).sigaction(number, None, action) == 0
        found.append(action)
    return found


def set_handlers(actions: Actions) -> None:
    for number, action in zip(SIGNALS, actions, strict=True):
        assert ctypes.CDLL(None).sigaction(number, action, None) == 0


def test_stop_puts_back_the_handlers_and_the_signal_stack(half: Half) -> None:
    def functions_masks_and_flags() -> list[bytes]:
        # Of the mask's 128 bytes the kernel fills the first 8.
        return [action.raw[:16] + action.raw[136:140] for action in handlers()]

    def signal_stack() -> bytes:
        stack = ctypes.create_string_buffer(24)
        assert ctypes.CDLL(None).sigaltstack(None, stack) == 0
        return stack.raw

    before = functions_masks_and_flags(), signal_stack()
    with trace(half.map) as log:
        assert functions_masks_and_flags() != before[0]
        assert signal_stack() != before[1]
        half.map[0]
    assert (functions_masks_and_flags(), signal_stack()) == before
    assert len(log) == 1


def test_signals_meanwhile_neither_hide_nor_double_an_access(half: Half) -> None:
    words = memoryview(half.map).cast("I")
    rang = 0
    over = False

    def ring(*_: object) -> None:
        # The last one may be late: another thread, of a library, can be the one that takes it.
        nonlocal rang
        if not over:
            rang += 1
            words[1]

    old = signal.signal(signal.SIGALRM, ring)
    try:
        with trace(half.map) as log:
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            for _ in range(20_000):
                words[0]
            over = True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    offsets = [access.offset for access in log]
    assert rang > 0
    assert offsets.count(0) == 20_000
    assert offsets.count(4) == rang


def test_a_trap_that_was_sent_reaches_its_handler(half: Half) -> None:
    seen: list[int] = []
    old = signal.signal(signal.SIGTRAP, lambda number, _: seen.append(number))
    try:
        with trace(half.map) as log:
            signal.raise_signal(signal.SIGTRAP)
            half.map[0]
    finally:
        signal.signal(signal.SIGTRAP, old)
    assert seen == [signal.SIGTRAP]
    assert len(log) == 1


def dies(body: str, *options: str) -> subprocess.CompletedProcess[str]:
    script = f"""
import ctypes, mmap, os, signal, sys
sys.path.insert(0, {str(HERE)!r})
from tracer import address_of, trace
fd = os.memfd_create("range")
os.truncate(fd, 2 * mmap.PAGESIZE)
memory = mmap.mmap(fd, 2 * mmap.PAGESIZE)
with trace(memory):
    memory[0]
    {body}
print("survived")
"""
    # Without a core file, which takes its time.
    command = ["sh", "-c", 'ulimit -c 0; exec "$@"', "sh", sys.executable, *options, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


DEATHS = [
    ("ctypes.string_at(mmap.PAGESIZE)", signal.SIGSEGV),
    ("ctypes.string_at(2**63)", signal.SIGSEGV),
    ("os.truncate(fd, 0); memory[0]", signal.SIGBUS),
    ("os.kill(os.getpid(), signal.SIGSEGV)", signal.SIGSEGV),
    ("os.kill(os.getpid(), signal.SIGBUS)", signal.SIGBUS),
    ("memory.close(); ctypes.string_at(8)", signal.SIGSEGV),
]


@pytest.mark.parametrize(("body", "number"), DEATHS)
def test_a_fatal_signal_still_kills(body: str, number: signal.Signals) -> None:
    done = dies(body)
    assert (done.returncode, done.stdout) == (-number, "")


@pytest.mark.parametrize(("body", "number"), DEATHS)
def test_faulthandler_still_prints_and_dies(body: str, number: signal.Signals) -> None:
    done = dies(body, "-X", "faulthandler")
    assert (done.returncode, done.stdout) == (-number, "")
    assert "Fatal Python error" in done.stderr
    assert 'File "<string>", line' in done.stderr


def test_a_trap_without_a_handler_still_kills() -> None:
    assert dies("os.kill(os.getpid(), signal.SIGTRAP)").returncode == -signal.SIGTRAP


def test_pytest_has_faulthandler_on() -> None:
    """So every test here runs with a real handler below the tracer's."""
    assert faulthandler.is_enabled()
