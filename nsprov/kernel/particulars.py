"""What a namespace is like inside: a host name, id maps, clock offsets; and what it means to share one or not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nsprov.kernel import children, libc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.kernel.namespaces import Namespaces

SAME: Mapping[str, str] = {
    "cgroup": "paths in /proc/PID/cgroup begin at the same group",
    "ipc": "they share System V IPC and POSIX message queues",
    "mnt": "they have one mount table: each sees what the other mounts",
    "net": "they share interfaces, addresses, routes, ports and abstract sockets",
    "pid": "they see and can signal each other's processes, under the same numbers",
    "time": "their boot-time and monotonic clocks show the same",
    "user": "ids and capabilities mean the same to both",
    "uts": "they share the host name: if one sets it, the other has it",
}
"""What it means when two have the same namespace."""

DIFFERENT: Mapping[str, str] = {
    "cgroup": "each sees another group as the root of its cgroup paths",
    "ipc": "neither sees the other's System V IPC and message queues; files in a shared /dev/shm it does",
    "mnt": "what one mounts the other does not see, unless the mount propagates; files on shared mounts are the same",
    "net": "each has interfaces, addresses, routes, ports and abstract sockets of its own",
    "pid": "each numbers processes on its own",
    "time": "their boot-time and monotonic clocks may be off by different amounts; the date is the same",
    "user": "the same id is another user's in each, and capabilities in one count for nothing in the other",
    "uts": "each has a host name of its own",
}
"""What it means when each has its own."""

_DESCENDS: Mapping[str, str] = {
    "pid": "{} sees the processes of {}, under other numbers; not the other way round",
    "user": "{} is above {}: whoever has capabilities in it has them in both",
}
_DEEPEST = 32
"""How deep user and pid namespaces can lie in each other (user_namespaces(7), pid_namespaces(7))."""


def meaning(kind: str, first: int, second: int, names: tuple[str, str]) -> str:
    """Say what it means that two have the namespaces behind these descriptors."""
    if os.path.sameopenfile(first, second):
        return SAME[kind]
    if kind in _DESCENDS:
        for above, below, (one, other) in ((first, second, names), (second, first, names[::-1])):
            if _descends(below, above):
                return _DESCENDS[kind].format(one, other)
    return DIFFERENT[kind]


def _descends(fd: int, ancestor: int) -> bool:
    """Tell whether a user or pid namespace lies in another one; upwards we see no further than to our own."""
    here = os.dup(fd)
    try:
        for _ in range(_DEEPEST):
            above = libc.parent(here)
            os.close(here)
            here = above
            if os.path.sameopenfile(here, ancestor):
                return True
    except OSError:
        pass  # EPERM: what is above is not for us to see
    finally:
        os.close(here)
    return False


def inside(home: Namespaces, kind: str, fd: int, *, own: bool) -> dict[str, Any]:
    """Look into a namespace: what only from inside can be seen; `own` if this process is in it anyway."""
    if kind == "uts":
        with home.inside("uts", fd):
            return {"hostname": os.uname().nodename}
    if kind == "user":
        uids, gids = _maps("self") if own else children.id_maps(fd)
        return {"uid_map": uids, "gid_map": gids}
    if kind == "time":
        if own:
            return {"offsets": _offsets("self")}
        with children.waiting(lambda: libc.setns(fd, libc.CLONE_NEWTIME)) as pid:
            return {"offsets": _offsets(str(pid))}
    return {}


def _maps(process: str) -> tuple[list[list[int]], list[list[int]]]:
    found = []
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{process}/{name}", encoding="ascii") as file:
            found.append([[int(word) for word in line.split()] for line in file])
    return found[0], found[1]


def _offsets(process: str) -> dict[str, float]:
    """Read the clocks' offsets of a process's children, in seconds; they are its own unless it has just unshared."""
    with open(f"/proc/{process}/timens_offsets", encoding="ascii") as file:
        rows = [line.split() for line in file]
    return {clock: int(seconds) + int(nanoseconds) / 1e9 for clock, seconds, nanoseconds in rows}
