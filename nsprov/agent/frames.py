"""What a controller sends to a command on a terminal: pieces of input, and what there is to say beside them.

    kind    1 byte      DATA, RESIZE, SIGNAL or END
    length  4 bytes     big-endian
    payload             input; rows and columns, 2 bytes each; a signal's number, 1 byte; nothing

The way back needs none: what comes is the terminal's output, and at its end the exit code of whoever carried it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA, RESIZE, SIGNAL, END = b"d", b"r", b"s", b"e"

_HEAD = struct.Struct("!cI")
_SIZE = struct.Struct("!HH")
_LONGEST = 1 << 20


def data(piece: bytes) -> bytes:
    """Write a frame of input."""
    return _HEAD.pack(DATA, len(piece)) + piece


def end() -> bytes:
    """Write the frame that says that no input follows."""
    return _HEAD.pack(END, 0)


def resize(rows: int, columns: int) -> bytes:
    """Write a frame that says how large the window is now."""
    return _HEAD.pack(RESIZE, _SIZE.size) + _SIZE.pack(rows, columns)


def signal(number: int) -> bytes:
    """Write a frame that sends the command a signal."""
    return _HEAD.pack(SIGNAL, 1) + bytes([number])


def size(payload: bytes) -> tuple[int, int]:
    """Read the payload of RESIZE: rows and columns; struct.error if it is none."""
    rows, columns = _SIZE.unpack(payload)
    return int(rows), int(columns)


class Reader:
    """Frames from bytes that come in pieces of any size."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._held = bytearray()

    def take(self, piece: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Give the frames that are whole by now: kind and payload.

        Raises:
            InputError: a frame is longer than any that is sent.

        """
        self._held += piece
        while len(self._held) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._held)
            if length > _LONGEST:
                raise InputError(Diagnostic("a frame is longer than the protocol allows"))
            if len(self._held) < _HEAD.size + length:
                return
            payload = bytes(self._held[_HEAD.size : _HEAD.size + length])
            del self._held[: _HEAD.size + length]
            yield kind, payload
