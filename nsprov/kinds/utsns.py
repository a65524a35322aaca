"""A UTS namespace of a node, pinned, with the node's own hostname.

    nodes:
      r1: {hostname: r1}
"""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import births, libc
from nsprov.plan.resource import IDENTITY, LAB_TOKEN, REPLACE, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "utsns"


@dataclass(frozen=True)
class Utsns(Resource):
    """`hostname` is what gethostname(2) says inside, 64 bytes at most; `user` means owned by the node's user namespace."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    hostname: str
    user: bool = field(default=False, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """What is entered with the node's hostname needs it."""
        return (f"utsns:{self.node}",)

    def stands_on(self) -> tuple[str, ...]:
        """The user namespace that owns it."""
        return (f"userns:{self.node}",) if self.user else ()

    def dies_with(self) -> tuple[str, ...]:
        """The lab's own file system."""
        return (LAB_TOKEN,)


SCHEMA = Utsns


def observe(kernel: Kernel, known: Mapping[Ref, Utsns]) -> Iterable[Utsns]:
    """Give the pinned UTS namespaces of this lab with their hostnames."""
    nodes = sorted({resource.node for resource in known.values()} | kernel.pinned("uts"))
    users = {resource.node for resource in known.values() if resource.user} | kernel.pinned("user")
    with kernel.namespaces.inside("uts"):
        for node in nodes:
            fd = kernel.namespaces.open(node, "uts")
            if fd is not None:
                libc.setns(fd, libc.CLONE_NEWUTS)
                os.close(fd)
                owned = node in users and births.owned(kernel.namespaces, node, "uts")
                yield Utsns(node=node, hostname=os.uname().nodename, user=owned)


def obstacles(kernel: Kernel, wants: Sequence[Utsns]) -> Mapping[Ref, str]:
    """Nothing: the pins are in the lab's own directory."""
    return {}


def create(kernel: Kernel, wants: Sequence[Utsns]) -> None:
    """Make and pin the namespaces and set their hostnames."""
    for want in wants:
        named = functools.partial(socket.sethostname, want.hostname)
        births.make(kernel.namespaces, want.node, "uts", user=want.user, then=named)


def update(kernel: Kernel, pairs: Sequence[tuple[Utsns, Utsns]]) -> None:
    """Set the hostname."""
    for _, after in pairs:
        fd = kernel.namespaces.open(after.node, "uts")
        if fd is None:
            raise FileNotFoundError(f"the UTS namespace of node {after.node} is gone")
        with kernel.namespaces.inside("uts", fd):
            os.close(fd)
            socket.sethostname(after.hostname)


def delete(kernel: Kernel, haves: Sequence[Utsns]) -> None:
    """Unpin the namespaces."""
    for have in haves:
        kernel.namespaces.unpin(have.node, "uts")
