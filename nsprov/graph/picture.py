"""What every drawing of a topology shows: boxes with their interfaces, and wires between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsprov.topology.model import HOST_NODE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.topology.model import Endpoint, Node, Topology

NODE, BRIDGE, HOST = "node", "bridge", "host"
"""The roles of a box: a node, a bridge of a host, and the host itself where a link ends on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """An interface in a box, the box itself if it has no name, or a bridge inside a node, which has `members`."""

    name: str
    addresses: tuple[str, ...] = ()
    members: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A node, a bridge of a host, or a host; `key` is unique in a picture."""

    key: str
    role: str
    host: str
    title: str
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wire:
    """A link between two boxes; a port without a name is one of a bridge, which nsprov names by itself."""

    boxes: tuple[str, str]
    ports: tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """All of a topology that is drawn, in the order of the file."""

    title: str
    boxes: Mapping[str, Box]
    wires: tuple[Wire, ...]

    def by_host(self) -> dict[str, list[Box]]:
        """Give the boxes of each host."""
        found: dict[str, list[Box]] = {}
        for box in self.boxes.values():
            found.setdefault(box.host, []).append(box)
        return found


def picture(topology: Topology) -> Picture:
    """Give what there is to draw."""
    boxes: dict[str, Box] = {}
    for bridge in topology.bridges.values():
        own = (Port(name="", addresses=bridge.addresses),) if bridge.addresses else ()
        box = Box(key=f"{BRIDGE}/{bridge.name}", role=BRIDGE, host=bridge.host, title=bridge.name, ports=own)
        boxes[box.key] = box
    for box in _hosts(topology):
        boxes[box.key] = box
    for node in topology.nodes.values():
        boxes[f"{NODE}/{node.name}"] = _node(node)
    return Picture(title=topology.name, boxes=boxes, wires=tuple(_wires(topology)))


def _node(node: Node) -> Box:
    ports = [Port(name=own.name, addresses=own.addresses) for own in node.interfaces.values()]
    inner = [Port(name=own.name, addresses=own.addresses, members=own.ports) for own in node.bridges.values()]
    return Box(key=f"{NODE}/{node.name}", role=NODE, host=node.host, title=node.name, ports=(*ports, *inner))


def _hosts(topology: Topology) -> Iterator[Box]:
    """Give a box for each host on which a link ends, with the interfaces that it gets."""
    found: dict[str, list[Port]] = {}
    for link in topology.links:
        for end, other, addresses in zip(link.endpoints, reversed(link.endpoints), link.addresses, strict=True):
            if end.node == HOST_NODE:
                host = _host_of(topology, other)
                found.setdefault(host, []).append(Port(name=end.interface, addresses=addresses))
    for host, ports in found.items():
        yield Box(key=f"{HOST}/{host}", role=HOST, host=host, title=host, ports=tuple(ports))


def _wires(topology: Topology) -> Iterator[Wire]:
    for node in topology.nodes.values():
        for own in node.interfaces.values():
            if own.bridge is not None:
                yield Wire(boxes=(f"{BRIDGE}/{own.bridge}", f"{NODE}/{node.name}"), ports=("", own.name))
    for link in topology.links:
        first, second = link.endpoints
        boxes = (_key(topology, first, second), _key(topology, second, first))
        yield Wire(boxes=boxes, ports=(first.interface, second.interface))


def _key(topology: Topology, end: Endpoint, other: Endpoint) -> str:
    return f"{HOST}/{_host_of(topology, other)}" if end.node == HOST_NODE else f"{NODE}/{end.node}"


def _host_of(topology: Topology, end: Endpoint) -> str:
    return topology.nodes[end.node].host


def printable(text: str) -> str:
    """Replace what no drawing can hold: control characters and half surrogates."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
