"""Links that carry frames through the network of their host: VXLAN, and Ethernet over GRE; and where they send what.

A part of the codec in `rtnl` and `answers`: pure functions between values and bytes (linux/if_link.h, linux/if_tunnel.h,
linux/neighbour.h).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsprov.kernel import rtnl
from nsprov.kernel.rtnl import Message, Tunnel

if TYPE_CHECKING:
    from collections.abc import Mapping

    Spans = Mapping[int, tuple[int, int]]

VXLAN, GRETAP, IP6GRETAP = "vxlan", "gretap", "ip6gretap"
KINDS = frozenset({VXLAN, GRETAP, IP6GRETAP})
ALL_ZEROS = bytes(6)
"""The address of the entries that say where frames go whose receiver is not known, and those for all."""

_RTM_NEWNEIGH, _RTM_DELNEIGH, _RTM_GETNEIGH = 28, 29, 30
_NLM_F_APPEND = 0x800
NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NUD_PERMANENT, _NTF_SELF = 0x80, 0x02
_DST, _LLADDR = 1, 2
_LENGTH6 = 16

_ID, _V_LOCAL, _LEARNING, _PORT, _V_LOCAL6 = 1, 4, 7, 15, 17
_CSUM, _ZERO_TX6, _ZERO_RX6, _DF = 18, 19, 20, 29
_DF_SET = 1

_IFLAGS, _OFLAGS, _IKEY, _OKEY, _G_LOCAL, _REMOTE, _PMTUDISC, _ENCAP_LIMIT, _FLAGS = 2, 3, 4, 5, 6, 7, 10, 11, 13
_GRE_KEY = 0x2000
_IP6_TNL_F_IGN_ENCAP_LIMIT = 1


@dataclass(frozen=True)
class NewLink:
    """What a new tunnel's link is called and where it is born; `netns` is a descriptor, `None` for the sender's."""

    name: str
    mac: str | None = None
    mtu: int | None = None
    netns: int | None = None


def new_vxlan(link: NewLink, tunnel: Tunnel) -> Message:
    """Create a VXLAN device that sends nothing anywhere yet.

    Its socket is in the sender's namespace, wherever the device itself is (`src_net` in vxlan_newlink()).
    """
    is_v6 = ":" in tunnel.local
    data = [
        rtnl.attribute(_ID, struct.pack("=I", tunnel.id)),
        rtnl.attribute(_V_LOCAL6 if is_v6 else _V_LOCAL, _packed(tunnel.local)),
        rtnl.attribute(_PORT, struct.pack("!H", tunnel.port)),
        *(rtnl.attribute(kind, bytes([flag])) for kind, flag in ((_LEARNING, tunnel.learning), (_CSUM, 1))),
        *(rtnl.attribute(kind, b"\0") for kind in (_ZERO_TX6, _ZERO_RX6)),
        rtnl.attribute(_DF, bytes([_DF_SET])),
    ]
    return _new(link, VXLAN, b"".join(data))


def new_gretap(link: NewLink, tunnel: Tunnel) -> Message:
    """Create an Ethernet over GRE device; DF is set on what it sends (IFLA_GRE_PMTUDISC, and always over IPv6)."""
    key = struct.pack("!I", tunnel.id)
    data = [
        *(rtnl.attribute(kind, struct.pack("!H", _GRE_KEY)) for kind in (_IFLAGS, _OFLAGS)),
        *(rtnl.attribute(kind, key) for kind in (_IKEY, _OKEY)),
        rtnl.attribute(_G_LOCAL, _packed(tunnel.local)),
        rtnl.attribute(_REMOTE, _packed(tunnel.remote)),
    ]
    if ":" in tunnel.local:
        # Without this flag the kernel puts 8 bytes of options before GRE, that limit how deep tunnels may be nested.
        data.append(rtnl.attribute(_FLAGS, struct.pack("=I", _IP6_TNL_F_IGN_ENCAP_LIMIT)))
    else:
        data.append(rtnl.attribute(_PMTUDISC, b"\1"))
    return _new(link, gretap_type(tunnel.local), b"".join(data))


def gretap_type(local: str) -> str:
    """Give the type of links for Ethernet over GRE between addresses of this family."""
    return IP6GRETAP if ":" in local else GRETAP


def _new(link: NewLink, kind: str, data: bytes) -> Message:
    parts = [rtnl.IFINFO_FORMAT.pack(0, 0, 0, 0, 0), rtnl.attribute(3, link.name.encode() + b"\0")]
    if link.mac is not None:
        parts.append(rtnl.attribute(1, bytes.fromhex(link.mac.replace(":", ""))))
    for attribute, number in ((4, link.mtu), (28, link.netns)):
        if number is not None:
            parts.append(rtnl.attribute(attribute, struct.pack("=I", number)))
    parts.append(rtnl.attribute(18, rtnl.attribute(1, kind.encode() + b"\0") + rtnl.attribute(2, data)))
    return Message(rtnl.RTM_NEWLINK, rtnl.NLM_F_CREATE | rtnl.NLM_F_EXCL, b"".join(parts))


def move_link(index: int, name: str, netns: int) -> Message:
    """Move a link into another namespace, where it gets its name: the one that it has need not be free there."""
    body = rtnl.IFINFO_FORMAT.pack(0, 0, index, 0, 0) + rtnl.attribute(3, name.encode() + b"\0")
    return Message(rtnl.RTM_SETLINK, 0, body + rtnl.attribute(28, struct.pack("=I", netns)))


def parse(kind: str, data: bytes, found: Spans) -> Tunnel:
    """Read what a link of one of `KINDS` says of its tunnel (IFLA_INFO_DATA)."""
    if kind == VXLAN:
        local, number, port = found.get(_V_LOCAL) or found.get(_V_LOCAL6), found.get(_ID), found.get(_PORT)
        learning = _LEARNING in found and bool(data[found[_LEARNING][0]])
        return Tunnel(_integer(data, number, "=I"), _integer(data, port, "!H"), _text(data, local), "", learning)
    local, remote, key = found.get(_G_LOCAL), found.get(_REMOTE), found.get(_IKEY)
    return Tunnel(_integer(data, key, "!I"), 0, _text(data, local), _text(data, remote), learning=False)


def forwarding(index: int, remote: str, *, add: bool) -> Message:
    """Begin or stop to send a VXLAN device's frames for all, and for whoever is not known, to a remote address too."""
    body = NEIGHBOUR.pack(socket.AF_BRIDGE, index, _NUD_PERMANENT if add else 0, _NTF_SELF, 0)
    body += rtnl.attribute(_DST, _packed(remote)) + rtnl.attribute(_LLADDR, ALL_ZEROS)
    # Without NLM_F_APPEND a second remote would be refused, or take the first one's place (vxlan_fdb_update_existing()).
    return Message(_RTM_NEWNEIGH if add else _RTM_DELNEIGH, rtnl.NLM_F_CREATE | _NLM_F_APPEND if add else 0, body)


def get_forwarding(index: int) -> Message:
    """Ask for what a device knows of who is behind which address."""
    return Message(_RTM_GETNEIGH, rtnl.NLM_F_DUMP, NEIGHBOUR.pack(socket.AF_BRIDGE, index, 0, 0, 0))


def forwards_all(data: bytes, start: int, found: Spans) -> str:
    """Give the remote of an entry for all and for whoever is not known, from the body of an RTM_NEWNEIGH message."""
    flags = NEIGHBOUR.unpack_from(data, start)[3]
    is_for_all = data[slice(*found.get(_LLADDR, (0, 0)))] == ALL_ZEROS
    return _text(data, found[_DST]) if flags & _NTF_SELF and is_for_all and _DST in found else ""


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _integer(data: bytes, span: tuple[int, int] | None, form: str) -> int:
    return 0 if span is None else int(struct.unpack_from(form, data, span[0])[0])


def _text(data: bytes, span: tuple[int, int] | None) -> str:
    """Write an address; the kernel tells the one that was not given as zeros, or not at all."""
    raw = b"" if span is None else data[span[0] : span[1]]
    return socket.inet_ntop(socket.AF_INET6 if len(raw) == _LENGTH6 else socket.AF_INET, raw) if any(raw) else ""
