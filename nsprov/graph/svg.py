"""A topology as an SVG that stands alone: no script, no font and no image from elsewhere."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from nsprov.graph.layout import Place, layout
from nsprov.graph.picture import BRIDGE, picture, printable
from nsprov.graph.wires import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nsprov.graph.picture import Box, Picture, Port
    from nsprov.graph.wires import Run
    from nsprov.topology.model import Topology

_FEW_NAMES, _MOST_NAMES = 6, 32
"""Boxes are made wide enough for the names along an edge if they are not many; those of leaves count if they are few."""
_MARGIN, _PAD, _HEAD, _LINE = 24, 9, 24, 15
_TITLE_CHAR, _CHAR, _SMALL_CHAR = 8.2, 6.7, 6.1
"""The widths of a character; the font is monospaced, so that boxes fit without a font to measure."""

_STYLE = """\
text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 11px; fill: #1f2328 }
.title { font-size: 13px; font-weight: bold }
.address { fill: #424a53 }
.box { stroke: #6e7781; stroke-width: 1 }
.node .body { fill: #ffffff } .node .head { fill: #dbe9fb }
.bridge .body, .inner { fill: #fff3d6; stroke: #c69026 }
.host .body { fill: #eef0f2; stroke-dasharray: 4 3 } .host .head { fill: #e1e4e8 }
.wire { fill: none; stroke: #57606a; stroke-width: 1.3 }
.far { stroke: #8250df; stroke-dasharray: 6 3 }
.name { font-size: 10px; fill: #0550ae; stroke: #ffffff; stroke-width: 3px; paint-order: stroke; stroke-linejoin: round }
.frame { fill: #f6f8fa; stroke: #8c959f; stroke-dasharray: 6 4 }"""


def svg(topology: Topology) -> str:
    """Draw the topology."""
    shown = picture(topology)
    longest = max((len(name) for wire in shown.wires for name in wire.ports), default=0)
    part = layout(shown, _sizes(shown), max(26.0, longest * _SMALL_CHAR + 8)).moved(_MARGIN, _MARGIN)
    found = runs(shown, part)
    lowest = max((y for run in found for _, y in run.points), default=0.0)
    width, height = max(part.width, 120) + 2 * _MARGIN, max(part.height + _MARGIN, lowest) + _MARGIN
    size = f'width="{_number(width)}" height="{_number(height)}" viewBox="0 0 {_number(width)} {_number(height)}"'
    title = _text(f"lab {shown.title}")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">',
        f"<title>{title}</title>",
        f"<style>\n{_STYLE}\n</style>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *(line for name, place in part.frames for line in _frame(name, place)),
        *map(_wire, found),
        *(line for key, box in shown.boxes.items() for line in _box(box, part.places[key])),
        *(line for run in found for line in _names(run)),
        "</svg>",
        "",
    ]
    return "\n".join(lines)


def _sizes(shown: Picture) -> dict[str, tuple[float, float]]:
    """Give the size of each box: room for what is written in it, and for the names along its edge."""
    degree = Counter(key for wire in shown.wires for key in wire.boxes)
    names: dict[str, list[str]] = {key: [] for key in shown.boxes}
    for wire in shown.wires:
        for key, other, name in zip(wire.boxes, reversed(wire.boxes), wire.ports, strict=True):
            if degree[other] > 1 or degree[key] <= _FEW_NAMES:
                names[key].append(name)
    return {key: _size(box, names[key]) for key, box in shown.boxes.items()}


def _size(box: Box, names: Sequence[str]) -> tuple[float, float]:
    addresses = max((len(address) for port in box.ports for address in port.addresses), default=0) * _CHAR
    text = max(len(box.title) * _TITLE_CHAR, _column(box) + addresses if box.ports else 0)
    edge = sum(len(name) * _SMALL_CHAR + 10 for name in names) if box.role != BRIDGE and len(names) <= _MOST_NAMES else 0
    lines = sum(max(1, len(port.addresses)) for port in box.ports)
    return max(64.0, text + 2 * _PAD, edge), _HEAD + (lines * _LINE + _PAD if lines else 0)


def _column(box: Box) -> float:
    """Give where the addresses begin in a box, counted from its padding."""
    if not any(port.addresses for port in box.ports):
        return max((len(_name(port)) for port in box.ports), default=0) * _CHAR
    longest = max(len(_name(port)) for port in box.ports)
    return (longest + 1) * _CHAR if longest else 0


def _name(port: Port) -> str:
    return f"{port.name} [{' '.join(port.members)}]" if port.members else port.name


def _box(box: Box, place: Place) -> Iterator[str]:
    yield f'<g class="{box.role}"><title>{_text(f"{box.role} {box.title}")}</title>'
    yield _rect(place, "box body", 5)
    x, y, width = place.x, place.y, place.width
    if box.role != BRIDGE and not box.ports:
        yield _rect(place, "box head", 5)
    elif box.role != BRIDGE:
        corners = f"v{5.5 - _HEAD}q0 -4.5 4.5 -4.5h{_number(width - 10)}q4.5 0 4.5 4.5v{_HEAD - 5.5}z"
        yield f'<path class="head" d="M{_number(x + 0.5)} {_number(y + _HEAD)}{corners}"/>'
    yield _line("title", place.centre, y + 16.5, box.title, "middle")
    row = y + _HEAD + 13
    for port in box.ports:
        lines = max(1, len(port.addresses))
        if port.members is not None:
            yield _rect(Place(x + 4, row - 11.5, width - 8, lines * _LINE), "inner", 3)
        if port.name:
            yield _line("", x + _PAD, row, _name(port))
        for number, address in enumerate(port.addresses):
            if not port.name:
                yield _line("address", place.centre, row + number * _LINE, address, "middle")
            else:
                yield _line("address", x + _PAD + _column(box), row + number * _LINE, address)
        row += lines * _LINE
    yield "</g>"


def _wire(run: Run) -> str:
    kind = "wire far" if run.far else "wire"
    points = [f"{_number(x)} {_number(y)}" for x, y in run.points]
    joined = f"M{points[0]}C{' '.join(points[1:])}" if run.curved else f"M{'L'.join(points)}"
    return f'<path class="{kind}" d="{joined}"/>'


def _names(run: Run) -> Iterator[str]:
    for label in run.labels:
        yield _line("name", label.at[0], label.at[1] + 3, label.text, label.anchor)


def _frame(title: str, place: Place) -> Iterator[str]:
    yield _rect(place, "frame", 8)
    yield _line("title", place.x + 14, place.y + 20, title)


def _rect(place: Place, kind: str, radius: int) -> str:
    spot = f'x="{_number(place.x)}" y="{_number(place.y)}" width="{_number(place.width)}" height="{_number(place.height)}"'
    return f'<rect class="{kind}" {spot} rx="{radius}"/>'


def _line(kind: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    name = f' class="{kind}"' if kind else ""
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{name} x="{_number(x)}" y="{_number(y)}"{side}>{_text(text)}</text>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    return escape(printable(text), quote=True)
