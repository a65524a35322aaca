"""One run on one lab of this host, as the controller leads it: survey, prepare, apply, probe, ready, commit; or rollback.

Who waits for us has a lock's holder, steps and signs of life to see. When the controller goes, the host decides by itself:
what was not `ready` goes back, and what was is committed, because then every host had what was asked.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.agent.run import Run, Terms
from nsprov.errors import Diagnostic, Difference, InputError, KernelError, NsprovError, RollbackIncomplete
from nsprov.kernel.lab import Lab
from nsprov.kernel.machine import Kernel
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import dump_plan, load_plan, load_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.agent.protocol import LineChannel
    from nsprov.agent.pulse import Pulse
    from nsprov.plan.change import Change

    Request = Mapping[str, Any]
    Reply = dict[str, Any]

COMMIT = "commit"
"""The answer to a lost controller that keeps what this host has done and verified, whatever became of the others."""

_LISTED = 200
_LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_AGAIN = 0.05
"""Seconds between two tries to get a lock."""


class Transaction:
    """At most one run on one lab, with its lock."""

    def __init__(self, channel: LineChannel, pulse: Pulse) -> None:
        """Store the way to the controller."""
        self._channel = channel
        self._pulse = pulse
        self._lock = contextlib.ExitStack()
        self._kernel: Kernel | None = None
        self._early: Run | None = None
        self._run: Run | None = None
        self._on_disconnect = ""
        self._keeps = False

    def verbs(self) -> Mapping[str, Callable[[Request], Reply]]:
        """Give what a controller may ask for in a run."""
        return {
            "survey": self._survey,
            "prepare": self._prepare,
            "apply": self._apply,
            "probe": self._probe,
            "ready": self._ready,
            "commit": self._commit,
            "rollback": self._rollback,
            "release": self._release,
        }

    def expect(self, request: Request) -> None:
        """Look at a lab that will probably be asked for, while the controller still reads its file; there is no answer."""
        with contextlib.suppress(NsprovError, OSError):  # whatever is wrong is met again, and told, by `prepare`
            run = Run(lab_name(request), {})
            if run.recall():
                run.desired = run.applied
                run.look()
                self._early = run

    def _survey(self, request: Request) -> Reply:
        """Say what a plan over several hosts has to know; the doors stay open, for a key that is told now is used later."""
        from nsprov.agent.surveying import survey  # noqa: PLC0415 - for start-up: a lab on one host has no need of it

        self._kernel = Kernel(lab_name(request))
        return survey(self._kernel, request)

    def _prepare(self, request: Request) -> Reply:
        """Look and plan; with `act`, take the lab's lock first and keep it until the controller goes."""
        name = lab_name(request)
        if request.get("act"):
            wait = _patience(float(request.get("lock_timeout", 0)), self._progress, self._pulse.heed)
            self._lock.enter_context(Lab(name).locked(str(request.get("holder", "nsprov")), wait))
        if self._kernel is None and self._early is not None and self._early.still_holds(name, request["desired"]):
            self._run = run = self._early
        else:
            if self._kernel is not None:
                self._kernel.seen.clear()
            self._run = run = Run(name, load_state(request["desired"], SCHEMAS), self._kernel)
            run.look()
        others = run.members if request.get("partial") else ()
        run.terms = Terms(tuple(sorted({*request.get("members", ()), *others})), returns=bool(request.get("returns")))
        plan = run.plan(with_fingerprint=bool(request.get("fingerprint")))
        if "expected" in request:
            run.expect(load_plan(request["expected"], SCHEMAS))
        listed = len(plan.changes) <= _LISTED or bool(request.get("detail"))
        reply: Reply = {"counts": plan.counts(), "interrupted": run.interrupted, "listed": listed, "writes": run.writes()}
        reply.update(members=list(run.members), generation=run.generation)
        if listed:
            reply["plan"] = dump_plan(plan)
        return {**reply, "timing": run.timing}

    def _apply(self, request: Request) -> Reply:
        run = self._prepared()
        run.terms = replace(
            run.terms, generation=int(request.get("generation", 0)), together=tuple(request.get("together", ()))
        )
        run.kernel.heed = self._pulse.heed
        run.execute(self._progress)
        left = run.verify()
        if left:
            raise Difference(*(_not_as_asked(change) for change in left))
        self._keeps = request.get("on_disconnect") == COMMIT
        return {"held": run.holders(), "timing": run.timing}

    def _progress(self, step: str, done: int, total: int) -> None:
        """Tell how far we are; stop if the controller wants something else or is gone."""
        self._pulse.heed()
        self._channel.send({"event": "step", "step": step, "done": done, "total": total})

    def _probe(self, request: Request) -> Reply:
        """Try what leads to other hosts, once all of them have their part."""
        from nsprov.agent.probing import probe  # noqa: PLC0415 - for start-up: only labs across hosts have tunnels

        return probe(self._prepared().kernel, request)

    def _ready(self, _request: Request) -> Reply:
        """Have done all that can fail: from now on the lab is kept, whether or not `commit` still gets here."""
        run = self._prepared()
        run.draft()
        self._keeps = True
        return {}

    def _commit(self, _request: Request) -> Reply:
        run = self._prepared()
        run.commit()
        self._keeps = False
        return {"timing": run.timing}

    def _rollback(self, _request: Request) -> Reply:
        if self._run is None:
            return {}
        self._keeps = False
        try:
            left = self._run.rollback()
        except KernelError as problem:
            raise RollbackIncomplete(*problem.diagnostics, _journaled()) from problem
        except OSError as problem:
            raise RollbackIncomplete(unexpected(problem), _journaled()) from problem
        if left:
            raise RollbackIncomplete(*(Diagnostic(f'"{c.ref}" is left', str(c.ref), c.reason) for c in left))
        return {}

    def _release(self, _request: Request) -> Reply:
        """Let go of a lock before anything was done."""
        self._lock.close()
        self._run = self._early = None
        return {}

    def _prepared(self) -> Run:
        if self._run is None:
            raise InputError(Diagnostic(summary="nothing is prepared"))
        return self._run

    def end(self) -> None:
        """Decide alone, for there is nobody left to tell: keep what is to be kept, put the rest back, and free the lock.

        What cannot be put back now is in the journal.
        """
        with self._lock, contextlib.suppress(NsprovError, OSError):
            if self._run is not None and self._keeps:
                self._run.commit()
            elif self._run is not None:
                self._run.rollback()


def _patience(seconds: float, tell: Callable[[str, int, int], None], heed: Callable[[], None]) -> Callable[[str], bool]:
    """Make what waits for a lock that another run holds, says whose it is, and knows when there has been enough of it."""
    deadline = time.monotonic() + seconds
    began = False

    def wait(holder: str) -> bool:
        nonlocal began
        if time.monotonic() >= deadline:
            return False
        if not began:
            tell(f"wait for the lock of {holder}", 0, 0)
        began = True
        heed()
        time.sleep(_AGAIN)
        return True

    return wait


def _journaled() -> Diagnostic:
    hint = "mend the cause and run `nsprov up` again, or `nsprov down`"
    return Diagnostic("what this run began is left, and written down on the host", hint=hint)


def _not_as_asked(change: Change) -> Diagnostic:
    fields = ", ".join(f"{name} is {old!r} and not {new!r}" for name, old, new in change.fields())
    hint = "see what else changes it: another tool, a daemon in the node, a sysctl of the host"
    return Diagnostic(f'"{change.ref}" is not as asked', str(change.ref), fields or f"It has to be {change.action}d.", hint)


def lab_name(request: Request) -> str:
    """Check a lab's name again: it becomes part of paths."""
    name = request.get("lab")
    if not isinstance(name, str) or not _LAB_NAME.fullmatch(name):
        raise InputError(Diagnostic(summary=f"{name!r} is no name of a lab"))
    return name


def unexpected(problem: OSError) -> Diagnostic:
    """Say in words what the operating system refused."""
    subject = f' "{problem.filename}"' if problem.filename else ""
    hint = "run as root, or with sudo" if problem.errno in (1, 13) else ""
    return Diagnostic(f"the kernel refused{subject or ' an operation'}", "", f"{problem.strerror or problem}.", hint)
