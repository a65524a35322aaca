"""The sessions of one run, one per host, and what becomes of each: connect, ask all at once, cancel, close."""

from __future__ import annotations

import contextlib
import heapq
import os
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nsprov import errors, transport
from nsprov.agent import protocol
from nsprov.errors import Diagnostic, NsprovError, Unreachable
from nsprov.plan.change import GLYPHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from nsprov.plan.change import Plan
    from nsprov.transport import Session

    Progress = Callable[[str, str, int, int], None]
    Rows = Iterable[tuple[str, Any]]

FORKS = 32
_AHEAD = 256
"""How many messages of streams may wait for us; hosts that say more wait."""


@dataclass(frozen=True)
class Options:
    """How a run goes about it.

    `detail` asks for every change even where there are very many; `early` is what `start_early` gave.
    """

    transport: transport.Options = field(default_factory=transport.Options)
    forks: int = FORKS
    detail: bool = False
    fingerprint: bool = False
    early: Session | None = None
    progress: Progress = lambda _host, _step, _done, _total: None


@dataclass
class Outcome:
    """What became of one host; `plan` is `None` when there were too many changes to list and nobody asked.

    `undone` says why nothing of the plan holds although the host itself did not fail. `oom_kills` is of nodes.
    """

    host: str
    plan: Plan | None = None
    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(GLYPHS, 0))
    interrupted: str = ""
    undone: str = ""
    held: Sequence[str] = ()
    oom_kills: Mapping[str, int] = field(default_factory=dict)
    error: NsprovError | None = None
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Tell whether there is anything to change, or was."""
        return any(self.counts.values())


def start_early(lab: str) -> transport.Session | None:
    """Start the local agent before its work is known: it starts up, and looks at a lab of that name, while we read the file.

    It changes nothing, and only root has one. Whether the guess was right is for the agent to find out.
    """
    if os.geteuid() != 0:
        return None
    session = transport.local_agent()
    session.send({"verb": "expect", "lab": lab})
    return session


class Fleet:
    """The sessions of one run, one per host; closed together."""

    def __init__(self, options: Options) -> None:
        """Store the options; nothing is connected."""
        self._options = options
        self.sessions: dict[str, transport.Session] = {}
        self.outcomes: dict[str, Outcome] = {}

    def connect(self, hosts: Iterable[transport.Host]) -> None:
        """Reach every host; the local one first, while this process has one thread only and may fork."""
        known = {host.name: host for host in hosts}
        self.outcomes = {name: Outcome(name) for name in known}
        local = [host for host in known.values() if host.connection == "local"]
        for host in local:
            with _into(self.outcomes[host.name]):
                self._open(host)
        remote = [host.name for host in known.values() if host.connection != "local"]
        self._parallel(remote, lambda name: self._open(known[name]))

    def _open(self, host: transport.Host) -> None:
        began = time.monotonic()
        early = self._options.early
        session = early if early and host.connection == "local" else transport.connect(host, self._options.transport)
        self.sessions[host.name] = session
        hello = session.receive() or {}
        if hello.get("version") != protocol.VERSION:
            raise Unreachable(Diagnostic("the agent did not answer", host.name, session.last_words()))
        self.outcomes[host.name].timing["connect"] = time.monotonic() - began

    def ask(self, requests: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Send each host its request and give the replies; a host's failure is in its outcome."""
        replies: dict[str, dict[str, Any]] = {}

        def one(name: str) -> None:
            self.sessions[name].send(requests[name])
            replies[name] = self._reply(name)

        self._parallel([name for name in requests if name in self.sessions], one)
        return {name: replies[name] for name in requests if name in replies}

    def stream(
        self,
        requests: Mapping[str, Mapping[str, Any]],
        take: Callable[[str, Any], None],
        ended: Callable[[str], None],
    ) -> None:
        """Send each host its request, and hand the rows that it sends to `take` as they come, and to `ended` that it has.

        Both are called in this thread. What they raise, and Ctrl-C, end all streams first.
        """
        arrived: queue.Queue[tuple[str, dict[str, Any] | None]] = queue.Queue(_AHEAD)
        running = {name for name in requests if name in self.sessions}

        def one(name: str) -> None:
            try:
                with _into(self.outcomes[name]):
                    self.sessions[name].send(requests[name])
                    for message in self._messages(name):
                        arrived.put((name, message))
            finally:
                arrived.put((name, None))

        def drain(take: Callable[[str, Any], None], ended: Callable[[str], None]) -> None:
            while running:
                name, message = arrived.get()
                if message is None:
                    running.discard(name)
                    ended(name)
                else:
                    for row in message.get("rows", ()):
                        take(name, row)

        with ThreadPoolExecutor(len(running) or 1) as pool:
            for name in running:
                pool.submit(one, name)
            try:
                drain(take, ended)
            except BaseException:
                for session in self.sessions.values():
                    with contextlib.suppress(OSError, EOFError):  # it has ended by itself
                        session.end_input()
                drain(lambda _name, _row: None, lambda _name: None)
                raise

    def merged(self, requests: Mapping[str, Mapping[str, Any]], key: Callable[[Any], Any]) -> Rows:
        """Send each host its request, and give the rows that they send, with their hosts, in the order of `key`."""

        def rows(name: str) -> Rows:
            with _into(self.outcomes[name]):
                for message in self._messages(name):
                    yield from ((name, row) for row in message.get("rows", ()))

        for name, request in requests.items():
            with _into(self.outcomes[name]):
                self.sessions[name].send(request)
        return heapq.merge(*map(rows, requests), key=lambda pair: key(pair[1]))

    def _messages(self, name: str) -> Iterator[dict[str, Any]]:
        """Give what a host says, its reply last."""
        session = self.sessions[name]
        while True:
            message = session.receive()
            if message is None:
                raise Unreachable(Diagnostic("the agent has gone away", name, session.last_words()))
            if "error" in message:
                raise _raised(message, name)
            yield message
            if "reply" in message:
                return

    def _reply(self, name: str) -> dict[str, Any]:
        for message in self._messages(name):
            if message.get("event") == "step":
                self._options.progress(name, message["step"], message["done"], message["total"])
        self.outcomes[name].timing.update(message.get("timing", {}))
        return message

    def _parallel(self, names: Sequence[str], work: Callable[[str], None]) -> None:
        def one(name: str) -> None:
            with _into(self.outcomes[name]):
                work(name)

        if len(names) < 2:  # noqa: PLR2004 (one host needs no thread)
            for name in names:
                one(name)
            return
        with ThreadPoolExecutor(self._options.forks) as pool:
            try:
                list(pool.map(one, names))
            except KeyboardInterrupt:
                self.cancel()
                raise

    def cancel(self) -> None:
        """Ask every agent to stop at the next step and to go back."""
        for session in self.sessions.values():
            with contextlib.suppress(OSError, NsprovError):
                session.send({"verb": "rollback"})

    def drain(self) -> None:
        """Wait for every agent to have gone back, after `cancel`."""

        def one(name: str) -> None:
            while (message := self.sessions[name].receive()) is not None:
                if message.get("error") == "RollbackIncomplete":
                    raise _raised(message, name)
                if message.get("reply") == "rollback":
                    return
            hint = "run `nsprov up` or `nsprov down` again: what was begun is written down on the host"
            raise errors.RollbackIncomplete(Diagnostic("the agent ended before it had gone back", name, hint=hint))

        self._parallel(list(self.sessions), one)

    def disown(self, why: str) -> None:
        """Say of every host that did not fail itself why nothing was done there."""
        for outcome in self.outcomes.values():
            if outcome.error is None:
                outcome.undone = why

    @property
    def failed(self) -> bool:
        """Tell whether any host has failed."""
        return any(outcome.error for outcome in self.outcomes.values())

    def close(self) -> None:
        """End every session, and the early one if nobody had a use for it."""
        for session in self.sessions.values():
            session.close()
        if self._options.early and self._options.early not in self.sessions.values():
            self._options.early.close()


@contextlib.contextmanager
def _into(outcome: Outcome) -> Iterator[None]:
    """Put a host's failure into its outcome."""
    try:
        yield
    except NsprovError as problem:
        outcome.error = problem
    except OSError as problem:
        outcome.error = Unreachable(Diagnostic("the connection was lost", outcome.host, str(problem)))


def _raised(message: Mapping[str, Any], host: str) -> NsprovError:
    kind = getattr(errors, str(message["error"]), NsprovError)
    found = [Diagnostic.from_dict(row) for row in message.get("diagnostics", [])]
    placed = [Diagnostic(d.summary, f"{host}/{d.where}" if d.where else host, d.detail, d.hint, d.excerpt) for d in found]
    if kind is errors.KernelError:
        kind = errors.StepFailed
    problem: NsprovError = kind(*placed)
    return problem


@contextlib.contextmanager
def opened(hosts: Iterable[transport.Host], options: Options) -> Iterator[Fleet]:
    """Connect to the hosts and close every session at the end; a host that could not be reached is in its outcome."""
    fleet = Fleet(options)
    try:
        fleet.connect(hosts)
        yield fleet
    finally:
        fleet.close()
