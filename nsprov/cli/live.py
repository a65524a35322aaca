"""What the live display of a run says: a line for each host that is at work, as many as fit, and a last one about them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsprov.cli import views

if TYPE_CHECKING:
    from nsprov.fleet import Progress

_BAR = 20
_NAME = 24
_FULL, _EMPTY = "#", "-"


@dataclass
class Work:
    """What a host is at: since when, by the monotonic clock, and how far."""

    phase: str
    since: float
    step: str = ""
    done: int = 0
    total: int = 0


class Board:
    """Who is at work and who is not; knows nothing of terminals but their size."""

    def __init__(self, hosts: int, began: float) -> None:
        """Start with nobody; `hosts` is how many there will be, if that is known."""
        self._hosts = hosts
        self._began = began
        self._phase = ""
        self._working: dict[str, Work] = {}
        self._well: set[str] = set()
        self._failed: dict[str, None] = {}

    def take(self, event: Progress, now: float) -> None:
        """Note what has happened."""
        if event.ended is not None:
            self._working.pop(event.host, None)
            if event.ended.ok:
                self._well.add(event.host)
            else:
                self._failed[event.host] = None
            return
        if event.phase != self._phase:
            self._phase = event.phase
            self._well.clear()
        work = self._working.setdefault(event.host, Work(event.phase, now))
        work.step, work.done, work.total = event.step, event.done, event.total

    def lines(self, now: float, columns: int, rows: int) -> list[str]:
        """Give the display, no wider and no higher than asked."""
        if rows < 1 or not self._working:
            return []
        alone = self._count() == 1
        room = rows if alone else rows - 1
        names = list(self._working)
        if len(names) > room:
            names = names[: max(0, room - 1)]
        width = min(_NAME, max(map(len, names), default=0))
        found = [self._line(name, width, now) for name in names]
        if len(names) < len(self._working) and room:
            found.append(f"... and {len(self._working) - len(names)} more at work")
        if not alone:
            found.append(self._sum(now))
        return [_cut(line, columns) for line in found]

    def _count(self) -> int:
        return max(self._hosts, len({*self._working, *self._well, *self._failed}))

    def _line(self, name: str, width: int, now: float) -> str:
        work = self._working[name]
        parts = [_cut(views.printable(name), width).ljust(width), f"{work.phase:8}"]
        if work.total:
            full = _BAR * work.done // work.total
            parts.append(f"{_FULL * full}{_EMPTY * (_BAR - full)} {work.done}/{work.total}")
        parts += [views.printable(work.step)] if work.step else []
        return "  ".join([*parts, views.duration(now - work.since)])

    def _sum(self, now: float) -> str:
        well, failed = len(self._well - self._failed.keys()), list(self._failed)
        parts = [f"{self._phase}: {well} of {self._count()} hosts done"]
        parts += [f"{len(self._working)} at work"] if self._working else []
        parts += [f"{len(failed)} failed ({', '.join(map(views.printable, failed))})"] if failed else []
        return ", ".join([*parts, views.duration(now - self._began)])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "~"[:width]
