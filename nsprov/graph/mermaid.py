"""A topology as a Mermaid flowchart, which GitHub and GitLab draw inside Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nsprov.graph.picture import BRIDGE, HOST, NODE, picture, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nsprov.graph.picture import Box, Port, Wire
    from nsprov.topology.model import Topology

_STYLES = {
    NODE: "fill:#dbe9fb,stroke:#57606a,color:#1f2328",
    BRIDGE: "fill:#fff3d6,stroke:#9a6700,color:#1f2328",
    HOST: "fill:#e7e9ec,stroke:#57606a,color:#1f2328,stroke-dasharray:4 3",
}
_SPECIAL = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "|": "#124;", ";": "#59;"}
_SPECIALS = re.compile("[" + re.escape("".join(_SPECIAL)) + "]")


def mermaid(topology: Topology) -> str:
    """Write the topology as a Mermaid flowchart."""
    shown = picture(topology)
    ids, hosts = _ids(shown.boxes), shown.by_host()
    lines = ["flowchart TB"]
    for index, (host, boxes) in enumerate(hosts.items()):
        if len(hosts) > 1:
            lines.append(f'  subgraph on_{index}["{_text(host)}"]')
        lines += [f"    {_box(box, ids[box.key])}" for box in boxes]
        if len(hosts) > 1:
            lines.append("  end")
    lines += [f"  {_wire(wire, ids)}" for wire in shown.wires]
    roles = dict.fromkeys(box.role for box in shown.boxes.values())
    lines += [f"  classDef {role} {_STYLES[role]}" for role in roles]
    return "\n".join([*lines, ""])


def _ids(keys: Iterable[str]) -> dict[str, str]:
    """Give each box an identifier of letters, digits and underscores that no other box has."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for key in keys:
        wanted = re.sub(r"[^A-Za-z0-9]", "_", key)
        number, chosen = 1, wanted
        while chosen in taken:
            number += 1
            chosen = f"{wanted}__{number}"
        taken.add(chosen)
        found[key] = chosen
    return found


def _box(box: Box, name: str) -> str:
    label = "<br/>".join([f"<b>{_text(box.title)}</b>", *map(_port, box.ports)])
    opening, closing = ("[[", "]]") if box.role == BRIDGE else ("[", "]")
    return f'{name}{opening}"{label}"{closing}:::{box.role}'


def _port(port: Port) -> str:
    members = f"[{' '.join(port.members)}]" if port.members else ""
    return _text(" ".join(filter(None, [port.name, members, *port.addresses])))


def _wire(wire: Wire, ids: Mapping[str, str]) -> str:
    first, second = (ids[key] for key in wire.boxes)
    label = " - ".join(_text(name) for name in wire.ports if name)
    return f'{first} ---|"{label}"| {second}'


def _text(text: str) -> str:
    """Escape a text for a quoted label, where Mermaid knows entities that begin with `#`."""
    return _SPECIALS.sub(lambda found: _SPECIAL[found[0]], printable(text))
