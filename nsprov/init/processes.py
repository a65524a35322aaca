"""All processes of one run of a workload, and their end.

With a control group of its own nothing escapes. Without one, what has left the session and lost its parents does.
"""

from __future__ import annotations

import contextlib
import os
import signal

_LARGEST_LIST = 1 << 20


class Processes:
    """What a leader, its first process, has brought forth: by its group's `cgroup.procs`, by `cgroup.kill`, or by /proc."""

    def __init__(self, leader: int, members: int = -1, killer: int = -1) -> None:
        """Store the leader's pid, and descriptors of those files or -1."""
        self._leader = leader
        self._members = members
        self._killer = killer

    def kill(self) -> None:
        """Kill them all; those that are just being born may be left, and are there to be killed again."""
        if self._killer >= 0:
            with contextlib.suppress(OSError):  # the group is gone
                os.write(self._killer, b"1")
            return
        for pid in self.left():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.killpg(self._leader, signal.SIGKILL)

    def left(self) -> list[int]:
        """Give those that have not ended, as far as can be seen."""
        found = self._in_group()
        return found if found is not None else self._in_session()

    def has(self, pid: int) -> bool:
        """Tell whether a process is one of them."""
        with contextlib.suppress(OSError):
            if os.getsid(pid) == self._leader:
                return True
        return pid in self.left()

    def _in_group(self) -> list[int] | None:
        """Read the list of the group; `None` if it cannot be read, or is not the workload's own: we are in it too."""
        if self._members < 0:
            return None
        data = b""
        try:
            while len(data) < _LARGEST_LIST:
                more = os.pread(self._members, 1 << 16, len(data))
                if not more:
                    break
                data += more
        except OSError:
            return None
        pids = [int(line) for line in data.split(b"\n") if line]
        return None if os.getpid() in pids else [pid for pid in pids if pid > 0]

    def _has_group(self) -> bool:
        """Tell whether somebody is left in the leader's process group; its number is not given away as long as this is so."""
        try:
            os.killpg(self._leader, 0)
        except OSError:
            return False
        return True

    def _in_session(self) -> list[int]:
        """Find the session of the leader, and what descends from it, in a /proc that numbers processes as we do."""
        rows = _table()
        if not rows:
            return [self._leader] if self._has_group() else []
        found = {pid for pid, (_, session) in rows.items() if session == self._leader} | {self._leader} & set(rows)
        while True:
            more = {pid for pid, (parent, _) in rows.items() if parent in found} - found
            if not more:
                return sorted(found)
            found |= more


def _table() -> dict[int, tuple[int, int]]:
    """Read the parent and the session of each process that has not ended; nothing if /proc is not of our pid namespace."""
    found = {}
    try:
        if os.readlink("/proc/self") != str(os.getpid()):
            return {}
        for name in os.listdir("/proc"):
            row = _row(name) if name.isdigit() else None
            if row is not None:
                found[int(name)] = row
    except OSError:
        return {}
    return found


def _row(name: str) -> tuple[int, int] | None:
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            words = file.read(_LARGEST_LIST).rpartition(b")")[2].split()
    except OSError:
        return None  # it has ended
    return (int(words[1]), int(words[3])) if words[0] not in (b"Z", b"X") else None
