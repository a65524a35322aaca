"""Signs of life between an agent and its controller, so that each finds out in time when the other is gone or frozen.

The agent has one thread: its own signs come from a timer's signal (setitimer(2)), whatever it is at.
"""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING, Any

from nsprov.agent.protocol import BEAT, BEATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.agent.protocol import LineChannel


class Pulse:
    """What comes over a channel, with the signs of life left out, and our own signs once they are asked for."""

    def __init__(self, channel: LineChannel) -> None:
        """Give no signs yet, and wait for ever."""
        self._channel = channel
        self._patience: float | None = None

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next request; `None` when the controller has closed, or has said nothing for too long."""
        with contextlib.suppress(TimeoutError):
            while not self._overdue():
                request = self._channel.receive(self._patience)
                if request is None:
                    break
                if request != BEAT:
                    self._attend(request)
                    return request
        return None

    def heed(self) -> None:
        """Stop, by raising KeyboardInterrupt, if the controller wants something else or is gone."""
        if self._channel.disturbed() or self._overdue():
            raise KeyboardInterrupt

    def stop(self) -> None:
        """Give no more signs: there is nobody to see them."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _overdue(self) -> bool:
        if self._patience is None or time.monotonic() - self._channel.heard < self._patience:
            return False
        # What has come while this process was stopped counts: look before saying that nothing has.
        return not self._channel.disturbed() and time.monotonic() - self._channel.heard >= self._patience

    def _attend(self, request: Mapping[str, Any]) -> None:
        """Begin to give signs of life if the request asks for it; forked children do not (setitimer(2))."""
        patience = request.get("patience")
        if self._patience is not None or not isinstance(patience, (int, float)) or patience <= 0:
            return
        self._patience = float(patience)
        signal.signal(signal.SIGALRM, lambda _number, _frame: self._channel.sign(float(patience)))
        signal.siginterrupt(signal.SIGALRM, False)  # what Python does not repeat by itself, the kernel does
        signal.setitimer(signal.ITIMER_REAL, patience / BEATS, patience / BEATS)
