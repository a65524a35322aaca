"""What limits: the controllers of cgroups, in their own files of version 2 and of version 1.

Each knows how its limit is written and read back, and which values a host does not take.
Values are those of `limits.Limits`; nothing here knows of nodes.
"""

from __future__ import annotations

import os
import re
import resource
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from nsprov.kernel.hierarchies import put

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Rows = tuple[tuple[str, str, int], ...]

_PERIOD = 100_000
"""Microseconds in which a node may use its share of the CPUs; the kernel's own default."""

_LEAST_SHARE = 10
"""Thousandths of a CPU: the kernel gives no quota below a millisecond (min_cfs_quota_period)."""

_PAGE = resource.getpagesize()
_ENDLESS = 1 << 62
"""Version 1 keeps "no limit" of memory as the largest number of whole pages, which is just below 2 ** 63."""

_MOST_PIDS = 1 << 22
"""PID_MAX_LIMIT."""

IO_KEYS: Mapping[str, str] = {
    "rbps": "blkio.throttle.read_bps_device",
    "wbps": "blkio.throttle.write_bps_device",
    "riops": "blkio.throttle.read_iops_device",
    "wiops": "blkio.throttle.write_iops_device",
}
"""What of a disk can be limited, bytes and requests that are read and written, with the files of version 1."""

_LEAST_IO, _MOST_REQUESTS = 2, (1 << 32) - 2
_CPUS = re.compile(r"\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*")


class Group(NamedTuple):
    """A node's group in a hierarchy of version 1 or 2."""

    path: str
    version: int


@dataclass(frozen=True)
class Controller:
    """One limit: how it is read, written, and refused.

    `read` gives the limit, as what is expected if the kernel's means the same; FileNotFoundError if there is no such file.
    `write` sets it; KernelError in words if the kernel refuses.
    `flaw` says why a value cannot be set in the hierarchy that is mounted at a path; empty if it can.
    """

    read: Callable[[Group, Any], Any]
    write: Callable[[Group, Any], None]
    flaw: Callable[[Any, str], str]


# -- cpu: thousandths of one CPU --------------------------------------------------------------------------------------


def _read_cpu(group: Group, expected: int) -> int:
    """Give the share that quota and period come to."""
    if group.version == 1:
        quota, period = text(f"{group.path}/cpu.cfs_quota_us"), text(f"{group.path}/cpu.cfs_period_us")
    else:
        quota, period = text(f"{group.path}/cpu.max").split()
    return 0 if quota in ("max", "-1") else max(1, int(quota) * 1000 // int(period))


def _write_cpu(group: Group, value: int) -> None:
    """Set quota and period."""
    quota = value * _PERIOD // 1000
    if group.version == 1:
        put(f"{group.path}/cpu.cfs_quota_us", "-1")  # with the old quota, a new period may be refused
        put(f"{group.path}/cpu.cfs_period_us", str(_PERIOD))
        put(f"{group.path}/cpu.cfs_quota_us", str(quota or -1))
    else:
        put(f"{group.path}/cpu.max", f"{quota or 'max'} {_PERIOD}")


def _flaw_cpu(value: int, root: str) -> str:
    """Too little for the kernel."""
    return f"{value / 1000:g} of a CPU is less than {_LEAST_SHARE / 1000:g}." if value < _LEAST_SHARE else ""


# -- memory: bytes; the kernel counts pages ---------------------------------------------------------------------------


def _read_memory(group: Group, expected: int) -> int:
    """Give the limit, unrounded if what is expected rounds to it."""
    found = _number(text(f"{group.path}/{'memory.limit_in_bytes' if group.version == 1 else 'memory.max'}"))
    return expected if expected and found == expected // _PAGE * _PAGE else found


def _write_memory(group: Group, value: int) -> None:
    """Set the limit; version 2 kills until it is kept, version 1 refuses one that is exceeded already."""
    if group.version == 1:
        put(f"{group.path}/memory.limit_in_bytes", str(value or -1))
    else:
        put(f"{group.path}/memory.max", str(value or "max"))


def _flaw_memory(value: int, root: str) -> str:
    """Less than the kernel counts."""
    return f"{value} bytes are less than a page, which has {_PAGE}." if value < _PAGE else ""


# -- pids: processes and threads --------------------------------------------------------------------------------------


def _read_pids(group: Group, expected: int) -> int:
    """Give how many there may be."""
    return _number(text(f"{group.path}/pids.max"))


def _write_pids(group: Group, value: int) -> None:
    """Set how many there may be; those that are there already stay."""
    put(f"{group.path}/pids.max", str(value or "max"))


def _flaw_pids(value: int, root: str) -> str:
    """More than the kernel can count."""
    return "" if 0 < value <= _MOST_PIDS else f"{value} is not a number from 1 to {_MOST_PIDS}."


# -- io: rows of a disk, a key, and bytes or requests in a second -----------------------------------------------------

def _read_io(group: Group, expected: Rows) -> Rows:
    """Give the limits; disks under the names by which they are expected."""
    found = _kept_io(group)
    names = {_device(path): path for path, _, _ in expected}
    if found == {(_device(path), key): value for path, key, value in expected}:
        return expected
    return tuple(sorted((names.get(disk) or _node_of(disk), key, value) for (disk, key), value in found.items()))


def _write_io(group: Group, value: Rows) -> None:
    """Set the limits, and lift those that are no longer wanted."""
    wanted = {(_device(path), key): number for path, key, number in value}
    for device, key in sorted(_kept_io(group).keys() | wanted.keys()):
        limit = wanted.get((device, key), 0)
        if group.version == 1:
            put(f"{group.path}/{IO_KEYS[key]}", f"{device} {limit}")
        else:
            put(f"{group.path}/io.max", f"{device} {key}={limit or 'max'}")


def _flaw_io(value: Rows, root: str) -> str:
    """What is no disk, and what is twice the same."""
    for path, key, number in value:
        wrong = _no_disk(path) or _no_rate(key, number)
        if wrong:
            return f'"{path}" {wrong}'
    limited = [(_device(path), key) for path, key, _ in value]
    twice = [path for path, key, _ in value if limited.count((_device(path), key)) > 1]
    return f"{', '.join(twice)} are the same disk." if twice else ""


def _no_disk(path: str) -> str:
    number = _device(path)
    if number == path:
        return "is not a disk of this host."
    return "is a partition: only a whole disk is limited." if os.path.exists(f"/sys/dev/block/{number}/partition") else ""


def _no_rate(key: str, number: int) -> str:
    if key not in IO_KEYS:
        return f'cannot be limited in "{key}", but in {", ".join(IO_KEYS)}.'
    most = _MOST_REQUESTS if key.endswith("iops") else _ENDLESS
    return "" if _LEAST_IO <= number <= most else f'cannot have a "{key}" of {number}: from {_LEAST_IO} to {most} is possible.'


def _kept_io(group: Group) -> dict[tuple[str, str], int]:
    """Read the limits by device number and key."""
    if group.version == 1:
        lines = {key: text(f"{group.path}/{file}").splitlines() for key, file in IO_KEYS.items()}
        return {(line.split()[0], key): int(line.split()[1]) for key, found in lines.items() for line in found}
    rows = [line.split() for line in text(f"{group.path}/io.max").splitlines()]
    pairs = [(row[0], *word.split("=")) for row in rows for word in row[1:]]
    return {(device, key): int(value) for device, key, value in pairs if value != "max"}


# -- cpuset: which CPUs, a list such as 0-2,5 -------------------------------------------------------------------------


def _read_cpuset(group: Group, expected: str) -> str:
    """Give the CPUs; all that the group above has are no limit, for that is how one is lifted from what runs."""
    found = text(f"{group.path}/cpuset.cpus")
    if group.version == 1 and not found:
        return "none"  # whoever made it was killed then, and nobody can join it (cpuset(7))
    if _CPUS.fullmatch(expected) and _cpus(found) == _cpus(expected):
        return expected
    return "" if _cpus(found) == _cpus(_cpus_above(group)) else found


def _write_cpuset(group: Group, value: str) -> None:
    """Set the CPUs; neither version lets a group with processes have none, and version 1 wants memory nodes too."""
    if group.version == 1:
        for path in (f"{group.path}/..", group.path):
            put(f"{path}/cpuset.mems", text(f"{path}/../cpuset.mems"))
        put(f"{group.path}/../cpuset.cpus", text(f"{group.path}/../../cpuset.cpus"))
    put(f"{group.path}/cpuset.cpus", value or _cpus_above(group))


def _cpus_above(group: Group) -> str:
    return text(f"{group.path}/../{'cpuset.cpus' if group.version == 1 else 'cpuset.cpus.effective'}")


def _flaw_cpuset(value: str, root: str) -> str:
    """CPUs that are not there."""
    if not _CPUS.fullmatch(value):
        return f'"{value}" is not a list of CPUs such as "0-2,5".'
    paths = (f"{root}/cpuset.cpus.effective", f"{root}/cpuset.effective_cpus", "/sys/devices/system/cpu/online")
    there = next(text(path) for path in paths if os.path.exists(path))
    return "" if _cpus(value) <= _cpus(there) else f'there are no CPUs "{value}": this host has "{there}".'


def text(path: str) -> str:
    """Read a file of the kernel."""
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _number(said: str) -> int:
    """Read a limit; one of nothing at all, which only a hand can have set, is told from none as 1."""
    return 0 if said == "max" or int(said) >= _ENDLESS else max(1, int(said))


def _device(path: str) -> str:
    """Give a disk's number as the kernel writes it; the path itself if it is no disk, which is then none that is limited."""
    try:
        about = os.stat(path)
    except OSError:
        return path
    return f"{os.major(about.st_rdev)}:{os.minor(about.st_rdev)}" if stat.S_ISBLK(about.st_mode) else path


def _node_of(number: str) -> str:
    """Name a disk by its number."""
    try:
        lines = text(f"/sys/dev/block/{number}/uevent").splitlines()
    except OSError:
        return f"/dev/block/{number}"
    return "/dev/" + dict(line.split("=", 1) for line in lines).get("DEVNAME", f"block/{number}")


def _cpus(said: str) -> set[int]:
    """Read a list of CPUs."""
    spans: Sequence[list[str]] = [span.split("-") for span in said.split(",") if span]
    return {cpu for span in spans for cpu in range(int(span[0]), int(span[-1]) + 1)}


CONTROLLERS: Mapping[str, Controller] = {
    "cpu": Controller(_read_cpu, _write_cpu, _flaw_cpu),
    "memory": Controller(_read_memory, _write_memory, _flaw_memory),
    "pids": Controller(_read_pids, _write_pids, _flaw_pids),
    "io": Controller(_read_io, _write_io, _flaw_io),
    "cpuset": Controller(_read_cpuset, _write_cpuset, _flaw_cpuset),
}
