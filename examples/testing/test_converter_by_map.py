"""The device behaves as its map says: the test uses the driver and looks at what comes out."""

import pytest
from converter import OutOfRange, measure


def test_a_measurement(converter):
    assert measure(converter) == 0x123


def test_gain(converter):
    assert measure(converter, gain="X4") == 0x48C


def test_it_takes_as_long_as_the_device(converter):
    before = converter.hw.time
    measure(converter)
    assert converter.hw.time - before >= 2e-3


def test_out_of_range_is_told_and_cleared(converter):
    with pytest.raises(OutOfRange, match="gain X16"):
        measure(converter, gain="X16")
    assert converter.STATUS.OVER == 0
    assert measure(converter, gain="X1") == 0x123
