"""One workload: what is wanted of it, and when it runs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from nsprov.init.logs import Log
from nsprov.init.loop import plain
from nsprov.init.record import Record
from nsprov.init.restarts import Restarts
from nsprov.init.run import Run

if TYPE_CHECKING:
    from nsprov.init.loop import Timer
    from nsprov.init.process import End, Process
    from nsprov.init.run import Order, Site

_POLICY, _DOWN, _ANEW, _CURED = "policy", "down", "anew", "cured"
"""What happens when it has ended: what its policy says, nothing, a new run at once, a new run after a pause."""

SETTLED, WAITING, BORN, RUNNING, ENDING = "settled", "waiting", "born", "running", "ending"
"""Nothing of it runs or will; it is to be started; it is not yet its command; it is; it, or what it has left, is to end."""

_SOON, _LATER = 0.1, 5.0
"""Seconds until a start that the kernel had no room for is tried again: at first, and at most."""


class Workload:
    """A workload; `starts` counts its runs."""

    def __init__(self, site: Site, name: str, order: Order) -> None:
        """Store what it shall be; nothing is started."""
        self.name = name
        self.order = order
        self.record = Record(name, site.announce)
        self.starts = 0
        self._site = site
        self._next: Order | None = None
        self._restarts = Restarts(order.spec)
        self._log = Log(site.logs, name)
        self._process: Process | None = None
        self._timer: Timer | None = None
        self._goal = _POLICY

    @property
    def phase(self) -> str:
        """Say how far it is: settled, waiting, born, running or ending."""
        if self._process is None:
            return SETTLED if self._timer is None else WAITING
        if self._process.ending or not self._process.alive:
            return ENDING
        return RUNNING if self._process.became else BORN

    def status(self) -> dict[str, Any]:
        """Give what there is to know of it, as JSON."""
        pid = self._process.pid if self._process is not None and self._process.alive else None
        counts = {"restarts": self._restarts.total, "dropped": self._log.dropped}
        return {"spec": self.order.given, **self.record.as_dict(), "pid": pid, **counts}

    def start(self) -> None:
        """Have it run: what runs is left alone, what has ended runs again."""
        if self.phase not in (BORN, RUNNING):
            self.restart()

    def stop(self) -> None:
        """Have it end, and not start again."""
        self._want(_DOWN)
        if self._process is None:
            self._rest("stopped", "")

    def restart(self, order: Order | None = None) -> None:
        """End it if it runs, and run it, as something else if that is given."""
        if order is not None:
            _close(self._next)
            self._next = order
        self._restarts.renew()
        self._want(_ANEW)
        if self._process is None:
            self._begin()
        else:
            self.record.move("starting", "its last run is being ended")

    def signal(self, number: int) -> None:
        """Send a signal to its first process; ProcessLookupError if there is none."""
        if self._process is None or not self._process.alive:
            raise ProcessLookupError(f'workload "{self.name}" does not run')
        self._process.signal(number)

    def forget(self) -> None:
        """Let go of all that is held for it; it must be settled."""
        self._log.close()
        _close(self.order)
        _close(self._next)

    def _want(self, goal: str) -> None:
        """Set what happens at its end, and bring that about."""
        self._goal = goal
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._process is None:
            return
        if self._process.alive:
            self._process.stop(self.order.spec.stop_signal, self.order.spec.grace)
        else:
            self._process.sweep(self._gone)

    def _begin(self, pause: float = _SOON) -> None:
        self._timer, self._goal = None, _POLICY
        if self._next is not None:
            _close(self.order)
            self.order, self._next = self._next, None
            self._restarts = Restarts(self.order.spec)
        self._log.limit(self.order.spec.log_size, self.order.spec.log_keep)
        run = Run(self._site, self.order, self.record, self._exited, lambda: self._want(_CURED))
        try:
            self._process = run.launch(self._log)
        except OSError as problem:
            self._timer = self._site.loop.later(pause, lambda: self._begin(min(pause * 2, _LATER)))
            self.record.move("backoff", f"it cannot be started now: {plain(problem)}")
        else:
            self.starts += 1

    def _exited(self, end: End) -> None:
        """Hear that its first process has ended: the others end too, but for those that a oneshot was to start."""
        assert self._process is not None
        self.record.reason = str(end)
        self.record.tell("exited")
        if self.order.spec.type == "oneshot" and not end.failed() and self._goal == _POLICY:
            self._process.drain()
            self.record.move("done", str(end))
            self.record.tell("done")
        else:
            ran = time.monotonic() - self._process.began
            self._process.sweep(lambda: self._gone(end, ran))

    def _gone(self, end: End | None = None, ran: float = 0.0) -> None:
        """Go on when nothing of it is left."""
        self._process = None
        if self._goal == _ANEW:
            self._begin()
        elif self._goal == _DOWN or end is None:
            self._rest("stopped", "" if end is None else str(end))
        else:
            self._decide(end, ran)

    def _decide(self, end: End, ran: float) -> None:
        """Do what its policy says of this end."""
        pause = self._restarts.after(failed=end.failed(), ran=ran, forced=self._goal == _CURED)
        if pause is not None:
            self._timer = self._site.loop.later(pause, self._begin)
            self.record.move("backoff", str(end))
            self.record.tell("restarting")
        elif end.failed():
            tried = f"given up after {self._restarts.tries} restarts: " if self._restarts.exhausted() else ""
            self._rest("failed", f"{tried}{end}")
        else:
            self._rest("stopped", str(end))

    def _rest(self, state: str, reason: str) -> None:
        self.record.move(state, reason)
        self.record.tell(state)


def _close(order: Order | None) -> None:
    if order is not None:
        for fd in (*order.groups, *((order.killer,) if order.killer >= 0 else ())):
            os.close(fd)
