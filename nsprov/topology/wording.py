"""Say what pydantic found in the words of the one who wrote the file; validate again without it, to find the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nsprov.topology import spec as language
from nsprov.topology.positions import Path, Problems, closest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

UNSUPPORTED = frozenset(
    [
        "attach",
        "impair",
        "limits",
        "link",
        "mounts",
        "nat",
        "parent",
        "rootfs",
        "tests",
        "time",
        "user",
        "workload",
        "workloads",
    ]
)
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


def validate(raw: dict[str, Any], problems: Problems) -> language.TopologySpec:
    """Check the shape of an expanded file; what is wrong is noted and left out of the result."""
    for _ in range(_ROUNDS):
        try:
            return language.TopologySpec.model_validate(raw)
        except ValidationError as error:  # noqa: PERF203 - a few rounds, and none for a file that is right
            found = error.errors(include_url=False)
            for details in found:
                _note(details, problems)
            _prune(raw, found)
    problems.settle()
    return language.TopologySpec()


def _note(details: ErrorDetails, problems: Problems) -> None:
    path, kind = details["loc"], details["type"]
    name = _name(path)
    if kind == "extra_forbidden":
        _note_unknown(path, problems)
    elif kind == "missing":
        problems.add(path, f"{shown(name)} is missing", f'add "{name}"', key=True)
    elif kind == "literal_error":
        expected = str(details["ctx"]["expected"]).replace("'", '"')
        problems.add(path, f"{shown(name)} cannot be {shown(details['input'])}", f"use {expected}")
    elif kind in _TYPES:
        problems.add(
            path, f"{shown(name)} must be {_TYPES[kind]}, not {shown(details['input'])}", _advice(kind, details["input"])
        )
    else:
        problems.add(path, f"{shown(name)} cannot be {shown(details['input'])}", "correct the value", details["msg"])


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
    if kind == "string_type" and isinstance(given, (int, float)):
        return "quote it"
    if kind == "bool_type":
        word = str(given).lower()
        return (
            "write true"
            if word in ("yes", "on", "1")
            else "write false"
            if word in ("no", "off", "0")
            else "write true or false"
        )
    if kind.startswith("int") and isinstance(given, str) and given.strip().isdigit():
        return f"write {given.strip()} without quotes"
    plain = {"int": "write a number such as 1500", "list": "write a list, one item per line, each after a dash"}
    other = {"string_type": "write one value"}
    return other.get(kind) or plain.get(kind.partition("_")[0]) or 'write "key: value" lines, indented below it'


def _known_keys(path: Path) -> list[str]:
    """Give the keys that the mapping at a path may have, walking the language's own models."""
    model: Any = language.TopologySpec
    for step in path:
        fields = getattr(model, "model_fields", {})
        if isinstance(step, str) and step in fields:
            model = _inner_model(fields[step].annotation)
    known: Mapping[str, Any] = getattr(model, "model_fields", {})
    return [field.alias or name for name, field in known.items()]


def _inner_model(annotation: Any) -> Any:
    """Find the model in a container's annotation: the last argument that has one."""
    if hasattr(annotation, "model_fields"):
        return annotation
    for argument in reversed(getattr(annotation, "__args__", ())):
        found = _inner_model(argument)
        if found is not None:
            return found
    return None


def _prune(raw: dict[str, Any], found: list[ErrorDetails]) -> None:
    """Take the refused values out, so that the next round sees the rest; shared subtrees are cut once."""
    cut: set[tuple[int, Any]] = set()
    for details in reversed(found):
        path = details["loc"][:-1] if details["type"] == "missing" else details["loc"]
        holder: Any = None
        here: Any = raw
        last: Any = None
        for step in path:
            if not isinstance(here, (dict, list)) or not _has(here, step):
                break
            holder, here, last = here, here[step], step
        if holder is not None and (id(holder), last) not in cut:
            cut.add((id(holder), last))
            del holder[last]


def _has(here: dict[str, Any] | list[Any], step: Any) -> bool:
    return step in here if isinstance(here, dict) else isinstance(step, int) and step < len(here)
