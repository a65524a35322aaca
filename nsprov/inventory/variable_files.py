"""`group_vars/` and `host_vars/`: files that say more of a group or a host, found by its name as Ansible finds them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, InputError
from nsprov.inventory.places import Place, places_of
from nsprov.inventory.tree import Variables
from nsprov.inventory.yaml_file import DIALECT
from nsprov.texts import secret
from nsprov.topology.positions import Source
from nsprov.topology.source import parse, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nsprov.inventory.unsealing import Opener

GROUPS, HOSTS = "group_vars", "host_vars"
ENDINGS = ("", ".yml", ".yaml", ".json")
VAULT = "$ANSIBLE_VAULT;"


class Shelf:
    """One directory with `group_vars` or `host_vars` in it; files are read when they are first asked for."""

    def __init__(self, folder: str, opener: Opener) -> None:
        """Look what is there."""
        self._opener = opener
        self.folder = folder
        self._names = {kind: _listed(os.path.join(folder, kind)) for kind in (GROUPS, HOSTS)}
        self._read: dict[tuple[str, str], tuple[Variables, ...]] = {}

    def of(self, kind: str, name: str) -> tuple[Variables, ...]:
        """Give what is said of a group or a host, a value for each file, the last one counting most."""
        if not self._names[kind] or os.sep in name:
            return ()
        key = (kind, name)
        if key not in self._read:
            self._read[key] = tuple(_variables(path, self._opener) for path in self._files(kind, name))
        return self._read[key]

    def _files(self, kind: str, name: str) -> Iterator[str]:
        """Find the file or the directory of a name; only the first of the endings counts."""
        for ending in ENDINGS:
            if name + ending in self._names[kind]:
                path = os.path.join(self.folder, kind, name + ending)
                yield from _inside(path) if os.path.isdir(path) else (path,)
                return


def _variables(path: str, opener: Opener) -> Variables:
    try:
        text = read_text(path)
        if text.startswith(VAULT):
            return _encrypted(path, text, opener)
        if not _says_something(text):
            return Variables()
        source = parse(path, text, DIALECT)
    except InputError as problem:
        return Variables(wrong=problem.diagnostics)
    if isinstance(source.value, dict):
        return Variables(source.value, places_of(source, source.value))
    if source.value is None:
        return Variables()
    wrong = Place(source, 1, 1).diagnose("variables must be a mapping", 'write "name: value" lines')
    return Variables(wrong=[wrong])


def _encrypted(path: str, text: str, opener: Opener) -> Variables:
    """Read a file that is encrypted as a whole; no message may show a line of it."""
    if not opener:
        return Variables(sealed=Place(Source(path, text), 1, 1))
    clear = str(opener.text(text, path))  # the parser takes no other text
    if not _says_something(clear):
        return Variables()
    hint = "look at it with `ansible-vault view`"
    try:
        source = parse(path, clear, DIALECT)
    except InputError as problem:
        where = problem.diagnostics[0].where
        raise InputError(Diagnostic("what was encrypted is not valid YAML", where, hint=hint)) from None
    source.lines = []
    if isinstance(source.value, dict):
        return Variables(secret(source.value), places_of(source, source.value))
    raise InputError(Diagnostic("what was encrypted is no mapping", path, hint=hint))


def _says_something(text: str) -> bool:
    lines = (line.strip() for line in text.splitlines())
    return any(line and not line.startswith("#") and line not in ("---", "...") for line in lines)


def _listed(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _inside(folder: str) -> Iterator[str]:
    for name in sorted(os.listdir(folder)):
        if name.startswith(".") or name.endswith("~"):
            continue
        path, ending = os.path.join(folder, name), os.path.splitext(name)[1]
        if os.path.isdir(path):
            if not ending:
                yield from _inside(path)
        elif ending in ENDINGS:
            yield path
