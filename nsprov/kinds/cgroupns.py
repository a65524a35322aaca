"""A cgroup namespace of a node, pinned: the node's own group is the root of all that it sees.

    nodes:
      r1: {namespaces: [net, mnt, uts, cgroup]}

Its root is the group that its maker was in (cgroup_namespaces(7)): that of the node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import births
from nsprov.plan.resource import IDENTITY, LAB_TOKEN, REPLACE, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "cgroupns"


@dataclass(frozen=True)
class Cgroupns(Resource):
    """`user` says that it belongs to the node's user namespace."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    user: bool = field(default=False, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """The mount namespace shows its groups."""
        return (f"cgroupns:{self.node}",)

    def stands_on(self) -> tuple[str, ...]:
        """The node's group, and the user namespace that owns it."""
        return (f"cgroup:{self.node}", *((f"userns:{self.node}",) if self.user else ()))

    def dies_with(self) -> tuple[str, ...]:
        """The lab's own file system."""
        return (LAB_TOKEN,)


SCHEMA = Cgroupns


def observe(kernel: Kernel, known: Mapping[Ref, Cgroupns]) -> Iterable[Cgroupns]:
    """Give the pinned cgroup namespaces of this lab."""
    for node in sorted({resource.node for resource in known.values()} | kernel.pinned("cgroup")):
        if kernel.namespaces.is_pinned(node, "cgroup"):
            yield Cgroupns(node=node, user=births.owned(kernel.namespaces, node, "cgroup"))


def obstacles(kernel: Kernel, wants: Sequence[Cgroupns]) -> Mapping[Ref, str]:
    """Nothing: the pins are in the lab's own directory."""
    return {}


def create(kernel: Kernel, wants: Sequence[Cgroupns]) -> None:
    """Make and pin the namespaces."""
    for want in wants:
        with kernel.cgroups.visiting(want.node):
            births.make(kernel.namespaces, want.node, "cgroup", user=want.user)


def update(kernel: Kernel, pairs: Sequence[tuple[Cgroupns, Cgroupns]]) -> None:
    """Nothing: every field replaces it."""


def delete(kernel: Kernel, haves: Sequence[Cgroupns]) -> None:
    """Unpin the namespaces."""
    for have in haves:
        kernel.namespaces.unpin(have.node, "cgroup")
