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

    from .restore import Restored
    from .snapshot import Snapshot
else:

    def __getattr__(name: str) -> object:
        # Imported when first used: a script that takes no snapshots starts sooner.
        if name == "Snapshot":
            from .snapshot import Snapshot

            return Snapshot
        if name == "Restored":
            from .restore import Restored

            return Restored
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


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
    "Restored",
    "Snapshot",
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
