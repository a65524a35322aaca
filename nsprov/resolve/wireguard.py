"""Each host's end of a lab's encrypted network: pure, one device with one peer for each host that it has links with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, InputError
from nsprov.kinds.address import Address
from nsprov.kinds.wireguard import Wireguard
from nsprov.plan.resource import HOST
from nsprov.topology import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.plan.change import Change
    from nsprov.plan.resource import Resource
    from nsprov.resolve.ways import Ways

_FIRST_PORT, _PORTS = 51820, 1000
"""Labs that are on the same hosts need a port each, which is the same on all hosts of one."""

_LENGTH = 64


def port(lab: str) -> int:
    """Give the UDP port of a lab's encrypted network."""
    return _FIRST_PORT + names.slot(f"wireguard\0{lab}", _PORTS)


def devices(lab: str, pairs: Mapping[tuple[str, str], int], ways: Ways) -> Iterator[tuple[str, Resource]]:
    """Give by host what it needs for its encrypted links; `pairs` are of hosts, with how large a packet gets through.

    Raises:
        InputError: a host has not told its key.

    """
    keys = _keys(pairs, ways)
    others: dict[str, list[str]] = {}
    for one, other in pairs:
        others.setdefault(one, []).append(other)
        others.setdefault(other, []).append(one)
    for host, peers in others.items():
        rows = [(keys[peer], _endpoint(ways.address(peer), port(lab)), f"{ways.inside(peer)}/128", 0) for peer in peers]
        inside = f"{ways.inside(host)}/{_LENGTH}"
        device = Wireguard(
            name=names.port_name("wg-", lab, "", lab)[0].rstrip("-"),
            port=port(lab),
            # What goes through it to a host that is farther away is smaller already, by the MTU of its link.
            mtu=max(size for pair, size in pairs.items() if host in pair),
            public_key=keys[host],
            network=ways.network(),
            peers=tuple(sorted(rows)),
        )
        yield host, device
        yield host, Address(node=HOST, dev=device.name, address=inside, nodad=True)


def makes_key(change: Change) -> bool:
    """Tell whether a change gives a device a key that its host has only thought of by now, and will have forgotten."""
    before, after = change.before, change.after
    if not isinstance(after, Wireguard):
        return False
    return not isinstance(before, Wireguard) or before.public_key != after.public_key


def _keys(pairs: Mapping[tuple[str, str], int], ways: Ways) -> dict[str, str]:
    hosts = sorted({host for pair in pairs for host in pair})
    if ways.surveys is None:
        return dict.fromkeys(hosts, "")
    keys = {host: ways.surveys[host].public_key if host in ways.surveys else "" for host in hosts}
    unknown = [host for host, key in keys.items() if not key]
    if unknown:
        hint = "let it take part in this run: the others have to know its key"
        detail = "It has links that are to be encrypted."
        raise InputError(*(Diagnostic("a host has not told its public key", host, detail, hint) for host in unknown))
    return keys


def _endpoint(address: str, number: int) -> str:
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"
