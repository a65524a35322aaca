"""What hosts try once they hold their parts of a lab: whether each tunnel carries frames of its full size, both ways.

Pure, and from states alone: a plan that was saved knows of nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from nsprov.plan.resource import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.plan.resource import Ref, Resource

    States = Mapping[str, Mapping[Ref, Resource]]

_NUMBERS = {"vxlan": "vni", "gretap": "key"}
"""The kinds that join hosts, and the field that tells which of their ends belong together."""

SECONDS = 4.0
SECONDS_ENCRYPTED = 12.0
"""A first handshake that found nobody yet is tried again after 5 seconds and some (REKEY_TIMEOUT in WireGuard's paper)."""


def probes(lab: str, states: States) -> dict[str, dict[str, Any]]:
    """Give each host that has an end of a tunnel its request; the other ends are those of hosts in `states`."""
    ends: dict[tuple[str, int], dict[str, Any]] = defaultdict(dict)
    for host, state in states.items():
        for resource in state.values():
            if resource.kind in _NUMBERS:
                ends[resource.kind, getattr(resource, _NUMBERS[resource.kind])][host] = resource
    encrypted = any(resource.kind == "wireguard" for state in states.values() for resource in state.values())
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (kind, number), by_host in ends.items():
        hosts = sorted(by_host)
        if len(hosts) > 1:
            for host, end in by_host.items():
                found[host].append(
                    {
                        "name": _name([by_host[each] for each in hosts]),
                        "token": f"{lab}/{kind}/{number}",
                        "node": end.node,
                        "ifname": end.ifname,
                        "size": min(each.mtu or 0 for each in by_host.values()),
                        "hosts": hosts,
                        "me": hosts.index(host),
                        "port": getattr(end, "port", 0),
                    }
                )
    seconds = SECONDS_ENCRYPTED if encrypted else SECONDS
    return {host: {"verb": "probe", "lab": lab, "seconds": seconds, "tunnels": rows} for host, rows in found.items()}


def _name(ends: Sequence[Any]) -> str:
    if ends[0].node == HOST:
        return f'bridge "{ends[0].master or ends[0].ifname}"'
    return f'link "{" - ".join(f"{end.node}:{end.ifname}" for end in ends)}"'
