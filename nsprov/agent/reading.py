"""Send what workloads say and what becomes of them to the controller, for as long as it listens."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.agent import inits
from nsprov.errors import KernelError
from nsprov.init import client
from nsprov.kernel.logbook import Choice, Log, merged

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

    from nsprov.agent.protocol import LineChannel
    from nsprov.kernel.machine import Kernel

    Request = Mapping[str, Any]

_BATCH = 256
"""Lines in one message."""

_PAUSE = 0.1
"""Seconds between two looks at logs."""

_ROUND = 1.0
"""Seconds between two looks for logs that are new."""

_SEARCH = 0.25
"""Seconds between two looks for inits that are new."""

_AT_ONCE = 1 << 16
_SUFFIX = ".log"
_OWN = "@"
"""What the name of the file begins with that the init itself complains in: no workload's does."""


def logs(kernel: Kernel, channel: LineChannel, request: Request) -> dict[str, Any]:
    """Send the lines of logs, those of all workloads in the order of time; with `follow`, as long as the lab is there."""
    shelf = Shelf(kernel, request)
    until = time.monotonic() + _ROUND
    while True:
        for rows in shelf.read():
            if channel.waiting():
                return {}
            channel.send({"event": "log", "rows": rows})
        if not request["follow"] or channel.waiting(_PAUSE):
            return {}
        if time.monotonic() > until:
            if not kernel.lab.exists():
                return {}
            shelf.grow()
            until = time.monotonic() + _ROUND


class Shelf:
    """The logs that were asked for, and those of workloads that whole nodes get meanwhile."""

    def __init__(self, kernel: Kernel, request: Request) -> None:
        """Find them; nothing is read."""
        errors = "surrogateescape" if request["raw"] else "replace"
        choice = Choice(request["tail"], str(request["since"]), str(request["stream"]), errors)
        known = {(node.name, name) for node in inits.look(kernel).values() for name in node.status()}
        chosen = [target for target in map(tuple, request["targets"]) if target in known]
        self._top = kernel.lab.logs
        self._fresh = replace(choice, tail=None)
        self._nodes = [str(node) for node in request["nodes"] if any(node == other for other, _ in known)]
        self._logs = {f"{node}/{name}": Log(self._path(node, name), choice) for node, name in chosen}
        self._seen = set(self._present())

    def read(self) -> Iterator[list[list[Any]]]:
        """Give what is new, as many lines at a time as make a message."""
        lines = merged(self._logs)
        while True:
            batch = [[*name.split("/"), *line] for name, line in itertools.islice(lines, _BATCH)]
            if not batch:
                return
            yield batch

    def grow(self) -> None:
        """Take in the logs that were not there before."""
        for node, name in sorted(set(self._present()) - self._seen):
            self._seen.add((node, name))
            self._logs.setdefault(f"{node}/{name}", Log(self._path(node, name), self._fresh))

    def _present(self) -> Iterator[tuple[str, str]]:
        for node in self._nodes:
            with contextlib.suppress(FileNotFoundError):
                for file in os.listdir(f"{self._top}/{node}"):
                    if file.endswith(_SUFFIX) and not file.startswith(_OWN):
                        yield node, file[: -len(_SUFFIX)]

    def _path(self, node: str, name: str) -> str:
        return f"{self._top}/{node}/{name}{_SUFFIX}"


def events(kernel: Kernel, channel: LineChannel, request: Request) -> dict[str, Any]:
    """Send what happens to workloads of some nodes, or of all there are and will be, as long as the lab is there."""
    wanted = frozenset(map(str, request["nodes"]))
    with contextlib.ExitStack() as stack:
        watch = Watch(kernel, wanted)
        stack.callback(watch.close)
        while kernel.lab.exists():
            watch.search()
            deadline = time.monotonic() + _SEARCH
            while (left := deadline - time.monotonic()) > 0:
                rows = watch.read(channel.reader, left)
                if channel.waiting():
                    return {}
                if rows:
                    channel.send({"event": "events", "rows": rows})
    return {}


class Watch:
    """Streams of events from inits."""

    def __init__(self, kernel: Kernel, wanted: frozenset[str]) -> None:
        """Listen to nobody yet."""
        self._kernel = kernel
        self._wanted = wanted
        self._streams: dict[str, tuple[socket.socket, bytearray]] = {}

    def search(self) -> None:
        """Listen to the inits that we do not listen to yet."""
        for node in set(self._kernel.lab.controlled()) - set(self._streams):
            if not self._wanted or node in self._wanted:
                with contextlib.suppress(KernelError):  # it is dead, or about to be
                    connection, kept = client.subscribe(self._kernel.lab.control(node), {"verb": "events"})
                    connection.setblocking(False)
                    self._streams[node] = connection, bytearray(kept)

    def read(self, other: int, patience: float) -> list[dict[str, Any]]:
        """Give what has happened, as soon as something has, the descriptor `other` has something, or time is up."""
        poll = select.poll()
        poll.register(other, select.POLLIN)
        by_fd = {connection.fileno(): node for node, (connection, _) in self._streams.items()}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        found: list[dict[str, Any]] = []
        for fd, _ in poll.poll(patience * 1000):
            if fd in by_fd:
                found += self._receive(by_fd[fd])
        return found

    def _receive(self, node: str) -> Iterator[dict[str, Any]]:
        connection, kept = self._streams[node]
        data = b""
        with contextlib.suppress(ConnectionError):
            data = connection.recv(_AT_ONCE)
        if not data:
            connection.close()
            del self._streams[node]
            yield {"node": node, "name": "", "event": "init ended", "time": time.time()}
            return
        *lines, rest = bytes(kept + data).split(b"\n")
        kept[:] = rest
        for line in lines:
            row = json.loads(line)
            yield {"node": node, "name": row.pop("workload"), **row}

    def close(self) -> None:
        """Listen to nobody any more."""
        for connection, _ in self._streams.values():
            connection.close()
