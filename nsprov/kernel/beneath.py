"""The places in a node's view where something is mounted: found and made by descriptor, never outside of the view.

What a view is made of may be somebody else's: a directory of a user, or files that the node itself can change. There a
symbolic link may lead to the host's files, and a directory may become one while we look (CVE-2021-30465, CVE-2019-19921).
So a path is walked once, name by name, no link is followed, and what was found is held by its descriptor and mounted over
as that. Nothing is made but on file systems that are the node's own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, KernelError
from nsprov.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_STAY = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS | libc.RESOLVE_NO_MAGICLINKS | libc.RESOLVE_NO_XDEV


class Beneath:
    """The tree below `root`, a descriptor; `own` are the devices of the file systems in it that are the node's own."""

    def __init__(self, node: str, root: int, own: set[int], owner: tuple[int, int] = (0, 0)) -> None:
        """Store what is worked on; `owner` are the ids that get what is made."""
        self.root = root
        self.own = own
        self._node = node
        self._owner = owner

    def fresh(self, kind: str, path: str, options: dict[str, str], attributes: int) -> None:
        """Make a file system and mount it."""
        mount = libc.detached_mount(kind, f"nsprov-{self._node}", options, attributes)
        try:
            if kind == "tmpfs":
                self.own.add(os.stat(mount).st_dev)
            self.attach(mount, path)
        finally:
            os.close(mount)

    def attach(self, mount: int, path: str, *, follow: bool = False) -> None:
        """Attach a detached mount at a path; KernelError in words if nothing can be mounted there."""
        directory = stat.S_ISDIR(os.stat(mount).st_mode)
        names(self._node, path)
        place = self._followed(path, directory=directory) if follow else None
        if place is None:
            place = self.place(path, directory=directory)
        try:
            libc.attach(mount, place)
        finally:
            os.close(place)

    def holds(self, path: str) -> bool:
        """Tell whether there is a directory at a path, no link among the names that lead there."""
        try:
            fd = libc.open_beneath(self.root, path, _LOOK | os.O_DIRECTORY, libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_SYMLINKS)
        except OSError:
            return False
        os.close(fd)
        return True

    def place(self, path: str, *, directory: bool) -> int:
        """Find, or make where that is allowed, what is to be mounted over, and give a descriptor of it."""
        way = names(self._node, path)
        here = os.dup(self.root)
        for depth, name in enumerate(way, 1):
            try:
                found = self._step(here, name, "/" + "/".join(way[:depth]), directory=directory or depth < len(way))
            finally:
                os.close(here)
            here = found
        return here

    def _followed(self, path: str, *, directory: bool) -> int | None:
        """Find what is at a path, following links as far as they stay in the view; `None` if there is no such thing."""
        resolve = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
        try:
            fd = libc.open_beneath(self.root, path, os.O_PATH, resolve)
        except OSError:
            return None
        if stat.S_ISDIR(os.fstat(fd).st_mode) == directory:
            return fd
        os.close(fd)
        return None

    def _step(self, parent: int, name: str, path: str, *, directory: bool) -> int:
        """Go down by one name, which is made if it is missing and may be made; it is looked at again after that."""
        for made in (False, True):
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(name, _LOOK, dir_fd=parent)
                mode = os.fstat(fd).st_mode
                if _fits(mode, directory=directory):
                    return fd
                os.close(fd)
                if not stat.S_ISLNK(mode) or directory or os.fstat(parent).st_dev not in self.own:
                    raise self._unfit(path, mode, directory=directory)
                # A link in the node's own copy, such as /etc/resolv.conf often is: the node gets a file instead.
                os.unlink(name, dir_fd=parent)
            if not made:
                self._make(parent, name, path, directory=directory)
        raise refused(self._node, f'"{path}" changes while something is to be mounted there', "Somebody else works on it.", "")

    def _make(self, parent: int, name: str, path: str, *, directory: bool) -> None:
        if os.fstat(parent).st_dev not in self.own:
            what = "directory" if directory else "file"
            detail = f"Something is to be mounted there, and the {what} is not made where it may be made in your files."
            hint = f"make an empty {what}, or use `writable: overlay`, or see what else is mounted there"
            raise refused(self._node, f'the node has no {what} "{path}"', detail, hint)
        mask = os.umask(0o022)  # ours may be any; these are places that everybody in the node has to pass
        try:
            with contextlib.suppress(FileExistsError):
                if directory:
                    os.mkdir(name, 0o755, dir_fd=parent)
                else:
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                    os.close(os.open(name, flags, 0o644, dir_fd=parent))
                os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, path) from problem
        finally:
            os.umask(mask)

    def _unfit(self, path: str, mode: int, *, directory: bool) -> KernelError:
        if stat.S_ISLNK(mode):
            detail = "Where it leads could be outside of the node, so it is not followed."
            hint = "use the path that it leads to, or make it no link"
            return refused(self._node, f'"{path}" is a symbolic link', detail, hint)
        wanted = "a directory" if directory else "a file"
        detail = f"Only {wanted} can have this mounted over it."
        return refused(self._node, f'"{path}" is not {wanted}', detail, "use another target")


def refused(node: str, summary: str, detail: str, hint: str = "", code: int = errno.EINVAL) -> KernelError:
    """Say what cannot be done for a node's view."""
    return KernelError(Diagnostic(summary, f"mntns:{node}", detail, hint), code)


def names(node: str, path: str) -> list[str]:
    """Split a path into the names on the way; KernelError for one that could lead elsewhere."""
    top, *way = path.split("/")
    if top or not way or any(name in ("", ".", "..") for name in way):
        raise refused(node, f'"{path}" is no path to mount at', "It must begin with a slash and be written plainly.")
    return way


def _fits(mode: int, *, directory: bool) -> bool:
    return stat.S_ISDIR(mode) if directory else stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def clear(top: str) -> None:
    """Remove a directory with what is in it; what is mounted in it is not entered, and stays, and so does what holds it.

    Processes that live on in a node can still change what is below: each directory is opened from the top anew, by names
    that lead through no link and over no mount.
    """
    try:
        root = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        found = list(_emptied(root))
        for path in reversed(found):
            with contextlib.suppress(OSError):  # it is not empty: something is mounted there, or was put there meanwhile
                parent = libc.open_beneath(root, os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY, _STAY)
                try:
                    os.rmdir(os.path.basename(path), dir_fd=parent)
                finally:
                    os.close(parent)
    finally:
        os.close(root)
    with contextlib.suppress(OSError):  # as above
        os.rmdir(top)


def _emptied(root: int) -> Iterator[str]:
    """Unlink all that is no directory, and give the directories, from the top down."""
    waiting = ["."]
    while waiting:
        path = waiting.pop()
        with contextlib.suppress(OSError):  # it is gone, or a mount, or deeper than a path can say: then it stays
            fd = libc.open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, _STAY)
            try:
                inner = _unlinked(fd)
            finally:
                os.close(fd)
            below = [os.path.normpath(f"{path}/{name}") for name in inner]
            waiting.extend(below)
            yield from below


def _unlinked(directory: int) -> list[str]:
    """Unlink what is no directory in a directory, and give the names of what is."""
    names = []
    with os.scandir(directory) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in listed:
        if is_directory:
            names.append(name)
        else:
            with contextlib.suppress(OSError):  # a file that is mounted over is busy, and stays
                os.unlink(name, dir_fd=directory)
    return names
