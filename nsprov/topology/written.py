"""What is kept of a file for problems that show only when it is known where its nodes live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nsprov.topology.positions import Path, Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.errors import Diagnostic
    from nsprov.topology.positions import Source

    Writer = Callable[[Any, Problems], Mapping[str, Any]]
    """Gives the files of a node, rendered."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What is known of the file, for problems that show when its nodes are placed.

    `elsewhere` are the nodes that name no host, and `homes` the bridges that do; `places` says where in the file each link
    stands; `writers` render the files of nodes whose templates may ask where the node lives.
    """

    source: Source
    origins: Mapping[str, Sequence[Path]]
    elsewhere: frozenset[str]
    homes: frozenset[str]
    places: Sequence[int]
    writers: Mapping[str, Writer]

    def problems(self) -> Problems:
        """Give a new collection of problems in this file."""
        found = Problems(self.source)
        found.origins.update(self.origins)
        return found

    def host_path(self, node: str) -> Path:
        """Give the path of what says on which hosts a node may live."""
        return ("placement", "hosts") if node in self.elsewhere else ("nodes", node, "host")

    def diagnose(self, path: Path, summary: str, hint: str = "", detail: str = "") -> Diagnostic:
        """Build a diagnostic for something that stands in the file."""
        return self.source.diagnose(self.problems().position(path), summary, detail, hint)
