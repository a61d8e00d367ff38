"""Read-only three times: the kernel, the view and the register each stop a write alone, without the others."""

from __future__ import annotations

import array
import ctypes
import errno
import io
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import devregs
import pytest

CHIP = """
[device]
name = "chip"

[regions.id]
size = 0x1000
access = "ro"
[regions.id.registers.VERSION]
offset = 0x10
fields = { MAJOR = "31:16", MINOR = "15:0" }

[regions.regs]
offset = 0x1000
size = 0x1000
[regions.regs.registers.STATUS]
offset = 0x10
access = "ro"
fields = { READY = 0, LEVEL = "15:8" }
[regions.regs.registers.CTRL]
offset = 0x14
fields = { EN = 0, BUSY = { bits = 1, access = "ro" } }
"""
CONTENT = bytes(0x10) + struct.pack("I", 0x0003_0007) + bytes(0xFEC)


@pytest.fixture
def chip_path(tmp_path: Path) -> Path:
    path = tmp_path / "chip.toml"
    path.write_text(CHIP)
    return path


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    path = tmp_path / "memory"
    path.write_bytes(CONTENT * 2)
    return path


@pytest.fixture
def chip(chip_path: Path, memory: Path):
    """Nothing that is tried on it changes a byte."""
    device = devregs.open(chip_path, memory)
    yield device
    assert memory.read_bytes() == CONTENT * 2


def get_buffer(exporter: object, flags: int) -> int:
    """The address that an exporter gives to who asks with these flags."""
    get = ctypes.pythonapi.PyObject_GetBuffer
    get.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_int]
    buffer = (ctypes.c_void_p * 16)()
    get(exporter, buffer, flags)
    ctypes.pythonapi.PyBuffer_Release(buffer)
    return buffer[0]


# The kernel: past the view and the register, by the bare address.

POKE = """
import ctypes, sys, devregs
sys.path.insert(0, sys.argv[4])
from test_read_only import get_buffer
device = devregs.open(sys.argv[1], sys.argv[2])
word = ctypes.c_uint32.from_address(get_buffer(device.regions.id.view(), 0) + int(sys.argv[3]))
print(hex(word.value), flush=True)
word.value = 1
print("written")
"""


@pytest.mark.parametrize("source", ["file", "mock"])
@pytest.mark.parametrize(("offset", "name"), [(0x10, "chip.VERSION"), (0x20, "chip.regions.id")])
def test_a_write_to_the_address_meets_the_pages_protection(chip_path, memory, source, offset, name):
    """And the last words of the process say where it wrote."""
    where = "mock:" if source == "mock" else f"file:{memory}"
    done = subprocess.run(
        [sys.executable, "-c", POKE, chip_path, where, str(offset), Path(__file__).parent],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.count("\n") == 1
    assert done.stdout.startswith("0x")
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr.startswith(f"devregs: {name} (region id + {offset:#x}): SIGSEGV")
    assert memory.read_bytes() == CONTENT * 2


def test_the_page_cannot_be_made_writable(chip):
    """The file is open for reading only, and the kernel remembers that."""
    libc = ctypes.CDLL(None, use_errno=True)
    both = mmap.PROT_READ | mmap.PROT_WRITE

    def protect(region: devregs.Region) -> int:
        address = get_buffer(region.view(), 0)
        page = ctypes.c_void_p(address - address % mmap.PAGESIZE)
        done = libc.mprotect(page, ctypes.c_size_t(mmap.PAGESIZE), both)
        return ctypes.get_errno() if done else 0

    assert protect(chip.regions.id) == errno.EACCES
    assert protect(chip.regions.regs) == 0


def test_the_file_is_opened_for_reading_only(tmp_path, chip_path):
    """A program that runs can be opened by nobody for writing, root included."""
    program = tmp_path / "program"
    shutil.copy(shutil.which("sleep"), program)
    chip = tmp_path / "id.toml"
    chip.write_text(CHIP[: CHIP.index("[regions.regs]")])
    with subprocess.Popen([program, "60"]) as running:
        try:
            with devregs.open(chip, program) as device:
                assert len(device.regions.id.view()) == 0x400
            with pytest.raises(devregs.SourceError) as raised:
                devregs.open(chip_path, program)
            assert raised.value.errno == errno.ETXTBSY
        finally:
            running.kill()


# The view: alone where it asks for less than the page allows.


@pytest.fixture(params=["region", "flag"])
def view(request, chip):
    """Read-only because its region is, and because that was asked for over a region that may be written."""
    if request.param == "region":
        shown = chip.regions.id.view()
    else:
        shown = chip.regions.regs.view(devregs.PyBUF_READ)
    assert shown.readonly
    return shown


def assign(view: memoryview, key: object, value: object) -> None:
    view[key] = value


@pytest.mark.parametrize(
    "write",
    [
        lambda view: assign(view, 4, 1),
        lambda view: assign(view, slice(4, 5), array.array("I", [1])),
        lambda view: assign(view, slice(None), view),
        lambda view: assign(view[4:], 0, 1),
        lambda view: assign(memoryview(view), 4, 1),
        lambda view: assign(memoryview(view.obj), 4, 1),
        lambda view: assign(view.cast("B"), 16, 1),
        lambda view: assign(view.cast("B").cast("Q"), 2, 1),
        lambda view: assign(view.cast("B", [64, 64]), (0, 16), 1),
        lambda view: assign(view.toreadonly(), 4, 1),
        lambda view: struct.pack_into("I", view, 16, 1),
        lambda view: io.BytesIO(b"1" * 64).readinto(view),
        lambda view: os.readv(0, [view]),
        lambda view: ctypes.c_uint32.from_buffer(view, 16),
        lambda view: ctypes.memset(ctypes.c_char.from_buffer(view), 1, 4),
    ],
)
def test_a_view_refuses_who_writes(view, write):
    with pytest.raises((TypeError, BufferError)):
        write(view)
    assert view[4] == 0x0003_0007


def test_numpy_gets_an_array_that_is_not_writeable(view):
    numpy = pytest.importorskip("numpy")
    for made in (numpy.asarray(view), numpy.frombuffer(view, "u4"), numpy.asarray(view)[4:]):
        assert not made.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            made[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            made.setflags(write=True)


WRITABLE = 1
REQUESTS = {"FORMAT": 4, "ND": 8, "STRIDES": 0x18, "C_CONTIGUOUS": 0x38, "F_CONTIGUOUS": 0x58}
REQUESTS |= {"ANY_CONTIGUOUS": 0x98, "INDIRECT": 0x118, "FULL": 0x11C, "SIMPLE": 0}


@pytest.mark.parametrize("request_", REQUESTS)
def test_no_request_for_a_writable_buffer_is_granted(view, request_):
    flags = REQUESTS[request_]
    for exporter in (view, view.obj, view[1:], view.cast("B"), memoryview(view.obj)):
        if request_ != "FORMAT":  # It needs a shape.
            assert get_buffer(exporter, flags)
        with pytest.raises(BufferError):
            get_buffer(exporter, flags | WRITABLE)


def test_a_flag_does_not_widen_what_the_map_allows(chip):
    for flags in (devregs.PyBUF_WRITE, devregs.PyBUF_READ | devregs.PyBUF_WRITE, WRITABLE, 0x11D):
        with pytest.raises(devregs.DevregsError):
            chip.regions.id.view(flags)
    # What the library gave as read-only stays so, whatever is asked of the region later.
    narrow = chip.regions.regs.view(devregs.PyBUF_READ)
    wide = chip.regions.regs.view(devregs.PyBUF_WRITE)
    assert (narrow.readonly, wide.readonly) == (True, False)
    assert memoryview(narrow.obj).readonly


# The register, its fields, and the region: an AccessError by name, before the bus is touched.


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda d: d.VERSION.write(1), "chip.VERSION"),
        (lambda d: d.VERSION.write(True), "chip.VERSION"),
        (lambda d: d.VERSION.write(d.VERSION.read()), "chip.VERSION"),
        (lambda d: d.VERSION.modify(MAJOR=1), "chip.VERSION"),
        (lambda d: d.VERSION.modify({"MAJOR": 1, "MINOR": 1}), "chip.VERSION"),
        (lambda d: setattr(d.VERSION, "MAJOR", 1), "chip.VERSION"),
        (lambda d: d.VERSION.__setitem__("MAJOR", 1), "chip.VERSION"),
        (lambda d: type(d.VERSION).MAJOR.__set__(d.VERSION, 1), "chip.VERSION"),
        (lambda d: d.__setitem__("VERSION", 1), "chip.VERSION"),
        (lambda d: d.__setitem__("VERSION.MINOR", 1), "chip.VERSION"),
        (lambda d: d.regions.id.write(16, 1), "chip.regions.id"),
        (lambda d: d.regions.id.write(16, 1, width=8), "chip.regions.id"),
        (lambda d: d.regions.id.write_from(bytes(8)), "chip.regions.id"),
        (lambda d: d.regions.id.write_from(b""), "chip.regions.id"),
        # In a region that may be written, so that the page would not stop it.
        (lambda d: d.STATUS.write(1), "chip.STATUS"),
        (lambda d: d.STATUS.modify(READY=1, LEVEL=1), "chip.STATUS"),
        (lambda d: setattr(d.STATUS, "READY", True), "chip.STATUS"),
        (lambda d: d.__setitem__("STATUS.READY", 0), "chip.STATUS"),
        (lambda d: setattr(d.CTRL, "BUSY", 1), "chip.CTRL.BUSY"),
        (lambda d: d.CTRL.modify(EN=1, BUSY=0), "chip.CTRL.BUSY"),
        (lambda d: d.CTRL.__setitem__("BUSY", 1), "chip.CTRL.BUSY"),
    ],
)
def test_a_register_refuses_by_name(chip, write, name):
    with pytest.raises(
        devregs.AccessError, match=rf"^{name}(\.\w+)?: is read-only: the map says so"
    ):
        write(chip)


def test_what_is_read_only_says_so(chip):
    assert (chip.VERSION.access, chip.VERSION.writable) == ("ro", False)
    assert (chip.STATUS.access, chip.STATUS.writable) == ("ro", False)
    assert [field.access for field in chip.VERSION.fields] == ["ro", "ro"]
    assert (chip.regions.id.access, chip.regions.regs.access) == ("ro", "rw")
    assert "ro" in repr(chip.VERSION)


def test_a_register_cannot_be_writable_where_its_region_is_not(chip_path):
    text = chip_path.read_text()
    chip_path.write_text(
        text.replace("offset = 0x10\nfields", 'offset = 0x10\naccess = "rw"\nfields')
    )
    with pytest.raises(devregs.MapError, match=r"read-only|\bro\b"):
        devregs.load(chip_path)
