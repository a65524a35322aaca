"""A permanent neighbour (ARP or NDP) entry of a node's link.

    nodes:
      r1:
        neighbours:
          - {dev: eth1, address: 10.0.0.2, lladdr: "02:00:00:00:00:02"}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import rare
from nsprov.kernel.netlink import Request
from nsprov.plan.resource import IDENTITY, Ref, Resource, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "neighbour"


@dataclass(frozen=True)
class Neighbour(Resource):
    """`lladdr` in lower case."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    dev: str = field(metadata=IDENTITY)
    address: str = field(metadata=IDENTITY)
    lladdr: str

    def ref(self) -> Ref:
        """Name it after its place, link and address."""
        return Ref(NAME, f"{place(self.node)}/{self.dev}/{self.address}")

    def provides(self) -> tuple[str, ...]:
        """The node's workloads need its whole network."""
        return (f"network:{self.node}",)

    def stands_on(self) -> tuple[str, ...]:
        """Its link, and for ARP the link's addresses: with the last of them the kernel drops all entries (arp_ifdown())."""
        own = f"{place(self.node)}/{self.dev}"
        either = (f"link:{own}", f"mac:{own}")
        return either if ":" in self.address else (*either, f"addr:{own}/4")

    def dies_with(self) -> tuple[str, ...]:
        """Its link alone, for it may be there without an address."""
        return (f"link:{place(self.node)}/{self.dev}",)

    def watches(self) -> tuple[tuple[str, str, str | int], ...]:
        """Its link."""
        return ((self.node, "link", self.dev),)


SCHEMA = Neighbour


def observe(kernel: Kernel, known: Mapping[Ref, Neighbour]) -> Iterable[Neighbour]:
    """Give the known entries that are there and permanent."""
    for node in sorted({neighbour.node for neighbour in known.values()}):
        names = {link.ifindex: link.name for link in kernel.seen.dump(node).links}
        for found in kernel.rare_dump(node, rare.get_neighbours(), rare.parse_neighbour):
            dev = names.get(int(str(found["index"])), "?")
            neighbour = Neighbour(node=node, dev=dev, address=str(found["address"]), lladdr=str(found["lladdr"]))
            if neighbour.ref() in known:
                yield neighbour


def obstacles(kernel: Kernel, wants: Sequence[Neighbour]) -> Mapping[Ref, str]:
    """Nothing: they are in the lab's own namespaces."""
    return {}


def create(kernel: Kernel, wants: Sequence[Neighbour]) -> None:
    """Add the entries."""
    kernel.netlink.send(_request(kernel, want, add=True) for want in wants)


def update(kernel: Kernel, pairs: Sequence[tuple[Neighbour, Neighbour]]) -> None:
    """Set the link-layer addresses."""
    create(kernel, [after for _, after in pairs])


def delete(kernel: Kernel, haves: Sequence[Neighbour]) -> None:
    """Remove the entries."""
    present = [have for have in haves if have.dev in kernel.seen.links(have.node)]
    kernel.netlink.send(_request(kernel, have, add=False) for have in present)


def _request(kernel: Kernel, want: Neighbour, *, add: bool) -> Request:
    index = kernel.netlink.ifindex(want.node, want.dev)
    message = rare.neighbour_message(index, want.address, want.lladdr, add=add)
    return Request(want.node, message, want.ref(), absent_is_fine=not add)
