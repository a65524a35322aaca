"""Addresses for links that have none: pairs out of a pool, each at a place that follows from the link's own name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.topology.addresses import V4, Cidr, parse_network
from nsprov.topology.names import slot
from nsprov.topology.positions import Flaw, Path, Problems, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.topology.model import Link

POOL = "10.254.0.0/16"
_PAIR_LENGTH = 31
_LONGEST_POOL = 30


def read_pool(text: str | None, problems: Problems) -> Cidr:
    """Read the pool that links take their addresses from."""
    path: Path = ("pools", "links")
    try:
        pool = parse_network(text or POOL)
    except Flaw as flaw:
        problems.flaw(path, flaw)
        return parse_network(POOL)
    if pool.family != V4 or pool.length > _LONGEST_POOL:
        problems.add(path, f"{shown(text or POOL)} cannot hold pairs of addresses", f'use an IPv4 subnet such as "{POOL}"')
        return parse_network(POOL)
    return pool


def allocate(bare: Mapping[int, Link], pool: Cidr, others: Sequence[Cidr], problems: Problems) -> dict[int, Cidr]:
    """Give each link a /31 of the pool, away from the addresses of others.

    The search starts at a place that follows from the link's endpoints, and moves on only when that is taken:
    another link more rarely moves this one.
    """
    slots = 1 << (_PAIR_LENGTH - pool.length)
    foreign = [cidr for cidr in others if cidr.overlaps(pool)]
    taken: set[int] = set()
    result: dict[int, Cidr] = {}
    for place in sorted(bare, key=lambda place: sorted(map(str, bare[place].endpoints))):
        start = slot(" ".join(sorted(map(str, bare[place].endpoints))), slots)
        for step in range(slots):
            base = Cidr(V4, pool.value + 2 * ((start + step) % slots), _PAIR_LENGTH)
            if base.value not in taken and not any(base.overlaps(cidr) for cidr in foreign):
                taken.add(base.value)
                result[place] = base
                break
        else:
            problems.add(("pools", "links"), f"the pool has {slots} pairs, too few for the links", "use a larger subnet")
            break
    return result
