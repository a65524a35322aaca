"""Start, stop, restart, kill and await workloads: those that others come after first, and all that can be at a time."""

from __future__ import annotations

import graphlib
import time
from typing import TYPE_CHECKING, Any, Protocol

from nsprov.agent import inits
from nsprov.errors import Diagnostic, InputError, Interrupted, NothingMatched
from nsprov.init import client
from nsprov.kernel import logbook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

    Target = tuple[str, str]
    Status = Mapping[str, Any]
    Problem = dict[str, Any]

_SLACK = 5.0
"""Seconds that an init may take to answer when a workload has used up its grace."""

_PATIENCE = 0.5
"""Seconds between two looks at whether the controller is still there."""

_TAIL = 10
_DOWN = ("stopped", "failed")
_OVER = (*_DOWN, "done")
_LATE: Mapping[str, str] = {"ready": "is not ready within {:g} s", "exit": "has not exited within {:g} s"}


class Listener(Protocol):
    """Who waits for an answer."""

    def waiting(self) -> bool:
        """Tell whether they want something else by now, or are gone."""


def control(kernel: Kernel, channel: Listener, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do one thing with some workloads, and say of each how it is then, and what went wrong with it."""
    targets = [(str(node), str(name)) for node, name in request["targets"]]
    crew = Crew(kernel, channel, targets)
    acts: Mapping[str, Callable[[], None]] = {
        "start": crew.start,
        "stop": crew.stop,
        "restart": crew.restart,
        "kill": lambda: crew.kill(int(request["signal"])),
        "wait": lambda: crew.wait("ready" if request["for"] == "ready" else "exit", request["timeout"]),
    }
    if request["action"] not in acts:
        raise InputError(Diagnostic(f'"{request["action"]}" is nothing that can be done with a workload'))
    acts[request["action"]]()
    found = {(row["node"], row["name"]): row for row in inits.rows(kernel, inits.look(kernel, [node for node, _ in targets]))}
    gone = {"state": "removed"}
    return {"rows": [{"node": n, "name": w, **found.get((n, w), gone), **crew.problems.get((n, w), {})} for n, w in targets]}


class Crew:
    """Some workloads of a lab on this host; `problems` has what went wrong with each."""

    def __init__(self, kernel: Kernel, channel: Listener, targets: Sequence[Target]) -> None:
        """Look how they are.

        Raises:
            NothingMatched: one of them is not there.

        """
        self.problems: dict[Target, Problem] = {}
        self._kernel = kernel
        self._channel = channel
        self._about: dict[Target, Status] = {}
        nodes = inits.look(kernel, [node for node, _ in targets])
        for target in targets:
            node, name = target
            status = nodes[node].status() if node in nodes else {}
            if name not in status:
                raise NothingMatched(Diagnostic(f'there is no workload "{node}/{name}"'))
            self._about[target] = status[name]
            if nodes[node].state == "dead":
                self._fail(target, f'the init of node "{node}" does not answer', status[name]["reason"], "run `nsprov up`")

    def start(self) -> None:
        """Start those that are down, each when what it comes after is as it wants it."""
        self._refuse_the_frozen()
        self._start({target: about for target, about in self._able() if about["state"] in (*_DOWN, "backoff")})

    def stop(self) -> None:
        """Stop those that are up, each before what it comes after."""
        self._refuse_the_frozen()
        for wave in reversed(list(_waves({target: about for target, about in self._able() if about["state"] not in _OVER}))):
            grace = max(self._about[target]["spec"]["grace"] for target in wave) / 1000
            self._ask("stop", wave, grace + _SLACK)

    def restart(self) -> None:
        """Stop them all and start them all."""
        self.stop()
        self._start(dict(self._able()))

    def kill(self, signal: int) -> None:
        """Send them a signal."""
        self._ask("kill", [target for target, _ in self._able()], signal=signal)

    def wait(self, goal: str, timeout: float | None) -> None:
        """Wait until they are ready, or until they have exited and will not start again, for so long at most."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for target, _ in list(self._able()):
            about = self._await(target, goal, deadline)
            if not about["reached"]:
                late = about["state"] not in _OVER
                words = _LATE[goal].format(timeout) if late else f"is {about['state']}"
                why = _why(self._kernel, target, about) if goal == "ready" else ""
                self._fail(target, f'workload "{"/".join(target)}" {words}', why)
                self.problems[target]["late"] = late

    def _able(self) -> Iterator[tuple[Target, Status]]:
        """Give those with which nothing has gone wrong so far."""
        return ((target, about) for target, about in self._about.items() if target not in self.problems)

    def _refuse_the_frozen(self) -> None:
        for node in sorted({target[0] for target in self._about}):
            if self._kernel.cgroups.frozen(node):
                for target in [target for target, _ in self._able() if target[0] == node]:
                    self._fail(target, f'node "{node}" is frozen', hint=f"run `nsprov thaw {node}` first")

    def _start(self, targets: Mapping[Target, Status]) -> None:
        for wave in _waves(targets):
            fit = [target for target in wave if self._clear(target, targets)]
            self._ask("start", fit, _SLACK)

    def _clear(self, target: Target, started: Mapping[Target, Status]) -> bool:
        """Wait for what a workload comes after, of those that were started with it; tell whether it can be started."""
        for other, goal in _after(self._about[target]):
            if other in started and not self._fulfilled(other, goal):
                words = f"It comes after {'/'.join(other)}, which is not {goal}."
                self._fail(target, f'workload "{"/".join(target)}" was not started', words)
                return False
        return True

    def _fulfilled(self, target: Target, goal: str) -> bool:
        """Wait until a workload is ready, or completed, and tell whether it came to that."""
        if target in self.problems or goal == "started":
            return target not in self.problems
        about = self._await(target, "exit" if goal == "completed" else "ready", None)
        return about["state"] == "done" if goal == "completed" else bool(about["reached"])

    def _await(self, target: Target, goal: str, deadline: float | None) -> dict[str, Any]:
        """Wait for a workload, as long as somebody waits for us; give its status, and whether the goal is `reached`."""
        node, name = target
        while True:
            left = _PATIENCE if deadline is None else max(0.0, min(_PATIENCE, deadline - time.monotonic()))
            request = {"verb": "wait", "name": name, "for": goal, "timeout": left}
            reply = client.ask(self._kernel.lab.control(node), request, timeout=left + _SLACK)
            about = {**reply["status"], "reached": reply["reached"]}
            if about["reached"] or about["state"] in _OVER or (deadline is not None and time.monotonic() >= deadline):
                return about
            if self._channel.waiting():
                raise Interrupted(Diagnostic("interrupted"))

    def _ask(self, verb: str, targets: Sequence[Target], timeout: float = _SLACK, **terms: Any) -> None:
        for target, words in inits.ask(self._kernel, verb, targets, timeout, **terms).items():
            self._fail(target, f'cannot {verb} workload "{"/".join(target)}"', words)

    def _fail(self, target: Target, error: str, detail: str = "", hint: str = "") -> None:
        given = {"error": error, "detail": detail, "hint": hint}
        self.problems[target] = {name: words for name, words in given.items() if words}


def _why(kernel: Kernel, target: Target, about: Status) -> str:
    """Say why a workload is as it is, with the end of its log."""
    node, name = target
    lines = logbook.tail(f"{kernel.lab.logs}/{node}/{name}.log", _TAIL)
    return "\n".join(filter(None, [about["reason"], *(f"| {line.text}" for line in lines)]))


def _waves(targets: Mapping[Target, Status]) -> Iterator[list[Target]]:
    """Part workloads so that each comes in a later wave than those that it comes after."""
    needs = {target: {other for other, _ in _after(about)} & set(targets) for target, about in targets.items()}
    sorter = graphlib.TopologicalSorter(needs)
    sorter.prepare()
    while sorter.is_active():
        wave = sorter.get_ready()
        yield sorted(wave)
        sorter.done(*wave)


def _after(about: Status) -> Iterator[tuple[Target, str]]:
    """Give what a workload comes after, with what must be true of that."""
    for other, goal in about.get("spec", {}).get("after", ()):
        node, _, name = str(other).partition("/")
        yield (node, name), str(goal)
