"""The driver that the tests beside it are for."""

import devregs


class OutOfRange(Exception):
    """The input was too large for the gain."""


def measure(converter: devregs.Device, gain: str = "X1", timeout: float = 0.01) -> int:
    """One conversion, 0 to 4095.

    Raises OutOfRange, and WaitTimeout where the converter does not get ready within `timeout` seconds.
    """
    converter.CTRL.modify(EN=1, GAIN=gain)
    converter.CTRL.START = 1
    converter.STATUS.wait(READY=1, timeout=timeout)
    if converter.STATUS.OVER:
        converter.STATUS.OVER = 1
        raise OutOfRange(f"the input is out of range at gain {gain}")
    return converter.DATA.VALUE
