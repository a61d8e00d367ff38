"""Devices, groups and arrays; paths as strings."""

from __future__ import annotations

import gc
import weakref

import devregs
import pytest


def test_arrays_and_groups(kit):
    assert len(kit.CH) == 8
    for index, channel in enumerate(kit.CH):
        channel.DATA[1].write(index)
    assert [kit[f"CH[{index}].DATA[1]"].read() for index in range(8)] == list(range(8))
    assert kit.CH[-1].CTRL.path == "CH[7].CTRL"
    assert [group.path for group in kit.CH[1:6:2]] == ["CH[1]", "CH[3]", "CH[5]"]
    assert kit.CH[3] is kit.CH[3]
    assert kit.CH.stride == 0x20


def test_string_paths(kit):
    assert kit["CTRL"] is kit.CTRL
    assert kit["CH[0x3].CTRL"] is kit.CH[3].CTRL
    assert kit.CH[3]["DMA.ADDR"] is kit.CH[3].DMA.ADDR
    kit["CH[2].CTRL.EN"] = 1
    assert kit["CH[2].CTRL.EN"] == 1
    kit["CH[2].CTRL"] = 0
    assert kit.CH[2].CTRL.EN == 0


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("CTLR", devregs.MapError, 'did you mean "CTRL"'),
        ("CH[8].CTRL", IndexError, "from 0 to 7"),
        ("CH[8]", IndexError, "from 0 to 7"),
        ("CH.CTRL", devregs.MapError, r"is an array; choose one: CH\[0\]"),
        ("CTRL[0]", devregs.MapError, "takes no index"),
        ("CTRL.EN.X", devregs.MapError, "only the name of a field can follow"),
        ("CTRL.EN[0]", devregs.MapError, "only the name of a field can follow"),
        ("CH[1", devregs.MapError, "a ] is missing"),
        ("CH[x]", devregs.MapError, "no index"),
        ("CH[-1]", devregs.MapError, "no index"),
        ("CH[99999999999999999999]", devregs.MapError, "no index"),
        ("", devregs.MapError, "name is missing"),
        (".CTRL", devregs.MapError, "name is missing"),
        ("CTRL.", devregs.MapError, "name is missing"),
        ("CTRL EN", devregs.MapError, "."),
        ("CTRL\x1b[31m", devregs.MapError, "."),
        ("é", devregs.MapError, "."),
    ],
)
def test_wrong_paths(kit, path, error, message):
    with pytest.raises(error, match=message) as raised:
        _ = kit[path]
    assert "\x1b" not in str(raised.value)


def test_indices_of_another_type(kit):
    with pytest.raises(TypeError, match="an integer is needed"):
        _ = kit.CH["CTRL"]
    with pytest.raises(IndexError):
        _ = kit.CH[-9]


def test_registers_are_listed_in_order(kit):
    paths = [register.path for register in kit.registers()]
    assert paths[:4] == ["CTRL", "STATUS", "COMMAND", "ACK"]
    assert len(paths) == len(set(paths)) == 9 + 4 + 8 * 4 + 3
    assert all(kit[path].path == path for path in paths)
    assert [register.path for register in kit.CH[1].registers()] == [
        "CH[1].CTRL",
        "CH[1].DATA[0]",
        "CH[1].DATA[1]",
        "CH[1].DMA.ADDR",
    ]


def test_registers_are_not_assigned_to(kit):
    with pytest.raises(AttributeError, match=r"CTRL\.write\(value\)"):
        kit.CTRL = 5
    with pytest.raises(AttributeError, match="no part"):
        kit.NOSUCH = 5
    with pytest.raises(AttributeError):
        del kit.CTRL
    with pytest.raises(AttributeError, match="write"):
        kit.CH[0].CTRL = 1


def test_unknown_attributes(kit):
    with pytest.raises(AttributeError):
        _ = kit.CTLR
    with pytest.raises(AttributeError):
        _ = kit.CH[0].NOPE


def test_a_device_describes_itself(kit, kit_map):
    assert kit.name == "kit"
    assert kit.map is kit_map
    assert kit.source.startswith(("mock:", "file:"))
    assert not kit.closed
    assert {"CTRL", "CH", "regions", "close"} <= set(dir(kit))
    assert "class" not in {name for name in dir(kit) if name.isupper()}
    assert kit._ipython_key_completions_()[0] == "CTRL"


def test_devices_are_collected(kit_map):
    device = devregs.mock(kit_map)
    gone = weakref.ref(device)
    del device
    gc.collect()
    assert gone() is None


def test_large_arrays_cost_nothing_until_used(tmp_path):
    path = tmp_path / "huge.toml"
    path.write_text(
        '[device]\nname = "huge"\n[regions.r]\nsize = 0x2_0000_0000\n'
        "registers.A = { offset = 0, count = 0x8000_0000, fields.F = 0 }\n"
    )
    device = devregs.mock(path)
    assert len(device.A) == 1 << 31
    device.A[(1 << 31) - 1].write(5)
    assert device.A[-1].read() == 5
