"""The files of a playbook: read once, decrypted where they are encrypted, with what is wrong in each."""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nsprov import vault
from nsprov.errors import Diagnostic, InputError
from nsprov.playbook.grammar import Grammar
from nsprov.playbook.model import Position
from nsprov.texts import SecretSource, Unsafe, secret
from nsprov.topology.positions import Problems, shown
from nsprov.topology.scalars import resolve_1_1
from nsprov.topology.source import Dialect, parse, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.topology.positions import Path, Source


class Encrypted(str):
    """A value that Ansible Vault has encrypted, as it stands in the file."""

    __slots__ = ()


DIALECT = Dialect(
    document="playbook",
    resolve=resolve_1_1,
    tags=MappingProxyType(
        {"!vault": Encrypted, "!vault-encrypted": Encrypted, "!unsafe": Unsafe, "tag:yaml.org,2002:str": str}
    ),
    merges=True,
    start="",
)
"""YAML 1.1, which Ansible reads, with its own tags and merge keys."""


class File:
    """One YAML file: its value, where everything in it stands, and what is wrong with it."""

    def __init__(self, path: str, passwords: Sequence[vault.Password]) -> None:
        """Read it.

        Raises:
            InputError: it cannot be read or decrypted, or is no YAML.

        """
        text = read_text(path)
        self.is_secret = vault.is_vault(text)
        if self.is_secret:
            text = vault.decrypt(text, passwords, path)
        self.path = path
        self.folder = os.path.dirname(path)
        self.source = _parsed_secret(path, text) if self.is_secret else parse(path, text, DIALECT)
        self.problems = Problems(self.source)
        self._passwords = passwords
        self._opened: dict[str, SecretSource] = {}

    def where(self, path: Path) -> Position:
        """Give the position of a value."""
        mark, _ = self.source.find(path)
        return Position(self.path, mark.line, mark.column)

    def value(self, given: Any, path: Path) -> Any:
        """Give a value with all that is encrypted in it decrypted; what cannot be is noted where it stands."""
        if isinstance(given, Encrypted):
            return self._open(given, path)
        if isinstance(given, dict):
            return {key: self.value(item, (*path, key)) for key, item in given.items()}
        if isinstance(given, list):
            return [self.value(item, (*path, index)) for index, item in enumerate(given)]
        return secret(given) if self.is_secret else given

    def _open(self, given: str, path: Path) -> SecretSource:
        """Decrypt a value; one that stands for several places is decrypted once."""
        try:
            if given not in self._opened:
                self._opened[given] = SecretSource(vault.decrypt(given, self._passwords))
        except InputError as problem:
            found: Diagnostic = problem.diagnostics[0]
            self.problems.add(path, found.summary, found.hint or "encrypt it anew", found.detail)
            return SecretSource("")
        return self._opened[given]

    def wrong(self) -> Sequence[Diagnostic]:
        """Give everything that was noted."""
        try:
            self.problems.settle()
        except InputError as problem:
            return problem.diagnostics
        return ()


def _parsed_secret(path: str, text: str) -> Source:
    """Parse what was decrypted; no message may show a line of it."""
    try:
        source = parse(path, text, DIALECT)
    except InputError as problem:
        where, hint = problem.diagnostics[0].where, "look at it with `ansible-vault view`"
        raise InputError(Diagnostic("what was encrypted is not valid YAML", where, hint=hint)) from None
    source.lines = []
    return source


class Reader:
    """Reads the files of one playbook, each once, and collects what is wrong in all of them."""

    def __init__(self, passwords: Sequence[vault.Password]) -> None:
        """Start with no file."""
        self._passwords = passwords
        self._files: dict[str, File | None] = {}
        self._failures: list[Diagnostic] = []
        self.grammar = Grammar()

    def open(self, path: str, asked: tuple[File, Path] | None = None) -> File | None:
        """Read a file; what cannot be read is noted, and is nothing; that it is not there, where it was `asked` for."""
        if asked is not None and not os.path.isfile(path):
            file, place = asked
            detail = f"It was looked for at {path}."
            file.problems.add(place, f"there is no file {shown(os.path.basename(path))}", "correct its name", detail)
            return None
        if path not in self._files:
            self._files[path] = self._read(path)
        return self._files[path]

    def _read(self, path: str) -> File | None:
        try:
            return File(path, self._passwords)
        except InputError as problem:
            self._failures += problem.diagnostics
            return None

    def settle(self) -> None:
        """Raise everything that was found wrong in any file.

        Raises:
            InputError: at least one thing is.

        """
        found = [*self._failures, *(row for file in self._files.values() if file for row in file.wrong())]
        if found:
            raise InputError(*found)
