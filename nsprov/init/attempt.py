"""Ask a probe, once or again and again, each time in a forked child that is killed when it takes too long."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from nsprov.init.loop import plain
from nsprov.init.offspring import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from nsprov.init.loop import Loop, Timer
    from nsprov.init.offspring import Child
    from nsprov.init.probe import Probe

    Fork = Callable[[], Child]
    Heard = Callable[[str], None]


class Attempt:
    """One child that asks; what it finds wrong is heard in words, and no words mean that all is well."""

    def __init__(self, loop: Loop, fork: Fork, timeout: float, heard: Heard) -> None:
        """Fork it; what cannot be asked is answered by why."""
        self._heard: Heard | None = heard
        self._late = ""
        self._child: Child | None = None
        try:
            child = fork()
        except OSError as problem:
            words = f"it could not be asked: {plain(problem)}"
            self._timer = loop.later(0, lambda: self._answer(words))
            return
        self._child = child
        self._timer = loop.later(timeout, lambda: self._end(f"no answer within {timeout:g} s"))
        loop.adopt(child.pid, self._ended)

    def cancel(self) -> None:
        """Ask no more; nothing is heard."""
        self._heard = None
        self._end("")

    def _end(self, words: str) -> None:
        self._timer.cancel()
        self._late = words
        if self._child is not None:
            for kill in (os.killpg, os.kill):  # the first fails while the child has no session of its own yet
                with contextlib.suppress(OSError):
                    kill(self._child.pid, signal.SIGKILL)

    def _ended(self, status: int) -> None:
        assert self._child is not None
        self._timer.cancel()
        with contextlib.suppress(OSError):  # it has left nobody behind
            os.killpg(self._child.pid, signal.SIGKILL)
        words = report(self._child.report)
        os.close(self._child.report)
        self._child = None
        code = os.waitstatus_to_exitcode(status)
        self._answer(self._late or words or ("" if code == 0 else f"exit code {code}"))

    def _answer(self, words: str) -> None:
        if self._heard is not None:
            self._heard(words)


class Asking:
    """Asks a probe at its interval, one attempt after the other."""

    def __init__(self, loop: Loop, probe: Probe, fork: Fork, *, timeout: float, paused: Callable[[], bool]) -> None:
        """Ask nothing yet; while `paused`, nothing is asked, and no answer counts."""
        self._loop = loop
        self._interval = probe.interval
        self._fork = fork
        self._timeout = timeout
        self._paused = paused
        self._attempt: Attempt | None = None
        self._timer: Timer | None = None
        self._heard: Heard | None = None

    def begin(self, heard: Heard) -> None:
        """Ask at once, and go on until `stop`."""
        self._heard = heard
        self._ask()

    def stop(self) -> None:
        """Ask no more."""
        self._heard = None
        if self._attempt is not None:
            self._attempt.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._attempt = self._timer = None

    def _ask(self) -> None:
        if self._paused():
            self._timer = self._loop.later(self._interval, self._ask)
        else:
            self._attempt = Attempt(self._loop, self._fork, self._timeout, self._answered)

    def _answered(self, words: str) -> None:
        self._attempt = None
        self._timer = self._loop.later(self._interval, self._ask)
        if self._heard is not None and not self._paused():
            self._heard(words)
