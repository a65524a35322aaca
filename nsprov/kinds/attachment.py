"""The network of a living process or container, under a name that `ip netns` knows.

    nodes:
      web:
        attach: {podman: web}
        interfaces:
          eth1: {bridge: lxcbr0, addresses: [192.168.10.80/24]}

Its interfaces, addresses and routes are added to what is there, and taken out again; nothing else of it is touched, not
even its `lo`, and it lives on after `down`. When the container is started anew it has another network: the plan says so,
and `up` makes everything in that one. While it does not run there is nothing to attach to, and the plan says that.
A process id means the process that was attached, never another one that has got its number since.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.errors import Diagnostic, KernelError
from nsprov.kernel import attach
from nsprov.kernel.namespaces import NETNS, open_pin, share_netns_directory, stale, unpin_stale
from nsprov.plan.resource import HOST, IDENTITY, REPLACE, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.attach import Found
    from nsprov.kernel.machine import Kernel

NAME = "attachment"
_RECORD = "attached.json"


@dataclass(frozen=True)
class Attachment(Resource):
    """`source` is `pid:123`, `docker:NAME`, `podman:NAME` or `netns:/path`; not `current`: that has another network by now."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    name: str = field(metadata=REPLACE)
    source: str = field(metadata=REPLACE)
    current: bool = field(default=True, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """What we put into the network lives in it."""
        return (f"netns:{self.node}",)

    def kills(self) -> tuple[str, ...]:
        """Nothing: the network lives on without us, so what we put into it is taken out piece by piece."""
        return ()

    def restorable(self) -> bool:
        """A network that its owner has left cannot be had again."""
        return self.current

    def watches(self) -> tuple[tuple[str, str, str | int], ...]:
        """Its `lo`, as of any node."""
        return ((self.node, "link", "lo"),)

    def pinned_network(self) -> tuple[str, str]:
        """Its node and its name below /run/netns."""
        return self.node, self.name


SCHEMA = Attachment


def observe(kernel: Kernel, known: Mapping[Ref, Attachment]) -> Iterable[Attachment]:
    """Give the networks that a name leads to; let the other kinds look into those that have no name yet."""
    pins, names = kernel.lab.pins, kernel.namespaces.names
    linked = {node for node, name in names.items() if kernel.seen.thorough and attach.node_behind(name, pins)}
    nodes = sorted(({resource.node for resource in known.values()} | linked) & names.keys())
    if not nodes:
        return
    record = kernel.lab.read(_RECORD)
    ours = {node for node in nodes if attach.node_behind(names[node], pins) == node}
    sources = {node: _recorded(record, node)[0] if node in ours else known[Ref(NAME, node)].source for node in nodes}
    kernel.namespaces.go_home()  # what is asked is asked from the host
    found, _ = attach.resolve(source for source in sources.values() if source)
    for node in nodes:
        pinned = open_pin(attach.pin_path(pins, node), "net") if node in ours else None
        owner = found.get(sources[node])
        if pinned is None and owner is not None:
            _lend(kernel, node, owner)
        if node in ours:
            current = owner is not None and owner.same(pinned)
            yield Attachment(node=node, name=names[node], source=sources[node], current=current)
        if pinned is not None:
            os.close(pinned)
    attach.close(found)


def _recorded(record: Mapping[str, object], node: str) -> tuple[str, int]:
    """Give the source that a node was attached to and when that began; nothing of both if that is not known any more."""
    row = record.get(node)
    known = isinstance(row, list) and list(map(type, row)) == [str, int]
    return (row[0], row[1]) if known else ("", 0)  # type: ignore[index]  # the line above says so


def _lend(kernel: Kernel, node: str, owner: Found) -> None:
    """Let a network be looked into that is not pinned: what is in it may be ours, or in the way."""
    before = kernel.namespaces.lent.pop(node, None)
    if before is not None:
        kernel.netlink.forget(node)
        os.close(before)
    kernel.namespaces.lent[node] = os.dup(owner.fd)


def obstacles(kernel: Kernel, wants: Sequence[Attachment]) -> Mapping[Ref, str]:
    """A name that is taken, an owner that does not live, or whose network is not its own."""
    kernel.namespaces.go_home()
    found, why = attach.resolve(want.source for want in wants)
    problems: dict[Ref, str] = {}
    holders = _holders(kernel)
    for want in wants:
        owner = found.get(want.source)
        problem = _name_taken(kernel, want) or (why[want.source] if owner is None else _unfit(kernel, want, owner, holders))
        if problem:
            problems[want.ref()] = problem
    attach.close(found)
    return problems


def _name_taken(kernel: Kernel, want: Attachment) -> str:
    path = f"{NETNS}/{want.name}"
    if attach.node_behind(want.name, kernel.lab.pins) == want.node or not os.path.lexists(path):
        return ""
    if not os.path.islink(path) and stale(path):
        return ""
    if kernel.namespaces.names.get(want.node) == want.name and kernel.owns(want.node):
        return ""  # the node's own network until now
    return f'A network namespace "{want.name}" exists at {path} and is not of this lab.'


def _holders(kernel: Kernel) -> dict[tuple[int, int], list[str]]:
    """Give the places that have each network: one that is looked into is named by its device and inode."""
    found: dict[tuple[int, int], list[str]] = defaultdict(list)
    for node in (HOST, *kernel.namespaces.names):
        fd = kernel.namespaces.open(node, "net")
        if fd is not None:
            about = os.fstat(fd)
            found[about.st_dev, about.st_ino].append(node)
            os.close(fd)
    return found


def _unfit(kernel: Kernel, want: Attachment, owner: Found, holders: Mapping[tuple[int, int], Sequence[str]]) -> str:
    """Say why the network of a living owner is not to be had."""
    source, started = _recorded(kernel.lab.read(_RECORD), want.node)
    if source == want.source and source.startswith(f"{attach.PROCESS}:") and started != owner.started:
        number = source.partition(":")[2]
        return f"Another process has the number {number} by now: it began later than the one that was attached."
    about = os.fstat(owner.fd)
    for node in holders.get((about.st_dev, about.st_ino), ()):
        if node != want.node:
            place = f'node "{node}"' if node else "the host"
            return f"The network of {want.source.replace(':', ' ', 1)} is that of {place}."
    return ""


def create(kernel: Kernel, wants: Sequence[Attachment]) -> None:
    """Write down what is attached, pin it, and give it its name."""
    kernel.lab.make_directory(NETNS)
    share_netns_directory()
    kernel.namespaces.go_home()
    found, why = attach.resolve(want.source for want in wants)
    holders = _holders(kernel)
    try:
        for want in wants:
            owner = found.get(want.source)
            problem = why[want.source] if owner is None else _moved(kernel, want, owner) or _unfit(kernel, want, owner, holders)
            if problem:
                raise _refused(want, problem)
        record = kernel.lab.read(_RECORD)
        record.update({want.node: [want.source, found[want.source].started] for want in wants})
        kernel.lab.write(_RECORD, record)
        for want in wants:
            _pin(kernel, want, found[want.source])
    finally:
        attach.close(found)


def _moved(kernel: Kernel, want: Attachment, owner: Found) -> str:
    """Compare with what was seen when this was planned: a process seldom changes its network, but its number changes hands."""
    lent = kernel.namespaces.lent.get(want.node)
    if lent is None or owner.same(lent) or not want.source.startswith(f"{attach.PROCESS}:"):
        return ""
    return f"Process {want.source.partition(':')[2]} is not what it was when this was planned."


def _refused(want: Attachment, why: str) -> KernelError:
    hint = "start it, or take the node from the topology"
    return KernelError(Diagnostic(f'cannot attach "{want.source}"', str(want.ref()), why, hint), errno.ESRCH)


def _pin(kernel: Kernel, want: Attachment, owner: Found) -> None:
    spaces = kernel.namespaces
    unpin_stale(want.name)
    attach.pin(owner.fd, want.name, want.node, kernel.lab.pins)
    spaces.names[want.node] = want.name
    _return(kernel, want.node)


def _return(kernel: Kernel, node: str) -> None:
    """Look no more into what was lent, but into what is pinned."""
    kernel.netlink.forget(node)
    lent = kernel.namespaces.lent.pop(node, None)
    if lent is not None:
        os.close(lent)


def update(kernel: Kernel, pairs: Sequence[tuple[Attachment, Attachment]]) -> None:
    """Nothing of an attachment can change in place."""


def delete(kernel: Kernel, haves: Sequence[Attachment]) -> None:
    """Take the names and the pins away."""
    for have in haves:
        _return(kernel, have.node)
        attach.release(have.name, have.node, kernel.lab.pins)
        if kernel.namespaces.names.get(have.node) == have.name:
            del kernel.namespaces.names[have.node]
    kernel.namespaces.go_home()
    record = kernel.lab.read(_RECORD)
    left = {node: row for node, row in record.items() if node not in {have.node for have in haves}}
    if left != record:
        kernel.lab.write(_RECORD, left)
