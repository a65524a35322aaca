"""Where nodes and bridges may be: the patterns of hosts that are written for them, and what a node counts there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.topology.contents import Contents
from nsprov.topology.model import LOCALHOST, Placement
from nsprov.topology.positions import Path, Problems, shown
from nsprov.topology.written import Written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.topology import spec as language
    from nsprov.topology.model import Bridge, Node
    from nsprov.topology.written import Writer

MAX_WEIGHT = 1_000_000


class Sites:
    """Reads where the parts of a lab may be; what a pattern stands for is for an inventory to say."""

    def __init__(self, spec: language.TopologySpec, problems: Problems) -> None:
        """Read what holds for all nodes."""
        self._spec = spec
        self._problems = problems
        self._writers: dict[str, Writer] = {}
        given = spec.placement
        hosts = LOCALHOST if given is None else self.pattern(given.hosts, ("placement", "hosts"), LOCALHOST)
        self.placement = Placement(policy=(given.policy if given else None) or Placement().policy, hosts=hosts)

    def pattern(self, given: str | None, path: Path, default: str) -> str:
        """Read a pattern of hosts."""
        if given is not None and not given.strip():
            self._problems.add(path, f"{shown(given)} is no pattern of hosts", "name a host or a group of the inventory")
        return given if given is not None and given.strip() else default

    def node(self, given: language.NodeSpec, path: Path) -> dict[str, Any]:
        """Read where a node may be, and what it counts."""
        weight = 1 if given.weight is None else given.weight
        if not 1 <= weight <= MAX_WEIGHT:
            self._problems.add((*path, "weight"), f"a weight of {weight} is impossible", f"use one from 1 to {MAX_WEIGHT}")
        return {"host": self.pattern(given.host, (*path, "host"), self.placement.hosts), "weight": max(1, weight)}

    def keep(self, node: Node, given: language.NodeSpec, variables: Mapping[str, Any]) -> None:
        """Keep what renders a node's templates, for when it is known where the node lives: they may ask for that."""
        if node.host != LOCALHOST and any(file.template is not None for file in (given.files or {}).values()):
            self._writers[node.name] = lambda placed, problems: Contents(placed.name, given, problems).files(
                {**variables, "node": placed}
            )

    def written(self, nodes: Mapping[str, Node], bridges: Mapping[str, Bridge], places: Sequence[int]) -> Written | None:
        """Give what is needed when the nodes are placed; nothing if all is on this host and no other."""
        hosts = {self.placement.hosts, *(node.host for node in nodes.values()), *(bridge.host for bridge in bridges.values())}
        if hosts == {LOCALHOST}:
            return None
        return Written(
            source=self._problems.source,
            origins=self._problems.origins,
            elsewhere=frozenset(name for name, given in (self._spec.nodes or {}).items() if given is None or not given.host),
            homes=frozenset(name for name, given in (self._spec.bridges or {}).items() if given is not None and given.host),
            places=places,
            writers=self._writers,
        )
