"""The policy `near`: few links between hosts, and no host much fuller than the others.

Regions grow from seeds, ring by ring; then single units move, or two change places, as long as that saves links
(the moves of Kernighan and Lin). What the moves may cost is bounded beforehand.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.placement.model import Loads, Unit

STEPS = 30
"""How many steps the moves may take for each unit and each link."""

SLACK = 10
"""A host may have one part in so many more than its share, or one unit."""

_LAST = 1 << 62


class Regions:
    """The units on each host, and what draws the others there; units go by their number, in the order given."""

    def __init__(self, units: Sequence[Unit], loads: Loads, links: Iterable[tuple[str, str]]) -> None:
        """Store what is to be placed."""
        self.units = units
        self.loads = loads
        self.steps = 0
        self.joined = _neighbours(units, links)
        self.degree = [sum(joined.values()) for joined in self.joined]
        self.pulls: list[dict[str, int]] = [{} for _ in units]
        self.at: list[str] = [""] * len(units)
        self.there: dict[str, dict[int, None]] = {host: {} for host in loads.order}
        self.rank = {host: place for place, host in enumerate(loads.order)}
        total, heaviest = sum(unit.weight for unit in units), max((unit.weight for unit in units), default=0)
        self.shares = {host: -(-total * capacity.weight // loads.capacity) for host, capacity in loads.hosts.items()}
        self.limits = {host: share + max(heaviest, share // SLACK) for host, share in self.shares.items()}

    def fits(self, number: int, host: str, limits: Mapping[str, int]) -> bool:
        """Tell whether a host has room for a unit."""
        return self.loads.total[host] + self.units[number].weight <= limits[host]

    def put(self, number: int, host: str) -> None:
        """Put a unit on a host, whose weight there is counted already."""
        self.at[number] = host
        self.there[host][number] = None
        for other, count in self.joined[number].items():
            self.pulls[other][host] = self.pulls[other].get(host, 0) + count
        self.steps += len(self.joined[number])

    def take(self, number: int, host: str) -> None:
        """Put a unit on a host, and count its weight."""
        self.loads.add(host, self.units[number].weight)
        self.put(number, host)

    def move(self, number: int, host: str) -> None:
        """Put a unit on another host than it is on."""
        here = self.at[number]
        del self.there[here][number]
        self.loads.add(here, -self.units[number].weight)
        for other, count in self.joined[number].items():
            self.pulls[other][here] -= count
            if not self.pulls[other][here]:
                del self.pulls[other][here]
        self.steps += len(self.joined[number])
        self.take(number, host)

    def swappable(self, one: int, two: int) -> bool:
        """Tell whether two units of different hosts may change places."""
        more = self.units[one].weight - self.units[two].weight
        here, there = self.at[one], self.at[two]
        fits = self.loads.total[there] + more <= self.limits[there] and self.loads.total[here] - more <= self.limits[here]
        return fits and here in self.units[two].hosts


def near(regions: Regions, kept: Mapping[str, str]) -> dict[str, str]:
    """Give the hosts of the units that are not `kept` where they are; the weight of those is in the loads already.

    A host gets more than its limit only of what may be nowhere else.
    """
    _Growth(regions, kept).grow()
    free = [unit.name not in kept for unit in regions.units]
    _improve(regions, free)
    return {unit.name: host for unit, host, mine in zip(regions.units, regions.at, free, strict=True) if mine}


class _Growth:
    """Grows regions until everything is in one."""

    def __init__(self, regions: Regions, kept: Mapping[str, str]) -> None:
        """Begin with what is placed already."""
        self._regions = regions
        self._ring = [0] * len(regions.units)
        self._drawn: list[tuple[int, int, int, int, str]] = []
        # A region begins best at the rim, of the network and of what is left of it; what stands alone fills up in the end.
        self._open = list(regions.degree)
        self._seeds = [(degree or _LAST, degree, number) for number, degree in enumerate(regions.degree)]
        heapq.heapify(self._seeds)
        for number, unit in enumerate(regions.units):
            if unit.name in kept:
                regions.put(number, kept[unit.name])
        for number in range(len(regions.units)):
            if regions.at[number]:
                self._draw(number)

    def grow(self) -> None:
        """Put every unit somewhere."""
        regions = self._regions
        self._follow()
        while self._seeds:
            regions.steps += 1
            _, _, number = heapq.heappop(self._seeds)
            if not regions.at[number]:
                regions.take(number, self._seat(number))
                self._draw(number)
                self._follow()

    def _follow(self) -> None:
        """Take in what is drawn to a host that has room for its share."""
        regions = self._regions
        while self._drawn:
            regions.steps += 1
            ring, _, number, _, host = heapq.heappop(self._drawn)
            if not regions.at[number] and host in regions.units[number].hosts and regions.fits(number, host, regions.shares):
                self._ring[number] = ring
                regions.take(number, host)
                self._draw(number)

    def _draw(self, number: int) -> None:
        """Draw the neighbours of a unit to its host: ring by ring, and first those that have the most links inside."""
        regions = self._regions
        host, ring = regions.at[number], self._ring[number] + 1
        for other, count in regions.joined[number].items():
            if not regions.at[other]:
                outside = regions.degree[other] - 2 * regions.pulls[other][host]
                heapq.heappush(self._drawn, (ring, outside, other, regions.rank[host], host))
                self._open[other] -= count
                heapq.heappush(self._seeds, (regions.degree[other], self._open[other], other))

    def _seat(self, number: int) -> str:
        """Give the host for a unit that is drawn to none with room: the emptiest of those that may have it."""
        regions, unit = self._regions, self._regions.units[number]
        regions.steps += len(unit.hosts)
        hosts = [host for host in unit.hosts if regions.fits(number, host, regions.limits)] or unit.hosts
        return min(hosts, key=lambda host: (regions.loads.with_more(host, unit.weight), regions.rank[host]))


def _improve(regions: Regions, free: Sequence[bool]) -> None:
    """Move those units that are free to, as long as that saves links between hosts, or until the steps are used up."""
    end = regions.steps + STEPS * (len(regions.units) + sum(map(len, regions.joined)))
    moving = True
    while moving:
        moving = False
        for number in range(len(regions.units)):
            regions.steps += 1
            if regions.steps >= end:
                return
            moving |= free[number] and _improved(regions, number, free)


def _improved(regions: Regions, number: int, free: Sequence[bool]) -> bool:
    """Move a unit to where more of its links are, or let it change places with another; tell whether it was moved."""
    for gain, host in _better(regions, number):
        if not regions.fits(number, host, regions.limits):
            partner = _partner(regions, number, (gain, host), free)
            if partner is None:
                continue
            regions.move(partner, regions.at[number])
        regions.move(number, host)
        return True
    return False


def _better(regions: Regions, number: int) -> list[tuple[int, str]]:
    """Give how many links a unit would save on other hosts where it may be, the best first."""
    pulls, allowed = regions.pulls[number], regions.units[number].hosts
    own = pulls.get(regions.at[number], 0)
    regions.steps += len(pulls)
    found = [(pull - own, host) for host, pull in pulls.items() if pull > own and host in allowed]
    return sorted(found, key=lambda pair: (-pair[0], regions.rank[pair[1]]))


def _partner(regions: Regions, number: int, wish: tuple[int, str], free: Sequence[bool]) -> int | None:
    """Find the unit of a full host with which to change places, so that the most links are saved."""
    (gain, host), here, joined = wish, regions.at[number], regions.joined[number]
    best, found = 0, None
    for other in regions.there[host]:
        pulls = regions.pulls[other]
        saved = gain + pulls.get(here, 0) - pulls.get(host, 0) - 2 * joined.get(other, 0)
        if saved > best and free[other] and regions.swappable(number, other):
            best, found = saved, other
    regions.steps += len(regions.there[host])
    return found


def _neighbours(units: Sequence[Unit], links: Iterable[tuple[str, str]]) -> list[dict[int, int]]:
    """Give for each unit the others that it has links to, and how many."""
    numbers = {name: number for number, unit in enumerate(units) for name in unit.names}
    counts: dict[tuple[int, int], int] = {}
    for ends in links:
        one, two = sorted(numbers[name] for name in ends)
        if one != two:
            counts[one, two] = counts.get((one, two), 0) + 1
    found: list[dict[int, int]] = [{} for _ in units]
    for (one, two), count in sorted(counts.items()):
        found[one][two] = found[two][one] = count
    return found
