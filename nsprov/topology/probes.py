"""What tells that a workload is ready, or still well: one probe, and how it is tried."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from nsprov.topology.addresses import parse_ip, text_of
from nsprov.topology.measures import Measures
from nsprov.topology.paths import inside
from nsprov.topology.positions import Flaw, Path, Problems, attempt, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.topology.node_spec import HealthSpec, ReadySpec

Rows = tuple[tuple[str, str], ...]

READY_PROBES = ("tcp", "http", "exec", "file", "log", "notify")
HEALTH_PROBES = READY_PROBES[:4]
"""What can be asked again and again; `log` and `notify` are told once."""

INTERVAL, TIMEOUT = 1000, 30000
MAX_PORT = 65535
_LONGEST_PATTERN = 1000
_MAX_RETRIES = 1000
_LOCALHOST = "localhost"
_URL = re.compile(r"http://(?P<host>\[[^\]/?#]*\]|[^:/?#\[\]@]+)(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?][!-~]*)?", re.ASCII)
_URL_HINT = 'write it as in "http://127.0.0.1:8080/health"'


def read_ready(given: ReadySpec, path: Path, problems: Problems) -> Rows:
    """Read what tells that a workload is ready."""
    read = Measures(given, path, problems)
    probe = _probe(given, READY_PROBES, path, problems)
    interval, timeout = read.duration("interval", INTERVAL), read.duration("timeout", TIMEOUT)
    return (*probe, ("interval", str(interval)), ("timeout", str(timeout)))


def read_health(given: HealthSpec, path: Path, problems: Problems) -> Rows:
    """Read what tells that a workload is still well, and what follows when it is not."""
    read = Measures(given, path, problems)
    return (
        *_probe(given, HEALTH_PROBES, path, problems),
        ("interval", str(read.duration("interval", INTERVAL))),
        ("timeout", str(read.duration("timeout", TIMEOUT))),
        ("retries", str(read.number("retries", 3, 1, _MAX_RETRIES))),
        ("start_period", str(read.duration("start_period", 0, 0))),
        ("on_failure", given.on_failure or "none"),
    )


def _probe(given: Any, words: Sequence[str], path: Path, problems: Problems) -> Rows:
    ways = [word for word in words if getattr(given, word) is not None]
    if len(ways) != 1:
        if not problems.touched(path):
            summary = f'"{path[-1]}" has no probe' if not ways else f'"{ways[0]}" and "{ways[1]}" are both given'
            known = ", ".join(f'"{word}"' for word in words[:-1])
            problems.add(path, summary, f'give one of {known} and "{words[-1]}"', key=True)
        return ()
    value = attempt(problems, (*path, ways[0]), _value, ways[0], getattr(given, ways[0]))
    return ((ways[0], value),) if value is not None else ()


def _value(way: str, value: Any) -> str:
    """Give a probe's value as text."""
    if way == "tcp":
        return _tcp(value)
    if way == "http":
        return _http(value)
    if way == "exec":
        return json.dumps(words_of(value))
    if way == "file":
        return inside(value)
    if way == "log":
        return _pattern(value)
    if not value:
        raise Flaw('"notify" can only be true', 'write "notify: true", or another probe')
    return "1"


def words_of(command: Sequence[str]) -> tuple[str, ...]:
    """Check the words of a command.

    Raises:
        Flaw: there are none, or one that no program can be given.

    """
    if not command or not command[0]:
        raise Flaw("the command is empty", "write a program and its arguments")
    if any("\0" in word for word in command):
        raise Flaw("a word of the command holds a NUL character", "remove it")
    return tuple(command)


def _tcp(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= MAX_PORT or (colon and not host):
        raise Flaw(f"{shown(text)} is not a TCP port", 'write a port, or "address:port"')
    return f"{_host(host)}:{int(port)}" if colon else str(int(port))


def _host(text: str) -> str:
    """Read an address, in brackets if it is IPv6; names are not looked up, for the node's resolver is not to be trusted."""
    if text == _LOCALHOST:
        return text
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    address = text_of(*parse_ip(bare))
    if (":" in address) is (bare == text):
        raise Flaw(f"{shown(text)} is not an address", 'write it as in "127.0.0.1:80" or "[::1]:80"')
    return text if bare == text else f"[{address}]"


def _http(text: str) -> str:
    if text.startswith("https:"):
        raise Flaw("a probe cannot speak TLS", 'use "http://", "tcp", or "exec" with a program that can')
    match = _URL.fullmatch(text)
    if match is None or not 0 < int(match["port"] or 80) <= MAX_PORT:
        raise Flaw(f"{shown(text)} is not a URL", _URL_HINT)
    port = f":{int(match['port'])}" if match["port"] else ""
    rest = match["rest"] or "/"
    return f"http://{_host(match['host'])}{port}{rest if rest.startswith('/') else '/' + rest}"


def _pattern(text: str) -> str:
    if not text or len(text) > _LONGEST_PATTERN:
        raise Flaw(f"a pattern of {len(text)} characters is no use", f"write one of 1 to {_LONGEST_PATTERN} characters")
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as problem:
        raise Flaw(f"{shown(text)} is not a regular expression", "correct it", f"Python says: {problem}.") from problem
    return text
