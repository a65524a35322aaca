"""An IPv4 or IPv6 address of a link.

    nodes:
      ns1:
        interfaces:
          eth0: {bridge: lxcbr0, addresses: [192.168.10.11/24, "2001:db8::11/64"]}

IPv6 addresses skip duplicate address detection unless `nodad: false`: a lab's addresses are known to be unique,
and a tentative one cannot be used for a second or two.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import attach
from nsprov.kernel.netlink import Request
from nsprov.kernel.rtnl import PROTO, RTM_DELADDR, RTM_NEWADDR, address_message
from nsprov.plan.resource import HOST, IDENTITY, REPLACE, Ref, Resource, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "address"


@dataclass(frozen=True)
class Address(Resource):
    """`address` has its prefix length, in the form that inet_ntop(3) gives."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    dev: str = field(metadata=IDENTITY)
    address: str = field(metadata=IDENTITY)
    nodad: bool | None = field(default=None, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its place, link and address."""
        return Ref(NAME, f"{place(self.node)}/{self.dev}/{self.address}")

    def provides(self) -> tuple[str, ...]:
        """Routes through this link, of this family, need it; workloads need the whole network of their node."""
        family = 6 if ":" in self.address else 4
        return f"addr:{place(self.node)}/{self.dev}/{family}", f"network:{place(self.node)}"

    def stands_on(self) -> tuple[str, ...]:
        """Its link; the node's `lo` is there with the namespace."""
        return (f"netns:{self.node}",) if self.dev == "lo" else (f"link:{place(self.node)}/{self.dev}",)

    def watches(self) -> tuple[tuple[str, str, str | int], ...]:
        """The addresses of its version, and its link."""
        return (self.node, "address", 6 if ":" in self.address else 4), (self.node, "link", self.dev)


SCHEMA = Address


def observe(kernel: Kernel, known: Mapping[Ref, Address]) -> Iterable[Address]:
    """Give the addresses that are known, and those with our protocol number on links of this lab."""
    wanted = {(a.node, a.dev, a.address) for a in known.values()}
    for node in (HOST, *kernel.namespaces.names):
        dump = kernel.seen.dump(node)
        # On the host, and where a node is attached, other labs' addresses have the same number: only marked links count.
        alone = kernel.owns(node)
        ours = {link.ifindex: link.name for link in dump.links if alone or kernel.marked(link)}
        for found in dump.addresses:
            dev = ours.get(found.ifindex)
            if dev and (found.proto == PROTO or (node, dev, found.address) in wanted):
                nodad = found.nodad if ":" in found.address else None
                yield Address(node=node, dev=dev, address=found.address, nodad=nodad)


def obstacles(kernel: Kernel, wants: Sequence[Address]) -> Mapping[Ref, str]:
    """On the host, and where a node is attached: the same subnet on a link that is not ours, which would lose traffic to us."""
    shared = {node: _others(kernel, node) for node in {want.node for want in wants} if not kernel.owns(node)}
    found = {}
    for want in wants:
        others = shared.get(want.node)
        network = ipaddress.ip_interface(want.address).network if others else None
        for where, other in others or ():
            if network and network.version == other.version and network.overlaps(other) and not network.is_link_local:
                found[want.ref()] = f"{where} has an address in {other}, which overlaps {network}."
    return found


def _others(kernel: Kernel, node: str) -> list[tuple[str, ipaddress.IPv4Network | ipaddress.IPv6Network]]:
    """Give the subnets of what is not ours, each with whose it is; in a node, links that nobody asked for have no name here."""
    dump = kernel.seen.dump(node)
    names = {link.ifindex: f"Link {link.name}" for link in dump.links}
    ours = {link.ifindex for link in dump.links if kernel.marked(link)}
    where = f'of node "{node}"' if node else "of the host"
    return [
        (f"{names.get(found.ifindex, 'A link')} {where}", ipaddress.ip_interface(found.address).network)
        for found in dump.addresses
        if found.ifindex not in ours
    ]


def create(kernel: Kernel, wants: Sequence[Address]) -> None:
    """Add the addresses."""
    _allow_ipv6(kernel, {(want.node, want.dev) for want in wants if ":" in want.address and want.node})
    kernel.netlink.send(_request(kernel, RTM_NEWADDR, want) for want in wants)


def _allow_ipv6(kernel: Kernel, devices: Iterable[tuple[str, str]]) -> None:
    """Switch IPv6 on for our own devices where a node is attached: docker switches it off for all that a container gets."""
    names = kernel.namespaces.names
    attached = [(node, dev) for node, dev in devices if attach.node_behind(names[node], kernel.lab.pins)]
    with kernel.namespaces.inside("net"):
        for node, dev in attached:
            key = f"net.ipv6.conf.{dev.replace('.', '/')}.disable_ipv6"
            if kernel.files.read_sysctl(node, key) == "1":
                kernel.files.write_sysctl(node, key, "0")


def update(kernel: Kernel, pairs: Sequence[tuple[Address, Address]]) -> None:
    """Nothing of an address can change in place."""


def delete(kernel: Kernel, haves: Sequence[Address]) -> None:
    """Remove the addresses; others of the same subnet stay, for `promote_secondaries` is set on the link first."""
    present = [have for have in haves if have.dev in kernel.seen.links(have.node)]
    with kernel.namespaces.inside("net"):
        for have in present:
            if ":" not in have.address:
                kernel.files.write_sysctl(have.node, f"net.ipv4.conf.{have.dev.replace('.', '/')}.promote_secondaries", "1")
    kernel.netlink.send(_request(kernel, RTM_DELADDR, have) for have in present)


def _request(kernel: Kernel, operation: int, want: Address) -> Request:
    index = kernel.netlink.ifindex(want.node, want.dev)
    message = address_message(operation, index, want.address, nodad=bool(want.nodad))
    return Request(want.node, message, want.ref(), absent_is_fine=operation == RTM_DELADDR)
