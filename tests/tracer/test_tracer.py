"""The tracer against accesses that are known beforehand."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tracer
from tracer import Access, Log, TraceError, address_of, trace

if not tracer.SUPPORTED:
    pytest.skip("the tracer runs on x86_64 Linux only", allow_module_level=True)

PAGE = mmap.PAGESIZE
SIZE = 4 * PAGE


@pytest.fixture(params=["private", "memfd", "file"])
def memory(request: pytest.FixtureRequest) -> Iterator[mmap.mmap]:
    """Four pages of each kind of memory that registers and mocks are made of."""
    if request.param == "private":
        yield mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    elif request.param == "memfd":
        fd = os.memfd_create("range")
        os.truncate(fd, SIZE)
        yield mmap.mmap(fd, SIZE)
        os.close(fd)
    else:
        with tempfile.TemporaryFile() as file:
            file.truncate(SIZE)
            yield mmap.mmap(file.fileno(), SIZE)


@pytest.fixture
def ram() -> mmap.mmap:
    return mmap.mmap(-1, SIZE)


def record(target: object, action: Callable[[], object]) -> str:
    with trace(target) as log:
        action()
    return str(log)


# What Python does, by its own source


@pytest.mark.parametrize(("letter", "width"), [("B", 1), ("H", 2), ("I", 4), ("Q", 8)])
def test_an_item_of_a_cast_view_is_one_access(memory: mmap.mmap, letter: str, width: int) -> None:
    view = memoryview(memory).cast(letter)  # type: ignore[call-overload]
    value = int.from_bytes(bytes(range(1, width + 1)), "little")
    with trace(view) as log:
        view[3] = value
        got = view[3]
    assert got == value
    assert log.accesses == [Access("W", 3 * width, width), Access("R", 3 * width, width)]
    assert str(log) == f"W{width}@{3 * width:#x} R{width}@{3 * width:#x}"
    assert memory[3 * width : 4 * width] == bytes(range(1, width + 1))


def test_a_ctypes_load_is_one_access(memory: mmap.mmap) -> None:
    register = ctypes.c_uint32.from_buffer(memory, 0x40)
    assert record(memory, lambda: register.value) == "R4@0x40"


def test_a_ctypes_store_reads_first(memory: mmap.mmap) -> None:
    register = ctypes.c_uint32.from_buffer(memory, 0x40)

    def store() -> None:
        register.value = 7

    assert record(memory, store) == "R4@0x40 W4@0x40"
    assert register.value == 7


def test_pack_into_writes_zeros_first(memory: mmap.mmap) -> None:
    with trace(memory) as log:
        struct.pack_into("<I", memory, 0x20, 0xFFFF_FFFF)
    assert not log.reads
    # How many stores clear it is the C library's choice.
    assert len(log) >= 2
    assert {access.offset for access in log} == {0x20}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 15, 16, 31, 32, 63, 64, 65, 100, 300, 5000])
def test_memmove_touches_every_byte_and_no_other(ram: mmap.mmap, size: int) -> None:
    """Its choice of accesses is the C library's; what they cover is not."""
    address, _ = address_of(ram)
    other = ctypes.create_string_buffer(bytes(i % 251 for i in range(size)), size)
    with trace(ram) as log:
        ctypes.memmove(address + 0x33, other, size)
    assert not log.reads
    assert covered(log) == set(range(0x33, 0x33 + size))
    with trace(ram) as log:
        ctypes.memmove(other, address + 0x33, size)
    assert not log.writes
    assert covered(log) == set(range(0x33, 0x33 + size))
    assert other.raw == bytes(i % 251 for i in range(size))


def test_bytes_uses_wide_loads(ram: mmap.mmap) -> None:
    view = memoryview(ram)[:64]
    with trace(ram) as log:
        bytes(view)
    assert max(access.width for access in log) >= 16
    assert covered(log) == set(range(64))


def covered(log: Log) -> set[int]:
    return {byte for access in log for byte in range(access.offset, access.offset + access.width)}


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_numpy_item_is_one_access(ram: mmap.mmap, width: int) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.frombuffer(ram, dtype=f"u{width}")
    with trace(array) as log:
        array[5]
        array[6] = 1
    assert str(log) == f"R{width}@{5 * width:#x} W{width}@{6 * width:#x}"


# What the processor does, by its manual

HAS_AVX2 = "avx2" in Path("/proc/cpuinfo").read_text()
AVX2 = pytest.mark.skipif(not HAS_AVX2, reason="this processor has no AVX2")

PROBES = [
    ("load8", "R1@0x40"),
    ("load16", "R2@0x40"),
    ("load32", "R4@0x40"),
    ("load64", "R8@0x40"),
    ("load_extend8", "R1@0x40"),
    ("load_indexed32", "R4@0x54"),
    ("store8", "W1@0x40"),
    ("store16", "W2@0x40"),
    ("store32", "W4@0x40"),
    ("store64", "W8@0x40"),
    ("store_constant32", "W4@0x40"),
    ("or32", "R4@0x40 W4@0x40"),
    ("test32", "R4@0x40"),
    ("exchange32", "R4@0x40 W4@0x40"),
    ("locked_add32", "R4@0x40 W4@0x40"),
    ("compare_exchange32", "R4@0x40 W4@0x40"),
    ("conditional_load32", "R4@0x40"),
    ("copy_out", "R4@0x40 R4@0x44 R4@0x48 R4@0x4c R4@0x50"),
    ("copy_in", "W4@0x40 W4@0x44 W4@0x48 W4@0x4c W4@0x50"),
    ("copy_within", "R4@0x80 W4@0x40"),
    ("fill", "W1@0x40 W1@0x41 W1@0x42 W1@0x43 W1@0x44"),
    ("load128", "R16@0x40"),
    ("store128", "W16@0x40"),
    pytest.param("load256", "R32@0x40", marks=AVX2),
    pytest.param("store256", "W32@0x40", marks=AVX2),
    ("push", "R8@0x40"),
    ("pop", "W8@0x40"),
    ("stack", "W8@0xb8 R8@0xb8"),
]


def probe(name: str, range_address: int, other: int = 0, count: int = 5) -> None:
    """Runs one of the library's single instructions."""
    function = getattr(tracer._library(), f"probe_{name}")
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    function.restype = None
    function(range_address, other, count)


@pytest.mark.parametrize(("name", "expected"), PROBES)
def test_an_instruction(memory: mmap.mmap, name: str, expected: str) -> None:
    address, _ = address_of(memory)
    scratch = ctypes.create_string_buffer(256)
    with trace(memory) as log:
        probe(name, address + 0x40, ctypes.addressof(scratch))
    assert str(log) == expected
    assert all(access.thread == threading.get_native_id() for access in log)


def test_the_traced_instruction_still_does_its_work(ram: mmap.mmap) -> None:
    address, _ = address_of(ram)
    words = memoryview(ram).cast("I")
    source = (ctypes.c_uint32 * 5)(10, 20, 30, 40, 50)
    with trace(ram):
        probe("copy_in", address, ctypes.addressof(source))
        probe("locked_add32", address)
        probe("or32", address + 4)
        probe("exchange32", address + 8, count=99)
    assert words[:5].tolist() == [11, 21, 99, 40, 50]


def test_a_call_through_the_range(ram: mmap.mmap) -> None:
    """The range holds the address of a function; the return address is outside."""
    address, _ = address_of(ram)
    # The probe stores the address of its own `ret` in `other`: here the same word.
    with trace(ram) as log:
        probe("call", address, address)
    assert str(log) == "W8@0x0 R8@0x0"


def test_a_repeat_of_no_times_is_no_access(ram: mmap.mmap) -> None:
    address, _ = address_of(ram)
    assert record(ram, lambda: probe("fill", address, count=0)) == ""


def test_every_round_of_a_long_repeat(ram: mmap.mmap) -> None:
    address, _ = address_of(ram)
    with trace(ram) as log:
        probe("fill", address, count=PAGE + 100)
    assert log.accesses == [Access("W", offset, 1) for offset in range(PAGE + 100)]


@pytest.mark.parametrize("ahead", range(1, 4))
def test_an_instruction_that_lies_on_two_pages(ram: mmap.mmap, ahead: int) -> None:
    code = mmap.mmap(-1, 2 * PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # mov eax, [rdi + 0x12345678 - 0x12345678 + 0x100]; ret
    text = bytes.fromhex("8b87 00010000 c3")
    start = PAGE - ahead
    code[start : start + len(text)] = text
    base, _ = address_of(code)
    function = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)(base + start)
    address, _ = address_of(ram)
    assert record(ram, lambda: function(address)) == "R4@0x100"


# What it refuses to guess


@AVX2
@pytest.mark.parametrize(
    ("name", "reason"), [("gather", "a gather or scatter"), ("masked_load", "a masked access")]
)
def test_vector_accesses_that_depend_on_a_mask_are_refused(
    ram: mmap.mmap, name: str, reason: str
) -> None:
    address, _ = address_of(ram)
    with pytest.raises(TraceError, match=reason), trace(ram):
        probe(name, address)


@pytest.mark.parametrize(
    ("name", "reason"), [("flush", "a cache line operation"), ("save", "an access whose width")]
)
def test_an_instruction_without_a_clear_access_is_refused(
    ram: mmap.mmap, name: str, reason: str
) -> None:
    address, _ = address_of(ram)
    with pytest.raises(TraceError, match=f"at offset 0x40: {reason}"), trace(ram):
        probe(name, address + 0x40)


def test_an_overflow_is_an_error(ram: mmap.mmap) -> None:
    view = memoryview(ram)
    with pytest.raises(TraceError, match="3 accesses found no room"), trace(ram, capacity=10):
        view[:13].hex()
    with trace(ram, capacity=10) as log:
        for i in range(10):
            view[i]
    assert len(log) == 10


def test_another_thread_is_an_error_unless_it_is_welcome(ram: mmap.mmap) -> None:
    words = memoryview(ram).cast("I")

    def touch() -> None:
        thread = threading.Thread(target=lambda: words[7])
        thread.start()
        thread.join()

    with pytest.raises(TraceError, match="other threads touched these pages 1 times"), trace(ram):
        touch()
    with trace(ram, threads=True) as log:
        touch()
        words[8]
    assert str(log) == "R4@0x1c R4@0x20"
    assert log.accesses[0].thread != log.accesses[1].thread == threading.get_native_id()


def test_threads_that_run_at_once_are_served(ram: mmap.mmap) -> None:
    """What one does while another is stepped goes unseen, as the manual says; nothing breaks."""
    address, _ = address_of(ram)
    library = ctypes.CDLL(tracer._library()._name)
    library.probe_fill.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    workers = [
        threading.Thread(target=library.probe_fill, args=(address + i * PAGE, 0, 1000))
        for i in range(3)
    ]
    memory = memoryview(ram)
    memory[:] = b"x" * SIZE
    with trace(ram, threads=True) as log:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert all(access.kind == "W" and access.width == 1 for access in log)
    assert 0 < len(log) <= 3000
    assert bytes(memory).count(b"\0") == 3000


def test_one_trace_at_a_time(ram: mmap.mmap) -> None:
    words = memoryview(ram).cast("I")
    with trace(ram) as log:
        with pytest.raises(TraceError, match="running already"):
            trace(ram).start()
        with pytest.raises(TraceError, match="has not ended"):
            log.accesses  # noqa: B018
        words[1]
    assert str(log) == "R4@0x4"
    with pytest.raises(TraceError, match="no trace is running"):
        trace(ram).stop()


def test_an_error_in_the_block_is_not_hidden(ram: mmap.mmap) -> None:
    view = memoryview(ram)
    with pytest.raises(KeyError) as caught, trace(ram, capacity=1):  # noqa: PT012
        view[0]
        view[1]
        raise KeyError("mine")
    assert "1 accesses found no room" in caught.value.__notes__[0]
    view[0]


def test_what_cannot_be_traced_says_why(ram: mmap.mmap) -> None:
    hole = PAGE  # The kernel keeps the lowest addresses free.
    code = mmap.mmap(-1, PAGE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    for target, size, reason in [
        (hole, 4, "nothing is mapped at"),
        (code, 4, "code is not traced"),
        (2**64 - 8, 16, "beyond the end of memory"),
        (ram, 0, "nothing to trace"),
    ]:
        with pytest.raises(TraceError, match=reason):
            trace(target, size).start()
    with pytest.raises(TypeError, match="needs a size"):
        trace(hole)
    with pytest.raises(ValueError, match="the buffer has"):
        trace(ram, SIZE + 1)
    with pytest.raises(ValueError, match="gaps"):
        trace(memoryview(ram)[::2])


def test_a_system_call_on_the_range_fails_instead_of_going_unseen(ram: mmap.mmap) -> None:
    fd = os.memfd_create("out")
    with trace(ram) as log, pytest.raises(OSError, match="Bad address"):
        os.write(fd, ram)
    os.close(fd)
    assert len(log) == 0


# The range and its pages


def test_a_range_inside_a_page(ram: mmap.mmap) -> None:
    words = memoryview(ram).cast("I")
    address, _ = address_of(ram)
    with trace(address + 0x100, 8) as log:
        words[0x3F]
        words[0x40]
        words[0x41] = 1
        words[0x42]
        words[2 * PAGE // 4]
    assert str(log) == "R4@0x0 W4@0x4"


def test_an_access_across_the_border_of_the_range(ram: mmap.mmap) -> None:
    address, _ = address_of(ram)
    with trace(address + 0x100, 8) as log:
        probe("load64", address + 0xFC)
        probe("load64", address + 0x104)
        probe("load64", address + 0xF8)
        probe("load64", address + 0x108)
    assert str(log) == "R8@-0x4 R8@0x4"


def test_an_access_across_the_border_of_the_pages(ram: mmap.mmap) -> None:
    address, _ = address_of(ram)
    with trace(address + PAGE, PAGE) as log:
        probe("load64", address + PAGE - 4)
        probe("store64", address + 2 * PAGE - 4)
    assert str(log) == "R8@-0x4 W8@0xffc"


def test_memory_of_the_heap(ram: mmap.mmap) -> None:
    """The interpreter's own objects share its pages; they are let through."""
    for _ in range(20):
        array = (ctypes.c_uint32 * 64)()
        with trace(array) as log:
            array[5] = 3
            array[6]
        assert str(log) == "R4@0x14 W4@0x14 R4@0x18" or str(log) == "W4@0x14 R4@0x18"


def test_the_pages_get_their_own_protection_back(tmp_path: Path) -> None:
    with (tmp_path / "registers").open("w+b") as file:
        file.truncate(SIZE)
        fixed = mmap.mmap(file.fileno(), SIZE, prot=mmap.PROT_READ)
        address, _ = address_of(fixed)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        assert libc.mprotect(address + PAGE, PAGE, mmap.PROT_READ | mmap.PROT_WRITE) == 0
        before = protections(address, SIZE)
        assert before == ["r--s", "rw-s", "r--s"]
        with trace(fixed) as log:
            assert protections(address, SIZE) == ["---s"]
            memoryview(fixed)[0]
            probe("store32", address + PAGE)
        assert str(log) == "R1@0x0 W4@0x1000"
        assert protections(address, SIZE) == before


def protections(address: int, size: int) -> list[str]:
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, flags = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if start < address + size and end > address:
            found.append(flags)
    return found


def test_a_range_that_is_unmapped_meanwhile(ram: mmap.mmap) -> None:
    with trace(ram) as log:
        ram[0]
        ram.close()
    assert len(log) == 1


def test_read_only_buffers_can_be_traced(tmp_path: Path) -> None:
    path = tmp_path / "registers"
    path.write_bytes(bytes(range(64)))
    with path.open("rb") as file:
        fixed = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    words = memoryview(fixed).cast("I")
    assert record(words, lambda: words[2]) == "R4@0x8"
    assert record(memoryview(words).toreadonly(), lambda: words.tolist()).count("R4") == 16
