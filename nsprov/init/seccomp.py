"""The default filter of system calls: a list of what no workload needs, or only with a capability that it has kept.

Most of these the kernel refuses anyway to who lacks the capability; the filter also covers what a new user namespace
would give back, and faults of the kernel on that way. It checks the architecture first: the numbers of another one
would mean other calls (seccomp(2)).
"""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_X86_64, _AARCH64 = 0, 1
_MACHINES: Mapping[str, tuple[int, int]] = {"x86_64": (_X86_64, 0xC000003E), "aarch64": (_AARCH64, 0xC00000B7)}
_NONE = -1
_KEEP_NEVER = ""

_REFUSED: Mapping[str, tuple[int, int, str]] = {
    "acct": (163, 89, "SYS_PACCT"),
    "add_key": (248, 217, _KEEP_NEVER),  # keys belong to users, and those are the host's
    "adjtimex": (159, 171, "SYS_TIME"),
    "bpf": (321, 280, "SYS_ADMIN BPF"),
    "clock_adjtime": (305, 266, "SYS_TIME"),
    "clock_settime": (227, 112, "SYS_TIME"),
    "delete_module": (176, 106, "SYS_MODULE"),
    "finit_module": (313, 273, "SYS_MODULE"),
    "fsconfig": (431, 431, "SYS_ADMIN"),
    "fsmount": (432, 432, "SYS_ADMIN"),
    "fsopen": (430, 430, "SYS_ADMIN"),
    "fspick": (433, 433, "SYS_ADMIN"),
    "init_module": (175, 105, "SYS_MODULE"),
    "ioperm": (173, _NONE, "SYS_RAWIO"),
    "iopl": (172, _NONE, "SYS_RAWIO"),
    "kexec_file_load": (320, 294, "SYS_BOOT"),
    "kexec_load": (246, 104, "SYS_BOOT"),
    "keyctl": (250, 219, _KEEP_NEVER),
    "mount": (165, 40, "SYS_ADMIN"),
    "mount_setattr": (442, 442, "SYS_ADMIN"),
    "move_mount": (429, 429, "SYS_ADMIN"),
    "open_by_handle_at": (304, 265, "DAC_READ_SEARCH"),  # finds files of the host below no directory of the node
    "open_tree": (428, 428, "SYS_ADMIN"),
    "open_tree_attr": (467, 467, "SYS_ADMIN"),
    "perf_event_open": (298, 241, "SYS_ADMIN PERFMON"),
    "pivot_root": (155, 41, "SYS_ADMIN"),
    "reboot": (169, 142, "SYS_BOOT"),
    "request_key": (249, 218, _KEEP_NEVER),
    "setns": (308, 268, "SYS_ADMIN"),
    "settimeofday": (164, 170, "SYS_TIME"),
    "swapoff": (168, 225, "SYS_ADMIN"),
    "swapon": (167, 224, "SYS_ADMIN"),
    "syslog": (103, 116, "SYSLOG"),
    "umount2": (166, 39, "SYS_ADMIN"),
    "userfaultfd": (323, 282, "SYS_PTRACE"),
}
"""System call: its number on x86_64 and on aarch64, and the capabilities of which one lets it pass."""

_UNKNOWN: Mapping[str, tuple[int, int, str]] = {
    "clone3": (435, 435, "SYS_ADMIN"),  # its flags are in memory, where no filter sees them; the C library takes clone
    "io_uring_setup": (425, 425, _KEEP_NEVER),
}
"""These say that the kernel does not know them, so that programs take the older way."""

_IOCTL, _CLONE, _UNSHARE = (16, 29), (56, 220), (272, 97)
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
"""They type on a terminal in the name of who reads from it (CVE-2017-5226)."""

_CLONE_FLAGS, _UNSHARE_FLAGS = 0x7E020000, 0x7E020080
"""CLONE_NEW*; the lowest byte of clone(2)'s is a signal, so CLONE_NEWTIME is unshare(2)'s alone."""

_NR, _ARCH, _ARGUMENT_0, _ARGUMENT_1 = 0, 4, 16, 24
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000
_SKIPPED = 0xFFFFFFFF
"""What a debugger makes of the number of a call that it wants to be skipped."""


def check(machine: str = "") -> None:
    """Raise ValueError if there is no default filter for this architecture."""
    if (machine or os.uname().machine) not in _MACHINES or struct.calcsize("P") != 8:  # noqa: PLR2004 - bytes
        raise ValueError(f'there is no default filter for {machine or os.uname().machine}; say "none"')


def program(kept: Collection[str], machine: str = "") -> bytes:
    """Give the filter for who keeps these capabilities, as the kernel takes it: 8 bytes an instruction."""
    check(machine)
    return b"".join(struct.pack("=HBBI", *step) for step in _steps(kept, *_MACHINES[machine or os.uname().machine]))


def _steps(kept: Collection[str], column: int, architecture: int) -> Iterator[tuple[int, int, int, int]]:
    """Give the instructions: code, how many to skip if it is true and if it is not, operand."""
    yield (_LOAD, 0, 0, _ARCH)
    yield from _when(_EQUAL, architecture, _KILL_PROCESS, otherwise=True)
    yield (_LOAD, 0, 0, _NR)
    if column == _X86_64:
        yield from _when(_EQUAL, _SKIPPED, _ALLOW)
        yield from _when(_AT_LEAST, _X32, _KILL_PROCESS)
    for calls, number in ((_REFUSED, errno.EPERM), (_UNKNOWN, errno.ENOSYS)):
        for *numbers, keys in calls.values():
            if numbers[column] != _NONE and not set(keys.split()) & set(kept):
                yield from _when(_EQUAL, numbers[column], _ERROR | number)
    if "SYS_ADMIN" not in kept:
        yield from _when_argument(_UNSHARE[column], _ARGUMENT_0, _ANY_BIT, (_UNSHARE_FLAGS,))
        yield from _when_argument(_CLONE[column], _ARGUMENT_0, _ANY_BIT, (_CLONE_FLAGS,))
    yield from _when_argument(_IOCTL[column], _ARGUMENT_1, _EQUAL, (_TIOCSTI, _TIOCLINUX))
    yield (_RETURN, 0, 0, _ALLOW)


def _when(test: int, value: int, verdict: int, *, otherwise: bool = False) -> Iterator[tuple[int, int, int, int]]:
    """Return a verdict if what is loaded passes a test, or if it does not."""
    yield (test, int(otherwise), int(not otherwise), value)
    yield (_RETURN, 0, 0, verdict)


def _when_argument(number: int, offset: int, test: int, values: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Refuse one call if the lower half of an argument, which is all that these calls look at, passes a test."""
    yield (_EQUAL, 0, 2 + 2 * len(values), number)
    yield (_LOAD, 0, 0, offset)
    for value in values:
        yield from _when(test, value, _ERROR | errno.EPERM)
    yield (_RETURN, 0, 0, _ALLOW)
