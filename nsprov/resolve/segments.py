"""What is one network to frames: links and bridges, joined by the bridges inside nodes. One MTU fits all of it, or none.

A bridge drops what is too large for the port that it has to leave by, and tells nobody: so where one part of a network
takes less, because it leads to another host, the other parts take no more either, unless the file says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Union

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.topology.model import Topology


class OfLink(NamedTuple):
    """A link, by its position in the topology."""

    position: int


class OfBridge(NamedTuple):
    """A bridge of hosts, or with `node` one inside that node."""

    name: str
    node: str = ""


Segment = Union[OfLink, OfBridge]


def spread(topology: Topology, limits: Mapping[Segment, int]) -> dict[Segment, int]:
    """Give what each segment takes at most, so that it gets through all that its frames may come to."""
    parents: dict[Segment, Segment] = {}

    def root(segment: Segment) -> Segment:
        while (parent := parents.get(segment, segment)) != segment:
            segment = parent
        return segment

    for one, other in _joined(topology):
        parents[root(one)] = root(other)
    lowest: dict[Segment, int] = {}
    for segment, limit in limits.items():
        lowest[root(segment)] = min(limit, lowest.get(root(segment), limit))
    return {segment: lowest[root(segment)] for segment in (*limits, *parents, *parents.values()) if root(segment) in lowest}


def _joined(topology: Topology) -> Iterator[tuple[Segment, Segment]]:
    """Give each bridge inside a node with what its ports lead to."""
    holders = {
        (node.name, port): OfBridge(inner.name, node.name)
        for node in topology.nodes.values()
        for inner in node.bridges.values()
        for port in inner.ports
    }
    for position, link in enumerate(topology.links):
        for end in link.endpoints:
            if (end.node, end.interface) in holders:
                yield OfLink(position), holders[end.node, end.interface]
    for (node, port), holder in holders.items():
        interface = topology.nodes[node].interfaces.get(port)
        if interface is not None and interface.bridge is not None:
            yield OfBridge(interface.bridge), holder
