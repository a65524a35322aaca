"""Lay one mapping over another, and fill in what waited for a node's own variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.errors import InputError
from nsprov.topology.scalars import Pending, Rendered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.topology.positions import Path

    Fill = Callable[[Mapping[str, Any]], Any]

_ONE_OF = (
    ("address", "addresses"),
    ("content", "template", "source"),
    ("pid", "docker", "podman", "netns"),
    ("tcp", "http", "exec", "file", "log", "notify"),
)
_ALTERNATIVES = {
    **{word: tuple(other for other in words if other != word) for words in _ONE_OF for word in words},
    "map": ("uids", "gids"),
    "uids": ("map",),
    "gids": ("map",),
}
"""Keys that say the same thing in another way: one laid over another takes its place."""

_NAMED = frozenset(
    ("bridges", "depends_on", "env", "files", "hosts", "interfaces", "io", "rlimits", "sysctls", "workloads")
)
"""Mappings whose keys are the user's own words: a workload named `http` is no alternative to one named `log`."""


class Unfilled(Exception):
    """A scalar could not be rendered for one node."""

    def __init__(self, path: Path, why: InputError) -> None:
        """Store where in the node, and why."""
        super().__init__(path)
        self.path = path
        self.why = why


def merge(below: Any, above: Any, *, named: bool = False) -> Any:
    """Lay a value over another: mappings join key by key, everything else is replaced; `named` keys are the user's words."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    result = dict(below)
    for key, value in above.items():
        for other in () if named else _ALTERNATIVES.get(key, ()):
            if other not in above:
                result.pop(other, None)
        result[key] = merge(result[key], value, named=not named and key in _NAMED) if key in result else value
    return result


def is_pure(text: str) -> bool:
    """Tell whether a scalar is one `{{ expression }}` and nothing else."""
    return text.startswith("{{") and text.endswith("}}") and text.count("{{") == 1 and text.count("}}") == 1


def filler(tree: Any, path: Path = ()) -> Fill | None:
    """Compile a tree into a function that renders what is pending in it; nothing when nothing is.

    What is not pending is shared between the results.
    """
    if type(tree) is Pending:
        return _scalar_filler(tree, path)
    if isinstance(tree, dict):
        return _mapping_filler(tree, path)
    if isinstance(tree, list):
        holes = [(place, fill) for place, item in enumerate(tree) if (fill := filler(item, (*path, place)))]
        return _container_filler(tree, holes) if holes else None
    return None


def _scalar_filler(text: str, path: Path) -> Fill:
    from nsprov.render import scalar_renderer  # noqa: PLC0415 - start-up time: a file without Jinja does not load jinja2

    render = scalar_renderer(text)
    pure = is_pure(text)

    def fill(variables: Mapping[str, Any]) -> str:
        try:
            result = render(variables)
        except InputError as error:
            raise Unfilled(path, error) from error
        return Rendered(result) if pure else result

    return fill


def _container_filler(tree: Any, holes: list[tuple[Any, Fill]]) -> Fill:
    def fill(variables: Mapping[str, Any]) -> Any:
        result = tree.copy()
        for key, inner in holes:
            result[key] = inner(variables)
        return result

    return fill


def _mapping_filler(tree: dict[str, Any], path: Path) -> Fill | None:
    holes = [(key, fill) for key, item in tree.items() if (fill := filler(item, (*path, key)))]
    keys: dict[str, Fill] = {key: _scalar_filler(key, (*path, key)) for key in tree if type(key) is Pending}
    values = _container_filler(tree, holes) if holes else None
    if not keys:
        return values

    def fill_keys(variables: Mapping[str, Any]) -> dict[str, Any]:
        result = values(variables) if values else tree
        return {keys[key](variables) if key in keys else key: item for key, item in result.items()}

    return fill_keys
