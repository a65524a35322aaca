"""Which lab and which hosts a command means that is about nodes: by --lab, by the topology, or by what is on this host."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from nsprov import inquiry, memory, provision
from nsprov.cli import limits, reaching, targets
from nsprov.errors import Diagnostic, InputError, NothingMatched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.cli.options import Given
    from nsprov.inventory import Host, Inventory
    from nsprov.topology import Topology


def find(given: Given, nodes: Sequence[str]) -> tuple[str, list[Host]]:
    """Find the lab and the hosts to look on for these nodes, or for all of a lab's nodes if none are named.

    The likeliest comes first: a file does not say where a node is that may be on several hosts, nor does the name of a lab.
    """
    inventory = targets.load_inventory(given)
    if given.lab is not None:
        return given.lab, reaching.entered(_remembered_first(given.lab, limits.chosen(given, inventory)), given)
    if given.topology is None and targets.default_topology() is None:
        here = reaching.entered(limits.chosen(given, inventory, ["localhost"]), given)
        return (_only_lab_with(nodes[0]) if nodes else _only_lab(here, given)), here
    loaded = targets.load_topology(given)
    for node in nodes:
        if node not in loaded.nodes:
            hint = "use a name that the topology has"
            raise NothingMatched(Diagnostic(f'there is no node "{node}"', loaded.path, hint=hint))
    return loaded.name, reaching.entered(limits.chosen(given, inventory, homes(loaded, inventory, nodes)), given)


def homes(topology: Topology, inventory: Inventory, nodes: Sequence[str]) -> list[str]:
    """Give the hosts that any of these nodes may live on: first those where they would be if the lab were new."""
    from nsprov.wanted import layout  # noqa: PLC0415 - for start-up: not for commands without a file

    found = layout(topology, inventory)
    may = found.candidates(nodes or topology.nodes) or list(found.hosts)
    if not (nodes and found.is_open):
        return may
    with contextlib.suppress(InputError):  # what is not well placed may be up nevertheless, as it was
        placed = found.placed({})
        return list(dict.fromkeys([*(placed.nodes[node].host for node in nodes), *may]))
    return may


def _remembered_first(lab: str, hosts: Sequence[Host]) -> list[Host]:
    if len(hosts) < 2:  # noqa: PLR2004 - nothing to put in order
        return list(hosts)
    remembered = memory.hosts_of(lab)
    return sorted(hosts, key=lambda host: host.name not in remembered)


def holder(lab: str, hosts: Sequence[Host], node: str, given: Given) -> Host | None:
    """Ask hosts, all at once, which of them has a node of a lab.

    Raises:
        NsprovError: none says so, and one could not be asked.

    """
    asked = inquiry.ask("workloads", lab, hosts, given.run_options(), {host.name: {"nodes": [node]} for host in hosts})
    there = {row["host"] for row in asked.rows("nodes") if row["node"] == node}
    for problem in asked.failures if not there else ():
        raise problem
    return next((host for host in hosts if host.name in there), None)


def _only_lab_with(node: str) -> str:
    found = provision.labs_with(node)
    if not found:
        hint = "name the topology with --topology, or the lab with --lab"
        raise NothingMatched(Diagnostic(f'no lab on this host has a node "{node}"', hint=hint))
    if len(found) > 1:
        raise InputError(Diagnostic(f'labs {", ".join(found)} have a node "{node}"', hint="name the lab with --lab"))
    return found[0]


def _only_lab(here: Sequence[Host], given: Given) -> str:
    asked = inquiry.ask("labs", "", here, given.run_options())
    for problem in asked.failures:
        raise problem
    # What `attach` has made is no lab that a command without a name could mean.
    found = [row["lab"] for row in asked.rows("labs") if not row["lab"].startswith("@")]
    if not found:
        raise NothingMatched(Diagnostic("there is no lab on this host", hint="name the topology with --topology"))
    if len(found) > 1:
        raise InputError(Diagnostic(f"labs {', '.join(found)} are on this host", hint="name the lab with --lab"))
    return str(found[0])
