"""Ansible's range syntax in a node's name: `h[1:40]`, `h[01:40]` with its zeros kept, `h[1:40:2]` with a step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nsprov.topology.positions import Flaw, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NODES = 100_000

_LONGEST = 9

_RANGE = re.compile(r"([^\[\]]*)\[([0-9]+):([0-9]+)(?::([0-9]+))?\]([^\[\]]*)", re.ASCII)


def count(key: str) -> int:
    """Tell how many names a key makes, without making them.

    Raises:
        Flaw: the key has brackets that are no range, or a range with nothing in it.

    """
    if "[" not in key and "]" not in key:
        return 1
    return len(_numbers(key)[1])


def names(key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every name that a key makes, with its `index` when the key is a range."""
    if "[" not in key:
        yield key, {}
        return
    match, numbers = _numbers(key)
    head, first, _, _, tail = match.groups()
    width = len(first) if first.startswith("0") else 0
    for index in numbers:
        yield f"{head}{index:0{width}d}{tail}", {"index": index}


def _numbers(key: str) -> tuple[re.Match[str], range]:
    match = _RANGE.fullmatch(key)
    if match is None:
        raise Flaw(f"{shown(key)} is not a range", 'write one range, such as "h[1:40]" or "h[01:40:2]"')
    _, first, last, step, _ = match.groups()
    if max(len(first), len(last), len(step or "")) > _LONGEST or (step is not None and int(step) == 0):
        raise Flaw(f"{shown(key)} is not a range", "use a step from 1, and numbers below 1000000000")
    numbers = range(int(first), int(last) + 1, int(step or 1))
    if not numbers:
        raise Flaw(f"the range {shown(key)} is empty", f'write the smaller number first: "[{last}:{first}]"')
    return match, numbers
