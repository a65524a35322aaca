"""The commands that make hosts hold something, or say what that would change: up, plan, diff, down."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from nsprov import provision
from nsprov.cli import options, targets, views
from nsprov.cli.options import Given
from nsprov.cli.progress import Progress
from nsprov.cli.targets import Target
from nsprov.errors import Diagnostic, Difference, InputError, Interrupted, RollbackIncomplete, StalePlan
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import dump_plan, dump_state, load_plan, load_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.fleet import Outcome
    from nsprov.plan.change import Plan

CHANGES_PENDING = 10


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (up, plan, diff, down):
        app.command()(command)


def _converge(given: Given, target: Target, *, act: bool, expected: dict[str, Plan] | None = None) -> int:
    """Run, show, and give the exit code of the worst host."""
    began = time.monotonic()
    with Progress(given) as progress:
        outcomes = provision.converge(
            target.lab,
            target.states,
            target.hosts,
            given.run_options(progress=progress, early=target.early),
            act=act,
            expected=expected,
        )
    # What is left is to say what was done: Ctrl-C ends that, and must not claim that nothing was.
    signal.signal(signal.SIGINT, lambda *_: os._exit(Interrupted.exit_code))
    going = not any(target.states.values())
    views.show_outcomes(target.lab, outcomes, given.output, acted=act, going=going, verbose=given.verbose)
    if given.timing:
        views.show_timing(time.monotonic() - began, outcomes)
    code = report(target.lab, outcomes, returned=act and not going)
    if views.show_held(outcomes) and not code:
        return Difference.exit_code
    return code


def report(lab: str, outcomes: Sequence[Outcome], *, returned: bool) -> int:
    """Show the failures and give the exit code of the worst one, 0 if there is none."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    for error in errors:
        views.show_error(error)
    if not errors:
        return 0
    worst = max(errors, key=lambda error: (isinstance(error, RollbackIncomplete), error.exit_code))
    if returned and worst.exit_code in (5, 7, 130) and not isinstance(worst, StalePlan):
        views.note(f"lab {lab} is as it was before this run")
    return worst.exit_code


@options.shared()
def up(given: Given) -> int:
    """Make the lab hold what its file says, or carry out a plan that `plan --out` has saved."""
    path = targets.find_topology(given.topology)
    saved = targets.saved_plan(path)
    if saved is None:
        return _converge(given, targets.load_target_early(given), act=True)
    try:
        lab = str(saved["lab"])
        states = {host: load_state(row["desired"], SCHEMAS) for host, row in saved["hosts"].items()}
        plans = {host: load_plan(row["plan"], SCHEMAS) for host, row in saved["hosts"].items()}
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        hint = "make a new one with `nsprov plan --out FILE`"
        raise InputError(Diagnostic("the saved plan is damaged", path, f"Missing or malformed: {problem}.", hint)) from problem
    inventory = targets.load_inventory(given)
    hosts = targets.entered([inventory.host(name) for name in states], given)
    return _converge(given, Target(lab, path, states, hosts), act=True, expected=plans)


@options.shared()
def plan(
    given: Given,
    out: Annotated[str | None, typer.Option("--out", help="Save the plan, for `up FILE`.")] = None,
    detailed_exitcode: Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 10 when changes are pending.")] = False,
) -> int:
    """Show what `up` would do, and why; change nothing."""
    target = targets.load_target_early(given)
    return _compare(given, target, out=out, detailed=detailed_exitcode)


@options.shared()
def diff(given: Given) -> int:
    """Show how the host differs from the file; exit 10 if it does."""
    return _compare(given, targets.load_target_early(given), detailed=True)


def _compare(given: Given, target: Target, *, out: str | None = None, detailed: bool = False) -> int:
    began = time.monotonic()
    outcomes = provision.converge(
        target.lab, target.states, target.hosts, given.run_options(fingerprint=out is not None, early=target.early), act=False
    )
    views.show_outcomes(target.lab, outcomes, given.output, acted=False, going=False, verbose=given.verbose)
    if given.timing:
        views.show_timing(time.monotonic() - began, outcomes)
    code = report(target.lab, outcomes, returned=False)
    if out is not None and not code:
        _save(out, target, outcomes)
    return code or (CHANGES_PENDING if detailed and any(outcome.changed for outcome in outcomes) else 0)


def _save(path: str, target: Target, outcomes: Sequence[Outcome]) -> None:
    rows = {
        outcome.host: {"desired": dump_state(target.states[outcome.host].values()), "plan": dump_plan(outcome.plan)}
        for outcome in outcomes
        if outcome.plan is not None
    }
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump({targets.PLAN_FORMAT: 1, "lab": target.lab, "topology": target.path, "hosts": rows}, file)
    views.note(f"saved to {path}; carry it out with: nsprov up {path}")


@options.shared()
def down(given: Given) -> int:
    """Take a lab down, by its file or with --lab by its name alone; leave nothing of it."""
    target = targets.by_name(given)
    empty = Target(target.lab, target.path, {host.name: {} for host in target.hosts}, target.hosts)
    return _converge(given, empty, act=True)
