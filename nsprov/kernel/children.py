"""Do in a forked child what this process could not come back from, or may not do as what it is.

The child has nothing to do with the lock or the conversation: it holds their descriptors, and ends before its parent goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, NoReturn

from nsprov.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Rows = tuple[tuple[int, int, int], ...]

_WORDS = 4096


def enter_user(fd: int) -> None:
    """Become root of a user namespace, for good: no ids or groups of the host are kept.

    Until the ids are set one is nobody inside, and still root of the host for files (user_namespaces(7)).
    Changing them makes a process undumpable, and what is that may not write its own files in /proc (proc(5)).
    """
    libc.setns(fd, libc.CLONE_NEWUSER)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    libc.set_dumpable(dumpable=True)


def fetched(work: Callable[[], int]) -> int:
    """Run `work` in a child and give the descriptor that it made; OSError as the child met it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        pid = os.fork()
        if pid == 0:
            ours.close()
            _report(theirs, work)
        theirs.close()
        try:
            words, descriptors, _, _ = socket.recv_fds(ours, _WORDS, 1)
        finally:
            os.waitpid(pid, 0)
    if descriptors:
        return descriptors[0]
    raise _told(words)


@contextlib.contextmanager
def waiting(work: Callable[[], None]) -> Iterator[int]:
    """Run `work` in a child, and give its pid while it waits in what it made; OSError as the child met it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _wait(theirs, work)
    theirs.close()
    try:
        words = ours.recv(_WORDS)
        if words != b"ok":
            raise _told(words)
        yield pid
    finally:
        ours.close()  # the end of the file is what the child waits for
        os.waitpid(pid, 0)


def id_maps(user: int) -> tuple[Rows, Rows]:
    """Give the uid and gid maps of the user namespace behind `user`; only of a process in it can they be read."""
    with waiting(lambda: libc.setns(user, libc.CLONE_NEWUSER)) as pid:
        return _rows(f"/proc/{pid}/uid_map"), _rows(f"/proc/{pid}/gid_map")


def root_of(user: int | None) -> tuple[int, int]:
    """Give the uid and gid, as the host knows them, of root in a user namespace; without one, root is root."""
    if user is None:
        return 0, 0
    uid, gid = (next(outside for inside, outside, _ in rows if inside == 0) for rows in id_maps(user))
    return uid, gid


def _rows(path: str) -> Rows:
    """Read the rows of a map, (inside, outside, count), as seen from where we are."""
    with open(path, encoding="ascii") as file:
        rows = [tuple(map(int, line.split())) for line in file]
    return tuple((inside, outside, count) for inside, outside, count in rows)


def _report(channel: socket.socket, work: Callable[[], int]) -> NoReturn:
    """Send what `work` made, or why it could not; a forked child must not return into its parent's code."""
    try:
        socket.send_fds(channel, [b"ok"], [work()])
    except OSError as problem:
        channel.send(_words(problem))
    finally:
        os._exit(0)


def _wait(channel: socket.socket, work: Callable[[], None]) -> NoReturn:
    try:
        work()
        channel.send(b"ok")
        channel.recv(1)
    except OSError as problem:
        channel.send(_words(problem))
    finally:
        os._exit(0)


def _words(problem: OSError) -> bytes:
    return json.dumps([problem.errno, problem.strerror, problem.filename])[:_WORDS].encode()


def _told(words: bytes) -> OSError:
    """Make the child's error ours; one that died without a word was killed."""
    number, text, subject = json.loads(words) if words else (0, "a helper process was killed", None)
    return OSError(number, text, subject)
