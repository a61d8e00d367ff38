"""How long things live: use after close, closing under others' hands, rings of garbage, forks, the interpreter's end."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import devregs
import pytest
from devregs import _values

CLOSED = "the device is closed; open it again with devregs.open"


def run(script: str, kit_path: Path, *options: str, code: int = 0) -> str:
    """Runs a script in a process of its own, which must end well and say nothing on standard error."""
    head = "import devregs, sys\nkit = devregs.load(sys.argv[1])\n"
    done = subprocess.run(
        [sys.executable, *options, "-c", head + textwrap.dedent(script), kit_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "")
    return done.stdout


def mappings(name: str = "memfd:devregs-mock") -> int:
    return Path("/proc/self/maps").read_text().count(name)


# Use after close.


@pytest.mark.parametrize(
    "access",
    [
        lambda d: d.CTRL.read(),
        lambda d: d.CTRL.write(1),
        lambda d: d.CTRL.write(True),
        lambda d: d.CTRL.modify(EN=1, MODE="FAST"),
        lambda d: d.CTRL.modify({"EN": 1}),
        lambda d: d.COMMAND.modify(CODE=1, FLAG=0),
        lambda d: d.CTRL.wait(EN=1),
        lambda d: d.CTRL.EN,
        lambda d: d.CTRL["MODE"],
        lambda d: d["CTRL.EN"],
        lambda d: setattr(d.CTRL, "EN", 1),
        lambda d: d.CTRL.__setitem__("MODE", "FAST"),
        lambda d: d.__setitem__("CTRL", 1),
        lambda d: d.__setitem__("CTRL.EN", 1),
        lambda d: type(d.CTRL).EN.__get__(d.CTRL),
        lambda d: type(d.CTRL).EN.__set__(d.CTRL, 0),
        lambda d: d.SMALL[1].read(),
        lambda d: d.CH[2].DATA[1].write(0),
        lambda d: d.CH[1].DMA.ADDR.read(),
        lambda d: d["CH[1].CTRL"].EN,
        lambda d: d.regions.ram.read(0),
        lambda d: d.regions.ram.write(0, 0),
        lambda d: d.regions.ram.read_into(bytearray(8)),
        lambda d: d.regions.ram.write_from(bytes(8)),
        lambda d: d.regions.ram.view(),
        lambda d: d.regions.id.read(0),
    ],
)
def test_an_access_after_close_is_refused(kit, access):
    kit.close()
    with pytest.raises(devregs.AccessError, match=CLOSED):
        access(kit)


def test_questions_that_touch_nothing_are_answered_after_close(kit):
    kit.close()
    kit.close()
    assert kit.closed
    assert "(closed)" in repr(kit)
    assert "CTRL" in dir(kit)
    assert (kit.CTRL.path, kit.CTRL.offset, kit.CTRL.reset) == ("CTRL", 0, 0x8001_0031)
    assert (kit.CTRL.decode(0x31)["MODE"], kit.CTRL.encode(EN=0)) == (3, 0x8001_0030)
    assert [field.name for field in kit.CTRL.fields] == ["EN", "MODE", "COUNT"]
    assert (len(kit.CH), kit.CH[7].path, len(kit.regions.ram)) == (8, "CH[7]", 0x4000)
    assert (kit.map.name, bool(kit.irq)) == ("kit", kit.source == "mock:")
    for thing in (kit.CTRL, kit.CH, kit.CH[0], kit.regions, kit.regions.ram, kit.irq):
        assert repr(thing)


def test_iterators_begun_before_close_hand_out_what_refuses(kit):
    registers, elements = kit.registers(), iter(kit.CH)
    for iterator in (registers, elements):
        next(iterator)
    kit.close()
    for access in (
        next(registers).read,
        lambda: next(elements).CTRL.EN,
    ):
        with pytest.raises(devregs.AccessError, match=CLOSED):
            access()
    assert len(list(registers)) > 10


def test_the_interrupt_is_refused_after_close(kit_map):
    device = devregs.mock(kit_map)
    irq = device.irq
    device.hw.interrupt()
    assert irq
    assert irq.wait(timeout=0) == 1
    device.close()
    for use in (lambda: irq.wait(timeout=0), irq.enable, irq.disable, irq.fileno):
        with pytest.raises(devregs.AccessError, match=CLOSED):
            use()
    assert "interrupt" in repr(irq)


# What keeps the memory, and what does not.


@pytest.mark.parametrize(
    ("take", "use"),
    [
        (lambda d: d.CTRL, lambda ctrl: ctrl.EN),
        (lambda d: d.CTRL.read, lambda read: read() & 1),
        (lambda d: d.CH, lambda array: array[3].CTRL.read() + 1),
        (lambda d: d.CH[3], lambda group: group.CTRL.read() + 1),
        (lambda d: d.registers(), lambda registers: next(registers).EN),
        (lambda d: d.regions, lambda regions: regions.regs.read(0) & 1),
        (lambda d: d.regions.regs, lambda regs: regs.read(0) & 1),
        (lambda d: d.regions.regs.view(), lambda view: view[0] & 1),
        (lambda d: d.regions.regs.view()[::4][1:].obj, lambda obj: memoryview(obj)[0] & 1),
        (lambda d: iter(d.regions.regs.view()), lambda words: next(words) & 1),
    ],
)
def test_any_part_of_a_device_keeps_it_usable_and_the_last_one_lets_it_go(kit_map, take, use):
    gc.collect()
    before = mappings()
    part = take(devregs.mock(kit_map))
    gc.collect()
    assert mappings() > before
    assert use(part) == 1
    del part
    gc.collect()
    assert mappings() == before


def test_close_gives_the_memory_back_whoever_still_holds_a_part(kit_map, memory):
    gc.collect()
    before = mappings(str(memory))
    device = devregs.open(kit_map, f"file:{memory}")
    held = [device.CTRL, device.CH[0], device.regions.ram]
    device.close()
    assert mappings(str(memory)) == before
    assert len(held) == 3


def test_a_maps_classes_are_garbage_once_nobody_has_them(kit_path):
    """A class has its fields, and each field its class: a ring that only the collector ends."""
    device = devregs.mock(devregs.load(kit_path))
    assert device.CTRL.MODE == 3
    seen = [type(device), type(device.CTRL), type(device.CH[0]), type(device.CTRL).MODE.values]
    seen = [weakref.ref(thing) for thing in seen]
    gc.collect()
    assert all(ref() for ref in seen)
    del device
    # The enum is let go of by a field that the first round collects.
    gc.collect()
    gc.collect()
    assert not any(ref() for ref in seen)


def test_a_device_in_a_ring_of_its_users_is_collected(kit_path):
    class Driver:
        def __init__(self) -> None:
            self.device = devregs.mock(kit_path)
            self.view = self.device.regions.ram.view()
            self.me = self

    gc.collect()
    before = mappings()
    ref = weakref.ref(Driver().device)
    gc.collect()
    assert ref() is None
    assert mappings() == before


# Others at work meanwhile.


def test_closing_under_threads_at_work_is_an_access_error_for_each(kit_path):
    script = """
    import threading
    sys.setswitchinterval(1e-5)
    buffer, block = bytearray(0x4000), bytes(0x4000)
    work = [
        lambda d: d.CTRL.read(), lambda d: d.CTRL.write(5), lambda d: d.CTRL.modify(EN=1),
        lambda d: d.CTRL.MODE, lambda d: setattr(d.CTRL, "EN", 0), lambda d: d.CTRL.modify({"EN": 1}),
        lambda d: d.CTRL.wait(EN=1, COUNT=1), lambda d: d.CH[3].DATA[1].read(),
        lambda d: d.regions.ram.read(8), lambda d: d.regions.ram.read_into(buffer),
        lambda d: d.regions.ram.write_from(block), lambda d: d.regions.ram.view().release(),
    ]
    def loop(device, do, started):
        started.release()
        try:
            while True:
                do(device)
        except devregs.AccessError as error:
            ended.append("closed" in str(error))
    def close(device):
        while True:
            try:
                return device.close()
            except BufferError:
                pass
    for _ in range(10):
        device, ended, started = devregs.mock(kit), [], threading.Semaphore(0)
        threads = [threading.Thread(target=loop, args=(device, do, started)) for do in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            started.acquire()
        close(device)
        for thread in threads:
            thread.join()
        assert ended == [True] * len(work), ended
    """
    run(script, kit_path)


def test_an_exception_from_a_signal_handler_ends_a_wait(kit):
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        for interval in (0, 1000):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Alarm):
                kit.CTRL.wait(MODE=7, interval=interval, timeout=30)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("interval", [0, 1000, 1e19, float("inf")])
def test_a_signal_handler_that_closes_the_device_ends_a_wait(kit, interval):
    def close(*_: object) -> None:
        if kit.closed:
            raise TimeoutError("still waiting")
        kit.close()

    before = signal.signal(signal.SIGALRM, close)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 5)
        with pytest.raises(devregs.AccessError, match=CLOSED):
            kit.CTRL.wait(MODE=7, interval=interval)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Index:
    """An integer that does something when it is asked for."""

    def __init__(self, do, number: int = 1) -> None:
        self.do, self.number = do, number

    def __index__(self) -> int:
        self.do()
        return self.number


@pytest.mark.parametrize(
    "access",
    [
        lambda d, index: d.CTRL.write(index),
        lambda d, index: d.CTRL.modify(EN=index),
        lambda d, index: d.CTRL.modify({"EN": index}),
        lambda d, index: d.CTRL.wait(EN=index),
        lambda d, index: setattr(d.CTRL, "EN", index),
        lambda d, index: d.CH[index].CTRL.write(1),
        lambda d, index: d.regions.ram.write(8, index),
        lambda d, index: d.regions.ram.write(index, 0, width=8),
        lambda d, index: d.regions.ram.read(index, width=8),
        lambda d, index: d.regions.ram.read_into(bytearray(8), index, width=8),
        lambda d, index: d.regions.ram.view(offset=0, size=index),
    ],
)
def test_a_number_that_closes_the_device_when_it_is_asked_for(kit, access):
    with pytest.raises(devregs.AccessError, match=CLOSED):
        access(kit, Index(kit.close))


def test_a_number_that_writes_the_same_register_when_it_is_asked_for(kit):
    """No lock is held while Python code runs, and what it wrote is not lost."""
    kit.CTRL.write(0)
    index = Index(lambda: kit.CTRL.modify(COUNT=7))
    for access in (
        lambda: kit.CTRL.modify(EN=index),
        lambda: kit.CTRL.modify({"EN": index}),
        lambda: setattr(kit.CTRL, "EN", index),
        lambda: kit["CTRL"].__setitem__("EN", index),
    ):
        kit.CTRL.write(0)
        access()
        assert kit.CTRL.read() == 0x0007_0001


@pytest.mark.parametrize(
    "access",
    [
        lambda d, index: d.CTRL.write(index),
        lambda d, index: d.CTRL.modify(EN=index),
        lambda d, index: setattr(d.CTRL, "EN", index),
        lambda d, index: d.CTRL.decode(index),
        lambda d, index: d.CH[index],
        lambda d, index: d.regions.ram.read(index),
        lambda d, index: d.regions.ram.read(0, width=index),
    ],
)
def test_what_an_index_method_raises_comes_through(kit, access):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        access(kit, Index(interrupt))
    with pytest.raises(TypeError):
        access(kit, Index(lambda: None, "1"))


def test_a_mapping_that_changes_while_it_is_read(kit):
    class Forgetful:
        """Promises a key that is gone when it is asked for."""

        def keys(self) -> list[str]:
            return ["EN"]

        def __getitem__(self, name: str) -> int:
            raise KeyError(name)

    with pytest.raises(KeyError, match="EN"):
        kit.CTRL.modify(Forgetful())
    fields: dict[str, object] = {"EN": Index(lambda: fields.clear(), 0), "MODE": 7}
    kit.CTRL.modify(fields)
    assert (kit.CTRL.EN, kit.CTRL.MODE, fields) == (0, 7, {})


def test_an_enum_that_cannot_be_made_is_an_exception_and_made_the_next_time(kit_path, monkeypatch):
    class Refused(Exception):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise Refused

    with devregs.mock(devregs.load(kit_path)) as device:
        with monkeypatch.context() as patch:
            patch.setattr(_values, "NamedValue", refuse)
            for access in (
                lambda: device.CTRL.MODE,
                lambda: device.CTRL.decode(0),
                lambda: type(device.CTRL).MODE.values,
            ):
                with pytest.raises(Refused):
                    access()
            device.CTRL.MODE = "TURBO"
        assert device.CTRL.MODE.name == "TURBO"


# Forks, file descriptors, interpreters.


def test_a_child_uses_and_closes_the_device_and_its_parent_goes_on(kit_path):
    script = """
    import os
    device = devregs.mock(kit)
    view = device.regions.ram.view()
    child = os.fork()
    if child == 0:
        device.CTRL.COUNT = 7
        view[0] = 7
        view.release()
        device.close()
        sys.exit(0 if device.closed else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not device.closed
    assert (device.CTRL.COUNT, view[0]) == (7, 7)
    device.CTRL.COUNT = 8
    view.release()
    device.close()
    """
    run(script, kit_path)
    run(script, kit_path, "-X", "dev")


def test_every_file_descriptor_closed_by_somebody_else(kit_path):
    """A mapping needs none. Those who take the numbers afterwards keep their files."""
    script = """
    import os
    devices = [devregs.mock(kit), devregs.mock(kit)]
    os.closerange(3, 1024)
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
    for device in devices:
        device.CTRL.EN = 0
        assert device.CTRL.read() == 0x8001_0030
        view = device.regions.ram.view()
        view[0] = 1
        view.release()
    devices.pop().close()
    devices.clear()
    for file in files:
        os.fstat(file)
    devregs.mock(kit).close()
    """
    run(script, kit_path, "-X", "dev")


def test_a_subinterpreter_is_refused_clearly(kit_path):
    inside = """
try:
    import devregs
except ImportError as error:
    assert "subinterpreter" in str(error), error
else:
    raise AssertionError("imported")
"""
    script = f"""
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    inner = interpreters.create()
    assert interpreters.run_string(inner, {inside!r}) is None
    interpreters.destroy(inner)
    assert devregs.mock(kit).CTRL.EN == 1
    """
    run(script, kit_path)
