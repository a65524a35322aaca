"""The `graph` command: draw a topology."""

from __future__ import annotations

import os
from enum import Enum
from typing import Annotated

import typer

from nsprov.cli import options, targets, views
from nsprov.cli.options import Given, Output
from nsprov.errors import Diagnostic, InputError


class Format(str, Enum):
    """What a topology can be drawn as."""

    DOT = "dot"
    MERMAID = "mermaid"
    SVG = "svg"


_BY_SUFFIX = {".dot": Format.DOT, ".gv": Format.DOT, ".mmd": Format.MERMAID, ".mermaid": Format.MERMAID, ".svg": Format.SVG}


def register(app: typer.Typer) -> None:
    """Add the command to the others."""
    app.command()(options.shared()(graph))


def graph(
    given: Given,
    form: Annotated[
        Format | None, typer.Option("--format", help="What to draw it as; default by the suffix of --out, else dot.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="The file to write, instead of stdout.")] = None,
) -> int:
    """Draw a topology for graphviz, for Mermaid, or as SVG."""
    from nsprov import graph as drawings  # noqa: PLC0415 - for start-up: the other commands draw nothing

    topology = targets.load_topology(given)
    chosen = form or _BY_SUFFIX.get(os.path.splitext(out or "")[1].lower(), Format.DOT)
    draw = {Format.DOT: drawings.dot, Format.MERMAID: drawings.mermaid, Format.SVG: drawings.svg}[chosen]
    text = draw(topology)
    if out is not None:
        _write(out, text)
        views.note(f"saved to {out}")
    elif given.output is Output.TEXT:
        views.say(text.rstrip("\n"))
    else:
        views.dump({"lab": topology.name, "format": chosen.value, "graph": text})
    return 0


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise InputError(
            Diagnostic(f'can\'t write "{path}"', detail=f"{problem.strerror}.", hint="name another file")
        ) from problem
