"""Read what the kernel answers: the other half of the codec in `rtnl`, for links, addresses and routes."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from nsprov.kernel import encapsulation
from nsprov.kernel.rtnl import (
    ATTRIBUTE_FORMAT,
    HEADER_FORMAT,
    IFA_F_NODAD,
    IFADDR_FORMAT,
    IFF_UP,
    IFINFO_FORMAT,
    LOCAL_TABLE,
    NEXTHOP_FORMAT,
    ROUTE_FORMAT,
    ROUTE_TYPES,
    Address,
    Link,
    Route,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUTE_TYPE_NAMES = {number: name for name, number in ROUTE_TYPES.items()}
_U32 = struct.Struct("=I")


def split(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Give `(type, sequence, start of body, end)` of each message in a datagram; stop at what cannot be one."""
    position, size = 0, len(data)
    while position + 16 <= size:
        length, kind, _, sequence, _ = HEADER_FORMAT.unpack_from(data, position)
        if length < HEADER_FORMAT.size:
            return
        yield kind, sequence, position + 16, position + length
        position += (length + 3) & ~3


def attributes(data: bytes, start: int, end: int) -> dict[int, tuple[int, int]]:
    """Give where each attribute's payload lies, by type; stop at what cannot be an attribute."""
    found: dict[int, tuple[int, int]] = {}
    # A cast to 16-bit words reads a header three times as fast as struct does; every message is padded to four.
    words = memoryview(data).cast("H")
    while start + 4 <= end:
        length = words[start >> 1]
        if length < 4:
            break
        found[words[(start >> 1) + 1] & 0x3FFF] = (start + 4, start + length)
        start += (length + 3) & ~3
    return found


def _string(data: bytes, span: tuple[int, int] | None) -> str:
    return "" if span is None else data[span[0] : span[1]].rstrip(b"\0").decode(errors="replace")


def _number(data: bytes, span: tuple[int, int] | None) -> int:
    return 0 if span is None else int(_U32.unpack_from(data, span[0])[0])


def parse_link(data: bytes, start: int, end: int) -> Link:
    """Read the body of an RTM_NEWLINK message."""
    _, _, index, flags, _ = IFINFO_FORMAT.unpack_from(data, start)
    found = attributes(data, start + 16, end)
    info = attributes(data, *found[18]) if 18 in found else {}
    kind = _string(data, info.get(1))
    stp = kind == "bridge" and 2 in info and bool(_number(data, attributes(data, *info[2]).get(5)))
    tunnel = encapsulation.parse(kind, data, attributes(data, *info[2])) if 2 in info and kind in encapsulation.KINDS else None
    mac = found.get(1)
    return Link(
        ifindex=index,
        name=_string(data, found.get(3)),
        up=bool(flags & IFF_UP),
        mtu=_number(data, found.get(4)),
        mac=data[mac[0] : mac[1]].hex(":") if mac else "",
        master=_number(data, found.get(10)),
        alias=_string(data, found.get(20)),
        peer=_number(data, found.get(5)),
        peer_netns=_number(data, found[37]) if 37 in found else None,
        kind=kind,
        stp=stp,
        altnames=tuple(_altnames(data, *found[52])) if 52 in found else (),
        tunnel=tunnel,
    )


def _altnames(data: bytes, start: int, end: int) -> Iterator[str]:
    while start + 4 <= end:
        length, _ = ATTRIBUTE_FORMAT.unpack_from(data, start)
        if length < ATTRIBUTE_FORMAT.size:
            return
        yield _string(data, (start + 4, start + length))
        start += (length + 3) & ~3


def parse_address(data: bytes, start: int, end: int) -> Address:
    """Read the body of an RTM_NEWADDR message; IFA_LOCAL is ours, IFA_ADDRESS may be a peer's."""
    family, length, flags, _, index = IFADDR_FORMAT.unpack_from(data, start)
    found = attributes(data, start + 8, end)
    span = found.get(2) or found[1]
    wide = _number(data, found.get(8)) or flags
    proto = data[found[11][0]] if 11 in found else 0
    text = socket.inet_ntop(family, data[span[0] : span[1]])
    return Address(index, f"{text}/{length}", bool(wide & IFA_F_NODAD), proto)


def parse_route(data: bytes, start: int, end: int) -> Route | None:
    """Read the body of an RTM_NEWROUTE message; `None` for what no user declares (local table, other types)."""
    family, length, _, _, table, proto, _, kind, flags = ROUTE_FORMAT.unpack_from(data, start)
    name = _ROUTE_TYPE_NAMES.get(kind)
    if table == LOCAL_TABLE or name is None or flags & 0x200 or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = attributes(data, start + 12, end)
    size = 4 if family == socket.AF_INET else 16
    packed = data[slice(*found[1])] if 1 in found else bytes(size)
    return Route(
        destination=f"{socket.inet_ntop(family, packed)}/{length}",
        table=_number(data, found[15]) if 15 in found else table,
        metric=_number(data, found.get(6)),
        type=name,
        proto=proto,
        via=_gateway(data, found, family),
        ifindex=_number(data, found[4]) if 4 in found and name == "unicast" else None,
        source=socket.inet_ntop(family, data[slice(*found[7])]) if 7 in found else None,
        nexthops=tuple(_hops(data, *found[9], family)) if 9 in found else (),
    )


def _gateway(data: bytes, found: dict[int, tuple[int, int]], family: int) -> str | None:
    return socket.inet_ntop(family, data[slice(*found[5])]) if 5 in found else None


def _hops(data: bytes, start: int, end: int, family: int) -> Iterator[tuple[str | None, int, int]]:
    while start + 8 <= end:
        length, _, weight, index = NEXTHOP_FORMAT.unpack_from(data, start)
        if length < NEXTHOP_FORMAT.size:
            return
        yield _gateway(data, attributes(data, start + 8, start + length), family), index, weight + 1
        start += (length + 3) & ~3
