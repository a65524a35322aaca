"""Say what pydantic found in the words of the one who wrote the file; validate again without it, to find the rest."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nsprov.topology import spec as language
from nsprov.topology.positions import Flaw, Path, Problems, closest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

UNSUPPORTED = frozenset(("impair", "link", "nat", "parent", "tests", "type"))
"""Words of the language that a later version will know."""

_TYPES = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
}
_ROUNDS = 20
_YES = ("yes", "on", "1", "true")
_NO = ("no", "off", "0", "false")


@contextlib.contextmanager
def _no_plugins() -> Iterator[None]:
    """Keep pydantic from searching the metadata of every installed distribution for plug-ins: 26 ms, and there are none."""
    name = "PYDANTIC_DISABLE_PLUGINS"
    before = os.environ.get(name)
    os.environ[name] = "__all__"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def validate(raw: dict[str, Any], problems: Problems) -> language.TopologySpec:
    """Check the shape of an expanded file; what is wrong is noted and left out of the result."""
    for _ in range(_ROUNDS):
        try:
            with _no_plugins():
                return language.TopologySpec.model_validate(raw)
        except ValidationError as error:  # noqa: PERF203 - a few rounds, and none for a file that is right
            found = error.errors(include_url=False)
            for details in found:
                _note(details, problems)
            _prune(raw, found, problems)
    problems.settle()
    return language.TopologySpec()


def _note(details: ErrorDetails, problems: Problems) -> None:
    path, kind, given = details["loc"], details["type"], details["input"]
    name = _name(path)
    told = details.get("ctx", {}).get("error")
    if isinstance(told, Flaw):
        problems.flaw(path, told)
    elif kind == "extra_forbidden":
        _note_unknown(path, problems)
    elif kind == "missing":
        if problems.touched(path):
            return  # it was there, and wrong, and has been taken out
        problems.add(path, f"{shown(name)} is missing", f'add "{name}"', key=True)
    elif kind == "literal_error":
        expected = str(details["ctx"]["expected"]).replace("'", '"')
        problems.add(path, f"{shown(name)} cannot be {shown(given)}", f"use {expected}")
    elif kind in _TYPES:
        item = isinstance(path[-1], int) and kind in ("model_type", "dict_type", "model_attributes_type")
        subject = f"an item of {shown(name)}" if item else shown(name)
        hint = 'write "[ns1:eth1, ns2:eth1]"' if item and path[0] == "links" else _advice(kind, given)
        problems.add(path, f"{subject} must be {_TYPES[kind]}, not {shown(given)}", hint)
    else:
        problems.add(path, f"{shown(name)} cannot be {shown(given)}", "correct the value", details["msg"])


def _note_unknown(path: Path, problems: Problems) -> None:
    key = path[-1]
    if key in UNSUPPORTED:
        problems.add(path, f"{shown(key)} is not supported by this version", "remove it", key=True)
    else:
        hint = closest(key, _known_keys(path[:-1])) or "use one of: " + ", ".join(_known_keys(path[:-1]))
        problems.add(path, f"unknown key {shown(key)}", hint, key=True)


def _name(path: Path) -> str:
    """Give the nearest key above a value: an item of a list has no name of its own."""
    return next((str(step) for step in reversed(path) if isinstance(step, str)), "topology")


def _advice(kind: str, given: object) -> str:
    word = str(given).strip().lower()
    if kind == "string_type":
        quotable = isinstance(given, (int, float))
        return "write 1 or 0, or quote it" if isinstance(given, bool) else "quote it" if quotable else "write one value"
    if kind == "bool_type":
        meant = "true" if word in _YES else "false" if word in _NO else "true or false"
        return f"write {meant}, without quotes"
    if kind.startswith("int"):
        return f"write {word}, without quotes" if word.isdigit() else "write a number such as 1500"
    if kind == "list_type":
        return "write a list, one item per line, each after a dash"
    return 'write "key: value" lines, indented below it'


def _known_keys(path: Path) -> list[str]:
    """Give the keys that the mapping at a path may have, walking the language's own models."""
    model: Any = language.TopologySpec
    steps = iter(path)
    for step in steps:
        model, depth = _inner_model(getattr(model, "model_fields", {}).get(step), 0)
        for _ in range(depth):
            next(steps, None)  # the user's own word, or a place in a list
    known: Mapping[str, Any] = getattr(model, "model_fields", {})
    return [field.alias or name for name, field in known.items()]


def _inner_model(annotation: Any, depth: int) -> tuple[Any, int]:
    """Find the model that a field or a type leads to, and in how many mappings and lists it is."""
    if annotation is None or hasattr(annotation, "model_fields"):
        return annotation, depth
    depth += getattr(annotation, "__origin__", None) in (dict, list)
    shapes = [about.shape() for about in getattr(annotation, "metadata", ()) if isinstance(about, language.Deferred)]
    inner = shapes or list(getattr(annotation, "__args__", ())) or [getattr(annotation, "annotation", None)]
    found = [_inner_model(argument, depth) for argument in inner]
    return next((pair for pair in found if pair[0] is not None), (None, 0))


def _prune(raw: dict[str, Any], found: list[ErrorDetails], problems: Problems) -> None:
    """Take the refused values out, so that the next round sees the rest; what nodes share is cut once."""
    keys: dict[tuple[int, Any], Any] = {}
    items: dict[tuple[int, Any], Any] = {}
    removed: dict[Path, None] = {}
    for details in found:
        path: Path = details["loc"][:-1] if details["type"] == "missing" else details["loc"]
        holder, reached = _holder(raw, path)
        if isinstance(holder, dict) and reached:
            keys[id(holder), path[reached - 1]] = holder
        elif isinstance(holder, list):
            items[id(holder), path[reached - 1]] = holder
            removed[path[:reached]] = None
    for (_, key), mapping in keys.items():
        del mapping[key]
    # From the end, so that the places before stay what they are.
    for (_, place), sequence in sorted(items.items(), key=lambda item: -item[0][1]):
        del sequence[place]
    problems.remove(removed)


def _holder(raw: dict[str, Any], path: Path) -> tuple[Any, int]:
    """Give the container of the value at a path, or of the nearest one above it, and how long its path is."""
    holder: Any = None
    here: Any = raw
    for reached, step in enumerate(path):
        if not isinstance(here, (dict, list)) or not _has(here, step):
            return holder, reached
        holder, here = here, here[step]
    return holder, len(path)


def _has(here: dict[str, Any] | list[Any], step: Any) -> bool:
    return step in here if isinstance(here, dict) else isinstance(step, int) and step < len(here)
