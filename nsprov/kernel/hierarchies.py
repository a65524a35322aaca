"""Where this host's cgroup hierarchies are (cgroups(7)), and where in them a lab's groups: `nsprov.<lab>/<node>`.

Groups are made below the root that we see. Version 2 tracks, freezes and kills; a limit is set in that version which has
its controller, for a controller is in one hierarchy only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from nsprov.errors import Diagnostic, InputError, KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEGACY_NAMES: Mapping[str, str] = {"cpu": "cpu", "memory": "memory", "pids": "pids", "io": "blkio", "cpuset": "cpuset"}
"""What limits something, in version 2, and what version 1 calls it."""

_NAME = re.compile(r"[A-Za-z0-9][^/\0\n]*")
# The kernel's own files begin with the name of their controller and a dot; three of version 1 do not.
_FILE = re.compile(
    r"(cgroup|cpu|cpuacct|cpuset|memory|pids|io|blkio|hugetlb|rdma|misc|dmem|irq|devices|freezer|net_cls|net_prio)\..*"
    r"|tasks|notify_on_release|release_agent"
)
_ESCAPE = re.compile(r"\\([0-7]{3})")

_MEANINGS = {
    ("cgroup.subtree_control", errno.ENOENT): "this hierarchy does not have the controller: version 1 has it, or it is off",
    ("cgroup.subtree_control", errno.EBUSY): "processes are in the group itself, and then its children get no controllers",
    ("cgroup.subtree_control", errno.EOPNOTSUPP): "the group, or one above it, is threaded",
    ("cgroup.subtree_control", errno.EINVAL): "real-time processes outside of the root group keep the controller away",
    ("cgroup.procs", errno.EBUSY): "the group hands controllers to its children, and then has no processes itself",
    ("cgroup.procs", errno.EOPNOTSUPP): "the group, or one above it, is threaded",
    ("cgroup.procs", errno.EINVAL): "a real-time process gets no time in this group",
    ("cgroup.procs", errno.ENOSPC): "the group's cpuset has no CPU or no memory node",
    ("cpu.max", errno.EINVAL): "the kernel takes no such share of a CPU",
    ("cpu.cfs_quota_us", errno.EINVAL): "a group above allows less, or it is less than a millisecond in ten",
    ("memory.limit_in_bytes", errno.EBUSY): "more than that is in use and cannot be reclaimed",
    ("cpuset.cpus", errno.EACCES): "a group above has not all of these CPUs",
    ("cpuset.cpus", errno.EINVAL): "this host has no such CPUs",
    ("cpuset.cpus", errno.ERANGE): "this host has no such CPUs",
    ("io.max", errno.ENODEV): "there is no such disk, or it is a partition of one",
}


class Mount(NamedTuple):
    """Where a hierarchy is mounted, and which of its groups that shows: `/` for all of it."""

    path: str
    root: str


class Hierarchies:
    """The hierarchies of this host, and one lab's groups in them; /proc is read when somebody asks first."""

    def __init__(self, lab: str) -> None:
        """Remember the lab; nothing is read."""
        self._name = f"nsprov.{lab}"

    @cached_property
    def _mounts(self) -> Mapping[str, Mount]:
        """Give a mount of each hierarchy by its controllers' names in version 2, and of version 2 itself by `""`."""
        mine = set(LEGACY_NAMES.values())
        found: dict[str, Mount] = {}
        for mount, options in sorted(_cgroup_mounts(), key=lambda pair: pair[0].root != "/"):
            for name in {""} if options is None else options & mine:
                found.setdefault(name, mount)
        names = {old: new for new, old in LEGACY_NAMES.items()}
        return {names.get(name, name): mount for name, mount in found.items()}

    @cached_property
    def _unified(self) -> frozenset[str]:
        """Give the controllers that version 2 has; `""` is tracking, which of the two only it does for us."""
        mount = self._mounts.get("")
        return frozenset(["", *_read(f"{mount.path}/cgroup.controllers").split()]) if mount else frozenset()

    def version(self, controller: str = "") -> int:
        """Say which version has a controller, or with `""` whether there is version 2; 0 if none has."""
        return 2 if controller in self._unified else 1 if controller in self._mounts else 0

    def root(self, controller: str = "") -> str:
        """Say where the hierarchy is mounted that has a controller."""
        return self._mounts["" if controller in self._unified else controller].path

    def top(self, controller: str = "") -> str:
        """Say where the lab's own group is, or would be, in the hierarchy that has a controller."""
        return f"{self.root(controller)}/{_checked(self._name)}"

    def group(self, node: str, child: str = "", controller: str = "") -> str:
        """Say where a node's group is, or would be, or a child of it."""
        path = f"{self.top(controller)}/{_checked(node)}"
        return f"{path}/{_checked(child)}" if child else path

    def tops(self) -> list[str]:
        """Give the lab's own groups that are there, of version 2 first."""
        return [path for mount in self._distinct() if os.path.isdir(path := f"{mount.path}/{_checked(self._name)}")]

    def groups(self, node: str) -> list[str]:
        """Give a node's groups that are there, of version 2 first."""
        return [path for top in self.tops() if os.path.isdir(path := f"{top}/{_checked(node)}")]

    def own(self) -> list[str]:
        """Give the groups that this process is in, of the hierarchies that the lab has groups in."""
        groups = dict(line.split(":", 2)[1:] for line in _read("/proc/self/cgroup").splitlines())
        paths = {name: path for names, path in groups.items() for name in names.split(",")}
        found = {}
        there = set(self.tops())
        for name, mount in self._mounts.items():
            if f"{mount.path}/{self._name}" not in there:
                continue
            path = paths[LEGACY_NAMES.get(name, name)]
            # Where a mount shows but a part, what this process is in is told from the hierarchy's root all the same.
            inside = path[len(mount.root) :] if mount.root != "/" and f"{path}/".startswith(f"{mount.root}/") else path
            found[mount] = f"{mount.path}/{inside.lstrip('/')}".rstrip("/")
        return list(found.values())

    def _distinct(self) -> list[Mount]:
        """Give each mount once, of version 2 first: hierarchies of version 1 may have several controllers."""
        return list(dict.fromkeys(self._mounts[name] for name in sorted(self._mounts)))

    def writable(self, controller: str = "") -> bool:
        """Tell whether groups can be made in the hierarchy that has a controller."""
        return bool(self.version(controller)) and os.access(self.root(controller), os.W_OK)


def labs() -> set[str]:
    """Name the labs that have groups on this host."""
    prefix = "nsprov."
    return {
        name[len(prefix) :]
        for mount, _ in _cgroup_mounts()
        if os.path.isdir(mount.path)
        for name in os.listdir(mount.path)
        if name.startswith(prefix)
    }


def _cgroup_mounts() -> Iterator[tuple[Mount, set[str] | None]]:
    """Read the cgroup mounts that nothing hides, each with its options, `None` for version 2 (proc(5), mountinfo)."""
    for line in _read("/proc/self/mountinfo").splitlines():
        if " - cgroup" not in line:
            continue
        left, _, right = line.partition(" - ")
        device, root, path = (_ESCAPE.sub(lambda code: chr(int(code[1], 8)), word) for word in left.split()[2:5])
        kind, _, options = right.split(" ", 2)
        with contextlib.suppress(OSError):
            number = os.stat(path).st_dev
            if f"{os.major(number)}:{os.minor(number)}" == device:
                yield Mount(path, root), None if kind == "cgroup2" else set(options.split(","))


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _checked(name: str) -> str:
    """Check a group's name once more: it becomes part of a path."""
    if not _NAME.fullmatch(name):
        raise InputError(Diagnostic(f"{name!r} is no name of a cgroup"))
    return name


def reserved(name: str) -> bool:
    """Tell whether the kernel may have a file of that name in a group."""
    return bool(_FILE.fullmatch(name))


def make(path: str) -> None:
    """Make a group; one that is there already is ours by its name."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    except OSError as problem:
        raise refused(path, "make", problem) from problem


def put(path: str, text: str) -> None:
    """Write a file of a group; KernelError in words if the kernel refuses."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as problem:
        raise refused(path, f'write "{text}" to', problem) from problem


def refused(path: str, what: str, problem: OSError) -> KernelError:
    """Say what the kernel refused, and what its error means for this file."""
    code = problem.errno or 0
    meaning = _MEANINGS.get((os.path.basename(path), code), os.strerror(code))
    return KernelError(Diagnostic(f'the kernel refused to {what} "{path}"', path, f"{meaning[0].upper()}{meaning[1:]}."), code)
