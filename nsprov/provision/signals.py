"""The signals that end a run: the first one makes every host go back, and the next one is not to wait for that."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, HungUp, Interrupted, Terminated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal has come that ends the run."""

    def __init__(self, number: int) -> None:
        """Store which."""
        super().__init__(number)
        self.number = number

    def error(self, host: str) -> Interrupted:
        """Say so of a host."""
        if self.number == signal.SIGINT:
            return Interrupted(Diagnostic("interrupted", host))
        kind = HungUp if self.number == signal.SIGHUP else Terminated
        return kind(Diagnostic(f"ended by {signal.Signals(self.number).name}", host))


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Raise Stopped when such a signal comes; what is ignored stays so, as after nohup(1)."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    with _handled(stop):
        yield


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """Ignore them: they come too late when every host has what was asked, and must not part those that keep it from others."""
    with _handled(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handled(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's (signal(7)), and only it may say what becomes of them
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        for number in _ENDING:
            if before[number] is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
