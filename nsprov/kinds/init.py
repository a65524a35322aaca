"""The init of a node: it keeps the node's pid namespace alive, reaps, and supervises the workloads.

    nodes:
      r1: {namespaces: [net, mnt, uts, pid]}

A node has one if it has a pid namespace or workloads. In a pid namespace it is PID 1, else a subreaper (prctl(2)).
It runs without nsprov being there. When it dies, a pid namespace dies with it and cannot be revived
(pid_namespaces(7)): the next `up` makes both anew, and what stands on them.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.init import client, contact
from nsprov.init.spawn import Birth, Zygote
from nsprov.kernel import children
from nsprov.plan.resource import IDENTITY, REPLACE, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "init"
_GROUP = "init"
_BACKLOG = 64


@dataclass(frozen=True)
class Init(Resource):
    """`spaces` are the types of namespaces that it is in, sorted; `pid` says that it is PID 1 of one of its own."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    spaces: tuple[str, ...] = field(default=(), metadata=REPLACE)
    pid: bool = field(default=False, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """Workloads stand on it, and in a pid namespace the node's own /proc."""
        return (f"init:{self.node}", *((f"pidns:{self.node}",) if self.pid else ()))

    def stands_on(self) -> tuple[str, ...]:
        """The namespaces that it is in, and the node's control group."""
        return (f"cgroup:{self.node}", *(f"{kind}ns:{self.node}" for kind in self.spaces))

    def dies_with(self) -> tuple[str, ...]:
        """Nothing: a process lives on in namespaces that are unpinned."""
        return ()


SCHEMA = Init


def observe(kernel: Kernel, known: Mapping[Ref, Init]) -> Iterable[Init]:
    """Give the inits that answer."""
    for node in sorted({resource.node for resource in known.values()} | set(kernel.lab.controlled())):
        if contact.status(kernel, node):
            spaces = known[Ref(NAME, node)].spaces if Ref(NAME, node) in known else ()
            yield Init(node=node, spaces=spaces, pid=kernel.namespaces.is_pinned(node, "pid"))


def obstacles(kernel: Kernel, wants: Sequence[Init]) -> Mapping[Ref, str]:
    """Nothing: whether the host has control groups is the group's to say."""
    return {}


def create(kernel: Kernel, wants: Sequence[Init]) -> None:
    """Start the inits; what a dead one has left running is ended first."""
    with Zygote() as zygote:
        for want in wants:
            _clear(kernel, want.node)
            zygote.ask(_birth(kernel, want))
        for _ in wants:
            node, _, space = zygote.born()
            if space is not None:
                kernel.namespaces.pin(space, node, "pid")
                os.close(space)


def _birth(kernel: Kernel, want: Init) -> Birth:
    spaces = {}
    for kind in want.spaces:
        fd = kernel.namespaces.open(want.node, kind)
        if fd is None:
            raise FileNotFoundError(f"the {kind} namespace of node {want.node} is gone")
        spaces[kind] = fd
    logs = kernel.lab.log_directory(want.node, children.root_of(spaces.get("user")))
    groups = kernel.cgroups.descriptors(want.node, _GROUP)
    return Birth(want.node, _listener(kernel, want.node), logs, groups, spaces, want.pid)


def _listener(kernel: Kernel, node: str) -> int:
    path = kernel.lab.control(node)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(_BACKLOG)
        return listener.detach()


def update(kernel: Kernel, pairs: Sequence[tuple[Init, Init]]) -> None:
    """Nothing: every field replaces it."""


def delete(kernel: Kernel, haves: Sequence[Init]) -> None:
    """Have the inits stop their workloads, all at once, and go; what is left then is killed. Logs stay until `down`."""
    client.ask_all([kernel.lab.control(have.node) for have in haves], {"verb": "shutdown"})
    for have in haves:
        _clear(kernel, have.node)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(kernel.lab.control(have.node))


def _clear(kernel: Kernel, node: str) -> None:
    kernel.cgroups.kill(node)
    kernel.namespaces.unpin(node, "pid")
