"""The resource kinds, one file each; adding one is a file here and its name in `KINDS`.

A kind is a module with `NAME`, `SCHEMA` and five functions (see `Kind`).
Each function takes a sequence, so that a wave of a plan reaches the kernel as one batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from nsprov.kinds import (
    address,
    attachment,
    bridge,
    cgroup,
    cgroupns,
    file,
    gretap,
    init,
    ipcns,
    mntns,
    neighbour,
    netns,
    route,
    rule,
    sysctl,
    timens,
    userns,
    utsns,
    veth,
    vxlan,
    wireguard,
    workload,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel
    from nsprov.plan.resource import Ref, Resource

R = TypeVar("R", bound="Resource")


class Kind(Protocol[R]):
    """What the engine asks of a kind."""

    NAME: str
    SCHEMA: type[R]

    def observe(self, kernel: Kernel, known: Mapping[Ref, R]) -> Iterable[R]:
        """Give what is ours on the host: the `known` that are there, and all that bears the lab's mark."""

    def obstacles(self, kernel: Kernel, wants: Sequence[R]) -> Mapping[Ref, str]:
        """Say what stands in the way of creating these, as whole sentences; it is not ours."""

    def create(self, kernel: Kernel, wants: Sequence[R]) -> None:
        """Create resources that are not there."""

    def update(self, kernel: Kernel, pairs: Sequence[tuple[R, R]]) -> None:
        """Change resources in place, each from the first value of its pair to the second."""

    def delete(self, kernel: Kernel, haves: Sequence[R]) -> None:
        """Delete resources; one that is absent is deleted already."""


KINDS: tuple[Kind[Any], ...] = (
    *(attachment, userns, netns, utsns, ipcns, cgroup, cgroupns, timens, init),
    *(sysctl, file, bridge, wireguard, veth, vxlan, gretap, mntns, address, neighbour, route, rule, workload),
)
"""All kinds, in the order in which those of one level are acted on."""

BY_NAME: Mapping[str, Kind[Any]] = {kind.NAME: kind for kind in KINDS}
SCHEMAS: Mapping[str, type[Resource]] = {kind.NAME: kind.SCHEMA for kind in KINDS}
ORDER: Sequence[str] = tuple(BY_NAME)
