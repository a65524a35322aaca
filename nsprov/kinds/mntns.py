"""A mount namespace of a node, pinned: the host's files, with the node's own /sys, resolv.conf, hosts and hostname.

    nodes:
      ns1:
        dns: {nameservers: [192.168.10.1]}
        files:
          /etc/frr/frr.conf: {template: frr.conf.j2}

It is what makes the rendered files visible however the node is entered: `nsprov exec`, `nsenter --all`, a workload.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.plan.resource import IDENTITY, LAB_TOKEN, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "mntns"


@dataclass(frozen=True)
class Mntns(Resource):
    """`binds` pairs a path in the node with the lab's file (`<node>/<path>`) that is bound over it, sorted."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    binds: tuple[tuple[str, str], ...] = ()

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """What runs with the node's files needs it."""
        return (f"mntns:{self.node}",)

    def needs(self) -> tuple[str, ...]:
        """The files that are bound."""
        return tuple(f"file:{source}" for _, source in self.binds)

    def stands_on(self) -> tuple[str, ...]:
        """The network namespace: /sys shows the one in which it was mounted."""
        return (f"netns:{self.node}",)

    def dies_with(self) -> tuple[str, ...]:
        """The lab's own file system, which has its pin."""
        return (LAB_TOKEN,)


SCHEMA = Mntns


def observe(kernel: Kernel, known: Mapping[Ref, Mntns]) -> Iterable[Mntns]:
    """Give the pinned mount namespaces of this lab, with those of the known binds that hold."""
    expected = {resource.node: dict(resource.binds) for resource in known.values()}
    nodes = {node: expected.get(node, {}) for node in expected.keys() | kernel.pinned("mnt")}
    for node, binds in kernel.mounts.bound(nodes).items():
        yield Mntns(node=node, binds=tuple(sorted(binds.items())))


def obstacles(kernel: Kernel, wants: Sequence[Mntns]) -> Mapping[Ref, str]:
    """Nothing: the pins are in the lab's own directory."""
    return {}


def create(kernel: Kernel, wants: Sequence[Mntns]) -> None:
    """Make, furnish and pin the namespaces."""
    with kernel.namespaces.inside("net"):
        kernel.mounts.create({want.node: dict(want.binds) for want in wants})


def update(kernel: Kernel, pairs: Sequence[tuple[Mntns, Mntns]]) -> None:
    """Bind and unbind files in the live namespaces; what runs there sees it."""
    for before, after in pairs:
        kernel.mounts.change(after.node, dict(before.binds), dict(after.binds))


def delete(kernel: Kernel, haves: Sequence[Mntns]) -> None:
    """Unpin the namespaces."""
    for have in haves:
        kernel.mounts.remove(have.node)
