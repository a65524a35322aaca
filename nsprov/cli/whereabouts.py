"""Which lab and which hosts a command means that is about nodes: by --lab, by the topology, or by what is on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov import provision
from nsprov.cli import targets
from nsprov.errors import Diagnostic, InputError, NothingMatched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.cli.options import Given
    from nsprov.inventory import Host


def find(given: Given, nodes: Sequence[str]) -> tuple[str, list[Host]]:
    """Find the lab and the hosts to look on for these nodes, or for all of a lab's nodes if none are named."""
    inventory = targets.load_inventory(given)
    if given.lab is not None:
        return given.lab, targets.entered(inventory.select("all"), given)
    if given.topology is None and targets.default_topology() is None:
        here = targets.entered([inventory.host("localhost")], given)
        return (_only_lab_with(nodes[0]) if nodes else _only_lab(here, given)), here
    loaded = targets.load_topology(given)
    for node in nodes:
        if node not in loaded.nodes:
            hint = "use a name that the topology has"
            raise NothingMatched(Diagnostic(f'there is no node "{node}"', loaded.path, hint=hint))
    names = dict.fromkeys(loaded.nodes[node].host for node in nodes or loaded.nodes)
    return loaded.name, targets.entered([inventory.host(name) for name in names], given)


def _only_lab_with(node: str) -> str:
    found = provision.labs_with(node)
    if not found:
        hint = "name the topology with --topology, or the lab with --lab"
        raise NothingMatched(Diagnostic(f'no lab on this host has a node "{node}"', hint=hint))
    if len(found) > 1:
        raise InputError(Diagnostic(f'labs {", ".join(found)} have a node "{node}"', hint="name the lab with --lab"))
    return found[0]


def _only_lab(here: Sequence[Host], given: Given) -> str:
    replies = provision.query("labs", "", here, given.run_options())
    # What `attach` has made is no lab that a command without a name could mean.
    found = [row["lab"] for reply in replies.values() for row in reply["labs"] if not row["lab"].startswith("@")]
    if not found:
        raise NothingMatched(Diagnostic("there is no lab on this host", hint="name the topology with --topology"))
    if len(found) > 1:
        raise InputError(Diagnostic(f"labs {', '.join(found)} are on this host", hint="name the lab with --lab"))
    return str(found[0])
