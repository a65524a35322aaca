"""A question that tells whether a workload is ready or well: read from its rows, and asked in a forked child.

It is asked of the node itself: no name is looked up, because that would load libraries from the node (see `passwd`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READY = ("tcp", "http", "exec", "file", "log", "notify")
HEALTH = ("tcp", "http", "exec", "file")
"""What can be asked; `log` and `notify` are told, once."""

_SETTINGS: Mapping[str, int] = {"interval": 1000, "timeout": 30000, "retries": 3, "start_period": 0}
"""The defaults, in milliseconds but for the retries."""

_CURES = ("none", "restart", "kill")
_HTTP = "http://"
_LARGEST_PORT = 65535
_STATUS_LINE = 4096
_GOOD = range(200, 400)
_MATCHING = 0.1
"""Seconds that one look at a piece of log may take: some patterns take for ever on some lines."""


class Probe(NamedTuple):
    """`value` is what `kind` needs: addresses, an address with a request, a command, a path, a pattern; times in seconds."""

    kind: str
    value: Any
    interval: float
    timeout: float
    retries: int
    start_period: float
    on_failure: str


def parse(rows: Sequence[tuple[str, str]], kinds: Sequence[str]) -> Probe | None:
    """Read the rows of a spec, one of them the question; without rows there is none. ValueError if they are wrong."""
    settings = dict(rows)
    if not settings:
        return None
    asked = [kind for kind in settings if kind in kinds]
    unknown = sorted(set(settings) - set(asked) - set(_SETTINGS) - {"on_failure"})
    if unknown:
        raise ValueError(f'"{unknown[0]}" is none of {", ".join((*kinds, *_SETTINGS))}')
    if len(asked) != 1:
        raise ValueError(f"it takes exactly one of {', '.join(kinds)}")
    numbers = {name: _number(name, settings.get(name, str(default))) for name, default in _SETTINGS.items()}
    cure = settings.get("on_failure", "none")
    if cure not in _CURES:
        raise ValueError(f'"{cure}" is none of {", ".join(_CURES)}')
    return Probe(
        kind=asked[0],
        value=_READERS[asked[0]](settings[asked[0]]),
        interval=max(numbers["interval"], 10) / 1000,
        timeout=max(numbers["timeout"], 10) / 1000,
        retries=max(numbers["retries"], 1),
        start_period=numbers["start_period"] / 1000,
        on_failure=cure,
    )


def ask(probe: Probe) -> None:
    """Ask a question of the network or of the files of the node; OSError or ValueError, in words, if the answer is no."""
    if probe.kind == "tcp":
        _connected(*probe.value).close()
    elif probe.kind == "http":
        _ask_http(*probe.value)
    else:
        os.stat(probe.value)


def matches(pattern: re.Pattern[str], text: str) -> bool:
    """Tell whether a pattern is in some line; one that takes too long is not."""
    found = False
    with contextlib.suppress(TimeoutError):
        try:
            signal.signal(signal.SIGALRM, _give_up)  # the engine of `re` looks for signals as it goes
            signal.setitimer(signal.ITIMER_REAL, _MATCHING)
            found = any(pattern.search(line) for line in text.split("\n"))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    return found


def _give_up(*_: object) -> None:
    raise TimeoutError


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:  # noqa: PLR2004 - digits of 2 ** 31
        raise ValueError(f'{name} is "{text}", which is not a number')
    return int(text)


def _tcp(text: str) -> tuple[tuple[str, ...], int]:
    return _address(text, text) if text.isdigit() else _address(text, "")


def _address(text: str, port: str) -> tuple[tuple[str, ...], int]:
    """Read `host:port`, `[IPv6]:port`, or either without a port if one is given; localhost is both of its addresses."""
    host = "" if text.isdigit() else text
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest[1:] if rest else port
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not port.isdigit() or not 1 <= int(port) <= _LARGEST_PORT:
        raise ValueError(f'"{text}" has no port between 1 and {_LARGEST_PORT}')
    if host in ("", "localhost"):
        return ("127.0.0.1", "::1"), int(port)
    try:
        socket.inet_pton(_family(host), host)
    except OSError as problem:
        raise ValueError(f'"{host}" is not an address; names are not looked up') from problem
    return (host,), int(port)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _http(text: str) -> tuple[tuple[tuple[str, ...], int], bytes]:
    """Read a URL as where to connect and what to send."""
    if not text.startswith(_HTTP):
        raise ValueError(f'"{text}" does not begin with {_HTTP}')
    place, slash, path = text[len(_HTTP) :].partition("/")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(f"{text!r} is not a URL")
    request = f"GET {slash or '/'}{path} HTTP/1.0\r\nHost: {place}\r\nUser-Agent: nsprov\r\nConnection: close\r\n\r\n"
    return _address(place, "80"), request.encode()


def _exec(text: str) -> tuple[str, ...]:
    argv = json.loads(text)
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
        raise ValueError(f"{text!r} is not a JSON list of a command's words")
    return tuple(argv)


def _file(text: str) -> str:
    if not text.startswith("/") or "\0" in text:
        raise ValueError(f"{text!r} does not begin with /")
    return text


def _log(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, ImportError) as problem:
        raise ValueError(f'"{text}" is not a pattern: {problem}') from problem


def _notify(text: str) -> None:
    """Read what says nothing: that it is there is enough."""


_READERS: Mapping[str, Any] = {"tcp": _tcp, "http": _http, "exec": _exec, "file": _file, "log": _log, "notify": _notify}


def _connected(hosts: Sequence[str], port: int) -> socket.socket:
    """Connect to the first of the addresses that answers."""
    problem: OSError | None = None
    for host in hosts:
        made = socket.socket(_family(host), socket.SOCK_STREAM)
        try:
            made.connect((host, port))
        except OSError as refused:
            made.close()
            problem = OSError(refused.errno, f"{host} port {port}: {refused.strerror}")
        else:
            return made
    assert problem is not None
    raise problem


def _ask_http(place: tuple[Sequence[str], int], request: bytes) -> None:
    with _connected(*place) as connection:
        connection.sendall(request)
        answer = b""
        while b"\n" not in answer and len(answer) < _STATUS_LINE:
            more = connection.recv(_STATUS_LINE)
            if not more:
                break
            answer += more
    words = answer.split(b"\n")[0].decode("latin-1").split()
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():  # noqa: PLR2004 - version, status
        raise ValueError("the answer is not HTTP")
    if int(words[1]) not in _GOOD:
        raise ValueError(f"the answer is {' '.join(words[1:])[:80]}")
