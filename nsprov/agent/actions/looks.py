"""`fetch`, `slurp` and `stat`: what is there, and what is in it; nothing here waits for a pipe that nobody writes to."""

from __future__ import annotations

import base64
import grp
import hashlib
import os
import pwd
import stat as modes
from typing import TYPE_CHECKING, Any

from nsprov.agent.actions.terms import truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nsprov.agent.actions.terms import Terms

    Args = Mapping[str, Any]
    Result = dict[str, Any]

_LARGEST = 64 << 20
_PIECE = 1 << 20


def about(path: str) -> Result:
    """Say of a file what Ansible says."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return {}
    return {
        "mode": f"{modes.S_IMODE(found.st_mode):04o}",
        "uid": found.st_uid,
        "gid": found.st_gid,
        "owner": _name(pwd.getpwuid, found.st_uid),
        "group": _name(grp.getgrgid, found.st_gid),
        "size": found.st_size,
        "state": "directory" if modes.S_ISDIR(found.st_mode) else "link" if modes.S_ISLNK(found.st_mode) else "file",
        **({"checksum": _digest(path, "sha1")} if modes.S_ISREG(found.st_mode) else {}),
    }


def _name(find: Any, number: int) -> str:
    try:
        return str(find(number)[0])
    except KeyError:
        return str(number)


def _digest(path: str, algorithm: str, heed: Callable[[], None] = lambda: None) -> str:
    found = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
            heed()
    return found.hexdigest()


def _failed(message: str) -> Result:
    return {"changed": False, "failed": True, "msg": message}


def fetch(args: Args, _terms: Terms) -> Result:
    """Give a file's content to the controller, which writes it there."""
    path = os.path.expanduser(str(args["src"]))
    if os.path.isdir(path):
        return _failed("remote file is a directory, fetch cannot work on directories")
    found = _whole(path)
    if found is None:
        message = f"the remote file does not exist: {path}"
        if truth(args.get("fail_on_missing", True)):
            return _failed(message)
        return {"changed": False, "msg": f"{message}, not transferring, ignored"}
    return {"changed": False, **found}


def _whole(path: str) -> Result | None:
    """Read a file as what crosses the wire; nothing if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        if not modes.S_ISREG(os.fstat(descriptor).st_mode):
            return _failed(f"{path} is no regular file")
        content = b""
        while len(content) <= _LARGEST and (piece := file.read(_PIECE)):  # what /proc has says that it is empty
            content += piece
    if len(content) > _LARGEST:
        return _failed(f"{path} is larger than {_LARGEST >> 20} MB")
    checksum = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return {"content": base64.b64encode(content).decode(), "checksum": checksum}


def slurp(args: Args, _terms: Terms) -> Result:
    """Give a file's content, encoded as base64."""
    path = os.path.expanduser(str(args["src"]))
    found = _whole(path)
    if found is None:
        return _failed(f"file not found: {path}")
    found.pop("checksum", None)
    return {"changed": False, "encoding": "base64", "source": path, **found}


def stat(args: Args, terms: Terms) -> Result:
    """Say what a path is."""
    path = os.path.expanduser(str(args["path"]))
    try:
        found = os.stat(path) if truth(args.get("follow", False)) else os.lstat(path)
    except FileNotFoundError:
        return {"changed": False, "stat": {"exists": False}}
    about: Result = {"exists": True, "path": path, **dict(_kinds(found.st_mode))}
    about.update(size=found.st_size, uid=found.st_uid, gid=found.st_gid, mode=f"{modes.S_IMODE(found.st_mode):04o}")
    about.update(pw_name=_name(pwd.getpwuid, found.st_uid), gr_name=_name(grp.getgrgid, found.st_gid))
    about.update(inode=found.st_ino, dev=found.st_dev, nlink=found.st_nlink)
    about.update(atime=found.st_atime, mtime=found.st_mtime, ctime=found.st_ctime)
    about.update(readable=os.access(path, os.R_OK), writeable=os.access(path, os.W_OK), executable=os.access(path, os.X_OK))
    if modes.S_ISLNK(found.st_mode):
        about.update(lnk_source=os.path.realpath(path), lnk_target=os.readlink(path))
    if modes.S_ISREG(found.st_mode) and about["readable"] and truth(args.get("get_checksum", True)):
        about["checksum"] = _digest(path, str(args.get("checksum_algorithm", "sha1")), terms.heed)
    return {"changed": False, "stat": about}


def _kinds(given: int) -> Iterator[tuple[str, bool]]:
    names = {"isreg": "S_ISREG", "isdir": "S_ISDIR", "islnk": "S_ISLNK", "issock": "S_ISSOCK", "isfifo": "S_ISFIFO"}
    for name, test in {**names, "isblk": "S_ISBLK", "ischr": "S_ISCHR"}.items():
        yield name, getattr(modes, test)(given)
