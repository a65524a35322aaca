"""The control groups of a lab's nodes: made, entered, frozen, emptied and removed (cgroups(7)).

    nsprov.<lab>/<node>               limits are set here, and nowhere below
    nsprov.<lab>/<node>/init          the node's init alone
    nsprov.<lab>/<node>/w-<workload>  one for each workload
    nsprov.<lab>/<node>/exec          what `nsprov exec` runs

That is in version 2. In the hierarchies of version 1 a node has one group, and only where a limit needs it (`limits.py`).
Groups bear no mark: the lab's name in theirs says whose they are.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, KernelError
from nsprov.kernel.hierarchies import Hierarchies, make, put, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

INIT = "init"
"""The child group that is never frozen: who is in it answers."""


class Cgroups:
    """The groups of one lab on this host."""

    def __init__(self, lab: str, patience: float = 10.0) -> None:
        """Remember the lab, and the seconds that processes get to end or to stop: a disk or a network may hold them."""
        self.tree = Hierarchies(lab)
        self._patience = patience

    def nodes(self) -> list[str]:
        """Give the nodes that have a group, or a part of one, in whatever hierarchy."""
        return sorted({entry.name for top in self.tree.tops() for entry in os.scandir(top) if entry.is_dir()})

    def exists(self, node: str) -> bool:
        """Tell whether a node has its group."""
        return bool(self.tree.version()) and os.path.isdir(self.tree.group(node))

    def create(self, node: str) -> None:
        """Make a node's group, unless it is there."""
        make(self.tree.top())
        make(self.tree.group(node))

    def remove(self, node: str) -> None:
        """Kill what is in a node's groups and remove them, and the lab's with the last node; an absent one is removed.

        Raises:
            KernelError: processes do not die.

        """
        self.thaw(node)
        deadline = time.monotonic() + self._patience
        for path in self.tree.groups(node):
            _clear(path, deadline)
        for top in self.tree.tops():
            with contextlib.suppress(OSError):  # another node has its group there
                os.rmdir(top)

    def join(self, node: str, child: str = "") -> None:
        """Move this process into a child of a node's group."""
        fds = self.descriptors(node, child)
        try:
            for fd in fds:
                os.write(fd, b"0")
        except OSError as problem:
            raise refused(f"{self.tree.group(node, child)}/cgroup.procs", "move a process by", problem) from problem
        finally:
            _close(fds)

    def descriptors(self, node: str, child: str = "") -> list[int]:
        """Open what a process writes "0" to in order to join a child of a node's group, which is made if need be.

        The kernel asks whether the opener may do it, and not the writer, so a workload gets these and no more.
        """
        top, path = self.tree.group(node), self.tree.group(node, child)
        if child:
            make(path)
        return _open([*(group for group in self.tree.groups(node) if group != top), path])

    @contextlib.contextmanager
    def visiting(self, node: str) -> Iterator[None]:
        """Be in a node's groups for a moment, so that a cgroup namespace made then has them as its roots."""
        home = _open(self.tree.own())
        try:
            self.join(node)
            yield
        finally:
            for fd in home:
                os.write(fd, b"0")
            _close(home)

    def processes(self, node: str) -> list[int]:
        """Give the processes in a node's groups."""
        return sorted({pid for path in self.tree.groups(node) for pid in members(path)})

    def kill(self, node: str, child: str = "") -> None:
        """Kill all processes in a child of a node's group, or in all of it; absent is fine, and so is empty."""
        if self.exists(node):
            kill(self.tree.group(node, child))

    def freeze(self, node: str) -> None:
        """Stop what runs in a node, its init aside, and wait until it has stopped.

        Raises:
            KernelError: some process does not stop; nothing is frozen then.

        """
        paths = self._workloads(node)
        try:
            for path in paths:
                _set_frozen(path, "1")
            deadline = time.monotonic() + self._patience
            while any(_event(path, "frozen") == "0" for path in paths):
                _give_time(deadline, self.tree.group(node), "be frozen")
        except BaseException:
            self.thaw(node)
            raise

    def thaw(self, node: str) -> None:
        """Let what runs in a node go on."""
        for path in self._workloads(node):
            _set_frozen(path, "0")

    def frozen(self, node: str) -> bool:
        """Tell whether something in a node is frozen, or is to be."""
        return any(_first_line(f"{path}/cgroup.freeze") == "1" for path in self._workloads(node))

    def _workloads(self, node: str) -> list[str]:
        """Give the children of a node's group but that of its init."""
        if not self.exists(node):
            return []
        return sorted(entry.path for entry in os.scandir(self.tree.group(node)) if entry.is_dir() and entry.name != INIT)


def _set_frozen(path: str, value: str) -> None:
    try:
        put(f"{path}/cgroup.freeze", value)
    except KernelError as problem:
        if problem.errno not in (errno.ENOENT, errno.ENODEV):  # it has ended, and its group is removed
            raise


def members(path: str) -> list[int]:
    """Give the processes in a group and in all below it, but those that our pid namespace does not know."""
    found: set[int] = set()
    for directory, _, _ in os.walk(path):
        # It goes away while we look, or is threaded: then a group above it has the processes (cgroups(7)).
        with contextlib.suppress(OSError), open(f"{directory}/cgroup.procs", encoding="ascii") as file:
            found.update(int(line) for line in file)
    return sorted(found - {0})


def kill(path: str) -> None:
    """Kill all processes in a group and below it; the kernel does so at once, without missing who is just being born."""
    try:
        put(f"{path}/cgroup.kill", "1")
    except KernelError as problem:
        if problem.errno != errno.ENOENT:
            raise
        kill_each(path)  # Linux before 5.14, version 1, or nothing is there


def kill_each(path: str) -> None:
    """Kill the processes in a group one by one, until none is left or for a tenth of a second."""
    for _ in range(100):
        pids = members(path)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            return
        time.sleep(0.001)


def _clear(path: str, deadline: float) -> None:
    """Remove a group with all below it, and what runs there; a group stays busy for a moment after its last process."""
    while True:
        kill(path)
        if _prune(path):
            return
        _give_time(deadline, path, "be removed")


def _prune(path: str) -> bool:
    """Remove a group and what is below it, the deepest first; tell whether all of it is gone."""
    for directory, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):  # it is busy for a moment yet, or somebody has just made a group below it
            os.rmdir(directory)
    return not os.path.lexists(path)


def _give_time(deadline: float, path: str, what: str) -> None:
    """Wait a moment for the processes of a group; KernelError that says which they are when it has taken too long."""
    if time.monotonic() < deadline:
        time.sleep(0.002)
        return
    pids = members(path)
    who = ", ".join(f"{pid} ({_first_line(f'/proc/{pid}/comm')})" for pid in pids[:10])
    detail = f"Process {who} is in it and does not stop." if pids else "It stays busy."
    hint = "see what they wait for in /proc/PID/stack, and run `nsprov down` again"
    raise KernelError(Diagnostic(f'cgroup "{path}" cannot {what}', path, detail, hint), errno.EBUSY)


def _event(path: str, name: str) -> str:
    """Give a value of a group's events; empty if the group is gone."""
    with contextlib.suppress(OSError), open(f"{path}/cgroup.events", encoding="ascii") as file:
        return dict(line.split() for line in file).get(name, "")
    return ""


def _first_line(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip("\n")
    return ""


def _open(groups: list[str]) -> list[int]:
    """Open the lists of processes of groups for writing."""
    fds: list[int] = []
    try:
        fds.extend(os.open(f"{path}/cgroup.procs", os.O_RDWR | os.O_CLOEXEC) for path in groups)
    except BaseException:
        _close(fds)
        raise
    return fds


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def open_killer(cgroups: Cgroups, node: str, child: str) -> list[int]:
    """Open what kills a child of a node's group at one stroke, if the kernel has it (Linux 5.14): one descriptor, or none."""
    try:
        return [os.open(f"{cgroups.tree.group(node, child)}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)]
    except FileNotFoundError:
        return []
