"""Turn a topology into the resources that must hold, one flat map per host.

Templates are rendered and names and MACs allocated here, so that nothing is left to be known after an apply.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from nsprov import render
from nsprov.errors import Diagnostic, InputError
from nsprov.kinds import address, attachment, bridge, file, neighbour, netns, route, rule, sysctl, veth
from nsprov.plan.resource import HOST
from nsprov.resolve import isolation
from nsprov.topology import names
from nsprov.topology.model import HOST_NODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nsprov.plan.resource import Ref, Resource
    from nsprov.topology.model import Bridge, Dns, Endpoint, Interface, Link, Node, Route, Topology

ETC_HOSTS, ETC_HOSTNAME, ETC_RESOLV = "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"
_USUAL_MTU = 1500


def resolve(topology: Topology) -> dict[str, dict[Ref, Resource]]:
    """Give what must hold on each host that the topology names.

    Raises:
        InputError: a link or a bridge spans hosts, which this version cannot join.

    """
    _refuse_cross_host(topology)
    states: dict[str, dict[Ref, Resource]] = defaultdict(dict)
    common, maps = _common_hosts(topology), isolation.id_maps(topology)
    shared: set[str] = set()
    for node in topology.nodes.values():
        state = states[node.host]
        own = _attached if node.attach else partial(_own, common=common, maps=maps.get(node.name))
        for resource in (*own(topology, node), *_network(topology, node)):
            state[resource.ref()] = resource
        if not node.hosts and not node.attach and node.host not in shared:
            shared.add(node.host)
            hosts = file.File(owner=file.LAB, path=ETC_HOSTS, content=common)
            state[hosts.ref()] = hosts
    for host in sorted(_hosts_of_bridges(topology) | states.keys()):
        for resource in _host_bridges(topology, host):
            states[host][resource.ref()] = resource
    for link in topology.links:
        host = topology.nodes[_inner(link)[0].node].host
        for resource in _link(topology, link):
            states[host][resource.ref()] = resource
    return dict(states)


def _attached(topology: Topology, node: Node) -> Iterator[Resource]:
    """Give a name to a network that is there without us; everything else of its owner is not ours."""
    yield attachment.Attachment(node=node.name, name=f"{topology.prefix}{node.name}", source=str(node.attach))


def _own(topology: Topology, node: Node, common: str, maps: isolation.Maps) -> Iterator[Resource]:
    files = {path: _owned(found, maps) for path, found in _files(topology, node, common)}
    yield from files.values()
    sources = {path: found.source() for path, found in files.items()}
    if ETC_HOSTS not in sources:
        sources[ETC_HOSTS] = f"{file.LAB}{ETC_HOSTS}"
    # `ip netns exec` binds what stands directly in /etc/netns/NAME over /etc: a file of ours deeper down would hide its
    # neighbours there, so only the flat ones are offered to it.
    etc = {path[5:]: source for path, source in sources.items() if path.startswith("/etc/") and "/" not in path[5:]}
    name, entries = f"{topology.prefix}{node.name}", tuple(sorted(etc.items()))
    yield netns.Netns(node=node.name, name=name, etc=entries, user=maps is not None)
    yield from isolation.namespaces(node, maps)
    if "mnt" in node.namespaces:
        yield isolation.view(node, sources)
    yield from isolation.workloads(node)
    for key, value in node.sysctls.items():
        yield sysctl.Sysctl(node=node.name, key=key, value=" ".join(value.split()))


def _network(topology: Topology, node: Node) -> Iterator[Resource]:
    ports = {port: inner.name for inner in node.bridges.values() for port in inner.ports}
    for inner in node.bridges.values():
        yield from _bridge(topology, node.name, inner)
    for interface in node.interfaces.values():
        if interface.bridge is not None:
            yield _port(topology, node, interface, ports.get(interface.name, ""))
        yield from _addresses(node.name, interface)
    yield from _policy(node)


def _owned(given: file.File, maps: isolation.Maps) -> file.File:
    """Give a node's file to the root of the node."""
    uid, gid = isolation.root_ids(maps)
    return replace(given, uid=uid, gid=gid) if uid or gid else given


def _policy(node: Node) -> Iterator[Resource]:
    for way in node.routes:
        yield _route(node.name, way)
    for one in node.rules:
        yield rule.Rule(
            node=node.name,
            family=one.family,
            priority=one.priority,
            table=one.table,
            source=one.from_ or "",
            destination=one.to or "",
            iif=one.iif or "",
            oif=one.oif or "",
            fwmark=one.fwmark or 0,
        )
    for entry in node.neighbours:
        yield neighbour.Neighbour(node=node.name, dev=entry.dev, address=plain(entry.address), lladdr=entry.lladdr.lower())


def _files(topology: Topology, node: Node, common: str) -> Iterator[tuple[str, file.File]]:
    if node.namespaces & {"mnt", "uts"} and ETC_HOSTNAME not in node.files:
        content = render.render_builtin("hostname.j2", hostname=node.hostname or node.name)
        yield ETC_HOSTNAME, file.File(owner=node.name, path=ETC_HOSTNAME, content=content)
    if node.hosts and ETC_HOSTS not in node.files:
        extra = render.render_builtin("hosts.j2", entries=[[plain(where), name] for name, where in node.hosts.items()])
        yield ETC_HOSTS, file.File(owner=node.name, path=ETC_HOSTS, content=common + extra)
    if node.dns is not None and ETC_RESOLV not in node.files:
        yield ETC_RESOLV, file.File(owner=node.name, path=ETC_RESOLV, content=_resolv_conf(node.dns))
    for path, given in node.files.items():
        yield path, file.File(owner=node.name, path=path, content=given.content, mode=given.mode)


@cache
def _resolv_conf(dns: Dns) -> str:
    return render.render_builtin("resolv.conf.j2", nameservers=dns.nameservers, search=dns.search, options=dns.options)


def _common_hosts(topology: Topology) -> str:
    """Render the part of /etc/hosts that every node of the lab has: itself and all the others, once for all."""
    entries: list[list[object]] = [["127.0.0.1", "localhost"], ["::1", ["localhost", "ip6-localhost", "ip6-loopback"]]]
    for node in topology.nodes.values():
        called = list(dict.fromkeys([node.name, node.hostname or node.name]))
        interfaces = sorted(node.interfaces.values(), key=lambda interface: interface.name == "lo")
        found = [plain(text) for interface in interfaces for text in interface.addresses]
        for is_v6 in (False, True):
            first = next((text for text in found if (":" in text) is is_v6), None)
            if first is not None:
                entries.append([first, called])
    return render.render_builtin("hosts.j2", entries=entries)


def _port(topology: Topology, node: Node, interface: Interface, master: str) -> veth.Veth:
    """Give the pair between a node's interface and the host's bridge that it is on."""
    host_bridge = topology.bridges[str(interface.bridge)]
    name, altname = names.port_name(topology.prefix, node.name, interface.name, topology.name)
    mtu = interface.mtu or host_bridge.mtu or _USUAL_MTU
    return veth.Veth(
        node=node.name,
        ifname=interface.name,
        peer_node=HOST,
        peer_ifname=name,
        mac=interface.mac or names.mac(topology.name, node.name, interface.name),
        peer_mac=names.mac(topology.name, node.name, f"{interface.name}~"),
        mtu=mtu,
        peer_mtu=mtu,
        master=master,
        peer_master=host_bridge.name,
        state="up",
        peer_state="up",
        peer_altname=altname,
    )


def _link(topology: Topology, link: Link) -> Iterator[Resource]:
    (first, second), flipped = _inner(link), link.endpoints[0].node == HOST_NODE
    macs = [names.mac(topology.name, end.node, end.interface) for end in (first, second)]
    masters, mtus = [], []
    for position, end in enumerate((first, second)):
        inside = topology.nodes.get(end.node)
        interface = inside.interfaces.get(end.interface) if inside else None
        given = link.macs[1 - position if flipped else position]
        macs[position] = (interface.mac if interface else None) or given or macs[position]
        mtus.append((interface.mtu if interface else None) or link.mtu or _USUAL_MTU)
        held = (inner.name for inner in inside.bridges.values() if end.interface in inner.ports) if inside else iter(())
        masters.append(next(held, ""))
    yield veth.Veth(
        node=first.node,
        ifname=first.interface,
        peer_node=HOST if second.node == HOST_NODE else second.node,
        peer_ifname=second.interface,
        mac=macs[0],
        peer_mac=macs[1],
        mtu=mtus[0],
        peer_mtu=mtus[1],
        master=masters[0],
        peer_master=masters[1],
        state="up",
        peer_state="up",
    )
    if second.node == HOST_NODE:
        for text in link.addresses[0 if flipped else 1]:
            yield _address(HOST, second.interface, text, nodad=True)


def _inner(link: Link) -> tuple[Endpoint, Endpoint]:
    """Give the ends with one that is in a node first."""
    first, second = link.endpoints
    return (second, first) if first.node == HOST_NODE else (first, second)


def _bridge(topology: Topology, node: str, given: Bridge) -> Iterator[Resource]:
    mac = given.mac or names.bridge_mac(topology.name, f"{node}/{given.name}" if node else given.name)
    yield bridge.Bridge(node=node, name=given.name, mac=mac, mtu=given.mtu or _USUAL_MTU, stp=given.stp)
    for text in given.addresses:
        yield _address(node, given.name, text, nodad=True)


def _hosts_of_bridges(topology: Topology) -> set[str]:
    return {given.host for given in topology.bridges.values()}


def _host_bridges(topology: Topology, host: str) -> Iterator[Resource]:
    for given in topology.bridges.values():
        if given.host == host:
            yield from _bridge(topology, HOST, given)


def _addresses(node: str, interface: Interface) -> Iterator[Resource]:
    for text in interface.addresses:
        yield _address(node, interface.name, text, nodad=interface.nodad)


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


def _route(node: str, way: Route) -> route.Route:
    length = way.to.partition("/")[2]
    to = f"{plain(way.to)}/{length}"
    hops = tuple(sorted((plain(via) if via else "", dev or "", weight) for via, dev, weight in way.nexthops))
    via, dev = (plain(way.via) if way.via else "", way.dev or "")
    if len(hops) == 1:
        (via, dev, _), hops = hops[0], ()
    return route.Route(
        node=node,
        to=to,
        table=way.table,
        metric=way.metric or route.usual_metric(to),
        type=way.type,
        via=via,
        dev=dev,
        source=plain(way.src) if way.src else "",
        nexthops=hops,
    )


def _refuse_cross_host(topology: Topology) -> None:
    found = []
    for link in topology.links:
        placed = {topology.nodes[end.node].host for end in link.endpoints if end.node != HOST_NODE}
        if len(placed) > 1:
            found.append((" - ".join(map(str, link.endpoints)), sorted(placed)))
    for node in topology.nodes.values():
        for interface in node.interfaces.values():
            if interface.bridge is not None and topology.bridges[interface.bridge].host != node.host:
                where = sorted({node.host, topology.bridges[interface.bridge].host})
                found.append((f"{node.name}:{interface.name} - {interface.bridge}", where))
    if found:
        hint = "give all its ends the same `host`"
        raise InputError(
            *(
                Diagnostic(f'link "{link}" spans hosts', topology.path, f"This version joins no hosts: {', '.join(w)}.", hint)
                for link, w in found
            )
        )
