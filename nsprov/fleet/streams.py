"""Rows that hosts send on and on: handed over as they come, or put into one order."""

from __future__ import annotations

import contextlib
import heapq
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, Unreachable
from nsprov.fleet.outcomes import into, raised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from nsprov.fleet.sessions import Fleet

    Rows = Iterable[tuple[str, Any]]

_AHEAD = 256
"""How many messages of streams may wait for us; hosts that say more wait."""


def stream(
    fleet: Fleet,
    requests: Mapping[str, Mapping[str, Any]],
    take: Callable[[str, Any], None],
    ended: Callable[[str], None],
) -> None:
    """Send each host its request, and hand the rows that it sends to `take` as they come, and to `ended` that it has.

    Both are called in this thread. What they raise, and Ctrl-C, end all streams first.
    """
    arrived: queue.Queue[tuple[str, dict[str, Any] | None]] = queue.Queue(_AHEAD)
    running = {name for name in requests if name in fleet.sessions}

    def one(name: str) -> None:
        try:
            with into(fleet.outcomes[name]):
                fleet.sessions[name].send(requests[name])
                for message in _messages(fleet, name):
                    arrived.put((name, message))
        finally:
            arrived.put((name, None))

    def drain(take: Callable[[str, Any], None], ended: Callable[[str], None]) -> None:
        while running:
            name, message = arrived.get()
            if message is None:
                running.discard(name)
                ended(name)
            else:
                for row in message.get("rows", ()):
                    take(name, row)

    with ThreadPoolExecutor(len(running) or 1) as pool:
        for name in running:
            pool.submit(one, name)
        try:
            drain(take, ended)
        except BaseException:
            for session in fleet.sessions.values():
                with contextlib.suppress(OSError, EOFError):  # it has ended by itself
                    session.end_input()
            drain(lambda _name, _row: None, lambda _name: None)
            raise


def merged(fleet: Fleet, requests: Mapping[str, Mapping[str, Any]], key: Callable[[Any], Any]) -> Rows:
    """Send each host its request, and give the rows that they send, with their hosts, in the order of `key`."""

    def rows(name: str) -> Rows:
        with into(fleet.outcomes[name]):
            for message in _messages(fleet, name):
                yield from ((name, row) for row in message.get("rows", ()))

    for name, request in requests.items():
        with into(fleet.outcomes[name]):
            fleet.sessions[name].send(request)
    return heapq.merge(*map(rows, requests), key=lambda pair: key(pair[1]))


def _messages(fleet: Fleet, name: str) -> Iterator[dict[str, Any]]:
    """Give what a host says, its reply last."""
    session = fleet.sessions[name]
    while True:
        message = session.receive()
        if message is None:
            raise Unreachable(Diagnostic("the agent has gone away", name, session.last_words()))
        if "error" in message:
            raise raised(message, name)
        yield message
        if "reply" in message:
            return
