"""The numbers of one mapping, with their units and bounds; what is wrong is noted, and the usual value taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.topology import units
from nsprov.topology.positions import Path, Problems, attempt, shown

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_WAIT = (1 << 31) - 1
"""What poll(2) can wait at most, in milliseconds."""


class Measures:
    """Reads the numbers of one mapping by their keys."""

    def __init__(self, given: Any, path: Path, problems: Problems) -> None:
        """Store the mapping's shape, where it stands, and where to note problems."""
        self.given = given
        self.path = path
        self.problems = problems

    def duration(self, word: str, usual: int, least: int = 1) -> int:
        """Read how long something waits, in milliseconds."""
        found = self._read(word, usual, units.duration)
        if found > MAX_WAIT and getattr(self.given, word) is not None:
            self._refuse(word, f"{self._shown(word)} is longer than 24 days", "use a shorter time")
        return self._at_least(word, found, least)

    def size(self, word: str) -> int:
        """Read a number of bytes."""
        return self._at_least(word, self._read(word, 0, units.size), 1)

    def size_between(self, word: str, usual: int, least: str, most: str) -> int:
        """Read a number of bytes that lies between two others."""
        found = self._read(word, usual, units.size)
        if not units.size(least) <= found <= units.size(most):
            self._refuse(word, f'"{word}" cannot be {self._shown(word)}', f"use {least} to {most}")
        return found

    def cpus(self, word: str) -> int:
        """Read a share of the CPUs, in thousandths of one."""
        return self._at_least(word, self._read(word, 0, units.cpus), 1)

    def number(self, word: str, usual: int, low: int, high: int) -> int:
        """Read a whole number between two others."""
        value = getattr(self.given, word)
        if value is None:
            return usual
        if not low <= value <= high:
            self._refuse(word, f'"{word}" cannot be {value}', f"use a number from {low} to {high}")
        return int(value)

    def _read(self, word: str, usual: int, read: Callable[[str], int]) -> int:
        text = getattr(self.given, word)
        found = None if text is None else attempt(self.problems, (*self.path, word), read, text)
        return usual if found is None else found

    def _at_least(self, word: str, value: int, least: int) -> int:
        if value < least and getattr(self.given, word) is not None and not self.problems.touched((*self.path, word)):
            summary = f'"{word}" cannot be less than 0' if least == 0 else f'"{word}" must be more than 0'
            self._refuse(word, summary, "use a larger value, or remove it")
        return value

    def _shown(self, word: str) -> str:
        return shown(getattr(self.given, word))

    def _refuse(self, word: str, summary: str, hint: str) -> None:
        self.problems.add((*self.path, word), summary, hint)
