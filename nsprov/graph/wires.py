"""How wires run between placed boxes, and where the names of their ends stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsprov.graph.picture import BRIDGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.graph.layout import Part, Place
    from nsprov.graph.picture import Picture, Wire

Point = tuple[float, float]

UP, DOWN = "up", "down"
_EDGE, _STUB, _ARC = 10, 11, 46
_NAME, _NEAREST, _SLIDE = 15, 9, 26
"""A name stands so far below or above the end of its wire; nearer, if it would slide far to the side."""


@dataclass(frozen=True, slots=True)
class Label:
    """A name at a place; `anchor` is SVG's text-anchor."""

    text: str
    at: Point
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Run:
    """A wire on paper: the points it goes through, or a curve of four points, and the names of its ends."""

    points: Sequence[Point]
    labels: Sequence[Label]
    curved: bool = False
    far: bool = False


def runs(picture: Picture, part: Part) -> list[Run]:
    """Give every wire's run."""
    places = part.places
    plain = [wire for wire in picture.wires if not part.trunks.keys() & set(wire.boxes)]
    beside = [wire for wire in plain if _beside(wire, places)]
    vertical = [wire for wire in plain if not _beside(wire, places)]
    ends = _attached(vertical, places, {key for key, box in picture.boxes.items() if box.role == BRIDGE})
    found = [_cable(wire, part) for wire in picture.wires if part.trunks.keys() & set(wire.boxes)]
    found += _sideways(beside, places)
    for number, wire in enumerate(vertical):
        hosts = {picture.boxes[key].host for key in wire.boxes}
        found.append(_vertical(wire, ends[number], arched=_level(wire, places), far=len(hosts) > 1))
    return found


def _cable(wire: Wire, part: Part) -> Run:
    """Run down a column of a grid and into a box from its left."""
    leaf = 0 if wire.boxes[0] in part.trunks else 1
    parent, place = part.places[wire.boxes[1 - leaf]], part.places[wire.boxes[leaf]]
    x, y = part.trunks[wire.boxes[leaf]], place.y + _STUB
    name = wire.ports[1 - leaf] or wire.ports[leaf]
    label = Label(name, ((x + place.x) / 2, y - 7))
    return Run([(x, parent.bottom), (x, y), (place.x, y)], [label])


def _level(wire: Wire, places: Mapping[str, Place]) -> bool:
    first, second = (places[key] for key in wire.boxes)
    return first.y < second.bottom and second.y < first.bottom


def _beside(wire: Wire, places: Mapping[str, Place]) -> bool:
    """Tell whether two boxes stand side by side with nothing between them."""
    if not _level(wire, places):
        return False
    left, right = sorted((places[key] for key in wire.boxes), key=lambda place: place.x)
    between = (place for key, place in places.items() if key not in wire.boxes and left.x < place.x < right.x)
    return not any(place.y < left.bottom and left.y < place.bottom for place in between)


def _sideways(wires: Iterable[Wire], places: Mapping[str, Place]) -> list[Run]:
    pairs: dict[frozenset[str], list[Wire]] = {}
    for wire in wires:
        pairs.setdefault(frozenset(wire.boxes), []).append(wire)
    found = []
    for same in pairs.values():
        for number, wire in enumerate(same):
            ends = sorted(zip(wire.boxes, wire.ports, strict=True), key=lambda end: places[end[0]].x)
            (left, first), (right, second) = (places[ends[0][0]], ends[0][1]), (places[ends[1][0]], ends[1][1])
            top, bottom = max(left.y, right.y), min(left.bottom, right.bottom)
            y = top + (bottom - top) * (number + 1) / (len(same) + 1)
            labels = [Label(first, (left.right + 5, y - 7), "start"), Label(second, (right.x - 5, y - 7), "end")]
            found.append(Run([(left.right, y), (right.x, y)], [label for label in labels if label.text]))
    return found


def _attached(wires: Sequence[Wire], places: Mapping[str, Place], bridges: set[str]) -> list[list[Point]]:
    """Spread the ends of wires over the upper and lower edges of their boxes; a bridge takes a wire wherever it comes."""
    edges: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for number, wire in enumerate(wires):
        for end, key in enumerate(wire.boxes):
            other = places[wire.boxes[1 - end]]
            side = UP if other.bottom <= places[key].y else DOWN
            edges.setdefault((key, side), []).append((number, end))
    found: list[list[Point]] = [[(0, 0), (0, 0)] for _ in wires]
    for (key, side), ends in edges.items():
        place = places[key]
        ends.sort(key=lambda spot: (places[wires[spot[0]].boxes[1 - spot[1]]].centre, spot))
        for index, (number, end) in enumerate(ends):
            x = place.x + place.width * (index + 1) / (len(ends) + 1)
            found[number][end] = (x, place.y if side == UP else place.bottom)
    for number, wire in enumerate(wires):
        for end, key in enumerate(wire.boxes):
            if key in bridges:
                x = min(max(found[number][1 - end][0], places[key].x + _EDGE), places[key].right - _EDGE)
                found[number][end] = (x, found[number][end][1])
    return found


def _vertical(wire: Wire, ends: Sequence[Point], *, arched: bool, far: bool) -> Run:
    (x1, y1), (x2, y2) = ends
    if arched:
        low = max(y1, y2) + _ARC + 0.1 * abs(x1 - x2)
        labels = [Label(wire.ports[0], (x1, y1 + _NAME)), Label(wire.ports[1], (x2, y2 + _NAME))]
        return Run([(x1, y1), (x1, low), (x2, low), (x2, y2)], [label for label in labels if label.text], curved=True, far=far)
    labels = [Label(wire.ports[0], _along(ends[0], ends[1])), Label(wire.ports[1], _along(ends[1], ends[0]))]
    return Run(list(ends), [label for label in labels if label.text], far=far)


def _along(start: Point, end: Point) -> Point:
    """Give the place of a name on a wire, just off its end."""
    across, down = end[0] - start[0], end[1] - start[1]
    share = min(0.4, _NAME / abs(down) if down else 0.4)
    if across and abs(across) * share > _SLIDE:
        share = max(_SLIDE / abs(across), min(share, _NEAREST / abs(down) if down else share))
    return start[0] + across * share, start[1] + down * share
