"""A route of a node, IPv4 or IPv6: through a gateway or a device, over several next hops, or to nowhere.

    nodes:
      r1:
        routes:
          - {to: default, via: 192.168.10.1}
          - {to: 10.0.0.0/8, blackhole: true}
          - {to: 10.1.0.0/16, nexthops: [{via: 10.0.0.1}, {via: 10.0.0.3, weight: 2}], metric: 50}

What a routing daemon adds has another protocol number and is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import rtnl
from nsprov.kernel.answers import parse_route
from nsprov.kernel.netlink import Request
from nsprov.plan.resource import IDENTITY, REPLACE, Ref, Resource, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "route"


@dataclass(frozen=True)
class Route(Resource):
    """`nexthops` are `(via, dev, weight)`, sorted; `metric` of an IPv6 route is 1024 where none was given."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    to: str = field(metadata=IDENTITY)
    table: int = field(default=rtnl.MAIN_TABLE, metadata=IDENTITY)
    metric: int = field(default=0, metadata=IDENTITY)
    type: str = field(default="unicast", metadata=REPLACE)
    via: str = ""
    dev: str = ""
    source: str = ""
    nexthops: tuple[tuple[str, str, int], ...] = ()

    def ref(self) -> Ref:
        """Name it after its node and destination, and its table and metric where they are not the usual ones."""
        table = f" table {self.table}" if self.table != rtnl.MAIN_TABLE else ""
        metric = f" metric {self.metric}" if self.metric != usual_metric(self.to) else ""
        return Ref(NAME, f"{place(self.node)}/{self.to}{table}{metric}")

    def devices(self) -> tuple[str, ...]:
        """Give the devices that it goes through."""
        return tuple(dev for dev in (self.dev, *(hop[1] for hop in self.nexthops)) if dev)

    def provides(self) -> tuple[str, ...]:
        """The node's workloads need its whole network."""
        return (f"network:{self.node}",)

    def stands_on(self) -> tuple[str, ...]:
        """Its devices and their addresses: with the last address of a family go the routes through the device."""
        family = 6 if ":" in self.to else 4
        where = place(self.node)
        links = (f"link:{where}/{dev}" for dev in self.devices() if dev != "lo")
        addresses = (f"addr:{where}/{dev}/{family}" for dev in self.devices())
        return (f"netns:{self.node}", *links, *addresses)

    def dies_with(self) -> tuple[str, ...]:
        """The network namespace alone: of several next hops, others may stay when one device goes."""
        return (f"netns:{self.node}",)

    def watches(self) -> tuple[tuple[str, str, str | int], ...]:
        """The routes of its version, and the links that they name."""
        links = ((self.node, "link", dev) for dev in self.devices())
        return ((self.node, "route", 6 if ":" in self.to else 4), *links)


SCHEMA = Route


def usual_metric(destination: str) -> int:
    """Give the metric of a route for which none was given (IP6_RT_PRIO_USER in linux/ipv6_route.h)."""
    return 1024 if ":" in destination else 0


def observe(kernel: Kernel, known: Mapping[Ref, Route]) -> Iterable[Route]:
    """Give the routes that are known, and those with our protocol number."""
    for node in kernel.namespaces.names:
        dump = kernel.seen.dump(node)
        names = {link.ifindex: link.name for link in dump.links}
        alone = kernel.owns(node)
        for found in dump.routes:
            route = _observed(node, found, names)
            # Where a node is attached, others have routes too, and other labs have ours' number.
            mine = alone or (found.proto == rtnl.PROTO and (route.ref() in known or _is_over_ours(kernel, node, found)))
            if mine and (found.proto == rtnl.PROTO or route.ref() in known):
                yield route


def _is_over_ours(kernel: Kernel, node: str, found: rtnl.Route) -> bool:
    """Tell whether a route goes through a link of this lab."""
    indexes = {found.ifindex, *(hop[1] for hop in found.nexthops)}
    return any(link.ifindex in indexes and kernel.marked(link) for link in kernel.seen.dump(node).links)


def _observed(node: str, found: rtnl.Route, names: Mapping[int, str]) -> Route:
    return Route(
        node=node,
        to=found.destination,
        table=found.table,
        metric=found.metric,
        type=found.type,
        via=found.via or "",
        dev=names.get(found.ifindex, "?") if found.ifindex is not None else "",
        source=found.source or "",
        nexthops=tuple(sorted((via or "", names.get(index, "?"), weight) for via, index, weight in found.nexthops)),
    )


def obstacles(kernel: Kernel, wants: Sequence[Route]) -> Mapping[Ref, str]:
    """Where a node is attached: a route to the same place that is not ours, and would lose its traffic to this one."""
    shared = {want.node for want in wants if kernel.seen.dump(want.node).links and not kernel.owns(want.node)}
    theirs = {node: _others(kernel, node) for node in shared}
    found = {}
    for want in wants:
        for other in theirs.get(want.node, ()):
            if (other.destination, other.table) == (want.to, want.table) and other.metric >= want.metric:
                via = f" via {other.via}" if other.via else ""
                found[want.ref()] = f'Node "{want.node}" has a route to {want.to}{via} already, which is not of this lab.'
    return found


def _others(kernel: Kernel, node: str) -> list[rtnl.Route]:
    """Read the routes that are not ours; a look leaves them out."""
    rows = [row for version in (4, 6) for row in kernel.netlink.dump_raw(node, rtnl.get_routes(version, proto=0))]
    routes = [parse_route(row, rtnl.HEADER_FORMAT.size, len(row)) for row in rows]
    return [
        route
        for route in routes
        if route and (route.proto != rtnl.PROTO or (route.ifindex is not None and not _is_over_ours(kernel, node, route)))
    ]


def create(kernel: Kernel, wants: Sequence[Route]) -> None:
    """Add the routes; bridges go up first, for a route through a device that is down is refused."""
    kernel.netlink.settle()
    kernel.netlink.send(_request(kernel, rtnl.RTM_NEWROUTE, want) for want in wants)


def update(kernel: Kernel, pairs: Sequence[tuple[Route, Route]]) -> None:
    """Replace the routes' next hops in one request each, without a gap."""
    create(kernel, [after for _, after in pairs])


def delete(kernel: Kernel, haves: Sequence[Route]) -> None:
    """Remove the routes."""
    present = [have for have in haves if kernel.seen.dump(have.node).links]
    kernel.netlink.send(_request(kernel, rtnl.RTM_DELROUTE, have) for have in present)


def _request(kernel: Kernel, operation: int, want: Route) -> Request:
    def index(dev: str) -> int:
        return kernel.netlink.ifindex(want.node, dev)

    deleting = operation == rtnl.RTM_DELROUTE
    route = rtnl.Route(
        destination=want.to,
        table=want.table,
        metric=want.metric,
        type=want.type,
        proto=rtnl.PROTO,
        via=want.via or None,
        ifindex=index(want.dev) if want.dev and not deleting else None,
        source=want.source or None,
        nexthops=() if deleting else tuple((via or None, index(dev), weight) for via, dev, weight in want.nexthops),
    )
    return Request(want.node, rtnl.route_message(operation, route), want.ref(), absent_is_fine=deleting)
