"""A veth pair: node to node, node to bridge, or node to host; one resource, for either end takes the other along.

    nodes:
      ns1:
        interfaces:
          eth0: {bridge: lxcbr0}
    links:
      - [ns1:eth1, r1:eth1]

It is created in one request with both ends in their final namespaces under their final names: a move between
namespaces costs a grace period each, and loses addresses and state (veth(4)).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from nsprov.kernel.netlink import Request, creating
from nsprov.kernel.rtnl import LinkSettings, VethEnd, add_altname, new_veth, set_link
from nsprov.plan.resource import HOST, IDENTITY, REPLACE, Ref, Resource, place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from nsprov.kernel.machine import Kernel
    from nsprov.kernel.rtnl import Link

NAME = "veth"
_CHUNK = 32


@dataclass(frozen=True)
class Veth(Resource):
    """`master` is a bridge in the same place, empty for none; an altname is the long form of a shortened name.

    `intact` is false for an observed pair of which an end is missing, renamed, or in another place.
    """

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    ifname: str = field(metadata=IDENTITY)
    peer_node: str = field(metadata=REPLACE)
    peer_ifname: str = field(metadata=REPLACE)
    mac: str | None = None
    peer_mac: str | None = None
    mtu: int | None = None
    peer_mtu: int | None = None
    master: str | None = None
    peer_master: str | None = None
    state: str | None = None
    peer_state: str | None = None
    peer_altname: str | None = None
    intact: bool = field(default=True, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its first end."""
        return Ref(NAME, f"{place(self.node)}/{self.ifname}")

    def provides(self) -> tuple[str, ...]:
        """Addresses and routes need either end, workloads the whole network of their node."""
        ends = (place(self.node), self.ifname), (place(self.peer_node), self.peer_ifname)
        return (*(f"link:{node}/{name}" for node, name in ends), *(f"network:{node}" for node, _ in ends))

    def needs(self) -> tuple[str, ...]:
        """The bridges whose ports its ends are."""
        ends = ((self.node, self.master), (self.peer_node, self.peer_master))
        return tuple(f"link:{place(node)}/{master}" for node, master in ends if master)

    def loses(self, after: Veth) -> tuple[str, ...]:
        """With another MAC the kernel drops all neighbour entries of that end (neigh_changeaddr())."""
        pairs = zip(_ends(self), _ends(after))
        return tuple(f"mac:{place(old.node)}/{old.ifname}" for old, new in pairs if new.mac not in (None, old.mac))

    def stands_on(self) -> tuple[str, ...]:
        """The network namespaces of its ends."""
        return tuple(f"netns:{node}" for node in (self.node, self.peer_node) if node)

    def dies_with(self) -> tuple[str, ...]:
        """Both its nodes; a pair with an end on the host is deleted from there, which is certain and at once."""
        return () if HOST in (self.node, self.peer_node) else self.stands_on()

    def watches(self) -> tuple[tuple[str, str, str | int], ...]:
        """The links of both ends."""
        return (self.node, "link", self.ifname), (self.peer_node, "link", self.peer_ifname)


SCHEMA = Veth


class _End(NamedTuple):
    """One end's settings, for both ends are handled alike."""

    node: str
    ifname: str
    mac: str | None
    mtu: int | None
    master: str | None
    state: str | None
    altname: str | None
    peer: bool


def _ends(veth: Veth) -> tuple[_End, _End]:
    return (
        _End(veth.node, veth.ifname, veth.mac, veth.mtu, veth.master, veth.state, None, peer=False),
        _End(
            veth.peer_node,
            veth.peer_ifname,
            veth.peer_mac,
            veth.peer_mtu,
            veth.peer_master,
            veth.peer_state,
            veth.peer_altname,
            peer=True,
        ),
    )


def observe(kernel: Kernel, known: Mapping[Ref, Veth]) -> Iterable[Veth]:
    """Give the pairs of which at least one end bears the lab's mark."""
    found: dict[Ref, dict[bool, tuple[str, Link]]] = defaultdict(dict)
    for node, link, ref, peer in kernel.seen.marked_links([HOST, *kernel.namespaces.names], NAME):
        found[ref][peer] = (node, link)
    for ref, ends in found.items():
        want = known.get(ref)
        if want is not None:
            _complete(kernel, want, ends)
        yield _observed(kernel, ref, want, ends)


def _complete(kernel: Kernel, want: Veth, ends: dict[bool, tuple[str, Link]]) -> None:
    """Find an end that lost its alias by the index that its partner tells: the pair is one thing."""
    for end in _ends(want):
        other = ends.get(not end.peer)
        if end.peer in ends or other is None:
            continue
        link = kernel.seen.links(end.node).get(end.ifname)
        if link and link.kind == NAME and (link.ifindex, link.peer) == (other[1].peer, other[1].ifindex):
            ends[end.peer] = (end.node, link)


def _observed(kernel: Kernel, ref: Ref, want: Veth | None, ends: dict[bool, tuple[str, Link]]) -> Veth:
    where, _, ifname = ref.name.partition("/")
    node = "" if where == "host" else where
    first, second = ends.get(False), ends.get(True)
    intact = bool(first and second) and (first[0], first[1].name) == (node, ifname)  # type: ignore[index]  # bool() says so
    sides = {"": first, "peer_": second}
    fields: dict[str, object] = {}
    for prefix, side in sides.items():
        if side is not None:
            place_, link = side
            fields[f"{prefix}mac"] = link.mac
            fields[f"{prefix}mtu"] = link.mtu
            fields[f"{prefix}state"] = "up" if link.up else "down"
            fields[f"{prefix}master"] = kernel.seen.master(place_, link)
    return Veth(
        node=node,
        ifname=ifname,
        peer_node=second[0] if second else "",
        peer_ifname=second[1].name if second else "?",
        peer_altname=want.peer_altname if want and second and want.peer_altname in second[1].altnames else None,
        intact=intact,
        **fields,  # type: ignore[arg-type]  # the names above are Veth's own
    )


def obstacles(kernel: Kernel, wants: Sequence[Veth]) -> Mapping[Ref, str]:
    """A link of the name of either end that is not ours."""
    return kernel.taken((want.ref(), end.node, end.ifname) for want in wants for end in _ends(want))


def create(kernel: Kernel, wants: Sequence[Veth]) -> None:
    """Create the pairs in place, then mark their ends and set them up."""

    def finish(done: Collection[Ref]) -> Iterator[Request]:
        for want in wants:
            for end in _ends(want) if want.ref() in done else ():
                yield Request(end.node, set_link(0, _settings(kernel, want, end)), want.ref())

    with creating(kernel.netlink, finish) as done:
        for start in range(0, len(wants), _CHUNK):
            chunk = wants[start : start + _CHUNK]
            with kernel.namespaces.opened(end.node for want in chunk for end in _ends(want)) as pins:
                kernel.netlink.send((_new(kernel, want, pins) for want in chunk), done)
    for want in wants:
        if want.peer_altname:
            index = kernel.netlink.ifindex(want.peer_node, want.peer_ifname)
            kernel.netlink.send([Request(want.peer_node, add_altname(index, want.peer_altname), want.ref())])


def _new(kernel: Kernel, want: Veth, pins: Mapping[str, int]) -> Request:
    """Put the host's end first: only the first end of the request can be given a master and be up.

    It is asked for where it is to be: before Linux 6.15 its name must be free in the namespace that the request comes from.
    """
    first, second = sorted(_ends(want), key=lambda end: end.node != HOST)
    master = kernel.netlink.ifindex(first.node, first.master) if first.master else None
    up = first.state == "up" and first.node == HOST
    message = new_veth(
        VethEnd(first.ifname, first.mac, first.mtu, master, up),
        VethEnd(second.ifname, second.mac, second.mtu, netns=pins.get(second.node)),
    )
    return Request(first.node, message, want.ref())


def _settings(kernel: Kernel, want: Veth, end: _End) -> LinkSettings:
    """Mark an end, and do what its creation could not; a bridge's port needs no link-local address of its own."""
    created = end.node == HOST
    return LinkSettings(
        name=end.ifname,
        alias=kernel.mark(want.ref(), peer=end.peer),
        master=kernel.netlink.ifindex(end.node, end.master) if end.master and not created else None,
        up=True if end.state == "up" and not created else None,
        no_link_local=bool(end.master),
    )


def update(kernel: Kernel, pairs: Sequence[tuple[Veth, Veth]]) -> None:
    """Set what differs at either end, in place."""
    kernel.netlink.send(request for before, after in pairs for request in _differences(kernel, before, after))


def _differences(kernel: Kernel, before: Veth, after: Veth) -> Iterator[Request]:
    for old, new in zip(_ends(before), _ends(after)):
        index = kernel.netlink.ifindex(new.node, new.ifname)
        master = None
        if new.master is not None and new.master != old.master:
            master = kernel.netlink.ifindex(new.node, new.master) if new.master else 0
        settings = LinkSettings(
            mac=new.mac if new.mac != old.mac else None,
            mtu=new.mtu if new.mtu != old.mtu else None,
            master=master,
            up=new.state == "up" if new.state != old.state else None,
        )
        if settings != LinkSettings():
            yield Request(new.node, set_link(index, settings), after.ref())
        if new.altname and new.altname != old.altname:
            yield Request(new.node, add_altname(index, new.altname), after.ref())


def delete(kernel: Kernel, haves: Sequence[Veth]) -> None:
    """Delete the pairs, from whichever end is found, all of one place in one request."""
    nodes = {end.node for have in haves for end in _ends(have)}
    kernel.delete_links(NAME, [have.ref() for have in haves], nodes)
