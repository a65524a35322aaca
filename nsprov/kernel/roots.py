"""The root file system of a node: a copy-on-write of the host's or of a directory, or the directory itself.

Overlays are made at an empty place of the node's mount namespace while that is being furnished. What they write lies in
a tmpfs that no other namespace ever sees: a node cannot fill the lab's own file system, and it goes with the namespace.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from nsprov.kernel import libc
from nsprov.kernel.beneath import refused
from nsprov.kernel.lab import RUN
from nsprov.kernel.namespaces import NETNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.errors import KernelError


HOST_ROOT = "host"
_SIZE = "25%"
"""How much memory the changes of one node can take."""

_ELSEWHERE = re.compile(r"/(proc|sys|dev|run|tmp)(/|$)")
"""What a node gets anew."""

_PSEUDO = frozenset(
    [
        *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs"),
        *("fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs"),
        *("sysfs", "tracefs"),
    ]
)
"""Types of file systems that hold no files of a disk, or of memory that somebody mounted in place of one."""

_UNFIT = (errno.EINVAL, errno.ELOOP, errno.EOPNOTSUPP)
_CLOSED = (errno.EACCES, errno.EPERM, errno.ENOTCONN, errno.ESTALE, errno.EIO)
_STACKED = (
    "The kernel stacks two overlays and no more, and some file systems cannot be below one at all. "
    "A container is on one already, and so is a node with a root file system of its own."
)
"""What EINVAL of an overlay means; the kernel says it in its log only (fs/overlayfs/super.c)."""

_ESCAPE = re.compile(r"\\([0-7]{3})")
_ATTRIBUTES: Mapping[str, int] = {
    "ro": libc.MOUNT_RDONLY,
    "nosuid": libc.MOUNT_NOSUID,
    "nodev": libc.MOUNT_NODEV,
    "noexec": libc.MOUNT_NOEXEC,
}


PINS = "Who can write there can remove the names of the lab's network namespaces, and with them the networks."


class Mounted(NamedTuple):
    """A mount of the host: where, of which type, with which attributes."""

    path: str
    kind: str
    attributes: int


class Part(NamedTuple):
    """A mount of a root file system: where in it, its descriptor, and whether what is written there is the node's own."""

    path: str
    mount: int
    own: bool


class Overlays:
    """Makes overlays, one after the other, at `RUN`, which is empty in the host's view that nodes begin with."""

    def __init__(self, node: str, owner: tuple[int, int], user: int | None) -> None:
        """Store for whom they are; `owner` are the ids of root inside, `user` is the node's user namespace."""
        self._node = node
        self._owner = owner
        self._user = user
        self._count = 0

    def _mount(self) -> None:
        """Mount what the overlays write to."""
        fd = libc.detached_mount("tmpfs", f"nsprov-{self._node}", {"size": _SIZE, "mode": "0700"}, libc.MOUNT_NODEV)
        libc.move_mount(fd, RUN)
        os.close(fd)

    def over(self, lower: int, attributes: int) -> int:
        """Make an overlay over what is open as `lower`, and give its mount; OSError if it cannot be one's lower layer."""
        if not self._count:
            self._mount()
        try:
            return self._over(lower, attributes, self._user)
        except OSError:
            if self._user is None:
                raise
        # Not every file system can show other ids than it has, and before Linux 5.19 no overlay could build on one that
        # does. Then what is root's on the host is nobody's inside.
        return self._over(lower, attributes, None)

    def _over(self, lower: int, attributes: int, user: int | None) -> int:
        top = f"{RUN}/{self._count}"
        self._count += 1
        os.mkdir(top)
        places = {name: f"{top}/{name}" for name in ("lower", "upper", "work")}
        for path in places.values():
            os.mkdir(path)
        tree = libc.copy_mount(lower)
        try:
            if user is not None:
                libc.set_mount(tree, 0, idmap=user)
            libc.move_mount(tree, places["lower"])
        finally:
            os.close(tree)
        # The merged directory has the owner and the mode of the upper one.
        about = os.stat(places["lower"])
        uid, gid = (about.st_uid or self._owner[0], about.st_gid or self._owner[1])
        os.chown(places["upper"], uid, gid)
        os.chmod(places["upper"], stat.S_IMODE(about.st_mode))
        options = {"lowerdir": places["lower"], "upperdir": places["upper"], "workdir": places["work"]}
        return libc.detached_mount("overlay", f"nsprov-{self._node}", options, attributes)


def of_host(node: str, overlays: Overlays) -> Iterator[Part]:
    """Give the mounts that are a copy-on-write of the host's files, `/` first.

    The file systems that are mounted elsewhere than at `/` get overlays of their own; what is read-only on the host, a
    single file, or no fit lower layer, is bound read-only.
    """
    yield of_directory(node, "/", "overlay", overlays, None)
    for mounted, fd in list(_file_systems()):
        try:
            part = _below(mounted, fd, overlays)
        finally:
            os.close(fd)
        if part is not None:
            yield part


def _below(mounted: Mounted, fd: int, overlays: Overlays) -> Part | None:
    """Copy or bind a file system; `None` if it is closed to us."""
    try:
        return _copied(mounted, fd, overlays)
    except OSError as problem:
        # Not even root may look into another user's FUSE mount, and a server may be gone: nodes do without it.
        if problem.errno not in _CLOSED:
            raise
        return None


def _copied(mounted: Mounted, fd: int, overlays: Overlays) -> Part:
    attributes = mounted.attributes | libc.MOUNT_NODEV
    if stat.S_ISDIR(os.fstat(fd).st_mode) and not attributes & libc.MOUNT_RDONLY:
        try:
            return Part(mounted.path, overlays.over(fd, attributes), own=True)
        except OSError as problem:
            if problem.errno not in _UNFIT:
                raise
    tree = libc.copy_mount(fd)
    libc.set_mount(tree, attributes | libc.MOUNT_RDONLY)
    return Part(mounted.path, tree, own=False)


def _file_systems() -> Iterator[tuple[Mounted, int]]:
    """Open the mounts of the host that hold files and that nothing hides, those higher up first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().splitlines()
    found = {}
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        path = _ESCAPE.sub(lambda code: chr(int(code[1], 8)), fields[4])
        attributes = sum(_ATTRIBUTES.get(option, 0) for option in fields[5].split(","))
        found[fields[0]] = Mounted(path, right.split(" ")[0], attributes)
    for number, mounted in sorted(found.items(), key=lambda item: item[1].path.count("/")):
        if _is_wanted(mounted):
            fd = _open_mount(mounted.path, number)
            if fd is not None:
                yield mounted, fd


def _is_wanted(mounted: Mounted) -> bool:
    """Tell whether nodes get it; an overlay below the top directories is some container's root."""
    deep = mounted.path.count("/") > 1
    kept = mounted.path != "/" and not _ELSEWHERE.match(mounted.path) and mounted.kind not in _PSEUDO
    return kept and not (mounted.kind == "overlay" and deep)


def _open_mount(path: str, number: str) -> int | None:
    """Open the root of a mount; `None` if another one hides it, or it cannot be reached."""
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        if any(line.split() == ["mnt_id:", number] for line in file):
            return fd
    os.close(fd)
    return None


def of_directory(node: str, path: str, writable: str, overlays: Overlays, user: int | None) -> Part:
    """Give the mount that is a directory of the host as a root: an overlay of it, or itself, read-only or not.

    KernelError in words if there is no such directory, or it cannot be below an overlay.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        hint = "make the directory on the host, or use `rootfs: host`"
        raise unusable(node, path, f"{problem.strerror}.", hint) from problem
    try:
        if writable == "yes" and holds_pins(fd):
            raise unusable(node, path, PINS, "use `rootfs: host`")
        if writable == "overlay":
            return Part("/", overlays.over(fd, libc.MOUNT_NODEV), own=True)
        tree = libc.copy_mount(fd, recursive=True)
    except OSError as problem:
        detail = _STACKED if problem.errno in _UNFIT else f"{problem.strerror}."
        hint = "use a directory of another file system as `rootfs`, or `writable: no`"
        raise unusable(node, path, detail, hint) from problem
    finally:
        os.close(fd)
    if user is not None:
        _show_ids(tree, user)
    libc.set_mount(tree, libc.MOUNT_NODEV | (libc.MOUNT_RDONLY if writable == "no" else 0), recursive=True)
    return Part("/", tree, own=False)


def _show_ids(tree: int, user: int) -> None:
    """Let what is root's on the disk be root's inside; where a file system cannot do that, it is nobody's."""
    for recursive in (True, False):
        with contextlib.suppress(OSError):  # it cannot: the top alone may
            libc.set_mount(tree, 0, recursive=recursive, idmap=user)
            break


def holds_pins(fd: int) -> bool:
    """Tell whether a directory of the host is, or leads to, one of those that hold the names of namespaces."""
    return any(os.path.samestat(os.fstat(fd), os.stat(path)) for path in (RUN, NETNS, os.path.dirname(RUN), "/"))


def unusable(node: str, path: str, detail: str, hint: str) -> KernelError:
    """Say why something cannot be a root file system."""
    return refused(node, f'"{path}" cannot be the root file system of node "{node}"', detail, hint)
