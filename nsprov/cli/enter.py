"""`exec` and `shell`: run a command in a node, here or on the host where the node lives."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nsprov import provision
from nsprov.cli import options
from nsprov.cli.options import Given
from nsprov.errors import Diagnostic, InputError, NothingMatched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.inventory import Host

Node = Annotated[str, typer.Argument(help="The node.")]
Command = Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("exec", context_settings=settings)(options.shared(topology=options.TopologyOption)(execute))
    app.command("shell")(options.shared(topology=options.TopologyOption)(shell))


def execute(given: Given, node: Node, command: Command) -> int:
    """Run a command in a node and give its exit code; 126 and 127 as a shell does."""
    # click leaves the separator in place once it has met the first argument.
    return _run(given, node, command[1:] if command[0] == "--" else command, terminal=False)


def shell(given: Given, node: Node) -> int:
    """Open a shell in a node."""
    return _run(given, node, [os.environ.get("SHELL", "/bin/sh")], terminal=sys.stdin.isatty())


def _run(given: Given, node: str, command: Sequence[str], *, terminal: bool) -> int:
    lab, hosts = _whereabouts(given, node)
    for host in hosts[:-1]:
        try:
            return _run_on(given, lab, host, node, command, terminal=terminal)
        except NothingMatched:  # noqa: PERF203 - a try per host is what is meant
            continue  # the lab's node is on another of the inventory's hosts, or nowhere
    return _run_on(given, lab, hosts[-1], node, command, terminal=terminal)


def _run_on(given: Given, lab: str, host: Host, node: str, command: Sequence[str], *, terminal: bool) -> int:
    if host.connection == "local" and os.geteuid() == 0:
        provision.become(lab, node, command)
    size = os.get_terminal_size() if terminal else None
    return provision.execute(lab, host, {"node": node, "argv": list(command)}, size, given.run_options())


def _whereabouts(given: Given, node: str) -> tuple[str, Sequence[Host]]:
    """Find the node's lab and the hosts to look on: by --lab, by the topology, or among the labs on this host."""
    inventory = options.load_inventory(given)
    if given.lab is not None:
        return given.lab, options.entered(inventory.select("all"), given)
    if given.topology is None and options.default_topology() is None:
        return _only_lab_with(node), options.entered([inventory.host("localhost")], given)
    loaded = options.load_topology(given)
    if node not in loaded.nodes:
        raise NothingMatched(Diagnostic(f'there is no node "{node}"', loaded.path, hint="use a name that the topology has"))
    return loaded.name, options.entered([inventory.host(loaded.nodes[node].host)], given)


def _only_lab_with(node: str) -> str:
    found = provision.labs_with(node)
    if not found:
        hint = "name the topology with -t, or the lab with --lab"
        raise NothingMatched(Diagnostic(f'no lab on this host has a node "{node}"', hint=hint))
    if len(found) > 1:
        raise InputError(Diagnostic(f'labs {", ".join(found)} have a node "{node}"', hint="name the lab with --lab"))
    return found[0]
