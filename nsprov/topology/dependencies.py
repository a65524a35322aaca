"""What workloads wait for: names that exist, conditions that can come true, and nothing that waits for itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nsprov.topology.positions import Path, Problems, closest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.topology.model import Node, Workload
    from nsprov.topology.node_spec import WorkloadSpec

Given = dict[str, "WorkloadSpec | None"]
Key = tuple[str, str]
"""A node and a workload of it."""

STARTED, READY, COMPLETED = "started", "ready", "completed"
_NONE = 0
_OPEN = 1
_DONE = 2


class Dependencies:
    """Settles what every workload of a lab waits for."""

    def __init__(self, nodes: Mapping[str, Node], wanted: Mapping[str, Given], problems: Problems) -> None:
        """Store the nodes as they are so far, and what is written of their workloads."""
        self.nodes = nodes
        self.wanted = wanted
        self.problems = problems
        self._after: dict[Key, dict[Key, str]] = {}

    def settled(self) -> dict[str, Node]:
        """Give the nodes with the names and conditions put into their workloads."""
        result = dict(self.nodes)
        for name, workloads in self.wanted.items():
            found = {}
            for word, given in workloads.items():
                if given is not None and given.depends_on:
                    after = self._after[name, word] = dict(self._read(name, word, given.depends_on))
                    rows = tuple(sorted((f"{node}/{other}", condition) for (node, other), condition in after.items()))
                    found[word] = replace(self.nodes[name].workloads[word], after=rows)
            if found:
                result[name] = replace(self.nodes[name], workloads={**self.nodes[name].workloads, **found})
        self._circles()
        return result

    def _path(self, node: str, workload: str) -> Path:
        return ("nodes", node, "workloads", workload, "depends_on")

    def _read(self, node: str, workload: str, given: Mapping[str, str | None]) -> Iterator[tuple[Key, str]]:
        seen: dict[Key, str] = {}
        for text, condition in given.items():
            path = (*self._path(node, workload), text)
            key = self._key(text, node, path)
            if key is None:
                continue
            if key in seen:
                detail = f"{shown(seen[key])} means the same workload."
                self.problems.add(path, f"{shown(text)} is waited for twice", "remove one of them", detail, key=True)
            seen[key] = text
            yield key, self._condition(key, condition, path)

    def _key(self, text: str, node: str, path: Path) -> Key | None:
        """Find the workload that a name means: one of the same node, or `node/workload`."""
        before, slash, name = text.rpartition("/")
        other = before if slash else node
        if other not in self.nodes:
            near = closest(other, self.nodes).removesuffix('"')
            hint = f'{near}/{name}"' if near else 'write "workload", or "node/workload"'
            self.problems.add(path, f"there is no node {shown(other)}", hint, key=True)
            return None
        known = self.nodes[other].workloads
        if name not in known:
            if not self.problems.touched(("nodes", other, "workloads", name)):
                near = closest(name, list(known))
                hint = near.replace('use "', f'use "{other}/') if near and slash else near
                where = f" on {shown(other, 20)}" if slash else ""
                self.problems.add(
                    path, f"there is no workload {shown(name, 20)}{where}", hint or 'write it under "workloads"', key=True
                )
            return None
        return other, name

    def _condition(self, key: Key, condition: str | None, path: Path) -> str:
        other: Workload = self.nodes[key[0]].workloads[key[1]]
        oneshot, name = other.type == "oneshot", shown(key[1])
        has_ready = bool(other.ready) or self.problems.touched(("nodes", key[0], "workloads", key[1], "ready"))
        if condition == READY and not has_ready:
            hint = 'give it a "ready", or use "completed"' if oneshot else 'give it a "ready", or use "started"'
            self.problems.add(path, f"{name} never says that it is ready", hint)
        if condition == COMPLETED and not oneshot:
            hint = 'make it "type: oneshot", or use "ready" or "started"'
            self.problems.add(path, f"{name} is a service, which is never completed", hint)
        return condition or (READY if other.ready else COMPLETED if oneshot else STARTED)

    def _circles(self) -> None:
        """Look for workloads that wait for themselves, by way of others or not."""
        state = dict.fromkeys(self._after, _NONE)
        for start in self._after:
            if state[start] != _NONE:
                continue
            state[start] = _OPEN
            way = [start]
            open_ends = [iter(self._after[start])]
            while way:
                following = next(open_ends[-1], None)
                if following is None:
                    state[way.pop()] = _DONE
                    open_ends.pop()
                elif state.get(following) == _OPEN:
                    self._report(way[way.index(following) :])
                elif state.get(following) == _NONE:
                    state[following] = _OPEN
                    way.append(following)
                    open_ends.append(iter(self._after[following]))

    def _report(self, circle: list[Key]) -> None:
        """Note a circle where its first workload, by name, says what it waits for."""
        first = circle.index(min(circle))
        circle = [*circle[first:], *circle[:first]]
        same = len({node for node, _ in circle}) == 1
        names = [workload if same else f"{node}/{workload}" for node, workload in [*circle, circle[0]]]
        node, workload = circle[0]
        then_node, then = circle[1 % len(circle)]
        given = self.wanted[node][workload]
        written = (given.depends_on or {}) if given is not None else {}
        text = next(word for word in (f"{then_node}/{then}", then) if word in written)
        detail = f"The circle is {' -> '.join(names)}."
        summary = f"workload {shown(workload)} waits for itself"
        self.problems.add((*self._path(node, workload), text), summary, "remove one of these dependencies", detail, key=True)
