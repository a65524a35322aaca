"""How logs and events look: as lines with whose they are, as JSON lines, or as one JSON document that grows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from nsprov.cli import views
from nsprov.cli.options import Output
from nsprov.cli.times import stamp
from nsprov.cli.workload_views import ending, place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    Row = Mapping[str, Any]


class Rows:
    """Writes rows as they come, each by `text` or as JSON; a context manager, at whose end a document is whole.

    `live` rows are seen at once, others when there are enough.
    """

    def __init__(self, output: Output, text: Callable[[Row], str], *, live: bool) -> None:
        """Store how rows look."""
        self._output = output
        self._text = text
        self._live = live
        self._count = 0

    def __enter__(self) -> Self:
        """Begin the document."""
        self._write("[" if self._output is Output.JSON else "")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """End the document, even when it is broken off; when nobody reads it, end the command without words."""
        if isinstance(value, BrokenPipeError):
            raise typer.Exit(views.unread())  # click would make another exit code of it
        if self._output is Output.JSON:
            self._write("\n]\n" if self._count else "]\n")

    def __call__(self, row: Row) -> None:
        """Write a row."""
        self._count += 1
        if self._output is Output.TEXT:
            self._write(self._text(row))
        elif self._output is Output.JSONL:
            self._write(f"{json.dumps(row, ensure_ascii=False)}\n")
        else:
            self._write(f"{',' if self._count > 1 else ''}\n  {json.dumps(row, ensure_ascii=False)}")

    def _write(self, text: str) -> None:
        views.write(text, now=self._live)


class LogText:
    """Writes log lines as text; the pieces of a long line are one again, unless something came between."""

    def __init__(self, names: Sequence[str], *, timestamps: bool, raw: bool) -> None:
        """Store whose lines will come: of more than one workload, each line says whose it is."""
        self._names = set(names)
        self._timestamps = timestamps
        self._raw = raw
        self._open: tuple[str, str] | None = None

    def __call__(self, row: Row) -> str:
        """Give the text to write for a line."""
        source = (place(row), row["stream"])
        text = row["text"] if self._raw else views.printable(row["text"])
        before = "" if source == self._open else self._head(source[0], row["time"])
        ended = "\n" if self._open not in (None, source) else ""
        self._open = source if row["partial"] else None
        return f"{ended}{before}{text}{'' if row['partial'] else chr(10)}"

    def _head(self, name: str, time: str) -> str:
        self._names.add(name)
        prefix = f"{name.ljust(max(map(len, self._names)))} | " if len(self._names) > 1 else ""
        return f"{prefix}{time} " if self._timestamps else prefix


def log_row(host: str, row: Sequence[Any]) -> Row:
    """Make a row of what a host sends for a line."""
    return {"host": host, **dict(zip(("node", "name", "time", "stream", "partial", "text"), row, strict=True))}


def event_row(host: str, row: Row) -> Row:
    """Make a row of what a host sends for an event."""
    return {"host": host, **row, "time": stamp(row["time"])}


def last_event(row: Row) -> Row:
    """Make a row of what happened last to a workload, of how it is."""
    kept = ("host", "node", "name", "exit", "signal", "reason")
    return {**{field: row[field] for field in kept}, "event": row["state"], "time": stamp(row["since"])}


def event_text(row: Row) -> str:
    """Write an event as a line: when, whose, what, and why."""
    how = views.printable(row.get("reason") or ending(row))
    return f"{row['time']}  {place(row)}  {row['event']}{f'  {how}' if how else ''}\n"
