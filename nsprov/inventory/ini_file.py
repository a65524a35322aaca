"""Inventories in Ansible's INI: `[group]`, `[group:children]`, `[group:vars]`, and hosts with `name=value` after them.

A value is a Python literal if it reads as one, and a text otherwise.
"""

from __future__ import annotations

import ast
import re
import shlex
import warnings
from typing import TYPE_CHECKING, Any

from nsprov.inventory import ranges
from nsprov.inventory.places import Place
from nsprov.inventory.tree import UNGROUPED
from nsprov.topology.positions import Flaw, Source, closest, shown

if TYPE_CHECKING:
    from nsprov.inventory.tree import Tree

_SECTION = re.compile(r"\[([^\s:\]]+)(?::(\w+))?\]\s*(?:#.*)?")
_CHILD = re.compile(r"([^\s:\]]+)\s*(?:#.*)?")
_KINDS = ("hosts", "children", "vars")
_LONGEST_LITERAL = 1 << 16


def read_ini(path: str, text: str, tree: Tree) -> None:
    """Read an inventory's text into a tree; what is wrong is noted there."""
    reader = _Reader(Source(path, text), tree)
    for number, line in enumerate(reader.source.lines, 1):
        stripped = line.strip()
        if stripped and stripped[0] not in "#;":
            reader.line(stripped, Place(reader.source, number, len(line) - len(line.lstrip()) + 1))
    reader.end()


class _Reader:
    """Goes through the lines of one file, and remembers which section it is in."""

    def __init__(self, source: Source, tree: Tree) -> None:
        """Start outside of any section, which is in `ungrouped`."""
        self.source = source
        self.tree = tree
        self.group = UNGROUPED
        self.kind = "hosts"
        self._parents: dict[str, list[tuple[str, Place]]] = {}
        self._set: dict[str, Place] = {}

    def line(self, text: str, place: Place) -> None:
        """Read one line that says something."""
        found = _SECTION.fullmatch(text)
        if found is not None:
            self._section(found[1], found[2] or "hosts", place)
        elif text.startswith("[") and text.endswith("]"):
            hint = "write [group], [group:children] or [group:vars], without spaces"
            self._complain(place, f"{shown(text)} is not a section", hint)
        elif self.kind == "hosts":
            self._host(text, place)
        elif self.kind == "vars":
            self._variable(text, place)
        elif self.kind == "children":
            self._child(text, place)

    def _section(self, group: str, kind: str, place: Place) -> None:
        self.group, self.kind = group, kind
        if kind not in _KINDS:
            hint = closest(kind, _KINDS) or 'use "children" or "vars", or neither'
            self._complain(place, f"a section of a group cannot be {shown(kind)}", hint)
            return
        if kind == "vars" and group not in self.tree.groups and group not in self._parents:
            self._set[group] = place
        self.tree.group(group)
        if kind != "vars":
            self._set.pop(group, None)
            for parent, where in self._parents.pop(group, ()):
                self.tree.child(parent, group, where)

    def _child(self, text: str, place: Place) -> None:
        found = _CHILD.fullmatch(text)
        if found is None:
            self._complain(place, f"{shown(text)} is not the name of a group", "write one name on each line")
        elif found[1] in self.tree.groups and found[1] not in self._parents:
            self.tree.child(self.group, found[1], place)
        else:
            self._parents.setdefault(found[1], []).append((self.group, place))

    def _variable(self, text: str, place: Place) -> None:
        name, equals, value = (part.strip() for part in text.partition("="))
        if equals and name:
            self.tree.put(self.group, name, literal(value), place)
        else:
            self._complain(place, f"{shown(text)} sets no variable", "write name=value")

    def _host(self, text: str, place: Place) -> None:
        try:
            first, *rest = shlex.split(text, comments=True)
        except ValueError as problem:
            self._complain(place, "the quotes of this line do not match", "close what is open", f"Python says: {problem}.")
            return
        if first == "---":
            self._complain(place, "this is YAML, in a file that is read as INI", 'give its name the ending ".yml"')
            return
        try:
            names, port = ranges.hosts(first)
        except Flaw as flaw:
            self._complain(place, flaw.summary, flaw.hint, flaw.detail)
            return
        hosts = [self.tree.host(name, self.group, place) for name in names]
        if port is not None:
            for host in hosts:
                host.own.put("ansible_port", port, place)
        after = len(first)
        for word in rest:
            name, equals, value = word.partition("=")
            start = text.find(name if text.find(word, after) < 0 else word, after)
            where = place._replace(column=place.column + max(start, after))
            after = max(start, after) + len(name)
            if not equals or not name:
                self._complain(where, f"{shown(word)} sets no variable", "write name=value, and quote a value with spaces")
                continue
            meant = literal(value)
            for host in hosts:
                host.own.put(name, meant, where)

    def end(self) -> None:
        """Note the groups that are used and nowhere declared."""
        for name, place in self._set.items():
            self._complain(place, f"group {shown(name)} has variables but no section", f"write [{name}] with its hosts")
        for name, parents in self._parents.items():
            hint = closest(name, list(self.tree.groups)) or f"write [{name}] with its hosts"
            for parent, place in parents:
                self._complain(place, f"{shown(parent)} has no child {shown(name)}: there is no such group", hint)

    def _complain(self, place: Place, summary: str, hint: str, detail: str = "") -> None:
        self.tree.complaints.add(place, summary, hint, detail)


def literal(text: str) -> Any:
    """Give what a value means: a Python literal, or the text itself."""
    if len(text) > _LONGEST_LITERAL:
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return _plain(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _plain(value: Any) -> Any:
    """Give a value as JSON could hold it."""
    if isinstance(value, (list, tuple, set)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value) if isinstance(value, complex) else "..." if value is ... else value
