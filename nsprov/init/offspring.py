"""Fork a child that has nothing of its init: no descriptor, no signal setting, no session (CVE-2024-21626).

It says by a pipe why it could not do what it was made for; the pipe is closed by execve(2) when all is well.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from nsprov.init.loop import FAULTS, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SETUP_FAILED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127
"""Exit codes of a child that has not become its command, as shells and containers have them."""

_REPORT = 4096
_MOST_DESCRIPTORS = 1 << 20


class Child(NamedTuple):
    """A forked child, and our ends of its pipes; `out` and `err` are -1 if it has no output."""

    pid: int
    report: int
    out: int = -1
    err: int = -1


class Refused(ValueError):
    """Why the child cannot go on, in words, and the code that it exits with."""

    def __init__(self, words: str, code: int = SETUP_FAILED) -> None:
        """Store both."""
        super().__init__(words)
        self.code = code


def fork(groups: Sequence[int], work: Callable[[], None], *, output: bool) -> Child:
    """Fork a child that joins control groups and does `work`; without `output`, what it writes is lost.

    Raises:
        OSError: the kernel has no room for it now, or never.

    """
    pipes = [os.pipe() for _ in range(3 if output else 1)]
    try:
        pid = os.fork()
    except OSError:
        for fd in (fd for pipe in pipes for fd in pipe):
            os.close(fd)
        raise
    if pid == 0:
        _live(groups, [writer for _, writer in pipes], work)
    for reader, writer in pipes:
        os.close(writer)
        os.set_blocking(reader, False)
    return Child(pid, *(reader for reader, _ in pipes))


def report(fd: int) -> str | None:
    """Read what a child has to say: why it failed, nothing if it did not, `None` as long as that is open."""
    try:
        return os.read(fd, _REPORT).decode(errors="replace")
    except BlockingIOError:
        return None


def _live(groups: Sequence[int], writers: Sequence[int], work: Callable[[], None]) -> NoReturn:
    """Do the work; a forked child must not return into its parent's code."""
    code = SETUP_FAILED
    try:
        _sever(groups, writers)
        work()
        code = 0
    except Refused as problem:
        code = problem.code
        _say(writers[0], str(problem))
    except FAULTS as problem:
        _say(writers[0], plain(problem))
    finally:
        os._exit(code)


def _say(fd: int, words: str) -> None:
    with contextlib.suppress(*FAULTS):  # who listens may be gone
        os.write(fd, words.encode(errors="replace")[:_REPORT])


def _sever(groups: Sequence[int], writers: Sequence[int]) -> None:
    """Leave all behind but 0, which is /dev/null, the output, and the pipe to report by."""
    try:
        for fd in groups:
            os.write(fd, b"0")
    except OSError as problem:
        raise Refused(f"cannot join its control group: {problem.strerror}") from problem
    os.setsid()
    for number, fd in enumerate(writers[1:] or (0, 0), 1):
        os.dup2(fd, number)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.closerange(3, writers[0])
    os.closerange(writers[0] + 1, limit if 0 < limit < _MOST_DESCRIPTORS else _MOST_DESCRIPTORS)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
