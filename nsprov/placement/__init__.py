"""On which of the hosts where it may live each node lives: pure, and the same on every machine and in every run.

A node that is somewhere already stays there while it may. What is decided follows from names and numbers alone: neither the
order of a mapping nor Python's hash seed has a part in it.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2s
from typing import TYPE_CHECKING

from nsprov.placement.model import Capacity, Demand, Loads, Unit, join
from nsprov.placement.near import Regions, near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Capacity", "Demand", "Unit", "join", "place"]

_MASK = (1 << 64) - 1


def place(
    units: Sequence[Unit],
    hosts: Mapping[str, Capacity],
    policy: str,
    *,
    here: Mapping[str, str],
    links: Iterable[tuple[str, str]] = (),
) -> dict[str, str]:
    """Give every node of the units, which `join` has put in order, a host: the one where it is, else as the policy says.

    `spread` makes all hosts equally full, `pack` fills one after the other, and `near` keeps both ends of many `links` on one.
    """
    chosen = _settled(units, hosts, here)
    loads = Loads(hosts)
    for unit in units:
        if unit.name in chosen:
            loads.add(chosen[unit.name], unit.weight)
    if policy == "near":
        chosen.update(near(Regions(units, loads, links), chosen))
    else:
        open_ = [unit for unit in units if unit.name not in chosen]
        chosen.update((_pack if policy == "pack" else _spread)(open_, loads))
    return {name: chosen[unit.name] for unit in units for name in unit.names}


def _settled(units: Iterable[Unit], hosts: Mapping[str, Capacity], here: Mapping[str, str]) -> dict[str, str]:
    """Give the hosts of the units that stay: where most of them is, if they may be there."""
    found = {}
    for unit in units:
        counts = Counter(here[name] for name in unit.names if here.get(name) in unit.hosts)
        if counts:
            found[unit.name] = min(counts, key=lambda host: (-counts[host], hosts[host].rank, host))
    return found


def _spread(open_: Sequence[Unit], loads: Loads) -> dict[str, str]:
    """Put each on the host that is the least full with it: those with the least choice first, then the heaviest."""
    found = {}
    seeds = {host: _digest(host) for host in loads.order}
    for unit in sorted(open_, key=lambda unit: (len(unit.hosts), -unit.weight)):
        mine = _digest(unit.name)
        _, _, host = min((loads.with_more(host, unit.weight), _mixed(mine, seeds[host]), host) for host in unit.hosts)
        found[unit.name] = host
        loads.add(host, unit.weight)
    return found


def _digest(text: str) -> int:
    return int.from_bytes(blake2s(text.encode(), digest_size=8).digest(), "big")


def _mixed(one: int, two: int) -> int:
    """Mix two digests, so that equal hosts have another order for each node (rendezvous hashing)."""
    mixed = (one ^ two) * 0xFF51AFD7ED558CCD & _MASK
    return (mixed ^ mixed >> 33) * 0xC4CEB9FE1A85EC53 & _MASK


def _pack(open_: Sequence[Unit], loads: Loads) -> dict[str, str]:
    """Fill one host after the other, up to its weight, or as many times its weight as all of the lab needs."""
    found = {}
    wanted = sum(loads.total.values()) + sum(unit.weight for unit in open_)
    times = -(-wanted // loads.capacity)
    for unit in open_:
        allowed = [host for host in loads.order if host in unit.hosts]
        fits = (host for host in allowed if loads.total[host] + unit.weight <= times * loads.hosts[host].weight)
        host = next(fits, None) or min(allowed, key=lambda host: loads.with_more(host, unit.weight))
        found[unit.name] = host
        loads.add(host, unit.weight)
    return found
