"""The sessions of one run, one per host, and what becomes of each: connect, ask all at once, cancel, close."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nsprov import transport
from nsprov.agent import protocol
from nsprov.errors import Diagnostic, Unreachable
from nsprov.fleet.line import Line
from nsprov.fleet.outcomes import Outcome, Phase, Progress, into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from nsprov.transport import Session

FORKS = 32
HOST_TIMEOUT = 60.0
"""Seconds without a sign of life after which a host is lost, or for a host its controller."""

_TOGETHER = frozenset({"probe"})
"""The phases in which hosts wait for each other: all of them are asked at once, whatever `forks` says."""

_SIGNS = 1.0
"""Seconds between two looks at which hosts are due for a sign of life."""


class _Stopped(Exception):
    """Nobody waits for this host any more."""


@dataclass(frozen=True)
class Options:
    """How a run goes about it.

    `detail` asks for every change even where there are very many; `early` is what `start_early` gave. The timeouts are in
    seconds, 0 for no patience with a lock, and for no end of it with a host. `on_disconnect` is what a host does alone.
    """

    transport: transport.Options = field(default_factory=transport.Options)
    forks: int = FORKS
    detail: bool = False
    fingerprint: bool = False
    early: Session | None = None
    host_timeout: float = HOST_TIMEOUT
    lock_timeout: float = 0.0
    on_disconnect: str = ""
    progress: Callable[[Progress], None] = lambda _progress: None


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
        self.options = options
        self.lines: dict[str, Line] = {}
        """The hosts that can still be asked."""
        self._routes = transport.share(options.transport)
        self.sessions: dict[str, transport.Session] = {}
        self.machines: dict[str, str] = {}
        """Which machine each host is, in a word that every controller gets whatever it calls the host."""
        self.outcomes: dict[str, Outcome] = {}

    def connect(self, hosts: Iterable[transport.Host]) -> None:
        """Reach every host; the local one first, while this process has one thread only and may fork."""
        known = {host.name: host for host in hosts}
        self.outcomes.update({name: Outcome(name, address=host.address) for name, host in known.items()})
        local = [host for host in known.values() if host.connection == "local"]
        for host in local:
            with self._during("connect", host.name):
                self._open(host)
        self._routes.prepare(known.values())
        remote = [host.name for host in known.values() if host.connection != "local"]
        self._parallel("connect", remote, lambda name, _tick: self._open(known[name]))

    def _open(self, host: transport.Host) -> None:
        began = time.monotonic()
        early = self.options.early
        here = early if host.connection == "local" else None
        session = here or transport.connect(host, self.options.transport, self._routes)
        self.sessions[host.name] = session
        try:
            hello = session.receive(self.options.host_timeout or None) or {}
        except TimeoutError:
            hello = {}
        if hello.get("version") != protocol.VERSION:
            raise Unreachable(Diagnostic("the agent did not answer", host.name, session.last_words()))
        self.lines[host.name] = Line(host.name, session)
        self.machines[host.name] = str(hello.get("host", ""))
        self.outcomes[host.name].timing["connect"] = time.monotonic() - began

    def ask(
        self, requests: Mapping[str, Mapping[str, Any]], *, patiently: bool = False, phase: str = ""
    ) -> dict[str, dict[str, Any]]:
        """Send each host its request and give the replies; a host's failure is in its outcome.

        With `patiently` a host may take as long as it likes, if it gives signs of life.
        """
        replies: dict[str, dict[str, Any]] = {}
        patience = (self.options.host_timeout or None) if patiently else None

        def one(name: str, tick: Callable[[], None]) -> None:
            for message in self.lines[name].ask(requests[name], patience, tick):
                if message.get("event") == "step":
                    self._tell(Progress(name, phase, message["step"], message["done"], message["total"]))
                elif "reply" in message:
                    self.outcomes[name].timing.update(message.get("timing", {}))
                    replies[name] = message

        phase = phase or next((str(request["verb"]) for request in requests.values()), "")
        self._parallel(phase, [name for name in requests if name in self.lines], one)
        return {name: replies[name] for name in requests if name in replies}

    def sign(self) -> None:
        """Give the hosts that nobody asks anything a sign of life."""
        for line in list(self.lines.values()):
            line.sign()

    def go_back(self) -> None:
        """Have every host put back what this run has changed there."""
        self._parallel("rollback", list(self.lines), lambda name, tick: self.lines[name].go_back(tick))

    def check(self) -> None:
        """See whether an agent has gone away while nobody asked it anything; nothing is sent."""
        for name, line in list(self.lines.items()):
            with into(self.outcomes[name]):
                line.check()
            if line.lost:
                self.leave(name)

    def _tell(self, progress: Progress) -> None:
        with contextlib.suppress(OSError):  # the terminal has gone, and what a host does is more important
            self.options.progress(progress)

    @contextlib.contextmanager
    def _during(self, phase: str, name: str) -> Iterator[None]:
        """Tell of a phase's beginning and end on a host, and put its failure into its outcome."""
        outcome = self.outcomes[name]
        began, before, ok = time.time(), time.monotonic(), False
        self._tell(Progress(name, phase))
        try:
            with into(outcome):
                yield
                ok = True
        finally:
            outcome.phases[phase] = Phase(began, time.monotonic() - before, ok)
            self._tell(Progress(name, phase, ended=outcome.phases[phase]))

    def _parallel(self, phase: str, names: Sequence[str], work: Callable[[str, Callable[[], None]], None]) -> None:
        """Work on hosts at once; Ctrl-C ends it for all of them, and what they have been asked stays unanswered."""
        stopping = threading.Event()

        def look_up() -> None:
            if stopping.is_set():
                raise _Stopped

        def one(name: str, tick: Callable[[], None]) -> None:
            with self._during(phase, name):
                work(name, tick)
            if name in self.lines and self.lines[name].lost:
                self.leave(name)

        if len(names) < 2:  # noqa: PLR2004 (one host needs no thread)
            for name in names:
                one(name, self.sign)
            return
        forks = len(names) if phase in _TOGETHER else min(self.options.forks, len(names))
        with ThreadPoolExecutor(forks) as pool:
            running = [pool.submit(one, name, look_up) for name in names]
            try:
                while wait(running, min(_SIGNS, (self.options.host_timeout or _SIGNS) / protocol.BEATS)).not_done:
                    self.sign()
            except KeyboardInterrupt:
                stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for each in running:
            each.result()

    def leave(self, name: str) -> None:
        """Let go of a host, which is lost or has no part in the run, without waiting for its agent."""
        del self.lines[name]
        self.sessions.pop(name).close(wait=False)

    @property
    def failed(self) -> bool:
        """Tell whether any host has failed."""
        return any(outcome.error for outcome in self.outcomes.values())

    def close(self) -> None:
        """End every session, and the early one if nobody had a use for it."""
        for session in self.sessions.values():
            with contextlib.suppress(OSError, EOFError):  # it has ended by itself
                session.end_input()  # so that all agents end at once
        self.lines.clear()
        while self.sessions:
            self.sessions.popitem()[1].close()
        if self.options.early:
            self.options.early.close()
        self._routes.close()

    def drop(self) -> None:
        """End every session without waiting for the agents."""
        self.lines.clear()
        while self.sessions:
            self.sessions.popitem()[1].close(wait=False)


@contextlib.contextmanager
def opened(hosts: Iterable[transport.Host], options: Options) -> Iterator[Fleet]:
    """Connect to the hosts and close every session at the end; a host that could not be reached is in its outcome."""
    fleet = Fleet(options)
    try:
        fleet.connect(hosts)
        yield fleet
    except KeyboardInterrupt:
        fleet.drop()
        raise
    finally:
        fleet.close()
