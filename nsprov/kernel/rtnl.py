"""A compact codec for the few rtnetlink messages of which a lab needs thousands: links, addresses, routes.

Pure functions between values and bytes (rtnetlink(7), linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h).
pyroute2 encodes the same messages generically at several times the cost; a test holds this codec against it.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWLINKPROP = 108
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
IFF_UP = 1
PROTO = 110
"""The routing protocol number that marks our routes and addresses; rt_protos(5) leaves it free."""
IFA_F_NODAD = 0x02
MAIN_TABLE = 254
LOCAL_TABLE = 255
ROUTE_TYPES = {"unicast": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}

HEADER_FORMAT = struct.Struct("=IHHII")
ATTRIBUTE_FORMAT = struct.Struct("=HH")
IFINFO_FORMAT = struct.Struct("=BxHiII")
IFADDR_FORMAT = struct.Struct("=BBBBi")
ROUTE_FORMAT = struct.Struct("=BBBBBBBBI")
NEXTHOP_FORMAT = struct.Struct("=HBBi")
_PAD = (b"", b"\0\0\0", b"\0\0", b"\0")
_NESTED = 0x8000
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Message(NamedTuple):
    """A netlink message without length, sequence and port, which the socket fills in."""

    type: int
    flags: int
    body: bytes


@dataclass(frozen=True)
class LinkSettings:
    """What to set on a link; `None` leaves a property as it is. `master` is an index, 0 frees the link."""

    name: str | None = None
    alias: str | None = None
    mtu: int | None = None
    mac: str | None = None
    master: int | None = None
    up: bool | None = None
    group: int | None = None
    no_link_local: bool = False
    stp: bool | None = None


@dataclass(frozen=True)
class VethEnd:
    """One end of a new veth pair; `netns` is a descriptor of its namespace, `None` for the sender's."""

    name: str
    mac: str | None = None
    mtu: int | None = None
    master: int | None = None
    up: bool = False
    netns: int | None = None


class Tunnel(NamedTuple):
    """What a tunnel's link is to its other ends: `id` is a VNI or a key, `port` a UDP port; VXLAN names no `remote` here."""

    id: int
    port: int
    local: str
    remote: str
    learning: bool


class Link(NamedTuple):
    """A link as the kernel tells it; `peer` and `peer_netns` are IFLA_LINK and IFLA_LINK_NETNSID."""

    ifindex: int
    name: str
    up: bool
    mtu: int
    mac: str
    master: int
    alias: str
    peer: int
    peer_netns: int | None
    kind: str
    stp: bool
    altnames: tuple[str, ...]
    tunnel: Tunnel | None = None


class Address(NamedTuple):
    """An address as the kernel tells it, `address` with its prefix length."""

    ifindex: int
    address: str
    nodad: bool
    proto: int


class Route(NamedTuple):
    """A route as the kernel tells it, devices by index; `nexthops` are `(via, index, weight)`."""

    destination: str
    table: int
    metric: int
    type: str
    proto: int
    via: str | None
    ifindex: int | None
    source: str | None
    nexthops: tuple[tuple[str | None, int, int], ...]


def pack(message: Message, sequence: int) -> bytes:
    """Give the bytes of one message, padded to four as the next one wants it."""
    length = 16 + len(message.body)
    head = HEADER_FORMAT.pack(length, message.type, message.flags | NLM_F_REQUEST, sequence, 0)
    return head + message.body + _PAD[length & 3]


def attribute(kind: int, payload: bytes) -> bytes:
    """Give one attribute, padded to four."""
    length = len(payload) + 4
    return ATTRIBUTE_FORMAT.pack(length, kind) + payload + _PAD[length & 3]


def _u32(kind: int, value: int) -> bytes:
    return struct.pack("=HHI", 8, kind, value)


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def new_veth(end: VethEnd, peer: VethEnd) -> Message:
    """Create a veth pair, each end in its final namespace under its final name, in one request.

    One queue each way: the default is one per possible CPU, which costs time and memory and serves no lab (veth(4)).
    """
    inside = IFINFO_FORMAT.pack(0, 0, 0, 0, 0) + _veth_end(peer)
    info = _text(1, "veth") + attribute(2, attribute(1, inside))
    flags = IFF_UP if end.up else 0
    body = IFINFO_FORMAT.pack(0, 0, 0, flags, flags) + _veth_end(end) + attribute(18, info)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)


def _veth_end(end: VethEnd) -> bytes:
    parts = [_text(3, end.name), _u32(31, 1), _u32(32, 1)]
    if end.mac is not None:
        parts.append(attribute(1, _mac(end.mac)))
    if end.mtu is not None:
        parts.append(_u32(4, end.mtu))
    if end.master is not None:
        parts.append(_u32(10, end.master))
    if end.netns is not None:
        parts.append(_u32(28, end.netns))
    return b"".join(parts)


def new_bridge(name: str, mac: str | None, mtu: int | None, *, stp: bool) -> Message:
    """Create a bridge, still down; its MAC is set, or it would follow the lowest of its ports'."""
    parts = [_text(3, name)]
    if mac is not None:
        parts.append(attribute(1, _mac(mac)))
    if mtu is not None:
        parts.append(_u32(4, mtu))
    parts.append(attribute(18, _bridge_info(stp=stp)))
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, IFINFO_FORMAT.pack(0, 0, 0, 0, 0) + b"".join(parts))


def _bridge_info(*, stp: bool) -> bytes:
    return _text(1, "bridge") + attribute(2, _u32(5, int(stp)))


def set_link(index: int, settings: LinkSettings) -> Message:
    """Change a link; with `index` 0 the link is found by `settings.name`, else that name is given to it."""
    flags = 0 if settings.up is None else int(settings.up)
    change = 0 if settings.up is None else IFF_UP
    parts = [IFINFO_FORMAT.pack(0, 0, index, flags, change)]
    if settings.name is not None:
        parts.append(_text(3, settings.name))
    if settings.alias is not None:
        parts.append(attribute(20, settings.alias.encode()))
    if settings.mac is not None:
        parts.append(attribute(1, _mac(settings.mac)))
    for kind, number in ((4, settings.mtu), (10, settings.master), (27, settings.group)):
        if number is not None:
            parts.append(_u32(kind, number))
    if settings.stp is not None:
        parts.append(attribute(18, _bridge_info(stp=settings.stp)))
    if settings.no_link_local:
        mode = attribute(8, b"\1")
        parts.append(attribute(26 | _NESTED, attribute(socket.AF_INET6 | _NESTED, mode)))
    # IFLA_LINKINFO is only looked at by RTM_NEWLINK.
    return Message(RTM_NEWLINK if settings.stp is not None else RTM_SETLINK, 0, b"".join(parts))


def add_altname(index: int, name: str) -> Message:
    """Give a link a further name, which may be up to 127 characters long."""
    body = IFINFO_FORMAT.pack(0, 0, index, 0, 0) + attribute(52 | _NESTED, _text(53, name))
    return Message(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, body)


def delete_group(group: int) -> Message:
    """Delete every link of a group at once: the kernel waits for its grace periods once, not once a link."""
    return Message(RTM_DELLINK, 0, IFINFO_FORMAT.pack(0, 0, 0, 0, 0) + _u32(27, group))


def delete_link(index: int) -> Message:
    """Delete one link."""
    return Message(RTM_DELLINK, 0, IFINFO_FORMAT.pack(0, 0, index, 0, 0))


def _packed(address: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def address_message(operation: int, index: int, address: str, *, nodad: bool = False) -> Message:
    """Add (RTM_NEWADDR, replacing) or delete (RTM_DELADDR) `address`, given with its prefix length."""
    plain, _, length = address.partition("/")
    family, packed = _packed(plain)
    body = IFADDR_FORMAT.pack(family, int(length), 0, 0, index) + attribute(2, packed) + attribute(1, packed)
    if operation == RTM_NEWADDR:
        flags = _u32(8, IFA_F_NODAD) if nodad and family == socket.AF_INET6 else b""
        return Message(operation, NLM_F_CREATE | NLM_F_REPLACE, body + flags + attribute(11, bytes([PROTO])))
    return Message(operation, 0, body)


def route_message(operation: int, route: Route) -> Message:
    """Add (RTM_NEWROUTE, replacing) or delete (RTM_DELROUTE) a route."""
    plain, _, length = route.destination.partition("/")
    family, packed = _packed(plain)
    # RTN_UNSPEC and RT_SCOPE_NOWHERE in a deletion match any type and scope (fib_table_delete()).
    deleting = operation == RTM_DELROUTE
    direct = route.type == "unicast" and not route.via and not any(hop[0] for hop in route.nexthops)
    scope = 255 if deleting else 253 if direct and family == socket.AF_INET else 0
    kind = 0 if deleting else ROUTE_TYPES[route.type]
    table = route.table if route.table < 256 else 0
    parts = [ROUTE_FORMAT.pack(family, int(length), 0, 0, table, 0 if deleting else PROTO, scope, kind, 0)]
    if int(length):
        parts.append(attribute(1, packed))
    parts.append(_u32(15, route.table))
    if route.metric:
        parts.append(_u32(6, route.metric))
    if not deleting:
        parts.append(_next(route))
    return Message(operation, 0 if deleting else NLM_F_CREATE | NLM_F_REPLACE, b"".join(parts))


def _next(route: Route) -> bytes:
    parts = []
    if route.source:
        parts.append(attribute(7, _packed(route.source)[1]))
    if route.via:
        parts.append(attribute(5, _packed(route.via)[1]))
    if route.ifindex is not None:
        parts.append(_u32(4, route.ifindex))
    if route.nexthops:
        parts.append(attribute(9, b"".join(_hop(*hop) for hop in route.nexthops)))
    return b"".join(parts)


def _hop(via: str | None, index: int, weight: int) -> bytes:
    gateway = attribute(5, _packed(via)[1]) if via else b""
    return NEXTHOP_FORMAT.pack(8 + len(gateway), 0, weight - 1, index) + gateway


def get_links() -> Message:
    """Ask for all links, without their counters."""
    return Message(RTM_GETLINK, NLM_F_DUMP, IFINFO_FORMAT.pack(0, 0, 0, 0, 0) + _u32(29, 8))


def get_link(name: str) -> Message:
    """Ask for one link by its name."""
    return Message(RTM_GETLINK, 0, IFINFO_FORMAT.pack(0, 0, 0, 0, 0) + _text(3, name) + _u32(29, 8))


def get_addresses(version: int) -> Message:
    """Ask for all addresses of IPv4 or IPv6."""
    return Message(RTM_GETADDR, NLM_F_DUMP, IFADDR_FORMAT.pack(_FAMILIES[version], 0, 0, 0, 0))


def get_routes(version: int, proto: int = PROTO) -> Message:
    """Ask for the IPv4 or IPv6 routes with a protocol number, 0 for all; the kernel chooses if the socket checks strictly."""
    return Message(RTM_GETROUTE, NLM_F_DUMP, ROUTE_FORMAT.pack(_FAMILIES[version], 0, 0, 0, 0, proto, 0, 0, 0))


def packed_together(messages: Sequence[tuple[Message, int]]) -> bytes:
    """Give several messages, each with its sequence number, as one datagram."""
    return b"".join(pack(message, sequence) for message, sequence in messages)
