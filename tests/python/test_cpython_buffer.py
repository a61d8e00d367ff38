"""CPython's own tests of memoryview and of the buffer protocol, over what our views are views of.

They come with the interpreter (`test.test_memoryview`, `test.test_buffer`) and take an exporter: here a span of a
region, of 8-bit words where they want bytes, of 32-bit words where they want an array. What does not apply, and why:

- `test_hash`: read-only bytes are hashed by their content. Registers change, so a view has no hash: turned round below.
- `test_gc`: makes subclasses of the exporter's type, which is not to be subclassed; it leaves out what is no type.
- `test_tolist` and `test_getbuffer` of arrays are skipped by CPython itself, as they were written for bytes: written
  anew below.
- `OtherTest`, and all of `test_buffer` that is about `ndarray`, `bytearray` or `array` themselves, takes no exporter.
  What it checks of one is run below through its helpers, `verify` and the requests of `test_ndarray_getbuf`.
- The parts with several dimensions, negative strides, suboffsets or formats other than one unsigned word: no region
  is such.
- Exporters that grow while no view lives (`bytearray`), or whose `view.obj` is NULL (`staticarray`): ours do neither.
"""

from __future__ import annotations

import array
import itertools
import pickle
import sys
from collections.abc import Iterable

import devregs
import pytest

WITHOUT = (
    "this Python comes without its own tests: the package `test`, in Debian libpython3-testsuite"
)
cpython = pytest.importorskip("test.test_memoryview", reason=WITHOUT)
buffers = pytest.importorskip("test.test_buffer", reason=WITHOUT)
_testbuffer = pytest.importorskip("_testbuffer", reason=WITHOUT)

CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}
MAPS: dict[int, devregs.Map] = {}


@pytest.fixture(scope="session", autouse=True)
def maps(tmp_path_factory):
    """A map of one region for each width."""
    for width in CODES:
        path = tmp_path_factory.mktemp("maps") / f"words{width}.toml"
        path.write_text(
            f'[device]\nname = "words"\nwidth = {width}\n[regions.words]\nsize = 0x100\n'
        )
        MAPS[width] = devregs.load(path)


def exporter(width: int, content: Iterable[int], flags: int = devregs.PyBUF_WRITE):
    """What a view over a region with this content is a view of: a PEP 3118 exporter."""
    words = array.array(CODES[width], list(content))
    region = devregs.mock(MAPS[width]).regions.words
    region.write_from(words, 16)
    return region.view(flags, offset=16, size=len(words) * words.itemsize).obj


class OurBytes:
    """In place of bytes and bytearray."""

    def ro_type(self, content):
        return exporter(8, content, devregs.PyBUF_READ)

    def rw_type(self, content):
        return exporter(8, content)

    def _check_contents(self, tp, obj, contents):
        shown = memoryview(obj)[1:7] if self.source_bytes.startswith(b"X") else memoryview(obj)
        assert shown == tp(contents)

    def test_hash(self):
        for tp in self._types:
            view = self._view(tp(self._source))
            with pytest.raises((TypeError, ValueError)):
                hash(view)


class OurWords(OurBytes):
    """In place of array.array("i")."""

    itemsize = 4
    format = "I"

    def ro_type(self, content):
        return exporter(32, content, devregs.PyBUF_READ)

    def rw_type(self, content):
        return exporter(32, content)

    def getitem_type(self, content):
        return array.array("I", list(content)).tobytes()

    def test_tolist(self):
        for tp in self._types:
            assert self._view(tp(self._source)).tolist() == list(b"abcdef")

    def test_getbuffer(self):
        for tp in self._types:
            b = tp(self._source)
            count = sys.getrefcount(b)
            m = self._view(b)
            assert bytes(m) == self.getitem_type(b"abcdef")
            self._check_contents(tp, b, b"abcdef")
            m = None
            assert sys.getrefcount(b) == count


class BytesViewTest(OurBytes, cpython.BytesMemoryviewTest):
    pass


class BytesSliceTest(OurBytes, cpython.BytesMemorySliceTest):
    pass


class BytesSliceSliceTest(OurBytes, cpython.BytesMemorySliceSliceTest):
    pass


class WordsViewTest(OurWords, cpython.ArrayMemoryviewTest):
    pass


class WordsSliceTest(OurWords, cpython.ArrayMemorySliceTest):
    pass


class WordsSliceSliceTest(OurWords, cpython.ArrayMemorySliceSliceTest):
    pass


# test_buffer: every request a consumer can make, and what must be in the answer.

BUF = {name: getattr(_testbuffer, name) for name in dir(_testbuffer) if name.startswith("PyBUF_")}
REQUESTS = [
    "INDIRECT", "STRIDES", "ND", "SIMPLE", "C_CONTIGUOUS", "F_CONTIGUOUS", "ANY_CONTIGUOUS",
    "FULL", "FULL_RO", "RECORDS", "RECORDS_RO", "STRIDED", "STRIDED_RO", "CONTIG", "CONTIG_RO",
]  # fmt: skip
ADDED = [
    0,
    BUF["PyBUF_WRITABLE"],
    BUF["PyBUF_FORMAT"],
    BUF["PyBUF_WRITABLE"] | BUF["PyBUF_FORMAT"],
]


@pytest.fixture
def checks():
    helper = buffers.TestBufferProtocol("test_issue_7385")
    helper.setUp()
    return helper


@pytest.mark.parametrize("flags", [devregs.PyBUF_READ, devregs.PyBUF_WRITE], ids=["ro", "rw"])
@pytest.mark.parametrize("width", CODES)
def test_every_request_is_answered_as_cpythons_own_exporter_answers_it(checks, width, flags):
    """The rules of `verify_getbuf`, for an exporter that is contiguous and of one dimension."""
    content, bytes_each = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, (1 << width) - 1], width // 8
    readonly = flags == devregs.PyBUF_READ
    ours = exporter(width, content, flags)
    shown = memoryview(ours)
    for name, added in itertools.product(REQUESTS, ADDED):
        request = BUF["PyBUF_" + name] | added

        def asks(flag: str, request: int = request) -> bool:
            return request & BUF["PyBUF_" + flag] == BUF["PyBUF_" + flag]

        if (readonly and asks("WRITABLE")) or (asks("FORMAT") and not asks("ND")):
            with pytest.raises(BufferError):
                _testbuffer.ndarray(ours, getbuf=request)
            continue
        checks.verify(
            _testbuffer.ndarray(ours, getbuf=request),
            obj=ours,
            itemsize=bytes_each,
            fmt=CODES[width] if asks("FORMAT") else "",
            readonly=readonly,
            ndim=1,
            shape=shown.shape if asks("ND") else (),
            strides=shown.strides if asks("STRIDES") else (),
            lst=content if asks("FORMAT") else shown.tobytes(),
        )
        # And through a memoryview between, by CPython's function itself.
        checks.verify_getbuf(shown, shown, request)


@pytest.mark.parametrize("width", CODES)
def test_views_of_views_name_the_exporter(checks, width):
    """As `test_memoryview_from_static_exporter` has it."""
    content = list(range(12))
    given = {"itemsize": width // 8, "fmt": CODES[width], "ndim": 1, "shape": [12], "lst": content}
    for flags in (devregs.PyBUF_READ, devregs.PyBUF_WRITE):
        given |= {"readonly": flags == devregs.PyBUF_READ, "strides": [width // 8]}
        ours = exporter(width, content, flags)
        checks.verify(memoryview(ours), obj=ours, **given)
        full = {"getbuf": BUF["PyBUF_FULL_RO"]}
        first = _testbuffer.ndarray(ours, **full)
        second = _testbuffer.ndarray(first, **full)
        assert first.obj is ours
        checks.verify(memoryview(second), obj=second, **given)
        full["flags"] = _testbuffer.ND_REDIRECT
        first = _testbuffer.ndarray(ours, **full)
        second = _testbuffer.ndarray(first, **full)
        assert first.obj is second.obj is ours
        checks.verify(memoryview(second), obj=ours, **given)


def test_release_in_every_order(checks, monkeypatch):
    """`test_memoryview_release`, which makes its exporters by `bytearray(...)`."""
    made = []

    def ours(content: Iterable[int]):
        made.append(1)
        return exporter(8, content)

    monkeypatch.setattr(buffers, "bytearray", ours, raising=False)
    checks.test_memoryview_release()
    assert len(made) >= 8


@pytest.mark.parametrize("width", CODES)
def test_casts(width):
    """To bytes and to any other format of words and back: the same memory, the same right to write."""
    content = list(range(16))
    for flags in (devregs.PyBUF_READ, devregs.PyBUF_WRITE):
        view = memoryview(exporter(width, content, flags))
        flat = view.cast("B")
        assert (flat.obj, flat.readonly) == (view.obj, view.readonly)
        assert flat.tobytes() == array.array(CODES[width], content).tobytes()
        for code in "bBhHiIlLqQnNfd?c":
            again = flat.cast(code)
            assert (again.nbytes, again.readonly) == (view.nbytes, view.readonly)
            assert again.cast("B").cast(view.format).tolist() == content
        table = flat.cast(view.format, [4, 4])
        assert table.tolist() == [content[at : at + 4] for at in range(0, 16, 4)]
        assert table.readonly == view.readonly
        for wrong in ("<I", ">I", "2B", "x", ""):
            with pytest.raises(ValueError, match="format"):
                view.cast(wrong)
        if width > 8:
            with pytest.raises(TypeError, match="cannot cast between two non-byte formats"):
                view.cast("d")


@pytest.mark.parametrize("width", CODES)
def test_items_and_slices(width):
    """As of an array of the same words, whatever the slice; what does not fit a word is refused."""
    content = [word * 3 % (1 << width) for word in range(12)]
    like = array.array(CODES[width], content)
    view = memoryview(exporter(width, content))
    for start, stop, step in itertools.product(
        (None, 0, 3, -2, 20), (None, 0, 7, -1, -20), (1, 2, -1, -5)
    ):
        assert view[start:stop:step].tolist() == like[start:stop:step].tolist()
    assert (view == like, view[::-1] == like[::-1], view[1:] == like) == (True, True, False)
    assert (9 in view, 1 in view, list(reversed(view))) == (True, False, content[::-1])
    top = (1 << width) - 1
    view[5] = like[5] = top
    view[-1] = like[-1] = 0
    assert view.tolist() == like.tolist()
    for wrong in (top + 1, -1):
        with pytest.raises(ValueError, match="invalid value"):
            view[5] = wrong
    for wrong in (1.0, "1", None, b"1"):
        with pytest.raises(TypeError, match="invalid type"):
            view[5] = wrong
    assert view[5] == top
    for wrong in (array.array("d", [1]), bytes(width)):
        with pytest.raises(ValueError, match="different structures"):
            view[0:1] = wrong
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(view)


class Close:
    """Releases a view and closes its device when it is asked for its number."""

    def __init__(self, device: devregs.Device, view: memoryview) -> None:
        self.device, self.view = device, view

    def __index__(self) -> int:
        self.view.release()
        self.device.close()
        return 1


@pytest.mark.parametrize(
    "access",
    [
        lambda view, index: view[index],
        lambda view, index: view[:index],
        lambda view, index: view.__setitem__(index, 1),
        lambda view, index: view.__setitem__(0, index),
        lambda view, index: view.__setitem__(slice(0, index), b""),
    ],
)
def test_a_view_that_goes_in_the_middle_of_an_access(access):
    """As `test_use_released_memory` has it: either it cannot go, or the memory is not touched any more."""
    device = devregs.mock(MAPS[32])
    view = device.regions.words.view()
    with pytest.raises((ValueError, BufferError)):
        access(view, Close(device, view))
    view.release()
    device.close()
