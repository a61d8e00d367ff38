"""What each of our objects says to Python's general questions: ==, bool, len, in, iteration, hash, copies, pickle."""

from __future__ import annotations

import copy
import dataclasses
import json
import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import devregs
import pytest
from devregs.testing import read

BOARD = """
[devices.kit]
map = "kit.toml"
source = "mock:"
[devices.close]
map = "kit.toml"
source = "mock:"
"""


@pytest.fixture(scope="module")
def things(kit_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """One of each kind, by a name."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "kit.toml").write_text(kit_path.read_text())
    (folder / "board.toml").write_text(BOARD)
    with devregs.open_board(folder / "board.toml") as board:
        dev = board["kit"]
        with dev.trace() as trace:
            dev.CTRL.read()
        yield SimpleNamespace(
            board=board,
            device=dev,
            map=dev.map,
            regions=dev.regions,
            region=dev.regions.regs,
            group=dev.CH[1],
            array=dev.CH,
            register=dev.CTRL,
            field=dev.CTRL.fields[1],
            irq=dev.irq,
            trace=trace,
            access=trace[0],
            snapshot=dev.snapshot(),
            step=read("CTRL"),
            hw=dev.hw,
            hw_group=dev.hw.CH[1],
            hw_array=dev.hw.CH,
            hw_register=dev.hw.CTRL,
            hw_field=dev.hw["CTRL.EN"],
            named=dev.CTRL.MODE,
        )


HANDLES = [
    *("board", "device", "map", "regions", "region", "group", "array", "register", "field", "irq"),
    *("trace", "access", "hw", "hw_group", "hw_array", "hw_register", "hw_field"),
]
# Those that hold a value, which only a read gives.
HOLDERS = ["register", "hw_register", "hw_field"]


def test_the_table_has_every_public_class(things):
    seen = {type(thing) for thing in vars(things).values()}
    public = {getattr(devregs, name) for name in devregs.__all__}
    classes = {cls for cls in public if isinstance(cls, type) and not issubclass(cls, Exception)}
    missing = {cls for cls in classes if not any(issubclass(kind, cls) for kind in seen)}
    assert missing == {devregs.Restored}


@pytest.mark.parametrize("name", HANDLES)
def test_a_copy_is_the_same_object(things, name):
    thing = getattr(things, name)
    assert copy.copy(thing) is thing
    assert copy.deepcopy(thing) is thing
    assert copy.deepcopy([thing])[0] is thing


@pytest.mark.parametrize("name", HANDLES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_belongs_to_a_process_is_not_pickled(things, name, protocol):
    with pytest.raises(TypeError, match=r"^cannot pickle .*process"):
        pickle.dumps(getattr(things, name), protocol)


@pytest.mark.parametrize("name", HANDLES)
def test_each_is_hashable_and_equals_itself_and_nothing_else(things, name):
    thing = getattr(things, name)
    assert len({thing, thing}) == 1
    assert thing == thing
    assert (thing != thing) is False
    assert thing != object()
    assert thing != None  # noqa: E711
    assert thing == mock.ANY
    assert thing == mock.ANY
    assert thing in [object(), thing]
    assert thing not in [object(), None]
    others = [getattr(things, other) for other in HANDLES if other != name]
    assert thing not in others


@pytest.mark.parametrize("name", HOLDERS)
@pytest.mark.parametrize("other", [3, 3.0, True, "FAST"])
def test_what_holds_a_value_is_never_compared_with_one(things, name, other):
    holder = getattr(things, name)
    for ask in (
        lambda: holder == other,
        lambda: other == holder,
        lambda: holder != other,
        lambda: other != holder,
        lambda: other in [holder],
        lambda: [holder].index(other),
        lambda: {"A": holder} == {"A": other},
    ):
        with pytest.raises(TypeError, match=r"CTRL.*read\(\)"):
            ask()
    for ask in (lambda: holder < other, lambda: other >= holder):
        with pytest.raises(TypeError, match=r"read\(\)|not supported"):
            ask()


def test_a_register_has_no_order_and_no_sum(things):
    for ask in (
        lambda: things.register < things.register,
        lambda: sorted([things.register, things.device.STATUS]),
        lambda: things.register + 1,
        lambda: things.register & 1,
        lambda: int(things.register),
        lambda: f"{things.register:#x}",
    ):
        with pytest.raises(TypeError):
            ask()
    with pytest.raises(TypeError, match=r"kit\.CTRL\.read\(\)"):
        _ = things.register < 3


@pytest.mark.parametrize("name", HOLDERS)
def test_what_holds_a_value_has_no_truth(things, name):
    holder = getattr(things, name)
    for ask in (
        lambda: bool(holder),
        lambda: not holder,
        lambda: holder or 1,
        lambda: any([holder]),
    ):
        with pytest.raises(TypeError, match=r"CTRL.*neither true nor false.*read\(\)"):
            ask()


@pytest.mark.parametrize("name", [name for name in HANDLES if name not in HOLDERS])
def test_all_else_is_true_where_it_is_there(things, name):
    assert bool(getattr(things, name)) is True


def test_a_device_without_registers_is_true(tmp_path):
    path = tmp_path / "bare.toml"
    path.write_text('[device]\nname = "bare"\n[regions.r]\nsize = 4\n')
    with devregs.mock(path) as dev:
        assert len(dev) == 0
        assert dev
        assert dev.hw
    with devregs.open(path, f"file:{path}") as dev:
        assert not dev.hw


def test_a_field_is_no_number_and_no_name(things):
    for other in (1, "MODE"):
        with pytest.raises(TypeError, match=r"CTRL\.MODE.*\.name"):
            _ = things.field == other


def test_registers_are_keys_and_parts_of_dataclasses(things):
    @dataclasses.dataclass(frozen=True)
    class Driver:
        control: Any
        status: Any

    dev = things.device
    driver = Driver(dev.CTRL, dev.STATUS)
    assert driver == Driver(dev["CTRL"], dev["STATUS"])
    assert driver != Driver(dev.STATUS, dev.CTRL)
    assert dataclasses.asdict(driver) == {"control": dev.CTRL, "status": dev.STATUS}
    assert {dev.CTRL: 1, dev.STATUS: 2}[dev["STATUS"]] == 2
    call = mock.Mock()
    call(dev.CTRL)
    call.assert_called_once_with(dev.CTRL)


def test_the_same_register_of_two_devices_is_two(kit_map):
    with devregs.mock(kit_map) as one, devregs.mock(kit_map) as two:
        assert one.CTRL != two.CTRL
        assert one.regions.regs != two.regions.regs
        assert one.hw.CTRL != two.hw.CTRL
        assert one.hw != two.hw
        assert one.CH[0].DATA[1] != two.CH[0].DATA[1]


def test_an_element_made_anew_is_the_same_register(tmp_path):
    path = tmp_path / "long.toml"
    path.write_text(
        '[device]\nname = "long"\n[regions.r]\nsize = 0x80000\n'
        "registers.R = { offset = 0, count = 0x20000, access = 'ro' }\n"
    )
    with devregs.mock(path) as dev:
        list(dev.R)
        last = dev.R[-1]
        assert last == dev.R[0x1FFFF] == dev["R[131071]"]
        assert hash(last) == hash(dev.R[-1])
        assert last in dev.R
        assert last != dev.R[-2]


def test_a_region_and_a_hardware_side_made_anew_are_the_same(things):
    dev = things.device
    assert dev.CTRL.region == dev.regions.regs
    assert dev.STATUS.region in [dev.regions.regs]
    assert dev.hw == dev.hw
    assert dev.hw["CTRL"] == dev.hw.CTRL
    assert dev.hw.CTRL != dev.hw.STATUS


def test_a_named_value_is_a_number_and_never_text(things):
    named = things.named
    assert named == 3
    assert named in (2, 3)
    assert named != 2
    assert 2 < named <= 3
    assert {3: "three"}[named] == "three"
    assert named.name == "FAST"
    assert json.dumps({"mode": named}) == '{"mode": 3}'
    for ask in (
        lambda: named == "FAST",
        lambda: named != "FAST",
        lambda: "FAST" == named,  # noqa: SIM300
        lambda: named in ("SLOW", "FAST"),
        lambda: named < "FAST",
    ):
        with pytest.raises(TypeError, match=r"MODE.*\.name"):
            ask()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_named_value_is_pickled_as_its_number(things, protocol):
    back = pickle.loads(pickle.dumps(things.named, protocol))
    assert type(back) is int
    assert back == 3
    decoded = pickle.loads(pickle.dumps(things.register.decode(0x31), protocol))
    assert decoded == {"EN": 1, "MODE": 3, "COUNT": 0}


def test_a_named_value_is_copied_as_itself(things):
    assert copy.copy(things.named) is things.named
    assert copy.deepcopy({"a": things.named})["a"] is things.named


def test_a_named_value_goes_to_another_process(things):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(abs, [things.named]) == [3]
        with pytest.raises(TypeError, match="cannot pickle"):
            pool.map(abs, [things.register])


@pytest.mark.parametrize(
    ("name", "names", "absent"),
    [
        ("board", ["kit", "close"], "kti"),
        ("regions", ["regs", "effects"], "reg"),
        ("device", ["CTRL", "class", "CH", "CTRL.EN", "CH[3].CTRL", "CH[3].CTRL.EN"], "CTRL.NE"),
        ("group", ["CTRL", "DATA", "DATA[1]", "DMA.ADDR"], "CH"),
        ("hw", ["CTRL", "CH[3]", "CTRL.EN"], "CTLR"),
        ("hw_group", ["CTRL", "DMA"], "CH"),
    ],
)
def test_containers_answer_by_name(things, name, names, absent):
    holder = getattr(things, name)
    with things.device.trace() as log:
        assert all(name in holder for name in names)
        assert absent not in holder
        listed = list(holder)
        assert len(holder) == len(listed)
        assert all(isinstance(name, str) and name in holder for name in listed)
        assert set(listed) >= {name for name in names if name.isidentifier()}
        for wrong in (3, things.register, None):
            with pytest.raises(TypeError, match="str is needed"):
                _ = wrong in holder
    assert len(log) == 0


@pytest.mark.parametrize("name", ["board", "regions"])
def test_what_holds_devices_or_regions_is_a_mapping(things, name):
    holder = getattr(things, name)
    assert list(holder.keys()) == list(holder)
    assert dict(holder) == dict(holder.items()) == dict(zip(holder, holder.values(), strict=True))


def test_a_register_answers_by_field_and_is_gone_through_by_nobody(things):
    assert "EN" in things.register
    assert "NE" not in things.register
    with pytest.raises(TypeError, match="str is needed"):
        _ = 1 in things.register
    for ask in (iter, list, len, tuple, dict):
        with pytest.raises(TypeError):
            ask(things.register)


@pytest.mark.parametrize("name", ["array", "hw_array"])
def test_an_array_is_a_sequence_of_its_elements(things, name):
    array = getattr(things, name)
    elements = list(array)
    assert len(array) == len(elements) == 8
    assert list(array[2:5]) == elements[2:5]
    assert list(array[::-3]) == elements[::-3]
    assert array[-1] == elements[-1]
    assert elements[3] in array
    assert things.register not in array
    assert list(map(repr, array)) == list(map(repr, elements))
    with pytest.raises(IndexError, match=r"8|0 to 7"):
        array[8]
    with pytest.raises(IndexError, match=r"8|0 to 7"):
        array[-9]


def test_an_array_is_gone_through_both_ways(things):
    array = things.array
    assert [element.path for element in reversed(array)] == [f"CH[{at}]" for at in range(7, -1, -1)]
    walk = iter(array)
    assert next(walk).path == "CH[0]"
    assert iter(walk) is walk
    assert len(list(walk)) == 7
    assert next(walk, None) is None
    for wrong in (3, "CH[0]"):
        with pytest.raises(TypeError, match=r"elements of kit\.CH"):
            _ = wrong in array


def test_an_element_from_the_end_is_reached_from_the_hardware_side_too(kit_map):
    with devregs.mock(kit_map) as dev:
        dev.hw.CH[-1].CTRL.EN = 1
        assert dev.CH[7].CTRL.EN == 1
        dev.hw.CH[1].DATA[-1] = 5
        assert dev.CH[1].DATA[1].read() == 5
        assert [element.read() for element in dev.hw.CH[1].DATA[:]] == [0, 5]


def test_asking_the_hardware_side_for_a_field_reads_nothing(kit_map):
    with devregs.mock(kit_map) as dev:
        dev.hw.MIXED.EVENT = 1
        with dev.trace() as log:
            field = dev.hw["MIXED.EVENT"]
            assert field.read() == 1
        assert len(log) == 0
        assert dev.hw.MIXED.EVENT == 1


def test_the_class_of_an_object_stays(things):
    for name in ("register", "field", "group", "device", "array", "region"):
        thing = getattr(things, name)
        before = thing.__class__
        with pytest.raises((AttributeError, TypeError)):
            thing.__class__ = type(things.device.STATUS)
        assert thing.__class__ is before


def test_snapshots_are_compared_by_value_and_pickled(kit_map):
    with devregs.mock(kit_map) as dev:
        before, again = dev.snapshot(), dev.snapshot()
        assert before == again
        assert before == dict(before)
        back = pickle.loads(pickle.dumps(before))
        assert back == before
        assert not back.diff(before)
        assert (back.name, back.time, back.source) == (before.name, before.time, before.source)
        assert back.skipped == before.skipped
        assert back["CTRL.MODE"].name == "FAST"
        assert copy.deepcopy(before) is before
        dev.CTRL.EN ^= 1
        assert dev.snapshot() != before
        diff = pickle.loads(pickle.dumps(before.diff(dev.snapshot())))
        assert diff[0].path == "CTRL"
        with pytest.raises(TypeError, match="unhashable"):
            hash(before)


def test_errors_are_pickled_with_what_they_know(kit_map):
    with devregs.mock(kit_map) as dev:
        dev.hw.CTRL.fail()
        with pytest.raises(devregs.BusError) as caught:
            dev.CTRL.read()
    back = pickle.loads(pickle.dumps(caught.value))
    assert type(back) is devregs.BusError
    assert str(back) == str(caught.value)
    assert vars(back) == vars(caught.value)
    assert back.at == "kit.CTRL"
