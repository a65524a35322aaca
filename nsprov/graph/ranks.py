"""Which box of a picture goes above which: components, leaves, ranks, and the order within a rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_SWEEPS = 8
_FEW = 8
"""So many leaves stand in the rank below their parent, if that has other boxes too; more stand in a grid of their own."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The boxes of a component: `rows` from top to bottom, and the leaves that hang under a box."""

    rows: Sequence[Sequence[str]]
    leaves: Mapping[str, Sequence[str]]


def components(near: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Give the boxes that hang together, in the order of the picture."""
    found, seen = [], set[str]()
    for start in near:
        if start not in seen:
            group = distances([start], near)
            seen |= group.keys()
            found.append([key for key in near if key in group] if len(group) > 1 else [start])
    return found


def distances(starts: Sequence[str], near: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Count the wires from the nearest start to each box that can be reached."""
    found = dict.fromkeys(starts, 0)
    queue = list(starts)
    for key in queue:
        for other in near[key]:
            if other not in found:
                found[other] = found[key] + 1
                queue.append(other)
    return found


def path(keys: Sequence[str], near: Mapping[str, Sequence[str]]) -> list[str]:
    """Give the boxes from one end to the other if they are a single chain, else nothing."""
    ends = [key for key in keys if len(near[key]) == 1]
    if len(ends) != 2 or any(len(near[key]) > 2 for key in keys):  # noqa: PLR2004 - a chain has two ends
        return []
    return sorted(keys, key=distances(ends[:1], near).__getitem__)


def ranks(keys: Sequence[str], near: Mapping[str, Sequence[str]], bridges: Collection[str]) -> Ranks:
    """Rank the boxes of one component: what joins most is at the top, what has one wire hangs under its only neighbour."""
    parents = _parents(keys, near, bridges)
    leaves: dict[str, list[str]] = {}
    for leaf, parent in parents.items():
        leaves.setdefault(parent, []).append(leaf)
    core = {key: [other for other in near[key] if other not in parents] for key in keys if key not in parents}
    rank = distances(_roots(core, leaves, bridges), core)
    for key in list(rank):
        below = any(rank[other] > rank[key] for other in core[key])
        if below and len(leaves.get(key, ())) <= _FEW:
            rank.update(dict.fromkeys(leaves.pop(key, ()), rank[key] + 1))
    rows: list[list[str]] = [[] for _ in range(max(rank.values()) + 1)]
    for key in keys:
        if key in rank:
            rows[rank[key]].append(key)
    return Ranks(_ordered(rows, near), leaves)


def _parents(keys: Sequence[str], near: Mapping[str, Sequence[str]], bridges: Collection[str]) -> dict[str, str]:
    """Find the leaves; of two boxes that have only each other, the first is the parent."""
    found: dict[str, str] = {}
    for key in reversed(keys):
        if len(near[key]) == 1 and key not in bridges and near[key][0] not in found:
            found[key] = near[key][0]
    return {key: found[key] for key in keys if key in found}


def _roots(core: Mapping[str, Sequence[str]], leaves: Mapping[str, Sequence[str]], bridges: Collection[str]) -> list[str]:
    """Choose the top: the centre of a tree, else what has most neighbours, bridges and boxes without leaves first."""
    left = _peeled(core)
    degrees = {key: len(set(core[key])) for key in left}
    best = [key for key in left if degrees[key] == max(degrees.values())]
    chosen = [key for key in best if key in bridges] or [key for key in best if key not in leaves] or best
    return chosen if len(chosen) < len(core) else chosen[:1]


def _peeled(core: Mapping[str, Sequence[str]]) -> list[str]:
    """Take boxes with one neighbour off, layer by layer, until none or nothing more is there to take."""
    left = list(core)
    while True:
        inside = set(left)
        rest = [key for key in left if len(inside & set(core[key])) > 1]
        if not rest or len(rest) == len(left):
            return left
        left = rest


def _ordered(rows: Sequence[Sequence[str]], near: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Order each row by the mean place of its neighbours in the row above, then below, again and again."""
    ordered = [list(row) for row in rows]
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for index in range(1, len(ordered)) if down else range(len(ordered) - 2, -1, -1):
            ordered[index] = _by_neighbours(ordered[index], ordered[index - 1 if down else index + 1], near)
    return ordered


def _by_neighbours(row: Sequence[str], beside: Sequence[str], near: Mapping[str, Sequence[str]]) -> list[str]:
    spots = {key: (number + 0.5) / len(beside) for number, key in enumerate(beside)}
    wanted = {}
    for number, key in enumerate(row):
        found = [spots[other] for other in near[key] if other in spots]
        wanted[key] = sum(found) / len(found) if found else (number + 0.5) / len(row)
    return sorted(row, key=wanted.__getitem__)
