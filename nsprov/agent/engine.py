"""The agent: takes requests from a controller, looks at the kernel, plans, acts, verifies, and can go back.

One run on a host is `prepare` (lock, observe, diff), then `apply` (journal, execute, verify), then `commit` or `rollback`.
A controller that goes away before `commit` has changed its mind: the agent rolls back by itself.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from nsprov.agent import attaching, enter, protocol, workloads
from nsprov.agent.look import Look
from nsprov.agent.run import Run
from nsprov.errors import (
    Diagnostic,
    Difference,
    InputError,
    Interrupted,
    KernelError,
    NsprovError,
    RollbackIncomplete,
    StepFailed,
)
from nsprov.kernel import audit, lab, limits
from nsprov.kernel.machine import Kernel
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import dump_plan, dump_state, load_plan, load_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.plan.change import Change

_LISTED = 200
_LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Agent:
    """One conversation: at most one run on one lab."""

    def __init__(self, channel: protocol.LineChannel) -> None:
        """Store the channel; the host is not touched before the first request."""
        self._channel = channel
        self._run: Run | None = None
        self._early: Run | None = None
        self._stack = contextlib.ExitStack()
        self._verbs: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "prepare": self._prepare,
            "apply": self._apply,
            "rollback": self._rollback,
            "commit": self._commit,
            "state": _state,
            "labs": _labs,
            "audit": _audit,
            "exec": self._exec,
            "attach": attaching.attach,
            "detach": attaching.detach,
            "ns": lambda request: _ns(channel, request),
            **{name: functools.partial(self._operate, verb) for name, verb in workloads.VERBS.items()},
        }
        """All that a controller may ask for; each but `ns` works on one named lab, and only on what bears its mark."""

    def serve(self) -> None:
        """Answer requests until the controller goes."""
        self._channel.send({"event": "hello", "version": protocol.VERSION, "uid": os.geteuid(), "pid": os.getpid()})
        with self._stack:
            try:
                self._converse()
            finally:
                if self._run is not None and self._run.uncommitted:
                    # What cannot be put back now is in the journal, and there is nobody left to tell.
                    with contextlib.suppress(NsprovError, OSError):
                        self._run.rollback()

    def _converse(self) -> None:
        while (request := self._channel.receive()) is not None:
            if request.get("verb") == "expect":
                self._expect(request)
            else:
                self._channel.send(self._answer(request))

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        verb = str(request.get("verb"))
        if verb not in self._verbs:
            return failure(InputError(Diagnostic(summary=f'the agent has no verb "{verb}"')))
        try:
            return {"reply": verb, **self._verbs[verb](request)}
        except NsprovError as problem:
            return failure(problem)
        except OSError as problem:
            return failure(StepFailed(unexpected(problem)))
        except Exception as problem:  # noqa: BLE001 - a fault of ours must not keep the controller from a rollback
            traceback.print_exc()
            hint = "report it, with what the agent wrote to stderr"
            return failure(StepFailed(Diagnostic("the agent met a fault of its own", "", repr(problem), hint)))

    def _expect(self, request: Mapping[str, Any]) -> None:
        """Look at a lab that will probably be asked for, while the controller still reads its file; there is no answer."""
        with contextlib.suppress(NsprovError, OSError):  # whatever is wrong is met again, and told, by `prepare`
            run = Run(_name(request), {})
            if run.recall():
                run.desired = run.applied
                run.look()
                self._early = run

    def _prepare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Look and plan; with `act`, take the lab's lock first and keep it until the controller goes."""
        name = _name(request)
        if request.get("act"):
            self._stack.enter_context(lab.Lab(name).locked(str(request.get("holder", "nsprov"))))
        if self._early is not None and self._early.still_holds(name, request["desired"]):
            self._run = run = self._early
        else:
            self._run = run = Run(name, load_state(request["desired"], SCHEMAS))
            run.look()
        plan = run.plan(with_fingerprint=bool(request.get("fingerprint")))
        if "expected" in request:
            run.expect(load_plan(request["expected"], SCHEMAS))
        listed = len(plan.changes) <= _LISTED or bool(request.get("detail"))
        reply: dict[str, Any] = {"counts": plan.counts(), "interrupted": run.interrupted, "listed": listed}
        if listed:
            reply["plan"] = dump_plan(plan)
        return {**reply, "timing": run.timing}

    def _apply(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        run = self._prepared()
        run.kernel.heed = self._heed
        try:
            run.execute(self._progress)
        except KeyboardInterrupt:
            raise Interrupted(Diagnostic(summary="interrupted")) from None
        left = run.verify()
        if left:
            raise Difference(*(_not_as_asked(change) for change in left))
        return {"held": run.holders(), "timing": run.timing}

    def _progress(self, step: str, done: int, total: int) -> None:
        """Tell how far we are; stop if the controller wants something else or is gone."""
        self._heed()
        self._channel.send({"event": "step", "step": step, "done": done, "total": total})

    def _heed(self) -> None:
        """Stop if the controller wants something else or is gone."""
        if self._channel.waiting():
            raise KeyboardInterrupt

    def _rollback(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            left = self._prepared().rollback()
        except KernelError as problem:
            raise RollbackIncomplete(*problem.diagnostics, _journaled()) from problem
        except OSError as problem:
            raise RollbackIncomplete(unexpected(problem), _journaled()) from problem
        if left:
            raise RollbackIncomplete(*(Diagnostic(f'"{c.ref}" is left', str(c.ref), c.reason) for c in left))
        return {}

    def _commit(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        run = self._prepared()
        run.commit()
        return {"timing": run.timing}

    def _exec(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run a command in a node, on the descriptors that the conversation went over until now."""
        enter.serve(_name(request), request, lambda: self._channel.send({"reply": "exec"}))

    def _operate(self, verb: workloads.Verb, request: Mapping[str, Any]) -> dict[str, Any]:
        return verb(Kernel(_name(request)), self._channel, request)

    def _prepared(self) -> Run:
        if self._run is None:
            raise InputError(Diagnostic(summary="nothing is prepared"))
        return self._run


def _state(request: Mapping[str, Any]) -> dict[str, Any]:
    """Give what was applied last, and how often the kernel has killed processes of nodes for their memory limits."""
    look = Look(_name(request), {})
    look.recall()
    groups = look.kernel.cgroups
    kills = {node: count for node in groups.nodes() if (count := limits.oom_kills(groups, node))}
    return {"applied": dump_state(look.applied.values()), "oom_kills": kills}


def _labs(_request: Mapping[str, Any]) -> dict[str, Any]:
    found = []
    for name in lab.labs():
        manifest = lab.Lab(name).read("manifest.json")
        rows = manifest.get("resources")
        kinds = [row[0] for row in rows if isinstance(row, list) and row] if isinstance(rows, list) else []
        nodes = kinds.count("netns") + kinds.count("attachment")
        found.append({"lab": name, "nodes": nodes, "since": manifest.get("since", "")})
    return {"labs": found}


def _audit(request: Mapping[str, Any]) -> dict[str, Any]:
    return {"left": [found.as_dict() for found in audit.audit(_name(request))]}


def _ns(channel: protocol.LineChannel, request: Mapping[str, Any]) -> dict[str, Any]:
    """Look at, pin and enter namespaces of the whole host; only here a PID or a path of the user's is asked about."""
    from nsprov.agent import inspect  # noqa: PLC0415 - for start-up: no run on a lab needs it

    if request["do"] == "enter":
        inspect.serve(request, lambda: channel.send({"reply": "ns"}))
    return inspect.answer(request)


def _journaled() -> Diagnostic:
    hint = "mend the cause and run `nsprov up` again, or `nsprov down`"
    return Diagnostic("what this run began is left, and written down on the host", hint=hint)


def _not_as_asked(change: Change) -> Diagnostic:
    fields = ", ".join(f"{name} is {old!r} and not {new!r}" for name, old, new in change.fields())
    hint = "see what else changes it: another tool, a daemon in the node, a sysctl of the host"
    return Diagnostic(f'"{change.ref}" is not as asked', str(change.ref), fields or f"It has to be {change.action}d.", hint)


def _name(request: Mapping[str, Any]) -> str:
    """Check a lab's name again: it becomes part of paths."""
    name = request.get("lab")
    if not isinstance(name, str) or not _LAB_NAME.fullmatch(name):
        raise InputError(Diagnostic(summary=f"{name!r} is no name of a lab"))
    return name


def failure(problem: NsprovError) -> dict[str, Any]:
    """Give an error as a reply: its class's name, for the controller to raise it again, and its diagnostics."""
    return {"error": type(problem).__name__, "diagnostics": [diagnostic.as_dict() for diagnostic in problem.diagnostics]}


def unexpected(problem: OSError) -> Diagnostic:
    """Say in words what the operating system refused."""
    subject = f' "{problem.filename}"' if problem.filename else ""
    hint = "run as root, or with sudo" if problem.errno in (1, 13) else ""
    return Diagnostic(f"the kernel refused{subject or ' an operation'}", "", f"{problem.strerror or problem}.", hint)


def serve(channel: protocol.LineChannel) -> None:
    """Be the agent on this channel until the controller goes; a controller that is gone is no error.

    Ctrl-C is the controller's to handle; being terminated ends the conversation, and with it goes what was not committed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _frame: sys.exit(128 + number))
    with contextlib.suppress(BrokenPipeError):
        Agent(channel).serve()


def main() -> None:
    """Be the agent over standard input and output."""
    serve(protocol.LineChannel(sys.stdin.fileno(), sys.stdout.fileno()))
