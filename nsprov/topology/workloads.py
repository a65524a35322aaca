"""Workloads: what a node runs, read one by one; what they wait for is read in `dependencies`, when all are known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nsprov.topology.environment import read_environment
from nsprov.topology.measures import Measures
from nsprov.topology.node_model import Workload
from nsprov.topology.node_spec import WorkloadSpec
from nsprov.topology.positions import Path, Problems, attempt, closest, shown
from nsprov.topology.probes import read_health, read_ready, words_of
from nsprov.topology.process import Process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.topology.node_spec import RestartSpec

RESERVED = frozenset({"init", "exec"})
"""Control groups of a node bear these names."""

POLICIES = ("no", "on-failure", "always")
_MAX_LOGS = 100
_MAX_RESTARTS = 1_000_000
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,30}", re.ASCII)
_USUAL = Workload(name="", command=())
_LIMITED = re.compile(r"on-failure:([0-9]{1,6})", re.ASCII)


def read_workloads(given: Mapping[str, WorkloadSpec | None], path: Path, problems: Problems) -> dict[str, Workload]:
    """Read the workloads of a node."""
    empty = WorkloadSpec()
    return {name: _Reader(name, spec or empty, (*path, name), problems).read() for name, spec in given.items()}


class _Reader:
    """Reads one workload."""

    def __init__(self, name: str, given: WorkloadSpec, path: Path, problems: Problems) -> None:
        """Store its shape, where it stands, and where to note problems."""
        self.name = name
        self.given = given
        self.path = path
        self.problems = problems

    def read(self) -> Workload:
        """Give the workload; what is wrong in it has its usual value."""
        given = self.given
        found: dict[str, Any] = {
            word: getattr(given, word)
            for word in ("type", "no_new_privileges", "seccomp")
            if getattr(given, word) is not None
        }
        self._check_name()
        found.update(Process(given, self.path, self.problems).read())
        if given.env or given.env_file:
            found["env"], found["secrets"] = read_environment(given, self.path, self.problems)
        if given.restart is not None:
            found.update(self._restart(given.restart))
        if given.grace is not None:
            found["grace"] = Measures(given, self.path, self.problems).duration("grace", 0, 0)
        if given.ready is not None:
            found["ready"] = read_ready(given.ready, (*self.path, "ready"), self.problems)
        if given.health is not None:
            found["health"] = read_health(given.health, (*self.path, "health"), self.problems)
        if given.log is not None:
            measures = Measures(given.log, (*self.path, "log"), self.problems)
            found["log_size"] = measures.size_between("size", _USUAL.log_size, "4K", "2G")
            found["log_keep"] = measures.number("keep", _USUAL.log_keep, 0, _MAX_LOGS)
        return Workload(name=self.name, command=self._command(), **found)

    def _check_name(self) -> None:
        if self.name in RESERVED:
            summary = f"the workload name {shown(self.name)} is reserved"
            self.problems.add(self.path, summary, "choose another name", key=True)
        elif not _NAME.fullmatch(self.name):
            hint = "use a lower-case letter, then at most 30 of a-z, 0-9, dots, dashes and underscores"
            self.problems.add(self.path, f"{shown(self.name)} cannot name a workload", hint, key=True)

    def _command(self) -> tuple[str, ...]:
        path = (*self.path, "command")
        if self.given.command is None:
            if not self.problems.touched(path):
                hint = 'add "command"'
                self.problems.add(self.path, f"workload {shown(self.name)} has no command", hint, key=True)
            return ()
        return attempt(self.problems, path, words_of, self.given.command) or ()

    def _restart(self, given: RestartSpec) -> dict[str, Any]:
        path = (*self.path, "restart")
        policy, limit = self._policy(given.policy, (*path, "policy"))
        measures = Measures(given, path, self.problems)
        if given.max is not None:
            if limit or policy == "no":
                summary = '"max" is given twice' if limit else '"max" goes with a restart only'
                self.problems.add((*path, "max"), summary, "remove it here, or change the policy", key=True)
            limit = measures.number("max", 0, 1, _MAX_RESTARTS)
        if policy == "always" and self.given.type == "oneshot":
            detail = "It would be run again and again, and never be done."
            self.problems.add(path, 'a oneshot cannot restart "always"', 'use "on-failure"', detail)
        delay = measures.duration("delay", _USUAL.backoff)
        longest = measures.duration("max_delay", max(delay, _USUAL.backoff_max))
        if longest < delay:
            self.problems.add((*path, "max_delay"), '"max_delay" is less than "delay"', "use a longer one")
        reset = measures.duration("reset", _USUAL.reset)
        return {"restart": policy, "restart_max": limit, "backoff": delay, "backoff_max": longest, "reset": reset}

    def _policy(self, text: str, path: Path) -> tuple[str, int]:
        match = _LIMITED.fullmatch(text)
        if match is not None:
            limit = int(match.group(1))
            if limit == 0:
                self.problems.add(path, "at most 0 restarts is none", 'use "no", or a number from 1')
            return "on-failure", limit
        if text not in POLICIES:
            hint = 'use "always"' if text == "unless-stopped" else closest(text, POLICIES)
            self.problems.add(path, f"there is no restart policy {shown(text)}", hint or 'use "no", "on-failure" or "always"')
            return "no", 0
        return text, 0
