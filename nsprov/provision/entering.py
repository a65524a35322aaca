"""Run a command in a node: of this host by ourselves, of another one through its agent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nsprov.fleet import Options, opened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov import transport


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


def execute(lab: str, host: transport.Host, request: Mapping[str, Any], options: Options, *, terminal: bool | None) -> int:
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
