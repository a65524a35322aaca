"""A Linux bridge, on the host or inside a node.

    bridges:
      lxcbr0: {address: 192.168.10.1/24, stp: false}

Its MAC is fixed, or it would follow the lowest of its ports' and change as ports come and go.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel.netlink import Request, creating
from nsprov.kernel.rtnl import LinkSettings, Message, new_bridge, set_link
from nsprov.plan.resource import HOST, IDENTITY, Ref, Resource, place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "bridge"
_MAX_MTU = 65535


@dataclass(frozen=True)
class Bridge(Resource):
    """`node` is empty for a bridge on the host."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    name: str = field(metadata=IDENTITY)
    mac: str | None = None
    mtu: int | None = None
    stp: bool | None = None
    state: str = "up"

    def ref(self) -> Ref:
        """Name it after its place and name."""
        return Ref(NAME, f"{place(self.node)}/{self.name}")

    def provides(self) -> tuple[str, ...]:
        """Ports and addresses need it."""
        return (f"link:{place(self.node)}/{self.name}",)

    def loses(self, after: Bridge) -> tuple[str, ...]:
        """With another MAC the kernel drops all neighbour entries (neigh_changeaddr())."""
        return (f"mac:{place(self.node)}/{self.name}",) if after.mac not in (None, self.mac) else ()

    def stands_on(self) -> tuple[str, ...]:
        """The network namespace of its node."""
        return (f"netns:{self.node}",) if self.node else ()

    def watches(self) -> tuple[tuple[str, str, str | int], ...]:
        """Its link."""
        return ((self.node, "link", self.name),)


SCHEMA = Bridge


def observe(kernel: Kernel, known: Mapping[Ref, Bridge]) -> Iterable[Bridge]:
    """Give the bridges that bear the lab's mark."""
    for node, link, ref, _ in kernel.seen.marked_links([HOST, *kernel.namespaces.names], NAME):
        if link.kind == NAME and ref.name == f"{place(node)}/{link.name}":
            state = "up" if link.up else "down"
            yield Bridge(node=node, name=link.name, mac=link.mac, mtu=link.mtu, stp=link.stp, state=state)


def obstacles(kernel: Kernel, wants: Sequence[Bridge]) -> Mapping[Ref, str]:
    """A link of that name that is not ours."""
    return kernel.taken((want.ref(), want.node, want.name) for want in wants)


def create(kernel: Kernel, wants: Sequence[Bridge]) -> None:
    """Create the bridges; they go up last, or each new port's neighbour discovery would flood all the others."""

    def finish(done: Collection[Ref]) -> Iterator[Request]:
        for want in wants:
            if want.ref() in done:
                mark = LinkSettings(name=want.name, alias=kernel.mark(want.ref()), mtu=want.mtu)
                yield Request(want.node, set_link(0, mark), want.ref())

    news = ((want, new_bridge(want.name, want.mac, _other_mtu(want.mtu), stp=bool(want.stp))) for want in wants)
    with creating(kernel.netlink, finish) as done:
        kernel.netlink.send((Request(want.node, new, want.ref()) for want, new in news), done)
    for want in wants:
        settings = LinkSettings(name=want.name, up=want.state == "up")
        kernel.netlink.later(Request(want.node, set_link(0, settings), want.ref()))


def _other_mtu(mtu: int | None) -> int | None:
    """Give an MTU to begin with: a bridge follows its ports' smallest until one is set, and setting what is sets none.

    That is BROPT_MTU_SET_BY_USER in net/bridge/br_device.c, and netif_set_mtu_ext() in net/core/dev.c.
    """
    return None if mtu is None else mtu + 1 if mtu < _MAX_MTU else mtu - 1


def update(kernel: Kernel, pairs: Sequence[tuple[Bridge, Bridge]]) -> None:
    """Set what differs, in place."""
    kernel.netlink.send(Request(after.node, _difference(kernel, before, after), after.ref()) for before, after in pairs)


def _difference(kernel: Kernel, before: Bridge, after: Bridge) -> Message:
    settings = LinkSettings(
        mac=after.mac if after.mac != before.mac else None,
        mtu=after.mtu if after.mtu != before.mtu else None,
        stp=after.stp if after.stp != before.stp else None,
        up=after.state == "up" if after.state != before.state else None,
    )
    return set_link(kernel.netlink.ifindex(after.node, after.name), settings)


def delete(kernel: Kernel, haves: Sequence[Bridge]) -> None:
    """Delete the bridges; their ports stay and are freed."""
    kernel.delete_links(NAME, [have.ref() for have in haves], {have.node for have in haves})
