"""Become a workload's command: the way of a forked child from its init's likeness to execve(2).

What touches the node's files is done here, and not by the init: a file system that hangs holds up its own workload only.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NoReturn

from nsprov.init import passwd, rlimits
from nsprov.init.confine import confine
from nsprov.init.loop import FAULTS, plain
from nsprov.init.offspring import NOT_EXECUTABLE, NOT_FOUND, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.init.passwd import Identity
    from nsprov.init.spec import Spec

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def become(spec: Spec, command: Sequence[str], extra: Mapping[str, str]) -> NoReturn:
    """Become `command` as the spec says, with `extra` in its environment.

    Raises:
        Refused: it cannot be, and why.

    """
    identity = _identity(spec)
    _try("give it its output", lambda: _own_output(identity))
    if spec.nice != os.getpriority(os.PRIO_PROCESS, 0):
        _try("set its priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, spec.nice))
    _try("set its limits", lambda: rlimits.apply(spec.rlimits))
    _try("take from it what it shall not have", lambda: _confine(spec, identity))
    _try(f'go to "{spec.cwd}"', lambda: enter_directory(spec.cwd))
    os.umask(spec.umask)
    _execute(command, {**environment(identity), **extra, **spec.environment})


def _identity(spec: Spec) -> Identity:
    try:
        return passwd.resolve(spec.user, spec.groups)
    except LookupError as problem:
        raise Refused(str(problem.args[0])) from problem
    except OSError as problem:
        raise Refused(f'user "{spec.user}" cannot be looked up: {plain(problem)}') from problem


def environment(identity: Identity) -> dict[str, str]:
    """Give what a login would, and nothing of ours; TERM is not set, for there is no terminal."""
    found = {"PATH": _PATH, "HOME": identity.home, "SHELL": identity.shell, "HOSTNAME": os.uname().nodename}
    return {**found, "USER": identity.name, "LOGNAME": identity.name} if identity.name else found


def enter_directory(path: str) -> None:
    """Go to a directory of the node; ValueError if it is of /proc, whose links lead anywhere (CVE-2024-21626)."""
    if _is_in_proc(os.path.normpath(path)):
        raise ValueError("a workload does not run in /proc")
    os.chdir(path)
    try:
        here = os.getcwd()
    except OSError as problem:
        raise ValueError("it is not below the root of the node") from problem
    if not here.startswith("/") or _is_in_proc(here):
        raise ValueError("it is not below the root of the node, or is of /proc")


def _is_in_proc(path: str) -> bool:
    return f"/{path.lstrip('/')}/".startswith("/proc/")


def _try(what: str, step: Callable[[], None]) -> None:
    try:
        step()
    except FAULTS as problem:
        raise Refused(f"cannot {what}: {plain(problem)}") from problem


def _own_output(identity: Identity) -> None:
    """Let /dev/stdout be opened by who is not root: that opens the pipe anew, and asks for its owner."""
    for fd in (1, 2):
        if identity.uid != 0 and stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, identity.uid, identity.gid)


def _confine(spec: Spec, identity: Identity) -> None:
    confine(
        identity,
        spec.capabilities,
        no_new_privileges=spec.no_new_privileges,
        filtered=spec.seccomp == "default",
    )


def _execute(command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """Become the first of this name in PATH that can be; os.execvpe would import modules, from the node's files."""
    name = command[0]
    places = [""] if "/" in name else [f"{place or '.'}/" for place in variables["PATH"].split(":")]
    refusals = filter(None, [_refusal(f"{place}{name}", command, variables) for place in places])
    raise next(refusals, Refused(f'"{name}" was not found', NOT_FOUND))


def _refusal(path: str, command: Sequence[str], variables: Mapping[str, str]) -> Refused | None:
    """Become a command, or say why not; nothing if there is none at this place."""
    try:
        os.execve(path, list(command), dict(variables))  # noqa: S606 - without a shell is how it has to be
    except (FileNotFoundError, NotADirectoryError):
        found = os.path.exists(path)
        return Refused(f'"{path}" is there, but not what it is to be run by', NOT_FOUND) if found else None
    except FAULTS as problem:
        shut = isinstance(problem, PermissionError) and not os.path.exists(path)  # a directory above it
        return None if shut else Refused(f'"{path}" cannot be run: {plain(problem)}', NOT_EXECUTABLE)
