"""Read a YAML file into plain values that know where they stand; the only importer of yaml.

The text is read event by event and not composed into a graph: libyaml's composer recurses in C,
and a file of brackets would take the process down.
Merge keys (`<<`) and tags are refused, unless the dialect has them; anchors and aliases are allowed as long as they do not
multiply.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from nsprov.errors import Diagnostic, InputError
from nsprov.topology.positions import Mark, Source, shown
from nsprov.topology.scalars import resolve
from nsprov.topology.syntax import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # a PyYAML that was built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]  # the same methods, slower

MAX_BYTES = 32 << 20
MAX_DEPTH = 40
MAX_ALIASED = 1_000_000
"""How many values aliases may add to those that are written out."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What plain scalars mean in a kind of file, and what it may hold beyond the subset: tags of scalars, merge keys."""

    document: str = "topology"
    resolve: Callable[[str], Any] = resolve
    tags: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)
    merges: bool = False
    start: str = "nodes:"
    """What a file begins with; if nothing, it may be empty."""


TOPOLOGY = Dialect()


def read(path: str) -> Source:
    """Read a YAML file; its own text is all that is looked at.

    Raises:
        InputError: the file cannot be read, or is not one YAML document of the subset that is allowed.

    """
    return parse(path, read_text(path))


def parse(path: str, text: str, dialect: Dialect = TOPOLOGY) -> Source:
    """Read YAML text as if it stood in the file `path`."""
    source = Source(path, text)
    builder = _Builder(source, dialect)
    loader = None
    try:
        loader = _Loader(text)
        while loader.check_event():
            builder.take(loader.get_event())
    except yaml.MarkedYAMLError as error:
        raise InputError(explain(source, error.problem or error.context, error.problem_mark)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        summary = "a control character is not allowed in YAML"
        raise InputError(source.diagnose((line, column), summary, hint="remove it")) from error
    finally:
        if loader is not None:
            loader.dispose()
    if not builder.documents and dialect.start:
        raise InputError(source.diagnose((1, 1), "the file is empty", hint=f'start with "{dialect.start}"'))
    return source


def read_text(path: str) -> str:
    """Read a file's text.

    Raises:
        InputError: the file cannot be read, is too large, or is not UTF-8.

    """
    try:
        with open(path, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reasons = {IsADirectoryError: "is a directory", FileNotFoundError: "does not exist", PermissionError: "may not be read"}
        reason = reasons.get(type(error)) or f"cannot be read: {os.strerror(error.errno or 0).lower()}"
        raise InputError(Diagnostic(f"the file {reason}", path, hint="name a file that exists")) from error
    if len(raw) > MAX_BYTES:
        raise InputError(Diagnostic(f"the file is larger than {MAX_BYTES >> 20} MiB", path, hint="split it"))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        where = f"{path}:{before.count(10) + 1}:{len(before) - before.rfind(10)}"
        raise InputError(Diagnostic("the file is not UTF-8", where, hint="save it as UTF-8")) from error


class _Frame:
    """A mapping or a list that is still open."""

    __slots__ = ("anchor", "key", "marks", "merged", "position", "size", "value")

    def __init__(self, value: dict[str, Any] | list[Any], position: tuple[int, int], anchor: str | None) -> None:
        """Open it at a position."""
        self.value = value
        self.position = position
        self.anchor = anchor
        self.marks: dict[Any, Mark] = {}
        self.key: tuple[str, int, int] | None = None
        self.size = 1
        self.merged: list[dict[str, Any]] = []


class _Known(NamedTuple):
    """What an anchor names: a value and the number of values in it."""

    value: Any
    size: int


class _Builder:
    """Turns parser events into values, without recursion and with every bound checked on the way."""

    def __init__(self, source: Source, dialect: Dialect) -> None:
        """Start with no document."""
        self.source = source
        self.dialect = dialect
        self.documents = 0
        self._open: list[_Frame] = []
        self._anchors: dict[str, _Known | None] = {}
        self._aliased = 0

    def take(self, event: Any) -> None:
        """Add one event."""
        # The classes are compared by name: isinstance over nine classes per event would cost as much as the parser.
        kind = type(event).__name__
        position = (event.start_mark.line + 1, event.start_mark.column + 1)
        if kind == "ScalarEvent":
            self._scalar(event, position)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._start(event, position, {} if kind == "MappingStartEvent" else [])
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            frame = self._open.pop()
            if frame.merged:
                self._merge(frame)
            self.source.marks[id(frame.value)] = frame.marks
            self._put(_Known(frame.value, frame.size), frame.position, frame.anchor)
        elif kind == "AliasEvent":
            self._alias(event, position)
        elif kind == "DocumentStartEvent":
            self._document(position)

    def _document(self, position: tuple[int, int]) -> None:
        self.documents += 1
        if self.documents > 1:
            raise self._refuse(position, "a second document begins here", f"keep one {self.dialect.document} per file")

    def _refuse(self, position: tuple[int, int], summary: str, hint: str, detail: str = "") -> InputError:
        return InputError(self.source.diagnose(position, summary, detail, hint))

    def _tag(self, event: Any, position: tuple[int, int]) -> None:
        if event.tag is not None and event.tag != "!":
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._refuse(position, f"the tag {shown(tag)} is not allowed", "remove it; quote a value to make it a string")

    def _start(self, event: Any, position: tuple[int, int], value: dict[str, Any] | list[Any]) -> None:
        self._tag(event, position)
        if len(self._open) >= MAX_DEPTH:
            raise self._refuse(position, f"nested deeper than {MAX_DEPTH} levels", "flatten it")
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            raise self._complex_key(position)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Frame(value, position, event.anchor))

    def _complex_key(self, position: tuple[int, int]) -> InputError:
        line = self.source.lines[position[0] - 1]
        if "{{" in line or "{%" in line:
            return self._refuse(position, "a Jinja expression is not quoted", 'write "{{ ... }}", with the quotes')
        return self._refuse(position, "a key must be a word, not a list or a mapping", "quote it")

    def _scalar(self, event: Any, position: tuple[int, int]) -> None:
        meaning = self.dialect.tags.get(event.tag)
        if meaning is None:
            self._tag(event, position)
        frame = self._open[-1] if self._open else None
        if frame is not None and frame.key is None and isinstance(frame.value, dict):
            if event.anchor:
                self._anchors[event.anchor] = _Known(event.value, 1)
            self._key(frame, event.value, position)
            return
        plain = event.implicit[0] and not event.style
        value = meaning(event.value) if meaning else self.dialect.resolve(event.value) if plain else event.value
        self._put(_Known(value, 1), position, event.anchor)

    def _key(self, frame: _Frame, key: str, position: tuple[int, int]) -> None:
        if key == "<<" and self.dialect.merges:
            frame.key = (key, *position)
            return
        if key == "<<":
            raise self._refuse(position, "the merge key << is not part of YAML 1.2", 'use "groups" or "defaults"')
        if key in frame.value:
            first = frame.marks[key].key_line
            raise self._refuse(
                position, f"key {shown(key)} is written twice", "remove one of them", f"The first one is on line {first}."
            )
        frame.key = (key, *position)

    def _alias(self, event: Any, position: tuple[int, int]) -> None:
        if event.anchor not in self._anchors:
            raise self._refuse(
                position, f"alias {shown('*' + event.anchor)} has no anchor", f'write "&{event.anchor}" before it'
            )
        known = self._anchors[event.anchor]
        if known is None:
            raise self._refuse(position, f"alias {shown('*' + event.anchor)} contains itself", "remove it")
        frame = self._open[-1] if self._open else None
        if frame is not None and frame.key is None and isinstance(frame.value, dict):
            raise self._refuse(position, "an alias cannot be a key", "write the key out")
        self._aliased += known.size
        if self._aliased > MAX_ALIASED:
            raise self._refuse(
                position, f"aliases add more than {MAX_ALIASED} values", 'use "groups" or a range such as "h[1:40]"'
            )
        self._put(known, position, None)

    def _put(self, known: _Known, position: tuple[int, int], anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = known
        if not self._open:
            self.source.value = known.value
            return
        frame = self._open[-1]
        frame.size += known.size
        if isinstance(frame.value, list):
            frame.marks[len(frame.value)] = Mark(*position, *position)
            frame.value.append(known.value)
        elif frame.key is not None:
            key, line, column = frame.key
            frame.key = None
            if key == "<<":
                frame.merged.extend(self._mappings(known.value, position))
                return
            frame.value[key] = known.value
            frame.marks[key] = Mark(line, column, *position)

    def _mappings(self, value: Any, position: tuple[int, int]) -> list[dict[str, Any]]:
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(one, dict) for one in found):
            raise self._refuse(position, "only mappings can be merged", 'write "<<: *name", the alias of a mapping')
        return found

    def _merge(self, frame: _Frame) -> None:
        """Put what is merged before a mapping's own keys, which win, as does the first of several."""
        assert isinstance(frame.value, dict)
        own, marks = dict(frame.value), dict(frame.marks)
        frame.value.clear()
        for one in reversed(frame.merged):
            frame.value.update(one)
            frame.marks.update(self.source.marks[id(one)])
        frame.value.update(own)
        frame.marks.update(marks)
