"""A bad access is an exception; whatever is not ours goes where it went before."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import devregs
import pytest

PAGE = os.sysconf("SC_PAGESIZE")


@pytest.fixture
def broken(kit_map: devregs.Map, memory: Path):
    """The kit over a file that was cut off behind it: every access of its pages is a SIGBUS."""
    device = devregs.open(kit_map, f"file:{memory}")
    os.truncate(memory, 0)
    yield device
    device.close()


def test_a_fault_is_a_bus_error_that_says_where(broken):
    with pytest.raises(devregs.BusError) as raised:
        broken.CH[3].DATA[1].read()
    error = raised.value
    assert isinstance(error, OSError)
    assert isinstance(error, devregs.DevregsError)
    assert (error.at, error.offset, error.address) == ("kit.CH[3].DATA[1]", 0x168, None)
    assert (error.width, error.write, error.signal, error.code) == (32, False, signal.SIGBUS, 2)
    assert "kit.CH[3].DATA[1]: the bus answered a 32-bit read with SIGBUS" in str(error)


@pytest.mark.parametrize(
    ("access", "write", "width"),
    [
        (lambda d: d.CTRL.read(), False, 32),
        (lambda d: d.CTRL.EN, False, 32),
        (lambda d: d.CTRL["EN"], False, 32),
        (lambda d: d["CTRL.MODE"], False, 32),
        (lambda d: d.CTRL.write(1), True, 32),
        (lambda d: setattr(d.CTRL, "EN", 1), False, 32),
        (lambda d: setattr(d.CTRL, "MODE", "FAST"), False, 32),
        (lambda d: setattr(d.ACK, "A", 1), True, 32),
        (lambda d: d.CTRL.modify(EN=1, MODE=1), False, 32),
        (lambda d: d.CTRL.modify({"EN": 1}), False, 32),
        (lambda d: d.CTRL.wait(EN=1), False, 32),
        (lambda d: d.BIG.read(), False, 64),
        (lambda d: d.BIGSPLIT.write(1), True, 32),
        (lambda d: d.HALF.read(), False, 16),
        (lambda d: d.SMALL[0].write(1), True, 8),
        (lambda d: d.SMALL[0].read(), False, 8),
        (lambda d: d.regions.ram.read(8, width=64), False, 64),
        (lambda d: d.regions.ram.write(8, 1, width=16), True, 16),
        (lambda d: d.regions.ram.read_into(bytearray(64)), False, 32),
        (lambda d: d.regions.ram.write_from(bytes(64)), True, 32),
    ],
)
def test_every_kind_of_access_is_guarded(broken, access, write, width):
    for _ in range(3):
        with pytest.raises(devregs.BusError) as raised:
            access(broken)
        assert (raised.value.write, raised.value.width) == (write, width)


def test_a_page_without_access_is_a_bus_error_by_sigsegv(kit_map):
    """As after mprotect(PROT_NONE), and for a write as after PROT_READ."""
    libc = ctypes.CDLL(None, use_errno=True)
    with devregs.mock(kit_map) as device:
        view = device.regions.ram.view()
        address = ctypes.addressof((ctypes.c_char * view.nbytes).from_buffer(view))
        view.release()
        page = ctypes.c_void_p(address - address % PAGE)
        ram = device.regions.ram
        ram.write(0, 7)
        assert libc.mprotect(page, ctypes.c_size_t(PAGE), mmap.PROT_READ) == 0
        assert ram.read(0) == 7
        with pytest.raises(devregs.BusError) as raised:
            ram.write(0, 8)
        assert (raised.value.write, raised.value.signal, raised.value.code) == (
            True,
            signal.SIGSEGV,
            2,
        )
        assert libc.mprotect(page, ctypes.c_size_t(PAGE), 0) == 0
        with pytest.raises(devregs.BusError) as raised:
            ram.read(0)
        assert (raised.value.write, raised.value.signal) == (False, signal.SIGSEGV)


def test_a_block_read_keeps_the_words_before_the_fault(kit_map, memory):
    with devregs.open(kit_map, f"file:{memory}") as device:
        ram = device.regions.ram
        ram.write_from(b"\x11" * PAGE)
        os.truncate(memory, 0x5000 + PAGE)
        buffer = bytearray(PAGE + 16)
        with pytest.raises(devregs.BusError) as raised:
            ram.read_into(buffer)
        assert raised.value.offset == PAGE
        assert buffer == b"\x11" * PAGE + bytes(16)


def test_the_lock_is_free_after_a_fault(kit_map, memory):
    with devregs.open(kit_map, f"file:{memory}") as device:
        size = memory.stat().st_size
        os.truncate(memory, 0)
        for access in (lambda: device.CTRL.write(1), lambda: setattr(device.CTRL, "EN", 1)):
            with pytest.raises(devregs.BusError):
                access()
        os.truncate(memory, size)
        device.CTRL.write(5)
        device.CTRL.EN = 0
        assert device.CTRL.read() == 4


def test_many_faults_in_many_threads(broken):
    """None is missed, and memory does not grow with them."""
    rounds, threads, missed = 5000, 8, []

    def run() -> None:
        for _ in range(rounds):
            try:
                broken.CTRL.read()
                missed.append(1)
            except devregs.BusError:
                pass

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    run()
    before = resident()
    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not missed
    assert resident() - before < 1024


# What follows ends a process, or changes its handlers for good: in processes of their own.

SETUP = """
    import faulthandler, os, signal, sys, threading
    import devregs
    kit = devregs.load(sys.argv[1])
    def broken():
        path = sys.argv[2]
        with open(path, "wb") as file:
            file.write(bytes(0x1000) + b"\\x61" + bytes(0xa010))
        device = devregs.open(kit, "file:" + path)
        os.truncate(path, 0)
        return device
    def contained(device):
        try:
            device.CTRL.read()
        except devregs.BusError:
            return True
        return False
"""


def run(kit_path: Path, memory: Path, script: str, **more) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(SETUP) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", code, kit_path, memory],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def test_a_fault_through_a_view_ends_the_process_after_naming_the_register(kit_path, memory):
    done = run(kit_path, memory, "broken().regions.regs.view()[0x164 // 4]")
    assert done.returncode == -signal.SIGBUS
    assert done.stderr.startswith("devregs: kit.CH[3].DATA[0] (region regs + 0x164): SIGBUS")
    assert done.stderr.count("\n") == 1
    done = run(kit_path, memory, "broken().regions.ram.view()[4]")
    assert done.returncode == -signal.SIGBUS
    assert done.stderr.startswith("devregs: kit.regions.ram (region ram + 0x10): SIGBUS")


@pytest.mark.parametrize("order", ["before", "after", "both", "between"])
def test_faulthandler_keeps_working(kit_path, memory, order):
    """Enabled before or after us, or twice: our faults stay ours, and others get their traceback."""
    script = {
        "before": "faulthandler.enable(); device = broken()",
        "after": "first = broken(); faulthandler.enable(); device = broken()",
        "both": "faulthandler.enable(); first = broken(); faulthandler.disable(); faulthandler.enable(); device = broken()",
        "between": "device = broken(); faulthandler.enable(); faulthandler.disable(); device = broken()",
    }[order]
    done = run(
        kit_path,
        memory,
        f"""
    {script}
    assert all(contained(device) for _ in range(100))
    print("contained", flush=True)
    device.regions.regs.view()[0]
    """,
    )
    assert done.stdout == "contained\n"
    assert done.returncode == -signal.SIGBUS
    assert "devregs: kit.CTRL (region regs + 0x0)" in done.stderr
    if order != "between":
        assert "Fatal Python error: Bus error" in done.stderr
        assert 'File "<string>"' in done.stderr


def test_an_applications_own_handler_keeps_its_signals(kit_path, memory):
    done = run(
        kit_path,
        memory,
        """
    seen = []
    signal.signal(signal.SIGBUS, lambda *_: seen.append("bus"))
    device = broken()
    assert contained(device)
    os.kill(os.getpid(), signal.SIGBUS)
    signal.raise_signal(signal.SIGBUS)
    assert contained(device)
    print(seen)
    """,
    )
    assert (done.stdout, done.returncode) == ("['bus', 'bus']\n", 0), done.stderr


def test_a_handler_set_afterwards_is_obeyed_and_our_faults_come_back_with_the_next_open(
    kit_path, memory
):
    done = run(
        kit_path,
        memory,
        """
    seen = []
    device = broken()
    signal.signal(signal.SIGBUS, lambda *_: seen.append("bus"))
    other = broken()
    assert contained(device) and contained(other)
    os.kill(os.getpid(), signal.SIGBUS)
    print(seen)
    """,
    )
    assert (done.stdout, done.returncode) == ("['bus']\n", 0), done.stderr


@pytest.mark.parametrize("number", [signal.SIGBUS, signal.SIGSEGV])
def test_a_signal_sent_from_outside_does_what_it_did(kit_path, memory, number):
    script = f"device = broken(); assert contained(device); os.kill(os.getpid(), {int(number)}); print('alive')"
    done = run(kit_path, memory, script)
    assert (done.stdout, done.returncode) == ("", -number)
    ignored = run(kit_path, memory, f"signal.signal({int(number)}, signal.SIG_IGN); " + script)
    assert (ignored.stdout, ignored.returncode) == ("alive\n", 0)


def test_after_fork_and_in_threads(kit_path, memory):
    done = run(
        kit_path,
        memory,
        """
    device = broken()
    results = []
    thread = threading.Thread(target=lambda: results.append(contained(device)))
    thread.start(); thread.join()
    child = os.fork()
    if child == 0:
        os._exit(0 if contained(device) else 1)
    results.append(os.waitpid(child, 0)[1] == 0)
    print(results)
    """,
    )
    assert (done.stdout, done.returncode) == ("[True, True]\n", 0), done.stderr


def test_another_librarys_fault_is_not_ours(kit_path, memory):
    done = run(
        kit_path,
        memory,
        "import ctypes; device = broken(); assert contained(device); ctypes.string_at(8)",
    )
    assert (done.returncode, done.stderr) == (-signal.SIGSEGV, "")


def test_this_build_is_guarded():
    assert devregs.GUARDED


def test_faulthandler_of_this_test_run_is_on_and_does_not_matter(broken):
    assert faulthandler.is_enabled()
    with pytest.raises(devregs.BusError):
        broken.CTRL.read()


def test_close_during_reads_is_an_error_and_no_crash(kit_map):
    """Without the interpreter's lock in the way: a wait reads while another thread unmaps."""
    for _ in range(20):
        device = devregs.mock(kit_map)
        started = threading.Event()

        def wait(device=device, started=started) -> None:
            started.set()
            with pytest.raises(devregs.AccessError, match="closed"):
                device.CTRL.wait(EN=0)

        threads = [threading.Thread(target=wait) for _ in range(2)]
        for thread in threads:
            thread.start()
        started.wait()
        device.close()
        for thread in threads:
            thread.join()
