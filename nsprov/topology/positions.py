"""Where everything in a file stands, and the problems that were found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from nsprov.errors import Diagnostic, InputError
from nsprov.topology.scalars import has_jinja, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

T = TypeVar("T")

Path = tuple[Any, ...]
"""Keys and indices from the root of the expanded file to a value, or after `WRITTEN` of the file as it was written."""

WRITTEN = "as written"

LONGEST_SUMMARY = 60

_NODE_ITSELF = 2
_WIDEST = 160  # characters of a line that an excerpt shows
_SHARED = ("links", "defaults", "groups", WRITTEN)
_NETWORK = ("interfaces", "bridges", "group")

_SHORT = frozenset({"endpoints", "map", "path", "policy", "source", "target", "readonly"})
"""Keys of mappings that may be written without them: a list of two is a link, a word alone is a rootfs."""

_SYNONYMS = {"addresses": "address", "from_": "from"}


class Flaw(ValueError):
    """A value is wrong; whoever knows where it stands makes a diagnostic of it."""

    def __init__(self, summary: str, hint: str = "", detail: str = "") -> None:
        """Store what is wrong, what to do, and why."""
        super().__init__(summary)
        self.summary = summary
        self.hint = hint
        self.detail = detail


class Mark(NamedTuple):
    """Where a key and its value stand, counted from 1; in a list both are the value's."""

    key_line: int
    key_column: int
    line: int
    column: int


class Source:
    """A file that was read: its value, and the position of everything in it."""

    def __init__(self, path: str, text: str) -> None:
        """Store the path as the user wrote it, and the text."""
        self.path = path
        self.lines = text.split("\n")
        self.value: Any = None
        self.marks: dict[int, dict[Any, Mark]] = {}

    def find(self, path: Path) -> tuple[Mark, bool]:
        """Give the mark of a value, or of the nearest one above it, and whether it was reached."""
        here, mark = self.value, Mark(1, 1, 1, 1)
        for step in path:
            if not isinstance(here, (dict, list)):
                # The short form of a list of one: `address: X` is asked for as addresses[0].
                return mark, isinstance(step, int) or step in _SHORT or step == here
            if step in _SHORT and isinstance(here, list):
                continue
            key = self._written(here, step)
            if key is None:
                return mark, False
            mark, here = self.marks[id(here)][key], here[key]
        return mark, True

    def _written(self, here: dict[str, Any] | list[Any], step: Any) -> Any:
        marks = self.marks[id(here)]
        if step in marks:
            return step
        if _SYNONYMS.get(step) in marks:
            return _SYNONYMS[step]
        if isinstance(here, list) and isinstance(step, str):
            # A list of names is short for a mapping of them.
            names = ((place, item) for place, item in enumerate(here) if isinstance(item, str))
            return next((place for place, name in names if name == step or has_jinja(name)), None)
        if isinstance(step, str):
            return next((key for key in marks if isinstance(key, str) and has_jinja(key)), None)
        return None

    def diagnose(self, position: tuple[int, int], summary: str, detail: str = "", hint: str = "") -> Diagnostic:
        """Build a diagnostic at a line and column, with the line and a caret below it."""
        line, column = position
        excerpt = ""
        if 0 < line <= len(self.lines) and self.lines[line - 1].strip():
            text = self.lines[line - 1].rstrip("\r")[: max(_WIDEST, column + 1)]
            blank = "".join("\t" if char == "\t" else " " for char in text[: column - 1])
            excerpt = f"{text}\n{blank}^"
        return Diagnostic(summary, f"{self.path}:{line}:{column}", detail, hint, excerpt)


class Problems:
    """Collects what is wrong in one file, and raises it all at once, in the order of the file."""

    def __init__(self, source: Source) -> None:
        """Start with nothing wrong."""
        self.source = source
        self.origins: dict[str, Sequence[Path]] = {}
        self._doubtful: set[str] = set()
        self._all_doubtful = False
        self._removed: dict[Path, list[int]] = {}
        self._touched: set[Path] = set()
        self._spoilt: set[tuple[int, int]] = set()
        self._found: dict[tuple[int, int, str], Diagnostic] = {}

    def add(self, path: Path, summary: str, hint: str = "", detail: str = "", *, key: bool = False) -> None:
        """Note a problem at a value, or at its key; the same one from the same line counts once."""
        self._doubt(path, key=key)
        path = self._as_given(path)
        self._touched.update(path[:length] for length in range(1, len(path) + 1))
        if len(summary) > LONGEST_SUMMARY:
            detail = f"{summary}. {detail}".strip() if detail else summary
            summary = summary[: LONGEST_SUMMARY - 1] + "…"
        position = self._position(path, key=key)
        if position not in self._spoilt:
            self._found.setdefault((*position, summary), self.source.diagnose(position, summary, detail, hint))

    def spoil(self, path: Path) -> None:
        """Note that a value could not be had at all: nothing more is said about it."""
        self._spoilt.add(self._position(path, key=False))

    def touched(self, path: Path) -> bool:
        """Tell whether something in a value is wrong, so that the rest of it may be missing."""
        return self._as_given(path) in self._touched

    def remove(self, paths: Iterable[Path]) -> None:
        """Note that items of lists were taken out; later paths count without them."""
        for given in [self._as_given(path) for path in paths]:
            self._removed.setdefault(given[:-1], []).append(given[-1])
            self._removed[given[:-1]].sort()

    def _as_given(self, path: Path) -> Path:
        """Count the items again that were taken out of lists."""
        if not self._removed:
            return path
        given: Path = ()
        for step in path:
            place = step
            for gone in self._removed.get(given, ()) if isinstance(step, int) else ():
                place += gone <= place
            given = (*given, place)
        return given

    def _doubt(self, path: Path, *, key: bool) -> None:
        if path[:1] == ("nodes",) and len(path) > 1:
            unknown = key and len(path) == _NODE_ITSELF + 1  # what was meant may have been an interface
            if len(path) == _NODE_ITSELF or unknown or path[_NODE_ITSELF] in _NETWORK:
                self._doubtful.add(path[1])
        elif path[:1] and path[0] in _SHARED:
            self._all_doubtful = True

    def doubtful(self, node: str) -> bool:
        """Tell whether a node's interfaces are not known for certain: what follows from them is no news then."""
        return self._all_doubtful or node in self._doubtful

    def flaw(self, path: Path, flaw: Flaw) -> None:
        """Note a flaw of a value where it stands."""
        self.add(path, flaw.summary, flaw.hint, flaw.detail)

    def position(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Give line and column of a value, looked up in its groups and the defaults when the node has it from there."""
        return self._position(self._as_given(path), key=key)

    def _position(self, path: Path, *, key: bool) -> tuple[int, int]:
        mark, reached = self._mark(path)
        return (mark.key_line, mark.key_column) if key or not reached else (mark.line, mark.column)

    def line(self, path: Path) -> int:
        """Give the line on which a key stands, to name it in another's message."""
        return self.position(path, key=True)[0]

    def _mark(self, path: Path) -> tuple[Mark, bool]:
        if path[:1] == (WRITTEN,):
            return self.source.find(path[1:])
        roots: Sequence[Path] = [path[:2]]
        if len(path) > 1 and path[0] == "nodes":
            roots = self.origins.get(path[1], roots)
        if path[_NODE_ITSELF : _NODE_ITSELF + 1] == ("workloads",):
            roots = [*((*root, *path[2:]) for root in roots), ("defaults", "workload", *path[4:])]
            found = [self.source.find(root) for root in roots]
        else:
            found = [self.source.find((*root, *path[2:])) for root in roots] or [self.source.find(path)]
        return next((pair for pair in found if pair[1]), found[0])

    def settle(self) -> None:
        """Raise everything that was noted, if anything was.

        Raises:
            InputError: at least one problem was noted.

        """
        if self._found:
            raise InputError(*(self._found[where] for where in sorted(self._found)))


def attempt(problems: Problems, path: Path, read: Callable[..., T], *given: Any) -> T | None:
    """Read a value with a function that raises `Flaw`; a flaw is noted where the value stands, and nothing given."""
    try:
        return read(*given)
    except Flaw as flaw:
        problems.flaw(path, flaw)
        return None


def shown(value: object, longest: int = 24) -> str:
    """Write a value for a message: a string quoted, and shortened in its middle when it is long."""
    if not isinstance(value, str):
        return _yaml_word(value)
    text = value.replace("\n", "\\n")
    return f'"{text}"' if len(text) <= longest else f'"{text[: longest - 8]}…{text[-7:]}"'


def _yaml_word(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return "a list"
    return "a mapping" if isinstance(value, dict) else str(written(value))


def closest(word: str, known: Mapping[str, Any] | Sequence[str] | frozenset[str]) -> str:
    """Give the hint `use "word"` for the nearest known word, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a wrong file pays for it

    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'use "{near[0]}"' if near else ""
