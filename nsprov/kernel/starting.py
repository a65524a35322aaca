"""Start a command in a node as a child that is in the node wholly, its namespace of processes included.

Who enters a namespace of processes is seen from inside as soon as it is there, with all that it has open (CVE-2016-9962).
So a first child does all the entering, unseen; it closes what it has open, starts the command beside itself, as our
child, and ends. The command waits for a word of ours in a page of memory that it shares with us, for it may hold nothing else.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import struct
import termios
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from nsprov.errors import Diagnostic, InputError, KernelError, NsprovError
from nsprov.kernel import entering, libc, processes, terminals
from nsprov.kernel.running import Running

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.kernel.entering import Errand, Identify, Program, Way

_STDOUT, _STDERR = 1, 2

_WORDS = 8192
_FINE = b"fine"
_PATIENCE = 10.0
"""Seconds that a command waits for our word before it takes us for dead."""

_PAUSE = 0.0002
_REASONS: Mapping[int, str] = {
    errno.ENOMEM: "Its init has died, and with it its namespace of processes",
    errno.EAGAIN: "It has as many processes as its limit allows",
}
"""What errors of fork(2) mean in a node."""


class Streams(NamedTuple):
    """What fds 0, 1 and 2 of a command are: a new terminal of `size` (stderr may stay `apart` from it), pipes, or ours."""

    size: tuple[int, int] | None = None
    apart: bool = False
    piped: tuple[int, ...] = ()


class _Task(NamedTuple):
    """All that the first child needs to know."""

    way: Way
    errand: Errand
    streams: Streams
    identify: Identify
    pipes: Mapping[int, tuple[int, int]]
    page: _Page
    parent: int


class _Page:
    """A page of memory that we share with the command: its pid, or why there is none; what has been reached."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def __getitem__(self, index: int) -> int:
        return int(struct.unpack_from("=i", self._memory, 4 * index)[0])

    def __setitem__(self, index: int, value: int) -> None:
        struct.pack_into("=i", self._memory, 4 * index, value)

    def set_go(self) -> None:
        """Let the command begin."""
        self[_GO] = 1

    def wait(self, index: int) -> bool:
        """Wait until a number is not zero; not for ever."""
        deadline = time.monotonic() + _PATIENCE
        while not self[index]:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE)
        return True


_PID, _READY, _GO = 0, 1, 2


def start(way: Way, errand: Errand, streams: Streams, identify: Identify) -> Running:
    """Start a command in a node, up to the point where it begins, which is when it is attended; we stay where we are.

    Raises:
        InputError: the node has no such account or directory.
        KernelError: the node cannot be entered.

    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # were it ignored, nobody could be waited for (wait(2))
    task = _Task(way, errand, streams, identify, _pipes(streams.piped), _Page(), os.getpid())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _lead(task, theirs)
    theirs.close()
    with ours:
        words, descriptors, _, _ = socket.recv_fds(ours, _WORDS, 1)
    os.waitpid(pid, 0)
    for end in {ends[fd != 0] for fd, ends in task.pipes.items()}:
        os.close(end)
    if words != _FINE:
        raise _told(way, words)
    if task.page[_PID] <= 0:
        raise _stillborn(way, -task.page[_PID])
    return _running(task, descriptors)


def _pipes(piped: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Make pipes for streams; stdout and stderr have one together, so that what is said on both keeps its order."""
    pipes = {fd: os.pipe() for fd in piped if fd != _STDERR or _STDOUT not in piped}
    return {fd: pipes[fd if fd in pipes else _STDOUT] for fd in piped}


def _running(task: _Task, descriptors: Sequence[int]) -> Running:
    """Give the command with what we hold of its streams."""
    go, pid = task.page.set_go, task.page[_PID]
    if descriptors:
        return Running(pid, go, descriptors[0], {descriptors[0]: 1}, terminal=True)
    outputs = {task.pipes[fd][0]: fd for fd in (_STDERR, _STDOUT) if fd in task.pipes}
    return Running(pid, go, task.pipes[0][1] if 0 in task.pipes else None, outputs, terminal=False)


def _told(way: Way, words: bytes) -> NsprovError:
    """Make the error that the first child met ours."""
    if not words:
        return _stillborn(way, 0)
    row = json.loads(words)
    diagnostic = Diagnostic.from_dict(row["diagnostic"])
    return InputError(diagnostic) if row["input"] else KernelError(diagnostic, row["errno"])


def _stillborn(way: Way, number: int) -> KernelError:
    """Say why the command could not be started in the node."""
    words = os.strerror(number) if number else "The process that led there was killed"
    return way.refused(OSError(number, _REASONS.get(number, words)))


def _lead(task: _Task, channel: socket.socket) -> NoReturn:
    """Enter the node, start the command beside us, and end; a forked child must not return into its parent's code."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        for fd, (reader, writer) in task.pipes.items():
            os.dup2(reader if fd == 0 else writer, fd)
        _start_beside(task, channel)
    except NsprovError as problem:
        channel.send(_words(problem))
    finally:
        os._exit(1)


def _start_beside(task: _Task, channel: socket.socket) -> None:
    program, ends = _prepare(task, channel.fileno())
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)  # other ids have taken it back
    if os.getppid() != task.parent:
        return
    socket.send_fds(channel, [_FINE], ends[:1])
    for end in ends[1:]:
        for fd in (0, 1) if task.streams.apart else (0, 1, 2):
            os.dup2(end, fd)
    libc.close_from(3)
    libc.prctl(libc.PR_SET_PDEATHSIG, 0)
    try:
        pid = libc.fork_beside()
    except OSError as problem:
        task.page[_PID] = -(problem.errno or errno.EIO)
        return
    if pid == 0:
        _begin(task, program)
    task.page[_PID] = pid
    # From then on it dies with its parent; if that was too late we are who knows.
    if not task.page.wait(_READY) or os.getppid() != task.parent:
        os.kill(pid, signal.SIGKILL)


def _prepare(task: _Task, channel: int) -> tuple[Program, tuple[int, ...]]:
    """Enter, and give what to become and both ends of the terminal, if there is to be one."""
    arrival = entering.enter(task.way, channel)
    who = entering.account(arrival, task.errand, task.identify)
    size = task.streams.size
    try:
        ends = () if size is None else terminals.make(*size, who.uid if who else 0)
    except OSError as problem:
        raise task.way.refused(problem) from problem
    return entering.settle(arrival, task.errand, who), ends


def _words(problem: NsprovError) -> bytes:
    row = {
        "input": isinstance(problem, InputError),
        "errno": getattr(problem, "errno", 0),
        "diagnostic": problem.diagnostics[0].as_dict(),
    }
    return json.dumps(row).encode()[:_WORDS]


def _begin(task: _Task, program: Program) -> NoReturn:
    """Become the command, in a session of its own, once its attendant says so; without him it must not be."""
    os.setsid()
    if task.streams.size is not None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    task.page[_READY] = 1
    if not task.page.wait(_GO):  # from inside a namespace of processes one does not see whether a parent outside still lives
        os._exit(1)
    processes.become(program)
