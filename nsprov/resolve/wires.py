"""What joins nodes with each other and with their hosts: pairs, bridges, tunnels, and the addresses on them."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsprov.kinds import address, bridge, gretap, veth, vxlan
from nsprov.plan.resource import HOST
from nsprov.resolve.segments import OfBridge, OfLink
from nsprov.topology import names
from nsprov.topology.model import GRE, HOST_NODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nsprov.plan.resource import Resource
    from nsprov.resolve.segments import Segment
    from nsprov.resolve.tunnels import Tunnel, Tunnels
    from nsprov.topology.model import Bridge, Endpoint, Interface, Link, Node, Topology

_USUAL_MTU = 1500


@dataclass(frozen=True)
class _End:
    """One end of a link as it is to be: `node` is a node's name, or `HOST`."""

    node: str
    ifname: str
    mac: str
    mtu: int
    master: str


@dataclass(frozen=True)
class Wires:
    """A topology and its tunnels, which are settled."""

    topology: Topology
    tunnels: Tunnels

    def inside(self, node: Node) -> Iterator[Resource]:
        """Give the bridges inside a node, its ports of the host's bridges, and its addresses."""
        ports = {port: inner.name for inner in node.bridges.values() for port in inner.ports}
        for inner in node.bridges.values():
            yield self._bridge(node.name, inner, f"{node.name}/{inner.name}", OfBridge(inner.name, node.name))
            yield from _on_bridge(node.name, inner)
        for interface in node.interfaces.values():
            if interface.bridge is not None:
                yield self._port(node, interface, ports.get(interface.name, ""))
            for text in interface.addresses:
                yield _address(node.name, interface.name, text, nodad=interface.nodad)

    def between(self) -> Iterator[tuple[str, Resource]]:
        """Give by host what is on hosts themselves, and what has ends in two places."""
        yield from self.tunnels.devices
        for given in self.topology.bridges.values():
            hosts = self.tunnels.bridges.get(given.name, (given.host,))
            segment = OfBridge(given.name)
            for host in hosts:
                # One address in two places of one network would have frames for the one go to the other.
                known = given.name if host == given.host else f"{given.name}@{host}"
                yield host, self._bridge(HOST, given, known, segment, is_home=host == given.host)
                if segment in self.tunnels.joined:
                    yield host, self._mesh(given, host, self.tunnels.joined[segment])
            yield from ((given.host, resource) for resource in _on_bridge(HOST, given))
        for position, link in enumerate(self.topology.links):
            tunnel = self.tunnels.joined.get(OfLink(position))
            yield from self._pair(position, link) if tunnel is None else self._ends(position, link, tunnel)

    def _mtu(self, segment: Segment) -> int:
        return self.tunnels.mtu(segment, _USUAL_MTU)

    def _bridge(self, node: str, given: Bridge, known: str, segment: Segment, *, is_home: bool = True) -> Resource:
        mac = (given.mac if is_home else None) or names.bridge_mac(self.topology.name, known)
        return bridge.Bridge(node=node, name=given.name, mac=mac, mtu=given.mtu or self._mtu(segment), stp=given.stp)

    def _mesh(self, given: Bridge, host: str, tunnel: Tunnel) -> Resource:
        """Give a bridge's port behind which all its other hosts are; each of them sends to all others by itself."""
        name = names.tunnel_name(self.topology.prefix, given.name, self.topology.name)
        return vxlan.Vxlan(
            node=HOST,
            ifname=name,
            vni=tunnel.id,
            port=self.tunnels.port,
            local=tunnel.sources[host],
            remotes=tunnel.remotes(host),
            learning=True,
            mac=names.mac(self.topology.name, f"{given.name}@{host}", name),
            mtu=given.mtu or self._mtu(OfBridge(given.name)),
            master=given.name,
            state="up",
        )

    def _port(self, node: Node, interface: Interface, master: str) -> Resource:
        """Give the pair between a node's interface and the host's bridge that it is on."""
        lab, host_bridge = self.topology.name, self.topology.bridges[str(interface.bridge)]
        name, altname = names.port_name(self.topology.prefix, node.name, interface.name, lab)
        mtu = interface.mtu or host_bridge.mtu or self._mtu(OfBridge(host_bridge.name))
        return veth.Veth(
            node=node.name,
            ifname=interface.name,
            peer_node=HOST,
            peer_ifname=name,
            mac=interface.mac or names.mac(lab, node.name, interface.name),
            peer_mac=names.mac(lab, node.name, f"{interface.name}~"),
            mtu=mtu,
            peer_mtu=mtu,
            master=master,
            peer_master=host_bridge.name,
            state="up",
            peer_state="up",
            peer_altname=altname,
        )

    def _pair(self, position: int, link: Link) -> Iterator[tuple[str, Resource]]:
        """Give a link of which both ends are on one host, the end that is in a node first."""
        flipped = link.endpoints[0].node == HOST_NODE
        sides = (1, 0) if flipped else (0, 1)
        first, second = (self._end(position, link, side) for side in sides)
        host = self.topology.nodes[first.node].host
        pair = veth.Veth(
            node=first.node,
            ifname=first.ifname,
            peer_node=second.node,
            peer_ifname=second.ifname,
            mac=first.mac,
            peer_mac=second.mac,
            mtu=first.mtu,
            peer_mtu=second.mtu,
            master=first.master,
            peer_master=second.master,
            state="up",
            peer_state="up",
        )
        yield host, pair
        if second.node == HOST:
            for text in link.addresses[sides[1]]:
                yield host, _address(HOST, second.ifname, text, nodad=True)

    def _ends(self, position: int, link: Link, tunnel: Tunnel) -> Iterator[tuple[str, Resource]]:
        """Give both ends of a link between two hosts."""
        for side, endpoint in enumerate(link.endpoints):
            host = self.topology.nodes[endpoint.node].host
            made = self._gretap if tunnel.kind == GRE else self._vxlan
            yield host, made(self._end(position, link, side), tunnel, host)

    def _vxlan(self, end: _End, tunnel: Tunnel, host: str) -> Resource:
        return vxlan.Vxlan(
            node=end.node,
            ifname=end.ifname,
            vni=tunnel.id,
            port=self.tunnels.port,
            local=tunnel.sources[host],
            remotes=tunnel.remotes(host),
            learning=False,
            mac=end.mac,
            mtu=end.mtu,
            master=end.master,
            state="up",
        )

    def _gretap(self, end: _End, tunnel: Tunnel, host: str) -> Resource:
        (remote,) = tunnel.remotes(host)
        return gretap.Gretap(
            node=end.node,
            ifname=end.ifname,
            key=tunnel.id,
            local=tunnel.sources[host],
            remote=remote,
            mac=end.mac,
            mtu=end.mtu,
            master=end.master,
            state="up",
        )

    def _end(self, position: int, link: Link, side: int) -> _End:
        """Settle one end of a link, where what the node says of the interface wins."""
        end: Endpoint = link.endpoints[side]
        inside = self.topology.nodes.get(end.node)
        interface = inside.interfaces.get(end.interface) if inside else None
        held = (inner.name for inner in inside.bridges.values() if end.interface in inner.ports) if inside else iter(())
        mac = (interface.mac if interface else None) or link.macs[side]
        return _End(
            node=HOST if end.node == HOST_NODE else end.node,
            ifname=end.interface,
            mac=mac or names.mac(self.topology.name, end.node, end.interface),
            mtu=(interface.mtu if interface else None) or link.mtu or self._mtu(OfLink(position)),
            master=next(held, ""),
        )


def _on_bridge(node: str, given: Bridge) -> Iterator[Resource]:
    return (_address(node, given.name, text, nodad=True) for text in given.addresses)


def _address(node: str, dev: str, text: str, *, nodad: bool) -> address.Address:
    length = text.partition("/")[2]
    plain_text = plain(text)
    # The loopback takes no part in duplicate address detection, and the kernel keeps no such flag there.
    flag = nodad if ":" in plain_text else None
    return address.Address(node=node, dev=dev, address=f"{plain_text}/{length}", nodad=flag)


def plain(text: str) -> str:
    """Give an address without its prefix length in the one form that inet_ntop(3) knows."""
    bare = text.partition("/")[0]
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, bare))
