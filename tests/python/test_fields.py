"""Fields as attributes, items and descriptors."""

from __future__ import annotations

import enum

import devregs
import pytest


def test_fields_are_attributes_and_items(kit):
    assert (kit.CTRL.EN, kit.CTRL.COUNT) == (1, 0x8001)
    assert kit.CTRL["COUNT"] == 0x8001
    kit.CTRL.COUNT = 7
    kit.CTRL["EN"] = 0
    assert kit.CTRL.read() == 0x0007_0030
    assert kit.BIG.HIGH == 0
    kit.BIG.HIGH = 0xFFFF_FFFF
    assert kit.BIG.read() == 0xFFFF_FFFF_0000_0000


def test_a_field_with_values_is_an_enum_member(kit):
    mode = kit.CTRL.MODE
    assert isinstance(mode, enum.IntEnum)
    assert (mode.name, mode) == ("FAST", 3)
    kit.CTRL.MODE = "TURBO"
    assert kit.CTRL.MODE.name == "TURBO"
    kit.CTRL.MODE = type(mode).SLOW
    assert kit.CTRL.MODE == 0
    assert kit.CTRL.MODE is kit.CTRL.MODE
    assert type(kit.CTRL).MODE.values is type(mode)


def test_a_number_without_a_name_is_a_number(kit):
    kit.CTRL.MODE = 5
    assert kit.CTRL.MODE == 5
    assert type(kit.CTRL.MODE) is int


@pytest.mark.parametrize("value", [8, -1, 1 << 70])
def test_values_that_do_not_fit_are_refused(kit, value):
    before = kit.CTRL.read()
    with pytest.raises(devregs.MapError, match=r"kit\.CTRL\.MODE.*does not fit 3 bits: 0 to 0x7"):
        kit.CTRL.MODE = value
    assert kit.CTRL.read() == before


def test_unknown_fields(kit):
    with pytest.raises(AttributeError):
        _ = kit.CTRL.MOD
    with pytest.raises(AttributeError):
        kit.CTRL.MOD = 1
    with pytest.raises(devregs.MapError, match='did you mean "MODE"'):
        _ = kit.CTRL["MOD"]


def test_a_field_cannot_be_deleted(kit):
    with pytest.raises((AttributeError, TypeError)):
        del kit.CTRL.EN


def test_a_field_describes_itself(kit):
    field = type(kit.STATUS).ERROR
    assert (field.name, field.lsb, field.width, field.access) == ("ERROR", 1, 1, "rw")
    assert (field.on_read, field.on_write) == (None, "one-to-clear")
    assert field.values is None
    assert repr(field) == "<devregs.Field STATUS.ERROR [1] rw>"
    assert type(kit.MIXED).EVENT.on_read == "clear"


def test_a_field_works_on_its_own_register_only(kit):
    field = type(kit.CTRL).EN
    assert field.__get__(kit.CTRL, None) == 1
    assert field.__get__(None, type(kit.CTRL)) is field
    with pytest.raises(TypeError, match="another register"):
        field.__get__(kit.STATUS, None)
    with pytest.raises(TypeError, match="another register"):
        field.__set__(kit.STATUS, 1)
    with pytest.raises(TypeError, match="another register"):
        field.__get__(3, None)


def test_names_that_are_taken_or_no_identifiers(kit):
    register = kit["class"]
    assert register.read() == 0
    register["read"] = 1
    assert (register["read"], register.read()) == (1, 1)
    assert kit["class.WIDE"] == 0
    kit["class.WIDE"] = 3
    assert register.WIDE == 3


def test_dir_lists_the_fields(kit):
    assert {"EN", "MODE", "COUNT", "read", "write"} <= set(dir(kit.CTRL))
