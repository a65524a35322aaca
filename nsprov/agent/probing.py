"""Try the tunnels of a lab, while the agents of all its hosts do: each has to carry frames of its full size, both ways.

Frames are of an ethertype for experiments, for the ends of a link need have no addresses, and go to an address that no
bridge forwards (IEEE 802.1D, 7.12.6): so nobody but us sees them. Each says whom its sender has heard of, so that all know
when they may stop; who hears nothing until the time is over says so, and that is the answer.
"""

from __future__ import annotations

import array
import contextlib
import selectors
import socket
import struct
import time
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, Difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

ETHERTYPE = 0x88B5
"""Local Experimental Ethertype 1 (IEEE 802, 9.2.3)."""

_NEAREST_BRIDGE = bytes.fromhex("0180c200000e")
_ETH_P_ALL, _SO_ATTACH_FILTER, _OUTGOING = 3, 26, 4
_HEAD = struct.Struct("!6s6sH16sHH")
_FULL, _SMALL = 1, 0
_RECEIVE = 1 << 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25
_FAREWELLS = 3

# Only frames of ours are to wait in a socket: ldh [12]; jeq #ETHERTYPE, +0, +1; ret #65535; ret #0 (bpf(4)).
_FILTER = array.array(
    "B",
    b"".join(
        struct.pack("=HBBI", *row) for row in ((0x28, 0, 0, 12), (0x15, 0, 1, ETHERTYPE), (6, 0, 0, 0xFFFF), (6, 0, 0, 0))
    ),
)


@dataclass
class _Try:
    """One tunnel's end while it is tried: which other hosts were heard in full size, or small, and which have heard us."""

    name: str
    node: str
    ifname: str
    token: bytes
    size: int
    hosts: Sequence[str]
    me: int
    port: int
    socket: socket.socket
    mac: bytes
    full: set[int] = field(default_factory=set)
    small: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)

    @property
    def others(self) -> set[int]:
        """Give the positions of the other hosts."""
        return set(range(len(self.hosts))) - {self.me}

    @property
    def done(self) -> bool:
        """Tell whether we have heard everybody, and everybody us."""
        return self.full >= self.others and self.acknowledged >= self.others

    def send(self) -> None:
        """Send a frame of each size."""
        heard = sum(1 << position for position in self.full).to_bytes((len(self.hosts) + 7) // 8, "little")
        for size in (_SMALL, _FULL):
            frame = _HEAD.pack(_NEAREST_BRIDGE, self.mac, ETHERTYPE, self.token, self.me, size) + heard
            with contextlib.suppress(OSError):  # what cannot leave does not arrive: the other end will tell
                self.socket.send(frame.ljust(14 + self.size, b"\0") if size else frame)

    def receive(self) -> bool:
        """Take in what has come, and tell whether it was news."""
        before = len(self.full) + len(self.acknowledged)
        while True:
            try:
                data, origin = self.socket.recvfrom(_RECEIVE)
            except BlockingIOError:
                return len(self.full) + len(self.acknowledged) > before
            if origin[2] != _OUTGOING and len(data) >= _HEAD.size:
                self._take(data)

    def _take(self, data: bytes) -> None:
        _, _, _, token, who, size = _HEAD.unpack_from(data)
        if token == self.token and who in self.others:
            heard = int.from_bytes(data[_HEAD.size : _HEAD.size + (len(self.hosts) + 7) // 8], "little")
            (self.full if size == _FULL and len(data) >= 14 + self.size else self.small).add(who)
            if heard >> self.me & 1:
                self.acknowledged.add(who)


def probe(kernel: Kernel, request: Mapping[str, Any]) -> dict[str, Any]:
    """Try every tunnel of the request until all have been heard, or its time is over.

    Raises:
        Difference: with a diagnostic for each host that was not heard through a tunnel in its full size.

    """
    with contextlib.ExitStack() as stack:
        tries = [_begin(kernel, stack, row) for row in request["tunnels"]]
        kernel.namespaces.go_home()
        _run(kernel, tries, float(request["seconds"]))
        silent = [found for each in tries for found in _silent(each, float(request["seconds"]))]
    if silent:
        raise Difference(*silent)
    return {"tried": len(tries)}


def _begin(kernel: Kernel, stack: contextlib.ExitStack, row: Mapping[str, Any]) -> _Try:
    """Listen at a tunnel's end, which must be before a bridge whose port it is takes the frame: as those for all do."""
    kernel.namespaces.enter_net(row["node"])
    listener = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0))
    listener.setblocking(False)
    program = struct.pack("HP", len(_FILTER) // 8, _FILTER.buffer_info()[0])
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    listener.bind((row["ifname"], _ETH_P_ALL))
    token = blake2s(str(row["token"]).encode(), digest_size=16).digest()
    return _Try(
        name=row["name"],
        node=row["node"],
        ifname=row["ifname"],
        token=token,
        size=int(row["size"]),
        hosts=row["hosts"],
        me=int(row["me"]),
        port=int(row["port"]),
        socket=listener,
        mac=listener.getsockname()[4],
    )


def _run(kernel: Kernel, tries: Sequence[_Try], seconds: float) -> None:
    """Send at growing intervals, and listen in between."""
    deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE
    left = list(tries)
    with selectors.DefaultSelector() as selector:
        for each in tries:
            selector.register(each.socket, selectors.EVENT_READ, each)
        while left and time.monotonic() < deadline:
            kernel.heed()
            for each in left:
                each.send()
            _listen(selector, pause)
            for each in left:
                if each.done:
                    # The other end stops when it knows that it was heard: the last word may get lost, but hardly three.
                    for _ in range(_FAREWELLS):
                        each.send()
            left = [each for each in left if not each.done]
            pause = min(pause * 2, _LONGEST_PAUSE)


def _listen(selector: selectors.BaseSelector, seconds: float) -> None:
    """Take in what comes until the time is over, and answer what is news: who waits for it need not wait longer."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            if key.data.receive():
                key.data.send()
        if all(key.data.done for key in selector.get_map().values()):
            return


def _silent(tried: _Try, seconds: float) -> Iterator[Diagnostic]:
    """Say which hosts were not heard, and what may be why."""
    for position in sorted(tried.others - tried.full):
        other, me = tried.hosts[position], tried.hosts[tried.me]
        way = f'from "{other}" to "{me}"'
        where = f"{tried.node}:{tried.ifname}" if tried.node else tried.ifname
        if position in tried.small:
            detail = f"Of frames {way}, small ones arrive, and those of its MTU, {tried.size} bytes, do not."
            hint = "say in the topology how large a packet gets through between the hosts: `tunnels: {mtu: ...}`"
            yield Diagnostic(f"{tried.name} does not carry its full size", where, detail, hint)
        else:
            what = f"UDP port {tried.port}" if tried.port else "IP protocol 47, GRE,"
            detail = f"No frame {way} arrived in {seconds:g} seconds."
            hint = (
                f"let {what} through between the hosts, or give them `nsprov_underlay` in the inventory, if others are in use"
            )
            yield Diagnostic(f"{tried.name} carries nothing", where, detail, hint)
