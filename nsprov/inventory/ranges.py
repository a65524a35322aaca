"""Host names as inventories write them: `web[01:20:2]`, `[a:f]`, `name:2222`, `[2001:db8::1]:22`."""

from __future__ import annotations

import re
import string
from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING

from nsprov.topology.positions import Flaw, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_HOSTS = 100_000
_LONGEST = 9
_BOXED = re.compile(r"\[([^\[\]]+)\]:([0-9]+)", re.ASCII)
_TAILED = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])+):([0-9]+)", re.ASCII)
_RANGE = re.compile(r"\[[^\]]*\]")
_LABEL = r"(?:\w|\[[0-9a-zA-Z:]+\])(?:(?:[\w-]|\[[0-9a-zA-Z:]+\])*(?:[^\W_]|\[[0-9a-zA-Z:]+\]))?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_SPAN = re.compile(r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]", re.IGNORECASE | re.ASCII)
_LARGEST_PORT = 65535


def is_address(text: str) -> bool:
    """Tell whether a text is one host's name, range or address, a port allowed, and no combination of patterns."""
    boxed = _BOXED.fullmatch(text) or _TAILED.fullmatch(text)
    bare = boxed[1] if boxed else text
    if _NAME.fullmatch(bare):
        return all(_SPAN.fullmatch(found) for found in _RANGE.findall(bare))
    return is_ipv6(bare)


def is_ipv6(text: str) -> bool:
    """Tell whether a text is an IPv6 address."""
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def split_port(text: str) -> tuple[str, int | None]:
    """Give a host's name and the port after it.

    Raises:
        Flaw: it is no port.

    """
    found = _BOXED.fullmatch(text) or _TAILED.fullmatch(text)
    if found is None:
        if text.endswith(":"):
            raise Flaw(f"{shown(text)} ends with a colon", "write the port after it, or remove it")
        return text, None
    port = int(found[2])
    if not 0 < port <= _LARGEST_PORT:
        raise Flaw(f"{found[2]} is not a port", "use a number from 1 to 65535")
    return found[1], port


def hosts(text: str) -> tuple[list[str], int | None]:
    """Give every host that a text names, and the port that stands after them.

    Raises:
        Flaw: there are brackets that are no range, or a range with nothing in it.

    """
    name, port = split_port(text)
    if not name or name != name.strip() or not name.isprintable():
        raise Flaw(f"{shown(text)} is no name of a host", "write a name or an address")
    return list(_expanded(name, name)), port


def _expanded(name: str, whole: str) -> Iterator[str]:
    """Replace the first range by each of its values, and go on with what follows it."""
    found = _RANGE.search(name)
    if found is None:
        if "[" in name or "]" in name:
            raise Flaw(f"a bracket in {shown(whole)} has no other", 'write a range, such as "web[01:20]"')
        yield name
        return
    values = _values(found[0], whole)
    tails = list(_expanded(name[found.end() :], whole))
    if len(values) * len(tails) > MAX_HOSTS:
        raise Flaw(f"{shown(whole)} makes more than {MAX_HOSTS} hosts", "use smaller ranges")
    yield from (f"{name[: found.start()]}{value}{tail}" for value in values for tail in tails)


def _values(written: str, whole: str) -> Sequence[str]:
    bounds = written[1:-1].split(":")
    if len(bounds) not in (2, 3) or not bounds[1]:
        raise Flaw(f"{shown(written)} in {shown(whole)} is not a range", 'write "[begin:end]" or "[begin:end:step]"')
    first, last, step = bounds[0] or "0", bounds[1], bounds[2] if len(bounds) > 2 else "1"  # noqa: PLR2004
    if not _whole(step) or int(step) == 0:
        raise Flaw(f"{shown(step)} in {shown(whole)} is not a step", "use a whole number from 1")
    found = _letters(first, last, int(step)) if len(first) == len(last) == 1 and (first + last).isalpha() else None
    if found is None:
        if not _whole(first) or not _whole(last):
            raise Flaw(f"{shown(written)} in {shown(whole)} is not a range", "use two numbers, or two letters")
        if first.startswith("0") and first != "0" and len(first) != len(last):
            digits = max(len(first), len(last))
            hint = f'write as many digits: "[{first.zfill(digits)}:{last.zfill(digits)}]"'
            raise Flaw(f"the ends of {shown(written)} differ in length", hint)
        width = len(first) if first.startswith("0") else 0
        if (int(last) - int(first)) // int(step) >= MAX_HOSTS:
            raise Flaw(f"{shown(whole)} makes more than {MAX_HOSTS} hosts", "use smaller ranges")
        found = [f"{number:0{width}d}" for number in range(int(first), int(last) + 1, int(step))]
    if not found:
        raise Flaw(f"the range {shown(written)} is empty", f'write the smaller one first: "[{last}:{first}]"')
    return found


def _letters(first: str, last: str, step: int) -> Sequence[str] | None:
    letters = string.ascii_letters
    if first not in letters or last not in letters:
        return None
    return letters[letters.index(first) : letters.index(last) + 1 : step]


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST
