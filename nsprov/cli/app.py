"""The commands: each parses, calls `provision`, shows the outcome and gives an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from nsprov import __version__, provision
from nsprov.cli import attach, enter, graph, logs, ns, options, views, workloads
from nsprov.cli.options import Given, Output, Target
from nsprov.cli.progress import Progress
from nsprov.errors import (
    Diagnostic,
    Difference,
    InputError,
    Interrupted,
    NothingMatched,
    NsprovError,
    RollbackIncomplete,
    StalePlan,
)
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import dump_plan, dump_state, load_plan, load_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.fleet import Outcome
    from nsprov.plan.change import Plan

CHANGES_PENDING = 10

app = typer.Typer(
    name="nsprov",
    help="Labs of Linux namespaces, on this host or on many over SSH, from one file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> int:
    """Run the command line and give its exit code; errors are shown, a traceback only with NSPROV_DEBUG."""
    try:
        result = app(standalone_mode=False)
        sys.stdout.flush()
    except NsprovError as problem:
        if os.environ.get("NSPROV_DEBUG"):
            raise
        views.show_error(problem)
        return problem.exit_code
    except KeyboardInterrupt:
        # Wherever it was, it was not while hosts were being changed: that ends in an outcome of its own.
        views.note("interrupted; `nsprov status` says what is there")
        return Interrupted.exit_code
    except BrokenPipeError:
        return views.unread()
    except Exception as problem:
        # typer's own errors know how to show themselves and which exit code they mean.
        show, code = getattr(problem, "show", None), getattr(problem, "exit_code", None)
        if code is None or os.environ.get("NSPROV_DEBUG"):
            raise
        if show is not None:
            show()
        return int(code)
    return result if isinstance(result, int) else 0


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        views.say(f"nsprov {__version__}")
        raise typer.Exit


enter.register(app)
workloads.register(app)
logs.register(app)
attach.register(app)
graph.register(app)
app.add_typer(ns.app, name="ns")


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
    color: Annotated[str, typer.Option(help="When to colour: auto, always, never.")] = "auto",
) -> None:
    """Labs of Linux namespaces, on this host or on many over SSH, from one file."""
    if debug:
        os.environ["NSPROV_DEBUG"] = "1"
    os.environ["NSPROV_COLOR"] = color


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
    code = _report(target.lab, outcomes, returned=act and not going)
    if views.show_held(outcomes) and not code:
        return Difference.exit_code
    return code


def _report(lab: str, outcomes: Sequence[Outcome], *, returned: bool) -> int:
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


@app.command()
@options.shared()
def up(given: Given) -> int:
    """Make the lab hold what its file says, or carry out a plan that `plan --out` has saved."""
    path = options.find_topology(given.topology)
    saved = options.saved_plan(path)
    if saved is None:
        return _converge(given, options.load_target_early(given), act=True)
    try:
        lab = str(saved["lab"])
        states = {host: load_state(row["desired"], SCHEMAS) for host, row in saved["hosts"].items()}
        plans = {host: load_plan(row["plan"], SCHEMAS) for host, row in saved["hosts"].items()}
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        hint = "make a new one with `nsprov plan --out FILE`"
        raise InputError(Diagnostic("the saved plan is damaged", path, f"Missing or malformed: {problem}.", hint)) from problem
    inventory = options.load_inventory(given)
    hosts = options.entered([inventory.host(name) for name in states], given)
    return _converge(given, Target(lab, path, states, hosts), act=True, expected=plans)


@app.command()
@options.shared()
def plan(
    given: Given,
    out: Annotated[str | None, typer.Option("--out", help="Save the plan, for `up FILE`.")] = None,
    detailed_exitcode: Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 10 when changes are pending.")] = False,
) -> int:
    """Show what `up` would do, and why; change nothing."""
    target = options.load_target_early(given)
    return _compare(given, target, out=out, detailed=detailed_exitcode)


@app.command()
@options.shared()
def diff(given: Given) -> int:
    """Show how the host differs from the file; exit 10 if it does."""
    return _compare(given, options.load_target_early(given), detailed=True)


def _compare(given: Given, target: Target, *, out: str | None = None, detailed: bool = False) -> int:
    began = time.monotonic()
    outcomes = provision.converge(
        target.lab, target.states, target.hosts, given.run_options(fingerprint=out is not None, early=target.early), act=False
    )
    views.show_outcomes(target.lab, outcomes, given.output, acted=False, going=False, verbose=given.verbose)
    if given.timing:
        views.show_timing(time.monotonic() - began, outcomes)
    code = _report(target.lab, outcomes, returned=False)
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
        json.dump({options.PLAN_FORMAT: 1, "lab": target.lab, "topology": target.path, "hosts": rows}, file)
    views.note(f"saved to {path}; carry it out with: nsprov up {path}")


@app.command()
@options.shared()
def down(given: Given) -> int:
    """Take a lab down, by its file or with --lab by its name alone; leave nothing of it."""
    target = _target_by_name(given)
    empty = Target(target.lab, target.path, {host.name: {} for host in target.hosts}, target.hosts)
    return _converge(given, empty, act=True)


def _target_by_name(given: Given) -> Target:
    """Give the lab and its hosts; of a file only if no name is given, so that a lab can go when its file is gone."""
    is_file = given.topology is None or os.path.exists(given.topology) or not _is_name(given.topology)
    if given.lab is None and is_file:
        return options.load_target(given)
    name = str(given.lab or given.topology)
    if not _is_name(name):
        raise InputError(Diagnostic(f'"{name}" is no name of a lab', "--lab", hint="use lower-case letters, digits and -"))
    inventory = options.load_inventory(given)
    hosts = options.entered(inventory.select("all"), given)
    return Target(name, "", {host.name: {} for host in hosts}, hosts)


def _is_name(text: str) -> bool:
    return text[:1].isalpha() and text.replace("-", "").isalnum() and text.isascii() and text.islower()


@app.command()
@options.shared()
def status(
    given: Given,
    detailed_exitcode: Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 10 when the lab has drifted.")] = False,
) -> int:
    """Say whether the lab is as it was applied, by its name (--lab) or its file."""
    target = _target_by_name(given)
    began = time.monotonic()
    found = provision.drift(target.lab, target.hosts, given.run_options())
    views.show_outcomes(target.lab, found, given.output, acted=False, going=False, verbose=given.verbose)
    if given.timing:
        views.show_timing(time.monotonic() - began, found)
    if given.output is Output.TEXT:
        views.show_oom_kills(found)
    code = _report(target.lab, found, returned=False)
    return code or (CHANGES_PENDING if detailed_exitcode and any(outcome.changed for outcome in found) else 0)


@app.command()
@options.shared()
def audit(given: Given) -> int:
    """Prove that nothing of a lab is left on its hosts, by looking at the machine; exit 7 if something is."""
    target = _target_by_name(given)
    replies = provision.query("audit", target.lab, target.hosts, given.run_options())
    left = {host: [Diagnostic.from_dict(row) for row in reply["left"]] for host, reply in replies.items()}
    if given.output is Output.TEXT:
        for host, rows in left.items():
            views.say(f"lab {target.lab} on {host}: {f'{len(rows)} things are there' if rows else 'nothing is left'}")
            for row in rows:
                views.say(f"  {views.printable(row.summary)}  {views.printable(row.where)}  {views.printable(row.detail)}")
    else:
        views.dump({"lab": target.lab, "hosts": {host: [row.as_dict() for row in rows] for host, rows in left.items()}})
    return Difference.exit_code if any(left.values()) else 0


@app.command("ls")
@options.shared(topology=options.TopologyOption)
def list_labs(given: Given) -> int:
    """List the labs on this host, or on all hosts of an inventory."""
    inventory = options.load_inventory(given)
    hosts = options.entered(inventory.select("all"), given)
    replies = provision.query("labs", "", hosts, given.run_options())
    rows = [{"host": host, **row} for host, reply in replies.items() for row in reply["labs"]]
    if given.output is Output.TEXT:
        cells = [(row["lab"], row["host"], str(row["nodes"]), row["since"]) for row in rows]
        views.show_table([("LAB", "HOST", "NODES", "SINCE"), *cells])
    else:
        views.dump(rows)
    return 0


@app.command()
@options.shared()
def validate(given: Given) -> int:
    """Check a topology file and all that can be known of it without a host."""
    target = options.load_target(given)
    total = sum(len(state) for state in target.states.values())
    if given.output is Output.TEXT:
        views.say(f"{target.path} is valid: lab {target.lab}, {total} resources on {len(target.states)} host(s)")
    else:
        resources = {host: len(state) for host, state in target.states.items()}
        views.dump({"lab": target.lab, "valid": True, "resources": resources})
    return 0


@app.command()
@options.shared(topology=options.TopologyOption)
def render(given: Given, node: Annotated[str | None, typer.Argument(help="Only this node's files.")] = None) -> int:
    """Show the files that nodes get, rendered."""
    target = options.load_target(given)
    files = [r for state in target.states.values() for r in state.values() if r.kind == "file"]
    chosen = [vars(file) for file in files if node is None or vars(file)["owner"] in (node, "@lab")]
    if node is not None and not any(file["owner"] == node for file in chosen):
        raise NothingMatched(Diagnostic(f'there is no node "{node}"', target.path, hint="use a name that the topology has"))
    if given.output is Output.TEXT:
        for file in chosen:
            views.say(f"# {file['owner']}:{file['path']}  mode {file['mode']:04o}\n{file['content']}")
    else:
        views.dump(chosen)
    return 0


@app.command()
def schema() -> int:
    """Print the JSON Schema of topology files, for editors."""
    from nsprov.topology import json_schema  # noqa: PLC0415 - for start-up

    views.dump(json_schema())
    return 0
