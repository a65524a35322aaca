"""Find who keeps namespaces alive: processes and their threads, descriptors, sockets, and mounts in any mount table.

Everything is read from /proc; only of a socket, which /proc says nothing about, a copy is taken and asked (SIOCGSKNS).
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from nsprov.kernel import libc
from nsprov.kernel.census import KINDS, Census, Holder, Namespace

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHILDREN = "_for_children"
_NAMES = (*KINDS, f"pid{_CHILDREN}", f"time{_CHILDREN}")
_MOUNTED = re.compile(rb"^\d+ \d+ \S+ (\w+):\[(\d+)\] (\S+) .* - nsfs ", re.MULTILINE)
_OCTAL = re.compile(rb"\\([0-7]{3})")
_FIRST_INODE = 0xEFFFFFF0
"""No namespace has a lower number: the first of all has MNT_NS_INIT_INO, 0xEFFFFFF8."""

_OTHERS = ("pipe:", "anon_inode:", "/dev/", "/memfd:")
"""How the names of descriptors begin that are no namespace for sure."""

_TUN = "/dev/net/tun"


def find(census: Census) -> None:
    """Note in `census` every process in a namespace, and every other thing that keeps one."""
    _pins(census)
    sockets = _Sockets(census)
    tables: dict[int, int] = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            own = _namespaces(f"/proc/{pid}/ns")
        except PermissionError:
            census.unreadable += 1  # it has rights that we have not (ptrace(2))
            continue
        except OSError:
            continue  # it has ended
        _note_process(census, pid, own)
        tables.setdefault(own.get("mnt", 0), pid)
        with contextlib.suppress(OSError):  # it has ended
            _threads(census, pid, own)
            if pid != os.getpid():
                _descriptors(census, sockets, pid, own.get("net", 0))
    _tables(census, tables)


def _pins(census: Census) -> None:
    """Note what is mounted in our own mount table."""
    for kind, inode, path in _mounted("/proc/self/mountinfo"):
        census.mounts[path] = (kind, inode)
        pins = census.note(kind, inode).pins
        if path not in pins:  # below a shared / each pin is there twice
            pins.append(path)


def _namespaces(directory: str) -> dict[str, int]:
    """Read the inode numbers of the namespaces that a process or a thread is in."""
    found = {}
    for name in _NAMES:
        # A zombie is in none any more; a new pid namespace is nobody's before its first process.
        with contextlib.suppress(FileNotFoundError):
            found[name] = int(os.readlink(f"{directory}/{name}").rpartition("[")[2][:-1])
    return found


def _note_process(census: Census, pid: int, own: Mapping[str, int]) -> None:
    for name, inode in own.items():
        kind, of_children, _ = name.partition(_CHILDREN)
        if not of_children:
            census.note(kind, inode).processes.append(pid)
        elif own.get(kind) != inode:
            census.note(kind, inode).holders.append(Holder("children", pid, "", f"/proc/{pid}/ns/{name}"))


def _threads(census: Census, pid: int, own: Mapping[str, int]) -> None:
    """Note the threads that are elsewhere than their process."""
    if os.stat(f"/proc/{pid}/task").st_nlink <= 3:  # noqa: PLR2004 (two of any directory, and the only thread)
        return
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):  # it has ended
            for name, inode in _namespaces(f"/proc/{pid}/task/{thread}/ns").items():
                if own.get(name) != inode:
                    way = f"/proc/{pid}/task/{thread}/ns/{name}"
                    census.note(name.partition(_CHILDREN)[0], inode).holders.append(Holder("thread", pid, thread, way))


def _descriptors(census: Census, sockets: _Sockets, pid: int, net: int) -> None:
    """Note the namespaces that a process holds open, and those of its sockets that are not of its own network."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{number}"
        with contextlib.suppress(OSError):  # it was closed meanwhile
            target = os.readlink(path)
            found: Namespace | None = None
            if target.startswith("socket:") or target == _TUN:
                found = sockets.network(target, pid, int(number))
                if found is not None and found.inode != net:
                    found.holders.append(Holder("socket", pid, number))
            elif not target.startswith(_OTHERS) and _is_namespace(census, pid, number):
                found = census.adopt(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
                if found is not None:
                    found.holders.append(Holder("descriptor", pid, number, path))


def _is_namespace(census: Census, pid: int, number: str) -> bool:
    """Tell whether a descriptor is a namespace: what was opened through a pin has a name that does not say it.

    The inode number is asked for first, and in /proc (Linux 5.14): stat(2) would wait for a dead network file system.
    """
    with open(f"/proc/{pid}/fdinfo/{number}", "rb") as file:
        inode = file.read(256).partition(b"\nino:")[2].split(maxsplit=1)[:1]
    if inode and int(inode[0]) < _FIRST_INODE:
        return False
    return os.stat(f"/proc/{pid}/fd/{number}").st_dev == census.device


class _Sockets:
    """Asks sockets for their network namespaces, each once: many processes may have the same."""

    def __init__(self, census: Census) -> None:
        """Start with nothing asked."""
        self._census = census
        self._known: dict[str, Namespace | None] = {}

    def network(self, name: str, pid: int, number: int) -> Namespace | None:
        """Give a socket's network namespace, if we may know it; `name` tells it from others, but for /dev/net/tun."""
        if name not in self._known or name == _TUN:
            self._known[name] = self._ask(pid, number)
        return self._known[name]

    def _ask(self, pid: int, number: int) -> Namespace | None:
        if not hasattr(os, "pidfd_open"):
            return None  # this Python was built for a kernel before Linux 5.3
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):  # not allowed, or before Linux 5.6
            process = os.pidfd_open(pid)
            stack.callback(os.close, process)
            copy = libc.borrowed(process, number)
            stack.callback(os.close, copy)
            return self._census.adopt(libc.socket_namespace(copy))
        return None


def _mounted(path: str) -> list[tuple[str, int, str]]:
    """Read the namespaces in a mount table: type, inode number, and where it is mounted."""
    with open(path, "rb") as file:
        return _parsed(file.read())


def _parsed(table: bytes) -> list[tuple[str, int, str]]:
    return [(kind.decode(), int(inode), _unescaped(target)) for kind, inode, target in _MOUNTED.findall(table)]


def _unescaped(path: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), path))


def _tables(census: Census, tables: Mapping[int, int]) -> None:
    """Note what is mounted in other mount tables: first those of processes, then those that only a pin keeps."""
    for inode, pid in tables.items():
        if inode and inode not in census.own:
            with contextlib.suppress(OSError):  # it has ended
                for kind, mounted, path in _mounted(f"/proc/{pid}/mountinfo"):
                    census.note(kind, mounted).holders.append(Holder("mount", pid, path, f"/proc/{pid}/root{path}"))
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for found in list(census.found.values()):
            if found.kind == "mnt" and not found.processes and found.inode not in census.own:
                _silent_table(census, found, proc)
    finally:
        os.close(proc)


def _silent_table(census: Census, table: Namespace, proc: int) -> None:
    """Note what is mounted in a mount table that no process is in: we have to go there, with a /proc that is ours."""
    fd = census.open(table)
    if fd is None:
        return
    with census.home.inside("mnt", fd, close=True):
        with open(os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc), "rb") as file:
            mounted = _parsed(file.read())
        for _, inode, path in mounted:
            if inode not in census.found:
                with contextlib.suppress(OSError):  # it is hidden below another mount
                    census.adopt(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    for kind, inode, path in mounted:
        census.note(kind, inode).holders.append(Holder("mount", 0, f"{path} in mnt:[{table.inode}]"))
