"""What workloads say and what becomes of them: `logs` and `events`, of all nodes of a lab on all hosts, and as it happens."""

from __future__ import annotations

import operator
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsprov.cli import log_views, options
from nsprov.cli.options import Given
from nsprov.cli.times import moment
from nsprov.cli.workloads import at, report
from nsprov.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.operate import Operation


class Stream(str, Enum):
    """The outputs of a workload."""

    STDOUT = "stdout"
    STDERR = "stderr"


Targets = Annotated[
    list[str] | None, typer.Argument(help="Only these workloads; a node alone is all of its.", metavar="[NODE[/WORKLOAD]]...")
]
Nodes = Annotated[list[str] | None, typer.Argument(help="Only these nodes.", metavar="[NODE]...")]
TimeoutOption = Annotated[float | None, typer.Option("--timeout", help="Seconds for a host to answer; default 10.", min=0.1)]
ForksOption = Annotated[int, typer.Option("--forks", help="How many hosts to work on at a time.", min=1, max=1024)]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Go on as more comes, until Ctrl-C.")]
TailOption = Annotated[int | None, typer.Option("--tail", "-n", help="Only the last N lines of each workload.", min=0)]
SinceOption = Annotated[str | None, typer.Option("--since", help="From then on: 10m (ago), or 2026-11-22T05:01:02Z.")]
TimestampsOption = Annotated[bool, typer.Option("--timestamps", "-T", help="Put the time before each line.")]
StreamOption = Annotated[Stream | None, typer.Option("--stream", help="Only this output.")]
RawOption = Annotated[bool, typer.Option("--raw", help="Write every byte as it is, nothing escaped.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (logs, events):
        app.command()(options.shared(topology=options.TopologyOption, forks=ForksOption, timeout=TimeoutOption)(command))


def logs(  # noqa: PLR0913, PLR0917 - each is an option of the command
    given: Given,
    workloads: Targets = None,
    follow: FollowOption = False,
    tail: TailOption = None,
    since: SinceOption = None,
    timestamps: TimestampsOption = False,
    stream: StreamOption = None,
    raw: RawOption = False,
) -> int:
    """Show what workloads have said, in the order of time; control characters are escaped."""
    terms = {"follow": follow, "raw": raw, "tail": tail, "stream": stream.value if stream else "", "since": ""}
    if since is not None:
        terms["since"] = moment(since, "--since")
    with at(given, workloads or ()) as operation:
        choices = operation.choose(workloads or ())
        requests = {host: {"targets": one.targets, "nodes": one.nodes, **terms} for host, one in choices.items()}
        names = [f"{node}/{name}" for one in choices.values() for node, name in one.targets]
        text = log_views.LogText(names, timestamps=timestamps, raw=raw)
        with log_views.Rows(given.output, text, live=follow) as rows:
            if follow:
                return _follow(operation, "logs", requests, lambda host, row: rows(log_views.log_row(host, row)))
            for host, row in operation.merged("logs", requests, operator.itemgetter(2)):
                rows(log_views.log_row(host, row))
        return report(operation.failures)


def events(given: Given, nodes: Nodes = None, follow: FollowOption = False) -> int:
    """Show what happened last to each workload, or with -f what happens from now on: started, ready, exited, ..."""
    with at(given, nodes or ()) as operation:
        chosen = operation.whole(nodes) if nodes else dict.fromkeys(operation.hosts, ())
        with log_views.Rows(given.output, log_views.event_text, live=follow) as rows:
            if follow:
                requests = {host: {"nodes": here} for host, here in chosen.items()}
                return _follow(operation, "events", requests, lambda host, row: rows(log_views.event_row(host, row)))
            for row in sorted(operation.workloads, key=lambda row: row["since"] or 0.0):
                if row["since"] is not None:
                    rows(log_views.last_event(row))
        return report(operation.failures)


def _follow(operation: Operation, verb: str, requests: Mapping[str, Any], take: Callable[[str, Any], None]) -> int:
    """Show rows as they come, and a host that is lost at once; Ctrl-C is how one ends it, and needs no words."""
    codes = [report(operation.failures)]
    try:
        operation.stream(verb, requests, take, lambda failure: codes.append(report([failure])))
    except KeyboardInterrupt:
        return Interrupted.exit_code
    return max(codes)
