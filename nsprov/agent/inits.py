"""What the inits of a lab on this host say of their workloads, and what the record knows of those that say nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nsprov.agent.look import MANIFEST
from nsprov.init import client
from nsprov.kernel import limits
from nsprov.kernel.cgroups import members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

    Target = tuple[str, str]
    Row = dict[str, Any]

DEAD = "init dead"
"""The state of a workload whose init does not answer: nothing is known of it."""

_PATIENCE = 5.0
"""Seconds that inits get to answer what takes them no time."""

_AT_ONCE = 32
"""How many things one init is asked at a time; it serves 64 connections."""

_UNKNOWN: Mapping[str, Any] = {
    **dict.fromkeys(("pid", "since", "exit", "signal")),
    "state": DEAD,
    "restarts": 0,
    "reason": "",
    "health": "",
    "dropped": 0,
}


@dataclass(frozen=True)
class Node:
    """A node of the lab on this host: what its init says (`hello`; `error` if it says nothing), if it has one."""

    name: str
    workloads: tuple[str, ...] = ()
    hello: Mapping[str, Any] | None = None

    @property
    def state(self) -> str:
        """Say whether its init is alive, or dead, or none is meant to be."""
        return "none" if self.hello is None else "dead" if "error" in self.hello else "alive"

    def status(self) -> dict[str, Mapping[str, Any]]:
        """Give what there is to know of each of its workloads."""
        if self.state != "dead":
            return dict((self.hello or {}).get("workloads", {}))
        assert self.hello is not None
        return {name: {**_UNKNOWN, "reason": self.hello["error"]} for name in self.workloads}


def look(kernel: Kernel, wanted: Sequence[str] = ()) -> dict[str, Node]:
    """Ask how the workloads of the wanted nodes are, those of all nodes if none are named; other nodes are left out."""
    names, expected = _applied(kernel)
    having = {node for node in {*expected, *kernel.lab.controlled()} if not wanted or node in wanted}
    paths = [kernel.lab.control(node) for node in sorted(having)]
    hellos = dict(zip(sorted(having), client.ask_all(paths, {"verb": "hello"}, _PATIENCE)))
    others = {*names, *kernel.cgroups.nodes()} & set(wanted)
    return {node: Node(node, tuple(expected.get(node, ())), hellos.get(node)) for node in sorted(having | others)}


def _applied(kernel: Kernel) -> tuple[set[str], dict[str, list[str]]]:
    """Give the nodes that the record has, and the names of the workloads of those that have an init."""
    rows = kernel.lab.read(MANIFEST).get("resources")
    names: set[str] = set()
    found: dict[str, list[str]] = {}
    for kind, fields in rows if isinstance(rows, list) else ():
        if kind in ("netns", "attachment"):
            names.add(fields["node"])
        elif kind == "init":
            found.setdefault(fields["node"], [])
        elif kind == "workload":
            found.setdefault(fields["node"], []).append(fields["name"])
    return names, found


def rows(kernel: Kernel, nodes: Mapping[str, Node]) -> Iterator[Row]:
    """Give all there is to know of the workloads of these nodes, for whoever shows it."""
    now = time.time()
    for node in nodes.values():
        shared = {"frozen": kernel.cgroups.frozen(node.name), "oom_kills": limits.oom_kills(kernel.cgroups, node.name)}
        for name, about in node.status().items():
            # What else an init tells is the spec, which has secrets.
            known = {field: about[field] for field in _UNKNOWN}
            known["pid"] = _pid_here(kernel, (node.name, name), about["pid"])
            seconds = None if about["since"] is None else max(0.0, now - about["since"])
            yield {"node": node.name, "name": name, **known, "seconds": seconds, **shared}


def _pid_here(kernel: Kernel, target: Target, pid: int | None) -> int | None:
    """Give a process's number as this host has it: in a pid namespace its init knows it by another."""
    node, name = target
    if pid is None or not kernel.namespaces.is_pinned(node, "pid"):
        return pid
    found = (one for one in members(kernel.cgroups.tree.group(node, f"w-{name}")) if _numbers(one)[1:2] == [str(pid)])
    return next(found, None)


def _numbers(pid: int) -> list[str]:
    """Give a process's numbers in the pid namespaces that it is in, ours first (proc_pid_status(5), `NSpid`)."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
    except OSError:
        return []  # it has ended


def ask(kernel: Kernel, verb: str, targets: Sequence[Target], timeout: float = _PATIENCE, **terms: Any) -> dict[Target, str]:
    """Have the inits do one thing with each of these, all at a time, and give the words of those that say no."""
    refused: dict[Target, str] = {}
    for batch in _batches(targets):
        requests = [(kernel.lab.control(node), {"verb": verb, "name": name, **terms}) for node, name in batch]
        for target, reply in zip(batch, client.ask_each(requests, timeout)):
            if "error" in reply:
                refused[target] = reply["error"]
    return refused


def _batches(targets: Sequence[Target]) -> Iterator[list[Target]]:
    """Part targets so that no init is asked too much at a time."""
    left = list(targets)
    while left:
        counts: dict[str, int] = {}
        batch: list[Target] = []
        rest: list[Target] = []
        for target in left:
            counts[target[0]] = counts.get(target[0], 0) + 1
            (batch if counts[target[0]] <= _AT_ONCE else rest).append(target)
        yield batch
        left = rest
