"""Progress while a run acts: a live line on a terminal, plain lines elsewhere, JSON lines if those are asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

from nsprov.cli import views
from nsprov.cli.options import Output

if TYPE_CHECKING:
    from types import TracebackType

    from nsprov.cli.options import Given


class Progress:
    """Shows steps as they begin; a context manager, for a live line must be taken down again."""

    def __init__(self, given: Given) -> None:
        """Choose the way to show."""
        self._output = given.output
        self._quiet = given.quiet
        self._live: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Start the live display if stderr is a terminal."""
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - 40 ms of start-up that only a terminal is worth
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above
            from rich.progress import Progress as Bars  # noqa: PLC0415 - as above

            columns = [TextColumn("{task.fields[host]}"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
            self._live = Bars(*columns, console=Console(stderr=True), transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """Take the live display down."""
        if self._live is not None:
            self._live.stop()

    def __call__(self, host: str, step: str, done: int, total: int) -> None:
        """Show that a host begins a step, `done` of `total` changes being done."""
        if self._output is Output.JSONL:
            views.dump_line({"event": "step", "host": host, "step": step, "done": done, "total": total})
        if self._live is not None:
            if host not in self._tasks:
                self._tasks[host] = self._live.add_task(step, host=host, total=total)
            self._live.update(self._tasks[host], completed=done, description=step, total=total)
        elif not self._quiet and self._output is Output.TEXT:
            views.note(f"{host}: {step} ({done} of {total} done)")
