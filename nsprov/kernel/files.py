"""Write and read the lab's rendered files and the sysctls of its nodes."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, NamedTuple

from nsprov.kernel.lab import ETC_NETNS, leads_below

if TYPE_CHECKING:
    from nsprov.kernel.lab import Lab
    from nsprov.kernel.namespaces import Namespaces

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


class Read(NamedTuple):
    """What a file is."""

    content: str
    mode: int
    uid: int
    gid: int


class Files:
    """The files of one lab, kept below its own file system and bound into nodes from there."""

    def __init__(self, lab: Lab, namespaces: Namespaces) -> None:
        """Store what is acted on."""
        self._lab = lab
        self._namespaces = namespaces

    def write(self, name: str, content: str, mode: int, owner: tuple[int, int] = (0, 0)) -> None:
        """Write a file in place: a bind mount shows the inode, and a renamed-over source would not be seen."""
        path = f"{self._lab.files}/{name}"
        try:
            fd = os.open(path, _CREATE, 0o600)
        except OSError:
            _clear(self._lab.files, name)
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            fd = os.open(path, _CREATE, 0o600)
        try:
            os.write(fd, content.encode())
            about = os.fstat(fd)
            if (about.st_uid, about.st_gid) != owner:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)

    def read(self, name: str) -> Read | None:
        """Read a file's content, mode and owner; `None` if there is none, or something else in its place."""
        try:
            fd = os.open(f"{self._lab.files}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            os.close(fd)
            return None
        with open(fd, "rb") as file:
            return Read(file.read().decode(errors="replace"), about.st_mode & 0o7777, about.st_uid, about.st_gid)

    def remove(self, name: str) -> None:
        """Remove a file and the directories that it leaves empty; an absent one is removed already."""
        path = f"{self._lab.files}/{name}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.suppress(OSError):  # not empty: another file of the node is there
            os.removedirs(os.path.dirname(path))

    def names(self) -> list[str]:
        """Give the names of all files there are."""
        found: list[str] = []
        for directory, _, files in os.walk(self._lab.files):
            inside = os.path.relpath(directory, self._lab.files)
            found.extend(f"{inside}/{file}" for file in files)
        return found

    def link_etc(self, netns: str, entries: dict[str, str]) -> None:
        """Give `ip netns exec` the node's files: /etc/netns/NAME leads to links to them (ip-netns(8))."""
        directory = f"{self._lab.etc}/{netns}"
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:
            shutil.rmtree(directory, ignore_errors=True)
            os.mkdir(directory, 0o755)
        for name, source in entries.items():
            os.symlink(f"{self._lab.files}/{source}", f"{directory}/{name}")
        if not self.etc_is_ours(netns):
            os.symlink(directory, f"{ETC_NETNS}/{netns}")

    def unlink_etc(self, netns: str) -> None:
        """Remove what `link_etc` made."""
        if self.etc_is_ours(netns):
            os.unlink(f"{ETC_NETNS}/{netns}")
        shutil.rmtree(f"{self._lab.etc}/{netns}", ignore_errors=True)

    def etc_is_ours(self, netns: str) -> bool:
        """Tell whether /etc/netns/NAME is a link into this lab."""
        return leads_below(f"{ETC_NETNS}/{netns}", self._lab.root)

    def etc_exists(self, netns: str) -> bool:
        """Tell whether there is anything at /etc/netns/NAME."""
        return os.path.lexists(f"{ETC_NETNS}/{netns}")

    def etc_entries(self, netns: str) -> frozenset[str]:
        """Give the names in /etc/netns/NAME, if that is ours; where the links in it lead is nobody's to change."""
        if not self.etc_is_ours(netns):
            return frozenset()
        try:
            return frozenset(os.listdir(f"{self._lab.etc}/{netns}"))
        except OSError:
            return frozenset()

    def etc_source(self, netns: str, name: str) -> str:
        """Give the lab's file that an entry leads to; "?" for one that somebody has put there and that is no link."""
        try:
            return os.readlink(f"{self._lab.etc}/{netns}/{name}").removeprefix(f"{self._lab.files}/")
        except OSError:
            return "?"

    def read_sysctl(self, node: str, key: str) -> str | None:
        """Read a sysctl as seen in a node; `None` if that kernel has none of that name."""
        self._namespaces.enter_net(node)
        try:
            with open(sysctl_path(key), encoding="utf-8") as file:
                return " ".join(file.read().split())
        except FileNotFoundError:
            return None

    def write_sysctl(self, node: str, key: str, value: str) -> None:
        """Write a sysctl in a node; OSError if the kernel has none of that name or refuses the value."""
        self._namespaces.enter_net(node)
        fd = os.open(sysctl_path(key), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)


def _clear(top: str, name: str) -> None:
    """Remove what stands in the place of a file of ours, or of a directory on its way: a link, a directory, a file."""
    path = f"{top}/{name}"
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    while path != top:
        if os.path.islink(path) or os.path.isfile(path):
            os.unlink(path)
        path = os.path.dirname(path)


def sysctl_path(key: str) -> str:
    """Give the path of a sysctl: dots separate, and a dot in a device's name is written as a slash (sysctl(8))."""
    return "/proc/sys/" + key.translate(str.maketrans("./", "/."))
