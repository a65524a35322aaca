"""Where nodes live: what is written of it, the topology once it is settled, and what must hold between those on one host.

A node's `host` is a pattern of the inventory. Only `localhost` is certain to be one host; what the others stand for is not
known here, so whoever knows comes back with `placed`, and what two nodes of a host cannot both have is looked for then.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from nsprov.topology.model import HOST_NODE, LOCALHOST
from nsprov.topology.names import port_name, tunnel_name
from nsprov.topology.positions import Path, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nsprov.topology.model import Link, Node, Topology
    from nsprov.topology.positions import Problems
    from nsprov.topology.written import Written


class Wait(NamedTuple):
    """A node with a workload that waits for one of another node, and where that is written."""

    node: str
    other: str
    path: Path


def waits(topology: Topology) -> Iterator[Wait]:
    """Give the pairs of nodes that must live on one host, because a workload waits for another's."""
    for node in topology.nodes.values():
        for workload in node.workloads.values():
            for text, _ in workload.after:
                other = text.rpartition("/")[0]
                if other != node.name:
                    yield Wait(node.name, other, ("nodes", node.name, "workloads", workload.name, "depends_on", text))


def placed(topology: Topology, hosts: Mapping[str, str], homes: Mapping[str, str]) -> Topology:
    """Give the topology with every node on its host, and each bridge that names a host at its home.

    Raises:
        InputError: what is now on one host cannot be there together.

    """
    written = topology.written
    if written is None:
        return topology
    problems = written.problems()
    nodes = {name: _moved(node, hosts[name], written, problems) for name, node in topology.nodes.items()}
    users = users_of_bridges(nodes.values())
    bridges = {
        name: replace(bridge, host=homes.get(name) or next(iter(users.get(name, ())), bridge.host))
        for name, bridge in topology.bridges.items()
    }
    result = replace(topology, nodes=nodes, bridges=bridges, written=None)
    check_hosts(result, written.places, problems)
    problems.settle()
    return result


def _moved(node: Node, host: str, written: Written, problems: Problems) -> Node:
    inner = {name: replace(bridge, host=host) for name, bridge in node.bridges.items()} if node.bridges else node.bridges
    found = replace(node, host=host, bridges=inner) if host != node.host else node
    writer = written.writers.get(node.name)
    return found if writer is None else replace(found, files=writer(found, problems))


def users_of_bridges(nodes: Iterable[Node]) -> dict[str, dict[str, None]]:
    """Give for each bridge the hosts of the nodes on it, in their order; the first is its home, if it names none."""
    found: dict[str, dict[str, None]] = {}
    for node in nodes:
        for interface in node.interfaces.values():
            if interface.bridge is not None:
                found.setdefault(interface.bridge, {})[node.host] = None
    return found


def check_hosts(topology: Topology, places: Sequence[int], problems: Problems, only: str | None = None) -> None:
    """Note what cannot be together on one host; `only` looks at one host, while the others are not known."""
    nodes = [node for node in topology.nodes.values() if only in (None, node.host)]
    special = [node for node in nodes if node.user is not None or node.attach is not None]
    if special:
        # Start-up time: most topologies have neither ids nor attached networks.
        from nsprov.topology.isolation import check_between  # noqa: PLC0415

        check_between(special, problems)
    _names(topology, dict(zip(places, topology.links)), problems, only)


def _names(topology: Topology, links: Mapping[int, Link], problems: Problems, only: str | None) -> None:
    """Look for two devices of one name on a host: bridges, ends of links, and the ports that nsprov names itself."""
    taken: dict[tuple[str, str], tuple[str, Path]] = {}
    for host, name, what, path in _devices(topology, links):
        if only not in (None, host):
            continue
        other = taken.setdefault((host, name), (what, path))
        if other[1] is not path:
            detail = f"It would be the name of {other[0]} (line {problems.line(other[1])}) and of {what}."
            hint = "rename one of them" if what.startswith("bridge") else 'rename one of them, or change "prefix"'
            problems.add(path, f"two devices of a host would be {shown(name)}", hint, detail, key=True)


def _devices(topology: Topology, links: Mapping[int, Link]) -> Iterator[tuple[str, str, str, Path]]:
    users = users_of_bridges(topology.nodes.values())
    for bridge in topology.bridges.values():
        hosts = (bridge.host, *(other for other in users.get(bridge.name, ()) if other != bridge.host))
        for host in hosts:
            yield host, bridge.name, f'bridge "{bridge.name}"', ("bridges", bridge.name)
            if len(hosts) > 1:
                name = tunnel_name(topology.prefix, bridge.name, topology.name)
                yield host, name, f'the tunnel of bridge "{bridge.name}"', ("bridges", bridge.name)
    for place, link in links.items():
        yield from _host_ends(topology, link, place)
    for node in topology.nodes.values():
        yield from _ports(topology, node)


def _host_ends(topology: Topology, link: Link, place: int) -> Iterator[tuple[str, str, str, Path]]:
    for side, end in enumerate(link.endpoints):
        if end.node == HOST_NODE:
            peer = topology.nodes.get(link.endpoints[1 - side].node)
            host = peer.host if peer else LOCALHOST
            yield host, end.interface, f'the link\'s end "{end}"', ("links", place, "endpoints", side)


def _ports(topology: Topology, node: Node) -> Iterator[tuple[str, str, str, Path]]:
    for interface in node.interfaces.values():
        if interface.bridge is None:
            continue
        name, alternative = port_name(topology.prefix, node.name, interface.name, topology.name)
        what = f'the port of "{node.name}:{interface.name}"'
        path: Path = ("nodes", node.name, "interfaces", interface.name)
        yield node.host, name, what, path
        if alternative is not None:
            yield node.host, alternative, what, path
