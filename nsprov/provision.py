"""The straight line: connect, prepare, apply, commit, on one host or on many at once, all or nothing.

Every command that changes or compares a lab goes through `converge`; `plan` stops before it acts,
`down` is it with nothing desired.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

from nsprov import errors
from nsprov.errors import Diagnostic, Interrupted
from nsprov.fleet import Fleet, Options, Outcome, opened
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import dump_plan, dump_state, load_plan, load_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsprov import transport
    from nsprov.plan.change import Plan
    from nsprov.plan.resource import Ref, Resource

    State = Mapping[Ref, Resource]


def converge(
    lab: str,
    states: Mapping[str, State],
    hosts: Sequence[transport.Host],
    options: Options,
    *,
    act: bool,
    expected: Mapping[str, Plan] | None = None,
) -> list[Outcome]:
    """Make every host hold its state, or with `act` false only say what that would change.

    All hosts or none: when one cannot, those that have begun go back to what they were.
    """
    holder = f"{os.environ.get('SUDO_USER') or os.environ.get('USER') or os.geteuid()}@{socket.gethostname()}"
    with opened(hosts, options) as fleet:
        if not fleet.failed:
            _prepare(fleet, lab, states, options, {"act": act, "holder": holder}, expected or {})
        if act and not fleet.failed:
            _act(fleet, can_return=any(states.values()))
        elif act:
            fleet.disown("not begun, because another host could not")
        return list(fleet.outcomes.values())


def _prepare(
    fleet: Fleet,
    lab: str,
    states: Mapping[str, State],
    options: Options,
    terms: Mapping[str, object],
    expected: Mapping[str, Plan],
) -> None:
    requests: dict[str, dict[str, Any]] = {}
    for name in fleet.sessions:
        requests[name] = {"verb": "prepare", "lab": lab, "desired": dump_state(states[name].values()), **terms}
        requests[name].update(detail=options.detail, fingerprint=options.fingerprint)
        if name in expected:
            requests[name]["expected"] = dump_plan(expected[name])
    for name, reply in fleet.ask(requests).items():
        outcome = fleet.outcomes[name]
        outcome.counts, outcome.interrupted = reply["counts"], reply["interrupted"]
        if reply["listed"]:
            outcome.plan = load_plan(reply["plan"], SCHEMAS)


def _act(fleet: Fleet, *, can_return: bool) -> None:
    try:
        replies = fleet.ask({name: {"verb": "apply"} for name in fleet.sessions})
    except KeyboardInterrupt:
        fleet.cancel()
        fleet.drain()
        for outcome in fleet.outcomes.values():
            if not isinstance(outcome.error, errors.RollbackIncomplete):
                outcome.error = Interrupted(Diagnostic("interrupted", outcome.host))
        return
    if fleet.failed:
        if can_return:
            _go_back(fleet)
            fleet.disown("put back, because another host failed")
        return
    for name, reply in replies.items():
        fleet.outcomes[name].held = reply["held"]
    with _undisturbed():
        fleet.ask({name: {"verb": "commit"} for name in fleet.sessions})
        fleet.close()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C: it comes too late when every host has what was asked, and must not part those that keep it from others."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's (signal(7)), and only it may say what becomes of them
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _go_back(fleet: Fleet) -> None:
    """Roll every host back, keeping the first error of each unless the way back fails too."""
    first = {name: outcome.error for name, outcome in fleet.outcomes.items()}
    for outcome in fleet.outcomes.values():
        outcome.error = None
    fleet.ask({name: {"verb": "rollback"} for name in fleet.sessions})
    for name, outcome in fleet.outcomes.items():
        if outcome.error is None:
            outcome.error = first[name]


def query(verb: str, lab: str, hosts: Sequence[transport.Host], options: Options) -> dict[str, dict[str, Any]]:
    """Ask every host one thing that changes nothing and give the replies by host.

    Raises:
        NsprovError: the first host's failure.

    """
    with opened(hosts, options) as fleet:
        replies = fleet.ask({name: {"verb": verb, "lab": lab} for name in fleet.sessions})
        for outcome in fleet.outcomes.values():
            if outcome.error:
                raise outcome.error
        return {host.name: replies[host.name] for host in hosts}


def drift(lab: str, hosts: Sequence[transport.Host], options: Options) -> list[Outcome]:
    """Compare each host with what was last applied there.

    Raises:
        NothingMatched: no host has anything of the lab.

    """
    replies = query("state", lab, hosts, options)
    states: dict[str, State] = {name: load_state(reply["applied"], SCHEMAS) for name, reply in replies.items()}
    present = [host for host in hosts if states[host.name]]
    if not present:
        hint = "use a name that `nsprov ls` shows"
        raise errors.NothingMatched(Diagnostic(f'no host has a lab "{lab}"', ", ".join(host.name for host in hosts), hint=hint))
    outcomes = converge(lab, states, present, options, act=False)
    for outcome in outcomes:
        outcome.oom_kills = replies[outcome.host]["oom_kills"]
    return outcomes


def run_here(lab: str, request: Mapping[str, Any], *, terminal: bool | None) -> int:
    """Run a command in a node of this host, as root; see `nsprov.agent.enter.run`."""
    from nsprov.agent import enter  # noqa: PLC0415 - for start-up: only here is this process the agent
    from nsprov.transport.terminal import Screen  # noqa: PLC0415 - for start-up, as above

    return enter.run(lab, request, Screen(), terminal=terminal)


def run_inside(request: Mapping[str, Any]) -> int:
    """Run a command in any namespaces of this host, as root; see `nsprov.agent.inspect.run`."""
    from nsprov.agent import inspect  # noqa: PLC0415 - for start-up, as above
    from nsprov.transport.terminal import Screen  # noqa: PLC0415 - for start-up, as above

    return inspect.run(request, Screen(), terminal=None)


def labs_with(node: str) -> list[str]:
    """Give the labs on this host that have a node of that name."""
    from nsprov.agent import enter  # noqa: PLC0415 - for start-up, as above

    return enter.labs_with(node)


def execute(
    lab: str, host: transport.Host, request: Mapping[str, Any], options: Options, *, terminal: bool | None
) -> int:
    """Run a command in a node of a host that an agent has to be started on; give its exit code.

    If it is not said, it gets a terminal where we are on one.
    """
    from nsprov.transport.terminal import Screen  # noqa: PLC0415 - for start-up

    screen = Screen()
    if terminal is None:
        terminal = os.isatty(0) and os.isatty(1)
    extra = {"terminal": screen.size(), "apart": not os.isatty(2)} if terminal else {}
    with opened([host], options) as fleet:
        fleet.ask({host.name: {"verb": "exec", "lab": lab, **request, **extra}})
        if (error := fleet.outcomes[host.name].error) is not None:
            raise error
        session = fleet.sessions[host.name]
        return session.show(screen) if terminal else session.relay(0, 1, 2)
