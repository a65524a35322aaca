"""A mount namespace of a node, pinned: the host's files, with the node's own /sys, resolv.conf, hosts and hostname.

    nodes:
      ns1:
        dns: {nameservers: [192.168.10.1]}
        files:
          /etc/frr/frr.conf: {template: frr.conf.j2}

It is what makes the rendered files visible however the node is entered: `nsprov exec`, `nsenter --all`, a workload.
A node can have a root file system of its own, and directories and files of the host mounted in it:

    nodes:
      db:
        rootfs: host
        mounts:
          - {source: /srv/db, target: /var/lib/db}
      web:
        rootfs: {path: /srv/debian, writable: overlay}

`rootfs: host` is a copy-on-write of the host's files: whatever the node writes, the host's are as they were.
Of a directory, `overlay` is the same, `yes` the directory itself, `no` the directory itself, read-only.
Such a node has /proc, /sys, /dev, /run and /tmp of its own; without a pid namespace /proc shows the host's processes.
What a node writes elsewhere than to the host's directories is in memory, a quarter of the host's at most, and gone when
its mount namespace is replaced. No link in a root file system is followed to mount over, and nothing is made in a
directory that is used as it is: what is missing there is said.

In a node with a user namespace, what is root's on the disk is root's inside, and nobody's where the file system cannot show
that. So root in such a node can read what the host's root can, of `rootfs: host` too; what it writes with `writable: yes` is
root's on the disk, so keep others out of the directory above. Mounts of the user show the host's ids as they are.

Root file systems, mounts of the user and user namespaces need Linux 5.12; ids below an overlay need 5.19.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.init import contact
from nsprov.kernel.mounts import Sight
from nsprov.kernel.roots import HOST_ROOT
from nsprov.kernel.views import UNKNOWN, View
from nsprov.plan.resource import IDENTITY, LAB_TOKEN, REPLACE, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "mntns"


@dataclass(frozen=True)
class Mntns(Resource):
    """`binds` pairs a path in the node with the lab's file (`<node>/<path>`) that is bound over it, sorted.

    `rootfs` is "host" or a directory, and empty for the host's view; `mounts` are rows of a path on the host, one in the
    node, and whether it is read-only; `spaces` are those of the node's namespaces that change what is mounted.
    """

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    binds: tuple[tuple[str, str], ...] = ()
    rootfs: str = field(default="", metadata=REPLACE)
    writable: str = field(default="overlay", metadata=REPLACE)
    mounts: tuple[tuple[str, str, bool], ...] = field(default=(), metadata=REPLACE)
    spaces: tuple[str, ...] = field(default=(), metadata=REPLACE)

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
        """The network namespace, which /sys shows, and those of `spaces`: what is mounted is theirs."""
        return (f"netns:{self.node}", *(f"{kind}ns:{self.node}" for kind in self.spaces))

    def dies_with(self) -> tuple[str, ...]:
        """The lab's own file system, which has its pin."""
        return (LAB_TOKEN,)

    def remade(self) -> bool:
        """Tell whether it is one that we made, and not something else in its place."""
        return self.view() != UNKNOWN

    def view(self) -> View:
        """Give what the node sees, the binds aside."""
        return View(self.rootfs, self.writable, self.mounts, self.spaces)


SCHEMA = Mntns


def observe(kernel: Kernel, known: Mapping[Ref, Mntns]) -> Iterable[Mntns]:
    """Give the pinned mount namespaces of this lab, with those of the known binds that hold."""
    expected = {resource.node: dict(resource.binds) for resource in known.values()}
    nodes = {node: expected.get(node, {}) for node in expected.keys() | kernel.pinned("mnt")}
    for node, sight in kernel.mounts.seen(nodes).items():
        yield Mntns(node=node, binds=tuple(sorted(sight.binds.items())), **vars(sight.view))


def obstacles(kernel: Kernel, wants: Sequence[Mntns]) -> Mapping[Ref, str]:
    """What is to be a root file system, or to be mounted, and is not there."""
    found = {}
    for want in wants:
        roots = [want.rootfs] if want.rootfs not in ("", HOST_ROOT) else []
        missing = [path for path in roots if not os.path.isdir(path)]
        missing += [source for source, _, _ in want.mounts if not os.path.exists(source)]
        if missing:
            listed = ", ".join(f'"{path}"' for path in missing)
            found[want.ref()] = f"The host has no {listed}, which is to be mounted in the node."
    return found


def create(kernel: Kernel, wants: Sequence[Mntns]) -> None:
    """Make, furnish and pin the namespaces."""
    with kernel.namespaces.inside("net"):
        kernel.mounts.create({want.node: Sight(dict(want.binds), want.view()) for want in wants})
    for want in wants:
        if "pid" in want.spaces:
            contact.adopt(kernel, want.node)


def update(kernel: Kernel, pairs: Sequence[tuple[Mntns, Mntns]]) -> None:
    """Bind and unbind files in the live namespaces; what runs there sees it."""
    for before, after in pairs:
        kernel.mounts.change(after.node, dict(before.binds), dict(after.binds))


def delete(kernel: Kernel, haves: Sequence[Mntns]) -> None:
    """Unpin the namespaces."""
    for have in haves:
        kernel.mounts.remove(have.node)
