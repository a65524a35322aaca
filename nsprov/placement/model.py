"""What is placed and where: nodes that must be together as units, and hosts with how much is on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import lcm
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DIGITS = re.compile(r"([0-9]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """A node: the hosts on which it may live, and what it counts; one of no weight only draws others to it."""

    name: str
    hosts: frozenset[str]
    weight: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """A host: what it can take beside the others, and its place among them."""

    weight: int = 1
    rank: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Nodes that must live on one host, in order; the first gives the name."""

    names: tuple[str, ...]
    hosts: frozenset[str]
    weight: int

    @property
    def name(self) -> str:
        """Give the name by which it is known and ordered."""
        return self.names[0]


class Loads:
    """How much is on each host, and how full that makes it beside the others."""

    def __init__(self, hosts: Mapping[str, Capacity]) -> None:
        """Start with empty hosts, in their order."""
        self.hosts = hosts
        self.order = sorted(hosts, key=lambda host: (hosts[host].rank, host))
        self.total = dict.fromkeys(self.order, 0)
        self.capacity = sum(capacity.weight for capacity in hosts.values())
        whole = lcm(*(capacity.weight for capacity in hosts.values()))
        self._scale = {host: whole // capacity.weight for host, capacity in hosts.items()}

    def add(self, host: str, weight: int) -> None:
        """Put something on a host, or take it away again."""
        self.total[host] += weight

    def with_more(self, host: str, weight: int) -> int:
        """Tell how full a host would be with so much more, on a scale that is the same for all."""
        return (self.total[host] + weight) * self._scale[host]


def natural(name: str) -> tuple[tuple[tuple[int, str], ...], str]:
    """Order names as people do: `h2` before `h10`."""
    parts = (part for part in _DIGITS.split(name) if part)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts), name


def join(demands: Iterable[Demand], together: Iterable[tuple[str, str]]) -> tuple[list[Unit], list[tuple[str, str]]]:
    """Make units of nodes that must be together; give them in order, and the pairs that cannot be for want of a common host."""
    groups = {demand.name: [demand] for demand in demands}
    hosts = {name: group[0].hosts for name, group in groups.items()}
    apart = []
    for pair in together:
        one, two = sorted((groups[name] for name in pair), key=len, reverse=True)
        both = hosts[one[0].name] & hosts[two[0].name]
        if not both:
            apart.append(pair)
        elif one is not two:
            groups.update((demand.name, one) for demand in two)
            one += two
            hosts[one[0].name] = both
    units = []
    for group in {id(group): group for group in groups.values()}.values():
        names = tuple(sorted((demand.name for demand in group), key=natural))
        units.append(Unit(names=names, hosts=hosts[group[0].name], weight=sum(demand.weight for demand in group)))
    return sorted(units, key=lambda unit: natural(unit.name)), apart
