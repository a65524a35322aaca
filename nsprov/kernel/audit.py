"""Proof that nothing of a lab is left: looks at the machine, never at the manifest."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, InputError
from nsprov.kernel import hierarchies, libc
from nsprov.kernel.cgroups import members
from nsprov.kernel.lab import ETC_NETNS, RUN, labs
from nsprov.kernel.machine import MARK, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nsprov.kernel.rtnl import Link

_LOCK = ".lock"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}|@[A-Za-z][A-Za-z0-9_.-]{0,63}")
"""A lab, or with an @ one living network that `nsprov attach` has given a name, which is a lab of its own."""


def audit(lab: str) -> list[Diagnostic]:
    """Give everything on this host that is the lab's: links, namespaces, control groups, mounts, files, processes."""
    kernel = Kernel(lab)
    return [*_links(kernel), *_namespaces(kernel), *_users(kernel), *_groups(kernel), *_mounts(kernel), *_paths(kernel)]


def checked(lab: str) -> str:
    """Give a lab's name if it is one: it becomes part of paths.

    Raises:
        InputError: it is none.

    """
    if not _NAME.fullmatch(lab):
        hint = "use letters, digits and -, beginning with a letter, 32 at most"
        raise InputError(Diagnostic(f'"{lab}" is no name of a lab', hint=hint))
    return lab


def traces() -> list[str]:
    """Name every lab of which something is on this host: a file system, a lock, a control group, a mark on a link."""
    found = {*labs(), *hierarchies.labs()}
    with contextlib.suppress(FileNotFoundError):
        found.update(name[: -len(_LOCK)] for name in os.listdir(RUN) if name.endswith(_LOCK))
    found.update(link.alias[len(MARK) :].partition("/")[0] for _, link in _marked(Kernel("audit")))
    return sorted(filter(_NAME.fullmatch, found))


def _links(kernel: Kernel) -> Iterator[Diagnostic]:
    """Links with the lab's mark."""
    for where, link in _marked(kernel):
        if link.alias.startswith(f"{MARK}{kernel.lab.name}/"):
            yield Diagnostic(f'link "{link.name}" is there', where, f"Its mark is {link.alias}.")


def _marked(kernel: Kernel) -> Iterator[tuple[str, Link]]:
    """Give links with a mark in this and in every namespace that a process or a pin keeps, with where they are."""
    for where, fd in [("the host", None), *_network_namespaces()]:
        probe = f"?{where}"
        with kernel.namespaces.inside("net", fd):
            if fd is not None:
                os.close(fd)
            links = kernel.netlink.links_here(probe)
        yield from ((where, link) for link in links if link.alias.startswith(MARK))


def _network_namespaces() -> Iterator[tuple[str, int]]:
    """Open each network namespace but ours once, with who keeps it: processes first, then pins."""
    known = {os.stat("/proc/self/ns/net").st_ino}
    paths = [(f"process {pid} ({_command(pid)})", f"/proc/{pid}/ns/net") for pid in _processes()]
    with contextlib.suppress(FileNotFoundError):
        paths.extend((f"/run/netns/{name}", f"/run/netns/{name}") for name in sorted(os.listdir("/run/netns")))
    for who, path in paths:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            continue  # the process has ended, or it is not ours to look into (ptrace(2))
        inode = os.fstat(fd).st_ino
        if inode in known or libc.namespace_type(fd) != libc.CLONE_NEWNET:
            os.close(fd)
            continue
        known.add(inode)
        yield who, fd


def _namespaces(kernel: Kernel) -> Iterator[Diagnostic]:
    for node, name in kernel.discover().items():
        yield Diagnostic(f'network namespace "{name}" is there', f"/run/netns/{name}", f'It is node "{node}".')


def _users(kernel: Kernel) -> Iterator[Diagnostic]:
    """Processes that are in a node, or hold its network namespace open; who lives where a node is attached is no concern."""
    kernel.namespaces.names = kernel.discover()
    own = [node for node, name in kernel.namespaces.names.items() if not os.path.islink(f"/run/netns/{name}")]
    nodes = {inode: node for node in own for inode in inodes(kernel, [node])}
    for inode, who in holders(set(nodes)):
        name = kernel.namespaces.names[nodes[inode]]
        yield Diagnostic(f'node "{nodes[inode]}" is in use', f"/run/netns/{name}", f"{who}.")


def _groups(kernel: Kernel) -> Iterator[Diagnostic]:
    """Control groups of nodes in every hierarchy, with the processes in them."""
    tree = kernel.cgroups.tree
    nodes = {path: node for node in kernel.cgroups.nodes() for path in tree.groups(node)}
    for path in (*tree.tops(), *nodes):
        who = [f"process {pid} ({_command(pid)})" for pid in members(path)] if path in nodes else []
        yield Diagnostic(f'cgroup "{path}" is there', path, f"In it: {', '.join(who)}." if who else "")


def _mounts(kernel: Kernel) -> Iterator[Diagnostic]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            target = line.split()[4]
            if target == kernel.lab.root or target.startswith(f"{kernel.lab.root}/"):
                yield Diagnostic(f'mount "{target}" is there', target)


def _paths(kernel: Kernel) -> Iterator[Diagnostic]:
    for path in (kernel.lab.root, kernel.lab.lock):
        if os.path.lexists(path):
            yield Diagnostic(f'file "{path}" is there', path)
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(ETC_NETNS)):
            if kernel.files.etc_is_ours(name):
                yield Diagnostic(f'link "{ETC_NETNS}/{name}" is there', f"{ETC_NETNS}/{name}", f"It leads into {RUN}.")


def inodes(kernel: Kernel, nodes: Iterable[str]) -> set[int]:
    """Give the inode numbers of nodes' network namespaces, while they are pinned."""
    found = set()
    for node in nodes:
        fd = kernel.namespaces.open(node, "net")
        if fd is not None:
            found.add(os.fstat(fd).st_ino)
            os.close(fd)
    return found


def holders(netns: set[int]) -> list[tuple[int, str]]:
    """Say which processes are in one of these network namespaces, or hold one open: its inode number and who."""
    found: list[tuple[int, str]] = []
    nsfs = os.stat("/proc/self/ns/net").st_dev
    for pid in _processes():
        with contextlib.suppress(OSError):  # it has ended, or it is not ours to look into (ptrace(2))
            inode = os.stat(f"/proc/{pid}/ns/net").st_ino
            if inode in netns:
                found.append((inode, f"process {pid} ({_command(pid)}) is in it"))
                continue
            for fd in os.listdir(f"/proc/{pid}/fd"):
                path = f"/proc/{pid}/fd/{fd}"
                # What was opened through a pin has no name that tells a namespace; its file system and its inode do.
                about = os.stat(path)
                if about.st_ino in netns and about.st_dev == nsfs:
                    found.append((about.st_ino, f"process {pid} ({_command(pid)}) holds it open as {path}"))
    return found


def _processes() -> list[int]:
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "gone"
