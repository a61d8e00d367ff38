"""Registers of devices, as Python sees them: one call, one access on the bus.

    import devregs

    with devregs.open("pl061", "uio:labgpio") as gpio:
        gpio.DIR.write(0x0F)
        print(gpio.DATA)

`python -m devregs --help` tells of the command line.
"""

from __future__ import annotations

from ._board import Board, mock_board, open_board
from ._devregs import (
    GUARDED,
    TRAPS,
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
    keep_guard,
    load,
    load_board,
    mock,
    open,
    scan,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import coverage
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
        if name == "coverage":
            import importlib

            return importlib.import_module(".coverage", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "GUARDED",
    "TRAPS",
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
    "Restored",
    "Snapshot",
    "SourceError",
    "Trace",
    "WaitTimeout",
    "__version__",
    "builtin_maps",
    "coverage",
    "keep_guard",
    "load",
    "load_board",
    "mock",
    "mock_board",
    "open",
    "open_board",
    "scan",
]
