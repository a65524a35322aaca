"""How a controller and an agent talk: one JSON object a line, both ways, over two file descriptors.

The conversation of one run: the agent says hello; each request is answered by any number of events
(`{"event": ...}`) and exactly one reply (`{"reply": verb, ...}` or `{"error": [diagnostic, ...]}`).
"""

from __future__ import annotations

import json
import os
import select
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
"""Raised when a message changes its meaning; both sides refuse another number."""

LIMIT = 256 * 1024 * 1024
"""The longest line that is read, in bytes: a state of 100,000 nodes is below it."""


class LineChannel:
    """Messages over a pair of file descriptors, which may be the same socket; not thread-safe."""

    def __init__(self, reader: int, writer: int) -> None:
        """Store the descriptors; they stay the caller's to close."""
        self.reader = reader
        self.writer = writer
        self._lines: list[bytes] = []
        self._partial: list[bytes] = []

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message whole; BrokenPipeError when the other side has gone."""
        data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        while data:
            data = data[os.write(self.writer, data) :]

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next message; `None` when the other side has closed.

        Raises:
            InputError: a line that is no JSON object.

        """
        while not self._lines:
            if not self._read():
                return None
        return _parse(self._lines.pop(0))

    def waiting(self, patience: float = 0.0) -> bool:
        """Tell whether a message, or the end, can be received now, or within so many seconds."""
        return bool(self._lines) or bool(select.select([self.reader], [], [], patience)[0])

    def _read(self) -> bool:
        try:
            data = os.read(self.reader, 1 << 20)
        except ConnectionResetError:
            data = b""
        head, *rest = data.split(b"\n")
        self._partial.append(head)
        for line in rest:
            self._lines.append(b"".join(self._partial))
            self._partial = [line]
        if sum(map(len, self._partial)) > LIMIT:
            raise InputError(Diagnostic(summary="a message is longer than the protocol allows"))
        return bool(data)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as problem:
        raise InputError(Diagnostic(summary="a message is not JSON", detail=str(problem))) from problem
    if not isinstance(message, dict):
        raise InputError(Diagnostic(summary="a message is not a JSON object"))
    return message
