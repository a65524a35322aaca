"""What must hold between the parts of a lab, wherever they are: nothing twice, nothing that contradicts.

What only those on one host cannot both have is looked for in `hosting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.topology.addresses import BITS, Cidr, is_link_local, is_loopback, text_of
from nsprov.topology.drafts import LOOPBACK, MIN_MTU_6, Assigned
from nsprov.topology.model import HOST_NODE
from nsprov.topology.positions import Path, Problems, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nsprov.topology.model import Link, Topology


def check(topology: Topology, assigned: Sequence[Assigned], places: Sequence[int], problems: Problems) -> None:
    """Note everything that does not fit together; `places` says where in the file each link stands."""
    links = dict(zip(places, topology.links))
    _addresses(assigned, problems)
    _overlaps(topology, assigned, problems)
    _bridge_subnets(topology, assigned, problems)
    _macs(topology, links, problems)
    _mtus(topology, problems)
    _hostnames(topology, problems)
    _links(links, problems)


def _owner(item: Assigned) -> str:
    return f'interface "{item.dev}" of node "{item.node}"' if item.node else f'bridge "{item.dev}"'


def _addresses(assigned: Sequence[Assigned], problems: Problems) -> None:
    first: dict[tuple[int, int], Assigned] = {}
    for item in assigned:
        family, value = item.cidr.family, item.cidr.value
        if is_link_local(family, value) or (item.dev == LOOPBACK and is_loopback(family, value)):
            continue
        other = first.setdefault((family, value), item)
        if other is not item:
            detail = f"{_owner(other)} has it too, on line {problems.line(other.path)}."
            detail = detail[0].upper() + detail[1:]
            problems.add(item.path, f"address {shown(text_of(family, value))} is given twice", "change one of them", detail)


def _overlaps(topology: Topology, assigned: Sequence[Assigned], problems: Problems) -> None:
    """Look for two interfaces of one node in the same subnet: the kernel would answer through either."""
    by_node: dict[str, list[Assigned]] = {}
    for item in assigned:
        if item.node in topology.nodes and item.dev != LOOPBACK and item.cidr.length < BITS[item.cidr.family]:
            by_node.setdefault(item.node, []).append(item)
    for items in by_node.values():
        if len(items) < 2:  # noqa: PLR2004 - a pair
            continue
        for one, two in _overlapping(items):
            if one.dev != two.dev and not is_link_local(two.cidr.family, two.cidr.value) and one.cidr.value != two.cidr.value:
                detail = f'Interface "{one.dev}" is in {_network(one.cidr)} (line {problems.line(one.path)}).'
                summary = f"{shown(_network(two.cidr))} overlaps with another interface"
                problems.add(two.path, summary, "use another subnet", detail)


def _network(cidr: Cidr) -> str:
    return cidr._replace(value=cidr.network).text


def _overlapping(items: Iterable[Assigned]) -> Iterator[tuple[Assigned, Assigned]]:
    """Give each pair of overlapping subnets that follow one another when sorted, in the order they were written."""
    place = {id(item): number for number, item in enumerate(items)}
    items = sorted(items, key=lambda item: (item.cidr.family, item.cidr.network, item.cidr.length))
    holders: list[Assigned] = []
    for item in items:
        holders = [holder for holder in holders if holder.cidr.overlaps(item.cidr)]
        for holder in holders:
            yield (holder, item) if place[id(holder)] < place[id(item)] else (item, holder)
        holders.append(item)


def _bridge_subnets(topology: Topology, assigned: Sequence[Assigned], problems: Problems) -> None:
    """Look for a subnet on two bridges of the host: its two halves could never reach each other."""
    seen: dict[tuple[str, int, int, int], Assigned] = {}
    for item in assigned:
        bridge = item.dev if not item.node else None
        node = topology.nodes.get(item.node)
        if node is not None and item.dev in node.interfaces:
            bridge = node.interfaces[item.dev].bridge
        family, value, length = item.cidr
        if bridge is not None and length < BITS[family] and not is_link_local(family, value):
            seen.setdefault((bridge, family, item.cidr.network, length), item)
    bridges = {id(item): key[0] for key, item in seen.items()}
    for one, two in _overlapping(seen.values()):
        if bridges[id(one)] != bridges[id(two)] and not problems.doubtful(two.node):
            name = bridges[id(one)]
            detail = f'{_network(one.cidr)} is on bridge "{name}" (line {problems.line(one.path)}).'
            problems.add(two.path, f"{shown(_network(two.cidr))} is on two bridges", "use another subnet", detail)


def _macs(topology: Topology, links: Mapping[int, Link], problems: Problems) -> None:
    first: dict[str, Path] = {}
    for mac, path in _given_macs(topology, links):
        other = first.setdefault(mac, path)
        if other is not path:
            detail = f"It is given on line {problems.line(other)} too."
            problems.add(path, f"MAC address {shown(mac)} is given twice", "change one of them", detail)


def _given_macs(topology: Topology, links: Mapping[int, Link]) -> Iterator[tuple[str, Path]]:
    for bridge in topology.bridges.values():
        if bridge.mac is not None:
            yield bridge.mac, ("bridges", bridge.name, "mac")
    for node in topology.nodes.values():
        for word, devices in (("interfaces", node.interfaces), ("bridges", node.bridges)):
            for name, device in devices.items():
                if device.mac is not None:
                    yield device.mac, ("nodes", node.name, word, name, "mac")
    for place, link in links.items():
        for side, end in enumerate(link.endpoints):
            mac = link.macs[side]
            if end.node == HOST_NODE and mac is not None:
                yield mac, ("links", place, "macs", side)


def _mtus(topology: Topology, problems: Problems) -> None:
    devices: list[tuple[Path, int | None, tuple[str, ...]]]
    devices = [(("bridges", bridge.name), bridge.mtu, bridge.addresses) for bridge in topology.bridges.values()]
    for node in topology.nodes.values():
        devices += [(("nodes", node.name, "interfaces", name), it.mtu, it.addresses) for name, it in node.interfaces.items()]
    for path, mtu, addresses in devices:
        if mtu is not None and mtu < MIN_MTU_6 and any(":" in address for address in addresses):
            problems.add((*path, "mtu"), f"IPv6 needs an MTU of {MIN_MTU_6}, not {mtu}", f"use {MIN_MTU_6} or more")


def _hostnames(topology: Topology, problems: Problems) -> None:
    first: dict[str, str] = {}
    for node in topology.nodes.values():
        other = first.setdefault(node.hostname.lower(), node.name)
        if other != node.name:
            detail = f'Node "{other}" has it too.'
            problems.add(
                ("nodes", node.name, "hostname"),
                f"host name {shown(node.hostname)} is used twice",
                "change one of them",
                detail,
            )


def _links(links: Mapping[int, Link], problems: Problems) -> None:
    for place, link in links.items():
        one, two = link.endpoints
        if one.node == two.node and one.interface == two.interface:
            problems.add(("links", place), "both ends of the link are the same", "use two interfaces")
