"""Say what this host can do for labs: its Python, its kernel, its tools, its clock, its room, its ways to others.

Nothing of it changes the host.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from nsprov.kernel.abilities import LIMITED, MISSING, OK, UNKNOWN, Ability, abilities
from nsprov.kernel.machine import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TOOLS = {"ip": "iproute2", "ping": "iputils-ping", "nft": "nftables", "tcpdump": "tcpdump"}
"""What workloads and people often want, and the package (of Debian) that has it; nsprov itself needs none."""
_MEMORY, _ROOM, _INODES = 256 << 20, 64 << 20, 10_000


def examine(request: Mapping[str, Any], came: float) -> dict[str, Any]:
    """Answer what came at that time; `remotes` are the addresses of the other hosts. `clock` is then, and when we answer."""
    found = [_python(), *abilities(Kernel("doctor")), *_folders(), _memory(), *_tools(), *_paths(request.get("remotes", ()))]
    return {"checks": [list(one) for one in found], "groups": _groups(), "clock": [came, time.time()]}


def _python() -> Ability:
    return Ability("python", OK, f"{sys.version.split()[0]}, {sys.executable}")


def _groups() -> list[str]:
    """Give the groups of who we are that often mean that sudo is allowed."""
    import grp  # noqa: PLC0415 - for start-up: no run on a lab needs it

    names = []
    for number in os.getgroups():
        with contextlib.suppress(KeyError):  # a group without a name
            names.append(grp.getgrgid(number).gr_name)
    return sorted({"sudo", "wheel", "admin"}.intersection(names))


def _folders() -> Iterator[Ability]:
    yield _folder("/run", "/run", _ROOM)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield _folder("agent cache", "/var/cache/nsprov" if os.geteuid() == 0 else f"{home}/nsprov", _ROOM)


def _folder(name: str, path: str, wanted: int) -> Ability:
    """Look at a file system's room and whether it can be written; what is not made yet is where it would be."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    found = os.statvfs(path)
    free = found.f_bavail * found.f_frsize
    text = f"{path}: {_size(free)} free"
    if found.f_flag & os.ST_RDONLY or not os.access(path, os.W_OK):
        return Ability(name, MISSING, f"{path} cannot be written")
    short = free < wanted or (found.f_files > 0 and found.f_favail < _INODES)
    return Ability(name, LIMITED if short else OK, text)


def _memory() -> Ability:
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))
        return Ability("memory", LIMITED if free < _MEMORY else OK, f"{_size(free)} available")
    return Ability("memory", UNKNOWN, "/proc/meminfo does not say")


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 - of one unit in the next
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.0f} TiB"


def _tools() -> Iterator[Ability]:
    where = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    for name, package in _TOOLS.items():
        path = shutil.which(name, path=where)
        yield Ability(f"tool {name}", OK, path) if path else Ability(f"tool {name}", LIMITED, f"not there (package {package})")


def _paths(remotes: Sequence[str]) -> Iterator[Ability]:
    """Look at the ways to the other hosts, as the kernel knows them."""
    if not remotes:
        return
    from nsprov.kernel import paths  # noqa: PLC0415 - for start-up, as in `surveying`

    found = paths.lookup(Kernel("doctor"), remotes)
    lost = [remote for remote in remotes if remote not in found]
    ways = sorted({f"{source} by {dev}" for source, _, dev in found.values()})
    text = f"{', '.join(ways)}, MTU {min(mtu for _, mtu, _ in found.values())}" if found else ""
    if lost:
        yield Ability("underlay", MISSING, f"no route to {', '.join(lost[:4])}{' and more' if lost[4:] else ''}")
    else:
        yield Ability("underlay", OK, f"{text}, to {len(found)} host{'s' if len(found) > 1 else ''}")
