"""What is mounted in a node for the kernel and not for the disk: /dev, /proc, /sys, control groups, message queues.

devtmpfs is one for the whole machine, so a node's /dev is a tmpfs with a few devices of the host bound into it.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, KernelError
from nsprov.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.kernel.beneath import Beneath

CGROUPS = "/sys/fs/cgroup"
SHM, MQUEUE = "/dev/shm", "/dev/mqueue"  # noqa: S108 - they are mounted over
PSEUDO = libc.MOUNT_NOSUID | libc.MOUNT_NODEV | libc.MOUNT_NOEXEC
_TMP = libc.MOUNT_NOSUID | libc.MOUNT_NODEV

_DEVICES: Mapping[str, tuple[int, int]] = {
    "/dev/null": (1, 3),
    "/dev/zero": (1, 5),
    "/dev/full": (1, 7),
    "/dev/random": (1, 8),
    "/dev/urandom": (1, 9),
    "/dev/tty": (5, 0),
    "/dev/net/tun": (10, 200),
}
"""The devices of a node with their numbers, which are the kernel's for good (Documentation/admin-guide/devices.txt)."""

_SPARE = {"/dev/net/tun"}
"""What a host may lack: without the driver there is no such device."""

_LINKS: Mapping[str, str] = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}

TTY = 5
"""The group that terminals belong to, everywhere (systemd's sysusers.d/basic.conf, Debian's base-passwd)."""


def scratch(place: Beneath, path: str, size: str, mode: str, owner: tuple[int, int]) -> None:
    """Mount an empty file system of a bounded size, which belongs to the node's root."""
    uid, gid = owner
    place.fresh("tmpfs", path, {"size": size, "mode": mode, "uid": str(uid), "gid": str(gid)}, _TMP)


def furnish(place: Beneath, owner: tuple[int, int], tty: int | None) -> None:
    """Mount a /dev: the harmless devices of the host, terminals of the node's own, shared memory, message queues.

    `tty` is the host's id of the group of terminals; a node whose map has none gives terminals to root's group.
    """
    scratch(place, "/dev", "1m", "0755", owner)
    for path, number in _DEVICES.items():
        _bind_device(place, path, number)
    dev = place.place("/dev", directory=True)
    try:
        for name, target in _LINKS.items():
            os.symlink(target, name, dir_fd=dev)
    finally:
        os.close(dev)
    group = str(owner[1] if tty is None else tty)
    options = {"ptmxmode": "0666", "mode": "0620", "gid": group}
    # Each mount is an instance of its own; `newinstance` says so to kernels before 4.7 only, and is ignored by newer ones.
    place.fresh("devpts", "/dev/pts", options, libc.MOUNT_NOSUID | libc.MOUNT_NOEXEC)
    memory(place, owner)


def memory(place: Beneath, owner: tuple[int, int], paths: Sequence[str] = (SHM, MQUEUE)) -> None:
    """Mount shared memory and message queues of the node's own."""
    if SHM in paths:
        scratch(place, SHM, "64m", "1777", owner)
    if MQUEUE in paths:
        place.fresh("mqueue", MQUEUE, {}, PSEUDO)


def _bind_device(place: Beneath, path: str, number: tuple[int, int]) -> None:
    """Bind a device of the host, having made sure that it is that one: a link or a file in its place is not followed."""
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        if path in _SPARE:
            return
        raise
    try:
        about = os.fstat(fd)
        if not stat.S_ISCHR(about.st_mode) or (os.major(about.st_rdev), os.minor(about.st_rdev)) != number:
            detail = f"It is not the character device {number[0]}:{number[1]}."
            hint = "see what has replaced it"
            raise KernelError(Diagnostic(f'"{path}" of the host is not what it should be', path, detail, hint), errno.ENODEV)
        mount = libc.copy_mount(fd)
    finally:
        os.close(fd)
    try:
        place.attach(mount, path)
    finally:
        os.close(mount)


def groups(place: Beneath, unified: Sequence[str], host: int | None) -> None:
    """Mount control groups: the node's own alone, if `unified` says where the host has version 2, else those of the host."""
    if host is not None:
        place.attach(host, CGROUPS)
    elif list(unified) == [CGROUPS]:
        place.fresh("cgroup2", CGROUPS, {}, PSEUDO)
    elif unified:
        place.fresh("tmpfs", CGROUPS, {"mode": "0755", "size": "64k"}, PSEUDO)
        for path in unified:
            place.fresh("cgroup2", path, {}, PSEUDO)
