"""Find the network of what lives without us, a process or a container, and give it a name that `ip netns` knows.

The pin is in the lab's own directory, and /run/netns/NAME is a symbolic link to it: a link that leads there is ours.
Nothing in the network itself is touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from nsprov.kernel import containers, libc
from nsprov.kernel.namespaces import NETNS, open_pin, unpin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROCESS, PATH = "pid", "netns"

_NUMBER = re.compile(r"[1-9][0-9]{0,6}")
"""A process id: PID_MAX_LIMIT in linux/threads.h has seven digits."""

_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_NO_PROCESS = frozenset({errno.ESRCH, errno.EINVAL, errno.ENOENT})
"""What pidfd_open(2) says of a number that is nobody's, or of a thread that is not the first of its process."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Absent(Exception):
    """There is no such network now; the message is a sentence for the user."""


class Found(NamedTuple):
    """An open network namespace; `started` is when its process began, in clock ticks since boot, 0 without a process."""

    fd: int
    started: int = 0

    def same(self, fd: int | None) -> bool:
        """Tell whether `fd` is open on the same namespace: the number of one that is open is nobody else's."""
        return fd is not None and os.path.sameopenfile(self.fd, fd)


def resolve(sources: Iterable[str]) -> tuple[dict[str, Found], dict[str, str]]:
    """Open the networks of sources such as `pid:123`, and say of those that have none now why; the caller closes them."""
    wanted = dict.fromkeys(sources)
    asked = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)
    pids, why = _containers(wanted)
    found: dict[str, Found] = {}
    for source in wanted:
        if source not in why:
            try:
                found[source] = _opened(source, pids, asked)
            except Absent as problem:
                why[source] = str(problem)
    return found, why


def _containers(sources: Iterable[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Ask each engine once for all of its containers."""
    names: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        engine, _, name = source.partition(":")
        if engine in containers.ENGINES and _CONTAINER.fullmatch(name):
            names[engine].append(name)
    pids: dict[str, int] = {}
    why: dict[str, str] = {}
    for engine, wanted in names.items():
        running, missing = containers.pids(engine, wanted)
        pids.update({f"{engine}:{name}": pid for name, pid in running.items()})
        why.update({f"{engine}:{name}": reason for name, reason in missing.items()})
    return pids, why


def _opened(source: str, pids: Mapping[str, int], asked: int) -> Found:
    kind, _, name = source.partition(":")
    if source in pids:
        found = of_process(pids[source])
        # Who began after the engine was asked cannot be whom it meant: the number has been given away again.
        # Within one tick that cannot happen: the numbers go round first (pid_max in proc(5)).
        if found.started <= asked:
            return found
        os.close(found.fd)
        raise Absent(f'Container "{name}" is just being restarted.')
    if kind == PROCESS and _NUMBER.fullmatch(name):
        return of_process(int(name))
    if kind == PATH and name.startswith("/"):
        fd = open_pin(name, "net")
        if fd is None:
            raise Absent(f"There is no network namespace at {name}.")
        return Found(fd)
    raise Absent(f'"{source}" does not say whose network is meant.')


def of_process(pid: int) -> Found:
    """Open the network namespace of a living process.

    Raises:
        Absent: there is no such process, or it is not ours to look into.

    """
    try:
        handle = os.pidfd_open(pid)
    except OSError as problem:
        if problem.errno in _NO_PROCESS:
            raise Absent(f"There is no process {pid}.") from problem
        raise Absent(f"Process {pid} cannot be looked into: {problem.strerror}.") from problem
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, handle)
        try:
            fd = libc.process_namespace(handle, "net")
            if fd is None:
                fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            undo = stack.enter_context(contextlib.ExitStack())
            undo.callback(os.close, fd)
            started = _started(pid)
            # It lives still: so its number was nobody else's while we read by it.
            signal.pidfd_send_signal(handle, 0)
            undo.pop_all()
        except PermissionError as problem:
            raise Absent(f"Process {pid} is not ours to look into (ptrace(2)).") from problem
        except OSError as problem:
            raise Absent(f"Process {pid} has ended.") from problem
        return Found(fd, started)


def _started(pid: int) -> int:
    """Read when a process began, in clock ticks since boot (proc(5), field 22 of stat; the name may hold anything)."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def pin_path(pins: str, node: str) -> str:
    """Say where a lab pins the network that a node is attached to."""
    return f"{pins}/{node}/net"


def node_behind(name: str, pins: str) -> str | None:
    """Give the node whose pin below `pins` a name in /run/netns leads to; `None` if it is no link, or leads elsewhere."""
    try:
        target = os.readlink(f"{NETNS}/{name}")
    except OSError:
        return None
    node = os.path.basename(os.path.dirname(target))
    return node if node and target == pin_path(pins, node) else None


def pin(fd: int, name: str, node: str, pins: str) -> None:
    """Bind the namespace behind `fd` into the lab, then let the name lead to it: a link stands only for what is there."""
    path = pin_path(pins, node)
    with contextlib.suppress(FileExistsError):
        os.mkdir(os.path.dirname(path), 0o700)
    unpin(path)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    libc.mount(f"/proc/self/fd/{fd}", path, None, libc.MS_BIND)
    if node_behind(name, pins) == node:
        os.unlink(f"{NETNS}/{name}")
    os.symlink(path, f"{NETNS}/{name}")


def release(name: str, node: str, pins: str) -> None:
    """Take the name away, if it leads to the node's pin, and the pin; who lives in the network stays in it."""
    if node_behind(name, pins) == node:
        os.unlink(f"{NETNS}/{name}")
    path = pin_path(pins, node)
    unpin(path)
    with contextlib.suppress(OSError):  # the node has no directory, or other pins in it
        os.rmdir(os.path.dirname(path))


def close(found: Mapping[str, Found]) -> None:
    """Close what `resolve` has opened."""
    for one in found.values():
        os.close(one.fd)
