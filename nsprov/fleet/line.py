"""A line to one host: its session, what has been asked over it, and signs of life while nothing is."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from nsprov.agent.protocol import BEAT, BEATS
from nsprov.errors import Diagnostic, Unreachable
from nsprov.fleet.outcomes import raised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nsprov.transport import Session

    Message = dict[str, Any]

_SLICE = 0.25
"""Seconds after which who waits for a host looks up."""


class Line:
    """Used by one thread at a time: by who asks, or else by who gives signs of life for those that nobody asks."""

    def __init__(self, host: str, session: Session) -> None:
        """Store a session that is open, and what the host is called."""
        self.host = host
        self.session = session
        self.lost = False
        self._lock = threading.Lock()
        self._patience: float | None = None
        self._said = 0.0
        self._unanswered = 0

    def ask(self, request: Mapping[str, Any], patience: float | None, tick: Callable[[], None]) -> Iterator[Message]:
        """Send a request, and give what the host says to it, its reply last; `tick` is called while there is nothing.

        With `patience` signs of life are exchanged from now on, and a host that gives none for so many seconds is lost.

        Raises:
            Unreachable: it is lost, or its agent has gone.
            NsprovError: what the agent has told of instead of a reply.

        """
        with self._lock:
            if patience is not None:
                self._patience = patience
                request = {**request, "patience": patience}
            self._send(request)
            for message in self._answers(tick):
                if "error" in message:
                    raise raised(message, self.host)
                yield message

    def go_back(self, tick: Callable[[], None]) -> None:
        """Have the agent stop what it is at and put everything back; what it says to earlier requests is not heard any more.

        Raises:
            RollbackIncomplete: with what is left.
            Unreachable: it is lost, or its agent has gone.

        """
        with self._lock:
            self._send({"verb": "rollback"})
            while self._unanswered:
                message = list(self._answers(tick))[-1]
            if "error" in message:
                raise raised(message, self.host)

    def check(self) -> None:
        """See whether the agent has gone meanwhile, without asking it.

        Raises:
            Unreachable: it has.

        """
        with self._lock:
            try:
                while (message := self.session.receive(0.0)) is not None:
                    del message  # a sign of life
            except TimeoutError:
                return
            self.lost = True
            raise Unreachable(Diagnostic("the agent has gone away", self.host, self.session.last_words()))

    def sign(self) -> None:
        """Give a sign of life if one is due and nobody is using the line."""
        if self._patience is not None and self._lock.acquire(blocking=False):
            try:
                self._sign()
            finally:
                self._lock.release()

    def _sign(self) -> None:
        if self._patience is not None and time.monotonic() - self._said > self._patience / BEATS:
            self._said = time.monotonic()
            with contextlib.suppress(Unreachable, OSError):  # whoever asks next is told
                self.session.send(BEAT)

    def _send(self, request: Mapping[str, Any]) -> None:
        self._said = time.monotonic()
        try:
            self.session.send(request)
        except (Unreachable, OSError):
            self.lost = True
            raise
        self._unanswered += 1

    def _answers(self, tick: Callable[[], None]) -> Iterator[Message]:
        """Give what comes, until something is a reply or an error."""
        heard = time.monotonic()
        while True:
            try:
                message = self.session.receive(_SLICE)
            except TimeoutError:
                if self._patience is not None and time.monotonic() - heard > self._patience:
                    raise self._silent(self._patience) from None
                self._sign()
                tick()
                continue
            except (Unreachable, OSError):
                self.lost = True
                raise
            heard = time.monotonic()
            self._sign()
            if message is None:
                self.lost = True
                raise Unreachable(Diagnostic("the agent has gone away", self.host, self.session.last_words()))
            if "reply" in message or "error" in message:
                self._unanswered -= 1
                yield message
                return
            yield message
            tick()

    def _silent(self, patience: float) -> Unreachable:
        self.lost = True
        hint = "see whether it is frozen, or cut off; --host-timeout gives it more time"
        return Unreachable(Diagnostic(f"the host has said nothing for {patience:g} s", self.host, hint=hint))
