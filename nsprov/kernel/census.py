"""The table of the namespaces of this host and of what keeps each of them alive; `survey` fills it.

nsfs is one file system for the whole kernel, so within one census an inode number tells a namespace.
Afterwards it does not: the kernel gives the number to another one as soon as it is free.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nsprov.kernel import libc
from nsprov.kernel.namespaces import TYPES
from nsprov.plan.resource import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nsprov.kernel.namespaces import Namespaces

KINDS = tuple(sorted(TYPES))
_NAMES = {flag: kind for kind, flag in TYPES.items()}
_TRIED = 3


@dataclass(frozen=True)
class Holder:
    """What keeps a namespace that is neither a process in it nor a pin of ours: how, of which process, and what it is.

    `how` is "thread", "children", "descriptor", "socket", "mount" or "namespace"; `pid` is 0 where no process has to do
    with it; `way` is a path that leads to the namespace, if there is one.
    """

    how: str
    pid: int
    what: str
    way: str = ""

    def __str__(self) -> str:
        """Say it in words."""
        who = f"process {self.pid}"
        return {
            "thread": f"thread {self.what} of {who} is in it",
            "children": f"{who} will have its next children in it",
            "descriptor": f"{who} holds it open as descriptor {self.what}",
            "socket": f"{who} has a socket of it as descriptor {self.what}",
            "mount": f"{who} has it mounted on {self.what}" if self.pid else f"it is mounted on {self.what}",
            "namespace": f"{self.what} belongs to it",
        }[self.how]


@dataclass
class Namespace:
    """One namespace and what was found of it; `owner` and `parent` are inode numbers, 0 where we may not know them."""

    kind: str
    inode: int
    processes: list[int] = field(default_factory=list)
    pins: list[str] = field(default_factory=list)
    holders: list[Holder] = field(default_factory=list)
    number: int | None = None
    owner: int = 0
    parent: int = 0
    owner_uid: int | None = None
    lab: str = ""
    node: str = ""

    @property
    def deleted(self) -> bool:
        """Tell whether it has lost its name: nothing pins it, and nobody is in it or it was a lab's.

        A lab's that somebody is in and that is mounted elsewhere may be a lab of another mount namespace, in a container.
        """
        elsewhere = any(holder.how == "mount" for holder in self.holders)
        return not self.pins and (not self.processes or (bool(self.lab) and not elsewhere))

    def ways(self) -> Iterator[str]:
        """Give the paths by which it can be opened, as long as what was found is still there."""
        yield from self.pins
        yield from (f"/proc/{pid}/ns/{self.kind}" for pid in self.processes[:_TRIED])
        yield from (holder.way for holder in self.holders if holder.way)


class Census:
    """The namespaces that were found, by inode number; `close` drops the descriptors of those that no path leads to."""

    def __init__(self, home: Namespaces) -> None:
        """Start with those that this process is in; `home` brings it back there from others."""
        self.home = home
        self.found: dict[int, Namespace] = {}
        self.mounts: dict[str, tuple[str, int]] = {}
        """What is mounted where in our own mount table: type and inode number by path."""
        self.unreadable = 0
        """How many processes we may not look into."""
        self._kept: dict[int, int] = {}
        own = {kind: os.stat(f"/proc/self/ns/{kind}") for kind in KINDS if os.path.exists(f"/proc/self/ns/{kind}")}
        self.device = own["net"].st_dev
        self.own = {self.note(kind, about.st_ino).inode for kind, about in own.items()}

    def note(self, kind: str, inode: int) -> Namespace:
        """Give what was found of a namespace, which is nothing at first."""
        if inode not in self.found:
            self.found[inode] = Namespace(kind, inode)
        return self.found[inode]

    def adopt(self, fd: int) -> Namespace | None:
        """Take over a descriptor and give its namespace; `None` if it is no namespace of a type that we know."""
        about = os.fstat(fd)
        kind = _NAMES.get(libc.namespace_type(fd)) if about.st_dev == self.device else None
        if kind is None or about.st_ino in self.found:
            os.close(fd)
        else:
            self._kept[about.st_ino] = fd
        return None if kind is None else self.note(kind, about.st_ino)

    def open(self, namespace: Namespace) -> int | None:
        """Open a namespace by whatever still leads to it; `None` if nothing does any more."""
        if namespace.inode in self._kept:
            return os.dup(self._kept[namespace.inode])
        if namespace.inode in self.own:
            return self.home.open(HOST, namespace.kind)
        for path in namespace.ways():
            with contextlib.suppress(OSError):  # it has gone, or lies where we can't go
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                about = os.fstat(fd)
                if (about.st_dev, about.st_ino) == (self.device, namespace.inode):
                    return fd
                os.close(fd)
        return None

    def close(self) -> None:
        """Drop the descriptors: until then, the census itself keeps namespaces alive."""
        for fd in self._kept.values():
            os.close(fd)
        self._kept.clear()
