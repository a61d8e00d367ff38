"""Records every access this process makes to a range of its own memory, exactly.

    with trace(view) as log:
        view[0x100] |= 1
    assert str(log) == "R4@0x400 W4@0x400"

Each access is one load or store as the processor ran it: direction, offset in the range, bytes. An
instruction that reads and writes the same place gives a read, then a write. `!` marks an access
whose instruction faulted by itself: a bus error, a store to a read-only page.

How it works is told in src/lib.rs. Build it with

    cargo build --release --package devregs-tracer

What it cannot tell for sure ends in TraceError, never in a record that looks complete: a log that
overflows, gathers and masked vector instructions, handlers installed above the tracer's during the
trace, other threads (unless `threads=True`). What it does not see, and the tests must not rely on:

- the kernel's own accesses: a system call that is given traced memory fails with EFAULT;
- accesses through another mapping of the same memory, from this process or another;
- an access of another thread while an instruction is stepped: `threads=True` is exact where one
  thread runs at a time, as under the interpreter's lock, and misses some where several do;
- how the hardware carries an access out: it may split one that is not aligned.

It changes two things for the traced code: an access takes some microseconds, and a signal that
arrives during an instruction is delivered after it. Do not use it under a debugger or strace.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal

__all__ = ["SUPPORTED", "Access", "Log", "Trace", "TraceError", "address_of", "trace"]

SUPPORTED = sys.platform == "linux" and platform.machine() == "x86_64"
"""Whether this machine is one the tracer runs on."""

_INTERFACE = 1
_ACCESS = struct.Struct("=qQIIiBB2x")


class TraceError(Exception):
    """The trace cannot be made, or what it saw is not the whole truth."""


@dataclass(frozen=True, slots=True)
class Access:
    """One load ("R") or store ("W") of `width` bytes, `offset` bytes into the range."""

    kind: Literal["R", "W"]
    offset: int
    width: int
    failed: bool = False
    """The instruction faulted by itself; whether the bus saw it, the hardware knows."""

    thread: int = field(default=0, compare=False)
    """The kernel's number of the thread, as in threading.get_native_id()."""
    instruction: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.kind}{self.width}@{self.offset:#x}{'!' if self.failed else ''}"


class Log:
    """What a trace saw, once it has ended."""

    def __init__(self) -> None:
        self._accesses: list[Access] | None = None

    @property
    def accesses(self) -> list[Access]:
        """All accesses, in order."""
        if self._accesses is None:
            raise TraceError("the trace has not ended: look at the log after the `with` block")
        return self._accesses

    @property
    def reads(self) -> list[Access]:
        """The loads, in order."""
        return [access for access in self.accesses if access.kind == "R"]

    @property
    def writes(self) -> list[Access]:
        """The stores, in order."""
        return [access for access in self.accesses if access.kind == "W"]

    def __iter__(self) -> Iterator[Access]:
        return iter(self.accesses)

    def __len__(self) -> int:
        return len(self.accesses)

    def __str__(self) -> str:
        """All accesses on one line, as "R4@0x400 W4@0x400"; empty where there were none."""
        return " ".join(map(str, self.accesses))

    def __repr__(self) -> str:
        return "<Log running>" if self._accesses is None else f"<Log {self}>"


class Trace:
    """A trace of one range; use it in a `with` statement, or start and stop it.

    Every start puts the tracer's signal handlers on top of what is there, so that a fault guard
    installed before does not take the tracer's faults for its own; stop puts back what was there.
    """

    def __init__(self, address: int, size: int, *, capacity: int, threads: bool) -> None:
        self._range = (address, size, capacity)
        self._threads = threads
        self._log = Log()

    def start(self) -> Log:
        """Starts recording. One trace runs at a time, in the thread that started it."""
        library = _library()
        log = self._log = Log()
        reason: bytes | None = library.devregs_tracer_start(*self._range)
        if reason is not None:
            raise TraceError(_sentence("the trace did not start", reason))
        return log

    def stop(self) -> Log:
        """Ends recording; returns the same log that start did."""
        library = _library()
        reason: bytes | None = library.devregs_tracer_stop(self._threads)
        self._log._accesses = _fetch(library)
        if reason is not None:
            raise TraceError(_sentence("the record is not the whole truth", reason))
        return self._log

    def __enter__(self) -> Log:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except TraceError as reason:
            if error is None:
                raise
            # What went wrong in the block matters more.
            error.add_note(f"TraceError: {reason}")


def trace(
    target: object, size: int | None = None, *, capacity: int = 1 << 20, threads: bool = False
) -> Trace:
    """Traces `size` bytes at `target`: an address, or anything that exports a buffer (all of it).

    The object's buffer is not held, so that a `close()` can be traced; keep the object alive.
    `capacity` is how many instructions there is room for. `threads` accepts accesses of any thread.
    """
    if isinstance(target, int):
        if size is None:
            raise TypeError("an address needs a size")
        return Trace(target, size, capacity=capacity, threads=threads)
    address, available = address_of(target)
    if size is None:
        size = available
    elif size > available:
        raise ValueError(f"the buffer has {available:#x} bytes, not {size:#x}")
    return Trace(address, size, capacity=capacity, threads=threads)


class _Buffer(ctypes.Structure):
    """CPython's Py_buffer."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


def address_of(exporter: object) -> tuple[int, int]:
    """Where the buffer of an object is, and its size in bytes. Reads nothing of it."""
    full_read_only = 0x011C
    buffer = _Buffer()
    view = ctypes.byref(buffer)
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(exporter), view, full_read_only)
    try:
        if not ctypes.pythonapi.PyBuffer_IsContiguous(view, ctypes.c_char(b"C")):
            raise ValueError("only contiguous memory can be traced, and this view has gaps")
        return int(buffer.buf or 0), int(buffer.len)
    finally:
        ctypes.pythonapi.PyBuffer_Release(view)


def _sentence(what: str, reason: bytes) -> str:
    return f"{what}: {reason.decode()}"


def _fetch(library: ctypes.PyDLL) -> list[Access]:
    count = ctypes.c_size_t()
    first = library.devregs_tracer_accesses(ctypes.byref(count))
    rows = ctypes.string_at(first, count.value * _ACCESS.size) if count.value else b""
    texts: dict[int, str] = {}
    accesses = []
    for offset, rip, record, width, thread, kind, failed in _ACCESS.iter_unpack(rows):
        text = texts.get(rip)
        if text is None:
            text = texts[rip] = library.devregs_tracer_text(record).decode()
        direction: Literal["R", "W"] = "W" if kind == ord("W") else "R"
        accesses.append(Access(direction, offset, width, bool(failed), thread, text))
    return accesses


def _find() -> Path:
    """The newest build of the library."""
    here = Path(__file__).resolve().parent
    targets = [here / "target", *(parent / "target" for parent in here.parents[:2])]
    if "CARGO_TARGET_DIR" in os.environ:
        targets = [Path(os.environ["CARGO_TARGET_DIR"])]
    paths = [t / kind / "libdevregs_tracer.so" for t in targets for kind in ("release", "debug")]
    built = [path for path in paths if path.is_file()]
    if not built:
        raise TraceError(
            "the tracer is not built; run: cargo build --release --package devregs-tracer"
        )
    return max(built, key=lambda path: path.stat().st_mtime)


@cache
def _library() -> ctypes.PyDLL:
    if not SUPPORTED:
        raise TraceError("the tracer runs on x86_64 Linux only")
    path = _find()
    # PyDLL keeps the interpreter's lock, so that no other Python thread runs in between.
    library = ctypes.PyDLL(str(path))
    library.devregs_tracer_interface.restype = ctypes.c_uint32
    if library.devregs_tracer_interface() != _INTERFACE:
        raise TraceError(f"{path} is of another version; build it again")
    size = ctypes.c_size_t
    library.devregs_tracer_start.argtypes = [size, size, size]
    library.devregs_tracer_start.restype = ctypes.c_char_p
    library.devregs_tracer_stop.argtypes = [ctypes.c_int]
    library.devregs_tracer_stop.restype = ctypes.c_char_p
    library.devregs_tracer_accesses.argtypes = [ctypes.POINTER(size)]
    library.devregs_tracer_accesses.restype = ctypes.c_void_p
    library.devregs_tracer_text.argtypes = [ctypes.c_uint32]
    library.devregs_tracer_text.restype = ctypes.c_char_p
    return library
