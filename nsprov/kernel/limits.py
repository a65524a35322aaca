"""The limits of a node, set on its group in whichever version of cgroups has the controller, and read back.

In version 2 the children of the node's group share them. In version 1 the node has a group of its own for each limit, and
the processes that are in the node's group of version 2 belong into it: one that is elsewhere is not limited, and that is drift.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, KernelError
from nsprov.kernel.cgroups import members
from nsprov.kernel.controllers import CONTROLLERS, Group, text
from nsprov.kernel.hierarchies import make, put

if TYPE_CHECKING:
    from nsprov.kernel.cgroups import Cgroups
    from nsprov.kernel.hierarchies import Hierarchies

_PASSES = 100


@dataclass(frozen=True)
class Limits:
    """What a node may use: thousandths of a CPU, bytes, processes, `(device, key, value)` rows, and which CPUs."""

    cpu: int = 0
    memory: int = 0
    pids: int = 0
    io: tuple[tuple[str, str, int], ...] = ()
    cpuset: str = ""


NONE = Limits()


def read(cgroups: Cgroups, node: str, expected: Limits = NONE) -> Limits:
    """Give a node's limits, in the words of those expected where the kernel's mean the same."""
    names = CONTROLLERS if cgroups.exists(node) else ()
    return Limits(**{name: _read(cgroups.tree, node, name, getattr(expected, name)) for name in names})


def _read(tree: Hierarchies, node: str, name: str, expected: Any) -> Any:
    version = tree.version(name)
    if not version:
        return getattr(NONE, name)
    group = tree.group(node, controller=name)
    try:
        value = CONTROLLERS[name].read(Group(group, version), expected)
    except FileNotFoundError:  # nothing has been limited yet
        return getattr(NONE, name)
    return getattr(NONE, name) if version == 1 and _outside(tree.group(node), group) else value


def write(cgroups: Cgroups, node: str, wanted: Limits) -> None:
    """Set a node's limits, on all that runs in it already.

    Raises:
        KernelError: the kernel refuses one; those before it are set.

    """
    cgroups.create(node)
    tree = cgroups.tree
    for name, controller in CONTROLLERS.items():
        value = getattr(wanted, name)
        if _read(tree, node, name, value) == value:
            continue
        why = _flaw(tree, name, value)
        if why:
            raise KernelError(Diagnostic(f'limit "{name}" of node "{node}" cannot be set', detail=why), errno.EINVAL)
        version = tree.version(name)
        group = tree.group(node, controller=name)
        if version == 1:
            make(tree.top(name))
            make(group)
        else:
            _hand_down(tree, name)
        controller.write(Group(group, version), value)
        if version == 1:
            _gather(tree.group(node), group)


def _hand_down(tree: Hierarchies, name: str) -> None:
    """Have the groups above a node's hand a controller to their children; what others have them hand down stays."""
    for path in (tree.root(), tree.top()):
        if name not in text(f"{path}/cgroup.subtree_control").split():
            put(f"{path}/cgroup.subtree_control", f"+{name}")


def _outside(group: str, legacy: str) -> list[int]:
    """Give the processes of a node that are not in a group of version 1; one that has ended meanwhile is none."""
    before = set(members(group))
    return sorted((before - set(members(legacy))) & set(members(group))) if before else []


def _gather(group: str, legacy: str) -> None:
    """Move a node's processes into a group of version 1; children are born where their parent is."""
    for _ in range(_PASSES):
        pids = _outside(group, legacy)
        if not pids:
            return
        for pid in pids:
            _move(pid, legacy)
    detail = f"Processes {', '.join(map(str, pids))} have more children than can be moved."
    raise KernelError(Diagnostic(f'cgroup "{legacy}" cannot be filled', legacy, detail), errno.EBUSY)


def _move(pid: int, group: str) -> None:
    try:
        put(f"{group}/cgroup.procs", str(pid))
    except KernelError as problem:
        if problem.errno != errno.ESRCH:  # it has ended
            raise


def unsupported(cgroups: Cgroups, wanted: Limits) -> dict[str, str]:
    """Say which of the wanted limits this host cannot set, and why, as the second half of a sentence."""
    flaws = {name: _flaw(cgroups.tree, name, getattr(wanted, name)) for name in CONTROLLERS}
    return {name: why for name, why in flaws.items() if why}


def _flaw(tree: Hierarchies, name: str, value: Any) -> str:
    if value == getattr(NONE, name):
        return ""
    return _missing(tree, name) or CONTROLLERS[name].flaw(value, tree.root(name))


def _missing(tree: Hierarchies, name: str) -> str:
    """Say why a controller cannot be had; empty if it can."""
    version = tree.version(name)
    if not version:
        return _absent(name)
    root = tree.root(name)
    if not tree.writable(name):
        return f"we may not make groups in {root}."
    if version == 1 or name in text(f"{root}/cgroup.subtree_control").split():
        return ""
    # The real root has no type, and is the only group that hands down controllers beside processes of its own.
    if os.path.exists(f"{root}/cgroup.type") and text(f"{root}/cgroup.procs"):
        return f"processes are in {root} itself, which is not the root of all groups, and then its children get no controllers."
    return ""


def _absent(name: str) -> str:
    return f"this host has no {name} controller: its kernel lacks it or was told to leave it out, or we are not shown it."


def oom_kills(cgroups: Cgroups, node: str) -> int:
    """Count how often the kernel has killed a process of a node for its memory limit; 0 if it has none."""
    version = cgroups.tree.version("memory")
    if version:
        file = "memory.oom_control" if version == 1 else "memory.events"
        with contextlib.suppress(FileNotFoundError):
            lines = text(f"{cgroups.tree.group(node, controller='memory')}/{file}").splitlines()
            return int(dict(line.split() for line in lines).get("oom_kill", "0"))
    return 0
