"""The socket by which a workload says that it is ready, as to systemd (sd_notify(3)).

Its name is in the abstract namespace of the node's network, so that it is there whatever files the node has,
and whatever user the workload is.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from nsprov.init.loop import Loop

_MESSAGE = 4096
_CREDENTIALS = struct.Struct("=iII")
_TEXT = 200


def address(name: str) -> str:
    """Give the value of NOTIFY_SOCKET for a workload."""
    return f"@nsprov/{name}"


class Notify:
    """Listens to one workload."""

    def __init__(self, loop: Loop, name: str, known: Callable[[int], bool], heard: Callable[[dict[str, str]], None]) -> None:
        """Listen; messages of processes that are not `known` are dropped. OSError if somebody else has the name."""
        self._loop = loop
        self._known = known
        self._heard = heard
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(f"\0{address(name)[1:]}")
        except OSError:
            self._socket.close()
            raise
        loop.watch(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Listen no more."""
        self._loop.forget(self._socket.fileno())
        self._socket.close()

    def _read(self, _events: int) -> None:
        """Take one message. There is room for the sender's ids only: descriptors that come along are closed by the kernel."""
        with contextlib.suppress(BlockingIOError):
            data, about, _, _ = self._socket.recvmsg(_MESSAGE, socket.CMSG_SPACE(_CREDENTIALS.size))
            senders = [_CREDENTIALS.unpack(value)[0] for _, kind, value in about if kind == socket.SCM_CREDENTIALS]
            if senders and self._known(senders[0]):
                self._heard(fields(data))


def fields(data: bytes) -> dict[str, str]:
    """Read the lines NAME=value; of a value, what can be printed and is not too long."""
    pairs = [line.partition("=") for line in data.decode(errors="replace").split("\n")]
    return {name: "".join(filter(str.isprintable, value))[:_TEXT] for name, equals, value in pairs if equals}
