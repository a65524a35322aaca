"""The commands that look and change nothing: status, audit, ls, validate, render, schema."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from nsprov import inquiry, provision
from nsprov.cli import limits, options, outcome_views, reaching, targets, views
from nsprov.cli.converge import CHANGES_PENDING, report
from nsprov.cli.options import Given, Output
from nsprov.errors import Diagnostic, Difference, NothingMatched


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (status, audit, validate, render, schema):
        app.command()(command)
    app.command("ls")(list_labs)


@options.shared()
def status(
    given: Given,
    detailed_exitcode: Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 10 when the lab has drifted.")] = False,
) -> int:
    """Say whether the lab is as it was applied, by its name (--lab) or its file."""
    target = targets.by_name(given)
    began = time.monotonic()
    found = provision.drift(target.lab, target.hosts, given.run_options())
    outcome_views.show_outcomes(target.lab, found, given.output, acted=False, going=False, verbose=given.verbose)
    outcome_views.show_end(given, found, time.monotonic() - began)
    if given.output is Output.TEXT:
        outcome_views.show_oom_kills(found)
    code = report(target.lab, found, returned=False)
    return code or (CHANGES_PENDING if detailed_exitcode and any(outcome.changed for outcome in found) else 0)


@options.shared()
def audit(given: Given) -> int:
    """Prove that nothing of a lab is left on its hosts, by looking at the machine; exit 7 if something is."""
    target = targets.by_name(given)
    found = inquiry.ask("audit", target.lab, target.hosts, given.run_options())
    left = {host: [Diagnostic.from_dict(row) for row in reply["left"]] for host, reply in found.replies.items()}
    if given.output is Output.TEXT:
        for host, rows in left.items():
            views.say(f"lab {target.lab} on {host}: {f'{len(rows)} things are there' if rows else 'nothing is left'}")
            for row in rows:
                views.say(f"  {views.printable(row.summary)}  {views.printable(row.where)}  {views.printable(row.detail)}")
    else:
        views.dump({"lab": target.lab, "hosts": {host: [row.as_dict() for row in rows] for host, rows in left.items()}})
    return max(report(target.lab, found.outcomes, returned=False), Difference.exit_code if any(left.values()) else 0)


@options.shared(topology=options.TopologyOption)
def list_labs(given: Given) -> int:
    """List the labs on this host, or on all hosts of an inventory."""
    hosts = reaching.entered(limits.chosen(given, targets.load_inventory(given)), given)
    found = inquiry.ask("labs", "", hosts, given.run_options())
    rows = sorted(found.rows("labs"), key=lambda row: (row["lab"], row["host"]))
    if given.output is Output.TEXT:
        cells = [(row["lab"], row["host"], str(row["nodes"]), row["since"]) for row in rows]
        views.show_table([("LAB", "HOST", "NODES", "SINCE"), *cells])
    else:
        views.dump(rows)
    return report("", found.outcomes, returned=False)


@options.shared()
def validate(given: Given) -> int:
    """Check a topology file and all that can be known of it without a host."""
    target = targets.load_target(given)
    total = sum(len(state) for state in target.states.values())
    if given.output is Output.TEXT:
        views.say(f"{target.path} is valid: lab {target.lab}, {total} resources on {len(target.states)} host(s)")
    else:
        resources = {host: len(state) for host, state in target.states.items()}
        views.dump({"lab": target.lab, "valid": True, "resources": resources})
    return 0


@options.shared(topology=options.TopologyOption)
def render(given: Given, node: Annotated[str | None, typer.Argument(help="Only this node's files.")] = None) -> int:
    """Show the files that nodes get, rendered."""
    target = targets.load_target(given)
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


def schema() -> int:
    """Print the JSON Schema of topology files, for editors."""
    from nsprov.topology import json_schema  # noqa: PLC0415 - for start-up

    views.dump(json_schema())
    return 0
