"""A mock does what its map says, by whatever way software reaches it."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import devregs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_properties import quick

MAP = """
[device]
name = "m"
[regions.r]
size = 0x100
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """A mock of a map that begins with one region, `r`."""

    def make(text: str, **options: Any) -> Any:
        path = tmp_path / "m.toml"
        path.write_text(MAP + text, encoding="utf-8")
        return devregs.mock(path, **options)

    return make


def one(text: str) -> str:
    return f"[regions.r.registers.R]\noffset = 0\nwidth = 8\nreset = 0b1010_0101\n{text}\n"


# What each effect makes of 0b1010_0101 when 0b1111_0000 is written; what docs/map-format.md says.
WRITES = {
    "one-to-clear": 0b0000_0101,
    "one-to-set": 0b1111_0101,
    "one-to-toggle": 0b0101_0101,
    "zero-to-clear": 0b1010_0000,
    "zero-to-set": 0b1010_1111,
    "zero-to-toggle": 0b1010_1010,
    "clear": 0,
    "set": 0xFF,
    "modify": 0xF0,
    "none": 0xF0,
}


@pytest.mark.parametrize(("effect", "after"), WRITES.items())
@pytest.mark.parametrize("way", ["name", "region", "block"])
def test_effects_of_a_write(make, effect, after, way):
    dev = make(one(f'on-write = "{effect}"' if effect != "none" else ""))
    match way:
        case "name":
            dev.R.write(0xF0)
        case "region":
            dev.regions.r.write(0, 0xF0, width=8)
        case "block":
            dev.regions.r.write_from(b"\xf0", width=8)
    assert dev.R.read() == after


@pytest.mark.parametrize(("effect", "after"), {"clear": 0, "set": 0xFF, "modify": 0xA5}.items())
@pytest.mark.parametrize("way", ["name", "region", "block"])
def test_effects_of_a_read(make, effect, after, way):
    dev = make(one(f'on-read = "{effect}"'))
    buffer = bytearray(1)
    match way:
        case "name":
            assert dev.R.read() == 0xA5
        case "region":
            assert dev.regions.r.read(0, width=8) == 0xA5
        case "block":
            dev.regions.r.read_into(buffer, width=8)
            assert buffer[0] == 0xA5
    assert dev.hw.R.read() == after


def test_each_field_has_its_own_effect(make):
    dev = make(
        one('fields.A = { bits = "1:0", on-write = "one-to-clear" }\n')
        + 'fields.B = { bits = "3:2", access = "ro" }\nfields.C = { bits = "5:4", on-read = "clear" }\n'
        + 'fields.D = { bits = "7:6", self-clear = true }\n'
    )
    dev.hw.R.write(0)
    dev.hw.R.A, dev.hw.R.B = 3, 2
    dev.R.write(0b1111_0101)
    assert (
        dev.hw.R.read() == 0b0011_1010
    )  # A: one bit cleared; B: not software's; C: stored; D: gone
    assert dev.R.read() == 0b0011_1010
    assert dev.R.read() == 0b0000_1010


def test_what_is_written_once_stays(make):
    dev = make(
        one(
            'reset = 0\nfields.KEY = { bits = "3:0", access = "rw-once" }\nfields.X = "7:4"'
        ).replace("reset = 0b1010_0101\n", "")
    )
    dev.R.write(0x15)
    dev.R.write(0x2A)
    assert dev.R.read() == 0x25
    dev.hw.reset()
    dev.R.write(0x2A)
    assert dev.R.read() == 0x2A


def test_reserved_bits_that_the_map_fixes_stay_and_others_are_memory(make):
    dev = make(one('reserved = "zero"\nfields.X = "1:0"'))
    dev.R.write(0xFE)
    assert dev.R.read() == 0b1010_0110
    dev = make(one('fields.X = "1:0"'))
    dev.R.write(0xFE)
    assert dev.R.read() == 0xFE


def test_what_software_writes_only_is_kept_for_the_hardware_and_not_shown(make):
    dev = make(
        '[regions.r.registers.CMD]\noffset = 0\naccess = "wo"\nfields.CODE = "7:0"\n'
        '[regions.r.registers.ST]\noffset = 0\naccess = "ro"\nreset = 0x77\n'
        '[regions.r.registers.MIX]\noffset = 4\nfields.GO = { bits = 0, access = "wo" }\nfields.N = "7:4"\n'
    )
    dev.CMD.write(0x12)
    assert (dev.hw.CMD.read(), dev.hw.CMD.CODE, dev.ST.read()) == (0x12, 0x12, 0x77)
    dev.hw.ST.write(1)
    assert (dev.ST.read(), dev.hw.CMD.read()) == (1, 0x12)
    dev.MIX.modify(GO=1, N=3)
    assert (dev.MIX.read(), dev.hw.MIX.read(), dev.hw.MIX.GO) == (0x30, 0x31, 1)


def test_a_fifo_has_two_queues_of_its_depth(make):
    dev = make("[regions.r.registers.D]\noffset = 0\nfifo = 2\n")
    assert dev.D.read() == 0
    dev.hw.D.push(1, 2)
    with pytest.raises(devregs.MapError, match=r"D: the FIFO is full; this word is lost: 0x3"):
        dev.hw.D.push(3)
    assert (dev.hw.D.waiting, dev.hw.D.lost) == (2, 1)
    assert [dev.D.read() for _ in range(3)] == [1, 2, 0]
    for word in (7, 8, 9):
        dev.D.write(word)
    assert (dev.hw.D.sent, dev.hw.D.lost) == (2, 2)
    assert (dev.hw.D.pop_all(), dev.hw.D.sent) == ([7, 8], 0)
    with pytest.raises(devregs.MapError, match="has written no word"):
        dev.hw.D.pop()
    dev.hw.D.push(4, 5)
    words = bytearray(8)
    dev.regions.r.read_into(words, fixed=True)
    assert words == (4).to_bytes(4, "little") + (5).to_bytes(4, "little")


def test_aliases_act_on_their_register(make):
    dev = make(
        "[regions.r.groups.P]\noffset = 0x20\ncount = 2\nstride = 0x40\n[regions.r.groups.P.registers]\n"
        'OUT = { offset = 0, count = 2, reset = 0x0f, set-alias = "SET", clear-alias = "CLR", toggle-alias = "TOG" }\n'
        'SET = { offset = 8, count = 2, access = "wo" }\nCLR = { offset = 16, count = 2, access = "wo" }\n'
        "TOG = { offset = 24, count = 2 }\n"
    )
    out = dev.P[1].OUT[1]
    dev.P[1].SET[1].write(0x30)
    assert out.read() == 0x3F
    dev.P[1].CLR[1].write(0x11)
    assert out.read() == 0x2E
    dev.P[1].TOG[1].write(0xFF)
    assert out.read() == 0xD1
    assert dev.P[1].TOG[1].read() == 0xD1
    assert (dev.P[0].OUT[1].read(), dev.P[1].OUT[0].read()) == (0x0F, 0x0F)


@pytest.mark.parametrize("order", ["little", "big"])
def test_an_access_narrower_or_wider_than_a_register_reaches_its_bytes(make, order):
    dev = make(
        f'[regions.r.registers.W]\noffset = 0\nbyte-order = "{order}"\nreset = 0x1122_3344\non-write = "one-to-clear"\n'
        f'[regions.r.registers.N]\noffset = 4\nwidth = 16\nbyte-order = "{order}"\nreset = 0x5566\n'
        f'[regions.r.registers.RO]\noffset = 6\nwidth = 16\nbyte-order = "{order}"\naccess = "ro"\nreset = 0x7788\n'
    )
    byte = 0 if order == "little" else 3
    dev.regions.r.write(byte, 0xFF, width=8)
    assert dev.W.read() == 0x1122_3300
    assert dev.regions.r.read(byte, width=8) == 0
    dev.regions.r.write(0, 2**64 - 1, width=64)
    assert (dev.W.read(), dev.N.read(), dev.RO.read()) == (0, 0xFFFF, 0x7788)


def test_a_split_register_is_one_register(make):
    dev = make(
        '[regions.r.registers.S]\noffset = 4\nwidth = 64\nsplit = "low-first"\non-write = "one-to-clear"\nreset = "0xffff_ffff_ffff_ffff"\n'
    )
    dev.S.write(0x1_0000_0001)
    assert dev.S.read() == 0xFFFF_FFFE_FFFF_FFFE


def test_the_hardware_sets_what_software_may_only_read(make):
    dev = make(
        one(
            'access = "ro"\nfields.READY = 0\nfields.MODE = { bits = "2:1", values = { SLOW = 0, FAST = 3 } }'
        )
    )
    dev.hw.R.MODE = "FAST"
    dev.hw["R.READY"] = 0
    assert (dev.R.MODE.name, dev.R.READY) == ("FAST", 0)
    with pytest.raises(devregs.AccessError):
        dev.R.write(1)
    for wrong, message in [
        (lambda: dev.hw.R.write(256), "does not fit 8 bits"),
        (lambda: setattr(dev.hw.R, "MODE", "QUICK"), "none of its values: SLOW, FAST"),
        (lambda: dev.hw["R.MODES"], 'did you mean "MODE"'),
        (lambda: dev.hw["X"], 'has no register or group "X"'),
        (lambda: dev.hw["R.READY"].push(1), "is no FIFO"),
    ]:
        with pytest.raises(devregs.MapError, match=message):
            wrong()
    for absent, message in [
        (lambda: dev.hw.R.MODES, "did you mean MODE"),
        (lambda: setattr(dev.hw.R, "MODES", 1), "did you mean MODE"),
        (lambda: dev.hw.X, "m: the hardware side has no 'X'"),
        (lambda: setattr(dev.hw, "advanced", 1), "did you mean advance"),
        (lambda: setattr(dev.hw.R, "push", 1), "push belongs to every hardware side"),
    ]:
        with pytest.raises(AttributeError, match=message):
            absent()
    assert not hasattr(dev.hw, "X")
    assert getattr(dev.hw.R, "MODES", None) is None


def test_only_a_mock_has_a_hardware_side(bare):
    assert not bare.hw
    for use in (lambda: bare.hw.reset(), lambda: bare.hw.CTRL.read(), lambda: bare.hw.time):
        with pytest.raises(devregs.AccessError, match=r"kit: is at file:.*devregs\.mock\(map\)"):
            use()


def test_completion_knows_the_parts_of_the_hardware_side(make):
    dev = make(
        one("fields.ready = 0") + "[regions.r.groups.grp]\noffset = 8\nregisters.X.offset = 0\n"
    )
    assert {"R", "grp", "advance"} <= set(dir(dev.hw))
    assert {"ready", "write"} <= set(dir(dev.hw.R))
    assert "X" in dir(dev.hw.grp)
    assert "modify" not in dir(dev.hw.R)


def test_the_hardware_side_outlives_the_device(make):
    with make(one("")) as dev:
        dev.R.write(7)
    assert dev.hw.R.read() == 7


# hooks


def test_hooks_see_and_change_what_is_read_and_written(make):
    dev = make(one('fields.LOW = "3:0"\nfields.HIGH = "7:4"'))
    seen: list[Any] = []

    @dev.hw.R.on_write
    def written(value):
        seen.append(("write", value))

    @dev.hw["R.HIGH"].on_write
    def high(value):
        seen.append(("high", value))
        return 0xE

    @dev.hw["R.LOW"].on_read
    def low(value):
        seen.append(("low", value))
        return value ^ 0xF

    dev.R.write(0x12)
    assert dev.hw.R.read() == 0xE2
    assert dev.R.read() == 0xED
    dev.R.LOW = 1
    assert seen == [
        ("write", 0x12),
        ("high", 1),
        ("low", 2),
        ("low", 0xD),
        ("write", 0xE1),
        ("high", 0xE),
    ]
    dev.hw.remove_hooks()
    assert dev.R.read() == 0xE1


def test_what_a_hook_raises_comes_out_of_the_access(make):
    dev = make(one("fields.A = 0\nfields.B = 1"))

    class Odd(BaseException):
        pass

    def hook(value):
        raise Odd(value)

    dev.hw.R.on_read(hook)
    for access in (
        lambda: dev.R.read(),
        lambda: dev.R.A,
        lambda: dev.R.modify(A=1),
        lambda: dev.R.wait(A=0, timeout=1),
        lambda: dev.regions.r.read(0, width=8),
    ):
        with pytest.raises(Odd):
            access()
    assert dev.hw.R.read() == 0xA5
    dev.hw.remove_hooks()
    dev.hw.R.on_read(lambda value: "x")
    with pytest.raises(TypeError, match='an integer is needed, not str "x"'):
        dev.R.read()


def test_hooks_may_use_the_device_and_the_mock(make):
    """In the middle of a read-modify-write, which holds the region's lock."""
    dev = make(one("fields.A = 0") + "[regions.r.registers.Q]\noffset = 4\nfields.X = 0\n")

    @dev.hw.R.on_write
    def other(value):
        dev.Q.X = 1
        dev.hw.Q.write(dev.Q.read() | 0x10)

    dev.R.A = 1
    assert dev.Q.read() == 0x11


def test_threads_and_hooks_do_not_lock_each_other_out(make):
    dev = make(
        one('reset = 0\nfields.A = "7:0"').replace("reset = 0b1010_0101\n", "")
        + '[regions.r.registers.Q]\noffset = 4\nfields.N = "31:0"\n'
    )
    calls = []
    dev.hw.R.on_write(lambda value: calls.append(sum(range(200))) or None)

    def work():
        for _ in range(300):
            dev.R.A = 1
            dev.Q.N = 5

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(calls) == 1800


@pytest.mark.parametrize("close", [True, False])
def test_a_device_and_its_hooks_are_collected(make, close):
    dev = make(one(""))

    class Model:
        def __init__(self, device):
            self.device = device
            device.hw.R.on_write(self.written)

        def written(self, value):
            self.device.hw.R.write(value)

    gone = weakref.ref(Model(dev))
    gc.collect()
    assert gone() is not None
    if close:
        dev.close()
    del dev
    gc.collect()
    assert gone() is None


# faults


def test_a_register_fails_as_often_as_asked(make):
    dev = make(one("fields.A = 0"))
    dev.hw.R.fail(times=2)
    with pytest.raises(
        devregs.BusError, match=r"m\.R: the bus answered a 8-bit read with SIGBUS"
    ) as caught:
        dev.R.read()
    assert (caught.value.at, caught.value.width, caught.value.write) == ("m.R", 8, False)
    with pytest.raises(devregs.BusError, match="8-bit write"):
        dev.R.write(0)
    assert dev.R.read() == 0xA5
    dev.hw.R.fail()
    for _ in range(3):
        with pytest.raises(devregs.BusError):
            dev.regions.r.read(0, width=8)
    dev.hw.heal()
    assert dev.R.read() == 0xA5


def test_stuck_bits_and_a_device_that_vanishes(make):
    dev = make(one('fields.A = 0\nfields.N = "7:4"'))
    dev.hw["R.N"].stick(3)
    dev.R.write(0xF1)
    assert (dev.R.read(), dev.hw.R.read()) == (0x31, 0xF1)
    dev.hw.vanish("ones")
    dev.R.write(0)
    assert dev.R.read() == 0xFF
    dev.hw.vanish()
    with pytest.raises(devregs.BusError):
        dev.R.write(0)
    dev.hw.heal()
    assert dev.R.read() == 0xF1
    with pytest.raises(TypeError, match='"fault" or by "ones", not "smoke"'):
        dev.hw.vanish("smoke")


def test_reset_gives_back_what_was_there_at_the_start(make):
    dev = make(
        one("")
        + '[regions.r.registers.W]\noffset = 4\naccess = "wo"\n[regions.r.registers.D]\noffset = 8\nfifo = true\n'
        "[regions.r.registers.A]\noffset = 0x20\ncount = 4\nreset = 9\n"
    )
    dev.R.write(1)
    dev.W.write(2)
    dev.D.write(3)
    dev.hw.D.push(4)
    dev.A[3].write(5)
    dev.hw.reset()
    assert (dev.R.read(), dev.hw.W.read(), dev.D.read(), dev.hw.D.sent) == (0xA5, 0, 0, 0)
    assert [register.read() for register in dev.A] == [9] * 4


# views


def test_a_view_shows_what_a_read_would(make):
    dev = make(one("") + "[regions.r.registers.Q]\noffset = 4\nreset = 7\n")
    with dev.regions.r.view() as view:
        assert (view[0], view[1]) == (0xA5, 7)
        dev.hw.Q.write(9)
        assert view[1] == 9
        view[1] = 11
        assert dev.Q.read() == 11


# a model of all of it


EFFECTS = [None, *(name for name in WRITES if name != "none")]


@quick(60)
@given(st.data())
def test_any_register_against_a_model(data: st.DataObject) -> None:
    """Random fields and random accesses: the mock holds what the words of the reference say."""
    fields, lsb = [], 0
    while lsb < 30:
        width = data.draw(st.integers(1, 8))
        kind = data.draw(st.sampled_from(["rw", "ro", "hole"]))
        effect = data.draw(st.sampled_from(EFFECTS)) if kind == "rw" else None
        read = data.draw(st.sampled_from([None, "clear", "set"])) if kind != "hole" else None
        fields.append((f"F{lsb}", lsb, min(width, 32 - lsb), kind, effect, read))
        lsb += width
    fields.append(("REST", lsb, max(32 - lsb, 0), "hole", None, None))
    text = "[regions.r.registers.R]\noffset = 0\nreset = 0x5a5a_a5a5\n"
    for name, lsb, width, kind, effect, read in fields:
        if kind == "hole":
            continue
        parts = [f'bits = "{lsb + width - 1}:{lsb}"', f'access = "{kind}"']
        parts += [f'on-write = "{effect}"'] if effect else []
        parts += [f'on-read = "{read}"'] if read else []
        text += f"fields.{name} = {{ {', '.join(parts)} }}\n"
    with TemporaryDirectory() as folder:
        path = Path(folder, "m.toml")
        path.write_text(MAP + text, encoding="utf-8")
        dev = devregs.mock(path)
    value = 0x5A5A_A5A5
    for _ in range(data.draw(st.integers(1, 8))):
        word = data.draw(st.integers(0, 2**32 - 1))
        if data.draw(st.booleans()):
            dev.R.write(word)
            new = 0
            for _, lsb, width, kind, effect, _ in fields:
                mask = ((1 << width) - 1) << lsb
                new |= mask & {
                    "one-to-clear": value & ~word,
                    "one-to-set": value | word,
                    "one-to-toggle": value ^ word,
                    "zero-to-clear": value & word,
                    "zero-to-set": value | ~word,
                    "zero-to-toggle": value ^ ~word,
                    "clear": 0,
                    "set": -1,
                }.get(effect or "", value if kind == "ro" else word)
            value = new
        else:
            assert dev.R.read() == value
            for _, lsb, width, _, _, read in fields:
                mask = ((1 << width) - 1) << lsb
                value = (
                    value & ~mask if read == "clear" else value | mask if read == "set" else value
                )
        assert dev.hw.R.read() == value


@pytest.mark.skipif(not devregs.TRAPS, reason="this machine cannot trap the accesses of a view")
def test_the_mock_behaves_for_views_too(make):
    """Rules, effects, and the bits of each register: as by name."""
    dev = make(
        one("").replace("width = 8\n", "")
        + '[regions.r.registers.FLAGS]\noffset = 4\nreset = 0xff\non-write = "one-to-clear"\n'
        + '[regions.r.registers.RO]\noffset = 8\naccess = "ro"\nreset = 7\n'
        + '[regions.r.registers.TWICE]\noffset = 12\naccess = "ro"\n'
        + '[[behaviour]]\nassign = { TWICE = "R * 2" }\n[[behaviour]]\non-write = "R=9"\nafter-reads = 2\nset = { RO = 8 }\n'
    )
    with dev.regions.r.view() as view:
        view[1] = 0x0F
        assert (dev.FLAGS.read(), view[1]) == (0xF0, 0xF0)
        view[1] = 0xF0  # the very value it shows
        assert dev.FLAGS.read() == 0
        view[2] = 99
        assert (view[2], dev.RO.read()) == (7, 7)
        view[0] = 9
        assert (view[3], dev.TWICE.read()) == (18, 18)
        assert [view[2] for _ in range(3)] == [7, 7, 8]
        view[20] = 5  # no register: memory
        assert view[20] == 5
        dev.hw.FLAGS.write(0xFF)
        view[0:2] = memoryview(bytes(8)).cast("I")
        assert dev.R.read() == 0
    dev.close()
    plain = make(
        '[regions.r.registers.F]\noffset = 0\nreset = 3\non-write = "one-to-clear"\n', trap=False
    )
    with plain.regions.r.view() as view:
        view[0] = 1
        assert plain.F.read() == 1
