"""A topology as an SVG that stands alone: no script, no font and no image from elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from nsprov.graph.layout import layout
from nsprov.graph.picture import NODE, picture, printable
from nsprov.graph.wires import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.graph.layout import Part, Place
    from nsprov.graph.picture import Box, Picture, Port
    from nsprov.graph.wires import Run
    from nsprov.topology.model import Topology

_MARGIN, _PAD, _HEAD, _LINE = 24, 9, 24, 15
_TITLE_CHAR, _CHAR, _SMALL_CHAR = 8.2, 6.7, 6.1
"""The widths of a character; the font is monospaced, so that boxes fit without a font to measure."""

_STYLE = """\
text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 11px; fill: #1f2328 }
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


def _sizes(shown: Picture) -> Mapping[str, tuple[float, float]]:
    """Give the size of each box: room for what is written in it, and for the names along its edge."""
    names: dict[str, list[int]] = {key: [] for key in shown.boxes}
    for wire in shown.wires:
        for key, name in zip(wire.boxes, wire.ports, strict=True):
            names[key].append(len(name))
    found = {}
    for key, box in shown.boxes.items():
        text = max([len(box.title) * _TITLE_CHAR, *(_addresses_at(box) + _width(port) for port in box.ports)])
        edge = sum(length * _SMALL_CHAR + 8 for length in names[key]) if len(names[key]) <= _MOST_NAMES else 0
        lines = sum(max(1, len(port.addresses)) for port in box.ports)
        height = _HEAD + (lines * _LINE + _PAD if lines else 0)
        found[key] = (max(64.0, text + 2 * _PAD, edge), height)
    return found
