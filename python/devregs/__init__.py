"""Registers of devices, as Python sees them: one call, one access on the bus.

    import devregs

    with devregs.open("pl061", "uio:labgpio") as gpio:
        gpio.DIR.write(0x0F)
        print(gpio.DATA)

`python -m devregs --help` tells of the command line.
"""

from __future__ import annotations

from ._board import Board, open_board
from ._devregs import (
    GUARDED,
    Access,
    AccessError,
    Array,
    BusError,
    Device,
    DevregsError,
    ExpectationError,
    Field,
    Group,
    Interrupt,
    Map,
    MapError,
    PyBUF_READ,
    PyBUF_WRITE,
    Region,
    Regions,
    Register,
    SourceError,
    Trace,
    WaitTimeout,
    __version__,
    builtin_maps,
    load,
    load_board,
    mock,
    open,
    scan,
)

__all__ = [
    "GUARDED",
    "Access",
    "AccessError",
    "Array",
    "Board",
    "BusError",
    "Device",
    "DevregsError",
    "ExpectationError",
    "Field",
    "Group",
    "Interrupt",
    "Map",
    "MapError",
    "PyBUF_READ",
    "PyBUF_WRITE",
    "Region",
    "Regions",
    "Register",
    "SourceError",
    "Trace",
    "WaitTimeout",
    "__version__",
    "builtin_maps",
    "load",
    "load_board",
    "mock",
    "open",
    "open_board",
    "scan",
]

