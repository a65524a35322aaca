"""`-l`: which of the hosts of a command are acted on, and whether a lab can be acted on in part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from nsprov.cli.options import Given
    from nsprov.inventory import Host, Inventory
    from nsprov.topology import Topology


def chosen(given: Given, inventory: Inventory, names: Sequence[str] | None = None) -> tuple[Host, ...]:
    """Give some hosts, or all of the inventory, as far as `-l` leaves them.

    Raises:
        NothingMatched: there are none.
        InputError: what the inventory says of one cannot be.

    """
    return inventory.made(within(given, inventory, inventory.names("all") if names is None else names))


def within(given: Given, inventory: Inventory, names: Sequence[str]) -> tuple[str, ...]:
    """Give those of some names of hosts that `-l` leaves.

    Raises:
        NothingMatched: there are none.

    """
    return tuple(names) if given.limit is None else inventory.limited(names, given.limit, failed)


def failed() -> Sequence[str]:
    """Give the hosts that failed in the last run from here."""
    from nsprov.memory import failed as remembered  # noqa: PLC0415 - for start-up: only `-l @failed` asks

    return remembered()


def cut(topology: Topology, inside: Collection[str]) -> tuple[Diagnostic, ...]:
    """Give what of a lab, whose nodes are on their hosts, would be left in half if it were made or removed on some alone."""
    hint = "take all of these hosts into the limit, or leave it out; `down --lab NAME -l ...` goes by hosts alone"
    return tuple(
        Diagnostic(f"the limit would cut {what}"[:60], topology.path, f"It is on {' and '.join(sorted(hosts))}.", hint)
        for what, hosts in _spans(topology)
        if hosts & set(inside) and hosts - set(inside)
    )


def cut_open(topology: Topology) -> tuple[Diagnostic, ...]:
    """Say why a lab whose nodes may each be on several hosts cannot be made or removed on some alone."""
    detail = "Where its nodes live is known when all hosts are asked on which one may."
    hint = "leave out the limit; `down --lab NAME -l ...` goes by hosts alone"
    return (Diagnostic("the limit leaves out hosts of a lab that is placed", topology.path, detail, hint),)


def _spans(topology: Topology) -> Iterator[tuple[str, set[str]]]:
    """Give what may be on several hosts, with the hosts that it is on."""
    nodes = topology.nodes
    for link in topology.links:
        hosts = {nodes[end.node].host for end in link.endpoints if end.node in nodes}
        yield f"the link {link.endpoints[0]} -- {link.endpoints[1]}", hosts
    users: dict[str, set[str]] = {name: {bridge.host} for name, bridge in topology.bridges.items()}
    for node in nodes.values():
        for interface in node.interfaces.values():
            if interface.bridge in users:
                users[interface.bridge].add(node.host)
    yield from ((f'the bridge "{name}"', hosts) for name, hosts in users.items())
