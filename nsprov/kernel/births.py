"""Make namespaces, and tell what they are made of.

From a child user namespace there is no way home (user_namespaces(7)): what has to be made there, a forked helper makes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING

from nsprov.kernel import children, libc
from nsprov.kernel.namespaces import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nsprov.kernel.namespaces import Namespaces

    Work = Callable[[], None]

_FOR_CHILDREN = {"time": "time_for_children", "pid": "pid_for_children"}
"""What unshare(2) of these changes is for the children only (namespaces(7))."""


def _nothing() -> None:
    """Do nothing before or after a namespace is made."""


def make(
    spaces: Namespaces, node: str, kind: str, *, user: bool = False, first: Work = _nothing, then: Work = _nothing
) -> None:
    """Make and pin a namespace of a node and come home; `user` makes it owned by the node's user namespace.

    `first` and `then` run in the process that makes it, before and after it does.
    """
    with spaces.inside(kind):
        if user:
            fd = _born(spaces, node, kind, first, then)
        else:
            first()
            libc.unshare(TYPES[kind])
            then()
            fd = _open_new(kind)
    try:
        spaces.pin(fd, node, kind)
    finally:
        os.close(fd)


def make_net(spaces: Namespaces, node: str, mark: Work, *, user: bool = False) -> None:
    """Make a network namespace, `mark` it from inside, pin it as `ip netns add` does, and stay in it.

    The mark comes before the pin: whenever we are killed, there is no pinned namespace that is nobody's.
    """
    path = spaces.path(node, "net")
    if user:
        fd = _born(spaces, node, "net")
        try:
            libc.setns(fd, libc.CLONE_NEWNET)
        finally:
            os.close(fd)
    else:
        libc.unshare(libc.CLONE_NEWNET)
    spaces.stay(node)
    mark()
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    try:
        libc.mount("/proc/self/ns/net", path, None, libc.MS_BIND)
    except OSError:
        os.unlink(path)
        raise


def make_user(spaces: Namespaces, node: str, uids: Sequence[Sequence[int]], gids: Sequence[Sequence[int]]) -> None:
    """Make and pin a user namespace with its id maps; OSError if the kernel refuses a map.

    The maps are written by us and not from inside, because only who has CAP_SETUID outside may map more than
    himself (user_namespaces(7)); and a process inside may not bind its own namespace, because it owns no mounts.
    """
    with children.waiting(lambda: libc.unshare(libc.CLONE_NEWUSER)) as pid:
        for name, rows in (("uid_map", uids), ("gid_map", gids)):
            _write(f"/proc/{pid}/{name}", "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows))
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            spaces.pin(fd, node, "user")
        finally:
            os.close(fd)


def owned(spaces: Namespaces, node: str, kind: str) -> bool:
    """Tell whether a node's namespace belongs to the node's user namespace (ioctl_ns(2), NS_GET_USERNS)."""
    with contextlib.ExitStack() as stack:
        found = []
        for one in (kind, "user"):
            fd = spaces.open(node, one)
            if fd is None:
                return False
            stack.callback(os.close, fd)
            found.append(fd)
        owner = libc.owner(found[0])
        stack.callback(os.close, owner)
        return os.path.sameopenfile(owner, found[1])


def offsets(spaces: Namespaces, node: str) -> tuple[int, int]:
    """Give the whole seconds by which a node's boot-time and monotonic clocks are off ours."""
    clocks = (time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC)
    before = [time.clock_gettime(clock) for clock in clocks]
    with spaces.inside("time", spaces.open(node, "time"), close=True):
        boottime, monotonic = (round(time.clock_gettime(clock) - was) for clock, was in zip(clocks, before))
    return boottime, monotonic


def write_offsets(boottime: int, monotonic: int) -> None:
    """Set the clocks of the time namespace that this process has just made; they hold from its first child on."""
    _write("/proc/self/timens_offsets", f"boottime {boottime} 0\nmonotonic {monotonic} 0\n")


def _born(spaces: Namespaces, node: str, kind: str, first: Work = _nothing, then: Work = _nothing) -> int:
    """Make a namespace inside the node's user namespace, by a helper, and give a descriptor of it."""
    user = spaces.open(node, "user")
    if user is None:
        raise FileNotFoundError(errno.ENOENT, "its user namespace is gone", node)

    def work() -> int:
        first()
        children.enter_user(user)
        libc.unshare(TYPES[kind])
        then()
        return _open_new(kind)

    try:
        return children.fetched(work)
    finally:
        os.close(user)


def _open_new(kind: str) -> int:
    """Open the namespace that this process has just made."""
    return os.open(f"/proc/self/ns/{_FOR_CHILDREN.get(kind, kind)}", os.O_RDONLY | os.O_CLOEXEC)


def _write(path: str, text: str) -> None:
    """Write a file of /proc in one write(2), as the kernel demands of id maps."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
