"""How outcomes and diagnostics look: for people, as JSON, and as JSON lines; the only module that prints.

Results go to stdout, progress and diagnostics to stderr. A colour never says what a word or a glyph does not.
"""

from __future__ import annotations

import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any

from nsprov.cli.options import Output
from nsprov.errors import Diagnostic, NsprovError
from nsprov.plan.change import CREATE, DELETE, GLYPHS, REPLACE, UPDATE, Change, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.fleet import Outcome

_COLOURS = {"+": "32", "~": "33", "±": "35", "-": "31", "error": "31;1", "help": "36", "warning": "33;1"}
_DONE = {CREATE: "created", UPDATE: "updated", REPLACE: "replaced", DELETE: "deleted"}
_TO_DO = {CREATE: "to create", UPDATE: "to update", REPLACE: "to replace", DELETE: "to delete"}
_LONG = 60
_MANY = 20


def _coloured(stream: IO[str]) -> bool:
    choice = os.environ.get("NSPROV_COLOR", "auto")
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty() or bool(os.environ.get("FORCE_COLOR"))


def paint(text: str, role: str, stream: IO[str]) -> str:
    """Colour a text if the stream is a terminal that wants it."""
    return f"\x1b[{_COLOURS[role]}m{text}\x1b[0m" if _coloured(stream) else text


def say(text: str) -> None:
    """Write a result line."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """Write a line that is no result."""
    sys.stderr.write(f"{text}\n")


def write(text: str, *, now: bool) -> None:
    """Write a part of a result, with the bytes that were no text as they were; with `now`, at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
    if now:
        sys.stdout.buffer.flush()


def unread() -> int:
    """Write results to nobody from now on, for who read them has gone; give the exit code that says so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def dump(value: object) -> None:
    """Write a result as one JSON document."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def dump_line(value: Mapping[str, Any]) -> None:
    """Write an event as one line of JSON, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def show_error(problem: NsprovError) -> None:
    """Write the diagnostics of an error to stderr; of very many, the first ones and how many there are."""
    found = problem.diagnostics or [Diagnostic(str(problem) or type(problem).__name__)]
    for diagnostic in found[:_MANY]:
        show_diagnostic(diagnostic)
    if len(found) > _MANY:
        note(f"... and {len(found) - _MANY} more problems; -o json gives all of them")


def show_diagnostic(diagnostic: Diagnostic, level: str = "error") -> None:
    """Write one diagnostic: what, where, the source, why, what to do."""
    lines = [f"{paint(level, level, sys.stderr)}: {printable(diagnostic.summary)}"]
    if diagnostic.where:
        lines.append(f"  --> {printable(diagnostic.where)}")
    lines.extend(f"   | {printable(line)}" for line in diagnostic.excerpt.splitlines())
    lines.extend(f"  {printable(line)}" for line in diagnostic.detail.splitlines())
    if diagnostic.hint:
        lines.append(f"  {paint('help', 'help', sys.stderr)}: {printable(diagnostic.hint)}")
    note("\n".join(lines))


def printable(text: str) -> str:
    """Escape control characters: what comes from hosts and files must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def show_outcomes(lab: str, outcomes: Sequence[Outcome], output: Output, *, acted: bool, going: bool, verbose: bool) -> None:
    """Write what became, or would become, of a lab."""
    if output is Output.JSON:
        dump(as_json(lab, outcomes))
    elif output is Output.JSONL:
        for outcome in outcomes:
            for row in _rows(outcome):
                dump_line({"event": "change", "host": outcome.host, **row})
            dump_line({"event": "end", "lab": lab, "host": outcome.host, **_summary(outcome)})
    else:
        for outcome in outcomes:
            _show_text(lab, outcome, acted=acted, going=going, verbose=verbose)


def as_json(lab: str, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Give the JSON twin of the text view."""
    hosts = {outcome.host: {**_summary(outcome), "changes": _rows(outcome)} for outcome in outcomes}
    return {"lab": lab, "hosts": hosts}


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
    return shown(outcome.plan) if outcome.plan else []


def _summary(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {"ok": outcome.error is None and not outcome.undone, "counts": dict(outcome.counts)}
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
    return {**found, "timing": {name: round(seconds, 6) for name, seconds in outcome.timing.items()}}


def _show_text(lab: str, outcome: Outcome, *, acted: bool, going: bool, verbose: bool) -> None:
    if outcome.error is not None:
        return
    words = _DONE if acted else _TO_DO
    total = [f"{count} {words[action]}" for action, count in outcome.counts.items() if count]
    if outcome.interrupted:
        note(f"an earlier run on {outcome.host} was killed ({outcome.interrupted}); what it left is taken into account")
    where = "" if outcome.host == "localhost" else f" on {outcome.host}"
    if outcome.undone:
        say(f"lab {lab}{where}: {outcome.undone}")
        return
    if not total:
        say(f"lab {lab}{where}: {'nothing of it is there' if going else 'nothing to do, everything is as asked'}")
        return
    say(f"lab {lab}{where}: {', '.join(total)}")
    if outcome.plan is not None and (not acted or verbose or len(outcome.plan.changes) <= _LONG):
        for change in sorted(outcome.plan.changes, key=_by_place):
            say(_line(change))
    elif not acted:
        note("  (very many changes; -v lists them)")


def _by_place(change: Change) -> tuple[str, str]:
    where, _, rest = change.ref.name.partition("/")
    return where, f"{change.ref.kind}/{rest}"


def _line(change: Change) -> str:
    """Write a change: glyph, word, ref, what differs, why."""
    glyph = GLYPHS[change.action]
    parts = [f"{glyph} {change.action:7} {printable(str(change.ref))}"]
    parts.extend(f"{name} {_short(old)} -> {_short(new)}" for name, old, new in change.fields())
    why = f"goes with {change.implied}" if change.implied and change.action == DELETE else change.reason
    return f"  {paint('  '.join(parts), glyph, sys.stdout)}  ({printable(why)})"


def _short(value: object) -> str:
    text = printable(repr(value) if isinstance(value, str) else str(value))
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def show_held(outcomes: Iterable[Outcome]) -> bool:
    """Warn of processes that keep removed namespaces alive; tell whether there are any."""
    held = [(outcome.host, text) for outcome in outcomes for text in outcome.held]
    for host, text in held:
        hint = "end it: its network namespace lives on without a name until it does"
        show_diagnostic(Diagnostic("a network namespace is kept alive", host, f"{text}.", hint), "warning")
    return bool(held)


def show_oom_kills(outcomes: Iterable[Outcome]) -> None:
    """Warn of nodes in which the kernel has killed processes for want of memory."""
    for outcome in outcomes:
        for node, count in sorted(outcome.oom_kills.items()):
            hint = "raise its memory limit, or see with `nsprov ps` and `nsprov logs` what it was that grew"
            summary = f'node "{node}" has had {count} OOM kill{"s" if count > 1 else ""}'
            show_diagnostic(Diagnostic(summary, outcome.host, "It has used all of its memory limit.", hint), "warning")


def show_timing(total: float, outcomes: Iterable[Outcome]) -> None:
    """Write where the time went, in milliseconds, to stderr."""
    note(f"timing: {total * 1000:.0f} ms in all")
    for outcome in outcomes:
        for name, seconds in outcome.timing.items():
            note(f"  {outcome.host:12} {name:20} {seconds * 1000:8.1f} ms")


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Write rows in columns; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
