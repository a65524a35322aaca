"""What runs in nodes: `ps`, `start`, `stop`, `restart`, `kill`, `wait`, `freeze`, `thaw`; here and on other hosts."""

from __future__ import annotations

import signal as signals
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsprov.cli import options, views, whereabouts, workload_views
from nsprov.cli.options import Given, Output
from nsprov.cli.times import seconds
from nsprov.errors import Diagnostic, Difference, InputError
from nsprov.operate import Operation, looking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from nsprov.errors import NsprovError

TIMED_OUT = 124
"""What timeout(1) exits with."""


class Goal(str, Enum):
    """What can be waited for."""

    READY = "ready"
    EXIT = "exit"


Nodes = Annotated[list[str] | None, typer.Argument(help="Only these nodes.", metavar="[NODE]...")]
SomeNodes = Annotated[list[str], typer.Argument(help="The nodes.", metavar="NODE...")]
Targets = Annotated[list[str], typer.Argument(help="Workloads; a node alone is all of its.", metavar="NODE[/WORKLOAD]...")]
Single = Annotated[str, typer.Argument(help="The workload.", metavar="NODE/WORKLOAD")]
SignalOption = Annotated[str, typer.Option("--signal", "-s", help="The signal, by name or number.")]
GoalOption = Annotated[Goal, typer.Option("--for", help="Wait until it is ready, or until it has exited for good.")]
TimeoutOption = Annotated[str | None, typer.Option("--timeout", help="How long to wait at most: 30, 500ms, 2m.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (ps, start, stop, restart, kill, wait, freeze, thaw):
        app.command()(options.shared(topology=options.TopologyOption)(command))


def at(given: Given, names: Sequence[str]) -> AbstractContextManager[Operation]:
    """Look at the workloads that are meant, wherever they are."""
    nodes = [name.partition("/")[0] for name in names]
    lab, hosts = whereabouts.find(given, nodes)
    return looking(lab, hosts, given.run_options(), nodes)


def report(problems: Iterable[NsprovError]) -> int:
    """Show what went wrong and give the exit code of the worst, 0 if all is well."""
    codes = [0]
    for problem in problems:
        views.show_error(problem)
        codes.append(problem.exit_code)
    return max(codes)


def ps(given: Given, nodes: Nodes = None) -> int:
    """List the workloads of a lab, or of some of its nodes: state, process, restarts, exit, health, OOM kills."""
    with at(given, nodes or ()) as operation:
        if nodes:
            operation.whole(nodes)
        workload_views.show_workloads(operation.lab, operation.workloads, given.output)
        return report(operation.failures)


def start(given: Given, workloads: Targets) -> int:
    """Start workloads that are down, those that others come after first."""
    return _control(given, workloads, "start")


def stop(given: Given, workloads: Targets) -> int:
    """Stop workloads, each by its own signal and within its grace; they stay down until `start` or `up`."""
    return _control(given, workloads, "stop")


def restart(given: Given, workloads: Targets) -> int:
    """Stop workloads and start them again."""
    return _control(given, workloads, "restart")


def kill(given: Given, workloads: Targets, signal: SignalOption = "KILL") -> int:
    """Send workloads a signal; what is set for their end then happens."""
    return _control(given, workloads, "kill", signal=_signal(signal))


def _signal(text: str) -> int:
    """Read a signal, as TERM, SIGTERM or 15.

    Raises:
        InputError: there is none such.

    """
    known = {name.removeprefix("SIG"): int(number) for name, number in signals.Signals.__members__.items()}
    known.update({str(int(number)): int(number) for number in signals.valid_signals()})
    number = known.get(text.upper().removeprefix("SIG"))
    if number is None:
        raise InputError(Diagnostic(f'"{text}" is not a signal', "--signal", hint="write a name or a number, as TERM or 15"))
    return number


def _control(given: Given, names: Sequence[str], action: str, **terms: Any) -> int:
    """Do one thing to all that is named, on all hosts at once; nothing if a host cannot be asked or a name is wrong."""
    with at(given, names) as operation:
        for failure in operation.failures:
            raise failure
        choices = operation.choose(names)
        rows = operation.ask(
            "control", {host: {"action": action, "targets": choice.targets, **terms} for host, choice in choices.items()}
        )
    words = f"sent {workload_views.signal_name(terms['signal'])}" if action == "kill" else ""
    return _told(operation.lab, rows, given, words)


def _told(lab: str, rows: Sequence[Mapping[str, Any]], given: Given, words: str = "") -> int:
    """Show what became of each, or what was done; exit 7 if one is not as asked."""
    if given.output is Output.TEXT:
        for row in rows:
            if "error" not in row:
                views.say(f"{workload_views.place(row)}: {words or workload_views.state(row)}")
    else:
        workload_views.dump_workloads(lab, rows, given.output)
    failed = [Diagnostic.from_dict({**row, "summary": row["error"]}) for row in rows if "error" in row]
    return report([Difference(*failed)] if failed else [])


def wait(given: Given, workload: Single, goal: GoalOption = Goal.EXIT, timeout: TimeoutOption = None) -> int:
    """Wait for a workload to exit, and print its exit code; or to be ready. Exit 124 when time is up, 7 if it failed first."""
    if "/" not in workload:
        raise InputError(Diagnostic(f'"{workload}" is a node', "NODE/WORKLOAD", hint="name one workload of it"))
    limit = None if timeout is None else seconds(timeout, "--timeout")
    with at(given, [workload]) as operation:
        ((host, choice),) = operation.choose([workload]).items()
        terms = {"action": "wait", "targets": choice.targets, "for": goal.value, "timeout": limit}
        rows = operation.ask("control", {host: terms})
    if given.output is Output.TEXT and "error" not in rows[0]:
        views.say(workload_views.code(rows[0]) if goal is Goal.EXIT else rows[0]["state"])
        return 0
    return _told(operation.lab, rows, given) and (TIMED_OUT if rows[0].get("late") else Difference.exit_code)


def freeze(given: Given, nodes: SomeNodes) -> int:
    """Stop all that runs in nodes where it is, but their inits, until `thaw`."""
    return _freeze(given, nodes, thaw=False)


def thaw(given: Given, nodes: SomeNodes) -> int:
    """Let what runs in nodes go on."""
    return _freeze(given, nodes, thaw=True)


def _freeze(given: Given, nodes: Sequence[str], *, thaw: bool) -> int:
    with at(given, nodes) as operation:
        for failure in operation.failures:
            raise failure
        by_host = operation.whole(nodes)
        rows = operation.ask("freeze", {host: {"nodes": here, "thaw": thaw} for host, here in by_host.items()})
    return _told(operation.lab, rows, given)
