"""Who is told of each device that is opened in this process: coverage, and the pytest plugin."""

from __future__ import annotations

from ._devregs import Device, _watch_opens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_listeners: list[Callable[[Device], object]] = []


def _tell(device: Device) -> None:
    for listener in tuple(_listeners):
        listener(device)


def listen(function: Callable[[Device], object]) -> None:
    """Call the function with each device opened from now on, until `leave`."""
    _listeners.append(function)
    # The core takes one function in the life of a process, so this module keeps the list.
    global _installed
    _installed = _installed or _watch_opens(_tell)
    if not _installed:
        _listeners.remove(function)
        raise RuntimeError("something else in this process took devregs' hook for opened devices")


def leave(function: Callable[[Device], object]) -> None:
    """Call it no more. Harmless where it was not called."""
    if function in _listeners:
        _listeners.remove(function)


_installed = False
