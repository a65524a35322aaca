"""Where each box of a picture stands: ranks become rows, many leaves become a grid, hosts become frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, sqrt
from typing import TYPE_CHECKING

from nsprov.graph import ranks
from nsprov.graph.picture import BRIDGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.graph.picture import Picture

ROW_GAP, GAP, CHAIN_GAP = 74, 28, 104
_LOOSE = 110
"""So much more room is between the boxes of a row that is not the widest: their wires fan out."""
_GRID_GAP, _FRAME_PAD, _FRAME_HEAD, _PART_GAP = 14, 22, 30, 48
_WIDTH, _ASPECT = 1200, 1.6
_NARROW, _SPREAD = 420, 2.5
"""Leaves of a node take this width before they become a grid; rows of boxes that join others may be so much wider."""
"""A picture is this wide before it wraps; a large one keeps this proportion."""


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle; y grows downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height

    @property
    def centre(self) -> float:
        """The middle between left and right."""
        return self.x + self.width / 2

    def moved(self, x: float, y: float) -> Place:
        """Give it at another place."""
        return replace(self, x=self.x + x, y=self.y + y)


@dataclass(frozen=True, slots=True)
class Part:
    """Boxes placed relative to a corner of their own; `trunks` is where the cable to a leaf in a grid runs down."""

    width: float
    height: float
    places: Mapping[str, Place]
    trunks: Mapping[str, float]
    frames: Sequence[tuple[str, Place]] = ()

    def moved(self, x: float, y: float) -> Part:
        """Give it at another place."""
        places = {key: place.moved(x, y) for key, place in self.places.items()}
        trunks = {key: at + x for key, at in self.trunks.items()}
        return replace(self, places=places, trunks=trunks, frames=[(title, frame.moved(x, y)) for title, frame in self.frames])


Sizes = dict[str, tuple[float, float]]


def layout(picture: Picture, sizes: Sizes, gutter: float) -> Part:
    """Place every box; `gutter` is what a cable with a name on it needs beside a box."""
    hosts = picture.by_host()
    parts = []
    for host, boxes in hosts.items():
        near: dict[str, list[str]] = {box.key: [] for box in boxes}
        for first, second in (wire.boxes for wire in picture.wires):
            if first in near and second in near:
                near[first].append(second)
                near[second].append(first)
        bridges = {box.key for box in boxes if box.role == BRIDGE}
        found = _pack([_component(keys, near, bridges, sizes, gutter) for keys in ranks.components(near)], _PART_GAP)
        parts.append(_framed(host, found) if len(hosts) > 1 else found)
    return _pack(parts, _PART_GAP)


def _framed(title: str, part: Part) -> Part:
    width, height = part.width + 2 * _FRAME_PAD, part.height + _FRAME_PAD + _FRAME_HEAD
    return replace(
        part.moved(_FRAME_PAD, _FRAME_HEAD), width=width, height=height, frames=[(title, Place(0, 0, width, height))]
    )


def _component(keys: Sequence[str], near: Mapping[str, Sequence[str]], bridges: set[str], sizes: Sizes, gutter: float) -> Part:
    chain = [] if bridges & set(keys) else ranks.path(keys, near)
    if chain:
        return _chain(chain, sizes)
    ranked = ranks.ranks(keys, near, bridges)
    blocks = {key: _block(key, ranked.leaves.get(key, ()), key in bridges, sizes, gutter) for row in ranked.rows for key in row}
    limit = _SPREAD * _limit(block.width * block.height for block in blocks.values())
    rows = [part for row in ranked.rows for part in _wrapped(row, blocks, limit)]
    part = _stacked(rows, blocks, near)
    return replace(part, places={**part.places, **_stretched(rows, part.places, near, bridges)})


def _limit(areas: Iterable[float]) -> float:
    return max(_WIDTH, sqrt(sum(areas) * _ASPECT))


def _chain(keys: Sequence[str], sizes: Sizes) -> Part:
    """Place a chain from left to right and, if it is long, back again below."""
    width, height = max(sizes[key][0] for key in keys), max(sizes[key][1] for key in keys)
    limit = _limit([(width + CHAIN_GAP) * (height + ROW_GAP) * len(keys)])
    columns = ceil(len(keys) / ceil(len(keys) * (width + CHAIN_GAP) / (limit + CHAIN_GAP)))
    places = {}
    for number, key in enumerate(keys):
        row, column = divmod(number, columns)
        column = columns - 1 - column if row % 2 else column
        own_width, own_height = sizes[key]
        x, y = column * (width + CHAIN_GAP), row * (height + ROW_GAP)
        places[key] = Place(x + (width - own_width) / 2, y + (height - own_height) / 2, own_width, own_height)
    total = ceil(len(keys) / columns)
    return Part(columns * (width + CHAIN_GAP) - CHAIN_GAP, total * (height + ROW_GAP) - ROW_GAP, places, {})


def _block(key: str, leaves: Sequence[str], is_bridge: bool, sizes: Sizes, gutter: float) -> Part:  # noqa: FBT001
    """Place a box and the leaves under it: in a row, or in a grid if they are many."""
    width, height = sizes[key]
    if not leaves:
        return Part(width, height, {key: Place(0, 0, width, height)}, {})
    row = sum(sizes[leaf][0] for leaf in leaves) + GAP * (len(leaves) - 1)
    width_limit = _WIDTH if is_bridge else max(width, _NARROW)
    in_grid = row > width_limit
    under = _grid(leaves, sizes, gutter, None if is_bridge else width_limit) if in_grid else _row(leaves, sizes)
    own = max(width, under.width) if in_grid or is_bridge else width
    total = max(own, under.width)
    under = under.moved((total - under.width) / 2, height + (_GRID_GAP * 2 if in_grid else ROW_GAP))
    places = {key: Place((total - own) / 2, 0, own, height), **under.places}
    return Part(total, max(place.bottom for place in places.values()), places, under.trunks)


def _row(keys: Sequence[str], sizes: Sizes) -> Part:
    places, x = {}, 0.0
    for key in keys:
        places[key] = Place(x, 0, *sizes[key])
        x += sizes[key][0] + GAP
    return Part(x - GAP, max(sizes[key][1] for key in keys), places, {})


def _grid(keys: Sequence[str], sizes: Sizes, gutter: float, limit: float | None) -> Part:
    """Place boxes in rows and columns, with a cable running down on the left of each column."""
    width, height = max(sizes[key][0] for key in keys) + gutter, max(sizes[key][1] for key in keys) + _GRID_GAP
    limit = limit or _limit([(width + _GRID_GAP) * height * len(keys)])
    fitting = max(1, int(limit // (width + _GRID_GAP)))
    columns = ceil(len(keys) / ceil(len(keys) / fitting))
    places, trunks = {}, {}
    for number, key in enumerate(keys):
        row, column = divmod(number, columns)
        trunks[key] = column * (width + _GRID_GAP) + _GRID_GAP / 2
        places[key] = Place(trunks[key] + gutter, row * height, *sizes[key])
    return Part(columns * (width + _GRID_GAP), ceil(len(keys) / columns) * height, places, trunks)


def _wrapped(row: Sequence[str], blocks: Mapping[str, Part], limit: float) -> list[list[str]]:
    """Break a row that is too wide into rows of about the same width."""
    total = sum(blocks[key].width + GAP for key in row)
    wanted = total / ceil(total / (limit + GAP))
    rows: list[list[str]] = [[]]
    filled = 0.0
    for key in row:
        if rows[-1] and filled + blocks[key].width / 2 > wanted * len(rows):
            rows.append([])
        rows[-1].append(key)
        filled += blocks[key].width + GAP
    return rows


def _stacked(rows: Sequence[Sequence[str]], blocks: Mapping[str, Part], near: Mapping[str, Sequence[str]]) -> Part:
    """Place rows below each other: the widest first, then the others so that wires are as short as order allows."""
    widths = [sum(blocks[key].width + GAP for key in row) for row in rows]
    widest = widths.index(max(widths))
    centres: dict[str, float] = {}
    for index in sorted(range(len(rows)), key=lambda index: abs(index - widest)):
        row = rows[index]
        middle = sum(centres.values()) / len(centres) if centres else 0.0
        found = [[centres[other] for other in near[key] if other in centres] or [middle] for key in row]
        gap = GAP + min(_LOOSE, (widths[widest] - widths[index]) / len(row))
        if any(right in near[left] for left, right in pairwise(row)):
            gap = max(gap, CHAIN_GAP)
        wishes = [sum(among) / len(among) for among in found]
        centres.update(zip(row, _apart(wishes, [blocks[key].width + gap for key in row]), strict=True))
    left = min(centres[key] - block.width / 2 for key, block in blocks.items())
    parts, y = [], 0.0
    for row in rows:
        parts += [blocks[key].moved(centres[key] - blocks[key].width / 2 - left, y) for key in row]
        y += max(blocks[key].height for key in row) + ROW_GAP + min(200.0, 2 * len(row) ** 1.5)
    return _merged(parts)


def _stretched(
    rows: Sequence[Sequence[str]], places: Mapping[str, Place], near: Mapping[str, Sequence[str]], bridges: set[str]
) -> dict[str, Place]:
    """Widen bridges over what is on them, as far as their row has room."""
    found: dict[str, Place] = {}
    for row in rows:
        for index, key in enumerate(row):
            if key in bridges and near[key]:
                place = places[key]
                left = min(place.x, *(places[other].centre - GAP for other in near[key]))
                right = max(place.right, *(places[other].centre + GAP for other in near[key]))
                left = max(left, 0.0, found.get(row[index - 1], places[row[index - 1]]).right + GAP if index else 0.0)
                right = min(right, places[row[index + 1]].x - GAP if index + 1 < len(row) else right)
                found[key] = replace(place, x=min(left, place.x), width=max(right, place.right) - min(left, place.x))
    return found


def _apart(wishes: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Give each its wish as nearly as their order and widths allow, by least squares (pool adjacent violators)."""
    offsets, at = [], 0.0
    for index, width in enumerate(widths):
        at += (widths[index - 1] + width) / 2 if index else 0.0
        offsets.append(at)
    pools: list[tuple[float, int]] = []
    for wish, offset in zip(wishes, offsets, strict=True):
        mean, count = wish - offset, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        pools.append((mean, count))
    starts = [mean for mean, count in pools for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _pack(parts: Sequence[Part], gap: float) -> Part:
    """Place parts like words on lines."""
    limit = _limit((part.width + gap) * (part.height + gap) for part in parts)
    placed, x, y, tallest = [], 0.0, 0.0, 0.0
    for part in parts:
        if x and x + part.width > limit:
            x, y, tallest = 0.0, y + tallest + gap, 0.0
        placed.append(part.moved(x, y))
        x += part.width + gap
        tallest = max(tallest, part.height)
    return _merged(placed)


def _merged(parts: Sequence[Part]) -> Part:
    places = {key: place for part in parts for key, place in part.places.items()}
    trunks = {key: at for part in parts for key, at in part.trunks.items()}
    frames = [frame for part in parts for frame in part.frames]
    covered = [*places.values(), *(place for _, place in frames)]
    width = max((place.right for place in covered), default=0.0)
    return Part(width, max((place.bottom for place in covered), default=0.0), places, trunks, frames)
