"""What a node has beside its network: namespaces, ids, control group, init, view of files, workloads.

A part of resolving: names and ids are settled here, and every node of the lab has ids of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import TYPE_CHECKING

from nsprov.kinds import cgroup, cgroupns, init, ipcns, mntns, timens, userns, utsns, workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.plan.resource import Resource
    from nsprov.topology.model import Node, Topology, Workload

    Rows = tuple[tuple[int, int, int], ...]
    Maps = tuple[Rows, Rows] | None

_RANGE = 1 << 16
_FIRST, _LAST = 0x7000_0000, 0x7FFF_0000
"""Above what systemd gives to containers (0x80000 to 0x6fffffff) and what /etc/subuid holds, below what int32 ends with."""

_ITS_OWN = frozenset({"cgroup", "ipc", "pid", "user"})
"""The types that change what is mounted in a node."""


def id_maps(topology: Topology) -> dict[str, tuple[Rows, Rows]]:
    """Give each node that has a user namespace its uid and gid maps, those that nobody wrote included.

    A range depends on the names of lab and node; only where two nodes would have the same does one move on.
    """
    found: dict[str, tuple[Rows, Rows]] = {}
    taken: set[int] = set()
    slots = (_LAST - _FIRST) // _RANGE
    for name in sorted(node.name for node in topology.nodes.values() if "user" in node.namespaces):
        digest = hashlib.sha256(f"{topology.name}/{name}".encode()).digest()
        slot = int.from_bytes(digest[:4], "big") % slots
        while slot in taken:
            slot = (slot + 1) % slots
        taken.add(slot)
        rows = ((0, _FIRST + slot * _RANGE, _RANGE),)
        given = topology.nodes[name].user
        found[name] = (given.uids or rows, given.gids or rows) if given else (rows, rows)
    return found


def root_ids(maps: Maps) -> tuple[int, int]:
    """Give the host's ids of root inside."""
    if maps is None:
        return 0, 0
    uid, gid = (next((outside for inside, outside, _ in rows if inside == 0), 0) for rows in maps)
    return uid, gid


def namespaces(node: Node, maps: Maps) -> Iterator[Resource]:
    """Give a node's namespaces but those of network and mounts, its control group, and its init."""
    user = maps is not None
    if maps is not None:
        yield userns.Userns(node=node.name, uids=maps[0], gids=maps[1])
    if "uts" in node.namespaces:
        yield utsns.Utsns(node=node.name, hostname=node.hostname or node.name, user=user)
    if "ipc" in node.namespaces:
        yield ipcns.Ipcns(node=node.name, user=user)
    if "time" in node.namespaces:
        boottime, monotonic = (node.time.boottime, node.time.monotonic) if node.time else (0, 0)
        yield timens.Timens(node=node.name, boottime=boottime, monotonic=monotonic, user=user)
    if node.limits or node.workloads or node.namespaces & {"pid", "cgroup"}:
        limits = node.limits
        given = {f.name: getattr(limits, f.name) for f in fields(limits)} if limits else {}
        yield cgroup.Cgroup(node=node.name, **given)
    if "cgroup" in node.namespaces:
        yield cgroupns.Cgroupns(node=node.name, user=user)
    if node.workloads or "pid" in node.namespaces:
        has_pid = "pid" in node.namespaces
        spaces = node.namespaces - ({"pid", "mnt"} if has_pid else {"pid"})
        yield init.Init(node=node.name, spaces=tuple(sorted(spaces)), pid=has_pid)


def view(node: Node, binds: Mapping[str, str]) -> mntns.Mntns:
    """Give a node's mount namespace: what it sees of files."""
    return mntns.Mntns(
        node=node.name,
        binds=tuple(sorted(binds.items())),
        rootfs=node.rootfs.path if node.rootfs else "",
        writable=node.rootfs.writable if node.rootfs else "overlay",
        mounts=tuple((one.source, one.target, one.readonly) for one in node.mounts),
        spaces=tuple(sorted(node.namespaces & _ITS_OWN)),
    )


def workloads(node: Node) -> Iterator[workload.Workload]:
    """Give what runs in a node."""
    for name, given in node.workloads.items():
        yield _workload(node, name, given)


def _workload(node: Node, name: str, given: Workload) -> workload.Workload:
    values = {f.name: getattr(given, f.name) for f in fields(given) if f.name != "name"}
    return workload.Workload(node=node.name, name=name, mnt="mnt" in node.namespaces, **values)
