"""Watch one run of a workload: whether it becomes ready in time, and then whether it stays well."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nsprov.init import launch, offspring, probe
from nsprov.init.attempt import Asking
from nsprov.init.notify import Notify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nsprov.init.attempt import Fork
    from nsprov.init.loop import Loop, Timer
    from nsprov.init.probe import Probe
    from nsprov.init.spec import Spec

_ONE_ATTEMPT = 5.0
"""Seconds that one question gets to be answered while a workload becomes ready."""

_LONGEST_LINE = 4096


class Hearers(NamedTuple):
    """Who hears: that it is ready, that it will not be, what it says of itself, and that it is well, or why not."""

    ready: Callable[[], None]
    late: Callable[[str], None]
    said: Callable[[str], None]
    health: Callable[[str], None]
    paused: Callable[[], bool]


class Vigil:
    """Watches a run from its first moment to its last."""

    def __init__(self, loop: Loop, spec: Spec, groups: Sequence[int], hearers: Hearers) -> None:
        """Store whom to tell; probes are asked in the workload's control groups."""
        self._loop = loop
        self._spec = spec
        self._groups = groups
        self._hearers = hearers
        self._notify: Notify | None = None
        self._asking: Asking | None = None
        self._late: Timer | None = None
        self._lines: dict[str, str] = {}
        self._answer = ""
        self._failures = 0
        self._lenient = True
        self._timers: list[Timer] = []

    def listen(self, name: str, known: Callable[[int], bool]) -> None:
        """Open the socket by which it tells, if it will; OSError if somebody else has its name."""
        if self._spec.ready and self._spec.ready.kind == "notify":
            self._notify = Notify(self._loop, name, known, self._told)

    def begin(self) -> None:
        """Watch a workload that has just become its command: whether it gets ready, if that is asked for; then its health."""
        ready = self._spec.ready
        if ready is None:
            self._begin_health()
            return
        self._late = self._loop.later(ready.timeout, self._overdue)
        if ready.kind not in ("log", "notify"):
            timeout = min(ready.timeout, _ONE_ATTEMPT)
            self._asking = Asking(self._loop, ready, self._fork(ready), timeout=timeout, paused=self._hearers.paused)
            self._asking.begin(self._heard)

    def end(self) -> None:
        """Watch no more."""
        self._stop_asking()
        if self._notify is not None:
            self._notify.close()
        self._notify = None
        for timer in self._timers:
            timer.cancel()

    def output(self, stream: str, data: bytes) -> None:
        """Look in what it says on one of its streams for the line that tells that it is ready."""
        ready = self._spec.ready
        if ready is None or ready.kind != "log" or self._late is None:
            return
        text = self._lines.get(stream, "") + data.decode(errors="replace")
        whole, _, rest = text.rpartition("\n")
        self._lines[stream] = rest[-_LONGEST_LINE:]
        if whole and probe.matches(ready.value, whole):
            self._ready()

    def _fork(self, asked: Probe) -> Fork:
        work = partial(launch.become, self._spec, asked.value, {}) if asked.kind == "exec" else partial(probe.ask, asked)
        return partial(offspring.fork, self._groups, work, output=False)

    def _told(self, fields: dict[str, str]) -> None:
        if fields.get("STATUS"):
            self._answer = fields["STATUS"]
            self._hearers.said(self._answer)
        if fields.get("READY") == "1" and self._late is not None:
            self._ready()

    def _heard(self, words: str) -> None:
        self._answer = words
        if not words:
            self._ready()

    def _overdue(self) -> None:
        assert self._spec.ready is not None
        if self._hearers.paused():
            self._late = self._loop.later(self._spec.ready.interval, self._overdue)
            return
        self._stop_asking()
        said = f": {self._answer}" if self._answer else ""
        self._hearers.late(f"not ready within {self._spec.ready.timeout:g} s{said}")

    def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.stop()
        if self._late is not None:
            self._late.cancel()
        self._asking = self._late = None

    def _ready(self) -> None:
        self._stop_asking()
        self._hearers.ready()
        self._begin_health()

    def _begin_health(self) -> None:
        health = self._spec.health
        if health is not None:
            self._timers.append(self._loop.later(health.start_period, self._be_strict))
            self._asking = Asking(
                self._loop, health, self._fork(health), timeout=health.timeout, paused=self._hearers.paused
            )
            self._asking.begin(self._examined)

    def _be_strict(self) -> None:
        self._lenient = False

    def _examined(self, words: str) -> None:
        """Count failures in a row; those of the time that it gets to start do not count."""
        assert self._spec.health is not None
        if not words:
            self._failures, self._lenient = 0, False
            self._hearers.health("")
        elif not self._lenient:
            self._failures += 1
            if self._failures >= self._spec.health.retries:
                self._hearers.health(words)
