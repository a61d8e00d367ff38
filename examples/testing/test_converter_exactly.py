"""Each access of the driver is expected, in its order, and no other: for what the bus must see exactly so."""

from converter import measure
from devregs.testing import read, write


def test_the_accesses_of_a_measurement(converter, devregs_expect):
    devregs_expect(
        converter,
        read("CTRL"),
        write("CTRL", EN=1, GAIN="X1", START=0),
        read("CTRL"),
        write("CTRL", EN=1, START=1),
        read("STATUS", READY=0).times(0, None),
        read("STATUS", READY=1),
        read("STATUS", OVER=0),
        read("DATA"),
    )
    measure(converter)


def test_a_read_may_be_answered_by_the_test(converter, devregs_expect):
    devregs_expect(
        converter,
        read("CTRL").times(1),
        write("CTRL"),
        read("CTRL"),
        write("CTRL", START=1),
        read("STATUS", returns=1).times(2),
        read("DATA", returns=0xABC),
    )
    assert measure(converter) == 0xABC
