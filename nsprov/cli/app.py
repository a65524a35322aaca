"""The program: its commands, its exit codes, and what becomes of an error that nobody caught."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from nsprov import __version__
from nsprov.cli import attach, converge, enter, graph, logs, looking, ns, views, workloads
from nsprov.errors import Interrupted, NsprovError

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
        result = app(standalone_mode=False)
        sys.stdout.flush()
    except NsprovError as problem:
        if os.environ.get("NSPROV_DEBUG"):
            raise
        views.show_error(problem)
        return problem.exit_code
    except KeyboardInterrupt:
        # Wherever it was, it was not while hosts were being changed: that ends in an outcome of its own.
        views.note("interrupted; `nsprov status` says what is there")
        return Interrupted.exit_code
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


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        views.say(f"nsprov {__version__}")
        raise typer.Exit


converge.register(app)
looking.register(app)
enter.register(app)
workloads.register(app)
logs.register(app)
attach.register(app)
graph.register(app)
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
