"""Times on the command line: read durations and moments, write how long ago something was."""

from __future__ import annotations

import datetime as dt
import time

from nsprov.errors import Diagnostic, InputError

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def seconds(text: str, option: str) -> float:
    """Read a duration such as 30, 500ms, 10m or 1h30m.

    Raises:
        InputError: it is none, or less than nothing.

    """
    from nsprov.topology import positions, units  # noqa: PLC0415 - for start-up: seldom asked

    try:
        found = units.duration(text) / 1000
    except positions.Flaw as flaw:
        raise InputError(Diagnostic(flaw.summary, option, flaw.detail, flaw.hint)) from flaw
    if found < 0:
        raise InputError(Diagnostic(f'"{text}" is less than nothing', option, hint="write how long, without a sign"))
    return found


def moment(text: str, option: str) -> str:
    """Read a moment, RFC 3339 or a duration ago, and give it as logs have it, in UTC; without a zone it is local time.

    Raises:
        InputError: it is neither.

    """
    try:
        found = dt.datetime.fromisoformat(text).astimezone(dt.timezone.utc)
    except ValueError:
        if "-" in text or ":" in text:
            hint = "write it as 2026-11-22T05:01:02Z, or how long ago, as 10m"
            raise InputError(Diagnostic(f'"{text}" is no time', option, hint=hint)) from None
        return stamp(time.time() - seconds(text, option))
    return f"{found:%Y-%m-%dT%H:%M:%S}.{found.microsecond:06}Z"


def stamp(moment: float) -> str:
    """Write a moment, in seconds since 1970, as logs have it."""
    whole = int(moment)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((moment - whole) * 1_000_000):06}Z"


def ago(passed: float) -> str:
    """Write how long something took, in its two largest units."""
    left = max(0, int(passed))
    words: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or words:
            words.append(f"{count}{unit}")
    return "".join(words[:2]) or "0s"
