"""`nsprov run`: one module on some hosts, or one command."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nsprov.cli import options, play
from nsprov.cli.options import Given
from nsprov.errors import Diagnostic, InputError

PatternArgument = Annotated[str, typer.Argument(help="The hosts: names, groups, wildcards.", metavar="PATTERN")]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(run)


@options.shared(also=(play.Mode,))
def run(
    given: Given,
    mode: play.Mode,
    topology: PatternArgument,
    command: Annotated[list[str] | None, typer.Argument(help="A command, behind --.", metavar="[-- COMMAND...]")] = None,
    module: Annotated[str | None, typer.Option("--module-name", "-m", help="The module; default command.")] = None,
    args: Annotated[str, typer.Option("--args", "-a", help="Its arguments: KEY=VALUE, JSON, or a command.")] = "",
) -> int:
    """Have hosts do one thing: a module with its arguments, or a command."""
    from nsprov.playbook.reading import one_task  # noqa: PLC0415 - for start-up: only here and in `play`

    if command and (module or args):
        raise InputError(Diagnostic("a command stands behind --, or a module before it", "run", hint="leave one of them out"))
    raw = {"argv": command} if command else _arguments(args)
    playbook = one_task(topology, module or "command", raw)
    with play.Run(given, playbook, mode, None) as found:
        return found.carry_out()


def _arguments(text: str) -> Any:
    import json  # noqa: PLC0415 - for start-up, as above

    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError as problem:
            raise InputError(Diagnostic("the arguments are not JSON", "-a", str(problem), "write KEY=VALUE")) from problem
    return text or None
