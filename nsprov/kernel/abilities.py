"""What this host's kernel can do for a lab, found out without making anything that outlives the question.

Link types are asked for in a way that cannot succeed (see `linktypes`), a mount is copied and let go unattached; all the
rest is read from /proc and /sys.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
from typing import TYPE_CHECKING, NamedTuple

from nsprov.kernel import libc, linktypes
from nsprov.kernel.hierarchies import LEGACY_NAMES, Hierarchies
from nsprov.kernel.namespaces import TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.kernel.machine import Kernel

OK, LIMITED, MISSING, UNKNOWN = "ok", "limited", "missing", "unknown"

OLDEST = (5, 8)
"""The oldest Linux whose system calls are all that we use for any lab."""

LINKS = ("veth", "bridge", "vxlan", "gretap", "wireguard")
_CAPABILITIES: Mapping[str, int] = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "NET_ADMIN": 12,
    "SYS_CHROOT": 18,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
}
"""What root has to be allowed (capabilities(7)); in a container it may not be."""
_SYS_RESOURCE = 24
_FEW_NAMESPACES, _FEW_FILES, _FEW_NEIGHBOURS = 1000, 4096, 1024


class Ability(NamedTuple):
    """One thing that was looked at: its name, how it is (`OK` and so on), and what was found."""

    name: str
    state: str
    what: str


def abilities(kernel: Kernel) -> list[Ability]:
    """Look at all of them; who is not root learns less."""
    allowed = _allowed()
    found = [_release(), allowed, _namespaces(), _room()]
    found += [_link(kernel, name, able=allowed.state != MISSING) for name in LINKS]
    return [*found, _overlay(), _mounting(), _cgroups(), _seccomp(), _pidfd(), _files(), _hard_limits(), _neighbours()]


def _release() -> Ability:
    release = os.uname().release
    numbers = re.match(r"(\d+)\.(\d+)", release)
    old = numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST
    return Ability("kernel", MISSING if old else OK, f"Linux {release}, {os.uname().machine}")


def _allowed() -> Ability:
    """Look at what this process may do."""
    if os.geteuid() != 0:
        return Ability("privileges", MISSING, f"uid {os.geteuid()}")
    mask = libc.capabilities()
    lacking = [name for name, bit in _CAPABILITIES.items() if not mask >> bit & 1]
    if lacking:
        return Ability("privileges", MISSING, f"root without {', '.join(f'CAP_{name}' for name in lacking)}")
    return Ability("privileges", OK, "root")


def _namespaces() -> Ability:
    lacking = [kind for kind in TYPES if not os.path.exists(f"/proc/self/ns/{kind}")]
    if not lacking:
        return Ability("namespaces", OK, " ".join(sorted(TYPES)))
    basic = {"net", "mnt", "uts"}.intersection(lacking)
    return Ability("namespaces", MISSING if basic else LIMITED, f"there are none of the types {', '.join(lacking)}")


def _room() -> Ability:
    """Look at how many namespaces of each type may be made (namespaces(7), /proc/sys/user)."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/sys/user"):
            if name.endswith("_namespaces"):
                found[name[len("max_") : -len("_namespaces")]] = int(_read(f"/proc/sys/user/{name}") or 0)
    if not found:
        return Ability("namespace limits", UNKNOWN, "/proc/sys/user is not there")
    few = {kind: count for kind, count in sorted(found.items()) if count < _FEW_NAMESPACES}
    basic = any(found.get(kind) == 0 for kind in ("net", "mnt", "uts"))
    text = ", ".join(f"max_{kind}_namespaces is {count}" for kind, count in few.items())
    return Ability("namespace limits", MISSING if basic else LIMITED if few else OK, text or f"{min(found.values())} at least")


def _link(kernel: Kernel, name: str, *, able: bool) -> Ability:
    if linktypes.listed(name):
        return Ability(name, OK, "the kernel has it, or can load it")
    if not able:
        return Ability(name, UNKNOWN, "only root can find out")
    return Ability(name, MISSING, "the kernel has no such links") if linktypes.lacks(kernel, name) else Ability(name, OK, "")


def _overlay() -> Ability:
    if re.search(r"\boverlay\b", _read("/proc/filesystems")) or _has_module("overlay"):
        return Ability("overlay", OK, "")
    return Ability("overlay", MISSING, "the kernel has no overlay file system")


def _has_module(name: str) -> bool:
    folder = f"/lib/modules/{os.uname().release}"
    return any(f"/{name}.ko" in _read(f"{folder}/modules.{kind}") for kind in ("dep", "builtin"))


def _mounting() -> Ability:
    """Copy a mount as a descriptor, which is gone when it is closed, and set nothing on it."""
    try:
        os.close(libc.open_tree("/proc"))
    except OSError as problem:
        if problem.errno == errno.EPERM and os.geteuid() != 0:
            return Ability("mounts", UNKNOWN, "only root can find out")
        return Ability("mounts", MISSING, f"open_tree(2): {problem.strerror}")
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < (5, 12):
        return Ability("mounts", LIMITED, "no mount_setattr(2), which is of Linux 5.12")
    return Ability("mounts", OK, "by descriptor")


def _cgroups() -> Ability:
    groups = Hierarchies("doctor")
    versions = {name: groups.version(name) for name in LEGACY_NAMES}
    tracking = groups.version()
    by_version = {number: " ".join(name for name, version in versions.items() if version == number) for number in (2, 1, 0)}
    kind = "hybrid" if tracking and by_version[1] else "version 2" if tracking else "version 1" if by_version[1] else "none"
    parts = [f"version {number}: {by_version[number]}" for number in (2, 1) if by_version[number]]
    parts += [f"not there: {by_version[0]}"] if by_version[0] else []
    whole = tracking and not by_version[0]
    return Ability("cgroups", OK if whole else LIMITED if tracking or by_version[1] else MISSING, "; ".join([kind, *parts]))


def _seccomp() -> Ability:
    if "errno" not in _read("/proc/sys/kernel/seccomp/actions_avail") and "Seccomp:" not in _read("/proc/self/status"):
        return Ability("seccomp", MISSING, "the kernel has no filters of system calls")
    machine = os.uname().machine
    if machine not in ("x86_64", "aarch64"):
        return Ability("seccomp", LIMITED, f"there is no filter of ours for {machine}")
    return Ability("seccomp", OK, "")


def _pidfd() -> Ability:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError) as problem:  # AttributeError: Python was built for a kernel that has none
        return Ability("pidfd", MISSING, f"pidfd_open(2): {problem}")
    return Ability("pidfd", OK, "")


def _files() -> Ability:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    each = "any number" if hard == resource.RLIM_INFINITY else str(hard)
    text = f"{each} a process, {_read('/proc/sys/fs/file-max') or '?'} in all"
    return Ability("open files", LIMITED if -1 < hard < _FEW_FILES else OK, text)


def _hard_limits() -> Ability:
    if os.geteuid() == 0 and not libc.capabilities() >> _SYS_RESOURCE & 1:
        return Ability("hard limits", LIMITED, "root without CAP_SYS_RESOURCE cannot raise them")
    return Ability("hard limits", OK, "")


def _neighbours() -> Ability:
    """Look at how many neighbours all networks of the host have room for (arp(7), gc_thresh3), and at buffers of sockets."""
    limit = _read("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
    core = ", ".join(f"{name} {value}" for name in ("rmem_max", "wmem_max") if (value := _read(f"/proc/sys/net/core/{name}")))
    if not limit:
        # They are of the first network namespace alone, and we are in another.
        return Ability("network limits", OK, core)
    state = LIMITED if int(limit) < _FEW_NEIGHBOURS else OK
    return Ability("network limits", state, ", ".join(filter(None, [f"{limit} neighbours", core])))


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return ""
