"""What must hold on each host of a lab: where its nodes may live, where they then do, and what that comes to.

The one place that resolves a topology for `up`, `plan` and their like. What hosts have said before (`Survey`) keeps nodes
where they are; without that, as for `validate`, they are placed as in a lab that is new.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nsprov.errors import InputError, NothingMatched
from nsprov.probes import probes
from nsprov.resolve import resolve, tunnels
from nsprov.resolve.ways import Known
from nsprov.topology.hosting import placed, users_of_bridges, waits
from nsprov.topology.model import LOCALHOST, WIREGUARD
from nsprov.topology.positions import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from nsprov.errors import Diagnostic
    from nsprov.inventory import Host, Inventory
    from nsprov.placement import Demand
    from nsprov.plan.resource import Ref, Resource
    from nsprov.survey import Survey
    from nsprov.topology.model import Topology
    from nsprov.topology.positions import Path
    from nsprov.topology.written import Written

    State = Mapping[Ref, Resource]

_LISTED = 3


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A topology over the hosts of an inventory.

    `hosts` are all that any node may live on, in the inventory's order, and `by_pattern` the names for each node's `host`;
    `homes` has the bridges whose home is not for the nodes to say. `known` has the addresses by which hosts reach each
    other. `inside` are the hosts that are acted on, if not all. With `rebalance`, no node stays where it is for being there.
    """

    topology: Topology
    hosts: Mapping[str, Host]
    by_pattern: Mapping[str, tuple[str, ...]]
    homes: Mapping[str, str]
    known: Known = field(default_factory=Known)
    inside: Collection[str] | None = None
    rebalance: bool = False

    @property
    def surveys(self) -> bool:
        """Tell whether the hosts have to be asked first: not if there is but this one, or nothing that they could decide."""
        return (self.is_open or self.may_cross) and any(host.connection != "local" for host in self.hosts.values())

    @property
    def remotes(self) -> dict[str, list[str]]:
        """Give the addresses that each host is asked the way to, if anything could lead there; and its own, to look for."""
        found = sorted(set(self.known.addresses.values()))
        return dict.fromkeys(self.hosts, found) if found else {}

    @property
    def keys(self) -> Collection[str]:
        """Give the hosts that are asked for a public key: all, if anything that is to be encrypted could lead there."""
        topology = self.topology
        wanted = {*(link.tunnel for link in topology.links), *(bridge.tunnel for bridge in topology.bridges.values())}
        return tuple(self.hosts) if self.may_cross and WIREGUARD in wanted else ()

    @property
    def may_cross(self) -> bool:
        """Tell whether anything could lead from one host to another."""
        return len(self.hosts) > 1 and bool(self.topology.links or self.topology.bridges)

    @property
    def is_open(self) -> bool:
        """Tell whether any node could be on several hosts."""
        return any(len(names) > 1 for names in self.by_pattern.values())

    def candidates(self, nodes: Iterable[str]) -> list[str]:
        """Give the hosts that any of these nodes may live on, in the inventory's order."""
        names = {name for node in nodes for name in self.by_pattern[self.topology.nodes[node].host]}
        return [name for name in self.hosts if name in names]

    def placed(self, surveys: Mapping[str, Survey]) -> Topology:
        """Give the topology with every node on one host.

        Raises:
            InputError: nodes that must be together have no host in common, or what is together cannot be.

        """
        topology = self.topology
        if topology.written is None:
            return topology
        from nsprov.placement import Capacity, join, place  # noqa: PLC0415 - start-up time: not for labs of this host alone

        capacities = {name: Capacity(weight=host.weight, rank=rank) for rank, (name, host) in enumerate(self.hosts.items())}
        near = topology.placement.policy == "near"
        demands = [*self._demands(), *(self._hubs() if near else ())]
        together = {(wait.node, wait.other): wait for wait in waits(topology)}
        units, apart = join(demands, together)
        if apart:
            self._refuse(apart, topology.written)
        here = {} if self.rebalance else _here(surveys)
        found = place(units, capacities, topology.placement.policy, here=here, links=_links(topology) if near else ())
        return placed(topology, found, self.homes)

    def states(self, surveys: Mapping[str, Survey]) -> dict[str, State]:
        """Give what must hold on each host that has something of the lab, as far as it is acted on.

        Raises:
            InputError: as for `placed`; or hosts that have to be joined cannot be.

        """
        topology = self.placed(surveys)
        known = replace(self.known, surveys=surveys or None)
        found = resolve(topology, tunnels.plan(topology, known, self.topology.written))
        if self.inside is not None:
            found = {host: state for host, state in found.items() if host in self.inside}
        return dict(found) or {next(iter(self.inside or self.hosts)): {}}

    def probes(self, states: Mapping[str, State]) -> dict[str, dict[str, Any]]:
        """Give what each host is to try once all hosts hold their states."""
        return probes(self.topology.name, states)

    def _demands(self) -> Iterator[Demand]:
        from nsprov.placement import Demand  # noqa: PLC0415 - start-up time, as above

        sets = {pattern: frozenset(names) for pattern, names in self.by_pattern.items()}
        return (Demand(name=it.name, hosts=sets[it.host], weight=it.weight) for it in self.topology.nodes.values())

    def _hubs(self) -> Iterator[Demand]:
        """Give the shared bridges as nodes of no weight that are linked with all that is on them."""
        from nsprov.placement import Demand  # noqa: PLC0415 - start-up time, as above

        users = users_of_bridges(self.topology.nodes.values())
        for name, patterns in users.items():
            home = self.homes.get(name)
            hosts = {home} if home else {host for pattern in patterns for host in self.by_pattern[pattern]}
            yield Demand(name=_hub(name), hosts=frozenset(hosts), weight=0)

    def _refuse(self, apart: Iterable[tuple[str, str]], written: Written) -> None:
        told = []
        for wait in waits(self.topology):
            if (wait.node, wait.other) in apart:
                its = {name: _listed(self.candidates([name])) for name in (wait.node, wait.other)}
                where = ", and ".join(f'"{name}" can be on {hosts}' for name, hosts in its.items())
                detail = f"{where}: nothing waits for another host."
                summary = f"{shown(wait.path[-1])} is on another host"
                told.append(written.diagnose(wait.path, summary, "let both nodes live on one host", detail))
        raise InputError(*told)


def layout(topology: Topology, inventory: Inventory, *, rebalance: bool = False) -> Layout:
    """Look up in the inventory where the nodes of a topology may live.

    Raises:
        NothingMatched: a pattern stands for no host.
        InputError: what must be on one certain host could be on several.

    """
    found = _selected(topology, inventory)
    if topology.written is not None:
        _check_certain(topology, topology.written, found)
    used = users_of_bridges(topology.nodes.values())
    homes = {
        bridge.name: found[bridge.host][0].name
        for bridge in topology.bridges.values()
        if bridge.name not in used or (topology.written is not None and bridge.name in topology.written.homes)
    }
    hosts = {host.name: host for selected in found.values() for host in selected}
    ranks = {name: rank for rank, name in enumerate(inventory.hosts)}
    return Layout(
        topology=topology,
        hosts={name: hosts[name] for name in sorted(hosts, key=lambda name: (ranks.get(name, -1), name))},
        by_pattern={pattern: tuple(host.name for host in selected) for pattern, selected in found.items()},
        homes=homes,
        rebalance=rebalance,
    )


def _selected(topology: Topology, inventory: Inventory) -> dict[str, tuple[Host, ...]]:
    """Give the hosts that each pattern in the topology stands for."""
    written = topology.written
    if written is None:
        return {LOCALHOST: inventory.select(LOCALHOST)}
    paths: dict[str, Path] = {}
    for node in topology.nodes.values():
        paths.setdefault(node.host, written.host_path(node.name))
    for bridge in topology.bridges.values():
        paths.setdefault(bridge.host, ("bridges", bridge.name, "host"))
    found, told = {}, []
    for pattern, path in (paths or {topology.placement.hosts: ("placement", "hosts")}).items():
        try:
            found[pattern] = inventory.select(pattern)
        except NothingMatched as problem:  # noqa: PERF203 - a try per pattern is what is meant
            said = problem.diagnostics[0]
            detail = f"{said.where} has none." if said.where else said.detail
            told.append(written.diagnose(path, f"no host is meant by {shown(pattern)}", said.hint, detail))
    if told:
        raise NothingMatched(*told)
    return found


def _check_certain(topology: Topology, written: Written, found: Mapping[str, Sequence[Host]]) -> None:
    """Refuse what is on one host, whichever, and could be on several: a bridge's home, and what a node is attached to."""
    told = [
        _several(written, ("bridges", name, "host"), "bridge", found[topology.bridges[name].host])
        for name in sorted(written.homes)
        if len(found[topology.bridges[name].host]) > 1
    ]
    told += [
        _several(written, ("nodes", node.name, "attach"), "attached node", found[node.host])
        for node in topology.nodes.values()
        if node.attach is not None and len(found[node.host]) > 1
    ]
    if told:
        raise InputError(*told)


def _several(written: Written, path: Path, what: str, hosts: Sequence[Host]) -> Diagnostic:
    names = _listed([host.name for host in hosts])
    return written.diagnose(path, f"it is open where the {what} would be", "name one host", f"It could be on {names}.")


def _here(surveys: Mapping[str, Survey]) -> dict[str, str]:
    """Tell where nodes live by now."""
    return {node: host for host, survey in sorted(surveys.items(), reverse=True) for node in survey.nodes}


def _links(topology: Topology) -> Iterator[tuple[str, str]]:
    """Give the pairs of nodes that are linked, and each node with the bridges that it is on.

    Those count twice: a link in two parts carries what is for it, a bridge in two parts also what is for everybody.
    """
    for link in topology.links:
        one, two = (end.node for end in link.endpoints)
        if one in topology.nodes and two in topology.nodes:
            yield one, two
    for node in topology.nodes.values():
        for interface in node.interfaces.values():
            if interface.bridge is not None:
                yield from [(node.name, _hub(interface.bridge))] * 2


def _hub(bridge: str) -> str:
    return f"bridge {bridge}"


def _listed(names: Sequence[str]) -> str:
    shown_names = ", ".join(names[:_LISTED])
    return shown_names if len(names) <= _LISTED else f"{shown_names} and {len(names) - _LISTED} more"
