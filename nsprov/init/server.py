"""Serve agents: connections that come, hang, flood or vanish, none of which holds up the others.

A connection has one request at a time, which may take as long as it needs to be answered; one that asks nothing is closed.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from nsprov.init.loop import FAULTS, plain
from nsprov.init.protocol import Inbox, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from nsprov.init.loop import Loop, Timer

    Serve = Callable[["Request"], None]

_MOST = 64
"""Connections at a time; others wait to be accepted."""

_IDLE = 5.0
"""Seconds that one may take to make a request, and to read the answer."""

_UNREAD = 1 << 18
"""Bytes that a reader of events may leave unread."""

_BREATH = 0.2
"""Seconds that nobody is accepted for, when the kernel has no room for another descriptor."""


class Request(NamedTuple):
    """What was asked, and by whom; descriptors that are left in the list are closed."""

    connection: Connection
    message: Mapping[str, Any]
    fds: list[int]

    def answer(self, **message: Any) -> None:
        """Answer that it is done."""
        self.connection.answer({"ok": True, **message})

    def refuse(self, words: str) -> None:
        """Answer that it cannot be done, and why."""
        self.connection.answer({"error": words})


class Connection:
    """One agent that asks."""

    def __init__(self, loop: Loop, connected: socket.socket, serve: Serve, closed: Callable[[Connection], None]) -> None:
        """Wait for a request, which `serve` gets."""
        self.streams = False
        self._loop = loop
        self._socket = connected
        self._serve = serve
        self._closed = closed
        self._inbox = Inbox()
        self._unsent = b""
        self._busy = False
        self._open = True
        self._deadline = time.monotonic() + _IDLE
        self._timer: Timer = loop.later(_IDLE, self._be_patient)
        connected.setblocking(False)
        loop.watch(connected.fileno(), self._happened)

    def answer(self, message: Mapping[str, Any]) -> None:
        """Answer the request; who does not wait for it has lost it."""
        if self._open:
            self._busy = False
            self._deadline = time.monotonic() + _IDLE
            self._send(encode(message))
            self._loop.later(0, self._next)  # not at once: others have their turn, and many requests are no deep stack

    def stream(self) -> None:
        """Make this a stream of events: there is no more to be asked."""
        self.streams = True
        self._send(encode({"ok": True}))

    def event(self, line: bytes) -> None:
        """Send an event; a reader that is too slow is dropped."""
        if len(self._unsent) + len(line) > _UNREAD:
            self.close()
        elif self._open:
            self._send(line)

    def close(self) -> None:
        """End it, whatever it was about."""
        if self._open:
            self._open = False
            self._timer.cancel()
            self._loop.forget(self._socket.fileno())
            self._inbox.close()
            self._socket.close()
            self._closed(self)

    def _be_patient(self) -> None:
        """Wait for a request, but not for ever."""
        left = _IDLE if self._busy or self.streams else self._deadline - time.monotonic()
        if left > 0:
            self._timer = self._loop.later(left, self._be_patient)
        else:
            self.close()

    def _happened(self, events: int) -> None:
        if events & select.POLLOUT:
            self._send(b"")
            self._next()
        if self._open and events & ~select.POLLOUT:
            self._read()

    def _read(self) -> None:
        try:
            more = self._inbox.receive(self._socket)
        except BlockingIOError:
            return
        except ValueError as problem:
            self._send(encode({"error": plain(problem)}))
            more = False
        except OSError:
            more = False  # it is broken, which is an end like others
        if more:
            self._next()
        else:
            self.close()

    def _next(self) -> None:
        """Serve the next request, if there is one and nothing is left of the one before."""
        if not self._open or self._busy or self._unsent:
            return
        try:
            message = self._inbox.take()
        except (ValueError, TypeError) as problem:
            self._send(encode({"error": f"this is not a request: {plain(problem)}"}))
            self.close()
            return
        if message is None:
            return
        self._busy = True
        request = Request(self, message, self._inbox.take_descriptors())
        try:
            self._serve(request)
        except FAULTS as problem:
            request.refuse(plain(problem))
        finally:
            for fd in request.fds:
                os.close(fd)

    def _send(self, data: bytes) -> None:
        """Send what goes, and keep the rest until there is room."""
        self._unsent += data
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :] if self._unsent else b""
        except BlockingIOError:
            pass
        except OSError:
            self.close()  # nobody is there any more
            return
        self._loop.watch(self._socket.fileno(), self._happened, select.POLLIN | (select.POLLOUT if self._unsent else 0))


class Server:
    """Accepts agents."""

    def __init__(self, loop: Loop, serve: Serve) -> None:
        """Store who serves."""
        self._loop = loop
        self._serve = serve
        self._connections: set[Connection] = set()

    def listen(self, listener: socket.socket) -> None:
        """Accept who connects."""
        self._listener = listener
        listener.setblocking(False)
        self._listen()

    def broadcast(self, message: Mapping[str, Any]) -> None:
        """Send an event to all who read them."""
        readers = [connection for connection in self._connections if connection.streams]
        line = encode(message) if readers else b""
        for connection in readers:
            connection.event(line)

    def _listen(self) -> None:
        self._loop.watch(self._listener.fileno(), self._accept)

    def _accept(self, _events: int) -> None:
        try:
            connected, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:  # no descriptor or no memory now: asking at once would be asking for ever
            self._loop.forget(self._listener.fileno())
            self._loop.later(_BREATH, self._listen)
            return
        self._connections.add(Connection(self._loop, connected, self._serve, self._leave))
        if len(self._connections) >= _MOST:
            self._loop.forget(self._listener.fileno())

    def _leave(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._listen()
