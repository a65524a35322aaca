"""The resource limits of a process, by the names that setrlimit(2) gives them in lower case: nofile, nproc, as, ..."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAMES: Mapping[str, int] = {
    name[len("RLIMIT_") :].lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
}
"""What Python knows; it has those of this architecture, whose numbers differ."""


_ENDLESS = 1 << 62
"""More than any limit, and less than what C takes for a negative number."""


def check(row: Any) -> tuple[str, int, int]:
    """Read a name with a soft and a hard limit, -1 for none, or raise ValueError."""
    if not isinstance(row, (list, tuple)) or [*map(type, row)] != [str, int, int]:
        raise ValueError(f"{row!r} is not a name with a soft and a hard limit")
    name, soft, hard = row
    if name not in _NAMES:
        raise ValueError(f'"{name}" is none of {", ".join(sorted(_NAMES))}')
    low, high = (_ENDLESS if limit == -1 else limit for limit in (soft, hard))
    if not 0 <= low <= high <= _ENDLESS:
        raise ValueError(f'"{name}" cannot be {soft} with a hard limit of {hard}')
    return name, soft, hard


def apply(rows: Iterable[tuple[str, int, int]]) -> None:
    """Limit this process; PermissionError if a hard limit would have to be raised, and we may not."""
    for name, soft, hard in rows:
        _apply(name, soft, hard)


def _apply(name: str, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(_NAMES[name], (soft, hard))
    except ValueError as problem:  # Python's word for EPERM
        now = resource.getrlimit(_NAMES[name])[1]
        raise PermissionError(f"{name} {hard}: its hard limit is {now} here, and cannot be raised") from problem
