"""Filters that keep a secret secret: what they make of one is one too."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from nsprov.texts import SecretText

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def tainting(filters: Mapping[str, Callable[..., Any]], note: Callable[[str], None]) -> dict[str, Callable[..., Any]]:
    """Give filters whose results are secret if what they are given is; each text that is made so is noted."""
    return {name: _tainting(function, note) for name, function in filters.items()}


def _tainting(function: Callable[..., Any], note: Callable[[str], None]) -> Callable[..., Any]:
    # Jinja passes some functions its context or environment first.
    place = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def filtered(*args: Any, **words: Any) -> Any:
        found = function(*args, **words)
        given = args[place] if len(args) > place else None
        if isinstance(given, SecretText):
            return _tainted(found, note)
        # Of what only contains a secret, the parts of the result that are no secret keep their own types.
        return _tainted(found, note) if isinstance(found, str) and _contains(given) else found

    return filtered


def _contains(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_contains, value.values()))
    return any(map(_contains, value)) if isinstance(value, (list, tuple)) else isinstance(value, SecretText)


def _tainted(value: Any, note: Callable[[str], None]) -> Any:
    if isinstance(value, str):
        note(value)
        return value if isinstance(value, SecretText) else SecretText(value)
    if isinstance(value, dict):
        return {key: _tainted(item, note) for key, item in value.items()}
    return type(value)(_tainted(item, note) for item in value) if type(value) in (list, tuple) else value
