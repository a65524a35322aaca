"""What tunnels there are on this host: where ours send their frames, and what identifiers others have."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from nsprov.errors import KernelError
from nsprov.kernel import lab
from nsprov.kernel.answers import attributes
from nsprov.kernel.encapsulation import NEIGHBOUR, VXLAN, forwards_all, get_forwarding
from nsprov.kernel.rtnl import HEADER_FORMAT, LinkSettings
from nsprov.plan.resource import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.kernel.machine import Kernel
    from nsprov.kernel.rtnl import Link
    from nsprov.plan.resource import Ref

_HEADER = HEADER_FORMAT.size


class Placed(Protocol):
    """What the kinds of tunnels have in common that changes in place."""

    @property
    def mac(self) -> str | None:
        """Its MAC address."""

    @property
    def mtu(self) -> int | None:
        """Its MTU."""

    @property
    def master(self) -> str | None:
        """The bridge whose port it is."""

    @property
    def state(self) -> str | None:
        """Whether it is "up" or "down"."""


def marked(kernel: Kernel, kind: str, places: Mapping[Ref, str]) -> Iterator[tuple[str, Link, Ref]]:
    """Give the tunnels that bear this lab's marks, with where they are; `places` says where those belong that are known.

    Where one is not found under its name, all links there are looked at: it may have been renamed, and is still in the way.
    """
    nodes = [HOST, *kernel.namespaces.names]
    found = {ref for _, _, ref, _ in kernel.seen.marked_links(nodes, kind)}
    for ref, node in places.items():
        if ref not in found:
            kernel.seen.widen(node)
    for node, link, ref, _ in kernel.seen.marked_links(nodes, kind):
        if link.tunnel:
            yield node, link, ref


def difference(kernel: Kernel, node: str, before: Placed, after: Placed) -> LinkSettings:
    """Give what has to be set of a link so that it is as after; `master` is by index."""
    master = None
    if after.master is not None and after.master != before.master:
        master = kernel.netlink.ifindex(node, after.master) if after.master else 0
    return LinkSettings(
        mac=after.mac if after.mac != before.mac else None,
        mtu=after.mtu if after.mtu != before.mtu else None,
        master=master,
        up=after.state == "up" if after.state not in (None, before.state) else None,
    )


def remotes(kernel: Kernel, node: str, index: int) -> tuple[str, ...]:
    """Give the addresses to which a VXLAN device sends what is for all."""
    found = set()
    for data in kernel.netlink.dump_raw(node, get_forwarding(index)):
        found.add(forwards_all(data, _HEADER, attributes(data, _HEADER + NEIGHBOUR.size, len(data))))
    return tuple(sorted(found - {""}))


def taken(kernel: Kernel) -> dict[tuple[int, int], str]:
    """Give whose each (VNI, UDP port) is on this host that is not this lab's.

    A device counts where its socket is, and it may be in any namespace: those of other labs are in their records.
    """
    found = {}
    for name in lab.labs():
        if name != kernel.lab.name:
            found.update({(row.get("vni", 0), row.get("port", 0)): f'lab "{name}"' for row in _recorded(name)})
    for link in kernel.seen.dump(HOST).links:
        # One that has a number for the namespace of its socket is here from elsewhere, and does not stand in our way.
        if link.kind == VXLAN and link.tunnel and link.peer_netns is None and not kernel.marked(link):
            found.setdefault((link.tunnel.id, link.tunnel.port), f'the link "{link.name}"')
    return found


def _recorded(name: str) -> Iterator[Mapping[str, int]]:
    """Give the VXLAN devices in a lab's record, and in what a run on it is about to do."""
    for file in ("journal.json", "manifest.json"):
        with contextlib.suppress(KernelError):  # it is damaged, which whoever works on that lab is told
            rows = lab.Lab(name).read(file).get("resources")
            for row in rows if isinstance(rows, list) else ():
                if isinstance(row, list) and row[:1] == [VXLAN] and isinstance(row[-1], dict):
                    yield row[-1]
