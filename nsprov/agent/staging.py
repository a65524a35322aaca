"""Resources that tasks ask for, one by one, as changes of what a lab holds; a task names a part of it and not the whole.

What else the lab holds stays, is mended where it has drifted, and is what a task may build upon, a topology's lab included.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nsprov.agent.parts import changed
from nsprov.agent.run import Run, Terms
from nsprov.agent.shares import Shares
from nsprov.agent.transaction import lab_name, unexpected
from nsprov.errors import Diagnostic, Difference, InputError, NsprovError, StepFailed
from nsprov.kernel.lab import Lab
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.agent.parts import Wants
    from nsprov.plan.change import Change
    from nsprov.plan.resource import Ref, Resource

    Step = Mapping[str, Any]
    Result = dict[str, Any]
    State = Mapping[Ref, Resource]


class Stages:
    """Applies stages; `pretended` is what labs would hold after those that were only checked."""

    def __init__(self, heed: Callable[[], None]) -> None:
        """Store what stops a stage when the controller has gone."""
        self._heed = heed
        self._pretended: dict[str, State] = {}

    def apply(self, steps: Sequence[Step]) -> list[Result]:
        """Make a lab hold what the steps ask for, all of them or none, and give each step's result."""
        try:
            if os.geteuid() != 0:
                raise InputError(Diagnostic("only root can make what a lab holds", hint="say `become: true`"))
            lab = lab_name(steps[0]["resource"])
            wants = [(_resource(step), bool(step["resource"]["present"])) for step in steps]
            if steps[0].get("check"):
                return self._check(lab, steps, wants)
            with Lab(lab).locked(f"a playbook, pid {os.getpid()}"):
                return self._act(lab, steps, wants)
        except NsprovError as problem:
            return _failures(steps, problem)
        except OSError as problem:
            return _failures(steps, StepFailed(unexpected(problem)))

    def _check(self, lab: str, steps: Sequence[Step], wants: Wants) -> list[Result]:
        """Compare with what is there, or would be there after what was checked before."""
        run = Run(lab, {})
        run.recall()
        before = self._pretended.get(lab, run.committed)
        run.desired = changed(before, wants)
        run.look()
        if lab in self._pretended:
            run.applied = run.observed = before
        plan = run.plan()
        self._pretended[lab] = run.desired
        return Shares(steps, wants).results(plan)

    def _act(self, lab: str, steps: Sequence[Step], wants: Wants) -> list[Result]:
        run = Run(lab, {})
        run.recall()
        run.desired = changed(run.committed, wants)
        run.look()
        run.terms = Terms(run.members, returns=True, generation=run.generation, together=run.together)
        plan = run.plan()
        run.kernel.heed = self._heed
        try:
            run.execute(lambda *_: self._heed())
            _insist(run.verify())
            run.draft()
        except BaseException as problem:
            _go_back(run, problem)
            raise
        run.commit()
        if lab in self._pretended:
            self._pretended[lab] = changed(self._pretended[lab], wants)
        return Shares(steps, wants).results(plan)


def _go_back(run: Run, problem: BaseException) -> None:
    """Put everything back, and say of an error what of it cannot be: it is written down on the host."""
    try:
        left = [str(change.ref) for change in run.rollback()]
        if not left:
            run.keep_record()
    except NsprovError as other:
        left = [other.diagnostics[0].where or other.diagnostics[0].summary]
    except OSError as other:
        left = [unexpected(other).detail]
    if left and isinstance(problem, NsprovError):
        detail = f"It could not all be put back: {', '.join(left)}."
        problem.diagnostics = (*problem.diagnostics, Diagnostic(detail, "left"))


def _insist(left: Sequence[Change]) -> None:
    if left:
        hint = "see what else changes it: another tool, a daemon in the node, a sysctl of the host"
        raise Difference(*(Diagnostic(f'"{one.ref}" is not as asked', str(one.ref), one.reason, hint) for one in left))


def _resource(step: Step) -> Resource:
    return next(iter(load_state([step["resource"]["row"]], SCHEMAS).values()))


def _failures(steps: Sequence[Step], problem: NsprovError) -> list[Result]:
    """Say of the step that an error is about that it failed, and of those before it that nothing of them holds.

    An error that is about none of them is told of the first.
    """
    named = {diagnostic.where: diagnostic for diagnostic in problem.diagnostics}
    refs = [_ref(step) for step in steps]
    guilty = next((index for index, ref in enumerate(refs) if ref in named), 0)
    why = "not kept, because a task that is applied together with it failed"
    found: list[Result] = [{"changed": False, "ref": ref, "msg": why} for ref in refs[:guilty]]
    told = named.get(refs[guilty], problem.diagnostics[0])
    parts = [told.summary, told.detail, told.hint, named["left"].summary if "left" in named else ""]
    where = f"{told.where}: " if told.where not in ("", refs[guilty]) and told.where not in told.summary else ""
    message = where + ". ".join(part.rstrip(".") for part in parts if part)
    return [*found, {"changed": False, "failed": True, "ref": refs[guilty], "msg": message}]


def _ref(step: Step) -> str:
    try:
        return str(_resource(step).ref())
    except NsprovError:
        return ""
