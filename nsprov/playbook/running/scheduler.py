"""Drive the programs of a play: send what they ask for to all hosts at once, let them meet, and see who is left.

The programs run in this thread, one at a time; only what waits for hosts has threads.
"""

from __future__ import annotations

import threading
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nsprov.errors import InputError, NsprovError
from nsprov.playbook.running.entries import Meet, Pause, TaskFailed
from nsprov.playbook.running.judging import broken
from nsprov.playbook.running.program import Enough

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.playbook.running.entries import Program, Wants
    from nsprov.playbook.running.record import Result
    from nsprov.playbook.running.setting import Topology
    from nsprov.playbook.running.work import Step

    Exchange = Callable[[str, Sequence[Step], threading.Event], Mapping[int, Result]]

_SIGNS = 1.0
"""Seconds between two looks at which hosts are due for a sign of life."""

FAILED, UNREACHABLE, ABORTED = "failed", "unreachable", "aborted"


@dataclass(frozen=True, kw_only=True)
class Wires:
    """How hosts are reached: `connect` gives those that could not be, with the reason, and `exchange` has steps done."""

    connect: Callable[[Sequence[str]], Mapping[str, str]]
    exchange: Exchange
    topology: Topology
    """Brings a whole lab up or down on some hosts."""
    sign: Callable[[], None]
    """Tells hosts that wait for us that we are here."""
    settle: Callable[[], None]
    """Is told when all hosts have come as far as they can together."""


@dataclass(frozen=True)
class Limits:
    """When a play ends for all: at the first failure, or when more than a share of its hosts have failed."""

    any_error: bool = False
    percentage: float | None = None

    def exceeded(self, failed: int, total: int) -> bool:
        """Tell whether it is time."""
        return bool(failed) and (self.any_error or (self.percentage is not None and 100 * failed / total > self.percentage))


class Scheduler:
    """Runs programs until all have ended; `ended` says of each host how, and nothing for one that came to its end."""

    def __init__(self, programs: Mapping[str, Program], wires: Wires, *, free: bool, forks: int, limits: Limits) -> None:
        """Store the programs by host, in the play's order."""
        self._programs = dict(programs)
        self._wires = wires
        self._free = free
        self._forks = max(1, min(forks, len(programs)))
        self._limits = limits
        self._total = len(programs)
        self._meeting: dict[str, Any] = {}
        self._running: dict[Future[Any], str] = {}
        self._stop = threading.Event()
        self._rank = {host: rank for rank, host in enumerate(programs)}
        self._due: set[str] = set()
        self._over: str | None = None
        self.ended: dict[str, str] = {}
        self.lost: dict[str, NsprovError] = {}

    def run(self) -> None:
        """Run everything; Ctrl-C ends what is waited for, and is raised."""
        with ThreadPoolExecutor(self._forks) as pool:
            try:
                self._resume_all(pool, dict.fromkeys(self._programs))
                while self._programs:
                    if self._running:
                        self._collect(pool)
                    else:
                        self._meet(pool)
                    self._wires.settle()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _collect(self, pool: ThreadPoolExecutor) -> None:
        """Take answers: the first that come, or, hosts going together, those of all."""
        when = FIRST_COMPLETED if self._free else ALL_COMPLETED
        while not (done := wait(self._running, _SIGNS, when).done) or (not self._free and len(done) < len(self._running)):
            self._wires.sign()
        for future in sorted(done, key=lambda one: self._rank[self._running[one]]):
            host = self._running.pop(future)
            problem = future.exception()
            if isinstance(problem, NsprovError):
                self.lost[host] = problem
                self._out(host, UNREACHABLE)
            elif problem is not None:
                raise problem
            elif host in self._programs:
                self._resume(pool, host, future.result())

    def _meet(self, pool: ThreadPoolExecutor) -> None:
        """Let those go on that wait at one point: the one where most are, for nobody else can come."""
        points = list(self._meeting.values())
        point = max(points, key=points.count)
        hosts = tuple(host for host in self._programs if self._meeting.get(host) == point)
        for host in hosts:
            del self._meeting[host]
        self._resume_all(pool, dict.fromkeys(hosts, hosts))

    def _resume_all(self, pool: ThreadPoolExecutor, answers: Mapping[str, Any]) -> None:
        self._due = set(answers)
        for host, answer in answers.items():
            self._due.discard(host)
            if host in self._programs:
                self._resume(pool, host, answer)

    def _resume(self, pool: ThreadPoolExecutor, host: str, answer: Any) -> None:
        try:
            wanted = self._programs[host].send(answer)
        except StopIteration:
            del self._programs[host]
        except TaskFailed:
            self._out(host, FAILED)
        except InputError as problem:
            self.lost[host] = problem
            self._out(host, FAILED)
        except Enough as enough:
            self._drop(host)
            if enough.play:
                self._end("")
        else:
            if self._over is None:
                self._begin(pool, host, wanted)
            else:
                self._leave(host)

    def _begin(self, pool: ThreadPoolExecutor, host: str, wanted: Wants) -> None:
        if isinstance(wanted, Meet):
            self._meeting[host] = wanted.point
        elif isinstance(wanted, Pause):
            self._running[pool.submit(self._stop.wait, wanted.seconds)] = host
        else:
            if wanted.host != host:
                self._wires.connect((wanted.host,))  # if it is not; if it cannot be, the exchange says so
            self._running[pool.submit(self._wires.exchange, wanted.host, wanted.steps, self._stop)] = host

    def _out(self, host: str, how: str) -> None:
        """Take a host out; when too many are, all are."""
        self._drop(host)
        self.ended[host] = how
        failed = sum(1 for word in self.ended.values() if word != ABORTED)
        if self._limits.exceeded(failed, self._total):
            self._end(ABORTED)

    def _end(self, how: str) -> None:
        """End the play for all; who is at a task, as the one who ends it was, comes to its end and is told of."""
        self._over = how
        busy = self._due | set(self._running.values())
        for host in [host for host in self._programs if host not in busy]:
            self._leave(host)

    def _leave(self, host: str) -> None:
        self._drop(host)
        if self._over:
            self.ended[host] = self._over

    def _drop(self, host: str) -> None:
        program = self._programs.pop(host, None)
        self._meeting.pop(host, None)
        if program is not None:
            program.close()


def message(problem: NsprovError) -> str:
    """Say why a host was lost, in one line."""
    return str(broken(InputError(*problem.diagnostics))["msg"])
