"""The program: its commands, its exit codes, and what becomes of an error that nobody caught."""

from __future__ import annotations

import copy
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from typer.main import get_command_name

from nsprov import __version__
from nsprov.cli import adhoc, attach, converge, doctor, enter, graph, inventory, logs, looking, ns, play, views, workloads
from nsprov.errors import NsprovError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer.models import CommandInfo

app = typer.Typer(
    name="nsprov",
    help="Labs of Linux namespaces, on this host or on many over SSH, from one file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> int:
    """Run the command line and give its exit code; errors are shown, a traceback only with NSPROV_DEBUG."""
    try:
        result = _program(sys.argv[1:2])(standalone_mode=False)
        sys.stdout.flush()
    except NsprovError as problem:
        if os.environ.get("NSPROV_DEBUG"):
            raise
        views.show_error(problem)
        return problem.exit_code
    except BrokenPipeError:
        return views.unread()
    except Exception as problem:
        # typer's own errors know how to show themselves and which exit code they mean.
        show, code = getattr(problem, "show", None), getattr(problem, "exit_code", None)
        if code is None or os.environ.get("NSPROV_DEBUG"):
            raise
        if show is not None:
            show()
        return int(code)
    return result if isinstance(result, int) else 0


def _program(word: Sequence[str]) -> typer.Typer:
    """Give the program with the command alone that is plainly meant: typer takes 40 ms to build all of them."""

    def meant(command: CommandInfo) -> bool:
        return command.callback is not None and [command.name or get_command_name(command.callback.__name__)] == word

    found = copy.copy(app)
    found.registered_commands = [command for command in app.registered_commands if meant(command)]
    if found.registered_commands:
        found.registered_groups = []
        return found
    return app


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        views.say(f"nsprov {__version__}")
        raise typer.Exit


converge.register(app)
looking.register(app)
doctor.register(app)
enter.register(app)
workloads.register(app)
play.register(app)
adhoc.register(app)
logs.register(app)
attach.register(app)
graph.register(app)
inventory.register(app)
app.add_typer(ns.app, name="ns")


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
    color: Annotated[str, typer.Option(help="When to colour: auto, always, never.")] = "auto",
) -> None:
    """Labs of Linux namespaces, on this host or on many over SSH, from one file."""
    if debug:
        os.environ["NSPROV_DEBUG"] = "1"
    os.environ["NSPROV_COLOR"] = color
