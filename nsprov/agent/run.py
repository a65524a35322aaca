"""One run on one lab of this host: look, plan, execute, verify, and either commit or go back."""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from nsprov.errors import Conflict, Diagnostic, StalePlan
from nsprov.kernel import audit
from nsprov.kernel.machine import Kernel
from nsprov.kinds import BY_NAME, KINDS, ORDER, SCHEMAS
from nsprov.kinds.netns import Netns, unpin_stale
from nsprov.plan.change import CREATE, DELETE, REPLACE, Change, Plan, Step, dump_state, fingerprint, load_state
from nsprov.plan.diff import diff
from nsprov.plan.order import order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.plan.resource import Ref, Resource

    State = Mapping[Ref, Resource]

MANIFEST, JOURNAL = "manifest.json", "journal.json"
_PATIENCE = 5.0
"""Seconds that the kernel gets to take down what goes by itself; it needs 60 ms when idle (cleanup_net())."""


class Run:
    """The state of one run; `uncommitted` tells whether it has begun to act and was not settled."""

    def __init__(self, lab: str, desired: State) -> None:
        """Store what is asked for."""
        self.kernel = Kernel(lab)
        self.desired = desired
        self.applied: State = {}
        self.observed: State = {}
        self.interrupted = ""
        self.uncommitted = False
        self.timing: dict[str, float] = {}
        self._manifest: dict[str, object] = {}
        self._journal: dict[str, object] = {}
        self._changes: tuple[Change, ...] = ()
        self._netns: set[int] = set()

    def recall(self) -> bool:
        """Read what was applied, and tell whether there is a record; a journal means that a run was killed."""
        self._manifest, self._journal = self.kernel.lab.read(MANIFEST), self.kernel.lab.read(JOURNAL)
        self.interrupted = str(self._journal.get("holder", ""))
        self.applied = load_state([*_rows(self._journal), *_rows(self._manifest)], SCHEMAS)
        return bool(self._manifest)

    def still_holds(self, lab: str, rows: list[list[object]]) -> bool:
        """Tell whether what was seen of `lab` without its lock is good with it, and `rows` are what was looked for."""
        if self.kernel.lab.name != lab or self._journal or _rows(self._manifest) != rows:
            return False
        return not self.kernel.lab.read(JOURNAL) and self.kernel.lab.read(MANIFEST) == self._manifest

    def look(self) -> None:
        """Read the record and observe what it says, and without one all that bears the lab's mark."""
        began = time.monotonic()
        recorded = self.recall()
        kernel = self.kernel
        names = {} if recorded and self.desired else kernel.discover()
        known = {**self.desired, **self.applied}
        named = {resource.node: resource.name for resource in known.values() if isinstance(resource, Netns)}
        kernel.namespaces.names = {**named, **names}
        if recorded:
            kernel.seen.focus(known.values())
        self.observed = self._observe(known)
        self._note("observe", began)

    def _observe(self, known: State) -> State:
        by_kind: dict[str, dict[Ref, Resource]] = defaultdict(dict)
        for ref, resource in known.items():
            by_kind[ref.kind][ref] = resource
        found = itertools.chain.from_iterable(kind.observe(self.kernel, by_kind[kind.NAME]) for kind in KINDS)
        return {resource.ref(): resource for resource in found}

    def plan(self, *, with_fingerprint: bool = False) -> Plan:
        """Compare, check that nothing of others stands in the way, and give the plan.

        Raises:
            Conflict: with one diagnostic for each object in the way.

        """
        began = time.monotonic()
        changes = diff(self.applied, self.desired, self.observed)
        self._changes = tuple(changes.values())
        self._check_obstacles()
        self._note("diff", began)
        return Plan(self._changes, fingerprint(self.observed.values()) if with_fingerprint else "")

    def _check_obstacles(self) -> None:
        wants: dict[str, list[Resource]] = defaultdict(list)
        for change in self._changes:
            if change.action in (CREATE, REPLACE) and change.after:
                wants[change.ref.kind].append(change.after)
        found: dict[Ref, str] = {}
        for name, want in wants.items():
            found.update(BY_NAME[name].obstacles(self.kernel, want))
        if found:
            hint = "remove it, or use another name, prefix or address in the topology"
            rows = [Diagnostic(f'something is in the way of "{ref}"', str(ref), why, hint) for ref, why in found.items()]
            raise Conflict(*rows)

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
        kernel.lab.write(JOURNAL, {"holder": holder, "resources": dump_state(touched.values())})
        self.uncommitted = True
        self._netns = audit.inodes(kernel, [c.ref.name for c in self._changes if c.ref.kind == "netns" and c.action == DELETE])
        self._perform(order(self._changes, ORDER), progress)
        if not self.desired:
            kernel.lab.close()
        self._note("execute", began)

    def _perform(self, steps: list[Step], progress: Callable[[str, int, int], None]) -> None:
        total = sum(len(step.changes) for step in steps)
        done = 0
        try:
            for step in steps:
                progress(f"{step.verb} {step.kind}", done, total)
                began = time.monotonic()
                act(self.kernel, step)
                self._note(f"{step.verb} {step.kind}", began)
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
            self._note("verify", began)

    def _differences(self, desired: State, known: State) -> tuple[Change, ...]:
        if not self._changes:
            return ()
        deadline = time.monotonic() + _PATIENCE
        self.kernel.seen.focus(known.values())
        pause = 0.001
        while True:
            self.kernel.seen.clear()
            left = tuple(diff(known, desired, self._observe(known)).values())
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
        before, known = self.observed, {**self.desired, **self.observed}
        kernel = self.kernel
        kernel.netlink.abandon()
        kernel.seen.clear()
        back = diff(known, before, self._observe(known))
        self._perform(order(back.values(), ORDER), lambda *_: None)
        if not before:
            kernel.lab.close()
        left = self._differences(before, known)
        if not left:
            self._settle(before)
        return left

    def commit(self) -> None:
        """Make what was applied the lab's last applied state."""
        if self.interrupted:
            # A run that was killed between a pin's file and its mount has left a file that is no namespace.
            for resource in self.applied.values():
                if isinstance(resource, Netns) and resource.ref() not in self.desired:
                    unpin_stale(resource.name)
        if self.uncommitted or self.interrupted or self.applied != self.desired or not self.desired:
            self._settle(self.desired)

    def _settle(self, state: State) -> None:
        self.uncommitted = False
        if not state:
            self.kernel.lab.close()
            return
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self.kernel.lab.write(MANIFEST, {"since": since, "resources": dump_state(state.values())})
        self.kernel.lab.forget(JOURNAL)

    def holders(self) -> list[str]:
        """Say who keeps a network namespace alive that this run has removed."""
        return [who for _, who in audit.holders(self._netns)] if self._netns else []

    def _note(self, what: str, began: float) -> None:
        self.timing[what] = self.timing.get(what, 0.0) + time.monotonic() - began


def _rows(content: Mapping[str, object]) -> list[list[object]]:
    rows = content.get("resources", [])
    return rows if isinstance(rows, list) else []


def act(kernel: Kernel, step: Step) -> None:
    """Take one step; KernelError or OSError if the kernel refuses."""
    kind = BY_NAME[step.kind]
    if step.verb == "delete":
        kind.delete(kernel, [change.before for change in step.changes])
    elif step.verb == "update":
        kind.update(kernel, [(change.before, change.after) for change in step.changes])
    else:
        kind.create(kernel, [change.after for change in step.changes])
