"""What the process of a workload is and may: its directory, ids, limits and capabilities."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

from nsprov.topology import units
from nsprov.topology.measures import Measures
from nsprov.topology.paths import inside
from nsprov.topology.positions import Flaw, Path, Problems, attempt, closest, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nsprov.topology.node_spec import WorkloadSpec

CAPABILITIES = frozenset(
    (
        *("AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN"),
        *("DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE"),
        *("LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE"),
        *("NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG"),
        *("SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE"),
        *("SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM"),
    )
)
"""linux/capability.h, up to Linux 5.9: the newest is CHECKPOINT_RESTORE."""

RLIMITS = frozenset(
    (
        *("as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime"),
        *("sigpending", "stack"),
    )
)
_UNLIMITED = "unlimited"
_MAX_ID = 0xFFFFFFFE
_LOWEST_NICE, _HIGHEST_NICE = -20, 19
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,31}\$?", re.ASCII)
_UMASK = re.compile(r"(?:0o?)?([0-7]{1,3})", re.ASCII)


class Process:
    """Reads what one workload's process is."""

    def __init__(self, given: WorkloadSpec, path: Path, problems: Problems) -> None:
        """Store the workload's shape, where it stands, and where to note problems."""
        self.given = given
        self.path = path
        self.problems = problems

    def read(self) -> dict[str, Any]:
        """Give the fields that were written."""
        given = self.given
        readers: dict[str, Callable[[Any], Any]] = {
            "cwd": inside,
            "user": _user,
            "umask": _umask,
            "stop_signal": _signal,
        }
        found = {}
        for word, read in readers.items():
            if getattr(given, word) is not None:
                found[word] = attempt(self.problems, (*self.path, word), read, getattr(given, word))
        if given.nice is not None:
            found["nice"] = Measures(given, self.path, self.problems).number("nice", 0, _LOWEST_NICE, _HIGHEST_NICE)
        if given.groups is not None:
            found["groups"] = self._groups(given.groups)
        if given.rlimits is not None:
            found["rlimits"] = tuple(row for name, text in sorted(given.rlimits.items()) for row in self._rlimit(name, text))
        if given.capabilities is not None:
            found["capabilities"] = self._capabilities(given.capabilities)
        return found

    def _groups(self, given: Sequence[str]) -> tuple[str, ...]:
        path = (*self.path, "groups")
        found = {attempt(self.problems, (*path, place), _id, text, "group") or "" for place, text in enumerate(given)}
        return tuple(sorted(found))

    def _rlimit(self, name: str, text: str) -> list[tuple[str, int, int]]:
        path = (*self.path, "rlimits", name)
        if name not in RLIMITS:
            bare = name.lower().removeprefix("rlimit_")
            hint = f'use "{bare}"' if bare in RLIMITS else closest(bare, RLIMITS) or "use one of: " + ", ".join(sorted(RLIMITS))
            self.problems.add(path, f"there is no resource limit {shown(name)}", hint, key=True)
            return []
        pair = attempt(self.problems, path, _limits, text)
        return [(name, *pair)] if pair else []

    def _capabilities(self, given: Sequence[str]) -> tuple[str, ...]:
        path = (*self.path, "capabilities")
        words = [word.upper().removeprefix("CAP_") for word in given]
        for place, word in enumerate(words):
            if word in ("ALL", "NONE"):
                if len(words) > 1:
                    self.problems.add((*path, place), f'"{word.lower()}" stands alone', "remove it, or the others")
            elif word not in CAPABILITIES:
                hint = closest(word, CAPABILITIES) or "see capabilities(7)"
                self.problems.add((*path, place), f"there is no capability {shown(given[place])}", hint)
        if words == ["ALL"]:
            return ("all",)
        return () if words == ["NONE"] else tuple(sorted(set(words)))


def _user(text: str) -> str:
    user, colon, group = text.partition(":")
    return f"{_id(user, 'user')}:{_id(group, 'group')}" if colon else _id(user, "user")


def _id(text: str, what: str) -> str:
    """Read a name of a user or a group, or an id."""
    if text.isascii() and text.isdigit():
        if len(text) > len(str(_MAX_ID)) or int(text) > _MAX_ID:
            raise Flaw(f"there is no {what} {shown(text)}", f"use an id up to {_MAX_ID}")
        return str(int(text))
    if not _NAME.fullmatch(text):
        hint = 'write a name or an id; for both of them "user:group"' if what == "user" else "write a name or an id"
        raise Flaw(f"{shown(text)} cannot name a {what}", hint)
    return text


def _umask(text: str) -> int:
    match = _UMASK.fullmatch(text)
    if match is None:
        raise Flaw(f"{shown(text)} is not a umask", 'use octal digits in quotes, such as "0027"')
    return int(match.group(1), 8)


def _signal(text: str) -> str:
    known = {member.name.removeprefix("SIG"): member for member in signal.Signals}
    name = text.upper().removeprefix("SIG")
    if text.isascii() and text.isdigit():
        name = next((word for word, member in known.items() if int(member) == int(text)), text)
    if name not in known:
        hint = closest(name, known) or "use a name or a number of signal(7), such as TERM"
        raise Flaw(f"there is no signal {shown(text)}", hint)
    return name


def _limits(text: str) -> tuple[int, int]:
    """Read `soft:hard`, or one number for both."""
    soft, _, hard = text.partition(":")
    low, high = _limit(soft), _limit(hard or soft)
    if high != -1 and (low == -1 or low > high):
        raise Flaw("the soft limit is above the hard one", 'write "soft:hard", the smaller one first')
    return low, high


def _limit(text: str) -> int:
    if text == _UNLIMITED:
        return -1
    try:
        return units.size(text)
    except Flaw:
        raise Flaw(f"{shown(text)} is not a limit", 'write a number, "soft:hard", or "unlimited"') from None
