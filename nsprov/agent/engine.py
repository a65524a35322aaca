"""The agent: takes requests from a controller, looks at the kernel, plans, acts, verifies, and can go back.

One run on a host is `prepare` (lock, observe, diff), then `apply` (journal, execute, verify), then `commit` or `rollback`:
see `nsprov.agent.transaction`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from nsprov.agent import attaching, enter, protocol, workloads
from nsprov.agent.look import Look
from nsprov.agent.pulse import Pulse
from nsprov.agent.transaction import Transaction, lab_name, unexpected
from nsprov.errors import Diagnostic, InputError, Interrupted, NsprovError, StepFailed
from nsprov.kernel import audit, lab, limits
from nsprov.kernel.machine import Kernel
from nsprov.plan.change import dump_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.agent.playing import Player


class Agent:
    """One conversation: at most one run on one lab."""

    def __init__(self, channel: protocol.LineChannel) -> None:
        """Store the channel; the host is not touched before the first request."""
        self._channel = channel
        self._pulse = Pulse(channel)
        self._transaction = Transaction(channel, self._pulse)
        self._player: Player | None = None
        self._verbs: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            **self._transaction.verbs(),
            "state": _state,
            "labs": _labs,
            "audit": _audit,
            "doctor": _doctor,
            "exec": self._exec,
            "play": self._play,
            "attach": attaching.attach,
            "detach": attaching.detach,
            "ns": lambda request: _ns(channel, request),
            **{name: functools.partial(self._operate, verb) for name, verb in workloads.VERBS.items()},
        }
        """All that a controller may ask for; each but `ns` works on one named lab, and only on what bears its mark."""

    def serve(self) -> None:
        """Answer requests until the controller goes."""
        about = {"version": protocol.VERSION, "uid": os.geteuid(), "pid": os.getpid(), "host": _machine()}
        self._channel.send({"event": "hello", **about})
        try:
            self._converse()
        finally:
            self._pulse.stop()
            self._transaction.end()

    def _converse(self) -> None:
        while (request := self._pulse.receive()) is not None:
            if request.get("verb") == "expect":
                self._transaction.expect(request)
            else:
                self._channel.send(self._answer(request))

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        verb = str(request.get("verb"))
        if verb not in self._verbs:
            return failure(InputError(Diagnostic(summary=f'the agent has no verb "{verb}"')))
        try:
            return {"reply": verb, **self._verbs[verb](request)}
        except NsprovError as problem:
            return failure(problem)
        except KeyboardInterrupt:  # the controller wants something else
            return failure(Interrupted(Diagnostic(summary="interrupted")))
        except OSError as problem:
            return failure(StepFailed(unexpected(problem)))
        except Exception as problem:  # noqa: BLE001 - a fault of ours must not keep the controller from a rollback
            traceback.print_exc()
            hint = "report it, with what the agent wrote to stderr"
            return failure(StepFailed(Diagnostic("the agent met a fault of its own", "", repr(problem), hint)))

    def _exec(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run a command in a node, on the descriptors that the conversation went over until now."""
        enter.serve(lab_name(request), request, lambda: self._channel.send({"reply": "exec"}))

    def _play(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do steps of a playbook; the player stays, for later checks count upon earlier ones."""
        if self._player is None:
            from nsprov.agent.playing import Player  # noqa: PLC0415 - for start-up: no run on a lab needs it

            self._player = Player(self._channel, self._pulse)
        return self._player.play(request)

    def _operate(self, verb: workloads.Verb, request: Mapping[str, Any]) -> dict[str, Any]:
        return verb(Kernel(lab_name(request)), self._channel, request)


def _machine() -> str:
    """Name this machine by a word that it keeps until it boots, and that no other one has; a container is one of its own."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}/{os.stat('/proc/self/ns/net').st_ino}"
    except OSError:
        return ""


def _state(request: Mapping[str, Any]) -> dict[str, Any]:
    """Give what was applied last and by which run, and how often the kernel has killed processes of nodes for memory."""
    look = Look(lab_name(request), {})
    look.recall()
    groups = look.kernel.cgroups
    kills = {node: count for node in groups.nodes() if (count := limits.oom_kills(groups, node))}
    run = {"members": list(look.members), "generation": look.generation, "together": list(look.together)}
    return {"applied": dump_state(look.applied.values()), "oom_kills": kills, **run}


def _labs(_request: Mapping[str, Any]) -> dict[str, Any]:
    found = []
    for name in lab.labs():
        manifest = lab.Lab(name).read("manifest.json")
        rows = manifest.get("resources")
        kinds = [row[0] for row in rows if isinstance(row, list) and row] if isinstance(rows, list) else []
        nodes = kinds.count("netns") + kinds.count("attachment")
        found.append({"lab": name, "nodes": nodes, "since": manifest.get("since", "")})
    return {"labs": found}


def _audit(request: Mapping[str, Any]) -> dict[str, Any]:
    return {"left": [found.as_dict() for found in audit.audit(lab_name(request))]}


def _doctor(request: Mapping[str, Any]) -> dict[str, Any]:
    """Say what this host can do; it is about no lab."""
    came = time.time()
    from nsprov.agent import doctoring  # noqa: PLC0415 - for start-up: no run on a lab needs it

    return doctoring.examine(request, came)


def _ns(channel: protocol.LineChannel, request: Mapping[str, Any]) -> dict[str, Any]:
    """Look at, pin and enter namespaces of the whole host; only here a PID or a path of the user's is asked about."""
    from nsprov.agent import inspect  # noqa: PLC0415 - for start-up: no run on a lab needs it

    if request["do"] == "enter":
        inspect.serve(request, lambda: channel.send({"reply": "ns"}))
    return inspect.answer(request)


def failure(problem: NsprovError) -> dict[str, Any]:
    """Give an error as a reply: its class's name, for the controller to raise it again, and its diagnostics."""
    return {"error": type(problem).__name__, "diagnostics": [diagnostic.as_dict() for diagnostic in problem.diagnostics]}


def serve(channel: protocol.LineChannel) -> None:
    """Be the agent on this channel until the controller goes; a controller that is gone is no error.

    Ctrl-C is the controller's to handle; being terminated ends the conversation, and with it goes what was not committed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _frame: sys.exit(128 + number))
    with contextlib.suppress(BrokenPipeError):
        Agent(channel).serve()


def main() -> None:
    """Be the agent over standard input and output."""
    serve(protocol.LineChannel(sys.stdin.fileno(), sys.stdout.fileno()))
