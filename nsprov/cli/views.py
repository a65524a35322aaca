"""How diagnostics, tables and JSON look; the only module that prints.

Results go to stdout, progress and diagnostics to stderr. A colour never says what a word or a glyph does not.
"""

from __future__ import annotations

import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, NsprovError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLOURS = {"+": "32", "~": "33", "±": "35", "-": "31", "error": "31;1", "help": "36", "warning": "33;1"}
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


def prompt(text: str) -> None:
    """Ask on stderr, where an answer is waited for."""
    sys.stderr.write(text)
    sys.stderr.flush()


def flush() -> None:
    """Have what was written seen now, by whoever reads a pipe."""
    sys.stdout.flush()


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


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Write rows in columns; the first row is the heading."""
    for line in table(rows):
        say(line)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Put rows into columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def duration(seconds: float) -> str:
    """Write a time as people read it: 12 ms, 1.24 s, 2 min 3 s."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"  # noqa: PLR2004
