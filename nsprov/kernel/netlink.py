"""The door to rtnetlink: sockets in namespaces, batches whose errors keep their subject, dumps.

The kernel handles a message while it is being sent, so after sendmsg(2) every answer is there to be read:
a batch needs no acknowledgements, only failures speak.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, KernelError
from nsprov.kernel import answers, rtnl

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from nsprov.kernel.namespaces import Namespaces
    from nsprov.plan.resource import Ref

    Take = Callable[[int, bytes, int, int], None]

_BATCH = 32
_RECEIVE = 1 << 18
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 10, 11, 12
_MAX_SOCKETS = 4096


@dataclass(frozen=True)
class Request:
    """A message to be sent in a node's network namespace; `ref` is whose failure it would be."""

    node: str
    message: rtnl.Message
    ref: Ref
    absent_is_fine: bool = False


@dataclass(frozen=True)
class Interest:
    """What to read of one network namespace: links by name, `None` for all, and which IP versions of the rest."""

    links: frozenset[str] | None = frozenset({"lo"})
    addresses: frozenset[int] = frozenset()
    routes: frozenset[int] = frozenset()


EVERYTHING = Interest(None, frozenset({4, 6}), frozenset({4, 6}))
LINKS = Interest(None)


@dataclass(frozen=True)
class Dump:
    """What was read of one network namespace."""

    links: tuple[rtnl.Link, ...] = ()
    addresses: tuple[rtnl.Address, ...] = ()
    routes: tuple[rtnl.Route, ...] = ()


_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT})


class Netlink:
    """Speaks rtnetlink in the namespaces of one lab; sockets are kept, for a socket stays in its namespace."""

    def __init__(self, namespaces: Namespaces) -> None:
        """Store what is acted on."""
        self._namespaces = namespaces
        self._sockets: dict[str, socket.socket] = {}
        self._indexes: dict[tuple[str, str], int] = {}
        self._sequence = 0
        self._later: list[Request] = []

    def later(self, request: Request) -> None:
        """Keep a request until `settle`."""
        self._later.append(request)

    def abandon(self) -> None:
        """Drop what was kept for later."""
        self._later = []

    def settle(self) -> None:
        """Send what was kept for later."""
        requests, self._later = self._later, []
        self.send(requests)

    def send(self, requests: Iterable[Request], done: set[Ref] | None = None) -> None:
        """Send requests, those of one node in their order, in batches; `done` gets what was not refused.

        Raises:
            KernelError: with a diagnostic for the first refused request of the first node that has one.

        """
        by_node: dict[str, list[Request]] = defaultdict(list)
        for request in requests:
            by_node[request.node].append(request)
        for node, queue in by_node.items():
            for start in range(0, len(queue), _BATCH):
                self._send_batch(node, queue[start : start + _BATCH], done)

    def _send_batch(self, node: str, batch: Sequence[Request], done: set[Ref] | None) -> None:
        connection = self._socket(node)
        first = self._sequence + 1
        self._sequence += len(batch)
        connection.send(rtnl.packed_together([(r.message, first + n) for n, r in enumerate(batch)]))
        problems: dict[Ref, KernelError] = {}
        for kind, sequence, start, end, data in _answers(connection):
            if kind == _NLMSG_ERROR and first <= sequence <= self._sequence:
                code, said = _refusal(data, start, end)
                request = batch[sequence - first]
                if code and not (request.absent_is_fine and code in _GONE):
                    problems.setdefault(request.ref, refused(request.ref, code, said))
        if done is not None:
            done.update(request.ref for request in batch if request.ref not in problems)
        if problems:
            raise next(iter(problems.values()))

    def look(self, node: str, interest: Interest) -> Dump:
        """Read what is of interest in a node.

        Raises:
            FileNotFoundError: its network namespace is gone.

        """
        links: list[rtnl.Link] = []
        addresses: list[rtnl.Address] = []
        routes: list[rtnl.Route] = []

        def take(kind: int, data: bytes, start: int, end: int) -> None:
            if kind == rtnl.RTM_NEWLINK:
                links.append(answers.parse_link(data, start, end))
            elif kind == rtnl.RTM_NEWADDR:
                addresses.append(answers.parse_address(data, start, end))
            elif kind == rtnl.RTM_NEWROUTE:
                route = answers.parse_route(data, start, end)
                if route:
                    routes.append(route)

        dumps = [rtnl.get_links()] if interest.links is None else []
        dumps.extend(rtnl.get_addresses(version) for version in sorted(interest.addresses))
        dumps.extend(rtnl.get_routes(version) for version in sorted(interest.routes))
        self._ask(node, [rtnl.get_link(name) for name in sorted(interest.links or ())], dumps, take)
        return Dump(tuple(links), tuple(addresses), tuple(routes))

    def links_here(self, probe: str, interest: Interest = LINKS) -> tuple[rtnl.Link, ...]:
        """Read the links of the namespace that this process is in; `probe` is a name that no node has."""
        with _open() as self._sockets[probe]:
            dump = self.look(probe, interest)
        del self._sockets[probe]
        return dump.links

    def _ask(self, node: str, singles: Sequence[rtnl.Message], dumps: Sequence[rtnl.Message], take: Take) -> None:
        """Send the questions that have one answer each with the first dump, then the other dumps.

        A socket has one dump at a time, and most last until their end is received: a second would get EBUSY.
        """
        connection = self._socket(node)
        for batch in ([*singles, *dumps[:1]], *([dump] for dump in dumps[1:])):
            first = self._sequence + 1
            self._sequence += len(batch)
            connection.send(rtnl.packed_together([(message, first + n) for n, message in enumerate(batch)]))
            _receive(connection, first, len(batch), take, dumps=bool(dumps))

    def dump_raw(self, node: str, message: rtnl.Message) -> list[bytes]:
        """Send one request, a dump or not, and give the messages of its answer, each with its header."""
        found: list[bytes] = []
        singles, dumps = ([], [message]) if message.flags & rtnl.NLM_F_DUMP else ([message], [])
        self._ask(node, singles, dumps, lambda _kind, data, start, end: found.append(data[start - 16 : end]))
        return found

    def ifindex(self, node: str, name: str) -> int:
        """Give the index of a node's link; OSError (ENODEV) if there is none of that name."""
        key = (node, name)
        if key not in self._indexes:
            self._namespaces.enter_net(node)
            self._indexes[key] = socket.if_nametoindex(name)
        return self._indexes[key]

    def forget(self, node: str | None = None) -> None:
        """Drop what is remembered of links, and the socket in `node`, which would keep its namespace alive."""
        self._indexes.clear()
        if node is not None and node in self._sockets:
            self._sockets.pop(node).close()

    def close(self) -> None:
        """Close every socket."""
        for node in list(self._sockets):
            self.forget(node)

    def _socket(self, node: str) -> socket.socket:
        if node not in self._sockets:
            if len(self._sockets) >= _MAX_SOCKETS:
                self.close()
            self._namespaces.enter_net(node)
            self._sockets[node] = _open()
        return self._sockets[node]


def _open() -> socket.socket:
    """Open a socket in the present network namespace."""
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    # An error then carries the kernel's own words, and not a copy of the request.
    connection.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
    connection.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
    # A dump request's header is then a filter, and not ignored (Linux 4.20).
    connection.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
    return connection


def _receive(connection: socket.socket, first: int, left: int, take: Take, *, dumps: bool) -> None:
    """Take in the answers to `left` requests from number `first` on, of which the last may be a dump."""
    dump = first + left - 1 if dumps else None
    while left:
        data = connection.recv(_RECEIVE)
        for kind, sequence, start, end in answers.split(data):
            if sequence < first:
                continue
            if kind == _NLMSG_ERROR:
                code, said = _refusal(data, start, end)
                if code not in _GONE:
                    raise OSError(code, said or os.strerror(code))
                left -= 1
            elif kind == _NLMSG_DONE:
                left -= 1
            else:
                take(kind, data, start, end)
                left -= sequence != dump


def _answers(connection: socket.socket) -> Iterable[tuple[int, int, int, int, bytes]]:
    while True:
        try:
            data = connection.recv(_RECEIVE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        for kind, sequence, start, end in answers.split(data):
            yield kind, sequence, start, end, data


def _refusal(data: bytes, start: int, end: int) -> tuple[int, str]:
    """Read an NLMSG_ERROR body: the errno, and the kernel's words if it has any (NLMSGERR_ATTR_MSG)."""
    code = -int(struct.unpack_from("=i", data, start)[0])
    words = answers.attributes(data, start + 20, end).get(1)
    return code, data[slice(*words)].rstrip(b"\0").decode(errors="replace") if words else ""


_HINTS = {
    errno.EPERM: "run as root, or with sudo",
    errno.EOPNOTSUPP: "load the kernel module, or use a host whose kernel has it",
    errno.EEXIST: "remove what has that name, or use another name",
    errno.ENETUNREACH: "give the device an address in the gateway's subnet first",
}


@contextlib.contextmanager
def creating(netlink: Netlink, finish: Callable[[Collection[Ref]], Iterable[Request]]) -> Iterator[set[Ref]]:
    """Finish what is created inside, also when something is refused: without a mark nobody would take the rest away."""
    done: set[Ref] = set()
    try:
        yield done
    except KernelError:
        with contextlib.suppress(KernelError):  # the first refusal is the one to be told
            netlink.send(finish(done))
        raise
    netlink.send(finish(done))


def refused(ref: Ref, code: int, said: str = "") -> KernelError:
    """Say which resource the kernel refused and in which words."""
    detail = said or os.strerror(code)
    hint = _HINTS.get(code, "")
    diagnostic = Diagnostic(summary=f'the kernel refused "{ref}"', where=str(ref), detail=f"{detail}.", hint=hint)
    return KernelError(diagnostic, code)
