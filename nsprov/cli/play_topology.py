"""`topology:` in a playbook: a lab brought up or down over the sessions of the play, all its hosts or none."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nsprov import fleet, provision, topology, underlay
from nsprov.cli import targets
from nsprov.errors import Diagnostic, InputError
from nsprov.playbook.model import RAW
from nsprov.resolve.ways import Known
from nsprov.wanted import layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.cli.options import Given
    from nsprov.fleet import Fleet, Outcome
    from nsprov.inventory import Inventory
    from nsprov.playbook.running.record import Result

_STATES = ("present", "absent")


@dataclass(frozen=True)
class Ground:
    """What a lab of a playbook stands on: the command line, the inventory, the play's sessions, where its files are."""

    given: Given
    inventory: Inventory
    fleet: Fleet
    folder: str
    check: bool


def carry_out(ground: Ground, args: Mapping[str, Any], hosts: Sequence[str]) -> dict[str, Result]:
    """Make the play's hosts hold a lab, or nothing of it, and give each host's result.

    Raises:
        InputError: the arguments or the topology are wrong, or the lab has hosts that the play has not.

    """
    task = _task(ground, args, hosts)
    part = fleet.Part(ground.fleet, [host.name for host in task.hosts])
    try:
        outcomes = provision.converge_on(part, task, ground.given.run_options(), act=not ground.check)
    finally:
        part.close()
    return {outcome.host: _result(task.lab, outcome) for outcome in outcomes}


def _task(ground: Ground, args: Mapping[str, Any], hosts: Sequence[str]) -> provision.Task:
    state = args.get("state", _STATES[0])
    if state not in _STATES:
        raise InputError(Diagnostic(f'state of a topology cannot be "{state}"', hint="use present or absent"))
    find = targets.finder(ground.inventory, ground.given)
    if "name" in args:
        if state != "absent":
            raise InputError(Diagnostic("a lab can go by its name, and come by its file only", hint="give `file:`"))
        nothing = provision.Settled({name: {} for name in hosts})
        return provision.Task(str(args["name"]), nothing, ground.inventory.made(hosts), find)
    loaded = _loaded(args, ground.folder)
    found = layout(loaded, ground.inventory)
    strangers = [name for name in found.hosts if name not in hosts]
    if strangers:
        hint = "let the play have them, too: a lab is one transaction"
        raise InputError(Diagnostic(f"the lab has hosts that the play has not: {', '.join(strangers)}"[:60], hint=hint))
    if found.may_cross:
        found = replace(found, known=Known(None, *underlay.addresses(found.hosts.values())))
    wanted = found if state == _STATES[0] else provision.Settled({name: {} for name in found.hosts})
    return provision.Task(loaded.name, wanted, list(found.hosts.values()), find)


def _loaded(args: Mapping[str, Any], folder: str) -> topology.Topology:
    variables = args.get("variables", {})
    if "inline" in args:
        return topology.load_inline(args["inline"], os.path.join(folder, "inline topology"), variables)
    name = args.get("file", args.get(RAW))
    if not isinstance(name, str):
        raise InputError(Diagnostic('"topology" needs a file', hint="write `topology: FILE`, or `inline:` with one in it"))
    return topology.load(os.path.join(folder, name), variables)


def _result(lab: str, outcome: Outcome) -> Result:
    """Give a host's result in the words of a task."""
    result: Result = {"changed": outcome.changed, "lab": lab, "counts": dict(outcome.counts)}
    if outcome.error is not None:
        found = outcome.error.diagnostics[0]
        parts = (found.summary, found.where, found.detail, found.hint)
        return {**result, "changed": False, "failed": True, "msg": ". ".join(part.rstrip(".") for part in parts if part)}
    if outcome.undone:
        return {**result, "changed": False, "failed": True, "msg": outcome.undone}
    return result
