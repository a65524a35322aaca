"""Turn a topology into the resources that must hold, one flat map per host.

Templates are rendered and names and MACs allocated here, so that nothing is left to be known after an apply.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from nsprov import render
from nsprov.kinds import attachment, file, neighbour, netns, route, rule, sysctl
from nsprov.resolve import isolation
from nsprov.resolve.tunnels import plan as plan_tunnels
from nsprov.resolve.wires import Wires, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nsprov.plan.resource import Ref, Resource
    from nsprov.resolve.tunnels import Tunnels
    from nsprov.topology.model import Dns, Node, Route, Topology

ETC_HOSTS, ETC_HOSTNAME, ETC_RESOLV = "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"


def resolve(topology: Topology, tunnels: Tunnels | None = None) -> dict[str, dict[Ref, Resource]]:
    """Give what must hold on each host that the topology names; `tunnels` are as planned for what leads across hosts.

    Without them, they are planned as if nothing were known of the hosts.
    """
    wires = Wires(topology, plan_tunnels(topology) if tunnels is None else tunnels)
    states: dict[str, dict[Ref, Resource]] = defaultdict(dict)
    common, maps = _common_hosts(topology), isolation.id_maps(topology)
    shared: set[str] = set()
    for node in topology.nodes.values():
        state = states[node.host]
        own = _attached if node.attach else partial(_own, common=common, maps=maps.get(node.name))
        for resource in (*own(topology, node), *_network(wires, node)):
            state[resource.ref()] = resource
        if not node.hosts and not node.attach and node.host not in shared:
            shared.add(node.host)
            hosts = file.File(owner=file.LAB, path=ETC_HOSTS, content=common)
            state[hosts.ref()] = hosts
    for host, resource in wires.between():
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


def _network(wires: Wires, node: Node) -> Iterator[Resource]:
    yield from wires.inside(node)
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
