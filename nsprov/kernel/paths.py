"""How this host reaches others: from which address, through which device, and how large a packet gets there."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import TYPE_CHECKING

from nsprov.kernel import rtnl
from nsprov.kernel.answers import attributes
from nsprov.plan.resource import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nsprov.kernel.machine import Kernel

_HEADER = rtnl.HEADER_FORMAT.size
_DST, _OIF, _PREFSRC, _METRICS = 1, 4, 7, 8
_RTAX_MTU = 2


def lookup(kernel: Kernel, remotes: Iterable[str]) -> dict[str, tuple[str, int, str]]:
    """Give source address, path MTU and device for each remote address that there is a route to.

    The path MTU is what the kernel has learned of the path or its route says, else what the device takes. No packet is sent.
    """
    devices = {link.ifindex: link for link in kernel.seen.dump(HOST).links}
    found = {}
    for remote in remotes:
        with contextlib.suppress(OSError):  # there is no route to it: then it has no path, which is what we say
            source, mtu, index = _route(kernel, remote)
            if index in devices:
                found[remote] = (source, min(filter(None, (mtu, devices[index].mtu))), devices[index].name)
    return found


def _route(kernel: Kernel, remote: str) -> tuple[str, int, int]:
    """Ask for the route to an address, as a packet would take it (ip-route(8), `get`)."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    packed = socket.inet_pton(family, remote)
    head = rtnl.ROUTE_FORMAT.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    question = rtnl.Message(rtnl.RTM_GETROUTE, 0, head + rtnl.attribute(_DST, packed))
    (answer,) = kernel.netlink.dump_raw(HOST, question)
    spans = attributes(answer, _HEADER + rtnl.ROUTE_FORMAT.size, len(answer))
    metrics = attributes(answer, *spans[_METRICS]) if _METRICS in spans else {}
    source = socket.inet_ntop(family, answer[slice(*spans[_PREFSRC])]) if _PREFSRC in spans else ""
    return source, _number(answer, metrics.get(_RTAX_MTU)), _number(answer, spans.get(_OIF))


def _number(data: bytes, span: tuple[int, int] | None) -> int:
    return 0 if span is None else int.from_bytes(data[slice(*span)], sys.byteorder)
