"""Progress while a run acts: a live display on a terminal, a line per host and phase elsewhere, JSON lines if asked for."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol, Self

from nsprov.cli import views
from nsprov.cli.live import Board
from nsprov.cli.options import Output, Progressing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import TracebackType

    from nsprov import fleet, transport
    from nsprov.cli.options import Given

_FIRST = 0.3
"""Seconds that a run takes at most of which nothing is shown in place: who is done by then has not waited."""
_REFRESH = 0.1


class Way(Protocol):
    """A way to show progress."""

    def show(self, event: fleet.Progress) -> None:
        """Show one event; called from any thread, one at a time."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Progress:
    """Shows events as they come; a context manager, for a live display must be taken down again."""

    def __init__(self, given: Given, hosts: Sequence[transport.Host] = ()) -> None:
        """Choose the way to show."""
        self._events = given.output is Output.JSONL and not given.quiet
        self._lock = threading.Lock()
        self._way = _way(given, hosts)

    def __enter__(self) -> Self:
        """Do nothing: what has to be shown will come."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the terminal as it was."""
        self._way.close()

    def __call__(self, event: fleet.Progress) -> None:
        """Show an event."""
        with self._lock:
            if self._events and event.step:
                views.dump_line(
                    {"event": "step", "host": event.host, "step": event.step, "done": event.done, "total": event.total}
                )
            self._way.show(event)


def _way(given: Given, hosts: Sequence[transport.Host]) -> Way:
    wanted = Progressing.NONE if given.quiet else given.progress
    if wanted is Progressing.AUTO:
        able = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        wanted = Progressing.TTY if able else Progressing.PLAIN if given.output is Output.TEXT else Progressing.NONE
    if wanted is Progressing.TTY:
        return Live(len(hosts), {host.name for host in hosts if host.connection == "local"})
    if wanted is Progressing.PLAIN:
        return Plain(steps=given.verbose)
    return Json() if wanted is Progressing.JSON else Silent()


class Silent:
    """Shows nothing."""

    def show(self, event: fleet.Progress) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Leave everything as it is."""


class Plain(Silent):
    """Writes a line when a phase is over on a host, and with `steps` one when a step begins."""

    def __init__(self, *, steps: bool) -> None:
        """Store how much to say."""
        self._steps = steps

    def show(self, event: fleet.Progress) -> None:
        """Write a line."""
        if event.ended is not None:
            how = "ok" if event.ended.ok else "failed"
            views.note(f"{event.host}: {event.phase} {how} ({views.duration(event.ended.seconds)})")
        elif event.step and self._steps:
            views.note(f"{event.host}: {event.step} ({event.done} of {event.total} done)")


class Json(Silent):
    """Writes every event as one line of JSON on stderr."""

    def show(self, event: fleet.Progress) -> None:
        """Write a line."""
        row: dict[str, object] = {"host": event.host, "phase": event.phase}
        if event.ended is not None:
            row = {"event": "end", **row, "ok": event.ended.ok, "seconds": round(event.ended.seconds, 6)}
        elif event.step:
            row = {"event": "step", **row, "step": event.step, "done": event.done, "total": event.total}
        else:
            row = {"event": "begin", **row}
        views.note(json.dumps(row, ensure_ascii=False))


class Live:
    """Draws a board on the terminal again and again; what was drawn is taken away in the end.

    A thread draws, so that time goes on where nothing happens. It starts only when no local agent has still to be forked:
    that is for a process with one thread alone.
    """

    def __init__(self, hosts: int, local: Collection[str]) -> None:
        """Start with an empty board, which is not shown yet."""
        self._local = local
        self._board = Board(hosts, time.monotonic())
        self._drawn = 0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def show(self, event: fleet.Progress) -> None:
        """Put an event on the board."""
        with self._lock:
            self._board.take(event, time.monotonic())
        if self._thread is None and not (event.phase == "connect" and event.host in self._local):
            self._thread = threading.Thread(target=self._draw_on, name="progress", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Take the display away."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._draw([])

    def _draw_on(self) -> None:
        pause = _FIRST
        while not self._over.wait(pause):
            columns, rows = _size()
            with self._lock:
                lines = self._board.lines(time.monotonic(), columns - 1, rows - 1)
            self._draw(lines)
            pause = _REFRESH

    def _draw(self, lines: Sequence[str]) -> None:
        if not lines and not self._drawn:
            return
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        # Each line over the one before it, then away with what is below: nothing flickers, and "^C" goes too.
        sys.stderr.write(f"{up}\r" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        sys.stderr.flush()
        self._drawn = len(lines)


def _size() -> tuple[int, int]:
    """Give the columns and rows of the terminal; of what is none, those that terminals once had."""
    try:
        found = os.get_terminal_size(sys.stderr.fileno())
    except OSError:
        return 80, 24
    return found.columns or 80, found.lines or 24
