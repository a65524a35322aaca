"""Look at all namespaces of this host at once: who is in them, what pins them, whose they are, and which pins are broken."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsprov.kernel import holders, libc
from nsprov.kernel.census import KINDS, Census, Holder, Namespace
from nsprov.kernel.lab import RUN, Lab, labs
from nsprov.kernel.machine import MARK
from nsprov.kernel.namespaces import NETNS
from nsprov.kernel.netlink import Interest, Netlink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nsprov.kernel.namespaces import Namespaces

_PIN = re.compile(rf"{RUN}/([^./][^/]*)/ns/([^/]+)/[a-z]+")
_MARKED = re.compile(rf"{MARK}([^./][^/]*)/netns:([^/]+)")


@dataclass(frozen=True)
class Broken:
    """A file in the place of a pin that does not pin what it should."""

    path: str
    kind: str
    lab: str
    node: str
    why: str


@contextlib.contextmanager
def taken(home: Namespaces, known: Iterable[int] = ()) -> Iterator[Census]:
    """Look at the whole host once, and at namespaces that we have open.

    `home` is where this process, which has one thread only, comes back to.
    """
    census = Census(home)
    try:
        holders.find(census)
        for fd in known:
            census.adopt(os.dup(fd))
        _ask(census)
        yield census
    finally:
        census.close()


def _ask(census: Census) -> None:
    """Ask each namespace for its number, its owner and its lab; an owner that nobody is in is found by this."""
    netlink = Netlink(census.home)
    asked: set[int] = set()
    while pending := [found for found in census.found.values() if found.inode not in asked]:
        for namespace in pending:
            asked.add(namespace.inode)
            fd = census.open(namespace)
            if fd is not None:
                try:
                    _ask_one(census, netlink, namespace, fd)
                finally:
                    os.close(fd)
            elif not namespace.pins and not namespace.holders:
                del census.found[namespace.inode]  # its last process has ended meanwhile


def _ask_one(census: Census, netlink: Netlink, namespace: Namespace, fd: int) -> None:
    namespace.number = libc.namespace_id(fd)
    # EPERM: the owner, or the parent, is above our own user or pid namespace (ioctl_ns(2)).
    with contextlib.suppress(OSError):
        namespace.owner = _above(census, namespace, libc.owner(fd))
    if namespace.kind in ("user", "pid"):
        with contextlib.suppress(OSError):
            namespace.parent = _above(census, namespace, libc.parent(fd))
    if namespace.kind == "user":
        namespace.owner_uid = libc.owner_uid(fd)
    namespace.lab, namespace.node = _place(census, netlink, namespace, fd)


def _above(census: Census, namespace: Namespace, fd: int) -> int:
    above = census.adopt(fd)
    if above is None:
        return 0
    if not above.processes and not above.pins:
        above.holders.append(Holder("namespace", 0, f"{namespace.kind}:[{namespace.inode}]"))
    return above.inode


def _place(census: Census, netlink: Netlink, namespace: Namespace, fd: int) -> tuple[str, str]:
    """Give the lab and the node of a namespace by where it is pinned, or of a network by its mark."""
    for path in namespace.pins:
        place = place_of(path)
        if place is not None:
            return place
    if namespace.kind != "net" or namespace.inode in census.own:
        return "", ""
    with census.home.inside("net", fd):
        return mark_here(netlink) or ("", "")


def place_of(path: str) -> tuple[str, str] | None:
    """Give the lab and the node that pin a namespace at `path`; `None` if that is nobody's place for it."""
    found = _PIN.fullmatch(path)
    return (found[1], found[2]) if found else None


def mark_here(netlink: Netlink) -> tuple[str, str] | None:
    """Read which lab and node the network namespace that this process is in belongs to: `lo` says it."""
    for loopback in netlink.links_here("?", Interest()):
        found = _MARKED.fullmatch(loopback.alias)
        if found:
            return found[1], found[2]
    return None


def broken(census: Census) -> list[Broken]:
    """Give the files in the places of pins, of labs and in /run/netns, that pin nothing, or a namespace of another type."""
    found = []
    for lab, node, kind, path in _places():
        mounted = census.mounts.get(leads_to(path), ("", 0))[0]
        if mounted != kind:
            why = f"a {mounted} namespace is pinned there" if mounted else "nothing is pinned there"
            found.append(Broken(path, kind, lab, node, why))
    return found


def leads_to(path: str) -> str:
    """Follow a symbolic link: of a network that a node is attached to, /run/netns has one to the lab's pin."""
    return os.readlink(path) if os.path.islink(path) else path


def _places() -> Iterator[tuple[str, str, str, str]]:
    for lab in labs():
        pins = Lab(lab).pins
        for node in _listed(pins):
            yield from ((lab, node, kind, f"{pins}/{node}/{kind}") for kind in _listed(f"{pins}/{node}") if kind in KINDS)
    yield from (("", "", "net", f"{NETNS}/{name}") for name in _listed(NETNS))


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []  # there is none, or what is there is no directory
