"""Durations, sizes, shares of a CPU and lists of CPUs: from the text that was written to a whole number of the smallest unit.

Whole numbers throughout: `0.1s` is 100 ms, and never 99 by a rounding.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from nsprov.topology.positions import Flaw, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SECONDS = 4_611_686_018
"""KTIME_SEC_MAX / 2, 146 years: the furthest that a clock of the kernel goes."""

MAX_BYTES = (1 << 63) - 1
MAX_CPUS = 8192
"""CONFIG_NR_CPUS of the largest kernels."""

_UNITS: Mapping[str, int] = MappingProxyType(
    {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
)
_SHIFTS: Mapping[str, int] = MappingProxyType({"": 0, "K": 10, "M": 20, "G": 30, "T": 40})
_NUMBER = r"([0-9]{1,20})(?:\.([0-9]{1,20}))?"
_DURATION = re.compile(rf"(-?)((?:{_NUMBER}(?:ms|[smhdw]))+)", re.ASCII)
_PART = re.compile(rf"{_NUMBER}(ms|[smhdw])", re.ASCII)
_BARE = re.compile(rf"(-?){_NUMBER}", re.ASCII)
_SIZE = re.compile(rf"{_NUMBER}([KMGT]?)i?", re.ASCII | re.IGNORECASE)
_CPU = re.compile(rf"{_NUMBER}(m?)", re.ASCII)
_CPUS = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", re.ASCII)


def duration(text: str) -> int:
    """Read a duration in milliseconds: a number of seconds, or numbers with units such as `1h30m`; it may be negative.

    Raises:
        Flaw: it is none, is no whole number of milliseconds, or is too long.

    """
    bare = _BARE.fullmatch(text)
    match = bare or _DURATION.fullmatch(text)
    if match is None:
        raise Flaw(f"{shown(text)} is not a duration", 'write a number with a unit, such as "500ms", "30s" or "1d"')
    parts = [(match.group(2), match.group(3), "s")] if bare else _PART.findall(match.group(2))
    total = 0
    for whole, fraction, unit in parts:
        total += _scaled(whole, fraction, _UNITS[unit], text, "milliseconds")
    if total > MAX_SECONDS * 1000:
        raise Flaw(f"{shown(text)} is longer than 146 years", "use a shorter one")
    return -total if match.group(1) else total


def seconds(text: str) -> int:
    """Read a duration that is a whole number of seconds."""
    found = duration(text)
    if found % 1000:
        raise Flaw(f"{shown(text)} is not a whole number of seconds", "leave out the fraction")
    return found // 1000


def size(text: str) -> int:
    """Read a size in bytes; K, M, G and T, with or without an `i`, are powers of 1024.

    Raises:
        Flaw: it is none, is no whole number of bytes, or is too large.

    """
    match = _SIZE.fullmatch(text)
    if match is None or (text[-1] in "iI" and not match.group(3)):
        raise Flaw(f"{shown(text)} is not a size", 'write a number of bytes, or one with K, M, G or T, such as "256M"')
    whole, fraction, unit = match.groups()
    found = _scaled(whole, fraction, 1 << _SHIFTS[unit.upper()], text, "bytes")
    if found > MAX_BYTES:
        raise Flaw(f"{shown(text)} is more than 8 EiB", "use a smaller one")
    return found


def cpus(text: str) -> int:
    """Read a share of the CPUs in thousandths of one: `0.5`, `2` or `500m`.

    Raises:
        Flaw: it is none, is finer than a thousandth, or more than any machine has.

    """
    match = _CPU.fullmatch(text)
    if match is None:
        raise Flaw(f"{shown(text)} is not a number of CPUs", 'write a number such as 0.5 or 2, or thousandths such as "500m"')
    whole, fraction, unit = match.groups()
    found = _scaled(whole, fraction, 1 if unit else 1000, text, "thousandths")
    if found > MAX_CPUS * 1000:
        raise Flaw(f"{shown(text)} is more than {MAX_CPUS} CPUs", "use a smaller number")
    return found


def cpu_list(text: str) -> str:
    """Read a list of CPUs such as `0-1,4`, and give it as the kernel does: sorted, and joined where it can be.

    Raises:
        Flaw: it is none, or names a CPU that no machine has.

    """
    found: set[int] = set()
    for part in text.split(","):
        match = _CPUS.fullmatch(part)
        first, last = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (1, 0)
        if first > last:
            raise Flaw(f"{shown(text)} is not a list of CPUs", 'write it as in "0-3" or "0,2"')
        if last >= MAX_CPUS:
            raise Flaw(f"there is no CPU {last}", f"use numbers below {MAX_CPUS}")
        found.update(range(first, last + 1))
    runs: list[list[int]] = []
    for cpu in sorted(found):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _scaled(whole: str, fraction: str | None, factor: int, text: str, unit: str) -> int:
    """Multiply a decimal number exactly."""
    digits = fraction or ""
    scale: int = 10 ** len(digits)
    found, rest = divmod(int(whole + digits) * factor, scale)
    if rest:
        raise Flaw(f"{shown(text)} is not a whole number of {unit}", "leave out some of the digits")
    return found
