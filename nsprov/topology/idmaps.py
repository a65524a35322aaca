"""The ids of user namespaces: `inside:outside:count`, within what the kernel takes, and apart from each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nsprov.topology.node_model import UserMap
from nsprov.topology.positions import Flaw, Path, Problems, attempt, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nsprov.topology.model import Node
    from nsprov.topology.node_spec import UserSpec

Row = tuple[int, int, int]

AUTO = "auto"
FIRST_HOST_ID = 1000
"""Ids of the host below it belong to its system: root is 0."""

_MAX_ID = 0xFFFFFFFE  # 4294967295 is -1, which means "no id" to the kernel
_MAX_ROWS = 340  # UID_GID_MAP_MAX_EXTENTS
_MAX_TEXT = 4096  # the kernel wants a map in one write of less than a page
_ROW = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})", re.ASCII)


class IdMaps:
    """Reads what one node says of its ids."""

    def __init__(self, given: UserSpec, path: Path, problems: Problems) -> None:
        """Store what was written and where."""
        self.given = given
        self.path = path
        self.problems = problems

    def read(self) -> UserMap:
        """Give the maps; both are empty when they are to be allocated."""
        given = self.given
        apart = given.uids is not None or given.gids is not None
        if given.map is not None and apart:
            word = "uids" if given.uids is not None else "gids"
            summary = f'"map" and "{word}" are both given'
            self.problems.add((*self.path, word), summary, 'use "map", or "uids" and "gids"', key=True)
            return UserMap()
        if not apart:
            rows = self._rows("map", [AUTO] if given.map is None else given.map)
            return UserMap(uids=rows, gids=rows)
        for word, other in (("uids", "gids"), ("gids", "uids")):
            if getattr(given, word) is None and not self.problems.touched((*self.path, word)):
                hint = f'add "{word}", or use "map" for both'
                self.problems.add((*self.path, other), f'"{other}" without "{word}"', hint, key=True)
                return UserMap()
        return UserMap(uids=self._rows("uids", given.uids or ()), gids=self._rows("gids", given.gids or ()))

    def _rows(self, word: str, texts: Sequence[str]) -> tuple[Row, ...]:
        path: Path = (*self.path, word)
        if not texts and not self.problems.touched(path):
            self.problems.add(path, f'"{word}" has no ranges', 'write one, such as "0:100000:65536"')
        if AUTO in texts:
            if word != "map":
                self.problems.add((*path, texts.index(AUTO)), f'"{word}" cannot be "auto"', 'use "map: auto" for both')
            elif len(texts) > 1:
                self.problems.add((*path, texts.index(AUTO)), '"auto" stands alone', "remove it, or the ranges")
            return ()
        if len(texts) > _MAX_ROWS:
            return self._too_long(path, len(texts))
        found: list[Row] = []
        for place, text in enumerate(texts):
            row = attempt(self.problems, (*path, place), self._row, text, found)
            found += [row] if row else []
        if found and not any(inside == 0 for inside, _, _ in found) and not self.problems.touched(path):
            detail = "Whoever enters the node becomes its root, which is 0."
            self.problems.add(path, "id 0 of the node is not mapped", 'begin one range with "0:"', detail)
        if sum(len(f"{inside} {outside} {count}\n") for inside, outside, count in found) >= _MAX_TEXT:
            return self._too_long(path, len(texts))
        return tuple(sorted(found))

    def _too_long(self, path: Path, count: int) -> tuple[Row, ...]:
        detail = f"The kernel takes {_MAX_ROWS} ranges, and less than {_MAX_TEXT} characters."
        self.problems.add(path, f"a map of {count} ranges is too long", "use fewer, larger ranges", detail)
        return ()

    def _row(self, text: str, others: Iterable[Row]) -> Row:
        match = _ROW.fullmatch(text)
        if match is None:
            raise Flaw(f"{shown(text)} is not a range of ids", 'write "inside:outside:count", such as "0:100000:65536"')
        inside, outside, count = map(int, match.groups())
        if count == 0:
            raise Flaw(f"{shown(text)} maps no ids", "use a count from 1")
        if max(inside, outside) + count - 1 > _MAX_ID:
            raise Flaw(f"{shown(text)} goes beyond id {_MAX_ID}", "use smaller numbers")
        if outside < FIRST_HOST_ID and not self.given.allow_host_ids:
            detail = "They belong to the system of the host; 0 is its root."
            hint = 'use larger ones, or add "allow_host_ids: true"'
            raise Flaw(f"{shown(text)} maps ids of the host below {FIRST_HOST_ID}", hint, detail)
        for first, second, size in others:
            for mine, other, whose in ((inside, first, "node"), (outside, second, "host")):
                common = max(mine, other)
                if common < min(mine + count, other + size):
                    raise Flaw(f"id {common} of the {whose} is mapped twice", "use ranges that do not overlap")
        return inside, outside, count


def check_apart(nodes: Iterable[Node], problems: Problems) -> None:
    """Look for ids of a host that two nodes map: root of one could change the files of the other."""
    by_host: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for node in nodes:
        if node.user is not None:
            for word, rows in (("uids", node.user.uids), ("gids", node.user.gids)):
                by_host.setdefault((node.host, word), []).extend(
                    (outside, outside + count, node.name) for _, outside, count in rows
                )
    for spans in by_host.values():
        end, owner = 0, ""
        for first, after, name in sorted(spans):
            if first < end and name != owner:
                path: Path = ("nodes", name, "user")
                detail = f'Node "{owner}" has it too, on line {problems.line(("nodes", owner, "user"))}.'
                problems.add(path, f"two nodes map id {first} of the host", 'use ranges that do not overlap, or "auto"', detail)
            if after > end:
                end, owner = after, name
