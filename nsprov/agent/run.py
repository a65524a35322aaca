"""One run on one lab of this host: look, plan, execute, verify, and either commit or go back."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsprov.agent.look import JOURNAL, MANIFEST, Look, networks
from nsprov.errors import Conflict, Diagnostic, StalePlan
from nsprov.kernel import audit, lab
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


@dataclass(frozen=True)
class Terms:
    """What a run of one host has to know of the whole, which it records.

    `members` are the hosts that will hold something of the lab. `returns` tells that a host where nothing is desired goes
    back too: the lab is not taken down, but moved. `generation` counts the runs; `together` are the hosts that this run
    changes.
    """

    members: tuple[str, ...] = ()
    returns: bool = False
    generation: int = 0
    together: tuple[str, ...] = ()


class Run(Look):
    """A look that may lead to action; `uncommitted` tells whether it has begun to act and was not settled."""

    def __init__(self, name: str, desired: State, kernel: Kernel | None = None) -> None:
        """Store what is asked for of the lab of that name."""
        super().__init__(name, desired, kernel)
        self.terms = Terms()
        self.uncommitted = False
        self._drafted = False
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
        rows = begin(self)
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
        if not self.uncommitted or not (self.desired or self.terms.returns):
            return ()
        before, known = restorable(self.observed), {**self.desired, **self.observed}
        kernel = self.kernel
        kernel.heed = lambda: None  # who is on the way back is not to be stopped
        kernel.netlink.abandon()
        if before and not kernel.lab.exists():  # everything was to go, and it went with its file system
            kernel.lab.open()
            begin(self)
        kernel.seen.clear()
        back = diff(known, before, self.observe(known))
        self._perform(order(back.values(), ORDER), lambda *_: None)
        if not before:
            kernel.lab.close()
        left = self._differences(before, known)
        if not left:
            self._settle(before)
        return left

    def keep_record(self) -> None:
        """Write again what was applied before this run, after a rollback, which writes what it has gone back to as it was seen.

        For who builds upon the record that is not the same: what nobody has asked for would be asked for from now on.
        """
        if self._manifest and self.kernel.lab.exists():
            self.kernel.lab.write(MANIFEST, self._manifest)

    def writes(self) -> bool:
        """Tell whether the record becomes another one; that the lab goes is no record."""
        acts = self.uncommitted or bool(self._changes) or bool(self.interrupted) or self.applied != self.desired
        moved = bool(self.terms.members) and set(self.terms.members) != set(self.members)
        return bool(self.desired) and (acts or moved)

    def draft(self) -> None:
        """Write the record beside the one that holds, so that `commit` cannot fail for want of space."""
        if self.writes():
            lab.draft(f"{self.kernel.lab.root}/{MANIFEST}", content(self, self.desired, self._rows))
            self._drafted = True

    def commit(self) -> None:
        """Make what was applied the lab's last applied state."""
        if self.interrupted or not self.desired:
            # A run that was killed between a pin's file and its mount, or a hand that unmounted it, left an empty file.
            for _, name in networks(self.applied).items() - networks(self.desired).items():
                unpin_stale(name)
        if self.writes() or not self.desired:
            self._settle(self.desired)

    def _settle(self, state: State) -> None:
        self.uncommitted = False
        if not state:
            self.kernel.lab.close()
            return
        if not self._drafted or state is not self.desired:
            lab.draft(f"{self.kernel.lab.root}/{MANIFEST}", content(self, state, self._rows))
        lab.accept(f"{self.kernel.lab.root}/{MANIFEST}")
        self.kernel.lab.forget(JOURNAL)

    def holders(self) -> list[str]:
        """Say who keeps a network namespace alive that this run has removed."""
        return [who for _, who in audit.holders(self._netns)] if self._netns else []


def begin(run: Run) -> list[list[object]]:
    """Write down what a run may leave behind; give its rows."""
    holder = f"pid {os.getpid()}, {time.strftime('%Y-%m-%d %H:%M:%S')}"
    rows = dump_state({**run.desired, **run.observed}.values())
    members = sorted({*run.terms.members, *run.members})
    run.kernel.lab.write(JOURNAL, {"holder": holder, "resources": rows, "members": members})
    return rows


def content(run: Run, state: State, rows: list[list[object]]) -> dict[str, object]:
    """Give what the record says of the state that a run is for, of which there may be rows, or of the one it went back to."""
    found: dict[str, object] = {"since": time.strftime("%Y-%m-%d %H:%M:%S")}
    if state is run.desired:
        rows = rows or dump_state(state.values())
        origin = run.terms.members, run.terms.generation, run.terms.together
    else:
        rows = dump_state(state.values())
        origin = run.members, run.generation, run.together
    return {**found, **dict(zip(("members", "generation", "together"), origin)), "resources": rows}


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
