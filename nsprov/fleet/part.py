"""Work on some of the hosts of a fleet that is open for more than that: talk to one of them, or run a lab on a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, Unreachable
from nsprov.fleet.outcomes import Outcome
from nsprov.fleet.sessions import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from nsprov import transport


def talk(fleet: Fleet, name: str, request: Mapping[str, Any], tick: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """Send one host a request, and give what it says to it, its reply last; for a caller with threads of his own.

    Raises:
        NsprovError: what the host has told of, or that it is lost; it takes no further part then.

    """
    line = fleet.lines.get(name)
    if line is None:
        raise Unreachable(Diagnostic("the host is not connected", name))
    try:
        yield from line.ask(request, fleet.options.host_timeout or None, tick)
    finally:
        if line.lost and name in fleet.lines:
            fleet.leave(name)


class Part(Fleet):
    """Some hosts of a fleet, for one run on a lab; at its end they let go of the lab's lock, and the sessions stay."""

    def __init__(self, whole: Fleet, names: Iterable[str]) -> None:
        """Take the lines of the hosts that are there."""
        super().__init__(whole.options)
        self._whole = whole
        chosen = [name for name in names if name in whole.lines]
        self.lines = {name: whole.lines[name] for name in chosen}
        self.sessions = {name: whole.sessions[name] for name in chosen}
        self.machines = whole.machines
        self.outcomes = {name: Outcome(name, address=whole.outcomes[name].address) for name in chosen}

    def connect(self, hosts: Iterable[transport.Host]) -> None:
        """Say of further hosts that they have no part: what holds something of the lab must be among those that are open."""
        for host in hosts:
            hint = "let the play have it, too"
            summary = "the host has had a part in the lab, and has none in the play"
            error = Unreachable(Diagnostic(summary, host.name, hint=hint))
            self.outcomes[host.name] = Outcome(host.name, address=host.address, error=error)

    def leave(self, name: str) -> None:
        """Let go of a host; of its session, too, if it is lost."""
        lost = self.lines.pop(name).lost
        self.sessions.pop(name)
        if lost and name in self._whole.lines:
            self._whole.leave(name)

    def close(self) -> None:
        """Have the hosts let go of the lock."""
        self.ask({name: {"verb": "release"} for name in self.lines}, patiently=True)
        self.lines.clear()

    def drop(self) -> None:
        """End every session of the whole without waiting."""
        self.lines.clear()
        self._whole.drop()
