"""The control group of a node: what runs in it is counted, limited, and ended with it.

    nodes:
      r1:
        limits: {cpu: 0.5, memory: 256M, pids: 200, io: {/dev/vda: {rbps: 1M}}, cpuset: "0"}

A node has one if it has limits, workloads, or a pid or cgroup namespace. All limits change in place, while things run;
a limit that somebody changes by hand is put back.

The group is `nsprov.LAB/NODE` below the root of the cgroup v2 hierarchy. A host where version 1 still has a controller gets
a group of that name there too, and what runs in the node is moved into it. Groups bear no mark, so one of that name that
somebody else has made is taken for the lab's, and goes with it: leave names that begin with `nsprov.` to nsprov.

`cpu` is time in CPUs, over 0.1 seconds. `memory` is memory without swap; when it is used up, the kernel kills one process
of the node, and not all of it: init lives on and restarts what it is to restart. A limit below what is in use is refused by
version 1; version 2 kills until it is kept. `pids` counts threads too, and init is one of them.
`io` limits whole disks, in bytes (`rbps`, `wbps`) and requests (`riops`, `wiops`) a second; version 1 limits direct and
read requests only, for nobody knows whose the others are. `cpuset` says on which CPUs the node runs.

What a host cannot do is refused when it is planned: a controller that its kernel lacks or that we are not shown, a
partition in place of a disk, a CPU that is not there. What the kernel rounds is no drift.
On version 2 a controller that was switched on at the root for a limit stays on after `down`: others may use it by then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import limits
from nsprov.kernel.hierarchies import reserved
from nsprov.plan.resource import IDENTITY, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "cgroup"


@dataclass(frozen=True)
class Cgroup(Resource):
    """`cpu` in thousandths of a CPU, `memory` in bytes, `io` in rows of disk, key and value; 0 and "" are no limit."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    cpu: int = 0
    memory: int = 0
    pids: int = 0
    io: tuple[tuple[str, str, int], ...] = ()
    cpuset: str = ""

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """What runs in the node is in it."""
        return (f"cgroup:{self.node}",)

    def limits(self) -> limits.Limits:
        """Give the limits alone."""
        return limits.Limits(self.cpu, self.memory, self.pids, self.io, self.cpuset)


SCHEMA = Cgroup


def observe(kernel: Kernel, known: Mapping[Ref, Cgroup]) -> Iterable[Cgroup]:
    """Give the groups of known nodes, and without a record all below the lab's, with the limits that the kernel has."""
    for node in sorted({resource.node for resource in known.values()} | _others(kernel)):
        resource = known.get(Ref(NAME, node))
        if kernel.cgroups.tree.groups(node):
            found = limits.read(kernel.cgroups, node, resource.limits() if resource else limits.NONE)
            yield Cgroup(node=node, **vars(found))


def _others(kernel: Kernel) -> set[str]:
    return set(kernel.cgroups.nodes()) if kernel.seen.thorough else set()


def obstacles(kernel: Kernel, wants: Sequence[Cgroup]) -> Mapping[Ref, str]:
    """What this host cannot do, by the limit's name."""
    found = {}
    for want in wants:
        why = limits.unsupported(kernel.cgroups, want.limits())
        flaws = [f'Limit "{name}" of node "{want.node}": {text}' for name, text in why.items()]
        if not kernel.cgroups.tree.writable():
            flaws = [f'Node "{want.node}" needs a control group: this host has no cgroup v2 hierarchy that we may write to.']
        elif reserved(want.node):
            flaws = [f'Node "{want.node}" cannot have a control group: the kernel has files of such names there.']
        if flaws:
            found[want.ref()] = " ".join(flaws)
    return found


def create(kernel: Kernel, wants: Sequence[Cgroup]) -> None:
    """Make the groups and set their limits."""
    for want in wants:
        limits.write(kernel.cgroups, want.node, want.limits())


def update(kernel: Kernel, pairs: Sequence[tuple[Cgroup, Cgroup]]) -> None:
    """Set the limits, for what runs already too."""
    for _, after in pairs:
        limits.write(kernel.cgroups, after.node, after.limits())


def delete(kernel: Kernel, haves: Sequence[Cgroup]) -> None:
    """Kill what is left in the groups, and remove them."""
    for have in haves:
        kernel.cgroups.kill(have.node)
    for have in haves:
        kernel.cgroups.remove(have.node)
