"""Ask many hosts one thing that changes nothing; what one of them cannot say hides nothing of what the others say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nsprov.fleet import Options, Outcome, opened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov import transport
    from nsprov.errors import NsprovError


@dataclass(frozen=True)
class Inquiry:
    """The replies of the hosts that have answered, what connecting to hosts has found, and what became of every host."""

    replies: Mapping[str, dict[str, Any]]
    facts: Mapping[str, Mapping[str, Any]]
    outcomes: Sequence[Outcome]

    @property
    def failures(self) -> list[NsprovError]:
        """Give what went wrong, by host."""
        return [outcome.error for outcome in self.outcomes if outcome.error is not None]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Give a list of each reply, with the host's name in every row, in the hosts' order."""
        return [{"host": host, **row} for host, reply in self.replies.items() for row in reply[name]]


def ask(
    verb: str,
    lab: str,
    hosts: Sequence[transport.Host],
    options: Options,
    terms: Mapping[str, Mapping[str, Any]] | None = None,
) -> Inquiry:
    """Ask every host, each with its own `terms`, over one channel each."""
    with opened(hosts, options) as fleet:
        requests = {name: {"verb": verb, "lab": lab, **(terms or {}).get(name, {})} for name in fleet.sessions}
        able = {name: request for name, request in requests.items() if fleet.outcomes[name].error is None}
        replies = fleet.ask(able)
        facts = {name: session.facts for name, session in fleet.sessions.items()}
        found = {host.name: replies[host.name] for host in hosts if host.name in replies}
        return Inquiry(found, facts, list(fleet.outcomes.values()))
