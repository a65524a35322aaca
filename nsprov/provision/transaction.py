"""The straight line: connect, survey, prepare, apply, probe, ready, commit, on one host or on many, all or nothing.

Every command that changes or compares a lab goes through `converge`; `plan` stops before it acts,
`down` is it with nothing desired. docs/fleet.md says what every host holds after a failure in each phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, NsprovError, RollbackIncomplete, Unreachable
from nsprov.fleet import opened
from nsprov.provision.course import Course
from nsprov.provision.signals import Stopped, heeded, held_off

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.fleet import Fleet, Options, Outcome
    from nsprov.plan.change import Plan
    from nsprov.provision.wanted import Task

_HEAL = "run `nsprov up` or `nsprov down` again: what was begun is written down on the host"


def converge(task: Task, options: Options, *, act: bool, expected: Mapping[str, Plan] | None = None) -> list[Outcome]:
    """Make every host hold its state, or with `act` false only say what that would change.

    All hosts or none: when one cannot, those that have begun go back to what they were.
    """
    with opened(task.hosts, options) as fleet:
        return converge_on(fleet, task, options, act=act, expected=expected)


def converge_on(
    fleet: Fleet, task: Task, options: Options, *, act: bool, expected: Mapping[str, Plan] | None = None
) -> list[Outcome]:
    """Do as `converge` over sessions that are open, and end them."""
    course = Course(fleet, task, options, act, expected)
    if not fleet.failed:
        course.gather()
    if act and not fleet.failed:
        with heeded():
            _act(course)
    elif act:
        _disown(fleet, "not begun, because another host could not")
    return list(fleet.outcomes.values())


def _disown(fleet: Fleet, why: str) -> None:
    """Say of every host that did not fail itself why nothing was done there."""
    for outcome in fleet.outcomes.values():
        if outcome.error is None:
            outcome.undone = why


def _act(course: Course) -> None:
    """Apply and probe on all hosts, and then make it last, or go back."""
    fleet = course.fleet
    try:
        _apply(course)
        if fleet.failed:
            if any(course.states.values()):
                _go_back(fleet)
                _disown(fleet, "put back, because another host failed")
            return
    except Stopped as signal:
        _interrupt(course, signal)
        return
    with held_off():
        _commit(course)
        fleet.close()


def _apply(course: Course) -> None:
    fleet, replies = course.fleet, course.replies
    terms = {
        "generation": max((reply["generation"] for reply in replies.values()), default=0) + 1,
        "together": sorted(name for name, reply in replies.items() if reply["writes"]),
        "on_disconnect": course.options.on_disconnect,
    }
    done = fleet.ask({name: {"verb": "apply", **terms} for name in replies}, patiently=True)
    for name, reply in done.items():
        fleet.outcomes[name].held = reply["held"]
    probes = {} if fleet.failed else course.task.wanted.probes(course.states)
    if probes:
        fleet.ask({name: {"verb": "probe", **request} for name, request in probes.items()}, patiently=True)
    if len(fleet.sessions) > 1:
        fleet.check()  # one that was done early may have gone since


def _commit(course: Course) -> None:
    """Make it last: with many hosts in two rounds, so that one that is lost in between knows what all have decided.

    A host that is lost in the first round may or may not have heard; the others go on, because all of them have verified.
    """
    fleet = course.fleet
    if len(fleet.sessions) > 1:
        fleet.ask({name: {"verb": "ready"} for name in fleet.sessions}, patiently=True)
        if any(outcome.error and not isinstance(outcome.error, Unreachable) for outcome in fleet.outcomes.values()):
            _go_back(fleet)
            _disown(fleet, "put back, because another host failed")
            return
    fleet.ask({name: {"verb": "commit"} for name in fleet.sessions}, patiently=True)
    for outcome in fleet.outcomes.values():
        if isinstance(outcome.error, Unreachable):
            why = "It was lost after every host had verified: it keeps this run's state, or goes back if it had not heard so."
            outcome.error = _explained(outcome.error, why, "see with `nsprov status`, and run `nsprov up` again")


def _interrupt(course: Course, signal: Stopped) -> None:
    """Have every host go back, and do not wait for that any more when another signal comes."""
    fleet = course.fleet
    try:
        fleet.go_back()
    except Stopped:
        fleet.drop()
        for outcome in fleet.outcomes.values():
            if not (outcome.error or ("rollback" in outcome.phases and outcome.phases["rollback"].ok)):
                why = "It goes back by itself when it notices that nobody waits for it."
                outcome.error = RollbackIncomplete(Diagnostic("unknown whether it has gone back", outcome.host, why, _HEAL))
    for outcome in fleet.outcomes.values():
        if isinstance(outcome.error, Unreachable):
            outcome.error = _lost(outcome.error)
        elif outcome.error is None:
            outcome.error = signal.error(outcome.host)


def _go_back(fleet: Fleet) -> None:
    """Roll every host back, keeping the first error of each unless the way back fails too."""
    first = {name: outcome.error for name, outcome in fleet.outcomes.items()}
    for outcome in fleet.outcomes.values():
        outcome.error = None
    fleet.go_back()
    for name, outcome in fleet.outcomes.items():
        if isinstance(outcome.error, Unreachable):
            outcome.error = _lost(outcome.error)
        elif outcome.error is None:
            before = first[name]
            outcome.error = _lost(before) if isinstance(before, Unreachable) else before


def _lost(error: NsprovError) -> Unreachable:
    why = "Unknown what it holds: it puts itself back when it notices that nobody waits for it."
    return _explained(error, why, _HEAL)


def _explained(error: NsprovError, why: str, hint: str) -> Unreachable:
    rows = [(row.summary, row.where, f"{row.detail}\n{why}".lstrip(), row.hint) for row in error.diagnostics]
    return Unreachable(*(Diagnostic(summary, where, detail, own or hint) for summary, where, detail, own in rows))
