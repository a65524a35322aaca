"""How an examination of hosts looks: a table of what was found, and below it what is not as it could be, each once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nsprov.cli import matrix, views
from nsprov.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.checkup import Check, Examined
    from nsprov.cli.options import Given

_SUMMARY = ("python", "kernel", "connection", "clock")


def show(found: Sequence[Examined], given: Given) -> None:
    """Write what was found: of one host everything, of several a line each unless more is wanted."""
    if given.output is Output.JSON:
        views.dump({"hosts": {one.host: _row(one) for one in found}})
    elif given.output is Output.JSONL:
        for one in found:
            views.dump_line({"event": "host", "host": one.host, **_row(one)})
    else:
        _show_table(found, whole=given.verbose or len(found) == 1)
        _show_findings(found)
        matrix.show_failures(one.outcome for one in found)


def _row(one: Examined) -> dict[str, Any]:
    row: dict[str, Any] = {"state": one.state(), "checks": [_check(check) for check in one.checks]}
    if one.outcome.error is not None:
        row["error"] = type(one.outcome.error).__name__
        row["diagnostics"] = [diagnostic.as_dict() for diagnostic in one.outcome.error.diagnostics]
    return row


def _check(check: Check) -> dict[str, Any]:
    row: dict[str, Any] = {"name": check.name, "state": check.state, "what": check.what, "required": check.required}
    return {**row, "for": check.purpose, "advice": check.advice} if check.bad else row


def _show_table(found: Sequence[Examined], *, whole: bool) -> None:
    if not whole:
        rows = [["HOST", "STATE", *map(str.upper, _SUMMARY), "NOT AS IT COULD BE"]]
        rows += [[one.host, one.state(), *(one.check(name).partition(",")[0] for name in _SUMMARY), _bad(one)] for one in found]
    else:
        rows = [["HOST", "CHECK", "STATE", "WHAT"]]
        for one in found:
            lines = [[check.name, check.state, check.what] for check in one.checks] or [["", one.state(), _why(one)]]
            rows += [[one.host, *line] for line in lines]
        rows = [row[1:] for row in rows] if len(found) == 1 else rows
    views.show_table([[views.printable(cell) or "-" for cell in row] for row in rows])


def _bad(one: Examined) -> str:
    return ", ".join(check.name for check in one.checks if check.bad) if one.checks else _why(one)


def _why(one: Examined) -> str:
    return str(one.outcome.error) if one.outcome.error is not None else ""


def _show_findings(found: Sequence[Examined]) -> None:
    """Write what is not as it could be, what for, and what to do: what is the same on several hosts once."""
    groups: dict[Check, list[str]] = {}
    for one in found:
        for check in one.checks:
            if check.bad:
                groups.setdefault(check, []).append(one.host)
    for check, hosts in groups.items():
        where = f" on {matrix.listed(hosts)}" if len(found) > 1 else ""
        text = f"{check.state}: {views.printable(check.name)}{where}: {views.printable(check.what)}"
        views.say(f"\n{views.paint(text, 'error' if check.lacking else 'warning', sys.stdout)}")
        views.say(f"  for: {check.purpose}{'' if check.required else '; nothing else needs it'}")
        if check.advice:
            views.say(f"  help: {check.advice}")
