"""Pin the namespaces of a process under a name, so that they outlive it, and give them up again.

A network goes to /run/netns/NAME, where `ip netns` knows it; the rest to /run/nsprov/.pins/NAME/TYPE, which is on a
private mount, because a mount namespace can be pinned on no other (mount_namespaces(7)).
What is in .pins is what is ours; of a network a file there says which one it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import TYPE_CHECKING

from nsprov.errors import Conflict, Diagnostic, InputError, KernelError, NothingMatched
from nsprov.kernel import libc
from nsprov.kernel.lab import PINS, make_shared, run_directory
from nsprov.kernel.namespaces import NETNS, TYPES, open_pin, share_netns_directory, stale, unpin_stale
from nsprov.kernel.namespaces import unpin as detach

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_RECORD = 128


def checked(name: str) -> str:
    """Give the name if it is one: it becomes part of paths, and a number would be a PID.

    Raises:
        InputError: it is none.

    """
    if not _NAME.fullmatch(name):
        hint = "begin with a letter, and use letters, digits, dots, - and _ only, 64 at most"
        raise InputError(Diagnostic(f'"{name}" is no name for a pin', hint=hint))
    return name


def names() -> list[str]:
    """Give the names under which something is pinned."""
    try:
        return sorted(name for name in os.listdir(PINS) if pinned(name))
    except FileNotFoundError:
        return []


def pinned(name: str) -> dict[str, str]:
    """Give what was pinned under a name: type to path; nothing if there is no such name."""
    if not _NAME.fullmatch(name):
        return {}
    return {kind: _path(name, kind) for kind in TYPES if os.path.lexists(_ours(name, kind))}


def open_pinned(name: str) -> dict[str, int | None]:
    """Open what was pinned under a name, `None` for what is not there any more; the caller closes them."""
    return {kind: _open(name, kind) for kind in pinned(name)}


def pin(namespaces: Mapping[str, int], name: str) -> dict[str, str]:
    """Pin the namespaces behind descriptors under a name, all or none, and give the paths.

    Raises:
        Conflict: the name is taken.
        KernelError: the kernel refuses; nothing is pinned then.

    """
    checked(name)
    with run_directory(), contextlib.ExitStack() as undo:
        for kind in namespaces:
            _must_be_vacant(name, kind)
        for directory in (PINS, f"{PINS}/{name}"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o700)
        undo.callback(_leave, name)
        for kind, fd in namespaces.items():
            undo.callback(_remove, name, kind)
            try:
                _bind(fd, name, kind)
            except OSError as problem:
                raise _refused(name, kind, problem) from problem
        undo.pop_all()
        return {kind: _path(name, kind) for kind in namespaces}


def unpin(name: str, kinds: Iterable[str] = ()) -> dict[str, str]:
    """Give up what `pin` has pinned under a name, all of it or some types, and say where it was.

    Raises:
        NothingMatched: nothing of the kind is pinned under that name.
        Conflict: a network of that name is not the one that was pinned; it is left alone.

    """
    with run_directory():
        have = pinned(name)
        chosen = list(kinds) or list(have)
        missing = [kind for kind in chosen if kind not in have]
        if missing or not have:
            raise _nothing(name, missing)
        for kind in chosen:
            _remove(name, kind)
        _leave(name)
    if "net" in chosen and os.path.lexists(have["net"]):
        detail = "What was pinned there has been deleted, and this is another one of that name; it is left alone."
        hint = f"`ip netns delete {name}` deletes it"
        raise Conflict(Diagnostic(f'"{have["net"]}" is not ours', have["net"], detail, hint))
    return {kind: have[kind] for kind in chosen}


def _ours(name: str, kind: str) -> str:
    return f"{PINS}/{name}/{kind}"


def _path(name: str, kind: str) -> str:
    return f"{NETNS}/{name}" if kind == "net" else _ours(name, kind)


def _open(name: str, kind: str) -> int | None:
    """Open a pin of ours; `None` if it is not there, or a network that is another than we have pinned."""
    fd = open_pin(_path(name, kind), kind)
    if fd is None or kind != "net" or _recorded(name) == _identity(fd):
        return fd
    os.close(fd)
    return None


def _recorded(name: str) -> bytes:
    try:
        fd = os.open(_ours(name, "net"), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    with open(fd, "rb") as file:
        return file.read(_RECORD)


def _identity(fd: int) -> bytes:
    """Tell a namespace from others of this boot: its number is never used again, its inode number is, at once."""
    return f"{os.fstat(fd).st_ino} {libc.namespace_id(fd)}\n".encode()


def _must_be_vacant(name: str, kind: str) -> None:
    path = _path(name, kind)
    hint = f"use another name, or give that one up: `nsprov ns unpin {name} --type {kind}`"
    found = _open(name, kind)
    if found is not None:
        os.close(found)
        raise Conflict(Diagnostic(f'"{name}" has a pin of the type "{kind}" already', path, hint=hint))
    if kind == "net" and os.path.lexists(path) and not stale(path):
        raise Conflict(Diagnostic(f'a network namespace "{name}" exists', path, "It is not ours.", "use another name"))


def _bind(fd: int, name: str, kind: str) -> None:
    """Bind a namespace to its place, on a file of its own: what lies there is left from something that is gone."""
    _remove(name, kind)
    mode = 0o600
    if kind == "net":
        make_shared(NETNS)
        share_netns_directory()
        _write(_ours(name, kind), _identity(fd))
        mode = 0  # as `ip netns add` does
    os.close(os.open(_path(name, kind), os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    libc.mount(f"/proc/self/fd/{fd}", _path(name, kind), None, libc.MS_BIND)


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(content)


def _remove(name: str, kind: str) -> None:
    """Detach a pin and unlink its file; a network that we have not pinned stays."""
    if kind == "net":
        found = _open(name, kind)
        if found is not None:
            os.close(found)
            detach(_path(name, kind))
        unpin_stale(name)
    detach(_ours(name, kind))


def _leave(name: str) -> None:
    """Remove the directory of a name that has no pins any more."""
    with contextlib.suppress(OSError):  # it has some
        os.rmdir(f"{PINS}/{name}")


def _nothing(name: str, missing: Iterable[str]) -> NothingMatched:
    what = " and ".join(f'"{kind}"' for kind in missing)
    detail = f"It has no pin of the type {what}." if what else ""
    hint = f"what is pinned: {', '.join(names()) or 'nothing'}"
    return NothingMatched(Diagnostic(f'"{name}" was not pinned by `ns pin`', detail=detail, hint=hint))


def _refused(name: str, kind: str, problem: OSError) -> KernelError:
    detail, hint = f"{problem.strerror}.", ""
    if kind == "mnt" and problem.errno == errno.EINVAL:
        # mnt_ns_loop() in fs/namespace.c compares numbers, which Linux 6.18 hands out in batches per CPU.
        detail = "It must be younger than the one that we are in, or the two could keep each other alive for ever."
        hint = "name the other types with --type, or pin a process that starts later, on another CPU (taskset)"
    summary = f'the kernel refused to pin the "{kind}" namespace'
    return KernelError(Diagnostic(summary, _path(name, kind), detail, hint), problem.errno or 0)
