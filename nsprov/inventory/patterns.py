"""Ansible's patterns: what they are made of, and which hosts they mean.

The terms of a pattern are applied in an order of their own: first those that add hosts, then `&`, then `!`.
A plain name that is nothing is an error here, and only a warning in Ansible: a mistyped `!name` would exclude nobody.
"""

from __future__ import annotations

import fnmatch
import os
import re
import warnings
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, InputError, NothingMatched
from nsprov.inventory.ranges import is_address
from nsprov.topology.model import LOCALHOST

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

_PART = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]+)|([0-9]+)[:-]([0-9]*))\]", re.ASCII)
_WILD = frozenset("*?[")


def split(pattern: str) -> list[str]:
    """Split a pattern at its commas, or without any at its colons, but not those of an address, a range or a slice."""
    if is_address(pattern):
        return [pattern]
    parts = pattern.split(",") if "," in pattern else _PART.findall(pattern)
    return [part.strip() for part in parts if part.strip()]


def limit_terms(limit: str, known: Collection[str], failed: Callable[[], Sequence[str]] | None) -> list[str]:
    """Give the terms of a `--limit`: those of the pattern, with the lines of a file for `@FILE`.

    Raises:
        InputError: the file cannot be read.
        NothingMatched: `@failed` is asked for, and no host has failed.

    """
    found: list[str] = []
    is_file = limit.startswith("@") and "," not in limit and not limit.startswith("@failed:")
    for term in [limit] if is_file else split(limit):
        if term == "@failed" and failed is not None:
            found.extend(_failed(failed(), known))
        elif term.startswith("@"):
            found.extend(_lines(term[1:]))
        else:
            found.append(term)
    return found


def _failed(names: Sequence[str], known: Collection[str]) -> list[str]:
    # A host may have left the inventory since.
    found = [name for name in names if name in known]
    if not found:
        hint = "run the command without this limit"
        raise NothingMatched(Diagnostic("no host failed in the last run from here", "-l @failed", hint=hint))
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as problem:
        reason = os.strerror(problem.errno or 0).lower() if isinstance(problem, OSError) else "it is not UTF-8"
        hint = "name a file with a host or a pattern on each line"
        raise InputError(Diagnostic(f"the limit's file cannot be read: {reason}"[:60], path, hint=hint)) from problem


def unknown(terms: Iterable[str], hosts: Collection[str], groups: Collection[str]) -> list[str]:
    """Give the terms that are plain names of nothing."""
    words = (term[1:] if term[0] in "&!" else term for term in terms)
    return [word for word in words if not _means(word, hosts, groups)]


def _means(word: str, hosts: Collection[str], groups: Collection[str]) -> bool:
    if not word or word.startswith("~") or word in hosts or word in groups or word == LOCALHOST:
        return True
    bare = _subscript(word)[0]
    return bare in groups or bare in hosts or bool(_WILD & set(bare))


def matched(terms: Sequence[str], hosts: Collection[str], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Give the names of the hosts that terms stand for; `groups` has the names of each one's hosts.

    Raises:
        NothingMatched: a slice is beyond what it is taken of.
        InputError: a regular expression is none.

    """
    adding = [term for term in terms if term[0] not in "&!"]
    both = [term[1:] for term in terms if term[0] == "&" and len(term) > 1]
    without = [term[1:] for term in terms if term[0] == "!" and len(term) > 1]
    found = dict.fromkeys(name for term in adding or ["all"] for name in _of(term, hosts, groups))
    for term in both:
        kept = set(_of(term, hosts, groups))
        found = {name: None for name in found if name in kept}
    for term in without:
        gone = set(_of(term, hosts, groups))
        found = {name: None for name in found if name not in gone}
    return tuple(found)


def _of(term: str, hosts: Collection[str], groups: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if term in hosts:
        return [term]
    bare, subscript = (term, None) if term.startswith("~") else _subscript(term)
    found = _named(bare, hosts, groups)
    if subscript is None or not found:
        return found
    start, end = subscript
    if end is not None:
        return found[start : end + 1 if end >= 0 else None]
    try:
        return [found[start]]
    except IndexError as problem:
        hint = f"count from 0 to {len(found) - 1}"
        raise NothingMatched(
            Diagnostic(f'"{bare}" has no host [{start}]', detail=f"It has {len(found)}.", hint=hint)
        ) from problem


def _subscript(term: str) -> tuple[str, tuple[int, int | None] | None]:
    """Split a slice from a term: (first, `None`) is a single one, an end of -1 is the last."""
    found = _SUBSCRIPT.fullmatch(term)
    if found is None:
        return term, None
    bare, single, start, end = found.groups()
    return bare, (int(single), None) if single else (int(start), int(end) if end else -1)


def _named(word: str, hosts: Collection[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Give the hosts of all groups that a word means, and the hosts that it means itself, if it is no plain group's name."""
    meant = _matcher(word)
    among = [name for name in groups if meant(name)]
    found = [host for name in among for host in groups[name]]
    if not among or word[0] == "~" or any(char in word for char in ".?*["):
        found += [name for name in hosts if meant(name)]
    return found or ([LOCALHOST] if word == LOCALHOST else [])


def _matcher(word: str) -> Callable[[str], object]:
    try:
        # Python warns of brackets that it may come to read otherwise; today's meaning is what Ansible's patterns have.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(word[1:] if word[0] == "~" else fnmatch.translate(word)).match
    except re.error as problem:
        hint = "correct it after the ~" if word[0] == "~" else "correct its brackets"
        raise InputError(
            Diagnostic(f'"{word}" is not a pattern'[:60], detail=f"Python says: {problem}.", hint=hint)
        ) from problem
