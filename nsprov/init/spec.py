"""What a workload shall be, as the agent sends it: read, checked in words, and frozen."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from nsprov.init import confine, passwd, probe, rlimits, seccomp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.init.probe import Probe

    Reader = Callable[[Any], Any]

_LONGEST = 1 << 31
"""No time, count or size is longer than that; in milliseconds it is 24 days."""

_SMALLEST_LOG = 4096
_LARGEST_NAME = 64
_NICEST = 19


class Spec(NamedTuple):
    """Times are in seconds; `environment` has the secrets too, and is shown to nobody."""

    command: tuple[str, ...]
    type: str
    environment: Mapping[str, str]
    cwd: str
    user: str
    groups: tuple[str, ...]
    umask: int
    restart: str
    restart_max: int
    backoff: float
    backoff_max: float
    reset: float
    rlimits: tuple[tuple[str, int, int], ...]
    capabilities: tuple[str, ...]
    no_new_privileges: bool
    seccomp: str
    nice: int
    stop_signal: int
    grace: float
    ready: Probe | None
    health: Probe | None
    after: tuple[str, ...]
    log_size: int
    log_keep: int


def parse(given: Any) -> Spec:
    """Read a spec; what it does not know is ignored.

    Raises:
        ValueError, TypeError: something in it is wrong, in words.

    """
    if not isinstance(given, dict):
        raise TypeError("the spec is not a mapping")
    fields = {field: _read(field, given.get(field, default), read) for field, (default, read) in _FIELDS.items()}
    return Spec(environment={**fields.pop("env"), **fields.pop("secrets")}, **fields)


def workload_name(name: Any) -> str:
    """Give a name that may be that of a file and of a socket, or raise ValueError."""
    known = isinstance(name, str) and name.isascii() and name.replace("-", "a").replace("_", "a").replace(".", "a").isalnum()
    if not known or name[0] in "-." or len(name) > _LARGEST_NAME:
        raise ValueError("the name of a workload is of letters, digits, -, _ and ., and has 64 of them at most")
    return str(name)


def _read(field: str, value: Any, read: Reader) -> Any:
    try:
        return read(value)
    except (ValueError, TypeError) as problem:
        raise ValueError(f"{field}: {problem}") from problem


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    if "\0" in value:
        raise ValueError("a text cannot hold a zero byte")
    value.encode(errors="surrogateescape")  # UnicodeEncodeError is a ValueError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{value!r} is not a list")
    return tuple(map(_text, value))


def _command(value: Any) -> tuple[str, ...]:
    if not _texts(value) or not value[0]:
        raise ValueError("there is no command")
    return _texts(value)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    rows = [_texts(row) for row in value]
    if not all(len(row) == 2 for row in rows):  # noqa: PLR2004 - a pair
        raise ValueError("it is not a list of pairs")
    return tuple((row[0], row[1]) for row in rows)


def _environment(value: Any) -> dict[str, str]:
    pairs = _pairs(value)
    for name, _ in pairs:
        if not name or "=" in name:
            raise ValueError(f'"{name}" cannot be the name of a variable')
    return dict(pairs)


def _one_of(*choices: str) -> Reader:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f'"{value}" is none of {", ".join(choices)}')
        return str(value)

    return read


def _number(lowest: int = 0, highest: int = _LONGEST) -> Reader:
    def read(value: Any) -> int:
        if type(value) is not int:
            raise TypeError(f"{value!r} is not a number")
        if not lowest <= value <= highest:
            raise ValueError(f"{value} is not between {lowest} and {highest}")
        return int(value)

    return read


def _seconds(value: Any) -> float:
    return float(_number()(value)) / 1000


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _directory(value: Any) -> str:
    if not _text(value).startswith("/"):
        raise ValueError(f'"{value}" does not begin with /')
    return str(value)


def _user(value: Any) -> str:
    passwd.check(_text(value))
    return str(value)


def _groups(value: Any) -> tuple[str, ...]:
    for group in _texts(value):
        passwd.check_one(group)
    return _texts(value)


def _rlimits(value: Any) -> tuple[tuple[str, int, int], ...]:
    return tuple(rlimits.check(row) for row in value)


def _capabilities(value: Any) -> tuple[str, ...]:
    confine.check(_texts(value))
    return _texts(value)


def _seccomp(value: Any) -> str:
    if _one_of("default", "none")(value) == "default":
        seccomp.check()
    return str(value)


def _after(value: Any) -> tuple[str, ...]:
    return tuple(other for other, _ in _pairs(value))


def signal_number(value: Any) -> int:
    """Read a signal, as TERM, SIGTERM or 15, or raise ValueError."""
    if type(value) is int and value in signal.valid_signals():
        return int(value)
    name = str(value).upper()
    if name.isdecimal() and int(name) in signal.valid_signals():
        return int(name)
    found = signal.Signals.__members__.get(name if name.startswith("SIG") else f"SIG{name}")
    if found is None:
        raise ValueError(f'"{value}" is not a signal')
    return int(found)


_FIELDS: Mapping[str, tuple[Any, Reader]] = {
    "command": ((), _command),
    "type": ("service", _one_of("service", "oneshot")),
    "env": ((), _environment),
    "secrets": ((), _environment),
    "cwd": ("/", _directory),
    "user": ("0", _user),
    "groups": ((), _groups),
    "umask": (0o022, _number(0, 0o777)),
    "restart": ("no", _one_of("no", "on-failure", "always")),
    "restart_max": (0, _number()),
    "backoff": (1000, _seconds),
    "backoff_max": (60000, _seconds),
    "reset": (10000, _seconds),
    "rlimits": ((), _rlimits),
    "capabilities": ((), _capabilities),
    "no_new_privileges": (True, _flag),
    "seccomp": ("default", _seccomp),
    "nice": (0, _number(-20, _NICEST)),
    "stop_signal": ("TERM", signal_number),
    "grace": (10000, _seconds),
    "ready": ((), lambda rows: probe.parse(_pairs(rows), probe.READY)),
    "health": ((), lambda rows: probe.parse(_pairs(rows), probe.HEALTH)),
    "after": ((), _after),
    "log_size": (1 << 20, _number(_SMALLEST_LOG, _LONGEST)),
    "log_keep": (1, _number(0, 1000)),
}
"""Every field: its default, and how it is read."""
