"""Our own terminal, when it is to be another one's."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)
_SIZE = (24, 80)
"""Rows and columns where there is no terminal to be asked."""


class Screen:
    """The terminal that we were started on."""

    def size(self) -> tuple[int, int]:
        """Give its rows and columns."""
        for fd in range(3):
            with contextlib.suppress(OSError):  # not this one
                found = os.get_terminal_size(fd)
                if found.lines and found.columns:
                    return found.lines, found.columns
        return _SIZE

    @contextlib.contextmanager
    def lent(self, notify: Callable[[int], None], *, raw: bool) -> Iterator[None]:
        """Lend it to a command until the block ends: pass keys on as they are if `raw`, and give the signals that we get.

        What is ignored stays so, as after nohup(1). When we are stopped and go on, that is SIGTSTP and SIGCONT.
        """
        before = termios.tcgetattr(0) if raw and os.isatty(0) else None

        def passed_on(number: int, _frame: FrameType | None) -> None:
            notify(number)

        def stopped(_number: int, _frame: FrameType | None) -> None:
            notify(signal.SIGTSTP)
            _restore(before)
            os.kill(os.getpid(), signal.SIGSTOP)
            _make_raw(before)
            notify(signal.SIGCONT)
            notify(signal.SIGWINCH)

        heard = [number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
        handlers = {**dict.fromkeys(heard, passed_on), signal.SIGTSTP: stopped}
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            _make_raw(before)
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            _restore(before)


def _make_raw(before: list[object] | None) -> None:
    if before is not None:
        tty.setraw(0, termios.TCSADRAIN)


def _restore(before: list[object] | None) -> None:
    if before is not None:
        with contextlib.suppress(termios.error):  # it is gone
            termios.tcsetattr(0, termios.TCSADRAIN, before)  # type: ignore[arg-type]  # as tcgetattr() gave it


def hold_streams() -> None:
    """Open /dev/null for those of fds 0 to 2 that are closed: what we open next must not become a command's stdin."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:  # noqa: PERF203 - three rounds
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
