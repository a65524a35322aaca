"""Ansible's everyday filters, by its names and with its results; those on addresses are in `networks`.

Pure functions of values. What Jinja has itself (`default`, `map`, `select`, `join`, `unique`, ...) is not here.
Source: the documentation of ansible.builtin; a test holds each against ansible-core.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import json
import math
import os.path
import random as chance
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit as split_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_TRUE = frozenset({"y", "yes", "on", "1", "true", "t"})
_UNITS = {"Y": 80, "Z": 70, "E": 60, "P": 50, "T": 40, "G": 30, "M": 20, "K": 10, "B": 0}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*")


# -- text -------------------------------------------------------------------------------------------------------------


def regex_replace(value: object, pattern: str = "", replacement: str = "", *, count: int = 0, **flags: bool) -> str:
    """Replace what a regular expression matches; `ignorecase` and `multiline` are flags."""
    return re.sub(pattern, replacement, str(value), count=count, flags=_flags(**flags))


def regex_search(value: object, pattern: str, *groups: str, ignorecase: bool = False, multiline: bool = False) -> Any:
    r"""Give the first match, or a list of the groups asked for as `\1` or `\g<name>`; `None` without a match."""
    found = re.search(pattern, str(value), _flags(ignorecase=ignorecase, multiline=multiline))
    if found is None:
        return None
    return [found[_group(name)] for name in groups] if groups else found[0]


def _group(name: str) -> int | str:
    found = re.fullmatch(r"\\(?:g<(\w+)>|(\d+))", name)
    if found is None:
        raise ValueError(f"{name!r} names no group: write \\1 or \\g<name>")
    return int(found[2]) if found[2] else found[1]


def regex_findall(value: object, pattern: str, *, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    """Give all matches."""
    return re.findall(pattern, str(value), _flags(ignorecase=ignorecase, multiline=multiline))


def _flags(*, ignorecase: bool = False, multiline: bool = False) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def to_bool(value: object) -> bool:
    """Give the truth of a word: yes, on, true and 1 in any case."""
    return str(value).strip().lower() in _TRUE


def quote(value: object) -> str:
    """Quote for a shell."""
    return shlex.quote("" if value is None else str(value))


def b64encode(value: object, encoding: str = "utf-8") -> str:
    """Encode a text as base64."""
    return base64.b64encode(str(value).encode(encoding)).decode()


def b64decode(value: str, encoding: str = "utf-8") -> str:
    """Decode a text from base64."""
    return base64.b64decode(value).decode(encoding)


def hashed(value: object, hashtype: str = "sha1") -> str:
    """Give a text's hash in hexadecimal."""
    return hashlib.new(hashtype, str(value).encode(), usedforsecurity=False).hexdigest()


def to_json(value: Any, **options: Any) -> str:
    """Write as JSON in one line."""
    return json.dumps(value, **options)


def to_nice_json(value: Any, indent: int = 4, **options: Any) -> str:
    """Write as JSON to be read, keys sorted."""
    return json.dumps(value, indent=indent, **{"sort_keys": True, "separators": (",", ": "), **options})


def from_json(value: str) -> Any:
    """Read JSON."""
    return json.loads(value)


def human_readable(size: float, *, isbits: bool = False, unit: str | None = None) -> str:
    """Write a number of bytes, or of bits, with a unit."""
    name = "bits" if isbits else "Bytes"
    for letter, power in _UNITS.items():
        wanted = unit is not None and unit.upper().startswith(letter)
        if letter == "B" or wanted or (unit is None and abs(size) >= 1 << power):
            label = name if letter == "B" else f"{letter}{'b' if isbits else 'B'}"
            return f"{size / (1 << power):.2f} {label}"
    raise ValueError(f"{unit!r} is no unit")


def human_to_bytes(size: object, default_unit: str | None = None) -> int:
    """Read a number with a unit."""
    found = _SIZE.fullmatch(str(size))
    letter = ((found[2] if found else "") or default_unit or "B")[:1].upper()
    if found is None or letter not in _UNITS:
        raise ValueError(f"{size!r} is no size")
    return round(float(found[1]) * (1 << _UNITS[letter]))


def urlsplit(value: str, query: str = "") -> Any:
    """Give the parts of a URL, or the one asked for."""
    found = split_url(value)
    names = ("fragment", "hostname", "netloc", "password", "path", "port", "query", "scheme", "username")
    parts = {name: getattr(found, name) for name in names}
    return parts[query] if query else parts


def to_datetime(value: str, form: str = "%Y-%m-%d %H:%M:%S") -> dt.datetime:
    """Read a time."""
    return dt.datetime.strptime(value, form)  # noqa: DTZ007 - naive, as Ansible's: two of them can be subtracted


def strftime(form: str, second: float | None = None, *, utc: bool = False) -> str:
    """Write a time, now if none is given."""
    return time.strftime(form, (time.gmtime if utc else time.localtime)(None if second is None else float(second)))


def type_debug(value: object) -> str:
    """Name a value's type."""
    return type(value).__name__


# -- paths ------------------------------------------------------------------------------------------------------------


def path_join(parts: str | Sequence[str]) -> str:
    """Join parts of a path."""
    return parts if isinstance(parts, str) else os.path.join(*parts)


def splitext(path: str) -> list[str]:
    """Give a path without its extension, and the extension."""
    return list(os.path.splitext(path))


# -- mappings and lists -----------------------------------------------------------------------------------------------


def combine(*parts: Any, recursive: bool = False, list_merge: str = "replace") -> dict[Any, Any]:
    """Merge mappings, the later over the earlier."""
    if list_merge not in _MERGES:
        raise ValueError(f"list_merge {list_merge!r} is none of {', '.join(_MERGES)}")
    found: dict[Any, Any] = {}
    for part in flatten(parts):
        if not isinstance(part, Mapping):
            raise TypeError(f"{type(part).__name__} is no mapping")
        found = _merged(found, part, recursive=recursive, merge=_MERGES[list_merge])
    return found


def _merged(low: Mapping[Any, Any], high: Mapping[Any, Any], *, recursive: bool, merge: Callable[..., Any]) -> dict[Any, Any]:
    found = dict(low)
    for key, value in high.items():
        old = found.get(key)
        if recursive and isinstance(old, Mapping) and isinstance(value, Mapping):
            found[key] = _merged(old, value, recursive=True, merge=merge)
        elif isinstance(old, list) and isinstance(value, list):
            found[key] = merge(old, value)
        else:
            found[key] = value
    return found


_MERGES: Mapping[str, Callable[[list[Any], list[Any]], list[Any]]] = {
    "replace": lambda _old, new: new,
    "keep": lambda old, _new: old,
    "append": lambda old, new: old + new,
    "prepend": lambda old, new: new + old,
    "append_rp": lambda old, new: [item for item in old if item not in new] + new,
    "prepend_rp": lambda old, new: new + [item for item in old if item not in new],
}


def dict2items(value: Mapping[Any, Any], key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    """Give a mapping as a list of keys and values."""
    if not isinstance(value, Mapping):
        raise TypeError(f"dict2items needs a mapping, not {type(value).__name__}")
    return [{key_name: key, value_name: item} for key, item in value.items()]


def items2dict(value: Iterable[Mapping[str, Any]], key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    """Give a list of keys and values as a mapping."""
    return {item[key_name]: item[value_name] for item in value}


def flatten(value: Iterable[Any], levels: int | None = None, *, skip_nulls: bool = True) -> list[Any]:
    """Give the items of lists within lists as one list."""

    def walk(items: Iterable[Any], left: int | None) -> Iterator[Any]:
        for item in items:
            if isinstance(item, (list, tuple)) and left != 0:
                yield from walk(item, None if left is None else left - 1)
            elif not (skip_nulls and item in (None, "None", "null")):
                yield item

    return list(walk(value, levels))


def union(value: Iterable[Any], other: Iterable[Any]) -> list[Any]:
    """Give what is in either list, once."""
    return _once([*value, *other])


def intersect(value: Iterable[Any], other: Sequence[Any]) -> list[Any]:
    """Give what is in both lists, once."""
    return _once(item for item in value if item in other)


def difference(value: Iterable[Any], other: Sequence[Any]) -> list[Any]:
    """Give what is in the first list alone, once."""
    return _once(item for item in value if item not in other)


def symmetric_difference(value: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """Give what is in one of the lists alone, once."""
    return [*difference(value, other), *difference(other, value)]


def _once(items: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found


def extract(item: Any, container: Any, morekeys: Any = None) -> Any:
    """Give an item of a container, and of what is in it."""
    keys = [item, *(morekeys if isinstance(morekeys, (list, tuple)) else [] if morekeys is None else [morekeys])]
    for key in keys:
        container = container[key]
    return container


def subelements(value: Any, path: str | Sequence[str], *, skip_missing: bool = False) -> list[tuple[Any, Any]]:
    """Pair each item with each of the items that stand below it."""
    found = []
    for item in value.values() if isinstance(value, Mapping) else value:
        inner: Any = item
        for key in path.split(".") if isinstance(path, str) else path:
            if key not in inner and not skip_missing:
                raise KeyError(f"an item has no {key!r}")
            inner = inner.get(key, [])
        found += [(item, one) for one in inner]
    return found


def random(value: Any, start: int | None = None, step: int | None = None, seed: object = None) -> Any:
    """Give a number below one, or an item of a list; the same for the same seed."""
    source = chance if seed is None else chance.Random(str(seed))  # noqa: S311 - no secret is made of it
    if isinstance(value, (int, float)):
        return source.randrange(start or 0, int(value), step or 1)
    return source.choice(value)


def shuffle(value: Iterable[Any], seed: object = None) -> list[Any]:
    """Give a list in another order; the same for the same seed."""
    found = list(value)
    (chance if seed is None else chance.Random(str(seed))).shuffle(found)  # noqa: S311 - as above
    return found


def ternary(value: Any, yes: Any, no: Any, none: Any = None) -> Any:
    """Give one of two values, or of three."""
    if value is None and none is not None:
        return none
    return yes if value else no


FILTERS: Mapping[str, Callable[..., Any]] = {
    **{function.__name__: function for function in (regex_replace, regex_search, regex_findall, quote, b64encode, b64decode)},
    **{function.__name__: function for function in (to_json, to_nice_json, from_json, human_readable, human_to_bytes)},
    **{function.__name__: function for function in (urlsplit, to_datetime, strftime, type_debug, path_join, splitext)},
    **{function.__name__: function for function in (combine, dict2items, items2dict, flatten, union, intersect, difference)},
    **{function.__name__: function for function in (symmetric_difference, extract, subelements, random, shuffle, ternary)},
    "bool": to_bool,
    "hash": hashed,
    "checksum": hashed,
    "sha1": hashed,
    "md5": lambda value: hashed(value, "md5"),
    "regex_escape": lambda value: re.escape(str(value)),
    "basename": os.path.basename,
    "dirname": os.path.dirname,
    "expanduser": os.path.expanduser,
    "realpath": os.path.realpath,
    "relpath": os.path.relpath,
    "commonpath": os.path.commonpath,
    "split": lambda value, *terms: str(value).split(*terms),
    "zip": lambda *lists: [list(row) for row in zip(*lists, strict=False)],
    "zip_longest": lambda *lists, fillvalue=None: [list(row) for row in itertools.zip_longest(*lists, fillvalue=fillvalue)],
    "product": lambda *lists, repeat=1: [tuple(row) for row in itertools.product(*lists, repeat=repeat)],
    "permutations": lambda value, *size: [tuple(row) for row in itertools.permutations(value, *size)],
    "combinations": lambda value, size: [tuple(row) for row in itertools.combinations(value, size)],
    "log": lambda value, base=math.e: math.log10(value) if base == 10 else math.log(value, base),  # noqa: PLR2004 - exact
    "pow": math.pow,
    "root": lambda value, base=2: math.sqrt(value) if base == 2 else math.pow(value, 1 / base),  # noqa: PLR2004 - exact
}
"""Every filter by its name."""
