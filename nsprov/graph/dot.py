"""A topology for graphviz: `nsprov graph --format dot | dot -Tsvg`."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from nsprov.graph.picture import BRIDGE, HOST, picture, printable

if TYPE_CHECKING:
    from nsprov.graph.picture import Box, Port, Wire
    from nsprov.topology.model import Topology

_HEAD = """\
  graph [fontname="Helvetica", nodesep=0.4, ranksep=0.9, bgcolor=white, labelloc=t]
  node [shape=plain, fontname="Helvetica", fontsize=11]
  edge [fontname="Helvetica", fontsize=9, color="#57606a", fontcolor="#57606a", labeldistance=1.6]"""
_FILL = {BRIDGE: "#fff3d6", HOST: "#e7e9ec"}
_NODE_FILL, _INNER_FILL = "#dbe9fb", "#fff3d6"


def dot(topology: Topology) -> str:
    """Write the topology in the DOT language."""
    shown = picture(topology)
    hosts = shown.by_host()
    lines = [f"graph {_quoted(shown.title)} {{", _HEAD]
    for index, (host, boxes) in enumerate(hosts.items()):
        if len(hosts) > 1:
            lines += [
                f"  subgraph cluster_{index} {{",
                f'    graph [label=<{_text(host)}>, color="#8c959f", style="rounded,dashed"]',
            ]
        lines += [f"    {_box(box)}" for box in boxes]
        if len(hosts) > 1:
            lines.append("  }")
    lines += [f"  {_wire(wire)}" for wire in shown.wires]
    return "\n".join([*lines, "}", ""])


def _box(box: Box) -> str:
    rows = [f'<tr><td bgcolor="{_FILL.get(box.role, _NODE_FILL)}" colspan="2"><b>{_text(box.title)}</b></td></tr>']
    rows += [_row(port) for port in box.ports]
    table = '<table border="0" cellborder="1" cellspacing="0" cellpadding="4" color="#8c959f">'
    return f"{_quoted(box.key)} [label=<{table}{''.join(rows)}</table>>]"


def _row(port: Port) -> str:
    """Write an interface: its name, or a bridge's name and ports, beside its addresses."""
    fill = "" if port.members is None else f' bgcolor="{_INNER_FILL}"'
    members = f" [{' '.join(map(_text, port.members))}]" if port.members else ""
    if not port.name:
        return f'<tr><td colspan="2">{"<br/>".join(map(_text, port.addresses))}</td></tr>'
    addresses = "<br/>".join(map(_text, port.addresses)) or " "
    return f'<tr><td{fill} align="left">{_text(port.name)}{members}</td><td align="left" balign="left">{addresses}</td></tr>'


def _wire(wire: Wire) -> str:
    ends = [_quoted(key) for key in wire.boxes]
    labels = [f"{label}=<{_text(name)}>" for label, name in zip(("taillabel", "headlabel"), wire.ports, strict=True) if name]
    return f"{' -- '.join(ends)} [{', '.join(labels)}]"


def _text(text: str) -> str:
    """Escape a text for a label that is written in graphviz's HTML."""
    return escape(printable(text), quote=True)


def _quoted(text: str) -> str:
    """Quote an identifier; a backslash would escape the quote after it."""
    return '"{}"'.format(printable(text).replace("\\", "/").replace('"', "'"))
