"""The first half of a run: who has a part in it, what each is to hold, and the lock and the plan of every host.

A host that only the lab's records know of is asked too, so that what has moved leaves nothing behind.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nsprov import survey
from nsprov.errors import Diagnostic, Locked, NsprovError, StalePlan, Unreachable
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import dump_plan, dump_state, load_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nsprov.fleet import Fleet, Options
    from nsprov.plan.change import Plan
    from nsprov.provision.wanted import State, Task
    from nsprov.survey import Survey

_GRACE = 2.0
"""Seconds that a run which has got some locks waits for others: who holds those may be about to lose, for want of ours."""


@dataclass
class Course:
    """A run on its way; `replies` are what the hosts have said to `prepare`."""

    fleet: Fleet
    task: Task
    options: Options
    act: bool
    expected: Mapping[str, Plan] | None
    states: dict[str, State] = field(default_factory=dict)
    replies: dict[str, dict[str, Any]] = field(default_factory=dict)

    def gather(self) -> None:
        """Ask what has to be asked, settle what each host is to hold, and prepare all; failures are in the outcomes."""
        surveys: dict[str, Survey] = {}
        self._join(self.task.remembered, sure=False)
        if self.task.wanted.surveys and not self.fleet.failed:
            surveys = self._survey()
        if self.fleet.failed:
            return
        for name in [name for name, found in surveys.items() if self._is_strange(name, found.members)]:
            self._leave(name)
            del surveys[name]
        self.states.update(self.task.wanted.states(surveys))
        for name in list(self.fleet.sessions):
            if name not in self.states and name in surveys and not surveys[name].holds:
                self._leave(name)
        self._prepare()

    def _survey(self) -> dict[str, Survey]:
        wanted, found = self.task.wanted, {}
        asked = list(self.fleet.sessions)
        while asked:
            remotes = {name: list(wanted.remotes.get(name, ())) for name in asked}
            rows = {name: {"lab": self.task.lab, "remotes": remotes[name], "key": name in wanted.keys} for name in asked}
            replies = self.fleet.ask({name: {"verb": "survey", **row} for name, row in rows.items()}, patiently=True)
            found.update({name: survey.read(name, reply) for name, reply in replies.items()})
            asked = self._join(member for reply in replies.values() for member in reply["members"])
        return found

    def _join(self, names: Iterable[str], *, sure: bool = True) -> list[str]:
        """Connect to hosts that have had a part in the lab; give those that are new. If not `sure`, it is no matter if not.

        Raises:
            InputError: the inventory does not have one.

        """
        new = sorted(set(names) - self.fleet.outcomes.keys() - self.task.forget)
        if not new or self.task.partial:
            return []
        known = self.task.find(new, sure=sure)
        self.fleet.connect(known)
        machines = [self.fleet.machines[host.name] for host in self.task.hosts if host.name in self.fleet.machines]
        for host in known:
            error = self.fleet.outcomes[host.name].error
            if error is not None:
                self.fleet.outcomes[host.name].error = _former(error, host.name)
            elif self.fleet.machines[host.name] in machines:  # another name for a host that has its part already
                self._leave(host.name)
        return [host.name for host in known if host.name in self.fleet.sessions]

    def _leave(self, name: str) -> None:
        self.fleet.leave(name)
        del self.fleet.outcomes[name]
        self.replies.pop(name, None)
        self.states.pop(name, None)

    def _prepare(self) -> None:
        """Take the lock of every host and have it plan, all at once; where runs meet half way, one after the other."""
        waits = self.options.lock_timeout if len(self.fleet.sessions) == 1 else 0.0
        self._ask(list(self.fleet.sessions), waits)
        lost = [name for name, outcome in self.fleet.outcomes.items() if isinstance(outcome.error, Locked)]
        others = any(outcome.error for name, outcome in self.fleet.outcomes.items() if name not in lost)
        patience = max(self.options.lock_timeout, _GRACE if self.replies else 0.0)
        if lost and not others and patience and len(self.fleet.sessions) > 1:
            self._prepare_in_turn(time.monotonic() + patience)

    def _prepare_in_turn(self, deadline: float) -> None:
        """Take one lock after the other, in an order that every controller has: so nobody waits for who waits for him."""
        again = True
        while again:
            names = sorted(self.fleet.sessions, key=lambda name: (self.fleet.machines[name], name))
            for name in names:
                self.fleet.outcomes[name].error = None
            self.replies.clear()
            self.fleet.ask({name: {"verb": "release"} for name in names}, patiently=True)
            for name in names:
                if not self.fleet.failed:
                    self._ask([name], max(0.0, deadline - time.monotonic()), joining=name == names[-1])
            new = [name for name in self.fleet.sessions if name not in names]
            locked = [name for name in new if isinstance(self.fleet.outcomes[name].error, Locked)]
            again = bool(locked) and time.monotonic() < deadline

    def _ask(self, names: list[str], lock_timeout: float, *, joining: bool = True) -> None:
        """Prepare hosts, and then those that their records name, unless that is for later."""
        while names:
            terms = {"lock_timeout": lock_timeout, **self._terms()}
            replies = self.fleet.ask({name: self._request(name, terms) for name in names}, patiently=True)
            self.replies.update(replies)
            if self.fleet.failed or not joining:
                return
            self._part_with_strangers()
            names, lock_timeout = self._join(member for reply in self.replies.values() for member in reply["members"]), 0.0
            if self.fleet.failed:
                return
        for name, reply in self.replies.items():
            outcome = self.fleet.outcomes[name]
            outcome.counts, outcome.interrupted = reply["counts"], reply["interrupted"]
            if reply["listed"]:
                outcome.plan = load_plan(reply["plan"], SCHEMAS)
            if self.expected is not None and name not in self.expected and outcome.changed:
                hint = "make a new plan"
                outcome.error = StalePlan(Diagnostic("the host had no part when the plan was saved", name, hint=hint))

    def _part_with_strangers(self) -> None:
        """Leave hosts alone that hold nothing, or another lab of that name: its record knows none of ours."""
        ours = {host.name for host in self.task.hosts}
        for name, reply in [(name, reply) for name, reply in self.replies.items() if name not in ours]:
            if self._is_strange(name, reply["members"]) or not (reply["members"] or any(reply["counts"].values())):
                self.fleet.ask({name: {"verb": "release"}}, patiently=True)
                self._leave(name)

    def _is_strange(self, name: str, members: Iterable[str]) -> bool:
        ours = {host.name for host in self.task.hosts}
        return name not in ours and name not in self.task.remembered and ours.isdisjoint(members)

    def _terms(self) -> dict[str, Any]:
        user = os.environ.get("SUDO_USER") or os.environ.get("USER") or os.geteuid()
        return {
            "act": self.act,
            "holder": f"{user}@{socket.gethostname()}",
            "members": sorted(name for name, state in self.states.items() if state),
            "partial": self.task.partial,
            "returns": any(self.states.values()),
            "detail": self.options.detail,
            "fingerprint": self.options.fingerprint,
        }

    def _request(self, name: str, terms: Mapping[str, Any]) -> dict[str, Any]:
        state = self.states.setdefault(name, {})
        self.fleet.outcomes[name].desired = state
        request = {"verb": "prepare", "lab": self.task.lab, "desired": dump_state(state.values()), **terms}
        if self.expected is not None and name in self.expected:
            request["expected"] = dump_plan(self.expected[name])
        return request


def _former(error: NsprovError, name: str) -> NsprovError:
    """Say why a host is asked that the topology does not name."""
    if not isinstance(error, Unreachable):
        return error
    hint = f"mend that, or if the host is gone for good add --forget {name}"
    why = "The host has had a part in the lab."
    return Unreachable(*(Diagnostic(d.summary, d.where, f"{d.detail}\n{why}".lstrip(), hint) for d in error.diagnostics))
