"""Descriptors, timers and children that call back, in one thread: the only place where an init waits.

A callback must not block. What it raises is said on descriptor 2 and forgotten: the death of a PID 1 is that of its node.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, ImportError, LookupError, MemoryError),
    *(NameError, OSError, ReferenceError, RuntimeError, StopIteration, SystemError, TypeError, ValueError),
)
"""What code may raise that is wrong, or is given something wrong."""

_CHILDREN_AT_ONCE = 256
"""A maker of zombies must not keep the others waiting."""

_COMPLAINTS = 200
"""What repeats for ever must not fill a disk."""


class Timer:
    """A call that will be made, unless it is cancelled."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        """Store what is called."""
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Let it come to nothing; after it has been made, too."""
        self.callback = None


class Loop:
    """Calls back, for ever."""

    def __init__(self) -> None:
        """Watch nothing."""
        self._poll = select.poll()
        self._watched: dict[int, Callable[[int], object]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._children: dict[int, Callable[[int], object]] = {}
        self._count = 0
        self._complaints = 0

    def watch(self, fd: int, callback: Callable[[int], object], events: int = select.POLLIN) -> None:
        """Call back with the events whenever a descriptor has some of `events`, instead of what was watched there before."""
        self._watched[fd] = callback
        self._poll.register(fd, events)

    def forget(self, fd: int) -> None:
        """Watch a descriptor no more; to be called before it is closed."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back in some time."""
        timer = Timer(callback)
        self._count += 1  # two timers of the same moment are compared by it
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._count, timer))
        return timer

    def adopt(self, pid: int, callback: Callable[[int], object]) -> None:
        """Call back with a child's exit status (wait(2)); those that nobody asks for are reaped all the same."""
        self._children[pid] = callback

    def reap(self) -> None:
        """Take leave of children that have ended, of whomever they once were."""
        for _ in range(_CHILDREN_AT_ONCE):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            callback = self._children.pop(pid, None)
            if callback is not None:
                self.guarded(callback, status)
        self.later(0, self.reap)

    def turn(self) -> None:
        """Wait for what comes first, and call back."""
        found = [(fd, events, self._watched.get(fd)) for fd, events in self._poll.poll(self._patience())]
        for fd, events, callback in found:
            # An earlier callback of this turn may have closed it, and opened another thing of the same number.
            if callback is not None and self._watched.get(fd) is callback and not self.guarded(callback, events):
                self.forget(fd)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                self.guarded(timer.callback)

    def guarded(self, callback: Callable[..., object], *arguments: Any) -> bool:
        """Call, and tell whether it went well."""
        try:
            callback(*arguments)
        except FAULTS as problem:
            self._complain(problem)
            return False
        return True

    def _patience(self) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return None
        left = self._timers[0][0] - time.monotonic()
        return left * 1000 + 1 if left > 0 else 0  # poll(2) would round down, and turn for nothing

    def _complain(self, problem: BaseException) -> None:
        self._complaints += 1
        if self._complaints <= _COMPLAINTS:
            with contextlib.suppress(OSError):  # the disk is full: nobody can be told
                os.write(2, f"{words(problem)}\n".encode(errors="replace"))


def plain(problem: BaseException) -> str:
    """Say what was raised, to who did not make it."""
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror
    return str(problem) or type(problem).__name__


def words(problem: BaseException) -> str:
    """Say what was raised, and where: an init has no module that prints tracebacks."""
    places, trace = [], problem.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(problem).__name__}: {problem} ({' '.join(places)})"
