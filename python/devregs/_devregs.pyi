"""The Rust core. Users import these names from `devregs`."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from os import PathLike
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Self, SupportsIndex, final, overload

from typing_extensions import Buffer

from .hardware import Hardware
from .restore import Restored
from .snapshot import Snapshot

__version__: Final[str]
GUARDED: Final[bool]
"""Whether this build turns a fault inside an access into BusError: on x86-64, aarch64, armv7 and riscv64."""
TRAPS: Final[bool]
"""Whether a mock behaves for memoryviews too: on x86-64 with the fault guard."""
PyBUF_READ: Final[int]
PyBUF_WRITE: Final[int]

class DevregsError(Exception):
    """Base of every error of devregs."""

class MapError(DevregsError, ValueError):
    """A map is wrong, or a name, path or value does not fit the map."""

class AccessError(DevregsError, PermissionError):
    """The map, or the state of the device object, forbids the access."""

class BusError(DevregsError, OSError):
    """The bus answered an access with a fault, or a PCI function that is not there with all ones."""

    at: str
    """The device and the path in it."""
    offset: int
    """In bytes from the start of the region."""
    address: int | None
    """The physical address, where the source knows it."""
    width: int
    """In bits."""
    write: bool
    signal: int | None
    code: int | None
    reason: Literal["removed", "silent", "asleep", "not-decoding", "replaced"] | None
    """Why the device does not answer, where the system tells."""

class SourceError(DevregsError, OSError):
    """A source cannot be opened, or went away. `errno` is set where the system gave one."""

    source: str | None
    problem: str | None
    remedy: str | None
    """What to do; each is None where it is not known."""

class WaitTimeout(DevregsError, TimeoutError):
    """A wait ran out of time."""

class ExpectationError(DevregsError, AssertionError):
    """An access is not the one that was expected or recorded, or one that was did not come."""

@final
class Map:
    """A device map: what a device looks like. No hardware behind it."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str | None: ...
    @property
    def origin(self) -> str:
        """The file it came from, or `builtin:arm/pl061.toml`."""
    @property
    def warnings(self) -> list[str]:
        """What is legal but may surprise, each with its file, line and column."""
    def to_json(self) -> str:
        """The whole map, resolved, as JSON: the structure of Rust's `map::Map`."""
    def describe(self, path: str) -> dict[str, Any]:
        """What the map says of a register, such as `CH[3].CTRL`.

        `path`, `region`, `offset` (in bytes, from the start of the region), `width` (in bits), `access`,
        `read_effect` (in words), `on_write`, `fifo`, `reserved`, and `fields`, a tuple of Field. Raises MapError
        where the path leads to no register.
        """
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...

@final
class Field:
    """One field of a register class; `type(dev.CTRL).EN`, or one of `dev.CTRL.fields`. Read through its register."""

    @property
    def name(self) -> str: ...
    @property
    def lsb(self) -> int: ...
    @property
    def width(self) -> int:
        """In bits."""
    @property
    def access(self) -> str: ...
    @property
    def on_read(self) -> str | None: ...
    @property
    def on_write(self) -> str | None: ...
    @property
    def self_clear(self) -> bool: ...
    @property
    def doc(self) -> str | None: ...
    @property
    def values(self) -> type[IntEnum] | None:
        """The names of its numbers, where the map gives names."""
    def __get__(self, instance: Register | None, owner: type[Register] | None = None, /) -> Any: ...
    def __set__(self, instance: Register, value: int | str, /) -> None: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...

class Register:
    """A named register. Each has its own subclass with its fields as attributes."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str:
        """From the device: `CH[3].CTRL`."""
    @property
    def offset(self) -> int:
        """In bytes from the start of its region."""
    @property
    def address(self) -> int | None:
        """The physical address, where the source knows it."""
    @property
    def region(self) -> Region: ...
    @property
    def width(self) -> int:
        """In bits: 8, 16, 32 or 64."""
    @property
    def access(self) -> str: ...
    @property
    def reset(self) -> int | None: ...
    @property
    def doc(self) -> str | None: ...
    @property
    def fields(self) -> tuple[Field, ...]:
        """Lowest bit first."""
    @property
    def readable(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    @property
    def read_effect(self) -> str | None:
        """What a read changes, in words; None where a read changes nothing."""
    def read(self) -> int:
        """Read the register: one load."""
    def write(self, value: SupportsIndex, /) -> None:
        """Write the register: one store, no load."""
    def modify(self, fields: Mapping[str, int | str] | None = None, /, **kwargs: int | str) -> None:
        """Write some fields and keep the others: one load and one store."""
    def wait(
        self,
        fields: Mapping[str, int | str] | None = None,
        /,
        *,
        timeout: float | None = None,
        interval: float = 0.0,
        **kwargs: int | str,
    ) -> int:
        """Read until the fields have these values; return the value of the register that had them.

        `timeout` and `interval` (between reads) are in seconds. Raises WaitTimeout with what was last read.
        """
    def decode(self, value: SupportsIndex, /) -> dict[str, int]:
        """The fields of a value. Touches nothing."""
    def encode(self, fields: Mapping[str, int | str] | None = None, /, **kwargs: int | str) -> int:
        """The value with these fields over the reset value, other fields at their neutral value. Touches nothing."""
    def __getitem__(self, field: str, /) -> int: ...
    def __setitem__(self, field: str, value: int | str, /) -> None: ...
    def __contains__(self, field: str, /) -> bool:
        """Whether it has the field. Touches nothing."""
    __iter__: None
    def __bool__(self) -> NoReturn:
        """Raises TypeError: what it holds is `read()`, and that it is there is `is not None`."""
    def __eq__(self, other: object, /) -> bool:
        """Whether it is the same register. Raises TypeError for a number or text: what it holds is `read()`."""
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...
    def _repr_html_(self) -> str: ...
    def _ipython_key_completions_(self) -> list[str]: ...
    # The fields of a register are known by its map: `devregs stubs` writes them out.
    def __getattr__(self, name: str) -> Any: ...

class Group:
    """A cluster of registers: its registers and groups are attributes."""

    @property
    def path(self) -> str: ...
    def __getitem__(self, path: str, /) -> Any: ...
    def __setitem__(self, path: str, value: int | str, /) -> None: ...
    def registers(self) -> Iterator[Register]:
        """Every register in it, arrays element by element, in the order of the map."""
    def __contains__(self, path: str, /) -> bool:
        """Whether `[]` finds something at the path, a field too. Touches nothing."""
    def __iter__(self) -> Iterator[str]:
        """The names of its registers and groups, in the order of the map."""
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...
    def _ipython_key_completions_(self) -> list[str]: ...
    def __getattr__(self, name: str) -> Any: ...

@final
class Array:
    """Registers or groups that repeat."""

    @property
    def path(self) -> str: ...
    @property
    def stride(self) -> int:
        """In bytes."""
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Any: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]:
        """The elements. They are made as they are asked for."""
    def __reversed__(self) -> Iterator[Any]: ...
    def __contains__(self, element: object, /) -> bool:
        """Whether it is one of the elements. Raises TypeError for a number or text."""
    def __bool__(self) -> Literal[True]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...

@final
class Region:
    """A span of a device with one access right. Its memoryviews come from `view()`."""

    @property
    def name(self) -> str: ...
    @property
    def offset(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def access(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def byte_order(self) -> Literal["little", "big"]: ...
    @property
    def address(self) -> int | None: ...
    @property
    def doc(self) -> str | None: ...
    def view(
        self, flags: int | None = None, *, offset: int = 0, size: int | None = None
    ) -> memoryview:
        """A memoryview over the region, or over `size` bytes of it from `offset`.

        `flags` is `PyBUF_READ` or `PyBUF_WRITE`; without it, what the region's access allows.
        """
    def read(self, offset: int, *, width: int | None = None) -> int:
        """Read one word at `offset` bytes: one load of `width` bits (default: the region's)."""
    def write(self, offset: int, value: SupportsIndex, *, width: int | None = None) -> None:
        """Write one word: one store."""
    def read_into(
        self,
        buffer: Buffer,
        offset: int = 0,
        *,
        width: int | None = None,
        fixed: bool | None = None,
    ) -> int:
        """Fill `buffer` with words from `offset` up, one load each; return how many.

        With `fixed` all come from one address (default: for a region the map calls a FIFO).
        Values arrive in the machine's byte order.
        """
    def write_from(
        self,
        buffer: Buffer,
        offset: int = 0,
        *,
        width: int | None = None,
        fixed: bool | None = None,
    ) -> int:
        """Write the words of `buffer` from `offset` up, one store each; return how many."""
    def __len__(self) -> int:
        """Its size in bytes."""
    def __bool__(self) -> Literal[True]: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...

@final
class Regions:
    """The regions of a device: a mapping of names, in the order of the map. Each is an attribute, too."""

    def __getattr__(self, name: str) -> Region: ...
    def __getitem__(self, name: str, /) -> Region: ...
    def __contains__(self, name: str, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def keys(self) -> list[str]:
        """The names, in the order of the map."""
    def values(self) -> list[Region]:
        """The regions, in the order of the map."""
    def items(self) -> list[tuple[str, Region]]:
        """Pairs of name and region, in the order of the map."""
    def _ipython_key_completions_(self) -> list[str]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...

@final
class Interrupt:
    """The interrupt of a UIO device; false where the source has none. Counts are of 32 bits in the kernel; differences are right across the wrap."""

    @property
    def count(self) -> int:
        """Events the kernel had counted at the last wait."""
    @property
    def missed(self) -> int:
        """Events beyond the one each wait returned for, since open."""
    def wait(self, timeout: float | None = None, *, rearm: bool = True) -> int:
        """Wait for an event; return how many came since the last wait (1: none was missed).

        `timeout` in seconds; raises WaitTimeout. With `rearm`, the interrupt is enabled first.
        """
    @property
    def _due(self) -> float | None: ...
    def enable(self) -> None: ...
    def disable(self) -> None: ...
    def fileno(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __aiter__(self) -> AsyncIterator[int]: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...

class Device(Group):
    """An open device. Its registers and groups are attributes."""

    @property
    def name(self) -> str: ...
    @property
    def map(self) -> Map: ...
    @property
    def source(self) -> str: ...
    @property
    def regions(self) -> Regions: ...
    @property
    def irq(self) -> Interrupt:
        """Its interrupt. Using it raises SourceError where the source has none."""
    @property
    def hw(self) -> Hardware:
        """The hardware's side of a mock; false where the device is none. Using it then raises AccessError."""
    def trace(self, limit: int | None = None) -> Trace:
        """A recording of the accesses of a `with` block, the last `limit` of them. Views are not heard."""
    def _expect(self, steps: list[dict[str, Any]] | None) -> None: ...
    def _finish(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    def snapshot(self, *, only: str | Iterable[str] | None = None) -> Snapshot:
        """Read each register once that a read does not change, in ascending order, and keep what they held.

        `only` names registers and groups, or is patterns with `*` and `?`; registers that cannot be read, or
        whose read changes something, are not read for that. A register that faults is kept with its error.
        """
    def restore(
        self,
        snapshot: Snapshot,
        /,
        *,
        only: str | Iterable[str] | None = None,
        dry_run: bool = False,
        verify: bool = True,
    ) -> Restored:
        """Write back what a snapshot holds, where it differs and may be written safely; tell what was done.

        One load for each register, and one store where its ordinary read-write bits differ; bits that act when
        written get the value that does nothing. With `verify`, what was written is read once more. With `dry_run`
        nothing is written. Registers whose write may do more than store are written only if `only` has their
        whole path. It is no atomic step: others who write the device should wait. Raises MapError, before any
        access, for a snapshot of another device.
        """
    def verify(self) -> None:
        """Ask whether this is still the device that was opened, and compare the map's `expect` values once more.

        One load of each register that has one. Raises SourceError where the device was removed (even if it is
        back by now), does not answer, or is another than the map says; AccessError where it is closed; BusError.
        """
    def close(self) -> None:
        """Unmap. Raises BufferError while views live. Closing twice is harmless."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

@final
class Trace:
    """A recording of a device's accesses: a sequence of Access. str() of it is a transcript."""

    def start(self) -> None:
        """Record from now on. A trace starts once; a `with` block does it."""
    def stop(self) -> None:
        """Record no more."""
    def clear(self) -> None:
        """Forget what was recorded so far."""
    @property
    def running(self) -> bool: ...
    @property
    def dropped(self) -> int:
        """Accesses given up because the limit was reached; the oldest go first."""
    def save(self, path: str | PathLike[str]) -> None:
        """Write JSON lines, which the source `replay:PATH` plays back."""
    @overload
    def __getitem__(self, index: int, /) -> Access: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Access]: ...
    def __iter__(self) -> Iterator[Access]:
        """Over the accesses recorded so far."""
    def __len__(self) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...

@final
class Access:
    """One access of a trace."""

    @property
    def time(self) -> float:
        """In seconds since the trace began."""
    @property
    def op(self) -> Literal["read", "write", "irq"]: ...
    @property
    def path(self) -> str | None:
        """The register, or REGION+OFFSET where none was named; None for the interrupt."""
    @property
    def named(self) -> bool:
        """Whether a register was named."""
    @property
    def region(self) -> str | None: ...
    @property
    def offset(self) -> int:
        """Of the access, from the start of the region, in bytes."""
    @property
    def width(self) -> int:
        """Of the access, in bits: less than the register's where that takes several accesses."""
    @property
    def lsb(self) -> int:
        """The register's bit that is the lowest one of the access: 0, but where the register takes several."""
    @property
    def value(self) -> int | None:
        """What this access read or wrote; None where it failed. Of the interrupt: events, 0 where none came in time."""
    @property
    def mask(self) -> int:
        """The bits of the access that were asked for, or meant."""
    @property
    def signal(self) -> int | None:
        """The signal of the fault it met."""
    @property
    def fields(self) -> dict[str, int | str]:
        """The fields that the access carries and that were asked for or meant: each a name of its values, or a number."""
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: object, /) -> Self: ...
    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn: ...

@final
class _Mock:
    def get(self, path: str) -> int: ...
    def set(self, path: str, value: int | str) -> None: ...
    def push(self, path: str, word: int) -> bool: ...
    def pop(self, path: str) -> int | None: ...
    def level(self, path: str) -> tuple[int, int, int]: ...
    def on_read(self, path: str, hook: Callable[[int], Any]) -> None: ...
    def on_write(self, path: str, hook: Callable[[int], Any]) -> None: ...
    def remove_hooks(self) -> None: ...
    def rule(self, text: str, keys: dict[str, Any]) -> None: ...
    def fail(self, path: str, times: int | None) -> None: ...
    def stick(self, path: str, value: int | str) -> None: ...
    def vanish(self, how: str | None) -> None: ...
    def heal(self) -> None: ...
    def reset(self) -> None: ...
    def interrupt(self) -> None: ...
    def sync(self) -> list[tuple[str, int]]: ...
    def interrupts(self) -> int: ...
    def enable_interrupt(self, on: bool) -> None: ...
    def now(self) -> float: ...
    def advance(self, seconds: float) -> None: ...

@final
class _Tally:
    def __new__(cls, map: Map) -> _Tally: ...
    def attach(self, device: Device) -> None: ...
    def stop(self) -> None: ...
    def to_json(self) -> str: ...

def load(map: str | PathLike[str] | Map, /) -> Map:
    """A map by name (of the library) or file."""

def open(
    map: str | PathLike[str] | Map,
    source: str | PathLike[str],
    *,
    verify: bool = True,
    shared: bool = False,
    root: str | PathLike[str] = "/",
) -> Device:
    """Open a device: lay a map over a source.

    `verify`: compare registers that have an `expect` value. `shared`: writes and read-modify-writes exclude those of
    other processes that open the device so; the kernel releases the lock when a process dies. `root`: where /dev, /sys and /proc are.
    """

def mock(
    map: str | PathLike[str] | Map,
    *,
    clock: Literal["real", "virtual"] = "real",
    access_time: float = 1e-7,
    trap: bool = True,
) -> Device:
    """Open a device over memory that behaves as the map says: no hardware, the same accesses.

    It behaves for memoryviews too where TRAPS says so, at some microseconds an access; with `trap=False` a view is
    plain memory.

    A `virtual` clock passes by `hw.advance()`, by waits, which take no real time, and by `access_time` seconds for
    each access.
    """

def _shared_mock(
    map: str | PathLike[str] | Map, path: str | PathLike[str], starts: list[int], mark: bool
) -> Device: ...
def _source(source: str) -> tuple[str, int | str | None]: ...
def _uio_source(name: str) -> str: ...
def _keep_guard_on_top(on: bool) -> None: ...
def _watch_opens(function: Callable[[Device], Any]) -> None: ...
def _unwatch_opens(function: Callable[[Device], Any]) -> None: ...
@overload
def _attributes(holder: str, names: None = None, /) -> tuple[str, ...]: ...
@overload
def _attributes(holder: str, names: list[str], /) -> dict[str, str]: ...
def builtin_maps() -> list[str]:
    """The names of the maps in the library."""

def scan(root: str | PathLike[str] = "/") -> list[dict[str, Any]]:
    """UIO devices and PCI functions of this machine, and the maps of the library that fit each."""

def load_board(path: str | PathLike[str], /) -> dict[str, dict[str, Any]]:
    """The devices of a board map: name to `map` (a Map), `source`, `doc`."""

def keep_guard() -> None:
    """Put the guard against bad accesses back above the signal handlers of others, and let its signals through in this thread.

    Each open, view, wait and block of 4 KiB does so too, and each call of `signal.signal`, `signal.pthread_sigmask`,
    `faulthandler.enable` and `disable`. Call it behind what sets handlers by itself (a library with a runtime of its own),
    and in threads that a library has started with all signals blocked.
    """
