"""`exec` and `shell`: run a command in a node, here or on the host where the node lives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsprov import provision
from nsprov.cli import options, whereabouts
from nsprov.cli.options import Given
from nsprov.errors import Diagnostic, InputError, NothingMatched, Unreachable
from nsprov.transport.terminal import hold_streams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.inventory import Host

Node = Annotated[str, typer.Argument(help="The node.")]
Command = Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")]
InteractiveOption = Annotated[
    bool, typer.Option("--interactive", "-i", help="Nothing: what comes on stdin is passed on anyway. For `-it`.")
]
TerminalOption = Annotated[
    bool | None,
    typer.Option("--tty/--no-tty", "-t/-T", help="On a terminal of its own; default where we are on one.", show_default=False),
]
UserOption = Annotated[str | None, typer.Option("--user", "-u", help="USER[:GROUP], as the node knows them, or numbers.")]
DirectoryOption = Annotated[str | None, typer.Option("--workdir", "-w", help="The directory to run it in.")]
EnvironmentOption = Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE for its environment.")]

_LONG: dict[str, Any] = {
    "topology": Annotated[str | None, typer.Option("--topology", help="The topology file; default topology.yml.")],
    "inventory": Annotated[list[str] | None, typer.Option("--inventory", help="An inventory, or HOST,HOST; again for more.")],
    "login": Annotated[str | None, typer.Option("--remote-user", help="Who logs in on the host, if not said elsewhere.")],
    "timeout": Annotated[float | None, typer.Option("--timeout", help="Seconds for a host to answer; default 10.", min=0.1)],
    "variables": Annotated[list[str] | None, typer.Option("--extra-vars", help="KEY=VALUE for the topology's Jinja.")],
}
"""What has a short name elsewhere that means something else to who runs commands."""


@dataclass(frozen=True)
class Manner:
    """How a command is run."""

    terminal: bool | None
    user: str | None
    directory: str | None
    variables: Sequence[str]

    def request(self) -> dict[str, Any]:
        """Give it as a request to an agent.

        Raises:
            InputError: something that is no variable.

        """
        pairs = [text.partition("=") for text in self.variables]
        for text, (name, equals, _) in zip(self.variables, pairs, strict=True):
            if not name or not equals:
                raise InputError(Diagnostic(f'"{text}" sets no variable', "-e", hint="write NAME=VALUE"))
        given = {"user": self.user, "directory": self.directory}
        return {
            **{name: value for name, value in given.items() if value is not None},
            "variables": {name: value for name, _, value in pairs},
            "caller": {name: value for name, value in os.environ.items() if name.startswith(("TERM", "LANG", "LC_"))},
            "shell": os.environ.get("SHELL", "/bin/sh"),
        }


def register(app: typer.Typer) -> None:
    """Add the commands."""
    settings = {"allow_interspersed_args": False}
    app.command("exec", context_settings=settings)(options.shared(**_LONG)(execute))
    app.command("shell")(options.shared(**_LONG)(shell))


def execute(  # noqa: PLR0913 - typer makes an option of each
    given: Given,
    node: Node,
    command: Command,
    *,
    interactive: InteractiveOption = False,
    terminal: TerminalOption = None,
    user: UserOption = None,
    directory: DirectoryOption = None,
    environment: EnvironmentOption = None,
) -> int:
    """Run a command in a node and give its exit code; 126 and 127 as a shell does."""
    # click leaves the separator in place once it has met the first argument.
    argv = command[1:] if command[0] == "--" else command
    return _run(given, node, argv, Manner(terminal, user, directory, environment or ()))


def shell(  # noqa: PLR0913 - typer makes an option of each
    given: Given,
    node: Node,
    *,
    interactive: InteractiveOption = False,
    terminal: TerminalOption = None,
    user: UserOption = None,
    directory: DirectoryOption = None,
    environment: EnvironmentOption = None,
) -> int:
    """Open a shell in a node: yours where the host's files are the node's, else that of the node's user."""
    return _run(given, node, (), Manner(terminal, user, directory, environment or ()))


def _run(given: Given, node: str, argv: Sequence[str], manner: Manner) -> int:
    hold_streams()
    lab, hosts = whereabouts.find(given, [node])
    request = {"node": node, "argv": list(argv), **manner.request()}
    try:
        return _run_on(given, lab, hosts[0], request, terminal=manner.terminal)
    except (NothingMatched, Unreachable):
        # The lab's node is on another of the hosts, or nowhere.
        host = whereabouts.holder(lab, hosts[1:], node, given) if len(hosts) > 1 else None
        if host is None:
            raise
    return _run_on(given, lab, host, request, terminal=manner.terminal)


def _run_on(given: Given, lab: str, host: Host, request: Mapping[str, Any], *, terminal: bool | None) -> int:
    if host.connection == "local" and os.geteuid() == 0:
        return provision.run_here(lab, request, terminal=terminal)
    return provision.execute(lab, host, request, given.run_options(), terminal=terminal)
