"""The system calls that Python 3.9 has no function for; the only module that uses ctypes.

Flags and semantics: unshare(2), setns(2), mount(2), umount2(2), ioctl_ns(2).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_MOVE, MS_REC = 4096, 8192, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 18, 1 << 19, 1 << 20
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8

_AT_SYMLINK_NOFOLLOW, _STATX_ATTR_MOUNT_ROOT = 0x100, 0x2000
NS_GET_NSTYPE = 0xB703

OPEN_TREE_CLONE, AT_RECURSIVE, AT_FDCWD = 1, 0x8000, -100
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_SYMLINKS = 0x04, 0x10
_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 6
# The same number on every architecture, as all calls newer than Linux 5.1.
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_LIBC.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_LIBC.unshare.argtypes = [ctypes.c_int]
_LIBC.setns.argtypes = [ctypes.c_int, ctypes.c_int]


def _check(result: int, subject: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject)


def unshare(flags: int) -> None:
    """Move this thread into new namespaces of the types in `flags`; OSError if the kernel refuses."""
    _check(_LIBC.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Move this thread into the namespace behind `fd`, which must be of the type `kind`; OSError if refused."""
    _check(_LIBC.setns(fd, kind), "setns")


def mount(source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Mount; OSError with the target as its subject if refused."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, fstype, data)]
    _check(_LIBC.mount(texts[0], texts[1], texts[2], flags, texts[3]), target)


def umount(target: str, flags: int = MNT_DETACH | UMOUNT_NOFOLLOW) -> None:
    """Detach the topmost mount at `target`; OSError if there is none."""
    _check(_LIBC.umount2(os.fsencode(target), flags), target)


def is_mount(path: str) -> bool:
    """Tell whether `path` is the root of a mount; os.path.ismount cannot see a directory bound onto itself.

    statx(2) says it since Linux 5.8; before that, and with a C library that has no statx(), /proc/self/mountinfo does.
    """
    buffer = ctypes.create_string_buffer(256)
    statx = getattr(_LIBC, "statx", None)
    if statx is not None and statx(AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, 0, buffer) == 0:
        attributes, = struct.unpack_from("=Q", buffer, 8)
        known, = struct.unpack_from("=Q", buffer, 56)
        if known & _STATX_ATTR_MOUNT_ROOT:
            return bool(attributes & _STATX_ATTR_MOUNT_ROOT)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return any(line.split(" ", 5)[4] == path for line in file)


def namespace_type(fd: int) -> int:
    """Give the CLONE_NEW* constant of the namespace behind `fd`, 0 if it is none.

    ENOTTY is the kernel's way to say that a file is no namespace: an empty pin file left by a reboot, say.
    """
    try:
        return fcntl.ioctl(fd, NS_GET_NSTYPE)
    except OSError:
        return 0


def _syscall(subject: str, number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_char_p(item) if isinstance(item, (bytes, type(None))) else ctypes.c_long(item) for item in arguments]
    result = int(_LIBC.syscall(ctypes.c_long(number), *words))
    _check(result, subject)
    return result


def open_tree(path: str, *, recursive: bool = False) -> int:
    """Copy the mount at `path` and give it as a descriptor that any mount namespace can attach (Linux 5.2)."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0)
    return _syscall(path, _OPEN_TREE, AT_FDCWD, os.fsencode(path), flags)


def move_mount(fd: int, target: str) -> None:
    """Attach a detached mount at `target`, following symbolic links, in the present mount namespace."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS
    _syscall(target, _MOVE_MOUNT, fd, b"", AT_FDCWD, os.fsencode(target), flags)


def detached_mount(fstype: str, source: str, options: dict[str, str]) -> int:
    """Make a file system and give its mount as a descriptor; option values are taken literally, commas included."""
    context = _syscall(fstype, _FSOPEN, fstype.encode(), 1)
    try:
        for key, value in {"source": source, **options}.items():
            _syscall(value, _FSCONFIG, context, _FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)
        _syscall(fstype, _FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _syscall(fstype, _FSMOUNT, context, 1, 0)
    finally:
        os.close(context)
