"""The verbs about what runs in nodes: all that a controller may ask about workloads."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from nsprov.agent import control, inits, reading
from nsprov.errors import Diagnostic, KernelError, NothingMatched
from nsprov.init import client
from nsprov.kernel import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.agent.protocol import LineChannel
    from nsprov.kernel.machine import Kernel

    Request = Mapping[str, Any]
    Reply = dict[str, Any]
    Verb = Callable[[Kernel, LineChannel, Request], Reply]


def _workloads(kernel: Kernel, _channel: LineChannel, request: Request) -> Reply:
    """Say how the workloads are of the nodes that are named, or of all, and what is known of the nodes."""
    nodes = inits.look(kernel, [str(node) for node in request["nodes"]])
    groups = kernel.cgroups
    about = [
        {"node": name, "init": node.state, "frozen": groups.frozen(name), "oom_kills": limits.oom_kills(groups, name)}
        for name, node in nodes.items()
    ]
    return {"there": kernel.lab.exists(), "nodes": about, "workloads": list(inits.rows(kernel, nodes))}


def _freeze(kernel: Kernel, _channel: LineChannel, request: Request) -> Reply:
    """Freeze nodes, or thaw them: all that runs there but the inits, which must not take it for illness."""
    wanted = [str(node) for node in request["nodes"]]
    known = inits.look(kernel, wanted)
    for node in wanted:
        if node not in known:
            raise NothingMatched(Diagnostic(f'lab "{kernel.lab.name}" has no node "{node}"'))
    return {"rows": [_frozen(kernel, known[node], thaw=bool(request["thaw"])) for node in wanted]}


def _frozen(kernel: Kernel, node: inits.Node, *, thaw: bool) -> dict[str, Any]:
    if not kernel.cgroups.exists(node.name):
        hint = "only what its init runs can be frozen: give it workloads, limits, or a pid namespace"
        return {"node": node.name, "error": f'node "{node.name}" has no control group', "hint": hint}
    problem: dict[str, str] = {}
    try:
        if not thaw:
            _pause(kernel, node, on=True)
        (kernel.cgroups.thaw if thaw else kernel.cgroups.freeze)(node.name)
    except KernelError as refused:
        found = refused.diagnostics[0]
        problem = {"error": found.summary, "detail": found.detail}
    frozen = kernel.cgroups.frozen(node.name)
    if not frozen:
        _pause(kernel, node, on=False)
    if not thaw and not frozen and not problem:
        problem = {"error": f'nothing runs in node "{node.name}"', "hint": "start a workload, or run a command in it"}
    return {"node": node.name, "frozen": frozen, **problem}


def _pause(kernel: Kernel, node: inits.Node, *, on: bool) -> None:
    if node.state == "alive":
        with contextlib.suppress(KernelError):  # it has died just now: there is nobody to be mistaken
            client.ask(kernel.lab.control(node.name), {"verb": "pause", "on": on})


VERBS: Mapping[str, Verb] = {
    "workloads": _workloads,
    "control": control.control,
    "logs": reading.logs,
    "events": reading.events,
    "freeze": _freeze,
}
"""Each works on one lab, and only on nodes that it has."""
