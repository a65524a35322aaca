"""Who a workload runs as: numbers, or names that the node's own /etc/passwd and /etc/group know.

They are read as plain files, by us, because NSS would load libraries from the node into this process
(as CVE-2019-14271 did); and strictly, because a lenient parser makes root of what it does not understand (CVE-2026-30892).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LARGEST_FILE = 1 << 20
_LARGEST_NAME = 64
_NOBODY = 0xFFFFFFFF
"""(uid_t) -1: to setresuid(2) it means "leave it as it is"."""

_PASSWD_FIELDS, _GROUP_FIELDS = 7, 4


class Identity(NamedTuple):
    """Whom a process runs as, and what its environment says of them."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str
    home: str
    shell: str


class _Entry(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str
    shell: str


def check(user: str) -> tuple[str, str]:
    """Give the user and the group of `user`, `user:group`, the group perhaps empty; ValueError if it is neither."""
    name, colon, group = user.partition(":")
    check_one(name)
    if colon:
        check_one(group)
    return name, group


def check_one(word: str) -> None:
    """Raise ValueError unless it is a number that can be an id, or a name as useradd(8) takes it."""
    if word[:1].isdigit():
        if _number(word) is None:
            raise ValueError(f'"{word}" is not an id: those are 0 to {_NOBODY - 1}, in decimal digits')
        return
    plain = word.replace("_", "a").replace("-", "0").replace(".", "0").removesuffix("$")
    if not (plain.isascii() and plain.isalnum() and plain[0].isalpha() and len(word) <= _LARGEST_NAME):
        raise ValueError(f"{word!r} is neither a number nor the name of a user or a group")


def resolve(user: str, groups: Iterable[str] = (), etc: str = "/etc") -> Identity:
    """Find out who that is; LookupError if there is nobody of that name.

    A uid that the node does not know has the gid of the same number: it belongs to nobody else, as the root's would.
    """
    name, group = check(user)
    uid = _number(name)
    entry = next((entry for entry in _users(etc, uid) if name == entry.name or uid == entry.uid), None)
    if entry is None:
        if uid is None:
            raise LookupError(f'there is no user "{name}" in {etc}/passwd')
        entry = _Entry("", uid, uid, "/", "")
    gid = _gid(group, etc) if group else entry.gid
    home = entry.home if entry.home.startswith("/") else "/"
    return Identity(entry.uid, gid, tuple(_gid(other, etc) for other in groups), entry.name, home, entry.shell or "/bin/sh")


def _number(word: str) -> int | None:
    """Read an id as it is written by who means one: no sign, no space, no leading zero, no other base, not -1."""
    if not (word.isascii() and word.isdigit()) or len(word) > len(str(_NOBODY)):
        return None
    return int(word) if str(int(word)) == word and int(word) < _NOBODY else None


def _users(etc: str, uid: int | None) -> Iterator[_Entry]:
    try:
        lines = _lines(f"{etc}/passwd")
    except OSError:
        if uid is None:
            raise
        return  # a number needs no file
    for fields in lines:
        numbers = [_number(field) for field in fields[2:4]]
        if len(fields) == _PASSWD_FIELDS and numbers[0] is not None and numbers[1] is not None:
            yield _Entry(fields[0], numbers[0], numbers[1], *fields[5:])


def _gid(group: str, etc: str) -> int:
    number = _number(group)
    if number is not None:
        return number
    for fields in _lines(f"{etc}/group"):
        found = _number(fields[2]) if len(fields) == _GROUP_FIELDS else None
        if fields[0] == group and found is not None:
            return found
    raise LookupError(f'there is no group "{group}" in {etc}/group')


def _lines(path: str) -> list[list[str]]:
    """Read a file of fields between colons; OSError unless it is a plain file of at most a megabyte."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{path} is not a plain file")
        data = os.read(fd, _LARGEST_FILE + 1)  # a plain file gives all that is asked for, if it has it
    finally:
        os.close(fd)
    if len(data) > _LARGEST_FILE:
        raise OSError(f"{path} is larger than {_LARGEST_FILE} bytes")
    return [line.split(":") for line in data.decode(errors="surrogateescape").split("\n")]
