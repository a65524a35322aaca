"""The command that says what hosts can do: doctor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from nsprov import checkup, memory, underlay
from nsprov.cli import doctor_views, limits, options, reaching, targets
from nsprov.cli.options import Given
from nsprov.cli.progress import Progress
from nsprov.errors import Difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.inventory import Host

PatternArgument = Annotated[
    str | None,
    typer.Argument(help="Which hosts; default all of the inventory. @failed: those that failed last.", metavar="[HOSTS]"),
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(options.shared(topology=options.TopologyOption)(doctor))


def doctor(given: Given, pattern: PatternArgument = None) -> int:
    """Say what this host, or the hosts of an inventory, can do for labs, and what to do where it is not enough.

    Exit 7 if something is missing without which there is no lab, 4 if a host cannot be entered. It changes nothing.
    """
    hosts = _entered(_chosen(given, pattern), given)
    with Progress(given, hosts) as progress:
        found = checkup.examine(hosts, *underlay.addresses(hosts), given.run_options(progress=progress))
    doctor_views.show(found, given)
    memory.remember_failed(one.host for one in found if one.outcome.error is not None)
    errors = [one.outcome.error.exit_code for one in found if one.outcome.error is not None]
    lacking = any(check.lacking for one in found for check in one.checks)
    return max(errors, default=Difference.exit_code if lacking else 0)


def _chosen(given: Given, pattern: str | None) -> Sequence[Host]:
    inventory = targets.load_inventory(given)
    every = inventory.names("all")
    if pattern is None:
        return limits.chosen(given, inventory)
    names = inventory.limited(every, pattern, limits.failed) if pattern.startswith("@") else inventory.names(pattern)
    return limits.chosen(given, inventory, names)


def _entered(hosts: Sequence[Host], given: Given) -> Sequence[Host]:
    """Give the hosts as any command would enter them; but who is not root here is told what root is needed for."""
    if os.geteuid() == 0 or given.ask_become:
        return reaching.entered(hosts, given)
    elsewhere = {host.name: host for host in reaching.entered([h for h in hosts if h.connection != "local"], given)}
    return [elsewhere.get(host.name, host) for host in hosts]
