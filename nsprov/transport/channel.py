"""A command on a host as a wire, over one SSH channel."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paramiko import Channel

WINDOW = 1 << 24
"""How many bytes the host may send ahead: stderr never waits for us while we are busy."""

_CLOSING = 30.0  # seconds that an agent may take to roll back and exit
_PIECE = 1 << 18
_PATIENCE = 0.05  # seconds to wait for the host to take bytes before taking in what it has sent


class ChannelWire:
    """One exec channel: bytes in, two streams of bytes out."""

    def __init__(self, channel: Channel, hang_up: Callable[[], None]) -> None:
        """Store an open channel whose command runs, and what closes the connection below it."""
        self._channel = channel
        self._hang_up = hang_up
        self._descriptor = channel.fileno()
        self._held = [bytearray(), bytearray()]
        self._code: int | None = None
        self._closed = False
        channel.settimeout(_PATIENCE)

    def read(self, timeout: float | None) -> tuple[bytes, bytes]:
        """Wait for what comes next on stdout and stderr; both empty at the timeout or the end."""
        if not any(self._held) and not self.ended():
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            poll.poll(None if timeout is None else timeout * 1000)
        self._take_in()
        out, errors = map(bytes, self._held)
        self._held = [bytearray(), bytearray()]
        return out, errors

    def write(self, data: bytes) -> None:
        """Write everything, taking in what arrives meanwhile; BrokenPipeError when the command has gone."""
        at = 0
        try:
            while at < len(data):
                at += self._send(data[at : at + _PIECE])
        except (OSError, EOFError) as problem:
            raise BrokenPipeError(*problem.args) from problem

    def ended(self) -> bool:
        """Tell whether nothing can come any more."""
        waiting = any(self._held) or self._channel.recv_ready() or self._channel.recv_stderr_ready()
        return not waiting and bool(self._closed or self._channel.closed or self._channel.eof_received)

    def descriptors(self) -> Sequence[int]:
        """Give the one descriptor that becomes readable when something comes, or the end."""
        return (self._descriptor,)

    def closed(self) -> Sequence[int]:
        """Give nothing: the descriptor lives as long as the channel."""
        return ()

    def end_input(self) -> None:
        """Close its stdin and nothing else."""
        self._channel.shutdown_write()

    def close(self) -> int | None:
        """Close its stdin, wait for its end, and give its exit code if there was one."""
        if self._closed:
            return self._code
        try:
            self._finish()
        except (OSError, EOFError):
            pass  # the connection is gone already, and that is what was wanted
        finally:
            self._closed = True
            self._channel.close()
            self._hang_up()
        return self._code

    def drop(self) -> None:
        """Close the connection below it, and wait for nothing."""
        self._closed = True
        self._hang_up()

    def _finish(self) -> None:
        self._channel.shutdown_write()
        deadline = time.monotonic() + _CLOSING
        while not self._channel.exit_status_ready() and not self._channel.closed and time.monotonic() < deadline:
            self._take_in()
            self._channel.status_event.wait(_PATIENCE)
        if self._channel.exit_status_ready():
            code = self._channel.recv_exit_status()
            self._code = None if code < 0 else code

    def _send(self, piece: bytes) -> int:
        try:
            return self._channel.send(piece)
        except TimeoutError:
            self._take_in()  # the host may be unable to read before it has been read
            return 0

    def _take_in(self) -> None:
        while self._channel.recv_ready():
            self._held[0] += self._channel.recv(_PIECE)
        while self._channel.recv_stderr_ready():
            self._held[1] += self._channel.recv_stderr(_PIECE)
