"""Inventories in YAML, or in JSON, which is YAML: groups with `hosts`, `vars` and `children`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nsprov.inventory import ranges, words
from nsprov.inventory.places import Place, places_of
from nsprov.texts import Sealed, Unsafe
from nsprov.topology.positions import Flaw, Mark, Source, closest, shown
from nsprov.topology.scalars import resolve_1_1
from nsprov.topology.source import Dialect, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.inventory.tree import Tree

_GROUP_KEYS = ("hosts", "children", "vars")


DIALECT = Dialect(
    document="inventory",
    resolve=resolve_1_1,
    tags=MappingProxyType({"!vault": Sealed, "!vault-encrypted": Sealed, "!unsafe": Unsafe, "tag:yaml.org,2002:str": str}),
    merges=True,
)
"""YAML 1.1, which Ansible reads, with its own tags and merge keys."""


def read_yaml(path: str, text: str, tree: Tree) -> None:
    """Read an inventory's text into a tree; what is wrong is noted there.

    Raises:
        InputError: the text is no YAML.

    """
    reader = _Reader(parse(path, text, DIALECT), tree)
    given = reader.source.value
    whole = Place(reader.source, 1, 1)
    if not isinstance(given, dict):
        tree.complaints.add(whole, "an inventory must be a mapping", 'start with "all:"')
    elif "plugin" in given:
        hint = "make it a script that runs `ansible-inventory --list` on this file, and give that with -i"
        place = places_of(reader.source, given)["plugin"]
        tree.complaints.add(place, "the configuration of an inventory plugin is not read", hint)
    else:
        for name, group in given.items():
            reader.group(name, group, places_of(reader.source, given)[name])


class _Reader:
    """Walks the groups of one file."""

    def __init__(self, source: Source, tree: Tree) -> None:
        """Store the file and the tree."""
        self.source = source
        self.tree = tree
        self._made: list[Mapping[str, Any]] = []

    def group(self, name: str, given: Any, place: Place) -> None:
        """Read one group and those below it."""
        self.tree.group(name)
        given = self._mapping(name, given, place)
        places = places_of(self.source, given)
        for key in given.keys() - set(_GROUP_KEYS):
            hint = closest(key, _GROUP_KEYS) or 'use "hosts"'
            self._complain(self._key(given, key), f"unknown key {shown(key)}", hint)
        # In the order of the file, which is that of the groups in the end.
        for key in given:
            inner = self._mapping(key, given[key], places[key]) if key in _GROUP_KEYS else {}
            if key == "vars":
                for word, value, where in self._variables(inner):
                    self.tree.put(name, word, value, where)
            elif key == "hosts":
                self._hosts(name, inner)
            elif key == "children":
                self._children(name, inner)

    def _children(self, parent: str, given: Mapping[str, Any]) -> None:
        places = places_of(self.source, given)
        for name, inner in given.items():
            self.group(name, inner, places[name])
            self.tree.child(parent, name, places[name])

    def _hosts(self, group: str, given: Mapping[str, Any]) -> None:
        places = places_of(self.source, given)
        for key, own in given.items():
            where = self._key(given, key)
            try:
                names, port = ranges.hosts(key)
            except Flaw as flaw:
                self._complain(where, flaw.summary, flaw.hint, flaw.detail)
                continue
            variables = self._variables(self._mapping(key, own, places[key]))
            for name in names:
                host = self.tree.host(name, group, where)
                if port is not None:
                    host.own.put("ansible_port", port, where)
                for word, value, place in variables:
                    host.own.put(word, value, place)

    def _variables(self, given: Mapping[str, Any]) -> list[tuple[str, Any, Place]]:
        places = places_of(self.source, given)
        return [(full, given[word], places[word]) for word, full in words.in_full(given).items()]

    def _mapping(self, name: str, given: Any, place: Place) -> Mapping[str, Any]:
        if given is None:
            return {}
        if isinstance(given, dict):
            return given
        if isinstance(given, str) and name in _GROUP_KEYS:
            # Ansible's short form of a mapping of one name without a value.
            made = {given: None}
            self._made.append(made)  # its marks are found by its id, which must not become another's
            self.source.marks[id(made)] = {given: Mark(place.line, place.column, place.line, place.column)}
            return made
        self._complain(place, f"{shown(name)} must be a mapping", 'write "name:" lines, indented below it')
        return {}

    def _key(self, given: Mapping[str, Any], key: str) -> Place:
        mark = self.source.marks[id(given)][key]
        return Place(self.source, mark.key_line, mark.key_column)

    def _complain(self, place: Place, summary: str, hint: str, detail: str = "") -> None:
        self.tree.complaints.add(place, summary, hint, detail)
