"""Ask docker and podman for the processes of their containers: the command line's JSON is the one thing both promise.

A program is looked for in fixed places and gets an environment of ours: what a caller's says of other daemons, on other
machines even, would make a process id mean another process.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENGINES = ("docker", "podman")

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT: Mapping[str, str] = {
    "PATH": _PATH,
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DOCKER_HOST": "unix:///var/run/docker.sock",  # stronger than a context in docker's own configuration
}
_PATIENCE = 10
"""Seconds that an engine gets to answer; it needs 30 to 60 ms."""


class Unanswered(Exception):
    """An engine cannot be asked; the message is a sentence for the user."""


class _Row(NamedTuple):
    """What an engine says of one container; `pid` is 0 when it does not run."""

    identifier: str
    name: str
    pid: int


def pids(engine: str, names: Sequence[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Give the first process of each running container, and of the others why there is none, as a sentence."""
    try:
        text, said = _inspected(engine, names)
        rows = _rows(engine, text)
    except Unanswered as problem:
        return {}, dict.fromkeys(names, str(problem))
    found: dict[str, int] = {}
    missing: dict[str, str] = {}
    for name in names:
        row = _named(rows, name)
        if row is None and said and "no such container" not in said.lower():
            missing[name] = f"{engine} says: {said}"
        elif row is None:
            missing[name] = f'There is no container "{name}" in {engine}.'
        elif row.pid:
            found[name] = row.pid
        else:
            missing[name] = f'Container "{name}" is not running.'
    return found, missing


def _inspected(engine: str, names: Sequence[str]) -> tuple[str, str]:
    """Run the engine's `container inspect` and give what it wrote, and the last line of its complaints."""
    import subprocess  # noqa: PLC0415 - it takes 5 ms, and only who has attached a container needs it

    program = _program(engine)
    try:
        done = subprocess.run(  # noqa: S603 - an argument list of ours, and no operand can be an option
            [program, "container", "inspect", "--", *names],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            env=dict(_ENVIRONMENT),
            cwd="/",
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as problem:
        raise Unanswered(f"{engine} did not answer within {_PATIENCE} seconds.") from problem
    except OSError as problem:
        raise Unanswered(f"{program} cannot be run: {problem.strerror}.") from problem
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    said = "".join(letter if letter.isprintable() else "?" for letter in lines[-1]) if lines else ""
    return done.stdout.decode(errors="replace"), said[:300]


def _program(engine: str) -> str:
    for directory in _PATH.split(":"):
        path = f"{directory}/{engine}"
        if os.access(path, os.X_OK):
            return path
    raise Unanswered(f"There is no {engine} on this host.")


def _rows(engine: str, text: str) -> list[_Row]:
    """Read what an engine wrote, believing nothing of it that is not as both engines have it."""
    try:
        given = json.loads(text or "[]")
        return [_row(row) for row in given]
    except (ValueError, KeyError, TypeError) as problem:
        raise Unanswered(f"{engine} gave an answer that is not understood.") from problem


def _row(given: Any) -> _Row:
    identifier, name, pid = given["Id"], given["Name"], given["State"]["Pid"]
    if [type(identifier), type(name), type(pid)] != [str, str, int]:
        raise TypeError
    return _Row(identifier, name.removeprefix("/"), max(pid, 0) if given["State"]["Running"] is True else 0)


def _named(rows: Sequence[_Row], name: str) -> _Row | None:
    """Find a container as the engines do: by its id, else by its name, else by how its id begins."""
    ranked = [(row.identifier == name, row.name == name, row.identifier.startswith(name), row) for row in rows]
    return next((row for place in range(3) for *matches, row in ranked if matches[place]), None)
