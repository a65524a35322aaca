"""Mode, owner and group of files, said as Ansible and chmod(1) let one say them."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat as modes
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_SYMBOLIC = re.compile(r"([ugoa]*)([-+=])([rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_SPECIAL = {"us": 0o4000, "gs": 0o2000, "ot": 0o1000, "ut": 0o1000, "gt": 0o1000}


class Wanted(NamedTuple):
    """What a file is to have, and whether it is something else than it has."""

    mode: int
    uid: int
    gid: int
    differs: bool


def wanted(args: Mapping[str, Any], now: os.stat_result) -> Wanted:
    """Say what the arguments want of a file that is as it is `now`.

    Raises:
        LookupError: there is no such user or group, or the mode is none.

    """
    bits = modes.S_IMODE(now.st_mode)
    if args.get("mode") not in (None, "preserve"):
        bits = mode(args["mode"], bits, is_folder=modes.S_ISDIR(now.st_mode))
    uid = _id(args.get("owner"), now.st_uid, lambda name: pwd.getpwnam(name).pw_uid, "user")
    gid = _id(args.get("group"), now.st_gid, lambda name: grp.getgrnam(name).gr_gid, "group")
    return Wanted(bits, uid, gid, (bits, uid, gid) != (modes.S_IMODE(now.st_mode), now.st_uid, now.st_gid))


def settle(descriptor: int, args: Mapping[str, Any], *, check: bool = False) -> bool:
    """Set mode, owner and group of an open file as the arguments say, and tell whether that was news.

    Raises:
        LookupError: as above.

    """
    now = os.fstat(descriptor)
    found = wanted(args, now)
    if found.differs and not check:
        if (found.uid, found.gid) != (now.st_uid, now.st_gid):
            os.fchown(descriptor, found.uid, found.gid)
        os.fchmod(descriptor, found.mode)  # after the owner: chown(2) takes set-user-ID away
    return found.differs


def _id(given: Any, now: int, find: Any, what: str) -> int:
    if given is None:
        return now
    if str(given).isdigit():
        return int(given)
    try:
        return int(find(str(given)))
    except KeyError:
        raise LookupError(f"failed to look up {what} {given}") from None


def mode(given: Any, now: int, *, is_folder: bool) -> int:
    """Give the mode that is meant: a number, octal digits, or symbols as chmod(1) has them.

    Raises:
        LookupError: it is none of these.

    """
    if isinstance(given, int):
        return given
    text = str(given)
    if re.fullmatch(r"0?o?[0-7]{1,4}", text):
        return int(text.replace("o", ""), 8)
    for part in text.split(","):
        found = _SYMBOLIC.fullmatch(part)
        if found is None:
            raise LookupError(f"mode must be in octal or symbolic form, not {text}")
        who, sign, what = found.groups()
        now = _symbolic(now, "ugo" if "a" in who or not who else who, sign, _letters(what, now, is_folder=is_folder))
    return now


def _letters(what: str, now: int, *, is_folder: bool) -> str:
    """Give X its meaning: x where it is a folder, or where somebody has it already."""
    return what.replace("X", "x" if is_folder or now & 0o111 else "")


def _symbolic(now: int, classes: str, sign: str, what: str) -> int:
    bits = 0
    for one in classes:
        for letter in what:
            bits |= _SPECIAL.get(one + letter, _BITS.get(letter, 0) << _SHIFTS[one])
    if sign == "+":
        return now | bits
    if sign == "-":
        return now & ~bits
    return (now & ~sum(7 << _SHIFTS[one] for one in classes)) | bits
