"""A board: several devices, opened and closed together."""

from __future__ import annotations

from ._devregs import Device, DevregsError, _attributes, load_board, mock
from ._devregs import open as open_device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike
    from types import TracebackType
    from typing import Any, Literal, NoReturn, Self


class Board:
    """The open devices of a board map: `board.gpio`, or `board["gpio"]`.

    It is a mapping of names to devices, in the order of the map. It is true, one without devices too.
    """

    __slots__ = ("_devices", "_path")

    _devices: dict[str, Device]
    _path: str

    def __init__(self, path: str, devices: dict[str, Device]) -> None:
        self._path = path
        self._devices = devices

    def __getitem__(self, name: str) -> Device:
        try:
            return self._devices[name]
        except KeyError:
            raise KeyError(_unknown(self._path, name, self._devices)) from None

    def __getattr__(self, name: str) -> Device:
        # Reached only where the class itself has no such attribute, and there is one for each of its slots.
        if name.startswith("__") or name in self.__slots__:
            raise AttributeError(name)
        if name in self._devices:
            return self._devices[name]
        attributes = _attributes("board", list(self._devices))
        if name in attributes:
            return self._devices[attributes[name]]
        raise AttributeError(_unknown(self._path, name, self._devices))

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *_attributes("board", list(self._devices))]

    def __iter__(self) -> Iterator[str]:
        return iter(self._devices)

    def __len__(self) -> int:
        return len(self._devices)

    def __bool__(self) -> bool:
        return True

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            raise TypeError(
                f"a board answers `in` by name: a str is needed, not {type(name).__name__}"
            )
        return name in self._devices

    def keys(self) -> list[str]:
        """The names of the devices, in the order of the map."""
        return list(self._devices)

    def values(self) -> list[Device]:
        """The devices, in the order of the map."""
        return list(self._devices.values())

    def items(self) -> list[tuple[str, Device]]:
        """Pairs of name and device, in the order of the map."""
        return list(self._devices.items())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"cannot pickle the board {self._path!r}: it belongs to this process; open it in the other one"
        )

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._devices)

    def __repr__(self) -> str:
        return f"<devregs.Board {self._path!r} with {', '.join(self._devices) or 'no devices'}>"

    @property
    def closed(self) -> bool:
        """Whether every device is closed."""
        return all(device.closed for device in self._devices.values())

    def close(self) -> None:
        """Close every device, the last one first. Closing twice is harmless.

        Raises BufferError where views of a device are alive. That device stays open, the others
        are closed.
        """
        _close(reversed(self._devices.values()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()


def open_board(
    path: str | PathLike[str],
    *,
    verify: bool = True,
    shared: bool = False,
    root: str | PathLike[str] = "/",
) -> Board:
    """Open every device of a board map.

    `verify`, `shared` and `root` are those of `open`. If one device cannot be opened, those
    already open are closed, and the error, of the kind that `open` raises, names the device.
    Raises MapError where the board map is wrong.
    """

    def open_one(entry: dict[str, Any]) -> Device:
        return open_device(entry["map"], entry["source"], verify=verify, shared=shared, root=root)

    return _open_all(path, open_one)


def mock_board(
    path: str | PathLike[str],
    *,
    clock: Literal["real", "virtual"] = "real",
    access_time: float = 1e-7,
    trap: bool = True,
) -> Board:
    """A board whose devices are mocks, all of them, whatever their sources.

    `clock`, `access_time` and `trap` are those of `mock`; each device has its own clock. Raises MapError
    where the board map is wrong.
    """
    return _open_all(
        path, lambda entry: mock(entry["map"], clock=clock, access_time=access_time, trap=trap)
    )


def _open_all(path: str | PathLike[str], open_one: Callable[[dict[str, Any]], Device]) -> Board:
    devices: dict[str, Device] = {}
    try:
        for name, entry in load_board(path).items():
            try:
                devices[name] = open_one(entry)
            except DevregsError as error:
                raise named(error, f"device {name}") from error
    except BaseException:
        _close(reversed(devices.values()))
        raise
    return Board(str(path), devices)


def named(error: DevregsError, what: str) -> DevregsError:
    """The same error with `what` in front of its text."""
    if isinstance(error, OSError) and error.errno is not None:
        new: DevregsError = type(error)(error.errno, f"{what}: {error.strerror}")
    else:
        new = type(error)(f"{what}: {error}")
    new.__dict__.update(error.__dict__)
    return new


def _close(devices: Iterator[Device]) -> None:
    failed: Exception | None = None
    for device in devices:
        try:
            device.close()
        except Exception as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _unknown(path: str, name: str, devices: dict[str, Device]) -> str:
    import difflib

    near = difflib.get_close_matches(name, devices, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(devices) or 'none'}"
    return f"{path} has no device {name!r}; {hint}"
