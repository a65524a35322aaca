"""A command that runs in a node, attended from outside: its input and output are copied, its end is told."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from nsprov.kernel import terminals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PIECE = 1 << 16
_LAST = 32
"""How many pieces are still read when it has ended: more than a pipe holds, for what it left behind may go on writing."""

_GRACE = 1.0
"""Seconds that a command gets to end after it has been hung up on."""


class Running:
    """One command, a child of ours that waits until we `go`.

    `source` is what its input is written to; `outputs` are copied, each to the descriptor of ours that it is paired with.
    On a terminal they are one descriptor, the end that controls it.
    """

    def __init__(
        self, pid: int, go: Callable[[], None], source: int | None, outputs: Mapping[int, int], *, terminal: bool
    ) -> None:
        """Store what there is of it; it waits until it is attended."""
        self.pid = pid
        self.terminal = terminal
        self._go = go
        self._source = source
        self._outputs = dict(outputs)
        self._pending = bytearray()
        self._ending = False
        self._line_open = False
        self._hung_up = False
        self._deadline: float | None = None
        for fd in {*outputs, *(() if source is None else (source,))}:
            os.set_blocking(fd, False)

    def feed(self, data: bytes) -> None:
        """Give it input; how much it takes when is its own business."""
        if data and self._source is not None and not self._ending:
            self._line_open = data[-1:] not in b"\r\n"
            self._pending += data
            self._push()

    def end_input(self) -> None:
        """Let its input end after what it has been given."""
        if self.terminal and self._source is not None:
            key = terminals.end_of_file(self._source)
            self.feed(key * (2 if self._line_open else 1))  # the first ends an open line, and no more (termios(3))
        self._ending = not self.terminal
        self._push()

    def resize(self, rows: int, columns: int) -> None:
        """Say how large the window is now."""
        if self.terminal and self._source is not None:
            terminals.resize(self._source, rows, columns)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):  # it ended just now
            os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Let it know that nobody is there any more; it is killed if it takes no notice."""
        if not self._hung_up:
            self._hung_up = True
            self._deadline = time.monotonic() + _GRACE
            for fd in {*self._outputs, *(() if self._source is None else (self._source,))}:
                os.close(fd)
            self._source = None
            self._outputs.clear()
            self.signal(signal.SIGHUP)

    def attend(self, source: int | None, take: Callable[[bytes], None]) -> int:
        """Stay until it ends and give its exit code, 128 and the signal's number if it died of one.

        What comes from `source` goes to `take`, and so does its end, as nothing.
        """
        end = os.pidfd_open(self.pid)
        self._go()
        try:
            while end not in (ready := self._wait(source, end)):
                if source is not None and source in ready and not self._taken(source, take):
                    source = None
            for fd in list(self._outputs):
                any(not self._copy(fd) for _ in range(_LAST))
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        finally:
            os.close(end)
        return code if code >= 0 else 128 - code

    def _wait(self, source: int | None, end: int) -> set[int]:
        """Move what can be moved between the command and us, and give which of the other descriptors are ready."""
        poll = select.poll()
        poll.register(end, select.POLLIN)
        if source is not None and len(self._pending) < _PIECE:
            poll.register(source, select.POLLIN)
        masks = dict.fromkeys(self._outputs, select.POLLIN)
        if self._source is not None and self._pending:
            masks[self._source] = masks.get(self._source, 0) | select.POLLOUT
        for fd, mask in masks.items():
            poll.register(fd, mask)
        found = dict(poll.poll(self._patience()))
        if not found:
            self._deadline = None
            self.signal(signal.SIGKILL)
        for fd in [fd for fd in self._outputs if fd in found]:
            self._copy(fd)
        self._push()
        return set(found)

    def _patience(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic()) * 1000

    def _taken(self, source: int, take: Callable[[bytes], None]) -> bool:
        try:
            data = os.read(source, _PIECE)
        except BlockingIOError:
            return True
        except OSError:  # our own terminal is gone
            data = b""
        take(data)
        return bool(data)

    def _push(self) -> None:
        """Write what it takes now of its input."""
        if self._source is None:
            return
        try:
            while self._pending:
                del self._pending[: os.write(self._source, self._pending[:_PIECE])]
        except BlockingIOError:
            return
        except OSError:  # it does not read any more
            self._pending.clear()
            self._ending = True
        if self._ending and not self.terminal:
            os.close(self._source)
            self._source = None

    def _copy(self, fd: int) -> bool:
        """Pass on what there is of an output; tell whether there may be more now."""
        try:
            data = os.read(fd, _PIECE)
        except BlockingIOError:
            return False
        except OSError:  # nobody has the terminal open any more (pty(7))
            data = b""
        try:
            _write(self._outputs[fd], data)
        except OSError:  # nobody wants to know
            data = b""
            if self.terminal:
                self.hang_up()
        if not data and self._outputs.pop(fd, None) is not None and fd != self._source:
            os.close(fd)
        return bool(data)


def _write(fd: int, data: bytes) -> None:
    """Write everything, also where another program has made our output a non-blocking one."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # noqa: PERF203 - once in a while
            select.select([], [fd], [])
