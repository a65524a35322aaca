"""What a user means by NODE, NAME, PID or PATH: the namespaces of it, as descriptors.

Descriptors are what the rest works on: a PID may be another process's, and a path another file, a moment later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, InputError, KernelError, NothingMatched
from nsprov.kernel import libc, pins
from nsprov.kernel.census import KINDS
from nsprov.kernel.lab import PINS, Lab
from nsprov.kernel.namespaces import NETNS, open_pin
from nsprov.kernel.netlink import Netlink
from nsprov.kernel.survey import leads_to, mark_here, place_of
from nsprov.plan.resource import HOST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nsprov.kernel.namespaces import Namespaces

_LISTED = 10


@dataclass(frozen=True)
class Subject:
    """Something that has namespaces: `what` it is, and a descriptor for each type that it has.

    `shared` are the types of which a node has none of its own: there it uses the host's.
    """

    name: str
    what: str
    fds: Mapping[str, int]
    shared: frozenset[str] = frozenset()
    lab: str = ""
    node: str = ""
    pid: int = 0

    def own(self) -> dict[str, int]:
        """Give the descriptors of the types that are not merely the host's."""
        return {kind: fd for kind, fd in self.fds.items() if kind not in self.shared}


@dataclass
class _Search:
    """One search: where we are at home, and what is open so far."""

    home: Namespaces
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def keep(self, fd: int | None) -> int | None:
        """Close a descriptor at the end."""
        if fd is not None:
            self.stack.callback(os.close, fd)
        return fd

    def kept(self, found: Mapping[str, int | None]) -> dict[str, int]:
        """Close these descriptors at the end, and give those that there are."""
        return {kind: fd for kind, fd in found.items() if self.keep(fd) is not None and fd is not None}


@contextlib.contextmanager
def opened(home: Namespaces, text: str, lab: str = "") -> Iterator[Subject]:
    """Find what `text` means: a PID, a path that begins with `/`, `LAB/NODE`, a node, what `ns pin` has pinned, a netns.

    Raises:
        NothingMatched: there is nothing of that name.
        InputError: it has no namespaces, or is the name of several things.
        KernelError: we may not look into it.

    """
    search = _Search(home)
    with search.stack:
        if text.isascii() and text.isdigit():
            yield _process(search, int(text))
        elif text.startswith("/"):
            yield _path(search, text)
        else:
            yield _named(search, text, lab)


def _process(search: _Search, pid: int) -> Subject:
    return Subject(str(pid), "process", search.kept(of_process(pid, available())), pid=pid)


def of_process(pid: int, kinds: Iterable[str]) -> dict[str, int]:
    """Open namespaces of a process, all of the same one although its number may be used again; the caller closes them.

    Raises:
        NothingMatched: there is no such process, or it ends meanwhile.
        KernelError: we may not look into it.

    """
    found: dict[str, int] = {}
    with contextlib.ExitStack() as undo:
        try:
            with held(pid) as process:
                for kind in kinds:
                    found[kind] = process.namespace(kind)
                    undo.callback(os.close, found[kind])
        except OSError as problem:
            raise _not_looked_into(pid, problem) from problem
        undo.pop_all()
    return found


@dataclass(frozen=True)
class Process:
    """One process, which no other one takes the place of: its directory in /proc, and a pidfd where there are such."""

    directory: int
    pidfd: int | None

    def namespace(self, kind: str) -> int:
        """Open one of its namespaces; OSError (ESRCH, ENOENT) if it has ended.

        The pidfd is asked (Linux 6.11), else the directory: what is looked up in that belongs to the process that it
        was opened for or is not found (proc(5)), so no check is needed afterwards.
        """
        found = None if self.pidfd is None else libc.process_namespace(self.pidfd, kind)
        if found is None:
            found = os.open(f"ns/{kind}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.directory)
        return found


@contextlib.contextmanager
def held(pid: int) -> Iterator[Process]:
    """Take hold of a process; OSError if there is none of that number."""
    with contextlib.ExitStack() as stack:
        directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        pidfd: int | None = None
        # EINVAL: it is a thread; ENOSYS, or no such function: before Linux 5.3, here or where this Python was built.
        with contextlib.suppress(OSError, AttributeError):
            pidfd = os.pidfd_open(pid)
            stack.callback(os.close, pidfd)
        # The directory was opened first: if it still leads to a process, the pidfd is of the same one.
        os.stat("status", dir_fd=directory)
        yield Process(directory, pidfd)


def _not_looked_into(pid: int, problem: OSError) -> KernelError | NothingMatched:
    if problem.errno in (errno.EACCES, errno.EPERM):
        detail = "It has rights that we do not have (ptrace(2), PTRACE_MODE_READ)."
        hint = "run as root of the host itself"
        return KernelError(Diagnostic(f"process {pid} can't be looked into", f"/proc/{pid}/ns", detail, hint), problem.errno)
    return NothingMatched(Diagnostic(f"there is no process {pid}", hint="use the PID of a process that is running"))


def available() -> list[str]:
    """Give the types that this kernel has."""
    return [kind for kind in KINDS if os.path.exists(f"/proc/self/ns/{kind}")]


def _path(search: _Search, path: str) -> Subject:
    """Open a pin, or a directory of such: one of `ns pin`, of a lab's node, or /proc/PID/ns."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as problem:
        hint = "name a file that a namespace is mounted on, or a directory of such"
        raise NothingMatched(Diagnostic(f'can\'t open "{path}"', path, f"{problem.strerror}.", hint)) from problem
    search.keep(fd)
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        found = search.kept({kind: open_pin(f"/proc/self/fd/{fd}/{kind}", kind) for kind in KINDS})
    else:
        # What is no namespace is not opened for reading: that alone may have effects, of a device say.
        on_nsfs = os.fstat(fd).st_dev == os.stat("/proc/self/ns/net").st_dev
        found = search.kept({kind: open_pin(f"/proc/self/fd/{fd}", kind) for kind in KINDS if on_nsfs})
    if not found:
        hint = "a reboot, or an unmount, leaves the empty file of a pin"
        raise InputError(Diagnostic(f'"{path}" is no namespace', path, hint=hint))
    return Subject(path, "path", found)


def _named(search: _Search, text: str, lab: str) -> Subject:
    """Find a node, what `ns pin` has pinned, or at last any name in /run/netns."""
    prefix, slash, name = text.partition("/")
    wanted, node = (prefix, name) if slash else (lab, text)
    places = sorted((lab, netns) for lab, known, netns in _nodes(search.home) if known == node and wanted in ("", lab))
    own = "" if slash or lab else text
    if len(places) + bool(pins.pinned(own)) > 1:
        several = [f"{lab}/{node}" for lab, _ in places] + ([f"{PINS}/{own}"] if pins.pinned(own) else [])
        raise InputError(Diagnostic(f'"{text}" means several things', hint=f"say which: {', '.join(several)}"))
    if places:
        return _node(search, *places[0], node)
    if pins.pinned(own):
        return Subject(own, "pin", search.kept(pins.open_pinned(own)))
    found = open_pin(f"{NETNS}/{own}", "net") if own else None
    if found is None:
        raise _nothing(text, search.home)
    return Subject(own, "netns", search.kept({"net": found}))


def _nodes(home: Namespaces) -> Iterator[tuple[str, str, str]]:
    """Give every node of every lab on this host that has a network: lab, node, name below /run/netns."""
    netlink = Netlink(home)
    try:
        known = sorted(os.listdir(NETNS))
    except FileNotFoundError:
        return
    for name in known:
        place = place_of(leads_to(f"{NETNS}/{name}"))
        if place is None:
            fd = open_pin(f"{NETNS}/{name}", "net")
            if fd is not None:
                with home.inside("net", fd, close=True):
                    place = mark_here(netlink)
        if place is not None:
            yield (*place, name)


def _node(search: _Search, lab: str, netns: str, node: str) -> Subject:
    """Open the pins of a node; of a type that it has none of its own of, it uses the host's."""
    kinds = available()
    pinned = {kind: open_pin(f"{Lab(lab).pins}/{node}/{kind}", kind) for kind in kinds if kind != "net"}
    found = search.kept({**pinned, "net": open_pin(f"{NETNS}/{netns}", "net")})
    shared = frozenset(kinds) - set(found)
    rest = search.kept({kind: search.home.open(HOST, kind) for kind in shared})
    return Subject(f"{lab}/{node}", "node", {**found, **rest}, shared, lab, node)


def _nothing(text: str, home: Namespaces) -> NothingMatched:
    known = [*(f"{lab}/{node}" for lab, node, _ in _nodes(home)), *pins.names()]
    listed = ", ".join(known[:_LISTED]) or "none"
    hint = f"use a PID, a path that begins with /, or a name; those on this host: {listed}"
    return NothingMatched(Diagnostic(f'"{text}" is no node, pin or network namespace', hint=hint))
