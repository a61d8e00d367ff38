"""A hook may hold anything of its device: the collector ends the ring, and nobody's hook before that."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import devregs
import pytest
from devregs.testing import anything, expect, read

MAP = """
[device]
name = "m"
[regions.r]
size = 0x1000
registers.A = { offset = 0, fields.LO = "15:0" }
registers.ARR = { offset = 0x100, count = 16 }
registers.FIFO = { offset = 0x20, fifo = 4 }
[regions.r.groups.CH]
offset = 0x200
count = 4
stride = 0x10
registers.B = { offset = 0 }
[regions.plain]
size = 0x1000
offset = 0x1000
"""


class Sign:
    """Something whose end is seen."""


def started(dev: Any) -> Any:
    log = dev.trace()
    log.start()
    return log


def stepped(iterator: Any) -> Any:
    next(iterator)
    return iterator


def waiting(dev: Any) -> Any:
    """An asynchronous iterator in the middle of a wait that was called off."""
    events = dev.irq.__aiter__()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(events.__anext__(), 0.001)

    asyncio.run(main())
    return events


def expecting(dev: Any) -> Any:
    block = expect(dev, anything(), read("A"))
    block.__enter__()
    return block


def recursive(dev: Any) -> Any:
    """A hook that another hook of the same device holds."""

    def inner(value: int) -> None:
        dev.A.read()

    return dev.hw["ARR[1]"].on_write(inner)


HELD: dict[str, Callable[[Any], Any]] = {
    "device": lambda dev: dev,
    "register": lambda dev: dev.A,
    "its method": lambda dev: dev.A.read,
    "register by path": lambda dev: dev["CH[2].B"],
    "array": lambda dev: dev.ARR,
    "element": lambda dev: dev.ARR[3],
    "group": lambda dev: dev.CH[1],
    "group array": lambda dev: dev.CH,
    "regions": lambda dev: dev.regions,
    "region": lambda dev: dev.regions.plain,
    "region of a register": lambda dev: dev.A.region,
    "view": lambda dev: dev.regions.plain.view(),
    "part of a view": lambda dev: dev.regions.plain.view()[4:8],
    "trace": lambda dev: dev.trace(),
    "trace under way": started,
    "access of a trace": lambda dev: [*started(dev)],
    "iterator": lambda dev: dev.registers(),
    "iterator under way": lambda dev: stepped(dev.registers()),
    "iterator in an array": lambda dev: [stepped(it) for it in [dev.registers()] for _ in range(9)],
    "interrupt": lambda dev: dev.irq,
    "events of the interrupt": lambda dev: dev.irq.__aiter__(),
    "wait that was called off": waiting,
    "hardware side": lambda dev: dev.hw,
    "part of the hardware side": lambda dev: dev.hw["CH[1]"],
    "expectation": expecting,
    "snapshot": lambda dev: (dev, dev.snapshot()),
    "board": lambda dev: [dev, {"dev": dev}],
    "another hook": recursive,
}


@pytest.fixture(scope="module")
def device_map(tmp_path_factory: pytest.TempPathFactory) -> devregs.Map:
    path = tmp_path_factory.mktemp("maps") / "m.toml"
    path.write_text(MAP)
    return devregs.load(path)


def hooked(device_map: devregs.Map, held: Callable[[Any], Any], calls: list[int]) -> Any:
    """A device whose hook holds something of it, and a sign."""
    dev = devregs.mock(device_map)
    sign, part = Sign(), held(dev)

    def hook(value: int, held: Any = (sign, part)) -> None:
        calls.append(value)

    dev.hw["A"].on_write(hook)
    return dev, weakref.ref(sign)


def mappings() -> int:
    return Path("/proc/self/maps").read_text().count("devregs-mock")


@pytest.mark.parametrize("what", HELD)
def test_a_dropped_device_is_gone(device_map, what):
    def one() -> list[weakref.ref[Any]]:
        dev, sign = hooked(device_map, HELD[what], [])
        return [sign, weakref.ref(dev)]

    one()
    gc.collect()
    before = mappings()
    signs = [sign for _ in range(20) for sign in one()]
    gc.collect()
    assert [sign() for sign in signs if sign() is not None] == []
    assert mappings() == before


@pytest.mark.parametrize(
    "what",
    ["device", "register", "register by path", "array", "group", "iterator", "hardware side"],
)
def test_a_hook_lives_as_long_as_something_reaches_the_device(device_map, what):
    """Whatever is left, and whatever the collector does meanwhile."""
    calls: list[int] = []
    dev, sign = hooked(device_map, lambda dev: dev.A, calls)
    parts = [HELD[what](dev)]
    del dev
    gc.collect()
    assert sign() is not None
    if what == "device":
        parts[0].A.write(1)
        assert calls == [1]
    if what == "register":
        parts[0].write(1)
        assert calls == [1]
    parts.clear()
    gc.collect()
    assert sign() is None


def test_a_hook_lives_while_only_a_region_or_trace_is_left(device_map):
    calls: list[int] = []
    dev, sign = hooked(device_map, lambda dev: None, calls)
    region, log = dev.regions.r, started(dev)
    del dev
    gc.collect()
    region.write(0, 5)
    assert calls == [5]
    del region
    gc.collect()
    assert sign() is not None
    assert len(log) == 1
    del log
    gc.collect()
    assert sign() is None


def test_the_collector_takes_the_hooks_of_a_device_that_runs_them_not(device_map):
    """In a hook that lets the last name of its own device go, and collects."""
    calls: list[int] = []
    dev = devregs.mock(device_map)
    names = {"dev": dev}

    def hook(value: int) -> None:
        names.clear()
        gc.collect()
        calls.append(value)

    dev.hw["A"].on_write(hook)
    write = dev.A.write
    del dev
    write(3)
    write(4)
    assert calls == [3, 4]


def test_an_expectation_that_failed_keeps_nothing(device_map):
    signs = []

    def one() -> None:
        dev, sign = hooked(device_map, lambda dev: dev.A, [])
        signs.append(sign)
        with pytest.raises(devregs.ExpectationError), expect(dev, read("A")):
            dev.A.write(1)

    for _ in range(5):
        one()
    gc.collect()
    assert [sign() for sign in signs if sign() is not None] == []


def test_devices_of_a_board_are_gone_with_it(device_map, tmp_path):
    (tmp_path / "m.toml").write_text(MAP)
    board_file = tmp_path / "board.toml"
    board_file.write_text(
        '[devices.a]\nmap = "m.toml"\nsource = "uio:a"\n[devices.b]\nmap = "m.toml"\nsource = "uio:b"\n'
    )
    signs = []

    def one() -> None:
        board = devregs.mock_board(board_file)
        sign = Sign()
        # Each holds the board, which holds both.
        board.a.hw["A"].on_write(lambda value, held=(board, sign): None)
        board.b.hw["A"].on_read(lambda value, held=(board, sign): None)
        signs.append(weakref.ref(sign))

    for _ in range(10):
        one()
    gc.collect()
    assert [sign() for sign in signs if sign() is not None] == []
