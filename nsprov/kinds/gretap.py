"""One end of an Ethernet over GRE link: the interface of a node whose link leads to another host.

    links:
      - {endpoints: [r1:eth1, r2:eth1], tunnel: gre}

It is made in the host's network namespace, under a name for that moment, and moved into the node, for only there it takes
its name: older kernels tie such a link to the namespace that it is born in, and the host's is what leads to the other hosts
(`tunnel->net` in ip_tunnel_init(), until Linux 6.15). The key tells the links between two hosts from each other.
Every packet is sent with DF: one that is too large for the path is then told to its sender and not cut to pieces.
Over IPv6 the kernel has another type of link for the same, ip6gretap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2s
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import linktypes, tunnels
from nsprov.kernel.encapsulation import NewLink, gretap_type, move_link, new_gretap
from nsprov.kernel.netlink import Request
from nsprov.kernel.rtnl import LinkSettings, Tunnel, delete_link, set_link
from nsprov.plan.links import SingleLink
from nsprov.plan.resource import HOST, IDENTITY, REPLACE, Ref, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nsprov.kernel.machine import Kernel
    from nsprov.kernel.rtnl import Link

NAME = "gretap"


@dataclass(frozen=True)
class Gretap(SingleLink):
    """`local` and `remote` are addresses of hosts; `master` is a bridge in the same place, empty for none.

    `intact` is false for one that was renamed or moved.
    """

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    ifname: str = field(metadata=IDENTITY)
    key: int = field(metadata=REPLACE)
    local: str = field(metadata=REPLACE)
    remote: str = field(metadata=REPLACE)
    mac: str | None = None
    mtu: int | None = None
    master: str | None = None
    state: str | None = None
    intact: bool = field(default=True, metadata=REPLACE)


SCHEMA = Gretap


def observe(kernel: Kernel, known: Mapping[Ref, Gretap]) -> Iterable[Gretap]:
    """Give the devices that bear the lab's mark, wherever they are, and those of `known` that were left half made."""
    found = set()
    for node, link, ref in tunnels.marked(kernel, NAME, {ref: want.node for ref, want in known.items()}):
        found.add(ref)
        yield _observed(kernel, node, link, ref)
    links = kernel.seen.links(HOST)
    for ref in known.keys() - found:
        half = links.get(_cradle(kernel, ref))
        if half is not None and half.tunnel:
            yield _observed(kernel, HOST, half, ref)


def _cradle(kernel: Kernel, ref: Ref) -> str:
    """Name a device between its making and its moving."""
    return "nsp" + blake2s(kernel.mark(ref).encode(), digest_size=6).hexdigest()


def _observed(kernel: Kernel, node: str, link: Link, ref: Ref) -> Gretap:
    where, _, ifname = ref.name.partition("/")
    told = link.tunnel or Tunnel(0, 0, "", "", learning=False)
    return Gretap(
        node="" if where == "host" else where,
        ifname=ifname,
        key=told.id,
        local=told.local,
        remote=told.remote,
        mac=link.mac,
        mtu=link.mtu,
        master=kernel.seen.master(node, link),
        state="up" if link.up else "down",
        intact=ref.name == f"{place(node)}/{link.name}",
    )


def obstacles(kernel: Kernel, wants: Sequence[Gretap]) -> Mapping[Ref, str]:
    """A link of that name that is not ours, or a kernel without GRE."""
    found = {want.ref(): linktypes.lacks(kernel, gretap_type(want.local)) for want in wants}
    lacking = {ref: text for ref, text in found.items() if text}
    return lacking or kernel.taken((want.ref(), want.node, want.ifname) for want in wants)


def create(kernel: Kernel, wants: Sequence[Gretap]) -> None:
    """Create the devices on the host, move them into place, mark them, and set them up."""
    for want in wants:
        name = _cradle(kernel, want.ref())
        tunnel = Tunnel(want.key, 0, want.local, want.remote, learning=False)
        kernel.netlink.send([Request(HOST, new_gretap(NewLink(name, want.mac, want.mtu), tunnel), want.ref())])
        index = kernel.netlink.ifindex(HOST, name)
        message = set_link(index, LinkSettings(name=want.ifname))
        with kernel.namespaces.opened([want.node]) as pins:
            if want.node in pins:
                message = move_link(index, want.ifname, pins[want.node])
            kernel.netlink.send([Request(HOST, message, want.ref())])
        kernel.netlink.forget()
        kernel.netlink.send(_finished(kernel, want))


def _finished(kernel: Kernel, want: Gretap) -> Iterator[Request]:
    """Do what creation could not; a bridge's port needs no link-local address of its own."""
    index = kernel.netlink.ifindex(want.node, want.ifname)
    master = kernel.netlink.ifindex(want.node, want.master) if want.master else None
    settings = LinkSettings(alias=kernel.mark(want.ref()), master=master, no_link_local=bool(want.master))
    yield Request(want.node, set_link(index, settings), want.ref())
    if want.state == "up":
        yield Request(want.node, set_link(index, LinkSettings(up=True)), want.ref())


def update(kernel: Kernel, pairs: Sequence[tuple[Gretap, Gretap]]) -> None:
    """Set what differs, in place."""
    for before, after in pairs:
        settings = tunnels.difference(kernel, after.node, before, after)
        index = kernel.netlink.ifindex(after.node, after.ifname)
        kernel.netlink.send([Request(after.node, set_link(index, settings), after.ref())])


def delete(kernel: Kernel, haves: Sequence[Gretap]) -> None:
    """Delete the devices, where they belong, where somebody has moved them, or where they were left half made."""
    kernel.delete_links(NAME, [have.ref() for have in haves], {HOST, *(have.node for have in haves)})
    links = kernel.seen.links(HOST)
    for have in haves:
        half = links.get(_cradle(kernel, have.ref()))
        if half is not None and half.tunnel:
            kernel.netlink.send([Request(HOST, delete_link(half.ifindex), have.ref(), absent_is_fine=True)])
