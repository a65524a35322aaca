"""How a controller and an agent talk: one JSON object a line, both ways, over two file descriptors.

The conversation of one run: the agent says hello; each request is answered by any number of events
(`{"event": ...}`) and exactly one reply (`{"reply": verb, ...}` or `{"error": [diagnostic, ...]}`).
A request with `patience` begins an exchange of signs of life: from then on each side says at least `BEAT` that often.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
"""Raised when a message changes its meaning; both sides refuse another number."""

LIMIT = 256 * 1024 * 1024
"""The longest line that is read, in bytes: a state of 100,000 nodes is below it."""


BEAT = {"verb": "beat"}
"""What a controller says when it has nothing to ask and is still there; no reply follows."""

BEATS = 6
"""How many signs of life there are in the time after which one who gives none is lost."""

_SIGN = b'{"event":"beat"}\n'
_PIECE = 1 << 20


class LineChannel:
    """Messages over a pair of file descriptors, which may be the same socket; not thread-safe."""

    def __init__(self, reader: int, writer: int) -> None:
        """Store the descriptors; they stay the caller's to close."""
        self.reader = reader
        self.writer = writer
        self._lines: list[bytes] = []
        self._partial: list[bytes] = []
        self._ended = False
        self._since = 0.0
        self.heard = time.monotonic()
        """When something has come last."""

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message whole; BrokenPipeError when the other side has gone."""
        data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        try:
            while data:
                self._since = time.monotonic()
                data = data[os.write(self.writer, data[:_PIECE]) :]
        finally:
            self._since = 0.0

    def sign(self, patience: float) -> None:
        """Give a sign of life; for the handler of a signal, which may have come in the middle of `send`.

        Raises:
            BrokenPipeError: out of a `send` of which nothing has been taken for so long.

        """
        if self._since:
            if time.monotonic() - self._since > patience:
                raise BrokenPipeError
        elif select.select([], [self.writer], [], 0)[1]:
            os.write(self.writer, _SIGN)

    def receive(self, patience: float | None = None) -> dict[str, Any] | None:
        """Wait for the next message; `None` when the other side has closed.

        Raises:
            InputError: a line that is no JSON object.
            TimeoutError: nothing at all has come in so many seconds.

        """
        while not self._lines:
            if patience is not None and not self.waiting(patience):
                raise TimeoutError
            if not self._read():
                return None
        return _parse(self._lines.pop(0))

    def disturbed(self) -> bool:
        """Tell whether there is a message, or the end, without waiting; signs of life are dropped."""
        while not self._ended and self.waiting() and not self._lines:
            self._read()
        while self._lines and len(self._lines[0]) <= len(_SIGN) and _parse(self._lines[0]) == BEAT:
            del self._lines[0]
        return bool(self._lines) or self._ended

    def waiting(self, patience: float = 0.0) -> bool:
        """Tell whether a message, or the end, can be received now, or within so many seconds."""
        return bool(self._lines) or bool(select.select([self.reader], [], [], patience)[0])

    def _read(self) -> bool:
        try:
            data = os.read(self.reader, 1 << 20)
        except ConnectionResetError:
            data = b""
        self.heard, self._ended = time.monotonic(), not data
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
