"""How workloads look: the table of `ps`, and what became of each; all of it as JSON too."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from nsprov.cli import views
from nsprov.cli.options import Output
from nsprov.cli.times import ago, stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, Any]

_COLUMNS = ("WORKLOAD", "HOST", "STATE", "PID", "SINCE", "RESTARTS", "EXIT", "HEALTH", "OOM", "REASON")


def place(row: Row) -> str:
    """Name a workload, or a node where there is no more to say."""
    return "/".join(str(row[part]) for part in ("node", "name") if row.get(part))


def state(row: Row) -> str:
    """Say in a word how a workload is, or a node."""
    if "state" not in row:
        return "frozen" if row["frozen"] else "thawed"
    return "frozen" if row.get("frozen") and row["pid"] else str(row["state"])


def code(row: Row) -> str:
    """Give a workload's exit code as a shell does: a signal's number counts from 128."""
    return str(128 + row["signal"] if row["signal"] else row["exit"] if row["exit"] is not None else "-")


def ending(row: Row) -> str:
    """Say how a workload ended last: its exit code, or the signal that ended it; empty if it never did."""
    if row.get("signal"):
        return signal_name(row["signal"])
    return "" if row.get("exit") is None else str(row["exit"])


def signal_name(number: int) -> str:
    """Give a signal's name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"  # one of the real-time signals, which have no names of their own


def show_workloads(lab: str, rows: Sequence[Row], output: Output) -> None:
    """Write the table of workloads, or its JSON twin."""
    if output is not Output.TEXT:
        dump_workloads(lab, rows, output)
        return
    hosts = len({row["host"] for row in rows}) > 1
    shown = [[cell or "-" for cell in _cells(row)] for row in sorted(rows, key=lambda row: (row["node"], row["name"]))]
    table = [_COLUMNS, *shown]
    views.show_table([[*row[:1], *row[1 if hosts else 2 :]] for row in table])


def _cells(row: Row) -> tuple[str, ...]:
    since = "" if row["since"] is None else ago(row["seconds"])
    pid, restarts, kills = (str(row[name] or "") for name in ("pid", "restarts", "oom_kills"))
    how = (state(row), pid, since, restarts, ending(row), row["health"], kills)
    return (place(row), row["host"], *how, views.printable(row["reason"]))


def dump_workloads(lab: str, rows: Sequence[Row], output: Output) -> None:
    """Write rows about workloads or nodes as JSON."""
    found = [{**row, "since": stamp(row["since"])} if row.get("since") is not None else row for row in rows]
    if output is Output.JSONL:
        for row in found:
            views.dump_line(row)
    else:
        views.dump({"lab": lab, "workloads": found})
