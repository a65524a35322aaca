"""What became of a lab on its hosts, or would become: for people, as JSON, and as JSON lines."""

from __future__ import annotations

import sys
from collections import defaultdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from nsprov.cli import matrix, views
from nsprov.cli.options import Output
from nsprov.errors import Diagnostic
from nsprov.plan.change import CREATE, DELETE, GLYPHS, REPLACE, UPDATE, Change, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nsprov.cli.options import Given
    from nsprov.fleet import Outcome

_DONE = {CREATE: "created", UPDATE: "updated", REPLACE: "replaced", DELETE: "deleted"}
_TO_DO = {CREATE: "to create", UPDATE: "to update", REPLACE: "to replace", DELETE: "to delete"}
_LONG = 60


def show_outcomes(lab: str, outcomes: Sequence[Outcome], output: Output, *, acted: bool, going: bool, verbose: bool) -> None:
    """Write what became, or would become, of a lab."""
    if output is Output.JSON:
        views.dump(as_json(lab, outcomes))
    elif output is Output.JSONL:
        for outcome in outcomes:
            for row in _rows(outcome):
                views.dump_line({"event": "change", "host": outcome.host, **row})
            views.dump_line({"event": "end", "lab": lab, "host": outcome.host, **_summary(outcome)})
    else:
        _show_text(lab, outcomes, acted=acted, going=going, verbose=verbose)


def as_json(lab: str, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Give the JSON twin of the text view."""
    hosts = {outcome.host: {**_summary(outcome), "changes": _rows(outcome)} for outcome in outcomes}
    return {"lab": lab, "hosts": hosts}


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
    return shown(outcome.plan) if outcome.plan else []


def _summary(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {"ok": outcome.error is None and not outcome.undone, "result": matrix.result(outcome)}
    found["counts"] = dict(outcome.counts)
    if outcome.undone:
        found["undone"] = outcome.undone
    if outcome.plan and outcome.plan.fingerprint:
        found["fingerprint"] = outcome.plan.fingerprint
    if outcome.error:
        found["error"] = type(outcome.error).__name__
        found["diagnostics"] = [diagnostic.as_dict() for diagnostic in outcome.error.diagnostics]
    if outcome.held:
        found["held"] = list(outcome.held)
    if outcome.oom_kills:
        found["oom_kills"] = dict(outcome.oom_kills)
    if outcome.interrupted:
        found["interrupted"] = outcome.interrupted
    phases = {name: {"ok": phase.ok, "seconds": round(phase.seconds, 6)} for name, phase in outcome.phases.items()}
    timing = {name: round(seconds, 6) for name, seconds in outcome.timing.items()}
    return {**found, "phases": phases, "timing": timing}


def _show_text(lab: str, outcomes: Sequence[Outcome], *, acted: bool, going: bool, verbose: bool) -> None:
    """Write a line for each host, one for all hosts of which the same is to be said without a list of changes."""
    listed = not acted or verbose or sum(len(outcome.plan.changes) for outcome in outcomes if outcome.plan) <= _LONG
    alike: dict[str, list[str]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.error is None:
            if outcome.interrupted:
                views.note(
                    f"an earlier run on {outcome.host} was killed ({outcome.interrupted}); what it left is taken into account"
                )
            alike[_said(outcome, acted=acted, going=going)].append(outcome.host)
    for outcome in outcomes:
        if outcome.error is None:
            text = _said(outcome, acted=acted, going=going)
            changed = outcome.changed and not outcome.undone
            hosts = [outcome.host] if changed else alike.pop(text, [])
            if hosts:
                where = "" if hosts == ["localhost"] else f" on {matrix.listed(hosts)}"
                views.say(f"lab {lab}{where}: {text}")
            if changed:
                _show_changes(outcome, acted=acted, listed=listed)


def _said(outcome: Outcome, *, acted: bool, going: bool) -> str:
    words = _DONE if acted else _TO_DO
    if outcome.undone:
        return outcome.undone
    total = [f"{count} {words[action]}" for action, count in outcome.counts.items() if count]
    return ", ".join(total) or ("nothing of it is there" if going else "nothing to do, everything is as asked")


def _show_changes(outcome: Outcome, *, acted: bool, listed: bool) -> None:
    if outcome.plan is not None and listed:
        for change in sorted(outcome.plan.changes, key=_by_place):
            views.say(_line(change))
    elif not acted:
        views.note("  (very many changes; -v lists them)")


def _by_place(change: Change) -> tuple[str, str]:
    where, _, rest = change.ref.name.partition("/")
    return where, f"{change.ref.kind}/{rest}"


def _line(change: Change) -> str:
    """Write a change: glyph, word, ref, what differs, why."""
    glyph = GLYPHS[change.action]
    parts = [f"{glyph} {change.action:7} {views.printable(str(change.ref))}"]
    parts.extend(_field(name, old, new) for name, old, new in change.fields())
    why = f"goes with {change.implied}" if change.implied and change.action == DELETE else change.reason
    return f"  {views.paint('  '.join(parts), glyph, sys.stdout)}  ({views.printable(why)})"


def _field(name: str, old: object, new: object) -> str:
    """Write what a field was and becomes; of texts of many lines the first that differs."""
    if not (isinstance(old, str) and isinstance(new, str) and "\n" in old + new):
        return f"{name} {_short(old)} -> {_short(new)}"
    lines = zip_longest(old.splitlines(), new.splitlines())
    number, (was, becomes) = next(((n, pair) for n, pair in enumerate(lines, 1) if pair[0] != pair[1]), (1, (old, new)))
    return f"{name} line {number} {_short(was)} -> {_short(becomes)}"


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    text = views.printable(repr(value) if isinstance(value, str) else str(value))
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def show_held(outcomes: Iterable[Outcome]) -> bool:
    """Warn of processes that keep removed namespaces alive; tell whether there are any."""
    held = [(outcome.host, text) for outcome in outcomes for text in outcome.held]
    for host, text in held:
        hint = "end it: its network namespace lives on without a name until it does"
        views.show_diagnostic(Diagnostic("a network namespace is kept alive", host, f"{text}.", hint), "warning")
    return bool(held)


def show_oom_kills(outcomes: Iterable[Outcome]) -> None:
    """Warn of nodes in which the kernel has killed processes for want of memory."""
    for outcome in outcomes:
        for node, count in sorted(outcome.oom_kills.items()):
            hint = "raise its memory limit, or see with `nsprov ps` and `nsprov logs` what it was that grew"
            summary = f'node "{node}" has had {count} OOM kill{"s" if count > 1 else ""}'
            views.show_diagnostic(Diagnostic(summary, outcome.host, "It has used all of its memory limit.", hint), "warning")


def show_end(given: Given, outcomes: Sequence[Outcome], seconds: float) -> None:
    """Write to stderr how the run went on its hosts: a table if something failed or somebody wants to know, else a line."""
    if given.timing:
        show_timing(seconds, outcomes)
    if len(outcomes) < 2 or given.output is not Output.TEXT:  # noqa: PLR2004 (of one host all has been said)
        return
    if given.timing or given.verbose or any(outcome.error or outcome.undone for outcome in outcomes):
        matrix.show_matrix(outcomes)
    elif not given.quiet:
        views.note(f"all {len(outcomes)} hosts are ok ({views.duration(seconds)})")


def show_timing(total: float, outcomes: Iterable[Outcome]) -> None:
    """Write where the time went, in milliseconds, to stderr."""
    views.note(f"timing: {total * 1000:.0f} ms in all")
    for outcome in outcomes:
        for name, seconds in outcome.timing.items():
            views.note(f"  {outcome.host:12} {name:20} {seconds * 1000:8.1f} ms")
