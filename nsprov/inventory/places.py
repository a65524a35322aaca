"""Where a thing of an inventory stands, and what is wrong with such things, said all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nsprov.errors import Diagnostic, InputError
from nsprov.topology.positions import LONGEST_SUMMARY, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Place(NamedTuple):
    """A position in a source; without a line it is the source as a whole."""

    source: Source
    line: int = 0
    column: int = 0

    def diagnose(self, summary: str, hint: str, detail: str = "") -> Diagnostic:
        """Build a diagnostic of what is here; a summary that is too long goes into the detail."""
        if len(summary) > LONGEST_SUMMARY:
            detail = f"{summary}. {detail}".strip()
            summary = summary[: LONGEST_SUMMARY - 1] + "…"
        if not self.line:
            return Diagnostic(summary, self.source.path, detail, hint)
        return self.source.diagnose((self.line, self.column), summary, detail, hint)


class Complaints:
    """Collects what is wrong, and raises it in the order of the sources and their lines."""

    def __init__(self) -> None:
        """Start with nothing wrong."""
        self._found: dict[tuple[int, int, int, str], Diagnostic] = {}
        self._order: dict[str, int] = {}

    def add(self, place: Place, summary: str, hint: str, detail: str = "") -> None:
        """Note a problem; the same one at the same place counts once."""
        source = self._order.setdefault(place.source.path, len(self._order))
        self._found.setdefault((source, place.line, place.column, summary), place.diagnose(summary, hint, detail))

    def adopt(self, path: str, diagnostics: Sequence[Diagnostic]) -> None:
        """Note what another reader has said of a file."""
        source = self._order.setdefault(path, len(self._order))
        for place, diagnostic in enumerate(diagnostics):
            self._found.setdefault((source, 0, place, diagnostic.summary), diagnostic)

    def settle(self) -> None:
        """Raise everything that was noted, if anything was.

        Raises:
            InputError: at least one problem was noted.

        """
        if self._found:
            raise InputError(*(self._found[key] for key in sorted(self._found)))


def places_of(source: Source, mapping: Mapping[str, object]) -> dict[str, Place]:
    """Give the places of the values of a mapping that stands in a YAML file."""
    return {key: Place(source, mark.line, mark.column) for key, mark in source.marks.get(id(mapping), {}).items()}
