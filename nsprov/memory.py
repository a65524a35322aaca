"""What the controller remembers between runs: which hosts hold a lab, and which hosts failed last; hints, never the truth.

One small file each below `$XDG_STATE_HOME/nsprov/`. What is absent, damaged or not ours says nothing, and what cannot be
written is not remembered: neither is ever an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LARGEST = 1 << 22
"""Bytes; ten thousand hosts take a twentieth of it."""
_LAB = re.compile(r"[a-z][a-z0-9-]*")
_FAILED = "failed.json"


def hosts_of(lab: str) -> tuple[str, ...]:
    """Give the hosts that held something of a lab after the last run from here."""
    return _read(_file_of(lab)) if _LAB.fullmatch(lab) else ()


def remember(lab: str, hosts: Iterable[str]) -> None:
    """Remember the hosts that hold something of a lab now; none forgets the lab."""
    if _LAB.fullmatch(lab):
        _write(_file_of(lab), hosts)


def failed() -> tuple[str, ...]:
    """Give the hosts that failed in the last run from here."""
    return _read(_FAILED)


def remember_failed(names: Iterable[str]) -> None:
    """Remember the hosts that have failed in this run; none forgets those of earlier runs."""
    _write(_FAILED, names)


def folder() -> str | None:
    """Give the path of what is remembered, `None` if the environment names no place for it."""
    # A relative path is to be ignored (XDG Base Directory Specification).
    found = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(found):
        found = os.path.join(os.path.expanduser("~"), ".local/state")
    return os.path.join(found, "nsprov") if os.path.isabs(found) else None


def _file_of(lab: str) -> str:
    return f"lab-{lab}.json"


def _read(name: str) -> tuple[str, ...]:
    # Absent or damaged: nothing is known.
    with contextlib.suppress(OSError, ValueError, RecursionError), _opened() as place:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
        with open(file, "rb") as content:
            found = json.loads(content.read(_LARGEST))
        if isinstance(found, list) and all(isinstance(host, str) for host in found):
            return tuple(found)
    return ()


def _write(name: str, hosts: Iterable[str]) -> None:
    names = sorted(set(hosts))
    draft = f".{name}.{secrets.token_hex(4)}"
    # A read-only home, a full disk: then it is not remembered.
    with contextlib.suppress(OSError):
        if names:
            _make()
        with _opened() as place:
            if not names:
                os.unlink(name, dir_fd=place)
                return
            try:
                file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place)
                with open(file, "w", encoding="utf-8") as content:
                    json.dump(names, content)
                os.rename(draft, name, src_dir_fd=place, dst_dir_fd=place)
            except OSError:
                with contextlib.suppress(OSError):  # it may never have been made
                    os.unlink(draft, dir_fd=place)
                raise


def _make() -> None:
    """Make the folder, but not as root in somebody else's home: `sudo` may have kept $HOME."""
    path = folder()
    if path is None or os.path.isdir(path):
        return
    above = path
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if os.geteuid() == 0 and os.stat(above).st_uid != 0:
        return
    old = os.umask(0o077)
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    finally:
        os.umask(old)


@contextlib.contextmanager
def _opened() -> Iterator[int]:
    """Hold the folder open; OSError if it is not there, or not ours alone to write in."""
    path = folder()
    if path is None:
        raise FileNotFoundError
    place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(place)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PermissionError
        yield place
    finally:
        os.close(place)
