"""The commands that make hosts hold something, or say what that would change: up, plan, diff, down."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from nsprov import memory, provision
from nsprov.cli import matrix, options, outcome_views, reaching, targets, views
from nsprov.cli.options import Given
from nsprov.cli.progress import Progress
from nsprov.cli.targets import Target
from nsprov.errors import Diagnostic, Difference, InputError, Interrupted, RollbackIncomplete, StalePlan, Unreachable
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import dump_plan, dump_state, load_plan, load_state
from nsprov.resolve.wireguard import makes_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.fleet import Outcome
    from nsprov.plan.change import Plan

CHANGES_PENDING = 10


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (up, plan, diff, down):
        app.command()(command)


def _converge(
    given: Given,
    target: Target,
    *,
    forget: Sequence[str] | None = None,
    going: bool = False,
    expected: dict[str, Plan] | None = None,
) -> int:
    """Run, show, remember, and give the exit code of the worst host."""
    began = time.monotonic()
    with Progress(given, target.hosts) as progress:
        options = given.run_options(progress=progress, early=target.early)
        outcomes = provision.converge(_task(given, target, forget), options, act=True, expected=expected)
    # What is left is to say what was done: Ctrl-C ends that, and must not claim that nothing was.
    signal.signal(signal.SIGINT, lambda *_: os._exit(Interrupted.exit_code))
    outcome_views.show_outcomes(target.lab, outcomes, given.output, acted=True, going=going, verbose=given.verbose)
    outcome_views.show_end(given, outcomes, time.monotonic() - began)
    code = report(target.lab, outcomes, returned=not going)
    _remember(given, target.lab, outcomes, settled=not code)
    if outcome_views.show_held(outcomes) and not code:
        return Difference.exit_code
    return code


def _task(given: Given, target: Target, forget: Sequence[str] | None = None) -> provision.Task:
    remembered = [name for name in memory.hosts_of(target.lab) if name not in (forget or ())]
    return provision.Task(
        target.lab, target.wanted, target.hosts, target.find, remembered, frozenset(forget or ()), given.limit is not None
    )


def _remember(given: Given, lab: str, outcomes: Sequence[Outcome], *, settled: bool) -> None:
    """Remember which hosts hold something of a lab now, as far as this run can tell."""
    holding = {outcome.host for outcome in outcomes if outcome.desired or outcome.error or outcome.undone}
    gone = {outcome.host for outcome in outcomes} - holding
    earlier = set() if settled and given.limit is None else set(memory.hosts_of(lab)) - gone
    memory.remember(lab, holding | earlier)


def report(lab: str, outcomes: Sequence[Outcome], *, returned: bool) -> int:
    """Show the failures, remember whose they are, and give the exit code of the worst one, 0 if there is none."""
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if [outcome.host for outcome in outcomes] != ["localhost"]:
        memory.remember_failed(outcome.host for outcome in outcomes if outcome.error is not None)
    matrix.show_failures(outcomes)
    if not errors:
        return 0
    if len(outcomes) > 1:
        again = "; mend that and run the same again" if returned else "; `--limit @failed` tries them alone again"
        views.note(f"`nsprov doctor @failed` looks at the hosts that failed{again}")
    worst = max(errors, key=lambda error: (isinstance(error, RollbackIncomplete), error.exit_code))
    unsure = any(isinstance(error, (RollbackIncomplete, Unreachable)) for error in errors)
    put_back = isinstance(worst, Interrupted) or (worst.exit_code in (5, 7) and not isinstance(worst, StalePlan))
    if returned and not unsure and put_back:
        views.note(f"lab {lab} is as it was before this run")
    return worst.exit_code


ForgetOption = Annotated[
    list[str] | None, typer.Option("--forget", help="A host that is gone for good, with what it held of the lab.")
]


RebalanceOption = Annotated[bool, typer.Option("--rebalance", help="Place every node anew, wherever it is now.")]


@options.shared()
def up(given: Given, forget: ForgetOption = None, *, rebalance: RebalanceOption = False) -> int:
    """Make the lab hold what its file says, or carry out a plan that `plan --out` has saved."""
    path = targets.find_topology(given.topology)
    saved = targets.saved_plan(path)
    if saved is None:
        return _converge(given, targets.load_target_early(given, rebalance=rebalance), forget=forget)
    if given.limit is not None:
        raise InputError(Diagnostic("a saved plan is carried out on all of its hosts", path, hint="leave out -l"))
    try:
        lab = str(saved["lab"])
        states = {host: load_state(row["desired"], SCHEMAS) for host, row in saved["hosts"].items()}
        plans = {host: load_plan(row["plan"], SCHEMAS) for host, row in saved["hosts"].items()}
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        hint = "make a new one with `nsprov plan --out FILE`"
        raise InputError(Diagnostic("the saved plan is damaged", path, f"Missing or malformed: {problem}.", hint)) from problem
    inventory = targets.load_inventory(given)
    hosts = reaching.entered([inventory.host(name) for name in states], given)
    target = Target(lab, path, provision.Settled(states), hosts, targets.finder(inventory, given))
    return _converge(given, target, forget=forget, expected=plans)


@options.shared()
def plan(
    given: Given,
    out: Annotated[str | None, typer.Option("--out", help="Save the plan, for `up FILE`.")] = None,
    detailed_exitcode: Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 10 when changes are pending.")] = False,
    rebalance: RebalanceOption = False,
) -> int:
    """Show what `up` would do, and why; change nothing."""
    target = targets.load_target_early(given, rebalance=rebalance)
    return _compare(given, target, out=out, detailed=detailed_exitcode)


@options.shared()
def diff(given: Given) -> int:
    """Show how the host differs from the file; exit 10 if it does."""
    return _compare(given, targets.load_target_early(given), detailed=True)


def _compare(given: Given, target: Target, *, out: str | None = None, detailed: bool = False) -> int:
    began = time.monotonic()
    run = given.run_options(fingerprint=out is not None, early=target.early)
    outcomes = provision.converge(_task(given, target), run, act=False)
    outcome_views.show_outcomes(target.lab, outcomes, given.output, acted=False, going=False, verbose=given.verbose)
    outcome_views.show_end(given, outcomes, time.monotonic() - began)
    code = report(target.lab, outcomes, returned=False)
    if out is not None and not code:
        _save(out, target, outcomes)
    return code or (CHANGES_PENDING if detailed and any(outcome.changed for outcome in outcomes) else 0)


def _save(path: str, target: Target, outcomes: Sequence[Outcome]) -> None:
    unmade = [f"{it.host}/{change.ref}" for it in outcomes if it.plan for change in it.plan.changes if makes_key(change)]
    if unmade:
        detail = "A key is made by the run that needs it, and until then it is in nobody's memory but that of its host's agent."
        hint = "run `nsprov up` on the topology itself; once the keys are there, plans can be saved"
        raise InputError(*(Diagnostic("a plan that makes keys cannot be saved", ref, detail, hint) for ref in unmade))
    rows = {
        outcome.host: {"desired": dump_state(outcome.desired.values()), "plan": dump_plan(outcome.plan)}
        for outcome in outcomes
        if outcome.plan is not None
    }
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump({targets.PLAN_FORMAT: 1, "lab": target.lab, "topology": target.path, "hosts": rows}, file)
    views.note(f"saved to {path}; carry it out with: nsprov up {path}")


@options.shared()
def down(given: Given, forget: ForgetOption = None) -> int:
    """Take a lab down, by its file or with --lab by its name alone; leave nothing of it."""
    target = targets.by_name(given).whole()
    nothing = provision.Settled({host.name: {} for host in target.hosts})
    return _converge(given, replace(target, wanted=nothing), forget=forget, going=True)
