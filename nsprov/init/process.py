"""A workload's process: what it says, how it is ended, and the end of all that it has left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nsprov.init.logs import Stream
from nsprov.init.offspring import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from nsprov.init.logs import Log
    from nsprov.init.loop import Loop, Timer
    from nsprov.init.offspring import Child
    from nsprov.init.processes import Processes

_AT_ONCE = 16384
"""Bytes of output that are read before others have their turn."""

_DRAINED = 64
"""How often more is read when it has ended: what it has left behind may go on talking."""

_PATIENCE = 5.0
"""Seconds that killed processes get to be gone: a disk or a network file system may hold them."""


class End(NamedTuple):
    """How it ended: its exit code or a signal, and why if we know better: it could not become its command, say."""

    code: int | None
    signal: int | None
    words: str = ""

    def failed(self) -> bool:
        """Tell whether it ended badly."""
        return self.code != 0 or bool(self.words)

    def __str__(self) -> str:
        """Say it in words."""
        if self.words:
            return self.words
        if self.signal is None:
            return f"exited with code {self.code}"
        with contextlib.suppress(ValueError):  # a real-time signal has no name
            return f"killed by {signal.Signals(self.signal).name}"
        return f"killed by signal {self.signal}"


class Hooks(NamedTuple):
    """Who hears of it: that it has become its command, what it says, and how its first process has ended."""

    started: Callable[[], None]
    output: Callable[[str, bytes], None]
    exited: Callable[[End], None]


class Process:
    """The first process of a run; `alive` until it is reaped, `became` its command, told to be `ending`."""

    def __init__(self, loop: Loop, child: Child, processes: Processes, log: Log, hooks: Hooks) -> None:
        """Watch a child that has just been forked."""
        self.pid = child.pid
        self.began = time.monotonic()
        self.alive, self.became, self.ending = True, False, False
        self._loop = loop
        self._processes = processes
        self._hooks = hooks
        self._report = child.report
        self._outputs = {child.out: Stream(log, "stdout"), child.err: Stream(log, "stderr")}
        self._grace: Timer | None = None
        self._refusal = ""
        self._sweeping = False
        loop.adopt(child.pid, self._exited)
        loop.watch(child.report, lambda _: self._reported())
        for fd in (child.out, child.err):
            loop.watch(fd, partial(self._pump, fd))

    def signal(self, number: int) -> None:
        """Send a signal to its first process, which is not reaped yet: the number is still its own."""
        if self.alive:
            os.kill(self.pid, number)

    def stop(self, number: int, grace: float) -> None:
        """Ask it to end, and kill all of it when it does not in time."""
        if self.ending:
            return
        self.ending = True
        if grace:
            self._grace = self._loop.later(grace, self.kill)
            self.signal(number)
            self.signal(signal.SIGCONT)  # who is stopped hears nothing else
        else:
            self.kill()

    def kill(self) -> None:
        """Kill all of it."""
        self.ending = True
        self.signal(signal.SIGKILL)
        self._processes.kill()

    def sweep(self, then: Callable[[], None]) -> None:
        """Kill what the first process has left behind, let go of the output, and call when it is gone."""
        if not self._sweeping:
            self._sweeping = True
            self._sweep(then, 0.001, time.monotonic() + _PATIENCE)

    def _sweep(self, then: Callable[[], None], pause: float, deadline: float) -> None:
        self._processes.kill()
        if self._processes.left() and time.monotonic() < deadline:
            self._loop.later(pause, lambda: self._sweep(then, min(pause * 2, 0.1), deadline))
            return
        self.drain()
        for fd in list(self._outputs):
            self._close(fd)
        then()

    def drain(self) -> None:
        """Log what it has said and was not read yet."""
        for fd in list(self._outputs):
            for _ in range(_DRAINED):
                if not self._pump(fd):
                    break

    def _reported(self) -> None:
        """Hear whether it has become its command, and if not, why."""
        words = report(self._report)
        if words is None:
            return
        self._loop.forget(self._report)
        os.close(self._report)
        self._report, self._refusal = -1, words
        if not words:
            self.became = True
            self._hooks.started()

    def _pump(self, fd: int, _events: int = 0) -> bool:
        """Log some of the output; tell whether there may be more."""
        stream = self._outputs.get(fd)
        if stream is None:
            return False
        try:
            data = os.read(fd, _AT_ONCE)
        except BlockingIOError:
            return False
        if data:
            stream.feed(data)
            self._hooks.output(stream.name, data)
        else:
            self._close(fd)
        return bool(data)

    def _close(self, fd: int) -> None:
        stream = self._outputs.pop(fd, None)
        if stream is not None:
            stream.end()
            self._loop.forget(fd)
            os.close(fd)

    def _exited(self, status: int) -> None:
        self.alive = False
        if self._grace is not None:
            self._grace.cancel()
        if self._report >= 0:
            self._reported()
        code = os.waitstatus_to_exitcode(status)
        self._hooks.exited(End(code, None, self._refusal) if code >= 0 else End(None, -code, self._refusal))
