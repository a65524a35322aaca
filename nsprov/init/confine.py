"""Give up what a workload shall not have: capabilities, ids, the right to gain more, and system calls.

The order is the kernel's (capabilities(7)): the bounding set while we may still change it, ids with the capabilities
kept over the change, then the sets themselves, no_new_privs, and the filter last.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nsprov.init import seccomp
from nsprov.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.init.passwd import Identity

CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    *("CHECKPOINT_RESTORE",),
)
"""By number, as in linux/capability.h."""

USUAL = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE"),
    *("NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
"""What containers keep by default, and NET_ADMIN: the network is what a lab is for, and it is the node's own.

It is meant for root. Another user who got it would be root by another name, so they get none of it, unless asked for
in other words than these.
"""

ALL = ("all",)
_WORD = 64


def check(names: Sequence[str]) -> None:
    """Raise ValueError unless all are capabilities, or the only one is "all"."""
    unknown = [name for name in names if name not in CAPABILITIES]
    if unknown and tuple(names) != ALL:
        raise ValueError(f'"{unknown[0]}" is no capability; they are written as NET_ADMIN, or all of them as "all" alone')


def confine(identity: Identity, capabilities: Sequence[str], *, no_new_privileges: bool, filtered: bool) -> None:
    """Make this process what is left of it, for good; PermissionError if that asks for more than we have."""
    kept = _kept(capabilities)
    program = seccomp.program(names(kept)) if filtered else b""
    _drop_from_bounding_set(kept)
    if program and not no_new_privileges:
        libc.install_filter(program)  # without no_new_privs it takes CAP_SYS_ADMIN, which we have now
    ambient = 0 if identity.uid == 0 or set(capabilities) == set(USUAL) else kept
    _become(identity)
    libc.set_capabilities(kept if identity.uid == 0 else ambient, ambient)
    for number in _numbers(ambient):
        libc.prctl(libc.PR_CAP_AMBIENT, libc.PR_CAP_AMBIENT_RAISE, number)
    if no_new_privileges:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        if program:
            libc.install_filter(program)


def names(mask: int) -> frozenset[str]:
    """Give the names of the capabilities in a mask."""
    return frozenset(name for number, name in enumerate(CAPABILITIES) if mask >> number & 1)


def _kept(wanted: Sequence[str]) -> int:
    """Give what is kept, as a mask; what is asked for by name must be there."""
    ours = libc.capabilities()
    if tuple(wanted) == ALL:
        return ours
    mask = sum(1 << CAPABILITIES.index(name) for name in set(wanted))
    if mask & ~ours and set(wanted) != set(USUAL):
        raise PermissionError(f"the node itself lacks {', '.join(sorted(names(mask & ~ours)))}")
    return mask & ours


def _drop_from_bounding_set(kept: int) -> None:
    """Take from what execve(2) can ever give: all that is not kept, those too that are newer than our list."""
    for number in range(_WORD):
        try:
            libc.prctl(libc.PR_CAPBSET_READ, number)
        except OSError:
            return  # EINVAL: the kernel has no more of them
        if not kept >> number & 1:
            libc.prctl(libc.PR_CAPBSET_DROP, number)


def _become(identity: Identity) -> None:
    if identity.uid != 0:
        libc.prctl(libc.PR_SET_KEEPCAPS, 1)  # until execve(2)
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


def _numbers(mask: int) -> list[int]:
    return [number for number in range(_WORD) if mask >> number & 1]
