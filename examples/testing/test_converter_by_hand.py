"""The test plays the device: it sets what the driver will find, answers writes, and breaks things."""

import devregs
import pytest
from converter import OutOfRange, measure


@pytest.fixture
def converter(converter):
    """Without an answer of its own: whatever the map's rules do, the device stays ready and holds 7."""
    converter.hw.STATUS.stick(1)
    converter.hw.DATA.stick(7)
    return converter


def test_the_value_is_what_the_device_holds(converter):
    assert measure(converter) == 7


def test_the_gain_is_set_before_the_start(converter):
    gains = []

    @converter.hw["CTRL"].on_write
    def written(value: int) -> None:
        fields = converter.CTRL.decode(value)
        if fields["START"]:
            gains.append(fields["GAIN"])

    measure(converter, gain="X4")
    assert gains == [1]


def test_a_device_that_never_gets_ready(converter):
    converter.hw.STATUS.stick(0)
    with pytest.raises(devregs.WaitTimeout, match="READY"):
        measure(converter)


def test_out_of_range(converter):
    converter.hw.STATUS.stick(0b11)
    with pytest.raises(OutOfRange):
        measure(converter)


def test_a_device_that_is_gone(converter):
    converter.hw.vanish()
    with pytest.raises(devregs.BusError, match="CTRL"):
        measure(converter)
