"""Ansible's everyday tests (`is match(...)`, `is changed`), by its names and with its answers.

Pure functions of values, but for the few on paths, which ask about files of the controller.
Source: the documentation of ansible.builtin; a test holds each against ansible-core.
"""

from __future__ import annotations

import operator
import os.path
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nsprov.render.filters import to_bool
from nsprov.vault import is_vault

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("==", "=", "eq"), operator.eq),
    **dict.fromkeys(("!=", "<>", "ne"), operator.ne),
    **dict.fromkeys(("<", "lt"), operator.lt),
    **dict.fromkeys(("<=", "le"), operator.le),
    **dict.fromkeys((">", "gt"), operator.gt),
    **dict.fromkeys((">=", "ge"), operator.ge),
}


def _result(word: str, *, opposite: bool = False) -> Callable[[Any], bool]:
    """Make a test of what a task has registered."""

    def test(result: Any) -> bool:
        if not isinstance(result, Mapping):
            raise TypeError(f"this asks about what a task has registered, not about {type(result).__name__}")
        return bool(result.get(word, False)) is not opposite

    return test


def changed(result: Any) -> bool:
    """Tell whether a task, or any of its loop, has changed something."""
    if not isinstance(result, Mapping):
        raise TypeError(f"this asks about what a task has registered, not about {type(result).__name__}")
    if "changed" in result:
        return bool(result["changed"])
    return any(bool(one.get("changed")) for one in result.get("results", ()) if isinstance(one, Mapping))


def _matches(find: Callable[[str, str, int], object]) -> Callable[..., bool]:
    def test(value: object, pattern: str = "", *, ignorecase: bool = False, multiline: bool = False) -> bool:
        return bool(find(pattern, str(value), (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)))

    return test


_FINDERS: Mapping[str, Callable[[str, str, int], object]] = {"match": re.match, "search": re.search, "fullmatch": re.fullmatch}


def regex(value: object, pattern: str = "", match_type: str = "search", **flags: bool) -> bool:
    """Tell whether a regular expression is found."""
    return _matches(_FINDERS[match_type])(value, pattern, **flags)


def version(value: object, other: object, comparison: str = "==", **_terms: object) -> bool:
    """Compare versions, number by number."""
    if comparison not in _COMPARISONS:
        raise ValueError(f"{comparison!r} is no comparison")
    return _COMPARISONS[comparison](*_aligned(_parts(value), _parts(other)))


def _parts(text: object) -> list[tuple[int, int, str]]:
    """Give numbers and words of a version, each so that numbers and words can be compared: words are before numbers."""
    found = re.findall(r"\d+|[A-Za-z]+", str(text))
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in found]


def _aligned(first: list[Any], second: list[Any]) -> tuple[list[Any], list[Any]]:
    """Make both as long: 1.0 is before 1.0.1, and 1.0rc1 before 1.0."""
    length = max(len(first), len(second))
    return tuple([*parts, *[(1, -1, "")] * (length - len(parts))] for parts in (first, second))  # type: ignore[return-value]  # two


def truthy(value: Any, *, convert_bool: bool = False) -> bool:
    """Tell whether a value counts as true."""
    return to_bool(value) if convert_bool and isinstance(value, str) else bool(value)


def contains(value: Container[Any], item: Any) -> bool:
    """Tell whether a container has an item."""
    return item in value


def subset(value: Iterable[Any], other: Container[Any]) -> bool:
    """Tell whether all items are in another list."""
    return all(item in other for item in value)


def superset(value: Container[Any], other: Iterable[Any]) -> bool:
    """Tell whether a list has all items of another."""
    return all(item in value for item in other)


PREDICATES: Mapping[str, Callable[..., bool]] = {
    **dict.fromkeys(("failed", "failure"), _result("failed")),
    **dict.fromkeys(("succeeded", "success", "successful"), _result("failed", opposite=True)),
    **dict.fromkeys(("skipped", "skip"), _result("skipped")),
    **dict.fromkeys(("changed", "change"), changed),
    "unreachable": _result("unreachable"),
    "reachable": _result("unreachable", opposite=True),
    "match": _matches(re.match),
    "search": _matches(re.search),
    "regex": regex,
    **dict.fromkeys(("version", "version_compare"), version),
    "truthy": truthy,
    "falsy": lambda value, **terms: not truthy(value, **terms),
    "contains": contains,
    **dict.fromkeys(("subset", "issubset"), subset),
    **dict.fromkeys(("superset", "issuperset"), superset),
    "any": any,
    "all": all,
    "vault_encrypted": lambda value: is_vault(str(value)),
    **dict.fromkeys(("file", "is_file"), os.path.isfile),
    **dict.fromkeys(("directory", "is_dir"), os.path.isdir),
    **dict.fromkeys(("link", "is_link"), os.path.islink),
    "exists": os.path.exists,
    **dict.fromkeys(("abs", "is_abs"), os.path.isabs),
}
"""Every test by its name."""
