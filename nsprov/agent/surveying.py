"""Say what a controller has to know before it can plan: what of a lab is here, the ways to other hosts, cores and memory.

Nothing of it changes the host, and what only some topologies need is looked at, and imported, only when it is asked for.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nsprov.agent.look import Look, networks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.kernel.machine import Kernel


def survey(kernel: Kernel, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answer; `remotes` are the addresses to which the ways are wanted, and with `key` so is the lab's public key here."""
    look = Look(kernel.lab.name, {}, kernel)
    recorded = look.recall()
    found: dict[str, Any] = {
        "nodes": sorted(networks(look.applied)),
        "members": list(look.members),
        "holds": recorded or bool(look.interrupted),
        "vnis": {str(ref): vni for ref, resource in look.applied.items() if (vni := _number(resource)) is not None},
        "cpus": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "paths": {},
        "taken": [],
        "public_key": "",
    }
    if request.get("remotes"):
        from nsprov.kernel import paths, tunnels  # noqa: PLC0415 - for start-up: only labs across hosts have tunnels

        found["paths"] = paths.lookup(kernel, request["remotes"])
        found["taken"] = sorted(tunnels.taken(kernel))
    if request.get("key"):
        found["public_key"] = kernel.keys.public()
    return found


def _number(resource: object) -> int | None:
    """Give the number by which both ends of a tunnel know each other."""
    found = getattr(resource, "vni", getattr(resource, "key", None))
    return found if isinstance(found, int) else None
