"""Children of one process, each of which does things to its signal handlers; run by test_guard.py.

Usage: python guarded.py MAP MEMORY, with a JSON list on standard input: for each child the steps it does, by name. What
comes back is a list too: how each child ended, and what it has written.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import devregs

LIBC = ctypes.CDLL(None, use_errno=True)
SIGINFO, ONSTACK, RESETHAND, NODEFER = 4, 0x08000000, 0x80000000, 0x40000000
BOTH = (signal.SIGBUS, signal.SIGSEGV)
NATIVE = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
# Children that hang end by this signal.
PATIENCE = 10

kept: list[Any] = []
device: Any = None


class Action(ctypes.Structure):
    """struct sigaction, as glibc has it on x86_64, Arm and RISC-V."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class Stack(ctypes.Structure):
    """stack_t."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def say(text: str) -> None:
    os.write(1, text.encode())


def open_device() -> None:
    global device
    Path(sys.argv[2]).write_bytes(bytes(0x1000) + b"\x61" + bytes(0xA010))
    device = devregs.open(sys.argv[1], "file:" + sys.argv[2])
    kept.append(device.regions.ram.view())


def act(number: int, handler: Any, flags: int) -> Action:
    """sigaction(2), called as a library would. The disposition before."""
    pointer = ctypes.cast(handler, ctypes.c_void_p)
    action, before = Action(handler=pointer.value, flags=flags), Action()
    assert LIBC.sigaction(number, ctypes.byref(action), ctypes.byref(before)) == 0
    kept.append(handler)
    return before


def native(flags: int) -> None:
    """A handler that says so, and ends the process unless it is good for one signal."""

    @NATIVE
    def handler(number: int, _info: int, _context: int) -> None:
        say("h")
        if not flags & RESETHAND:
            os._exit(42)

    for number in BOTH:
        act(number, handler, flags - (1 << 32) if flags & RESETHAND else flags)


def chaining() -> None:
    """A handler that calls the one before, if that is a function, as many do; else it ends the process."""
    before: dict[int, Action] = {}

    @NATIVE
    def handler(number: int, info: int, context: int) -> None:
        say("c")
        function = before[number].handler
        if (function or 0) > 1:
            NATIVE(function)(number, info, context)
        else:
            os._exit(43)

    for number in BOTH:
        before[number] = act(number, handler, SIGINFO | ONSTACK | NODEFER)


def taken_back() -> None:
    """What a library does that was there for a while: signal(2) knows no flags."""
    LIBC.signal.restype = ctypes.c_void_p
    LIBC.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    for number in BOTH:
        LIBC.signal(number, LIBC.signal(number, None))


def both(handler: Any) -> None:
    for number in BOTH:
        signal.signal(number, handler)


def small_stack() -> None:
    """As small as the kernel takes, and what a small handler needs."""
    LIBC.getauxval.restype = ctypes.c_ulong
    size = (LIBC.getauxval(51) or 8192) + 4096
    memory = ctypes.create_string_buffer(size)
    kept.append(memory)
    stack = Stack(start=ctypes.addressof(memory), flags=0, size=size)
    assert LIBC.sigaltstack(ctypes.byref(stack), None) == 0


def no_stack() -> None:
    assert LIBC.sigaltstack(ctypes.byref(Stack(flags=2)), None) == 0


def subinterpreter() -> None:
    try:
        import _interpreters as interpreters  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        import _xxsubinterpreters as interpreters  # type: ignore[import-not-found,unused-ignore]
    made = interpreters.create()
    interpreters.run_string(made, "import faulthandler; faulthandler.enable(2)")


def fork() -> None:
    """Goes on in a child; ends as that does."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            os.kill(os.getpid(), os.WTERMSIG(status))
        os._exit(os.WEXITSTATUS(status))


def bad_access() -> bool:
    os.truncate(sys.argv[2], 0)
    try:
        device.CTRL.read()
    except devregs.BusError as error:
        return error.signal == signal.SIGBUS
    return False


def contained() -> None:
    """Twice, for a handler may be good for once."""
    os._exit(0 if bad_access() and bad_access() else 1)


def contained_in_a_thread() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(bad_access()))
    thread.start()
    thread.join()
    os._exit(0 if found == [True] else 1)


def look() -> None:
    """One of the moments at which the guard is looked after, and what it says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        device.regions.ram.view().release()
    for warning in caught:
        assert issubclass(warning.category, RuntimeWarning)
        say(f"warned {warning.message}\n")


def blocked_thread() -> None:
    """A thread that was there, with every signal blocked, before the device was opened; it looks at a view first."""
    opened, found = threading.Event(), []

    def run() -> None:
        opened.wait()
        device.regions.ram.view().release()
        found.append(bad_access())

    old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    thread = threading.Thread(target=run)
    thread.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, old)
    open_device()
    opened.set()
    thread.join()
    os._exit(0 if found == [True] else 1)


STEPS: dict[str, Callable[[], Any]] = {
    "open": open_device,
    "enable": lambda: faulthandler.enable(2),
    "disable": faulthandler.disable,
    "register": lambda: faulthandler.register(signal.SIGUSR1, chain=True),
    "python": lambda: both(lambda *_: say("p")),
    "ignore": lambda: both(signal.SIG_IGN),
    "default": lambda: both(signal.SIG_DFL),
    "siginterrupt": lambda: [signal.siginterrupt(number, False) for number in BOTH],
    "block": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()),
    "plain": lambda: native(0),
    "siginfo": lambda: native(SIGINFO),
    "onstack": lambda: native(SIGINFO | ONSTACK | NODEFER),
    "once": lambda: native(RESETHAND),
    "once-siginfo": lambda: native(RESETHAND | SIGINFO | ONSTACK),
    "chaining": chaining,
    "taken-back": taken_back,
    "small-stack": small_stack,
    "no-stack": no_stack,
    "subinterpreter": subinterpreter,
    "fork": fork,
    "look": look,
    "keep": devregs.keep_guard,
    # What ends a child.
    "contained": contained,
    "contained-in-a-thread": contained_in_a_thread,
    "blocked-thread": blocked_thread,
    "elsewhere": lambda: ctypes.string_at(8),
    "sent": lambda: (os.kill(os.getpid(), signal.SIGBUS), os._exit(7)),
    "raised": lambda: (signal.raise_signal(signal.SIGSEGV), os._exit(7)),
}


def child(steps: list[str]) -> list[Any]:
    """Does the steps in a child: how that ended, and what it said of itself and of faults."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.close(reader)
        # An alarm is nothing to Python here, so it ends the process whatever that is at.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
        signal.alarm(PATIENCE)
        try:
            for step in steps:
                STEPS[step]()
        except BaseException as error:
            say(f"{type(error).__name__}: {error}")
            os._exit(99)
        os._exit(98)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8", errors="replace") as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return [os.waitstatus_to_exitcode(status), said]


if __name__ == "__main__":
    print(json.dumps([child(steps) for steps in json.load(sys.stdin)]))
