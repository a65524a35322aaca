"""Turn what was written into one plain mapping per node: variables, Jinja, defaults, groups and ranges.

A scalar is rendered once for the file when it asks for no node's `index` or `name`, and per node when it does;
so a range of a thousand nodes shares everything that is the same in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nsprov.errors import InputError
from nsprov.topology import ranges
from nsprov.topology.merging import Unfilled, filler, is_pure, merge
from nsprov.topology.positions import WRITTEN, Flaw, Path, Problems, closest, shown
from nsprov.topology.scalars import Pending, Rendered, has_jinja, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nsprov.topology.merging import Fill

PER_NODE = frozenset({"index", "name"})
"""The variables that only a node has."""

ATTACHED = frozenset(("attach", "bridges", "group", "host", "interfaces", "neighbours", "routes", "rules", "weight"))
"""What a node may say that is somebody else's: its network, and where that is."""


@dataclass
class Expanded:
    """A file whose nodes are all written out, and the variables of each."""

    raw: dict[str, Any]
    variables: dict[str, Any]
    contexts: dict[str, dict[str, Any]] = field(default_factory=dict)


def expand(problems: Problems, variables: Mapping[str, Any]) -> Expanded:
    """Expand a file; what cannot be is noted, and left out."""
    written = problems.source.value
    if not isinstance(written, dict):
        problems.add((), "a topology must be a mapping", 'start with "nodes:"')
        problems.settle()
    given = {name: resolve(value) if isinstance(value, str) else value for name, value in variables.items()}
    known = _variables(written.get("vars"), given, problems)
    expander = _Expander(problems, known)
    raw = {key: expander.settle(value, (WRITTEN, key)) for key, value in written.items() if key not in ("nodes", "vars")}
    expanded = Expanded(raw, known)
    if "vars" in written and not isinstance(written["vars"], dict):
        raw["vars"] = written["vars"]
    nodes = written.get("nodes")
    raw["nodes"] = expander.nodes(nodes, expanded) if isinstance(nodes, dict) else {} if nodes is None else nodes
    return expanded


def _variables(written: Any, given: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Evaluate `vars` from top to bottom; what was given on the command line wins."""
    known = dict(given)
    if not isinstance(written, dict):
        return known
    for name, value in written.items():
        if name in PER_NODE:
            problems.add((WRITTEN, "vars", name), f"variable {shown(name)} is reserved", "choose another name", key=True)
        elif name not in given:
            known[name] = _natural(_Expander(problems, known).settle(value, (WRITTEN, "vars", name)))
    return known


def _natural(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _natural(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_natural(item) for item in value]
    return resolve(value) if type(value) is Rendered else value


class _Expander:
    """Renders and merges with one set of variables."""

    def __init__(self, problems: Problems, variables: Mapping[str, Any]) -> None:
        """Store where to note problems, and the variables."""
        self.problems = problems
        self.variables = variables
        self._count = 0

    def settle(self, tree: Any, path: Path) -> Any:
        """Render what does not depend on a node, and mark what does as pending."""
        if isinstance(tree, str):
            return self._scalar(tree, path) if has_jinja(tree) else tree
        if isinstance(tree, dict):
            return {self._key(key, path): self.settle(value, (*path, key)) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self.settle(value, (*path, place)) for place, value in enumerate(tree)]
        return tree

    def _key(self, key: str, path: Path) -> str:
        return self._scalar(key, (*path, key), key=True) if has_jinja(key) else key

    def _scalar(self, text: str, path: Path, *, key: bool = False) -> str:
        # Imported where the first Jinja scalar is met: a file without one starts 40 ms sooner.
        from nsprov.render import render_scalar, variables_of  # noqa: PLC0415

        try:
            if not PER_NODE.isdisjoint(variables_of(text)):
                return Pending(text)
            result = render_scalar(text, self.variables)
        except InputError as error:
            self._refused(path, error, key=key)
            return Pending()
        return Rendered(result) if is_pure(text) else result

    def _refused(self, path: Path, error: InputError, *, key: bool = False) -> None:
        told = error.diagnostics[0]
        self.problems.add(path, told.summary, told.hint, told.detail, key=key)
        self.problems.spoil(path)

    def nodes(self, written: Mapping[str, Any], expanded: Expanded) -> dict[str, Any]:
        """Write out every node: ranges, defaults, groups, and its own values over them."""
        result: dict[str, Any] = {}
        for key, own in written.items():
            path = (WRITTEN, "nodes", key)
            names = self._names(key, path)
            template, origins = self._merged(self.settle(own, path), path, expanded.raw)
            fill = filler(template)
            for name, extra in names:
                if name in result:
                    self._twice(name, path)
                    break
                self.problems.origins[name] = origins
                context = {**self.variables, **extra, "name": name}
                expanded.contexts[name] = context
                result[name] = template if fill is None else self._filled(fill, context, name)
        return result

    def _names(self, key: str, path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
        rendered = str(self._scalar(key, path, key=True)) if has_jinja(key) else key
        try:
            self._count += ranges.count(rendered)
        except Flaw as flaw:
            self.problems.add(path, flaw.summary, flaw.hint, flaw.detail, key=True)
            return ()
        if self._count > ranges.MAX_NODES:
            self.problems.add(path, f"more than {ranges.MAX_NODES} nodes", "shorten the range", key=True)
            self.problems.settle()
        return ranges.names(rendered) if rendered or not key else ()

    def _merged(self, own: Any, path: Path, raw: Mapping[str, Any]) -> tuple[Any, list[Path]]:
        """Lay a node over its groups and the defaults; say in which order to look for where a value stands."""
        origins = [path[1:]]
        own = {} if own is None else own
        if not isinstance(own, dict):
            return own, origins
        groups = self._groups(own, path, raw)
        defaults = raw.get("defaults")
        defaults = defaults if isinstance(defaults, dict) else {}
        below = defaults.get("node")
        below = below if isinstance(below, dict) else {}
        if any("attach" in layer for layer in (own, *groups.values())):
            below = {key: value for key, value in below.items() if key in ATTACHED}
        for group in groups.values():
            below = merge(below, group)
        merged = merge(below, own)
        if isinstance(merged.get("workloads"), dict) and isinstance(defaults.get("workload"), dict):
            common, workloads = defaults["workload"], merged["workloads"]
            workloads = {name: merge(common, {} if given is None else given) for name, given in workloads.items()}
            merged = {**merged, "workloads": workloads}
        return merged, [*origins, *(("groups", name) for name in reversed(groups)), ("defaults", "node")]

    def _groups(self, own: Mapping[str, Any], path: Path, raw: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Give the groups that a node names, in that order."""
        known = raw.get("groups")
        found: dict[str, dict[str, Any]] = {}
        for place, name in enumerate(_strings(own.get("group"))):
            if isinstance(known, dict) and name in known:
                found.pop(name, None)
                found[name] = known[name] if isinstance(known[name], dict) else {}
            else:
                hint = closest(name, known) if isinstance(known, dict) else ""
                self.problems.add(
                    (*path, "group", place), f"there is no group {shown(name)}", hint or 'write it under "groups"'
                )
        return found

    def _twice(self, name: str, path: Path) -> None:
        first = self.problems.line(("nodes", name))
        detail = f"Line {first} makes a node of that name too."
        self.problems.add(path, f"node {shown(name)} is written twice", "rename one, or shorten the range", detail, key=True)

    def _filled(self, fill: Fill, context: Mapping[str, Any], name: str) -> Any:
        try:
            return fill(context)
        except Unfilled as error:
            self._refused(("nodes", name, *error.path), error.why)
            return {}


def _strings(value: Any) -> list[str]:
    many = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [item for item in many if isinstance(item, str)]
