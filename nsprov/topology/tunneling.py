"""What the file says of the tunnels that join hosts: their type, their UDP port, and how large a packet gets through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.topology.model import GRE, VXLAN, Underlay
from nsprov.topology.positions import shown

if TYPE_CHECKING:
    from nsprov.topology import spec as language
    from nsprov.topology.drafts import Reader
    from nsprov.topology.positions import Path, Problems

MAX_PORT = 65535


def read_underlay(given: language.TunnelsSpec | None, reader: Reader) -> Underlay:
    """Read what all tunnels have in common."""
    if given is None:
        return Underlay()
    port = Underlay().port if given.port is None else given.port
    if not 1 <= port <= MAX_PORT:
        reader.problems.add(("tunnels", "port"), f"{port} is no UDP port", f"use one from 1 to {MAX_PORT}")
    return Underlay(port=port, mtu=reader.mtu(given.mtu, ("tunnels", "mtu")))


def of_bridge(name: str, given: language.BridgeSpec | None, defaults: language.DefaultsSpec | None, problems: Problems) -> str:
    """Read what joins the hosts of a bridge."""
    own = given.tunnel if given else None
    default = defaults.bridge.tunnel if defaults and defaults.bridge else None
    if (own or default) == GRE:
        detail = "GRE joins two hosts, and a bridge with such a link to each of several others would be a loop."
        path: Path = ("bridges", name, "tunnel") if own else ("defaults", "bridge", "tunnel")
        problems.add(path, f"bridge {shown(name)} cannot be joined by GRE", 'use "vxlan" or "wireguard"', detail)
    return own or default or VXLAN
