"""One run of a workload: its process, the watch over it, and what its record says of both."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from nsprov.init import launch, offspring
from nsprov.init.notify import address
from nsprov.init.process import Hooks, Process
from nsprov.init.processes import Processes
from nsprov.init.vigil import Hearers, Vigil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.init.logs import Log
    from nsprov.init.loop import Loop
    from nsprov.init.process import End
    from nsprov.init.record import Record
    from nsprov.init.spec import Spec


class Site:
    """Where workloads live: the loop, who hears of events, whether the node is paused, and the directory of `logs`."""

    def __init__(self, loop: Loop, announce: Callable[[Mapping[str, Any]], None], paused: Callable[[], bool]) -> None:
        """Store them; logs have their place when the node is known."""
        self.loop = loop
        self.announce = announce
        self.paused = paused
        self.logs = -1


class Order(NamedTuple):
    """What to run: the spec, as it came too, and descriptors of the workload: of its groups, and of `cgroup.kill`, or -1.

    The last group is the workload's own.
    """

    spec: Spec
    given: Mapping[str, Any]
    groups: tuple[int, ...] = ()
    killer: int = -1


class Run:
    """A run from its fork on; `over` hears how its first process ended, `cure` that it shall be started again."""

    def __init__(self, site: Site, order: Order, record: Record, over: Callable[[End], None], cure: Callable[[], None]) -> None:
        """Store what is run and who hears."""
        self._site = site
        self._spec = order.spec
        self._order = order
        self._record = record
        self._over = over
        self._cure = cure
        self._cause = ""
        hearers = Hearers(self._ready, self._late, partial(setattr, record, "reason"), self._examined, site.paused)
        self._vigil = Vigil(site.loop, order.spec, order.groups, hearers)

    def launch(self, log: Log) -> Process:
        """Fork the process.

        Raises:
            OSError: there is no room for it now, or somebody else has the name of its socket.

        """
        spec, record, order = self._spec, self._record, self._order
        by_word = spec.ready is not None and spec.ready.kind == "notify"
        extra = {"NOTIFY_SOCKET": address(record.name)} if by_word else {}
        work = partial(launch.become, spec, spec.command, extra)
        self._vigil.listen(record.name, self._is_ours)
        try:
            child = offspring.fork(order.groups, work, output=True)
        except OSError:
            self._vigil.end()
            raise
        self._processes = Processes(child.pid, order.groups[-1] if order.groups else -1, order.killer)
        hooks = Hooks(self._started, self._vigil.output, self._exited)
        self.process = Process(self._site.loop, child, self._processes, log, hooks)
        record.exit = record.signal = None
        record.health = "starting" if spec.health else ""
        record.move("starting")
        return self.process

    def _is_ours(self, pid: int) -> bool:
        return self._processes.has(pid)

    def _started(self) -> None:
        self._record.move("starting" if self._spec.ready else "running")
        self._record.tell("started")
        self._vigil.begin()

    def _ready(self) -> None:
        self._record.move("ready")
        self._record.tell("ready")

    def _late(self, words: str) -> None:
        self._cause = words
        self.process.stop(self._spec.stop_signal, self._spec.grace)

    def _examined(self, words: str) -> None:
        """Take note of its health, and do what is to be done when it has just become bad."""
        state = "unhealthy" if words else "healthy"
        if state == self._record.health:
            return
        self._record.health = state
        self._record.reason = words
        self._record.tell(state)
        assert self._spec.health is not None
        if words and self._spec.health.on_failure != "none":
            self._cause = f"unhealthy: {words}"
            if self._spec.health.on_failure == "kill":
                self.process.kill()
            else:
                self._cure()

    def _exited(self, end: End) -> None:
        self._vigil.end()
        self._record.health = ""
        self._record.exit, self._record.signal = end.code, end.signal
        self._over(end._replace(words=end.words or self._cause))
