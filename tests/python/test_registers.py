"""Registers: read, write, modify, and what is refused."""

from __future__ import annotations

import devregs
import pytest


def test_read_and_write(kit):
    assert kit.CTRL.read() == 0x8001_0031
    kit.CTRL.write(0xFFFF_FFFF)
    assert kit.CTRL.read() == 0xFFFF_FFFF
    kit.CTRL.write(0)
    assert kit.CTRL.read() == 0


@pytest.mark.parametrize(
    ("path", "width"), [("CTRL", 32), ("BIG", 64), ("BIGSPLIT", 64), ("SMALL[2]", 8), ("HALF", 16)]
)
def test_every_width_holds_its_whole_range(kit, path, width):
    register = kit[path]
    assert register.width == width
    for value in (
        0,
        1,
        1 << (width - 1),
        (1 << width) - 1,
        0x0123_4567_89AB_CDEF & ((1 << width) - 1),
    ):
        register.write(value)
        assert register.read() == value


@pytest.mark.parametrize("value", [-1, 1 << 32, 1 << 64, 1 << 200, -(1 << 70)])
def test_values_that_do_not_fit_are_refused(kit, value):
    before = kit.CTRL.read()
    with pytest.raises(devregs.MapError, match=r"kit\.CTRL.*does not fit 32 bits"):
        kit.CTRL.write(value)
    assert kit.CTRL.read() == before


@pytest.mark.parametrize("value", [1.0, "1", None, b"1", [1]])
def test_values_of_another_type_are_refused(kit, value):
    with pytest.raises(TypeError, match=r"kit\.CTRL"):
        kit.CTRL.write(value)


def test_anything_with_index_is_a_number(kit):
    class Index:
        def __index__(self):
            return 0x55

    kit.CTRL.write(Index())
    assert kit.CTRL.read() == 0x55
    kit.CTRL.write(True)
    assert kit.CTRL.read() == 1


def test_bytes_lie_as_the_byte_order_says(kit):
    kit.HALF.write(0x1234)
    assert [kit.regions.regs.read(0x38 + i, width=8) for i in (0, 1)] == [0x12, 0x34]
    kit.CTRL.write(0x1234_5678)
    assert [kit.regions.regs.read(i, width=8) for i in range(4)] == [0x78, 0x56, 0x34, 0x12]
    kit.BIGSPLIT.write(0x1122_3344_5566_7788)
    assert kit.regions.regs.read(0x2C) == 0x5566_7788
    assert kit.regions.regs.read(0x30) == 0x1122_3344


def test_read_only_registers_refuse_writes_by_name(kit):
    with pytest.raises(devregs.AccessError, match=r"kit\.ID: is read-only"):
        kit.ID.write(1)
    assert kit.ID.read() == 0x61


def test_write_only_registers_refuse_reads(bare):
    with pytest.raises(devregs.AccessError, match=r"kit\.COMMAND: is write-only"):
        bare.COMMAND.read()
    with pytest.raises(devregs.AccessError, match=r"kit\.COMMAND\.CODE: is write-only"):
        _ = bare.COMMAND.CODE
    bare.COMMAND.write(0x1FF)
    assert bare.regions.regs.read(0x08) == 0x1FF


def test_modify_keeps_the_other_fields(kit):
    kit.CTRL.modify(EN=0, MODE=7)
    assert kit.CTRL.read() == 0x8001_0070
    kit.CTRL.modify(MODE="FAST")
    assert kit.CTRL.read() == 0x8001_0030
    kit.CTRL.modify({"COUNT": 0x1234}, EN=1)
    assert kit.CTRL.read() == 0x1234_0031
    kit.CTRL.modify(**{"MO" + "DE": 0})  # a name that is not interned
    assert kit.CTRL.read() == 0x1234_0001


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"EN": 2}, devregs.MapError, r"kit\.CTRL\.EN: 0x2 does not fit 1 bits"),
        ({"EN": -1}, devregs.MapError, r"kit\.CTRL\.EN"),
        (
            {"MODE": "FATS"},
            devregs.MapError,
            r"'?\"FATS\" is none of its values: SLOW, FAST, TURBO",
        ),
        ({"MODES": 1}, devregs.MapError, r"no field \"MODES\"; did you mean \"MODE\""),
        ({"EN": "ON"}, devregs.MapError, r"no names"),
        ({"EN": None}, TypeError, r"kit\.CTRL\.EN"),
        ({}, TypeError, r"needs a field"),
    ],
)
def test_modify_refuses_what_is_wrong_and_writes_nothing(kit, fields, error, message):
    before = kit.CTRL.read()
    with pytest.raises(error, match=message):
        kit.CTRL.modify(**fields)
    assert kit.CTRL.read() == before


def test_modify_refuses_a_read_only_field(kit):
    with pytest.raises(devregs.AccessError, match=r"kit\.STATUS\.READY: is read-only"):
        kit.STATUS.modify(READY=1)


def test_a_field_given_twice_is_refused(kit):
    with pytest.raises(devregs.MapError, match="EN is given twice"):
        kit.CTRL.modify({"EN": 1}, EN=0)


def test_neutral_values_spare_the_neighbours(bare):
    raw = bare.regions.regs
    raw.write(0x04, 0x0001_5502)  # ERROR is pending, DONE is not
    bare.STATUS.LEVEL = 0xAA
    # ERROR (one to clear) gets 0, DONE (zero to clear) gets 1, GO (clears itself) gets 0, READY is kept.
    assert raw.read(0x04) == 0x0000_AA04
    bare.STATUS.ERROR = 1
    assert raw.read(0x04) == 0x0000_AA06


def test_a_write_only_register_is_written_without_a_read(bare):
    bare.ACK.A = 1
    assert bare.regions.regs.read(0x0C) == 1
    bare.ACK.B = 1
    assert bare.regions.regs.read(0x0C) == 2


def test_what_cannot_be_spared_is_refused_with_the_remedy(bare):
    bare.regions.regs.write(0x08, 0)
    with pytest.raises(
        devregs.AccessError, match=r"also write FLAG.*cannot be read.*modify\(\).*encode"
    ):
        bare.COMMAND.CODE = 1
    assert bare.regions.regs.read(0x08) == 0
    bare.COMMAND.modify(CODE=5, FLAG=1)
    assert bare.regions.regs.read(0x08) == 0x105
    bare.COMMAND.write(bare.COMMAND.encode(CODE=6))
    assert bare.regions.regs.read(0x08) == 6
    with pytest.raises(
        devregs.AccessError, match="also write ANY, and any write to it has an effect"
    ):
        bare.KICK.LEVEL = 1
    bare.KICK.modify(LEVEL=1, ANY=0)


def test_a_register_whose_read_has_an_effect_is_not_read_for_a_field(bare):
    with pytest.raises(devregs.AccessError, match=r"also write ENABLE.*side effect"):
        bare.MIXED.CLEAR = 1
    bare.MIXED.modify(CLEAR=1, ENABLE=1)
    assert bare.regions.effects.read(0x4) == 0x300


def test_alias_registers_act_where_the_map_names_them(tmp_path):
    """Over plain memory the alias holds what was stored to it."""
    path = tmp_path / "alias.toml"
    path.write_text(
        '[device]\nname = "alias"\n[regions.r]\nsize = 64\n'
        "[regions.r.registers]\n"
        'OUT = { offset = 0, count = 2, set-alias = "SET", clear-alias = "CLR", fields = { A = 0, B = "7:4" } }\n'
        'SET = { offset = 16, count = 2, access = "wo" }\n'
        'CLR = { offset = 32, count = 2, access = "wo" }\n'
    )
    (tmp_path / "memory").write_bytes(bytes(64))
    with devregs.open(path, f"file:{tmp_path}/memory") as device:
        out, raw = device.OUT[1], device.regions.r
        out.modify(A=1, B=15)
        assert (raw.read(16), raw.read(20), out.read()) == (0, 0xF1, 0)
        out.modify(A=0, B=0)
        assert (raw.read(36), out.read()) == (0xF1, 0)
        out.modify(A=1, B=0)  # both ways at once: by reading and writing
        assert out.read() == 1
        with pytest.raises(devregs.MapError):
            out.modify(A=2)


def test_encode_and_decode_touch_nothing(kit):
    before = kit.CTRL.read()
    assert kit.CTRL.encode(MODE="TURBO") == 0x8001_0071
    assert kit.CTRL.decode(0x0002_0030) == {"EN": 0, "MODE": 3, "COUNT": 2}
    assert repr(kit.CTRL.decode(0x30)["MODE"]) == "<MODE.FAST: 3>"
    assert kit.STATUS.encode() == 0b100  # the neutral value of DONE, which a zero clears
    assert kit.CTRL.read() == before


def test_what_a_register_says_of_itself(kit):
    register = kit.CTRL
    assert (register.name, register.path, register.offset, register.width) == (
        "CTRL",
        "CTRL",
        0,
        32,
    )
    assert (register.access, register.reset, register.doc) == ("rw", 0x8001_0031, "Control")
    assert register.address is None
    assert [field.name for field in register.fields] == ["EN", "MODE", "COUNT"]
    assert register.readable
    assert register.writable
    assert register.read_effect is None
    assert "FIFO" in kit.POP.read_effect
    assert "EVENT" in kit.MIXED.read_effect
    assert kit.CH[3].DMA.ADDR.path == "CH[3].DMA.ADDR"
    assert kit.CH[3].DMA.ADDR.offset == 0x100 + 3 * 0x20 + 0x10
    assert repr(register) == "<kit.CTRL 32-bit rw at regs+0x0>"


def test_a_register_is_made_by_opening_a_device():
    with pytest.raises(TypeError, match=r"devregs\.open"):
        devregs.Register(5)


def test_calls_with_wrong_arguments(kit):
    with pytest.raises(TypeError):
        kit.CTRL.read(1)
    with pytest.raises(TypeError):
        kit.CTRL.write()
    with pytest.raises(TypeError):
        kit.CTRL.write(1, 2)
    with pytest.raises(TypeError):
        kit.CTRL.modify({}, {})
    with pytest.raises(TypeError):
        devregs.Register.read(5)


def test_use_after_close(kit_map):
    device = devregs.mock(kit_map)
    register, array, region = device.CTRL, device.CH, device.regions.regs
    device.close()
    device.close()
    assert device.closed
    for use in (
        register.read,
        lambda: register.write(1),
        lambda: register.EN,
        lambda: setattr(register, "EN", 1),
        lambda: register.modify(EN=1),
        lambda: register.wait(EN=1, timeout=0),
        lambda: array[0].CTRL.read(),
        lambda: region.read(0),
        lambda: region.write(0, 0),
        lambda: region.read_into(bytearray(4)),
        lambda: region.write_from(bytes(4)),
        region.view,
    ):
        with pytest.raises(devregs.AccessError, match="closed"):
            use()


def test_registers_outlive_the_device_object(kit_map):
    register = devregs.mock(kit_map).CTRL
    assert register.read() == 0x8001_0031
