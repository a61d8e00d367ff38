"""The interrupt of a stand-in: a socket beside its file, with the words of a UIO device.

Whoever connects gets the count of events as 4 bytes whenever it has changed, and writes 1 or 0 as 4 bytes
to enable or disable the interrupt, in the byte order of the machine.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._devregs import _Mock


class IrqSocket:
    """Tells all who are connected of a mock's interrupts. `look` does what there is to do, and never waits."""

    def __init__(self, mock: _Mock, node: Path, event: Path) -> None:
        self._mock = mock
        self._event = event
        self._count = 0
        self._clients: dict[socket.socket, bytes] = {}
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._server.setblocking(False)
        # The path of a socket has 107 bytes at most; that of its folder is as long as it likes.
        folder = os.open(node.parent, os.O_PATH | os.O_CLOEXEC)
        try:
            self._server.bind(f"/proc/self/fd/{folder}/{node.name}.irq")
        finally:
            os.close(folder)
        self._server.listen()

    def look(self) -> None:
        """Take in who connects, do what they say, and tell them of what has come."""
        count = self._mock.interrupts()
        if count != self._count:
            # Before they are taken in: who has read the count before that is told of it, perhaps once more.
            write_event(self._event, count)
        with contextlib.suppress(BlockingIOError):
            while True:
                client, _ = self._server.accept()
                client.setblocking(False)
                self._clients[client] = b""
        for client in list(self._clients):
            self._hear(client)
        if count == self._count:
            return
        self._count = count
        for client in list(self._clients):
            try:
                client.send(count.to_bytes(4, sys.byteorder))
            except BlockingIOError:
                # It has thousands that it has not read: it will see that there were many.
                pass
            except OSError:
                self._drop(client)

    def _hear(self, client: socket.socket) -> None:
        try:
            heard = client.recv(64)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            self._drop(client)
            return
        heard = self._clients[client] + heard
        while len(heard) >= 4:
            self._mock.enable_interrupt(int.from_bytes(heard[:4], sys.byteorder) != 0)
            heard = heard[4:]
        self._clients[client] = heard

    def _drop(self, client: socket.socket) -> None:
        del self._clients[client]
        client.close()

    def close(self) -> None:
        """Let go of all who are connected: they find that the device is gone."""
        for client in list(self._clients):
            self._drop(client)
        self._server.close()


def write_event(path: Path, count: int) -> None:
    """Let sysfs tell the count, whole at every moment."""
    new = path.with_name("event.new")
    new.write_text(f"{count}\n")
    new.replace(path)
