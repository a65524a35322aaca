"""One end of a VXLAN: the interface of a node whose link leads to another host, or the port of a bridge that spans hosts.

    links:
      - {endpoints: [r1:eth1, r2:eth1], tunnel: vxlan}

It is made in the host's network namespace and born in the node's: its socket stays with the host, so the node needs no way
to the other hosts. Nothing is multicast: what is for all goes to each remote, by one entry of the forwarding table each.
A link between two nodes learns nothing, for there is one way only; a bridge's port learns who is behind which remote.

Every packet is sent with DF (`df set`): one that is too large for the path is then told to its sender and not cut to pieces.
UDP checksums are on, for IPv6 too (`udpcsum`, ip-link(8)). They cost next to nothing, because the kernel makes them of the
inner ones ("LCO: Local Checksum Offload" in its documentation), and large segments are cut last, by the NIC if it can
(NETIF_F_GSO_UDP_TUNNEL_CSUM).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import linktypes, tunnels
from nsprov.kernel.encapsulation import NewLink, forwarding, new_vxlan
from nsprov.kernel.netlink import Request, creating
from nsprov.kernel.rtnl import LinkSettings, Tunnel, set_link
from nsprov.plan.links import SingleLink
from nsprov.plan.resource import HOST, IDENTITY, REPLACE, Ref, place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from nsprov.kernel.machine import Kernel
    from nsprov.kernel.rtnl import Link

NAME = "vxlan"
_CHUNK = 32


@dataclass(frozen=True)
class Vxlan(SingleLink):
    """`node` is empty for a port of a bridge on the host; `local` and `remotes` are addresses of hosts.

    `master` is a bridge in the same place, empty for none. `intact` is false for one that was renamed or moved.
    """

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    ifname: str = field(metadata=IDENTITY)
    vni: int = field(metadata=REPLACE)
    port: int = field(metadata=REPLACE)
    local: str = field(metadata=REPLACE)
    remotes: tuple[str, ...]
    learning: bool | None = field(default=None, metadata=REPLACE)
    mac: str | None = None
    mtu: int | None = None
    master: str | None = None
    state: str | None = None
    intact: bool = field(default=True, metadata=REPLACE)


SCHEMA = Vxlan


def observe(kernel: Kernel, known: Mapping[Ref, Vxlan]) -> Iterable[Vxlan]:
    """Give the VXLAN devices that bear the lab's mark, wherever they are."""
    for node, link, ref in tunnels.marked(kernel, NAME, {ref: want.node for ref, want in known.items()}):
        yield _observed(kernel, node, link, ref)


def _observed(kernel: Kernel, node: str, link: Link, ref: Ref) -> Vxlan:
    where, _, ifname = ref.name.partition("/")
    told = link.tunnel or Tunnel(0, 0, "", "", learning=False)
    return Vxlan(
        node="" if where == "host" else where,
        ifname=ifname,
        vni=told.id,
        port=told.port,
        local=told.local,
        remotes=tunnels.remotes(kernel, node, link.ifindex),
        learning=told.learning,
        mac=link.mac,
        mtu=link.mtu,
        master=kernel.seen.master(node, link),
        state="up" if link.up else "down",
        intact=ref.name == f"{place(node)}/{link.name}",
    )


def obstacles(kernel: Kernel, wants: Sequence[Vxlan]) -> Mapping[Ref, str]:
    """A link of that name or a VXLAN with its number that is not ours, or a kernel without VXLAN."""
    lacking = linktypes.lacks(kernel, NAME)
    if lacking:
        return {want.ref(): lacking for want in wants}
    others = tunnels.taken(kernel)
    found = {
        want.ref(): f"VNI {want.vni} on UDP port {want.port} is in use by {others[want.vni, want.port]}."
        for want in wants
        if (want.vni, want.port) in others
    }
    return {**found, **kernel.taken((want.ref(), want.node, want.ifname) for want in wants)}


def create(kernel: Kernel, wants: Sequence[Vxlan]) -> None:
    """Create the devices in place, mark them, tell them their remotes, and set them up."""

    def finish(done: Collection[Ref]) -> Iterator[Request]:
        for want in wants:
            if want.ref() in done:
                yield from _finished(kernel, want)

    with creating(kernel.netlink, finish) as done:
        for start in range(0, len(wants), _CHUNK):
            chunk = wants[start : start + _CHUNK]
            with kernel.namespaces.opened(want.node for want in chunk) as pins:
                news = (Request(HOST, new_vxlan(_new(want, pins), _tunnel(want)), want.ref()) for want in chunk)
                kernel.netlink.send(news, done)
    kernel.netlink.forget()


def _new(want: Vxlan, pins: Mapping[str, int]) -> NewLink:
    return NewLink(_born(want), want.mac, want.mtu, pins.get(want.node))


def _born(want: Vxlan) -> str:
    """Name a device until it is renamed: before Linux 6.15 a new name must be free where the request comes from, too."""
    return f"nsp{want.vni:x}" if want.node else want.ifname


def _tunnel(want: Vxlan) -> Tunnel:
    return Tunnel(want.vni, want.port, want.local, "", learning=bool(want.learning))


def _finished(kernel: Kernel, want: Vxlan) -> Iterator[Request]:
    """Do what creation could not; a bridge's port needs no link-local address of its own."""
    index = kernel.netlink.ifindex(want.node, _born(want))
    master = kernel.netlink.ifindex(want.node, want.master) if want.master else None
    settings = LinkSettings(want.ifname, kernel.mark(want.ref()), master=master, no_link_local=bool(want.master))
    yield Request(want.node, set_link(index, settings), want.ref())
    for remote in want.remotes:
        yield Request(want.node, forwarding(index, remote, add=True), want.ref())
    if want.state == "up":
        yield Request(want.node, set_link(index, LinkSettings(up=True)), want.ref())


def update(kernel: Kernel, pairs: Sequence[tuple[Vxlan, Vxlan]]) -> None:
    """Set what differs, in place; new remotes are told before old ones go."""
    kernel.netlink.send(request for before, after in pairs for request in _differences(kernel, before, after))


def _differences(kernel: Kernel, before: Vxlan, after: Vxlan) -> Iterator[Request]:
    index = kernel.netlink.ifindex(after.node, after.ifname)
    for remotes, add in ((set(after.remotes) - set(before.remotes), True), (set(before.remotes) - set(after.remotes), False)):
        for remote in sorted(remotes):
            yield Request(after.node, forwarding(index, remote, add=add), after.ref(), absent_is_fine=not add)
    settings = tunnels.difference(kernel, after.node, before, after)
    if settings != LinkSettings():
        yield Request(after.node, set_link(index, settings), after.ref())


def delete(kernel: Kernel, haves: Sequence[Vxlan]) -> None:
    """Delete the devices, where they belong or where somebody has moved them."""
    kernel.delete_links(NAME, [have.ref() for have in haves], {HOST, *(have.node for have in haves)})
