"""Furnish the mount namespace of one node, from within it, on top of a clone of the host's.

It is the work of a child of the agent (see `views`), which is root of the initial user namespace: everything is allowed to
it. Nothing is undone when something fails, for the namespace goes with the child.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nsprov.kernel import children, devices, libc, roots
from nsprov.kernel.beneath import Beneath, refused
from nsprov.kernel.devices import PSEUDO
from nsprov.kernel.lab import RUN
from nsprov.kernel.namespaces import NETNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.roots import Part

    Rows = Sequence[tuple[str, str, bool]]

_NEEDED = ("/proc", "/sys", "/dev", "/run", "/tmp")  # noqa: S108 - they are mounted over
_USER = libc.MOUNT_NOSUID | libc.MOUNT_NODEV


@dataclass(frozen=True)
class Parts:
    """What is brought from the host's view, as descriptors.

    `template` is the namespace to clone, `spaces` are the node's other namespaces by type, `overlays` are for directories
    of the host that lack what is to be mounted over, `groups` is the host's tree of control groups if the node is to see
    that, `unified` says where the host has version 2 of them.
    """

    node: str
    template: int
    spaces: Mapping[str, int]
    overlays: Mapping[str, int]
    groups: int | None
    unified: Sequence[str]

    def descriptors(self) -> list[int]:
        """Give all descriptors."""
        return [self.template, *self.spaces.values(), *self.overlays.values(), *([] if self.groups is None else [self.groups])]


class Ids(NamedTuple):
    """The host's ids of what is root's inside, and of the group of terminals, if the node has that."""

    uid: int = 0
    gid: int = 0
    tty: int | None = devices.TTY


def ids_of(user: int | None) -> Ids:
    """Give the ids of root in a user namespace."""
    if user is None:
        return Ids()
    uids, gids = children.id_maps(user)
    ids = [_outside(rows, inside) for rows, inside in ((uids, 0), (gids, 0), (gids, devices.TTY))]
    return Ids(ids[0] or 0, ids[1] or 0, ids[2])


def _outside(rows: Iterable[tuple[int, int, int]], wanted: int) -> int | None:
    """Translate an id by a map; `None` if that has it not."""
    return next((outside + wanted - inside for inside, outside, count in rows if inside <= wanted < inside + count), None)


class Stage:
    """The namespace in the making; this process is in it, and at its root."""

    def __init__(self, parts: Parts, ids: Ids, proc: int | None) -> None:
        """Store what it is made of; `proc` is the mount of the node's own /proc, if it has a pid namespace."""
        self._parts = parts
        self._ids = ids
        self._owner = (ids.uid, ids.gid)
        self._proc = proc
        self._user = parts.spaces.get("user")

    def furnish_host(self, mounts: Rows) -> set[int]:
        """Change the host's view to the node's; give the devices of the file systems that are the node's own."""
        trees = [(self._source(source, readonly=readonly), target) for source, target, readonly in _outer_first(mounts)]
        place = Beneath(self._parts.node, os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), set(), self._owner)
        for path in (NETNS, RUN):
            place.fresh("tmpfs", path, {"mode": "0755"}, PSEUDO)
        for top, mount in self._parts.overlays.items():
            place.attach(mount, top, follow=True)
            place.own.add(os.stat(mount).st_dev)
        if self._proc is not None:
            place.attach(self._proc, "/proc")
        self._sys(place)
        if "ipc" in self._parts.spaces:
            devices.memory(place, self._owner, [path for path in (devices.SHM, devices.MQUEUE) if place.holds(path)])
        for tree, target in trees:
            place.attach(tree, target, follow=True)
        return place.own

    def pivot(self, rootfs: str, writable: str, mounts: Rows) -> set[int]:
        """Make the node's own root file system and go there; give the devices that are the node's own."""
        # What the host mounts or unmounts later is none of the node's business; and where / is shared, none of this is
        # the host's.
        libc.mount(None, "/", None, libc.MS_PRIVATE | libc.MS_REC)
        trees = [(self._source(source, readonly=readonly), target) for source, target, readonly in _outer_first(mounts)]
        top, *rest = self._layers(rootfs, writable)
        libc.move_mount(top.mount, RUN)  # over what the overlays were made of, which goes with the old root
        place = Beneath(self._parts.node, top.mount, _own([top]), self._owner)
        for part in rest:
            place.attach(part.mount, part.path)
            place.own.update(_own([part]))
        if not top.own:
            self._check(place, rootfs)
        self._furnish(place)
        for tree, target in trees:
            place.attach(tree, target)
        os.fchdir(top.mount)
        try:
            libc.pivot_root(".", ".")
        except OSError as problem:
            detail = "Where / is the initial ramfs, nothing can take its place (pivot_root(2))."
            raise roots.unusable(self._parts.node, rootfs, detail, "give the host a root file system of its own") from problem
        libc.umount(".")
        os.chdir("/")
        return place.own

    def _layers(self, rootfs: str, writable: str) -> list[Part]:
        node = self._parts.node
        overlays = roots.Overlays(node, self._owner, self._user)
        if rootfs == roots.HOST_ROOT:
            return list(roots.of_host(node, overlays))
        return [roots.of_directory(node, rootfs, writable, overlays, self._user)]

    def _check(self, place: Beneath, rootfs: str) -> None:
        """Refuse a directory of the user without the places to mount over: nothing is made in it."""
        missing = [path for path in _NEEDED if not place.holds(path)]
        if missing:
            detail = f"It has no directory {', '.join(missing)}, and none is made, for it would be made in your files."
            raise roots.unusable(self._parts.node, rootfs, detail, "make them, or use `writable: overlay`")

    def _furnish(self, place: Beneath) -> None:
        """Mount what a root file system needs to be one."""
        if self._proc is None:
            place.fresh("proc", "/proc", {}, PSEUDO)
        else:
            place.attach(self._proc, "/proc")
        self._sys(place)
        devices.scratch(place, "/tmp", "10%", "1777", self._owner)  # noqa: S108 - the node's own
        devices.scratch(place, "/run", "10%", "0755", self._owner)
        devices.furnish(place, self._owner, self._ids.tty)

    def _sys(self, place: Beneath) -> None:
        """Mount a /sys, which shows the network namespace that this process is in (fs/sysfs/mount.c)."""
        place.fresh("sysfs", "/sys", {}, PSEUDO | (0 if self._user is None else libc.MOUNT_RDONLY))
        devices.groups(place, self._parts.unified if "cgroup" in self._parts.spaces else (), self._parts.groups)

    def _source(self, path: str, *, readonly: bool) -> int:
        """Copy the mounts of a directory or file of the host; KernelError in words if there is none."""
        node, summary = self._parts.node, f'"{path}" cannot be mounted in node "{self._parts.node}"'
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as problem:
            hint = "make it on the host first; what is below /sys, /run/netns and /run/nsprov is not for nodes"
            raise refused(node, summary, f"{problem.strerror}.", hint, problem.errno or errno.ENOENT) from problem
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
            raise refused(node, summary, "It is neither a directory, nor a file, nor a socket.", "use one of these")
        if not readonly and roots.holds_pins(fd):
            raise refused(node, summary, roots.PINS, "mount it read-only, or mount what is needed of it")
        tree = libc.copy_mount(fd, recursive=True)
        os.close(fd)
        # Private: what the host mounts below it later would not be read-only.
        attributes = _USER | (libc.MOUNT_RDONLY if readonly else 0)
        libc.set_mount(tree, attributes, recursive=True, propagation=libc.MS_PRIVATE)
        return tree


def _own(parts: Iterable[Part]) -> set[int]:
    return {os.stat(part.mount).st_dev for part in parts if part.own}


def _outer_first(mounts: Rows) -> list[tuple[str, str, bool]]:
    """Order mounts so that none hides another one's target."""
    return sorted(mounts, key=lambda mount: mount[1].count("/"))
