"""An IPC namespace of a node, pinned: System V objects and POSIX message queues of its own.

    nodes:
      r1: {namespaces: [net, mnt, uts, ipc]}

With a mount namespace, /dev/mqueue and /dev/shm are the node's own too (ipc_namespaces(7)).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import births
from nsprov.plan.resource import IDENTITY, LAB_TOKEN, REPLACE, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "ipcns"


@dataclass(frozen=True)
class Ipcns(Resource):
    """`user` says that it belongs to the node's user namespace."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    user: bool = field(default=False, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """The mount namespace shows its message queues."""
        return (f"ipcns:{self.node}",)

    def stands_on(self) -> tuple[str, ...]:
        """The user namespace that owns it."""
        return (f"userns:{self.node}",) if self.user else ()

    def dies_with(self) -> tuple[str, ...]:
        """The lab's own file system."""
        return (LAB_TOKEN,)


SCHEMA = Ipcns


def observe(kernel: Kernel, known: Mapping[Ref, Ipcns]) -> Iterable[Ipcns]:
    """Give the pinned IPC namespaces of this lab."""
    for node in sorted({resource.node for resource in known.values()} | kernel.pinned("ipc")):
        if kernel.namespaces.is_pinned(node, "ipc"):
            yield Ipcns(node=node, user=births.owned(kernel.namespaces, node, "ipc"))


def obstacles(kernel: Kernel, wants: Sequence[Ipcns]) -> Mapping[Ref, str]:
    """Nothing: the pins are in the lab's own directory."""
    return {}


def create(kernel: Kernel, wants: Sequence[Ipcns]) -> None:
    """Make and pin the namespaces."""
    for want in wants:
        births.make(kernel.namespaces, want.node, "ipc", user=want.user)


def update(kernel: Kernel, pairs: Sequence[tuple[Ipcns, Ipcns]]) -> None:
    """Nothing: every field replaces it."""


def delete(kernel: Kernel, haves: Sequence[Ipcns]) -> None:
    """Unpin the namespaces."""
    for have in haves:
        kernel.namespaces.unpin(have.node, "ipc")
