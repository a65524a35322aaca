"""The words between an agent and an init: lines of JSON over a Unix socket; descriptors come with the first byte of a request.

    {"verb": "set", "name": "web", "spec": {...}}      {"ok": true, "status": {...}}
    {"verb": "stop", "name": "db"}                     {"error": "there is no workload 'db'"}
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_LINE = 1 << 20
MOST_DESCRIPTORS = 32
_AT_ONCE = 1 << 16


def encode(message: Mapping[str, Any]) -> bytes:
    """Write a message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Inbox:
    """What has arrived on a connection and is not taken yet; it holds one line of the largest size, and no more."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._data = bytearray()
        self._fds: list[int] = []

    def receive(self, connection: socket.socket) -> bool:
        """Take what has arrived, and tell whether more may come; ValueError if it is too much, OSError if it is broken."""
        room = socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
        data, about, flags, _ = connection.recvmsg(_AT_ONCE, room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, value in about:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._fds += array.array("i", value[: len(value) - len(value) % 4])
        self._data += data
        if len(self._data) > LARGEST_LINE or len(self._fds) > MOST_DESCRIPTORS or flags & socket.MSG_CTRUNC:
            raise ValueError("the request is too large")
        return bool(data)

    def take(self) -> dict[str, Any] | None:
        """Take the next message, if it is here in full; ValueError or TypeError if it is not one."""
        line, end, _ = self._data.partition(b"\n")
        if not end:
            return None
        del self._data[: len(line) + 1]
        try:
            message = json.loads(line)
        except RecursionError as problem:
            raise ValueError("it is nested too deeply") from problem
        if not isinstance(message, dict):
            raise TypeError("it is not a mapping")
        return message

    def take_descriptors(self) -> list[int]:
        """Take the descriptors that have come; the caller closes them."""
        fds, self._fds = self._fds, []
        return fds

    def close(self) -> None:
        """Close descriptors that nobody has taken."""
        for fd in self.take_descriptors():
            os.close(fd)
