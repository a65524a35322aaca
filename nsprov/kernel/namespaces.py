"""Pin, enter and unpin namespaces; `births` makes them.

The agent is a process of one thread made for this, so it enters namespaces itself and comes home by descriptor.
A pin is a bind mount of an nsfs file; "the file exists" proves nothing, so every pin is asked for its type (ioctl_ns(2)).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from nsprov.kernel import libc
from nsprov.plan.resource import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NETNS = "/run/netns"
TYPES: Mapping[str, int] = {
    "cgroup": libc.CLONE_NEWCGROUP,
    "ipc": libc.CLONE_NEWIPC,
    "uts": libc.CLONE_NEWUTS,
    "net": libc.CLONE_NEWNET,
    "pid": libc.CLONE_NEWPID,
    "time": libc.CLONE_NEWTIME,
    "mnt": libc.CLONE_NEWNS,
    "user": libc.CLONE_NEWUSER,
}
"""All types, in the order in which root enters them: the user namespace last, for it takes the right to enter the others."""


class Namespaces:
    """The namespaces of one lab as seen from the host: `names` maps a node to the name of its netns."""

    def __init__(self, pins: str) -> None:
        """Remember where this process comes from; `pins` is the lab's directory of pins other than net."""
        self.pins = pins
        self.names: dict[str, str] = {}
        self.lent: dict[str, int] = {}
        """Networks of others, by node, that can be looked into although they are not pinned (yet)."""
        # A kernel may be built without some type: then there is no such file, and nothing to come home to.
        paths = {kind: f"/proc/self/ns/{kind}" for kind in TYPES if os.path.exists(f"/proc/self/ns/{kind}")}
        self._home = {kind: os.open(path, os.O_RDONLY | os.O_CLOEXEC) for kind, path in paths.items()}
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._here = HOST

    def path(self, node: str, kind: str) -> str:
        """Say where a node's namespace of the type `kind` is, or would be, pinned."""
        return f"{NETNS}/{self.names[node]}" if kind == "net" else f"{self.pins}/{node}/{kind}"

    def open(self, node: str, kind: str) -> int | None:
        """Open a node's pin; `None` when there is none or when it is no namespace of that type."""
        if node == HOST:
            return os.dup(self._home[kind])
        if kind == "net" and node not in self.names:
            return None
        path = self.path(node, kind)
        if kind != "net" and os.path.islink(path):
            return None  # a pin of ours is a mount: where a link leads is somebody else's, the host's perhaps
        fd = open_pin(path, kind)
        return os.dup(self.lent[node]) if fd is None and kind == "net" and node in self.lent else fd

    @contextlib.contextmanager
    def opened(self, nodes: Iterable[str]) -> Iterator[dict[str, int]]:
        """Open the net pins of nodes, the host aside, for requests that name namespaces by descriptor."""
        fds: dict[str, int] = {}
        try:
            for node in nodes:
                if node != HOST and node not in fds:
                    fds[node] = self._must_open(node)
            yield fds
        finally:
            for fd in fds.values():
                os.close(fd)

    def _must_open(self, node: str) -> int:
        fd = self.open(node, "net")
        if fd is None:
            raise FileNotFoundError(errno.ENOENT, "its network namespace is gone", node)
        return fd

    def enter_net(self, node: str) -> None:
        """Move this process into a node's network namespace, or home; FileNotFoundError if it is not pinned."""
        if node == self._here:
            return
        fd = self._must_open(node)
        try:
            libc.setns(fd, libc.CLONE_NEWNET)
        finally:
            os.close(fd)
        self._here = node

    def stay(self, node: str) -> None:
        """Take note that this process is in a node's network namespace, because it has just made it."""
        self._here = node

    def go_home(self) -> None:
        """Move this process back into the namespaces that it came from."""
        libc.setns(self._home["net"], libc.CLONE_NEWNET)
        self._here = HOST

    def is_pinned(self, node: str, kind: str) -> bool:
        """Tell whether a node has a pin of a type, and it is what it says."""
        fd = self.open(node, kind)
        if fd is not None:
            os.close(fd)
        return fd is not None

    def pin(self, fd: int, node: str, kind: str) -> None:
        """Bind the namespace behind `fd` to its path, so that it outlives every process."""
        path = self.path(node, kind)
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(path), 0o700)
        unpin(path)  # a mount over what somebody has bound there could propagate to where that came from
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        libc.mount(f"/proc/self/fd/{fd}", path, None, libc.MS_BIND)

    def unpin(self, node: str, kind: str) -> None:
        """Remove a pin: detach and unlink, always both, because a mount that others copied goes with its file."""
        path = self.path(node, kind)
        unpin(path)
        if kind != "net":
            with contextlib.suppress(OSError):  # the node has another pin, or none was left
                os.rmdir(os.path.dirname(path))

    @contextlib.contextmanager
    def inside(self, kind: str, fd: int | None = None, *, close: bool = False) -> Iterator[None]:
        """Come home from a namespace of the type `kind`, having entered the one behind `fd` if given."""
        try:
            if fd is not None:
                libc.setns(fd, TYPES[kind])
                if close:
                    os.close(fd)
            yield
        finally:
            libc.setns(self._home[kind], TYPES[kind])
            if kind == "mnt":
                # setns(2) puts root and cwd at the root of the mount namespace, which under chroot(2) is not ours.
                os.fchdir(self._root)
                os.chroot(".")
            if kind == "net":
                self._here = HOST


def open_pin(path: str, kind: str) -> int | None:
    """Open the namespace pinned at `path`; `None` if there is none of that type.

    O_NONBLOCK because a FIFO in its place must not stop us.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if libc.namespace_type(fd) == TYPES[kind]:
        return fd
    os.close(fd)
    return None


def unpin(path: str) -> None:
    """Detach every mount at `path` and unlink the file; what is absent is gone already."""
    with contextlib.suppress(OSError):  # EINVAL: not a mount; ENOENT: no file
        while True:
            libc.umount(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def stale(path: str) -> bool:
    """Tell whether a net pin is only an empty file: a reboot leaves it where /run is on a disk, a killed run anywhere."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        about = os.fstat(fd)
        # A namespace of another type, which somebody has pinned there, is an empty file too.
        return stat.S_ISREG(about.st_mode) and about.st_size == 0 and not libc.namespace_type(fd)
    finally:
        os.close(fd)


def unpin_stale(name: str) -> None:
    """Remove the empty file that is left in place of a network namespace of this name."""
    path = f"{NETNS}/{name}"
    if stale(path):
        unpin(path)


def share_netns_directory() -> None:
    """Mount /run/netns as `ip netns add` does: shared, so that a name made in one mount namespace shows in all.

    Under flock(2), because two first calls at a time would stack the bind mounts (Debian bug 949235).
    """
    fd = os.open(NETNS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if not libc.is_mount(NETNS):
            libc.mount(NETNS, NETNS, None, libc.MS_BIND | libc.MS_REC)
            libc.mount(None, NETNS, None, libc.MS_SHARED | libc.MS_REC)
    finally:
        os.close(fd)
