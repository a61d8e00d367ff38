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
    AccessError,
    Array,
    BusError,
    Device,
    DevregsError,
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
    WaitTimeout,
    __version__,
    builtin_maps,
    load,
    load_board,
    open,
    scan,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

__all__ = [
    "GUARDED",
    "AccessError",
    "Array",
    "Board",
    "BusError",
    "Device",
    "DevregsError",
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


def mock(map: str | PathLike[str] | Map) -> Device:
    """Open a device over private memory that starts with the map's reset values.

    `map` is a map's name in the library, a file, or a Map. Raises MapError where there is no such
    map or it is wrong.
    """
    return open(map, "mock:")
