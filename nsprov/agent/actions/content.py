"""`copy`, of files and trees; `template` is a copy of what was rendered.

A file is written beside its place and renamed into it: whoever reads it meanwhile sees the old one or the new one, whole.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import io
import os
import shlex
import shutil
import stat as modes
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any

from nsprov.agent.actions import attributes
from nsprov.agent.actions.looks import about
from nsprov.agent.actions.terms import truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.agent.actions.terms import Terms

    Args = Mapping[str, Any]
    Result = dict[str, Any]

_SHOWN = 100 << 10
"""How large a file may be that a diff shows."""

_PIECE = 1 << 20
_NEW = 0o666
_CONTEXT = "security.selinux"


def copy(args: Args, terms: Terms) -> Result:
    """Make a file, or all files of a tree, what they are to be: content, mode, owner."""
    dest = os.path.expanduser(str(args["dest"]))
    if "tree" in args:
        return _copy_tree(args, dest, terms)
    if "content" in args:
        return _copy(args, io.BytesIO(base64.b64decode(args["content"])), dest, terms)
    path = os.path.expanduser(str(args["src"]))
    if not os.path.isfile(path):
        return _failed(f"Source {path} not found" if not os.path.exists(path) else f"Source {path} is no regular file")
    with open(path, "rb") as source:
        if args.get("mode") == "preserve":
            args = {**args, "mode": modes.S_IMODE(os.fstat(source.fileno()).st_mode)}
        return _copy(args, source, dest, terms)


def _copy(args: Args, source: IO[bytes], dest: str, terms: Terms) -> Result:
    name = str(args.get("name") or os.path.basename(str(args.get("src", ""))))
    made = False
    if os.path.isdir(dest) and not name:
        return _failed("can not use content with a dir as dest")
    if os.path.isdir(dest) or (dest.endswith("/") and name):
        made = _folder(dest, args, terms)
        dest = os.path.join(dest, name)
    parent = os.path.dirname(dest) or "."
    if not os.path.isdir(parent) and not (terms.check and made):
        return _failed(f"Destination directory {parent} does not exist")
    return _place(dest, source, args, terms)


def _folder(path: str, args: Args, terms: Terms) -> bool:
    """Make a folder with those above it, unless it is there, and tell whether there was a need."""
    if os.path.isdir(path):
        return False
    above = os.path.dirname(path.rstrip("/"))
    if above:
        _folder(above, args, terms)
    if not terms.check:
        os.mkdir(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            attributes.settle(descriptor, {**args, "mode": args.get("directory_mode")})
        finally:
            os.close(descriptor)
    return True


def _copy_tree(args: Args, dest: str, terms: Terms) -> Result:
    root = os.path.join(dest, str(args.get("name", "")))
    changed = _folder(root, args, terms)
    diffs = []
    for row in args["tree"]:
        path = os.path.join(root, row["path"])
        if "content" in row:
            own = {**args, "mode": row["mode"] if args.get("mode") == "preserve" else args.get("mode")}
            result = _place(path, io.BytesIO(base64.b64decode(row["content"])), own, terms)
            if result.get("failed"):
                return result
            changed |= result["changed"]
            diffs += [result["diff"]] if "diff" in result else []
        else:
            changed |= _folder(path, args, terms)
    return {"changed": changed, "dest": dest, **({"diff": diffs} if diffs else {})}


def _place(dest: str, source: IO[bytes], args: Args, terms: Terms) -> Result:
    """Make one file what it is to be. A link in its place gives way to it, unless it is to be followed."""
    if truth(args.get("follow", False)):
        dest = os.path.realpath(dest)
    with contextlib.ExitStack() as stack:
        before = _opened(dest)
        if before is not None:
            stack.enter_context(before)
            if not modes.S_ISREG(os.fstat(before.fileno()).st_mode):
                return _failed(f"{dest} is there and is no regular file")
        try:
            result = _settled(dest, source, before, args, terms)
        except LookupError as problem:
            return _failed(str(problem.args[0]))
        return {**result, **({} if result.get("failed") else about(dest))}


def _settled(dest: str, source: IO[bytes], before: IO[bytes] | None, args: Args, terms: Terms) -> Result:
    stays = os.path.lexists(dest) and not truth(args.get("force", True))
    differs = not stays and not (before is not None and _same(before, source))
    result: Result = {"changed": differs, "dest": dest}
    if before is not None:
        result["changed"] |= attributes.settle(before.fileno(), args, check=terms.check or differs)
    if not differs:
        return result
    if terms.diff:
        result["diff"] = _difference(dest, before, source)
    if terms.check:
        return result
    problem = _invalid(source, str(args["validate"]), terms) if args.get("validate") else ""
    if problem:
        return _failed(problem)
    if before is not None and truth(args.get("backup", False)):
        result["backup_file"] = _backed_up(dest, before)
    _write(dest, source, args, before)
    return result


def _opened(path: str) -> IO[bytes] | None:
    """Open what is at a path, whatever it is, without waiting; nothing if nothing is, or a link."""
    try:
        return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        return None
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            return None
        raise


def _same(one: IO[bytes], other: IO[bytes]) -> bool:
    """Compare two files."""
    one.seek(0)
    other.seek(0)
    while True:
        piece = one.read(_PIECE)
        if piece != other.read(_PIECE):
            return False
        if not piece:
            return True


def _backed_up(dest: str, before: IO[bytes]) -> str:
    """Write what is there into a new file beside it, with the same owner and mode, and give its name."""
    path = f"{dest}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S~')}"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        before.seek(0)
        shutil.copyfileobj(before, file, _PIECE)
        _inherit(file.fileno(), before)
    return path


def _write(dest: str, source: IO[bytes], args: Args, before: IO[bytes] | None) -> None:
    """Replace a file; it keeps its owner and mode, and a new one has the usual ones, unless the arguments say more.

    All is done to the open file: its folder may be somebody's who would put a link in its place meanwhile.
    """
    descriptor, path = tempfile.mkstemp(prefix=".nsprov-", dir=os.path.dirname(dest) or ".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            source.seek(0)
            shutil.copyfileobj(source, file, _PIECE)
            file.flush()
            _inherit(descriptor, before)
            attributes.settle(descriptor, args)
            os.fsync(descriptor)
        os.replace(path, dest)
    except BaseException:
        with contextlib.suppress(OSError):  # the file system is gone, or has become read-only
            os.unlink(path)
        raise


def _inherit(descriptor: int, before: IO[bytes] | None) -> None:
    """Give a new file what the old one has."""
    if before is None:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(descriptor, _NEW & ~mask)
        return
    old = os.fstat(before.fileno())
    with contextlib.suppress(PermissionError):  # who is not root may replace a file of another, as its folder is his
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, modes.S_IMODE(old.st_mode))
    with contextlib.suppress(OSError):  # SELinux is not on here
        os.setxattr(descriptor, _CONTEXT, os.getxattr(before.fileno(), _CONTEXT))


def _invalid(source: IO[bytes], command: str, terms: Terms) -> str:
    """Have a command look at the content before it is in its place; give why it is refused."""
    if "%s" not in command:
        return f"validate must contain %s: {command}"
    with tempfile.NamedTemporaryFile(prefix="nsprov-") as file:
        source.seek(0)
        shutil.copyfileobj(source, file, _PIECE)
        file.flush()
        ran = terms.run([word.replace("%s", file.name) for word in shlex.split(command)])
    return f"failed to validate: rc:{ran.code} error:{ran.err or ran.out}" if ran.code else ""


def _difference(dest: str, before: IO[bytes] | None, after: IO[bytes]) -> Result:
    return {
        "before_header": dest,
        "after_header": dest,
        "before": "" if before is None else _shown(before),
        "after": _shown(after),
    }


def _shown(file: IO[bytes]) -> str:
    file.seek(0)
    content = file.read(_SHOWN + 1)
    if len(content) > _SHOWN:
        return f"(more than {_SHOWN >> 10} KB: too much to show)\n"
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"({len(content)} bytes that are no text)\n"


def _failed(message: str) -> Result:
    return {"changed": False, "failed": True, "msg": message}
