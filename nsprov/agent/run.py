"""One run on one lab of this host: look, plan, execute, verify, and either commit or go back."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from nsprov.agent.look import JOURNAL, MANIFEST, Look, networks
from nsprov.errors import Conflict, Diagnostic, StalePlan
from nsprov.kernel import audit
from nsprov.kernel.namespaces import unpin_stale
from nsprov.kinds import BY_NAME, ORDER
from nsprov.plan.change import CREATE, DELETE, REPLACE, Change, Plan, Step, dump_state, fingerprint
from nsprov.plan.diff import diff, restorable
from nsprov.plan.order import order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from nsprov.kernel.machine import Kernel
    from nsprov.plan.resource import Ref, Resource

    State = Mapping[Ref, Resource]

_PATIENCE = 5.0
"""Seconds that the kernel gets to take down what goes by itself; it needs 60 ms when idle (cleanup_net())."""


class Run(Look):
    """A look that may lead to action; `uncommitted` tells whether it has begun to act and was not settled."""

    def __init__(self, lab: str, desired: State) -> None:
        """Store what is asked for."""
        super().__init__(lab, desired)
        self.uncommitted = False
        self._changes: tuple[Change, ...] = ()
        self._rows: list[list[object]] = []
        self._netns: set[int] = set()

    def plan(self, *, with_fingerprint: bool = False) -> Plan:
        """Compare, check that nothing of others stands in the way, and give the plan.

        Raises:
            Conflict: with one diagnostic for each object in the way.

        """
        began = time.monotonic()
        changes = diff(self.applied, self.desired, self.observed)
        self._changes = tuple(changes.values())
        check_obstacles(self.kernel, self._changes)
        self.note("diff", began)
        return Plan(self._changes, fingerprint(self.observed.values()) if with_fingerprint else "")

    def expect(self, plan: Plan) -> None:
        """Refuse a saved plan that is not what would be done now.

        Raises:
            StalePlan: the host, or the manifest, is not as it was.

        """
        now = fingerprint(self.observed.values())
        if plan.fingerprint != now or set(plan.changes) != set(self._changes):
            detail = f"The plan was made for state {plan.fingerprint}; now it is {now}."
            raise StalePlan(Diagnostic("the host has changed since the plan was saved", "", detail, "make a new plan"))

    def execute(self, progress: Callable[[str, int, int], None]) -> None:
        """Do what was planned, having written down first what it may leave behind."""
        if not self._changes:
            return
        began = time.monotonic()
        kernel = self.kernel
        kernel.lab.open()
        holder = f"pid {os.getpid()}, {time.strftime('%Y-%m-%d %H:%M:%S')}"
        touched = {**self.desired, **self.observed}
        rows = dump_state(touched.values())
        kernel.lab.write(JOURNAL, {"holder": holder, "resources": rows})
        if not self.observed:
            self._rows = rows
        self.uncommitted = True
        self._netns = audit.inodes(kernel, [c.ref.name for c in self._changes if c.ref.kind == "netns" and c.action == DELETE])
        self._perform(order(self._changes, ORDER), progress)
        if not self.desired:
            kernel.lab.close()
        self.note("execute", began)

    def _perform(self, steps: list[Step], progress: Callable[[str, int, int], None]) -> None:
        total = sum(len(step.changes) for step in steps)
        done = 0
        try:
            for step in steps:
                progress(f"{step.verb} {step.kind}", done, total)
                began = time.monotonic()
                act(self.kernel, step)
                self.note(f"{step.verb} {step.kind}", began)
                done += len(step.changes)
            self.kernel.netlink.settle()
        finally:
            self.kernel.namespaces.go_home()

    def verify(self) -> tuple[Change, ...]:
        """Look again and give what is not as asked; what only has still to go is given time."""
        began = time.monotonic()
        try:
            return self._differences(self.desired, {**self.observed, **self.desired})
        finally:
            self.note("verify", began)

    def _differences(self, desired: State, known: State) -> tuple[Change, ...]:
        if not self._changes:
            return ()
        deadline = time.monotonic() + _PATIENCE
        self.kernel.seen.focus(known.values())
        pause = 0.001
        while True:
            self.kernel.seen.clear()
            left = tuple(diff(known, desired, self.observe(known)).values())
            if not left or any(change.action != DELETE for change in left) or time.monotonic() > deadline:
                return left
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def rollback(self) -> tuple[Change, ...]:
        """Go back to what was observed before this run, by the same way; give what could not be put back.

        A `down` does not go back: who wants a lab gone wants the rest of it gone too, and `down` again does that.
        """
        if not self.uncommitted or not self.desired:
            return ()
        before, known = restorable(self.observed), {**self.desired, **self.observed}
        kernel = self.kernel
        kernel.netlink.abandon()
        kernel.seen.clear()
        back = diff(known, before, self.observe(known))
        self._perform(order(back.values(), ORDER), lambda *_: None)
        if not before:
            kernel.lab.close()
        left = self._differences(before, known)
        if not left:
            self._settle(before)
        return left

    def commit(self) -> None:
        """Make what was applied the lab's last applied state."""
        if self.interrupted or not self.desired:
            # A run that was killed between a pin's file and its mount, or a hand that unmounted it, left an empty file.
            for _, name in networks(self.applied).items() - networks(self.desired).items():
                unpin_stale(name)
        if self.uncommitted or self.interrupted or self.applied != self.desired or not self.desired:
            self._settle(self.desired)

    def _settle(self, state: State) -> None:
        self.uncommitted = False
        if not state:
            self.kernel.lab.close()
            return
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        rows = self._rows if self._rows and state is self.desired else dump_state(state.values())
        self.kernel.lab.write(MANIFEST, {"since": since, "resources": rows})
        self.kernel.lab.forget(JOURNAL)

    def holders(self) -> list[str]:
        """Say who keeps a network namespace alive that this run has removed."""
        return [who for _, who in audit.holders(self._netns)] if self._netns else []


def check_obstacles(kernel: Kernel, changes: Iterable[Change]) -> None:
    """Refuse to plan where something that is not ours stands in the way.

    Raises:
        Conflict: with one diagnostic for each object in the way.

    """
    wants: dict[str, list[Resource]] = defaultdict(list)
    for change in changes:
        if change.action in (CREATE, REPLACE) and change.after:
            wants[change.ref.kind].append(change.after)
    found: dict[Ref, str] = {}
    for name, want in wants.items():
        found.update(BY_NAME[name].obstacles(kernel, want))
    if found:
        hint = "change that on the host, or ask for something else in the topology"
        rows = [Diagnostic(f'"{ref}" cannot be made on this host', str(ref), why, hint) for ref, why in found.items()]
        raise Conflict(*rows)


def act(kernel: Kernel, step: Step) -> None:
    """Take one step; KernelError or OSError if the kernel refuses."""
    kind = BY_NAME[step.kind]
    if step.verb == "delete":
        kind.delete(kernel, [change.before for change in step.changes])
    elif step.verb == "update":
        kind.update(kernel, [(change.before, change.after) for change in step.changes])
    else:
        kind.create(kernel, [change.after for change in step.changes])
