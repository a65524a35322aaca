"""WireGuard's devices over generic netlink: what one is to be, and what it is (linux/wireguard.h, linux/genetlink.h).

Links of the type are made and marked over rtnetlink, as all links are; keys and peers have this door of their own.
"""

from __future__ import annotations

import base64
import errno
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from nsprov.kernel import answers, rtnl
from nsprov.plan.resource import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nsprov.kernel.namespaces import Namespaces

KIND = "wireguard"
KEY_BYTES = 32
_PEERS_AT_ONCE = 128
"""In one message: all its peers are one attribute, whose length has 16 bits."""

_RECEIVE = 1 << 16
_TRIES = 5
_NETLINK_GENERIC, _CONTROLLER, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 16, 3, 1, 2
_GET_DEVICE, _SET_DEVICE = 0, 1
_VERSION = 1
_NLMSG_ERROR, _NLMSG_DONE, _NLM_F_DUMP_INTR = 2, 3, 0x10
_GENERIC = struct.Struct("=BBH")
_IFNAME, _PRIVATE_KEY, _PUBLIC_KEY, _DEVICE_FLAGS, _PORT, _PEERS = 2, 3, 4, 5, 6, 8
_PEER_KEY, _PEER_FLAGS, _ENDPOINT, _KEEPALIVE, _HANDSHAKE, _ALLOWED = 1, 3, 4, 5, 6, 9
_FAMILY, _ADDRESS, _LENGTH = 1, 2, 3
_REPLACE_PEERS, _REMOVE, _REPLACE_ALLOWED = 1, 1, 2
_NESTED = 0x8000
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 4, 18, 1
_LENGTHS = {socket.AF_INET: 4, socket.AF_INET6: 16}


class Peer(NamedTuple):
    """Another host: its public key in base64, `ADDRESS:PORT` or `[ADDRESS]:PORT`, and which addresses are behind it.

    `handshake` is when it last proved that it has its key, in seconds since 1970; only the kernel tells.
    """

    public_key: str
    endpoint: str
    allowed: tuple[str, ...]
    keepalive: int = 0
    handshake: int = 0


@dataclass(frozen=True)
class Settings:
    """What to set of a device; `None` leaves a property as it is. With `alone`, it has no other peers than these."""

    private_key: bytes | None = field(default=None, repr=False)
    port: int | None = None
    peers: tuple[Peer, ...] = ()
    gone: tuple[str, ...] = ()
    alone: bool = False


@dataclass(frozen=True)
class Device:
    """A device as the kernel tells it; without a private key it has no public key either."""

    private_key: bytes = field(default=b"", repr=False)
    public_key: str = ""
    port: int = 0
    peers: tuple[Peer, ...] = ()


class Wireguard:
    """Speaks to the WireGuard of this host."""

    def __init__(self, namespaces: Namespaces) -> None:
        """Store how to come home: a socket belongs to the network namespace that it was made in."""
        self._namespaces = namespaces

    def read(self, name: str) -> Device:
        """Give a device's keys, port and peers.

        Raises:
            OSError: ENODEV if there is no such device, EOPNOTSUPP if it is of another type.

        """
        question = rtnl.attribute(_IFNAME, name.encode() + b"\0")
        with self._socket() as connection:
            kind = _family(connection)
            for _ in range(_TRIES):
                said = _ask(connection, kind, rtnl.NLM_F_DUMP, _GENERIC.pack(_GET_DEVICE, _VERSION, 0) + question)
                if said is not None:
                    return read_device(said)
        raise OSError(errno.EAGAIN, "its peers change too fast to be read")

    def set(self, name: str, settings: Settings) -> None:
        """Change a device, the key and the port first, then its peers, so many at a time.

        Raises:
            OSError: the kernel refused.

        """
        with self._socket() as connection:
            kind = _family(connection)
            for body in write_device(name, settings):
                _ask(connection, kind, rtnl.NLM_F_ACK, _GENERIC.pack(_SET_DEVICE, _VERSION, 0) + body)

    def _socket(self) -> socket.socket:
        self._namespaces.enter_net(HOST)
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_GENERIC)


def new_device(name: str, mtu: int) -> rtnl.Message:
    """Create a device, still down, without a key."""
    parts = [
        rtnl.IFINFO_FORMAT.pack(0, 0, 0, 0, 0),
        rtnl.attribute(_IFLA_IFNAME, name.encode() + b"\0"),
        rtnl.attribute(_IFLA_MTU, struct.pack("=I", mtu)),
        rtnl.attribute(_IFLA_LINKINFO, rtnl.attribute(_IFLA_INFO_KIND, KIND.encode() + b"\0")),
    ]
    return rtnl.Message(rtnl.RTM_NEWLINK, rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL, b"".join(parts))


def text_key(raw: bytes) -> str:
    """Write a key as wg(8) does."""
    return base64.b64encode(raw).decode()


def raw_key(text: str) -> bytes:
    """Read a key back; ValueError if it is none."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != KEY_BYTES:
        message = f"a key has {KEY_BYTES} bytes, and not {len(raw)}"
        raise ValueError(message)
    return raw


def _family(connection: socket.socket) -> int:
    """Give the number that generic netlink has for WireGuard since it was loaded."""
    body = _GENERIC.pack(_GET_FAMILY, _VERSION, 0) + rtnl.attribute(_FAMILY_NAME, KIND.encode() + b"\0")
    for found in _ask(connection, _CONTROLLER, rtnl.NLM_F_ACK, body) or ():
        for kind, start, _ in _walk(found, 0, len(found)):
            if kind == _FAMILY_ID:
                return int(struct.unpack_from("=H", found, start)[0])
    raise OSError(errno.ENOENT, "generic netlink gave no number for wireguard")


def _ask(connection: socket.socket, kind: int, flags: int, body: bytes) -> list[bytes] | None:
    """Send one request and give the attributes of each answer; `None` if they are of more than one moment."""
    connection.send(rtnl.pack(rtnl.Message(kind, flags, body), 1))
    found: list[bytes] = []
    torn = False
    while True:
        data = connection.recv(_RECEIVE)
        for what, _, start, end in answers.split(data):
            torn = torn or bool(_flags(data, start) & _NLM_F_DUMP_INTR)
            if what in (_NLMSG_ERROR, _NLMSG_DONE):
                code = -int(struct.unpack_from("=i", data, start)[0])
                if code:
                    raise OSError(code, os.strerror(code))
                return None if torn else found
            found.append(data[start + _GENERIC.size : end])


def _flags(data: bytes, start: int) -> int:
    return int(rtnl.HEADER_FORMAT.unpack_from(data, start - rtnl.HEADER_FORMAT.size)[2])


def _walk(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give each attribute's type and where its payload lies, in their order: those of a list all have the same type."""
    while start + 4 <= end:
        length, kind = rtnl.ATTRIBUTE_FORMAT.unpack_from(data, start)
        if length < rtnl.ATTRIBUTE_FORMAT.size:
            return
        yield kind & 0x3FFF, start + 4, start + length
        start += (length + 3) & ~3


def write_device(name: str, settings: Settings) -> Iterator[bytes]:
    """Give the messages that set a device: WGDEVICE_F_REPLACE_PEERS, if at all, in the first one only."""
    flags = struct.pack("=I", _REPLACE_PEERS) if settings.alone else b""
    device = rtnl.attribute(_IFNAME, name.encode() + b"\0")
    first = [device]
    if settings.private_key is not None:
        first.append(rtnl.attribute(_PRIVATE_KEY, settings.private_key))
    if settings.port is not None:
        first.append(rtnl.attribute(_PORT, struct.pack("=H", settings.port)))
    if flags:
        first.append(rtnl.attribute(_DEVICE_FLAGS, flags))
    peers = [*map(_gone, settings.gone), *map(_peer, settings.peers)]
    yield b"".join(first) + _nested(_PEERS, peers[:_PEERS_AT_ONCE])
    for begin in range(_PEERS_AT_ONCE, len(peers), _PEERS_AT_ONCE):
        yield device + _nested(_PEERS, peers[begin : begin + _PEERS_AT_ONCE])


def _nested(kind: int, parts: Sequence[bytes]) -> bytes:
    """Give a list as one attribute; none at all if it is empty."""
    return rtnl.attribute(kind | _NESTED, b"".join(rtnl.attribute(_NESTED, part) for part in parts)) if parts else b""


def _gone(public_key: str) -> bytes:
    return rtnl.attribute(_PEER_KEY, raw_key(public_key)) + rtnl.attribute(_PEER_FLAGS, struct.pack("=I", _REMOVE))


def _peer(peer: Peer) -> bytes:
    parts = [
        rtnl.attribute(_PEER_KEY, raw_key(peer.public_key)),
        rtnl.attribute(_PEER_FLAGS, struct.pack("=I", _REPLACE_ALLOWED)),
        rtnl.attribute(_KEEPALIVE, struct.pack("=H", peer.keepalive)),
        _nested(_ALLOWED, [_allowed(text) for text in peer.allowed]),
    ]
    if peer.endpoint:
        parts.append(rtnl.attribute(_ENDPOINT, _socket_address(peer.endpoint)))
    return b"".join(parts)


def _allowed(text: str) -> bytes:
    address, _, length = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (
        rtnl.attribute(_FAMILY, struct.pack("=H", family))
        + rtnl.attribute(_ADDRESS, socket.inet_pton(family, address))
        + rtnl.attribute(_LENGTH, bytes([int(length)]))
    )


def _socket_address(endpoint: str) -> bytes:
    address, _, port = endpoint.rpartition(":")
    address = address.strip("[]")
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16s", int(port), 0, packed) + bytes(4)
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", int(port), socket.inet_pton(socket.AF_INET, address))


def _endpoint(raw: bytes) -> str:
    family, port = struct.unpack_from("=H", raw)[0], struct.unpack_from("!H", raw, 2)[0]
    if family == socket.AF_INET6:
        return f"[{socket.inet_ntop(family, raw[8:24])}]:{port}"
    return f"{socket.inet_ntop(family, raw[4:8])}:{port}" if family == socket.AF_INET else ""


def read_device(bodies: Iterable[bytes]) -> Device:
    """Put the messages of a dump together; a peer with many addresses goes on in the next one under the same key."""
    private, public, port = b"", "", 0
    peers: dict[str, Peer] = {}
    for data in bodies:
        for kind, start, end in _walk(data, 0, len(data)):
            if kind == _PRIVATE_KEY:
                private = data[start:end]
            elif kind == _PUBLIC_KEY:
                public = text_key(data[start:end])
            elif kind == _PORT:
                port = struct.unpack_from("=H", data, start)[0]
            elif kind == _PEERS:
                for _, first, last in _walk(data, start, end):
                    peer = _read_peer(data, first, last)
                    before = peers.get(peer.public_key)
                    peers[peer.public_key] = before._replace(allowed=before.allowed + peer.allowed) if before else peer
    return Device(private, public, port, tuple(peers.values()))


def _read_peer(data: bytes, start: int, end: int) -> Peer:
    found = {kind: (first, last) for kind, first, last in _walk(data, start, end)}
    key = found[_PEER_KEY]
    return Peer(
        public_key=text_key(data[slice(*key)]),
        endpoint=_endpoint(data[slice(*found[_ENDPOINT])]) if _ENDPOINT in found else "",
        allowed=tuple(_read_allowed(data, *found[_ALLOWED])) if _ALLOWED in found else (),
        keepalive=struct.unpack_from("=H", data, found[_KEEPALIVE][0])[0] if _KEEPALIVE in found else 0,
        handshake=struct.unpack_from("=q", data, found[_HANDSHAKE][0])[0] if _HANDSHAKE in found else 0,
    )


def _read_allowed(data: bytes, start: int, end: int) -> Iterator[str]:
    for _, first, last in _walk(data, start, end):
        found = {kind: span for kind, *span in _walk(data, first, last)}
        family = struct.unpack_from("=H", data, found[_FAMILY][0])[0]
        where = found[_ADDRESS][0]
        address = socket.inet_ntop(family, data[where : where + _LENGTHS[family]])
        yield f"{address}/{data[found[_LENGTH][0]]}"
