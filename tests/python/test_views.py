"""Memoryviews over regions: what they allow, how long they live, what is refused."""

from __future__ import annotations

import ctypes
import gc
import mmap
from pathlib import Path

import devregs
import pytest


def test_a_view_is_a_memoryview_of_the_regions_words(kit):
    view = kit.regions.regs.view()
    assert type(view) is memoryview
    assert (view.format, view.itemsize, view.readonly, view.ndim) == ("I", 4, False, 1)
    assert (view.nbytes, view.shape, view.strides) == (0x1000, (0x400,), (4,))
    assert view[0] == kit.CTRL.read()
    view[0] = 0x1234
    assert kit.CTRL.read() == 0x1234
    view.release()


def test_a_part_of_a_region(kit):
    view = kit.regions.regs.view(offset=0x100, size=0x20)
    kit.CH[0].DATA[0].write(77)
    assert (len(view), view[1]) == (8, 77)
    assert len(kit.regions.regs.view(offset=0xFF8)) == 2
    assert len(kit.regions.regs.view(offset=0x1000)) == 0
    view.release()
    gc.collect()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"offset": 2}, "multiple of 4"),
        ({"size": 6}, "multiple of 4"),
        ({"offset": 0x1004}, "beyond"),
        ({"offset": 0xFFC, "size": 8}, "beyond"),
        ({"offset": -4}, "offset or size"),
        ({"offset": 1 << 64}, "offset or size"),
        ({"offset": (1 << 64) - 4, "size": 8}, "beyond"),
        ({"flags": 0x300}, "PyBUF_READ or PyBUF_WRITE"),
        ({"flags": 0}, "PyBUF_READ or PyBUF_WRITE"),
    ],
)
def test_views_that_do_not_fit_are_refused(kit, given, message):
    with pytest.raises(devregs.MapError, match=message):
        kit.regions.regs.view(**given)


def test_flags_narrow_and_never_widen(kit):
    assert (devregs.PyBUF_READ, devregs.PyBUF_WRITE) == (0x100, 0x200)
    regs, ident = kit.regions.regs, kit.regions.id
    assert regs.view(devregs.PyBUF_READ).readonly
    assert not regs.view(devregs.PyBUF_WRITE).readonly
    assert ident.view().readonly
    assert ident.view(flags=devregs.PyBUF_READ).readonly
    with pytest.raises(devregs.AccessError, match="never widens"):
        ident.view(devregs.PyBUF_WRITE)
    with pytest.raises(TypeError, match="read-only"):
        ident.view()[0] = 1
    gc.collect()


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("push", r"write-only.*region\.write"),
        ("fifo", r"side effect.*region\.read"),
        ("big", r"byte order.*read_into"),
    ],
)
def test_what_a_view_cannot_do_rightly_is_refused(kit, region, message):
    with pytest.raises(devregs.AccessError, match=message):
        kit.regions[region].view()


def test_a_register_that_pops_is_in_no_view_but_its_neighbours_may_be(kit):
    effects = kit.regions.effects
    with pytest.raises(devregs.AccessError, match=r"reading POP at 0x0 has one.*offset and size"):
        effects.view()
    with pytest.raises(devregs.AccessError, match="reading MIXED at 0x4 has one"):
        effects.view(offset=4)
    view = effects.view(offset=8)
    assert len(view) == 2
    view.release()


def test_close_waits_for_views(kit_map):
    device = devregs.mock(kit_map)
    first, second = device.regions.regs.view(), device.regions.ram.view()
    with pytest.raises(BufferError, match="2 views"):
        device.close()
    assert device.CTRL.read() == 0x8001_0031
    first.release()
    with pytest.raises(BufferError, match="1 view of"):
        device.close()
    part = second[1:2]
    second.release()
    with pytest.raises(BufferError):
        device.close()
    part.release()
    device.close()


def test_what_stands_behind_a_view_gives_no_view_of_a_closed_device(kit):
    """Its memory is gone: whoever looked would end the process."""
    view = kit.regions.ram.view()
    behind = view.obj
    view.release()
    again = memoryview(behind)
    again.release()
    kit.close()
    with pytest.raises(devregs.AccessError, match="closed"):
        memoryview(behind)
    assert kit.closed


def test_leaving_the_block_with_a_view_alive_says_so(kit_map):
    with pytest.raises(BufferError), devregs.mock(kit_map) as device:
        view = device.regions.regs.view()
    view.release()
    device.close()


def test_a_view_keeps_the_mapping_alive(kit_map):
    view = devregs.mock(kit_map).regions.regs.view()
    gc.collect()
    assert view[0] == 0x8001_0031
    view[0] = 1
    assert view[0] == 1


def test_a_view_is_not_hashable(kit):
    with pytest.raises((TypeError, ValueError)):
        hash(kit.regions.id.view())
    gc.collect()


def test_comparing_views_does_not_crash(kit):
    view = kit.regions.ram.view()
    assert view == view
    assert view == kit.regions.ram.view()
    assert (view == view.obj) in (True, False)
    assert view != b""
    del view
    gc.collect()


def test_a_read_only_region_is_mapped_read_only(kit):
    """The address itself, past the view's flag: the kernel's protection of the page says r--."""
    view = kit.regions.id.view()
    address = address_of(view)
    assert protection(address) == "r--s"
    writable = kit.regions.ram.view()
    assert protection(address_of(writable)) == "rw-s"
    del view, writable
    gc.collect()


def address_of(view: memoryview) -> int:
    get = ctypes.pythonapi.PyObject_GetBuffer
    get.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_int]
    buffer = (ctypes.c_void_p * 16)()
    assert get(view, buffer, 0x18) == 0  # PyBUF_STRIDES: shape and strides too
    address = buffer[0]
    ctypes.pythonapi.PyBuffer_Release(buffer)
    return address


def protection(address: int) -> str:
    with Path("/proc/self/maps").open() as maps:
        for line in maps:
            span, flags, *_ = line.split()
            start, end = (int(part, 16) for part in span.split("-"))
            if start <= address < end:
                return flags
    raise AssertionError(f"{address:#x} is not mapped")


def test_pages_are_asked_for(kit):
    """Regions of the mock lie as far into a page as on the real device, whatever a page is."""
    view = kit.regions.id.view()
    assert address_of(view) % mmap.PAGESIZE == 0x1000 % mmap.PAGESIZE
    view.release()


def test_numpy_shares_the_memory(kit):
    numpy = pytest.importorskip("numpy")
    view = kit.regions.ram.view()
    array = numpy.asarray(view)
    assert (array.dtype, array.shape) == (numpy.uint32, (0x1000,))
    array[3] = 0xDEAD_BEEF
    assert kit.regions.ram.read(12) == 0xDEAD_BEEF
    del array, view
    gc.collect()
