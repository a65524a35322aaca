"""Which links and bridges lead from one host to another, and what joins them: pure, from values that others have gathered.

Without surveys nothing is known of the hosts: then a host's name stands for its address, every path takes 1500 bytes,
and no number is taken. That is what `validate`, `render` and `graph` show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from nsprov.errors import Diagnostic, InputError
from nsprov.resolve import segments, wireguard
from nsprov.resolve.segments import OfBridge, OfLink
from nsprov.resolve.ways import Known, Ways
from nsprov.topology import names
from nsprov.topology.hosting import users_of_bridges
from nsprov.topology.model import GRE, HOST_NODE, WIREGUARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nsprov.plan.resource import Resource
    from nsprov.resolve.segments import Segment
    from nsprov.survey import Survey
    from nsprov.topology.model import Bridge, Interface, Link, Topology
    from nsprov.topology.written import Written

    Place = tuple[Any, ...]

_FIRST_VNI, _VNIS = 1 << 20, (1 << 24) - (1 << 20)
"""Numbers that people choose by hand are mostly lower."""

_MIN_MTU, _MIN_MTU_6 = 68, 1280
_SPOKEN = {GRE: "GRE", WIREGUARD: "WireGuard and VXLAN in it"}


@dataclass(frozen=True)
class Tunnel:
    """What joins the ends of a link, or the hosts of a bridge: `id` is a VNI or a key; the addresses are by host.

    `sources` are where a host's packets come from, `targets` where others send theirs.
    """

    kind: str
    id: int
    sources: Mapping[str, str]
    targets: Mapping[str, str]

    def remotes(self, host: str) -> tuple[str, ...]:
        """Give the addresses to which a host sends what is for all."""
        return tuple(sorted({address for other, address in self.targets.items() if other != host}))


@dataclass(frozen=True)
class Tunnels:
    """All tunnels of a lab, by what they join, and what each segment takes at most where that is not what is usual.

    `bridges` has every bridge's hosts, its home first. `devices` has by host what it needs for what is encrypted.
    """

    port: int = 0
    joined: Mapping[Segment, Tunnel] = field(default_factory=dict)
    limits: Mapping[Segment, int] = field(default_factory=dict)
    bridges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    devices: tuple[tuple[str, Resource], ...] = ()

    def mtu(self, segment: Segment, usual: int) -> int:
        """Give the MTU of a segment for which the file says none."""
        return min(usual, self.limits.get(segment, usual))


class Crossing(NamedTuple):
    """A segment that leads across hosts: `ends` are the host and the name of each end, `wanted` the MTUs that the file says.

    `least` is what it has to take for the addresses on it, and `place` where it stands in the file.
    """

    segment: Segment
    name: str
    kind: str
    hosts: tuple[str, ...]
    ends: tuple[tuple[str, str], ...]
    wanted: tuple[tuple[Place, int], ...]
    least: int
    place: Place


def bridge_hosts(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Give the hosts that each bridge is on, its home first."""
    users = users_of_bridges(topology.nodes.values())
    return {name: tuple({given.host: None, **users.get(name, {})}) for name, given in topology.bridges.items()}


def plan(topology: Topology, known: Known | None = None, written: Written | None = None) -> Tunnels:
    """Settle all tunnels of a lab whose nodes are placed; `written` tells where in the file a problem is.

    Raises:
        InputError: hosts cannot reach each other, or a wanted MTU does not fit.

    """
    crossings = list(_crossings(topology, written))
    ways = Ways(topology.name, known or Known(), topology.underlay.mtu)
    found = [problem for one, other in _all_pairs(crossings) for problem in ways.problems(one, other)]
    if not found:
        found = [problem for crossing in crossings for problem in _misfits(topology, crossing, ways, written)]
    if found:
        raise InputError(*found)
    ids = _numbers(topology, crossings, ways.surveys or {})
    encrypted = {pair: ways.through(*pair) for pair in _all_pairs(c for c in crossings if c.kind == WIREGUARD)}
    return Tunnels(
        port=topology.underlay.port,
        joined={crossing.segment: _tunnel(crossing, ids[crossing.segment], ways) for crossing in crossings},
        limits=segments.spread(topology, {crossing.segment: _fits(crossing, ways)[0] for crossing in crossings}),
        bridges=bridge_hosts(topology),
        devices=tuple(wireguard.devices(topology.name, encrypted, ways)),
    )


def _tunnel(crossing: Crossing, number: int, ways: Ways) -> Tunnel:
    hosts = crossing.hosts
    if crossing.kind == WIREGUARD:
        inside = {host: ways.inside(host) for host in hosts}
        return Tunnel(crossing.kind, number, inside, inside)
    sources = {host: ways.source(host, tuple(other for other in hosts if other != host)) for host in hosts}
    return Tunnel(crossing.kind, number, sources, {host: ways.address(host) for host in hosts})


def _pairs(crossing: Crossing) -> Iterator[tuple[str, str]]:
    return combinations(sorted(crossing.hosts), 2)


def _all_pairs(crossings: Iterable[Crossing]) -> list[tuple[str, str]]:
    return sorted({pair for crossing in crossings for pair in _pairs(crossing)})


# --- what leads across -----------------------------------------------------------------------------------------------


def _crossings(topology: Topology, written: Written | None) -> Iterator[Crossing]:
    for position, link in enumerate(topology.links):
        if all(end.node != HOST_NODE for end in link.endpoints):
            hosts = tuple(topology.nodes[end.node].host for end in link.endpoints)
            if hosts[0] != hosts[1]:
                place = ("links", written.places[position] if written else position)
                yield _of_link(topology, position, link, hosts, place)
    on: dict[str, list[tuple[Place, Interface]]] = {}
    for node in topology.nodes.values():
        for interface in node.interfaces.values():
            if interface.bridge is not None:
                on.setdefault(interface.bridge, []).append((("nodes", node.name, "interfaces", interface.name), interface))
    for name, hosts in bridge_hosts(topology).items():
        if len(hosts) > 1:
            yield _of_bridge(topology, topology.bridges[name], hosts, on.get(name, []))


def _of_link(topology: Topology, position: int, link: Link, hosts: tuple[str, ...], place: Place) -> Crossing:
    wanted, least = [], _MIN_MTU
    for end in link.endpoints:
        interface = topology.nodes[end.node].interfaces[end.interface]
        if interface.mtu is not None:
            own: Place = ("nodes", end.node, "interfaces", end.interface, "mtu")
            wanted.append(((*place, "mtu") if interface.mtu == link.mtu else own, interface.mtu))
        least = max(least, _least(interface.addresses))
    kind = "gretap" if link.tunnel == GRE else "vxlan"
    return Crossing(
        segment=OfLink(position),
        name=f'link "{link.endpoints[0]} - {link.endpoints[1]}"',
        kind=link.tunnel,
        hosts=hosts,
        ends=tuple((host, f"{kind}:{end.node}/{end.interface}") for host, end in zip(hosts, link.endpoints, strict=True)),
        wanted=tuple(dict.fromkeys(wanted)),
        least=least,
        place=place,
    )


def _of_bridge(topology: Topology, bridge: Bridge, hosts: tuple[str, ...], on: list[tuple[Place, Interface]]) -> Crossing:
    place: Place = ("bridges", bridge.name)
    wanted = [((*where, "mtu"), interface.mtu) for where, interface in on if interface.mtu is not None]
    if bridge.mtu is not None:
        wanted.insert(0, ((*place, "mtu"), bridge.mtu))
    end = f"vxlan:host/{names.tunnel_name(topology.prefix, bridge.name, topology.name)}"
    return Crossing(
        segment=OfBridge(bridge.name),
        name=f'bridge "{bridge.name}"',
        kind=bridge.tunnel,
        hosts=hosts,
        ends=tuple((host, end) for host in hosts),
        wanted=tuple(wanted),
        least=max(_least(addresses) for addresses in (bridge.addresses, *(interface.addresses for _, interface in on))),
        place=place,
    )


def _least(addresses: Iterable[str]) -> int:
    return _MIN_MTU_6 if any(":" in text for text in addresses) else _MIN_MTU


# --- how large -------------------------------------------------------------------------------------------------------


def _fits(crossing: Crossing, ways: Ways) -> tuple[int, tuple[str, str]]:
    """Give the MTU that fits through all of a crossing, and the pair of hosts that it is because of."""
    return min((ways.left(crossing.kind, *pair), pair) for pair in _pairs(crossing))


def _misfits(topology: Topology, crossing: Crossing, ways: Ways, written: Written | None) -> Iterator[Diagnostic]:
    most, (one, other) = _fits(crossing, ways)
    takes = ways.takes(one, other)
    spoken = f"{_SPOKEN.get(crossing.kind, 'VXLAN')} over {'IPv6' if ways.is_v6(one) else 'IPv4'}"
    name = crossing.name[0].upper() + crossing.name[1:]
    detail = f'{name} leads from "{one}" to "{other}"; a packet there has {takes} bytes at most, {spoken} needs {takes - most}.'
    if most < crossing.least:
        hint = f"have the network between the hosts take {crossing.least + takes - most}, or use another `tunnel`"
        summary = f"an MTU of {crossing.least} does not fit, {most} would"
        yield _diagnostic(topology, crossing.place, Diagnostic(summary, "", detail, hint), written)
    for place, mtu in crossing.wanted:
        if mtu > most >= crossing.least:
            hint = f"use {most} or less, or have the network between the hosts take {mtu + takes - most}"
            said = Diagnostic(f"an MTU of {mtu} does not fit, {most} would", "", detail, hint)
            yield _diagnostic(topology, place, said, written)


def _diagnostic(topology: Topology, place: Place, said: Diagnostic, written: Written | None) -> Diagnostic:
    if written is None:
        return Diagnostic(said.summary, topology.path, said.detail, said.hint)
    return written.diagnose(place, said.summary, said.hint, said.detail)


# --- which number ----------------------------------------------------------------------------------------------------


def _numbers(topology: Topology, crossings: list[Crossing], surveys: Mapping[str, Survey]) -> dict[Segment, int]:
    """Give each crossing a number that nothing else on its hosts has: the one that it has, else one that follows from its name.

    First come those that have one, so that nothing new takes it.
    """
    found: dict[Segment, int] = {}
    given: set[int] = set()
    taken = {host: {vni for vni, port in survey.taken if port == topology.underlay.port} for host, survey in surveys.items()}

    def is_free(number: int, crossing: Crossing) -> bool:
        return number not in given and not any(number in taken.get(host, ()) for host in crossing.hosts)

    for crossing in crossings:
        held = (surveys[host].vnis.get(name) for host, name in crossing.ends if host in surveys)
        number = next((number for number in held if number is not None and is_free(number, crossing)), None)
        if number is not None:
            found[crossing.segment] = number
            given.add(number)
    for crossing in crossings:
        if crossing.segment not in found:
            slot = names.slot(f"{topology.name}\0{crossing.name}", _VNIS)
            while not is_free(_FIRST_VNI + slot, crossing):
                slot = (slot + 1) % _VNIS
            found[crossing.segment] = _FIRST_VNI + slot
            given.add(_FIRST_VNI + slot)
    return found
