"""What a node may use: CPU, memory, processes, disks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nsprov.topology import units
from nsprov.topology.measures import Measures
from nsprov.topology.node_model import Limits
from nsprov.topology.positions import Path, Problems, attempt, shown

if TYPE_CHECKING:
    from nsprov.topology.node_spec import IoSpec, LimitsSpec

_DEVICE = re.compile(r"/dev(?:/[A-Za-z0-9_+:-][A-Za-z0-9_.+:-]*)+", re.ASCII)
_MAX_PIDS = 1 << 22  # PID_MAX_LIMIT
_MAX_IOPS = 0xFFFFFFFF  # UINT_MAX: the kernel takes a larger one for no limit


def read_limits(given: LimitsSpec, path: Path, problems: Problems) -> Limits | None:
    """Read a node's limits; none at all is the same as nothing written."""
    read = Measures(given, path, problems)
    io = sorted((given.io or {}).items())
    found = Limits(
        cpu=read.cpus("cpu"),
        memory=read.size("memory"),
        pids=read.number("pids", 0, 1, _MAX_PIDS),
        io=tuple(row for device, rates in io for row in _rates(device, rates, (*path, "io", device), problems)),
        cpuset=_cpuset(given.cpuset, (*path, "cpuset"), problems),
    )
    return found if found != Limits() else None


def _cpuset(text: str | None, path: Path, problems: Problems) -> str:
    return "" if text is None else attempt(problems, path, units.cpu_list, text) or ""


def _rates(device: str, given: IoSpec, path: Path, problems: Problems) -> list[tuple[str, str, int]]:
    """Read the limits of one device, sorted."""
    if not _DEVICE.fullmatch(device):
        problems.add(path, f"{shown(device)} is not a block device", 'write its path, such as "/dev/vda"', key=True)
    read = Measures(given, path, problems)
    rows = {word: read.size(word) for word in ("rbps", "wbps")}
    rows.update({word: read.number(word, 0, 1, _MAX_IOPS) for word in ("riops", "wiops")})
    return [(device, word, rows[word]) for word in sorted(rows) if rows[word]]
