"""The workloads of a lab on all its hosts: look, choose by name, control, read on. Over one session with each host.

A host that fails is in `failures`; whether the others are then of use is for the command to say.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, NothingMatched
from nsprov.fleet import Fleet, Options, opened, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from nsprov import transport
    from nsprov.errors import NsprovError

    Row = dict[str, Any]
    Terms = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Choice:
    """Workloads of one host, `(node, name)`, and the nodes that were chosen whole."""

    targets: Sequence[tuple[str, str]]
    nodes: Sequence[str]


class Operation:
    """One look at a lab's workloads on the `hosts` that have something of it, and what is done with those that are chosen.

    `nodes` has a row for each node that was asked for, or could have workloads; `workloads` has one for each of those.
    """

    def __init__(self, fleet: Fleet, lab: str, replies: Mapping[str, Row]) -> None:
        """Store what was seen."""
        self._fleet = fleet
        self.lab = lab
        self.hosts = [host for host, reply in replies.items() if reply["there"]]
        self.nodes: list[Row] = [{"host": host, **row} for host, reply in replies.items() for row in reply["nodes"]]
        self.workloads: list[Row] = [{"host": host, **row} for host, reply in replies.items() for row in reply["workloads"]]

    @property
    def failures(self) -> list[NsprovError]:
        """Give what went wrong on hosts, so far."""
        return [outcome.error for outcome in self._fleet.outcomes.values() if outcome.error is not None]

    def choose(self, names: Sequence[str]) -> dict[str, Choice]:
        """Give by host what `NODE` and `NODE/WORKLOAD` stand for; no names at all are all workloads.

        Raises:
            NothingMatched: a name stands for nothing; a host that failed is told of first.

        """
        found: dict[tuple[str, str], str] = {}
        for name in names:
            rows = [row for row in self.workloads if name in (row["node"], f"{row['node']}/{row['name']}")]
            if not rows:
                raise (*self.failures, self._nothing(name))[0]
            found.update({(row["node"], row["name"]): row["host"] for row in rows})
        if not names:
            found = {(row["node"], row["name"]): row["host"] for row in self.workloads}
        whole = {row["node"] for row in self.nodes if not names or row["node"] in names}
        choices = {}
        for host in dict.fromkeys(row["host"] for row in self.nodes):
            targets = [target for target, where in found.items() if where == host]
            nodes = [row["node"] for row in self.nodes if row["host"] == host and row["node"] in whole]
            if targets or nodes:
                choices[host] = Choice(targets, nodes)
        return choices

    def _nothing(self, name: str) -> NothingMatched:
        node, slash, _ = name.partition("/")
        if all(row["node"] != node for row in self.nodes):
            return NothingMatched(Diagnostic(f'lab "{self.lab}" has no node "{node}"', hint="see `nsprov status -v`"))
        known = ", ".join(row["name"] for row in self.workloads if row["node"] == node)
        hint = f"use one of {known}" if known else "give it some in the topology"
        summary = f'there is no workload "{name}"' if slash else f'node "{node}" has no workloads'
        return NothingMatched(Diagnostic(summary, hint=hint))

    def whole(self, nodes: Sequence[str]) -> dict[str, list[str]]:
        """Give nodes by their host.

        Raises:
            NothingMatched: the lab has no such node; a host that failed is told of first.

        """
        found: dict[str, list[str]] = {}
        for node in dict.fromkeys(nodes):
            hosts = [row["host"] for row in self.nodes if row["node"] == node]
            if not hosts:
                raise (*self.failures, self._nothing(node))[0]
            found.setdefault(hosts[0], []).append(node)
        return found

    def ask(self, verb: str, by_host: Terms) -> list[Row]:
        """Have each host do its part, and give its rows, each with its host.

        Raises:
            NsprovError: the first host's failure; the others have done theirs.

        """
        replies = self._fleet.ask(self._requests(verb, by_host))
        for failure in self.failures:
            raise failure
        return [{"host": host, **row} for host, reply in replies.items() for row in reply["rows"]]

    def merged(self, verb: str, by_host: Terms, key: Callable[[Any], Any]) -> Iterable[tuple[str, Any]]:
        """Ask each host, and give the rows that they send in the order of `key`."""
        return streams.merged(self._fleet, self._requests(verb, by_host), key)

    def stream(
        self, verb: str, by_host: Terms, take: Callable[[str, Any], None], lost: Callable[[NsprovError], None]
    ) -> None:
        """Ask each host, and hand over the rows that they send as they come, and the failure of one that is lost."""

        def ended(host: str) -> None:
            error = self._fleet.outcomes[host].error
            if error is not None:
                lost(error)

        streams.stream(self._fleet, self._requests(verb, by_host), take, ended)

    def _requests(self, verb: str, by_host: Terms) -> dict[str, Row]:
        return {host: {"verb": verb, "lab": self.lab, **terms} for host, terms in by_host.items()}


@contextlib.contextmanager
def looking(lab: str, hosts: Sequence[transport.Host], options: Options, nodes: Sequence[str]) -> Iterator[Operation]:
    """Look at the workloads of these nodes of a lab, or of all if none are named, on every host; hosts stay connected.

    Raises:
        NothingMatched: no host has anything of the lab.
        NsprovError: no host could be asked at all; the first one's failure.

    """
    with opened(hosts, options) as fleet:
        request = {"verb": "workloads", "lab": lab, "nodes": sorted(set(nodes))}
        replies = fleet.ask(dict.fromkeys(fleet.sessions, request))
        operation = Operation(fleet, lab, replies)
        if not operation.hosts:
            hint = "use a name that `nsprov ls` shows"
            where = ", ".join(host.name for host in hosts)
            raise (*operation.failures, NothingMatched(Diagnostic(f'no host has a lab "{lab}"', where, hint=hint)))[0]
        yield operation
