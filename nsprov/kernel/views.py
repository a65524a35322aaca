"""What a node sees of files, where that is more than the host's view with a few files bound in it.

It may have namespaces that change what is mounted, mounts of the user, or a root file system of its own.
Such a mount namespace is made by a child of the agent, which stays in the host's pid namespace: no process of a node can
look into it while it has descriptors of the host. What has to be mounted inside the node's pid namespace is mounted by
another child, which has none. When all is in its place, the namespace is copied once more by the root of the node's user
namespace: the copy belongs to the node, and no mount in it can be undone from inside (mount_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from nsprov.errors import Diagnostic, KernelError
from nsprov.kernel import assembly, children, devices, libc
from nsprov.kernel.namespaces import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nsprov.kernel.assembly import Parts
    from nsprov.kernel.lab import Lab

_WORDS = 1 << 16
_AT_ONCE = 6  # children


@dataclass(frozen=True)
class View:
    """How a node's files differ from the host's; `spaces` are its namespaces that matter for what is mounted."""

    rootfs: str = ""
    writable: str = "overlay"
    mounts: tuple[tuple[str, str, bool], ...] = ()
    spaces: tuple[str, ...] = ()

    def strict(self) -> bool:
        """Tell whether what is in it may be hostile to the host: then no link in it is followed, and binds are read-only."""
        return bool(self.rootfs) or "user" in self.spaces


LIGHT = View()
"""The host's view with the node's files in it: no more is needed for most nodes."""

UNKNOWN = View("?", "?", (("?", "?", False),), ("?",))
"""What is said of a namespace that is not the one we made."""


@dataclass(frozen=True)
class Kept:
    """What is remembered of a namespace: its view, the devices of its own file systems, the host's ids of its root."""

    view: View = LIGHT
    own: frozenset[int] = frozenset()
    owner: tuple[int, int] = (0, 0)


def _name(node: str) -> str:
    return f"ns/{node}/mnt.json"


def _identity(fd: int) -> list[int]:
    """Say which namespace it is; an inode number alone is used again as soon as it is free."""
    about = os.fstat(fd)
    return [about.st_dev, about.st_ino, libc.namespace_id(fd) or 0]


def remember(lab: Lab, node: str, fd: int, kept: Kept) -> None:
    """Write down beside the pin what the namespace behind `fd` is like; nothing in it would tell, for it is the node's."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{lab.pins}/{node}", 0o700)
    lab.write(_name(node), {**asdict(kept.view), "own": sorted(kept.own), "owner": kept.owner, "id": _identity(fd)})


def recall(lab: Lab, node: str, fd: int) -> Kept:
    """Read what was written of the namespace behind `fd`; the view is `UNKNOWN` if it was written of another one."""
    try:
        content: dict[str, Any] = lab.read(_name(node))
        if not content:
            return Kept()
        if content["id"] != _identity(fd):
            return Kept(UNKNOWN)
        mounts = tuple((str(source), str(target), bool(readonly)) for source, target, readonly in content["mounts"])
        view = View(str(content["rootfs"]), str(content["writable"]), mounts, tuple(map(str, content["spaces"])))
        uid, gid = content["owner"]
        return Kept(view, frozenset(map(int, content["own"])), (int(uid), int(gid)))
    except (KernelError, OSError, LookupError, TypeError, ValueError):
        return Kept(UNKNOWN)


def forget(lab: Lab, node: str) -> None:
    """Remove what was written of a node's namespace."""
    lab.forget(_name(node))
    with contextlib.suppress(OSError):  # the node has another pin, or none was left
        os.rmdir(f"{lab.pins}/{node}")


@dataclass
class Made:
    """A namespace that was made, by its descriptor, and what is to be remembered of it."""

    fd: int
    kept: Kept = field(default_factory=Kept)


class Making:
    """A mount namespace that a child is making."""

    def __init__(self, view: View, parts: Parts) -> None:
        """Start the child; what `parts` names may be closed then."""
        self._view = view
        self._node = parts.node
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            _answer(view, parts, theirs)
        theirs.close()

    def made(self) -> Made:
        """Wait for it; KernelError or OSError as the child met it."""
        try:
            words, descriptors, _, _ = socket.recv_fds(self._channel, _WORDS, 1)
        finally:
            self.abandon()
        if not words:
            raise OSError(0, "the helper process that makes its mount namespace was killed", self._node)
        answer = json.loads(words)
        if descriptors:
            uid, gid = answer["owner"]
            return Made(descriptors[0], Kept(self._view, frozenset(answer["own"]), (uid, gid)))
        if "diagnostic" in answer:
            raise KernelError(Diagnostic.from_dict(answer["diagnostic"]), answer["errno"])
        raise OSError(answer["errno"], answer["strerror"], answer["filename"])

    def abandon(self) -> None:
        """Let the child go; a namespace that it made and nobody took goes with it."""
        self._channel.close()
        os.waitpid(self._pid, 0)


class Ahead:
    """Begins what will be asked for next: each child waits for grace periods of the kernel, and together they wait once."""

    def __init__(self, begin: Callable[[str], Making], nodes: Iterable[str]) -> None:
        """Store how to begin, and for which nodes, in the order in which they will be asked for."""
        self._begin = begin
        self._later = deque(nodes)
        self._begun: dict[str, Making] = {}

    def take(self, node: str) -> Making:
        """Give what was begun for a node, or begin it now: again, if it was taken before."""
        while self._later and len(self._begun) < _AT_ONCE:
            name = self._later.popleft()
            self._begun[name] = self._begin(name)
        return self._begun.pop(node, None) or self._begin(node)

    def abandon(self) -> None:
        """Let go what nobody has taken."""
        for making in self._begun.values():
            making.abandon()


def _answer(view: View, parts: Parts, channel: socket.socket) -> NoReturn:
    """Send what was made, or why it could not be; a forked child must not return into its parent's code."""
    answer: dict[str, Any]
    try:
        place, fd = _make(view, parts, channel.fileno())
        socket.send_fds(channel, [json.dumps(place).encode()], [fd])
    except KernelError as problem:
        answer = {"diagnostic": problem.diagnostics[0].as_dict(), "errno": problem.errno}
        channel.send(json.dumps(answer).encode())
    except OSError as problem:
        answer = {"errno": problem.errno, "strerror": problem.strerror, "filename": problem.filename}
        channel.send(json.dumps(answer).encode())
    finally:
        os._exit(0)


def _make(view: View, parts: Parts, channel: int) -> tuple[dict[str, Any], int]:
    libc.set_dumpable(dumpable=False)
    itself = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    _close_but({channel, itself, *parts.descriptors()}, itself)
    user = parts.spaces.get("user")
    ids = assembly.ids_of(user)
    proc = _proc_inside(parts.spaces["pid"], itself, parts.node) if "pid" in parts.spaces else None
    for kind in ("cgroup", "ipc", "net"):
        if kind in parts.spaces:
            libc.setns(parts.spaces[kind], TYPES[kind])
    libc.setns(parts.template, libc.CLONE_NEWNS)
    libc.unshare(libc.CLONE_NEWNS)
    stage = assembly.Stage(parts, ids, proc)
    own = stage.pivot(view.rootfs, view.writable, view.mounts) if view.rootfs else stage.furnish_host(view.mounts)
    if user is not None:
        _close_but({channel, itself, user}, itself)
        _become_owner(user)
    fd = os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=itself)
    return {"own": sorted(own), "owner": [ids.uid, ids.gid]}, fd


def _become_owner(user: int) -> None:
    """Copy the mount namespace as root of a user namespace: all that is mounted is locked there (mount_namespaces(7)).

    This process stays undumpable: it has descriptors that are not the node's.
    """
    libc.setns(user, libc.CLONE_NEWUSER)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    libc.unshare(libc.CLONE_NEWNS)


def _last(itself: int) -> int:
    """Give the highest descriptor of this process, by its directory in the host's /proc."""
    listing = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=itself)
    try:
        return max(map(int, os.listdir(listing)))
    finally:
        os.close(listing)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _close_but(kept: set[int], itself: int) -> None:
    """Close what the agent had open: its lock, its sockets, its way home; by ranges, for they may be many thousands."""
    edges = [2, *sorted(kept), _last(itself) + 1]
    for before, after in zip(edges, edges[1:]):
        os.closerange(before + 1, after)


def _proc_inside(pid: int, itself: int, node: str) -> int:
    """Mount a /proc of the pid namespace behind `pid`: it shows that of the process that mounts it (pid_namespaces(7))."""
    others = [fd for fd in range(_last(itself) + 1) if fd != pid and _is_open(fd)]

    def work() -> int:
        # Processes of the node can list the descriptors of the one that mounts, and its root and working directory:
        # it must have nothing of the host's.
        for fd in others:
            os.close(fd)
        empty = libc.detached_mount("tmpfs", "none", {"mode": "0555"}, libc.MOUNT_RDONLY)
        os.fchdir(empty)
        os.chroot(".")
        os.close(empty)
        libc.setns(pid, libc.CLONE_NEWPID)
        os.close(pid)
        return children.fetched(lambda: libc.detached_mount("proc", "proc", {}, devices.PSEUDO))

    try:
        return children.fetched(work)
    except OSError as problem:
        if problem.errno != errno.ENOMEM:
            raise
        # fork(2) in a pid namespace without an init says that there is no memory.
        detail = "Nothing can be started in it any more, so it can have no /proc."
        summary = f'the init of node "{node}" has ended'
        hint = "run `nsprov up` again, which starts a new one"
        raise KernelError(Diagnostic(summary, f"mntns:{node}", detail, hint), errno.ENOMEM) from problem
