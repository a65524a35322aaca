"""How a run over many hosts went: a table of hosts and phases, and each failure once with the hosts that it is of."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from nsprov.cli import views
from nsprov.errors import Diagnostic, NsprovError, RollbackIncomplete, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nsprov.fleet import Outcome

_PHASES = ("connect", "survey", "prepare", "apply", "probe", "ready", "commit", "rollback")
_MANY = 50
_SOME = "<host>"
"""What stands for a host in words that are said of several."""


def result(outcome: Outcome) -> str:
    """Say in a word how a host came out.

    ok, failed (and put back), undone (put back for others), `not begun`, incomplete (the way back failed), or unknown:
    the host was lost when it had begun.
    """
    if outcome.error is None:
        return "ok" if not outcome.undone else "undone" if "apply" in outcome.phases else "not begun"
    if isinstance(outcome.error, RollbackIncomplete):
        return "incomplete"
    return "unknown" if isinstance(outcome.error, Unreachable) and "apply" in outcome.phases else "failed"


def listed(hosts: Sequence[str]) -> str:
    """Write hosts in a row, of very many the first ones and how many there are."""
    names = [views.printable(host) for host in hosts[:_MANY]]
    return ", ".join(names) + (f" and {len(hosts) - _MANY} more" if len(hosts) > _MANY else "")


def show_matrix(outcomes: Sequence[Outcome]) -> None:
    """Write a table to stderr: what each phase took on each host, or that it failed, and the host's result."""
    seen = {phase for outcome in outcomes for phase in outcome.phases}
    phases = [*(phase for phase in _PHASES if phase in seen), *sorted(seen.difference(_PHASES))]
    rows = [["HOST", *map(str.upper, phases), "RESULT"]]
    rows += [[views.printable(one.host), *(_cell(one, phase) for phase in phases), result(one)] for one in outcomes]
    for line in views.table(rows):
        views.note(line)


def _cell(outcome: Outcome, phase: str) -> str:
    found = outcome.phases.get(phase)
    return "-" if found is None else views.duration(found.seconds) if found.ok else "failed"


def show_failures(outcomes: Iterable[Outcome]) -> None:
    """Write what went wrong to stderr: what is the same on several hosts once, with their names."""
    groups: dict[tuple[object, ...], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            groups.setdefault((type(outcome.error), *_common(outcome, outcome.error)), []).append(outcome)
    for members in groups.values():
        error = members[0].error
        if error is not None and len(members) > 1:
            hosts = listed([outcome.host for outcome in members])
            error = NsprovError(*(_placed(diagnostic, hosts) for diagnostic in _common(members[0], error)))
        if error is not None:
            views.show_error(error)


def _common(outcome: Outcome, error: NsprovError) -> list[Diagnostic]:
    """Give an error's diagnostics without the host's own name and address."""
    own = [rf'(?<="){re.escape(outcome.host)}(?=")']
    if outcome.address:
        more = ".:" if ":" in outcome.address else "."
        own.append(rf"(?<![\w.:-]){re.escape(outcome.address)}(?![\w-]|[{more}]\w)")
    pattern = re.compile("|".join(own))
    found = []
    for one in error.diagnostics:
        texts = {name: pattern.sub(_SOME, getattr(one, name)) for name in ("summary", "detail", "hint")}
        host, _, rest = one.where.partition("/")
        found.append(replace(one, **texts, where=rest if host == outcome.host else one.where))
    return found


def _placed(diagnostic: Diagnostic, hosts: str) -> Diagnostic:
    return replace(diagnostic, where=f"{hosts}: {diagnostic.where}" if diagnostic.where else hosts)
