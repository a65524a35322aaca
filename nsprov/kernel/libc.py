"""The system calls that Python 3.9 has no function for; the only module that uses ctypes.

Flags and semantics: unshare(2), setns(2), mount(2), umount2(2), ioctl_ns(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
NS_GET_USERNS, NS_GET_NSTYPE = 0xB701, 0xB703
_PR_SET_DUMPABLE = 4

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


def owner(fd: int) -> int:
    """Give a descriptor of the user namespace that owns the namespace behind `fd`; OSError if that is above our own."""
    return fcntl.ioctl(fd, NS_GET_USERNS)


def set_dumpable(*, dumpable: bool) -> None:
    """Say whether this process may be looked into by others of its ids, and whether its files in /proc are its own."""
    _check(_LIBC.prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0), "prctl")


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


def detached_mount(fstype: str, source: str, options: dict[str, str], attributes: int = 0) -> int:
    """Make a file system and give its mount as a descriptor; option values are taken literally, commas included."""
    context = _syscall(fstype, _FSOPEN, fstype.encode(), 1)
    try:
        for key, value in {"source": source, **options}.items():
            _syscall(value, _FSCONFIG, context, _FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)
        _syscall(fstype, _FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _syscall(fstype, _FSMOUNT, context, 1, attributes)
    finally:
        os.close(context)


# What the kernel tells of a namespace, a process or a socket by ioctl(2). Numbers made with _IOR() are those of x86, arm,
# riscv and s390; elsewhere they are unknown to the kernel, which is what an older kernel says too, and is not an error.
_NS_GET_PARENT, _NS_GET_OWNER_UID, _NS_GET_MNTNS_ID, _NS_GET_ID = 0xB702, 0xB704, 0x8008B705, 0x8008B70D
_PIDFD_GET_NAMESPACE: Mapping[str, int] = {
    "cgroup": 0xFF01,
    "ipc": 0xFF02,
    "mnt": 0xFF03,
    "net": 0xFF04,
    "pid": 0xFF05,
    "time": 0xFF07,
    "user": 0xFF09,
    "uts": 0xFF0A,
}
_SIOCGSKNS = 0x894C
_PIDFD_GETFD = 438
_UNKNOWN = (errno.ENOTTY, errno.EINVAL, errno.ENOSYS)
"""How a kernel says that it does not know a request."""


def _told(fd: int, request: int, size: int) -> int | None:
    """Ask for an unsigned number of `size` bytes; `None` if the kernel does not know the request."""
    buffer = bytearray(size)
    try:
        fcntl.ioctl(fd, request, buffer)
    except OSError as problem:
        if problem.errno in _UNKNOWN:
            return None
        raise
    return int.from_bytes(buffer, sys.byteorder)


def namespace_id(fd: int) -> int | None:
    """Give the number of the namespace behind `fd` that is never used again; `None` if the kernel gives none.

    Linux 6.18 has one for every type, 6.11 for mount namespaces.
    """
    found = _told(fd, _NS_GET_ID, 8)
    return _told(fd, _NS_GET_MNTNS_ID, 8) if found is None else found


def owner_uid(fd: int) -> int | None:
    """Give the uid, as we see it, that made the user namespace behind `fd`."""
    return _told(fd, _NS_GET_OWNER_UID, 4)


def parent(fd: int) -> int:
    """Give a descriptor of the parent of the user or pid namespace behind `fd`; OSError if that is above our own."""
    return fcntl.ioctl(fd, _NS_GET_PARENT)


def process_namespace(pidfd: int, kind: str) -> int | None:
    """Give a descriptor of a process's namespace; `None` if the kernel knows no such question (before Linux 6.11).

    OSError (ESRCH) if the process has ended, also when its number is another's by now.
    """
    try:
        return fcntl.ioctl(pidfd, _PIDFD_GET_NAMESPACE[kind])
    except OSError as problem:
        if problem.errno in _UNKNOWN:
            return None
        raise


def socket_namespace(fd: int) -> int:
    """Give a descriptor of the network namespace that a socket, or an open /dev/net/tun, belongs to (Linux 4.10)."""
    return fcntl.ioctl(fd, _SIOCGSKNS)


def borrowed(pidfd: int, number: int) -> int:
    """Give a copy of another process's descriptor; OSError if we may not look into it, or before Linux 5.6."""
    return _syscall("pidfd_getfd", _PIDFD_GETFD, pidfd, number, 0)


# Mounting by descriptor, so that no path is resolved twice: openat2(2) (Linux 5.6), mount_setattr(2) (Linux 5.12).
MOUNT_RDONLY, MOUNT_NOSUID, MOUNT_NODEV, MOUNT_NOEXEC = 1, 2, 4, 8
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16
_AT_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH, _MOUNT_ATTR_IDMAP = 0x1000, 0x40, 0x00100000
_OPENAT2, _MOUNT_SETATTR = 437, 442
_ATTEMPTS = 64


def open_beneath(directory: int, path: str, flags: int, resolve: int) -> int:
    """Open a path that leads nowhere outside of a directory; OSError if it would.

    EAGAIN: something was renamed meanwhile and ".." can no longer be vouched for; to try again is what is documented.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(BlockingIOError):
            return _syscall(path, _OPENAT2, directory, os.fsencode(path), how, len(how))
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def copy_mount(fd: int, *, recursive: bool = False) -> int:
    """Copy the mount of what is open as `fd`, from there on down, and give the copy as a descriptor."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    return _syscall("open_tree", _OPEN_TREE, fd, b"", flags)


def set_mount(
    fd: int, attributes: int, *, recursive: bool = False, idmap: int | None = None, propagation: int = 0
) -> None:
    """Set attributes of a mount; `idmap` is a user namespace whose ids stand for those on the disk (Linux 5.12)."""
    wanted = struct.pack("=QQQQ", attributes | (0 if idmap is None else _MOUNT_ATTR_IDMAP), 0, propagation, idmap or 0)
    _syscall("mount_setattr", _MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0), wanted, len(wanted))


def attach(fd: int, target: int) -> None:
    """Attach a detached mount over what is open as `target`."""
    _syscall("move_mount", _MOVE_MOUNT, fd, b"", target, b"", MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)


def pivot_root(new: str, old: str) -> None:
    """Make the mount at `new` the root, and move what was the root to `old`."""
    _check(_LIBC.pivot_root(os.fsencode(new), os.fsencode(old)), new)


# What a process may do: prctl(2), capabilities(7), seccomp(2), signalfd(2).
PR_SET_KEEPCAPS, PR_SET_NAME, PR_CAPBSET_READ, PR_CAPBSET_DROP = 8, 15, 23, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 36, 38, 47, 2
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_CAPABILITY_VERSION_3 = 0x20080522
_FILTER_BYTES = 8


def prctl(option: int, argument: int | bytes = 0, other: int = 0) -> int:
    """Ask the kernel about this process, or tell it; the arguments that are not used must be zero (prctl(2))."""
    first = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    zero = ctypes.c_ulong(0)
    result = int(_LIBC.prctl(ctypes.c_int(option), first, ctypes.c_ulong(other), zero, zero))
    _check(result, "prctl")
    return result


def capabilities() -> int:
    """Give the capabilities that this process may use, one bit each."""
    data = ctypes.create_string_buffer(24)
    _check(_LIBC.capget(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), data), "capget")
    _, low, _, _, high, _ = struct.unpack("=6I", data.raw)
    return int(low | high << 32)


def set_capabilities(permitted: int, inheritable: int = 0) -> None:
    """Keep these capabilities, effective at once, and let execve(2) inherit those; OSError if we lack one."""
    words = [(mask >> shift) & 0xFFFFFFFF for shift in (0, 32) for mask in (permitted, permitted, inheritable)]
    _check(_LIBC.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", *words)), "capset")


def install_filter(program: bytes) -> None:
    """Put this process and its children under a seccomp filter, for ever; it needs no_new_privs or CAP_SYS_ADMIN."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HP", len(program) // _FILTER_BYTES, ctypes.addressof(buffer))
    _check(_LIBC.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), header, 0, 0), "seccomp")


def signalfd(numbers: Iterable[int]) -> int:
    """Give a descriptor from which signals, which must be blocked, are read: 128 bytes each, with who sent it."""
    mask = sum(1 << (number - 1) for number in numbers)
    fd = int(_LIBC.signalfd(-1, struct.pack("=16Q", mask, *[0] * 15), os.O_NONBLOCK | os.O_CLOEXEC))
    _check(fd, "signalfd")
    return fd


# How a process enters a node and becomes what runs there: clone3(2) (Linux 5.3), close_range(2) (Linux 5.9).
PR_SET_PDEATHSIG, _CLONE_PARENT = 1, 0x8000
_CLONE3, _CLOSE_RANGE = 435, 436


def close_from(first: int, last: int = (1 << 32) - 1) -> None:
    """Close every descriptor from `first` on, or up to `last`."""
    try:
        _syscall("close_range", _CLOSE_RANGE, first, last, 0)
    except OSError:
        os.closerange(first, min(last, 1 << 20) + 1)


def fork_beside() -> int:
    """Fork as os.fork() does, but a child of our parent: it can wait for it, and we need not stay; in a single thread only."""
    arguments = struct.pack("=8Q", _CLONE_PARENT, 0, 0, 0, 0, 0, 0, 0)
    return _syscall("clone3", _CLONE3, arguments, len(arguments))

