"""What became of a workload: its state, how its last run ended, and who wants to hear of changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Listener = Callable[[str], bool]

class Record:
    """The state of one workload: starting, ready, running, backoff, done, failed or stopped."""

    def __init__(self, name: str, announce: Callable[[Mapping[str, Any]], None]) -> None:
        """Begin as stopped; `announce` hears of every event."""
        self.name = name
        self.state = "stopped"
        self.since = time.time()
        self.exit: int | None = None
        self.signal: int | None = None
        self.reason = ""
        self.health = ""
        self._announce = announce
        self._listeners: list[Listener] = []

    def move(self, state: str, reason: str = "") -> None:
        """Be in a state from now on, and for what reason."""
        if state != self.state:
            self.since = time.time()
        self.state, self.reason = state, reason

    def tell(self, event: str) -> None:
        """Let all hear that something has happened: what is true by now."""
        row = {"event": event, "workload": self.name, "time": time.time(), "state": self.state, "reason": self.reason}
        if event in ("exited", "failed"):
            row.update(exit=self.exit, signal=self.signal)
        self._announce(row)
        listeners, self._listeners = self._listeners, []
        self._listeners += [listener for listener in listeners if not listener(event)]

    def is_down(self) -> bool:
        """Tell whether it does not run, should, and will not by itself."""
        return self.state in ("failed", "stopped")

    def as_dict(self) -> dict[str, Any]:
        """Give the state as JSON."""
        return {name: getattr(self, name) for name in ("state", "since", "exit", "signal", "reason", "health")}

    def when(self, listener: Listener) -> None:
        """Have events told to a listener until it has heard enough and gives True."""
        self._listeners.append(listener)

    def ignore(self, listener: Listener) -> None:
        """Tell a listener no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)
