"""The environment of a workload: what is written in the topology, and what stands in files beside it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from nsprov.topology.positions import Flaw, Path, Problems, attempt, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.topology.node_spec import WorkloadSpec

Pairs = tuple[tuple[str, str], ...]

MAX_FILE = 1 << 20
_NAME = re.compile(r"[^\s=\x00-\x1f\x7f]+")
_BLANKS = " \t"


def read_environment(given: WorkloadSpec, path: Path, problems: Problems) -> tuple[Pairs, Pairs]:
    """Give the variables that are written, and those from files, which are secrets; the first win. Both are sorted."""
    env = dict(_written(given.env or {}, (*path, "env"), problems))
    secrets: dict[str, str] = {}
    for place, name in enumerate(given.env_file or ()):
        file = os.path.join(os.path.dirname(problems.source.path), name)
        secrets.update(attempt(problems, (*path, "env_file", place), _read, file, name) or {})
    return tuple(sorted(env.items())), tuple(sorted((name, text) for name, text in secrets.items() if name not in env))


def _written(given: Mapping[str, str], path: Path, problems: Problems) -> Iterator[tuple[str, str]]:
    for name, text in given.items():
        if not _NAME.fullmatch(name):
            hint = "use letters, digits and underscores"
            problems.add((*path, name), f"{shown(name)} cannot name a variable", hint, key=True)
        elif "\0" in text:
            problems.add((*path, name), "a variable cannot hold a NUL character", "remove it")
        else:
            yield name, str(text)


def _read(file: str, name: str) -> dict[str, str]:
    return dict(_lines(_text(file, name), name))


def _text(file: str, name: str) -> str:
    try:
        with open(file, "rb") as stream:
            raw = stream.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = os.strerror(getattr(error, "errno", 0) or 0).lower() if isinstance(error, OSError) else "no such name"
        detail = f"The system says: {reason}."
        raise Flaw(f"{shown(name)} cannot be read", "put it beside the topology file", detail) from error
    if len(raw) > MAX_FILE:
        raise Flaw(f"{shown(name)} is larger than {MAX_FILE >> 20} MiB", "use a smaller one")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Flaw(f"{shown(name)} is not UTF-8 text", "use a text file") from error


def _lines(text: str, file: str) -> Iterator[tuple[str, str]]:
    """Read `KEY=VALUE` lines as docker does: a value is taken as it stands, quotes and blanks included.

    Raises:
        Flaw: a line is none; the value is not shown, for it may be a secret.

    """
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.removesuffix("\r").lstrip(_BLANKS)
        if not bare or bare.startswith("#"):
            continue
        name, equals, value = bare.partition("=")
        where = f"It is on line {number} of {file}."
        if not _NAME.fullmatch(name):
            raise Flaw("a line does not begin with a variable's name", 'write "NAME=value"', where)
        if not equals:
            raise Flaw("a line gives a variable no value", 'write "NAME=value"; nothing is taken from outside', where)
        if "\0" in value:
            raise Flaw(f"variable {shown(name)} holds a NUL character", "remove it", where)
        yield name, value
