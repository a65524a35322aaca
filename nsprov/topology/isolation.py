"""What a node is apart in beside its network: namespaces, ids, clocks; or whose network namespace it is."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from nsprov.topology import units
from nsprov.topology.expand import ATTACHED
from nsprov.topology.idmaps import IdMaps, check_apart
from nsprov.topology.limits import read_limits
from nsprov.topology.mounting import Mounting
from nsprov.topology.node_model import TimeOffsets, UserMap
from nsprov.topology.paths import inside
from nsprov.topology.positions import Flaw, Path, Problems, attempt, shown
from nsprov.topology.workloads import read_workloads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nsprov.topology import spec as language
    from nsprov.topology.model import Node

_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", re.ASCII)
_MAX_PID = 1 << 22  # PID_MAX_LIMIT
_WAYS = ("pid", "docker", "podman", "netns")


class Isolation:
    """Reads what one node is apart in."""

    def __init__(self, name: str, spec: language.NodeSpec, problems: Problems) -> None:
        """Store the node's shape, and where to note problems."""
        self.spec = spec
        self.problems = problems
        self.path: Path = ("nodes", name)

    def read(self, types: frozenset[str], host: str) -> dict[str, Any]:
        """Read the fields of a node that most do not have; `types` are its namespaces, `host` says where it may live."""
        spec = self.spec
        if spec.attach is not None:
            return {"attach": self._attach()}
        found: dict[str, Any] = {}
        if "user" in types:
            path = (*self.path, "user")
            found["user"] = UserMap() if spec.user is None else IdMaps(spec.user, path, self.problems).read()
        if "time" in types:
            found["time"] = self._time()
        if spec.rootfs is not None:
            found["rootfs"] = Mounting(self.path, spec, self.problems).rootfs(host)
        if spec.mounts:
            found["mounts"] = Mounting(self.path, spec, self.problems).mounts(host)
        if spec.limits is not None:
            found["limits"] = read_limits(spec.limits, (*self.path, "limits"), self.problems)
        if spec.workloads:
            found["workloads"] = read_workloads(spec.workloads, (*self.path, "workloads"), self.problems)
        return found

    def _time(self) -> TimeOffsets:
        found = {}
        for word in ("boottime", "monotonic"):
            text = getattr(self.spec.time, word, None)
            path = (*self.path, "time", word)
            found[word] = 0 if text is None else attempt(self.problems, path, units.seconds, text) or 0
        return TimeOffsets(**found)

    def _attach(self) -> str | None:
        """Read whose network namespace it is, and refuse what would touch anything else of it."""
        for word in sorted(self.spec.model_fields_set - ATTACHED):
            if getattr(self.spec, word) is not None:
                detail = "It is somebody else's: interfaces, addresses, routes, rules and neighbours are all it gets."
                self.problems.add(
                    (*self.path, word), f'an attached node cannot have "{word}"', f'remove "{word}"', detail, key=True
                )
        if "lo" in (self.spec.interfaces or {}):
            path = (*self.path, "interfaces", "lo")
            self.problems.add(path, 'the "lo" of an attached node is not its own', "remove it", key=True)
        given, path = self.spec.attach, (*self.path, "attach")
        ways = [word for word in _WAYS if getattr(given, word) is not None]
        if len(ways) != 1:
            if not self.problems.touched(path):
                summary = '"attach" does not say to what' if not ways else f'"{ways[0]}" and "{ways[1]}" are both given'
                self.problems.add(path, summary, 'give one of "pid", "docker", "podman" and "netns"', key=True)
            return None
        return self._source(ways[0], getattr(given, ways[0]), (*path, ways[0]))

    def _source(self, way: str, value: Any, path: Path) -> str | None:
        if way == "pid" and not 0 < value <= _MAX_PID:
            self.problems.add(path, f"{value} is not a process id", f"use a number from 1 to {_MAX_PID}")
        elif way in ("docker", "podman") and not _CONTAINER.fullmatch(value):
            hint = "use the container's name or id, as its own command shows it"
            self.problems.add(path, f"{shown(value)} cannot name a container", hint)
        elif way == "netns":
            try:
                return f"netns:{inside(value)}"
            except Flaw as flaw:
                known = "" if value.startswith("/") else f'use "/run/netns/{posixpath.basename(value) or "NAME"}"'
                self.problems.add(path, flaw.summary, known or flaw.hint, flaw.detail)
        return f"{way}:{value}"


def check_between(nodes: Sequence[Node], problems: Problems) -> None:
    """Note what two nodes of a host cannot both have."""
    check_apart(nodes, problems)
    _attachments(nodes, problems)


def _attachments(nodes: Iterable[Node], problems: Problems) -> None:
    """Look for a network namespace that two nodes are attached to: each would undo what the other does."""
    first: dict[tuple[str, str], str] = {}
    for node in nodes:
        if node.attach is not None:
            other = first.setdefault((node.host, node.attach), node.name)
            if other != node.name:
                detail = f'Node "{other}" is attached to it too, on line {problems.line(("nodes", other, "attach"))}.'
                problems.add(
                    ("nodes", node.name, "attach"), f"{shown(node.attach)} is attached to twice", "join the nodes", detail
                )
