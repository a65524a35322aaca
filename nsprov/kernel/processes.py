"""Become a command, where we are."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING, NoReturn

from nsprov.kernel import libc

if TYPE_CHECKING:
    from nsprov.kernel.entering import Program

NOT_EXECUTABLE, NOT_FOUND = 126, 127


def become(program: Program) -> NoReturn:
    """Become the command; exit 127 if there is none of that name, 126 if it cannot be run."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # what Python ignores, a command must not inherit ignored
    libc.close_from(3)
    problem, code = os.strerror(errno.ENOENT), NOT_FOUND
    for path in _candidates(program.argv[0], program.variables.get("PATH", "")):
        try:
            os.execve(path, program.argv, program.variables)  # noqa: S606 - without a shell is how it has to be
        except (FileNotFoundError, NotADirectoryError):  # noqa: PERF203 - that is what searching is
            continue
        except (OSError, ValueError) as refusal:  # a later directory may have one that can be run (execvp(3))
            problem, code = getattr(refusal, "strerror", "") or str(refusal), NOT_EXECUTABLE
    _say(f'error: cannot run "{program.argv[0]}": {problem}')
    os._exit(code)


def _candidates(name: str, path: str) -> list[str]:
    return [name] if "/" in name else [f"{directory}/{name}" for directory in path.split(":") if directory and name]


def _say(words: str) -> None:
    """Write to stderr what can only be words by now."""
    os.write(2, f"{words}\n".encode(errors="replace"))
