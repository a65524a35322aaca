"""What an agent can ask of an init: one method for each verb."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from nsprov.init.spec import signal_number
from nsprov.init.workload import BORN, RUNNING
from nsprov.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.init.loop import Loop
    from nsprov.init.server import Request
    from nsprov.init.supervisor import Supervisor
    from nsprov.init.workload import Workload

_GOALS: Mapping[str, tuple[str, ...]] = {"ready": ("ready", "running", "done"), "exit": ("done", "failed", "stopped")}
"""What can be waited for, and in which states that is so."""

_OVER = ("done", "failed", "stopped")
"""States that change only when somebody asks for it."""

_LONGEST_WAIT = 1 << 31


class Control:
    """Does what is asked; a verb that takes its time answers later. `paused` says that the node's processes are frozen."""

    def __init__(self, loop: Loop, supervisor: Supervisor, leave: Callable[[], None]) -> None:
        """Store what it acts on; `leave` ends the init."""
        self.paused = False
        self._loop = loop
        self._supervisor = supervisor
        self._leave = leave
        self._verbs: Mapping[str, Callable[[Request], None]] = {
            "hello": self._hello,
            "root": self._root,
            "set": self._set,
            "remove": self._remove,
            "start": partial(self._begin, anew=False),
            "restart": partial(self._begin, anew=True),
            "stop": self._stop,
            "kill": self._kill,
            "wait": self._wait,
            "pause": self._pause,
            "events": lambda request: request.connection.stream(),
            "shutdown": self._shut_down,
        }

    def serve(self, request: Request) -> None:
        """Do what a request says; ValueError or OSError, in words, if it cannot be done."""
        word = request.message.get("verb")
        verb = self._verbs.get(word) if isinstance(word, str) else None
        if verb is None:
            raise ValueError(f"{word!r} is none of {', '.join(self._verbs)}")
        verb(request)

    def _hello(self, request: Request) -> None:
        """Say who is here."""
        found = {name: workload.status() for name, workload in self._supervisor.workloads.items()}
        request.answer(pid=os.getpid(), workloads=found)

    def _root(self, request: Request) -> None:
        """Move into a mount namespace, which may be made only when a PID 1 is there to mount its /proc."""
        if len(request.fds) != 1:
            raise ValueError("it takes one mount namespace")
        libc.setns(request.fds[0], libc.CLONE_NEWNS)
        os.chdir("/")
        request.answer()

    def _set(self, request: Request) -> None:
        """Have a workload be what is given; with "kill", the last descriptor is its `cgroup.kill`."""
        name, given, fds = request.message.get("name"), request.message.get("spec"), request.fds
        *groups, killer = fds if request.message.get("kill") and fds else (*fds, -1)
        if self._supervisor.set(name, given, groups, killer):
            fds.clear()  # they are the workload's now
        request.answer(status=self._supervisor.get(name).status())

    def _remove(self, request: Request) -> None:
        self._supervisor.remove(str(request.message.get("name")), request.answer)

    def _begin(self, request: Request, *, anew: bool) -> None:
        """Start a workload, or end and start it; answer when it has become its command, or could not."""
        workload = self._supervisor.startable(request.message.get("name"))
        if workload.phase == RUNNING and not anew:
            request.answer(status=workload.status())
            return
        before = workload.starts - (workload.phase == BORN and not anew)

        def hear(event: str) -> bool:
            begun = workload.starts > before
            if begun and event == "started":
                request.answer(status=workload.status())
            elif event == "stopped" or (begun and event in ("restarting", "failed")):
                request.refuse(f'workload "{workload.name}" did not start: {workload.record.reason or "it was stopped"}')
            else:
                return False
            return True

        workload.record.when(hear)
        (workload.restart if anew else workload.start)()

    def _stop(self, request: Request) -> None:
        workload = self._supervisor.get(request.message.get("name"))

        def hear(event: str) -> bool:
            if event == "stopped":
                request.answer(status=workload.status())
            return event == "stopped"

        workload.record.when(hear)
        workload.stop()

    def _kill(self, request: Request) -> None:
        number = signal_number(request.message.get("signal", "KILL"))
        self._supervisor.get(request.message.get("name")).signal(number)
        request.answer()

    def _wait(self, request: Request) -> None:
        """Answer when a workload is ready or has ended for good, or in `timeout` seconds; `reached` says which."""
        workload = self._supervisor.get(request.message.get("name"))
        goal = _GOALS.get(str(request.message.get("for")))
        timeout = request.message.get("timeout")
        if goal is None or not isinstance(timeout, (int, float)) or not 0 <= timeout < _LONGEST_WAIT:
            raise ValueError(f'"for" is one of {", ".join(_GOALS)}, and "timeout" is in seconds')

        def told(_event: str) -> bool:
            if workload.record.state not in (*goal, *_OVER):
                return False
            timer.cancel()
            _report(request, workload, goal)
            return True

        def late() -> None:
            workload.record.ignore(told)
            _report(request, workload, goal)

        timer = self._loop.later(timeout, late)
        if not told(""):
            workload.record.when(told)

    def _pause(self, request: Request) -> None:
        """Ask no probe, or ask them again: a node whose processes are frozen is not ill."""
        self.paused = bool(request.message.get("on", True))
        request.answer()

    def _shut_down(self, request: Request) -> None:
        def gone() -> None:
            request.answer()
            self._leave()

        self._supervisor.shut_down(gone)


def _report(request: Request, workload: Workload, goal: tuple[str, ...]) -> None:
    request.answer(reached=workload.record.state in goal, status=workload.status())
