"""Where a lab lives on a host: its directory, the private mounts below it, and its lock.

/run/nsprov                 bound onto itself and private, so that nothing in it propagates
/run/nsprov/.pins/<name>/   what `ns pin` has pinned; no lab can have this name
/run/nsprov/<lab>.lock      held by flock(2) while a run works on the lab
/run/nsprov/<lab>/          a tmpfs: unmounting it is how a lab's files and pins go, all at once
  manifest.json           what was applied last
  journal.json            what a run is about to do; there only while it does, or after it was killed
  sysctl.json             what sysctls were before we set them
  files/<node>/<path>     rendered files
  etc/<netns>/            what /etc/netns/<netns> points to
  overlay/<node>/         upper and work directories of overlays in the node
  ctl/<node>.sock         how to talk to a node's init
  log/<node>/             what its workloads say
  ns/<node>/<type>        pins, on a mount of their own that nodes never see
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import stat
import time
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, KernelError, Locked
from nsprov.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN = "/run/nsprov"
PINS = f"{RUN}/.pins"
ETC_NETNS = "/etc/netns"
_MADE = ".made"
"""A link of this name leads to a directory (`/run/netns`, `/etc/netns`) that we made and that goes with the last lab."""


class Lab:
    """The paths of one lab on this host."""

    def __init__(self, name: str) -> None:
        """Derive the paths; nothing is created."""
        self.name = name
        self.root = f"{RUN}/{name}"
        self.lock = f"{RUN}/{name}.lock"
        self.pins = f"{self.root}/ns"
        self.files = f"{self.root}/files"
        self.etc = f"{self.root}/etc"
        self.overlays = f"{self.root}/overlay"
        self.controls = f"{self.root}/ctl"
        self.logs = f"{self.root}/log"

    def exists(self) -> bool:
        """Tell whether the lab's own file system is there."""
        return libc.is_mount(self.root)

    def open(self) -> None:
        """Make the lab's file system with its pin mount, unless it is there."""
        if not self.exists():
            os.makedirs(self.root, mode=0o711, exist_ok=True)
            libc.mount("nsprov", self.root, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=0711,size=25%,nr_inodes=0")
            libc.mount(None, self.root, None, libc.MS_PRIVATE)
        private, passable = (self.pins, self.controls, self.logs), (self.files, self.etc, self.overlays)
        for path, mode in (*((path, 0o700) for path in private), *((path, 0o711) for path in passable)):
            if not os.path.isdir(path):
                os.mkdir(path, mode)
        if not libc.is_mount(self.pins):
            libc.mount(self.pins, self.pins, None, libc.MS_BIND)
            libc.mount(None, self.pins, None, libc.MS_PRIVATE)

    def close(self) -> None:
        """Drop the lab's file system with every pin and file in it, and what leads into it."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(ETC_NETNS):
                if leads_below(f"{ETC_NETNS}/{name}", self.root):
                    os.unlink(f"{ETC_NETNS}/{name}")
        while libc.is_mount(self.root):
            libc.umount(self.root)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(self.root)

    def control(self, node: str) -> str:
        """Say where a node's init listens, or would."""
        return f"{self.controls}/{node}.sock"

    def controlled(self) -> list[str]:
        """Give the nodes that have had an init."""
        try:
            return [name[: -len(".sock")] for name in os.listdir(self.controls)]
        except FileNotFoundError:
            return []

    def log_directory(self, node: str, owner: tuple[int, int]) -> int:
        """Make the directory of a node's logs, for the root of the node, and give a descriptor of it."""
        path = f"{self.logs}/{node}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        about = os.fstat(fd)
        if (about.st_uid, about.st_gid) != owner:
            os.fchown(fd, *owner)
            for name in os.listdir(fd):  # what was said when the node had other ids
                os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)
        return fd

    def read(self, name: str) -> dict[str, object]:
        """Read one of the lab's own JSON files; an absent one is empty.

        Raises:
            KernelError: the file is not ours, or damaged: it is then not believed.

        """
        path = f"{self.root}/{name}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return {}
        with open(fd, encoding="utf-8") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                raise _distrust(path, "it is not a plain file")
            if about.st_uid != os.geteuid() or about.st_mode & 0o022 or about.st_nlink != 1:
                raise _distrust(path, "it is not owned by this user alone, or others may write it")
            try:
                content = json.load(file)
            except ValueError as problem:
                raise _distrust(path, str(problem)) from problem
        if not isinstance(content, dict):
            raise _distrust(path, "it is not a JSON object")
        return content

    def write(self, name: str, content: dict[str, object]) -> None:
        """Write one of the lab's own JSON files whole or not at all."""
        draft(f"{self.root}/{name}", content)
        accept(f"{self.root}/{name}")

    def forget(self, name: str) -> None:
        """Remove one of the lab's own JSON files; an absent one is forgotten already."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.root}/{name}")

    @contextlib.contextmanager
    def locked(self, holder: str, wait: Callable[[str], bool] = lambda _holder: False) -> Iterator[None]:
        """Hold the lab's lock; the kernel frees it when this process dies. What is made meanwhile, others may not write.

        `wait` is told who else holds it, takes its time, and tells whether to try again.

        Raises:
            Locked: another run holds it; the diagnostic says who and since when.

        """
        mask = os.umask(0o022)
        try:
            _open_run()
            try:
                fd = self._take(holder, wait)
            except BaseException:
                _close_run()
                raise
            try:
                yield
            finally:
                self._leave()
                os.close(fd)
        finally:
            os.umask(mask)

    def make_directory(self, path: str) -> None:
        """Make a directory that labs share with others, and remember that it is ours to remove."""
        make_shared(path)

    def _take(self, holder: str, wait: Callable[[str], bool]) -> int:
        while True:
            fd = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = os.read(fd, 4096).decode(errors="replace")
                os.close(fd)
                if wait(text):
                    continue
                raise _locked(self.name, text) from None
            # The holder unlinks the file when the lab is gone: a lock on an unlinked file protects nothing.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(self.lock).st_ino == os.fstat(fd).st_ino:
                    os.ftruncate(fd, 0)
                    since = time.strftime("%Y-%m-%d %H:%M:%S")
                    os.write(fd, f"{holder}, pid {os.getpid()} on {socket.gethostname()}, since {since}".encode())
                    return fd
            os.close(fd)

    def _leave(self) -> None:
        """Remove the lock file of a lab that is gone, and our directory after the last lab."""
        if libc.is_mount(self.root):
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.lock)
        _close_run()


def draft(path: str, content: dict[str, object]) -> None:
    """Write what a JSON file is to become, beside it."""
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(json.dumps(content, separators=(",", ":")))


def accept(path: str) -> None:
    """Put what was drafted last in the place of a JSON file."""
    os.rename(f"{path}.new", path)


def make_shared(path: str) -> None:
    """Make a directory that we share with others, and remember that it is ours to remove."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o755)
        os.symlink(path, f"{RUN}/{_MADE}{path.replace('/', '-')}")


def leads_below(link: str, top: str) -> bool:
    """Tell whether a path is a symbolic link to something below a directory."""
    try:
        return os.readlink(link).startswith(f"{top}/")
    except OSError:
        return False


@contextlib.contextmanager
def run_directory() -> Iterator[None]:
    """Have /run/nsprov for a moment, alone: it is made if need be, and goes when nothing is in it."""
    with _run_lock():
        _make_run()
        try:
            yield
        finally:
            _sweep_run()


def _open_run() -> None:
    with _run_lock():
        _make_run()


def _make_run() -> None:
    """Bind /run/nsprov onto itself, privately and once: a second bind would hide every pin (mount(2), MS_BIND)."""
    os.makedirs(RUN, mode=0o711, exist_ok=True)
    if not libc.is_mount(RUN):
        _forget_pins()
        libc.mount(RUN, RUN, None, libc.MS_BIND)
        libc.mount(None, RUN, None, libc.MS_PRIVATE)


def _forget_pins() -> None:
    """Remove the empty files of pins that a reboot has left, where /run is on a disk.

    Younger ones may be pins still, of another mount namespace: they would go with their files, whoever removes those.
    """
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    with contextlib.suppress(FileNotFoundError):
        if os.stat(PINS).st_mtime < booted:
            shutil.rmtree(PINS, ignore_errors=True)


def _close_run() -> None:
    with _run_lock():
        _sweep_run()


def _sweep_run() -> None:
    with contextlib.suppress(OSError):  # there is none, or something is pinned
        os.rmdir(PINS)
    entries = os.listdir(RUN)
    if all(entry.startswith(_MADE) for entry in entries):
        for entry in entries:
            _unmake(f"{RUN}/{entry}")
        while libc.is_mount(RUN):
            libc.umount(RUN)
        # Another run may have put its lock file there since we looked.
        with contextlib.suppress(OSError):
            os.rmdir(RUN)


def _unmake(link: str) -> None:
    """Remove a shared directory that we made, unless somebody else uses it by now."""
    path = os.readlink(link)
    os.unlink(link)
    with contextlib.suppress(OSError):  # it is gone, or not empty: then it is not ours alone
        if not os.listdir(path):
            while libc.is_mount(path):
                libc.umount(path)
            os.rmdir(path)


@contextlib.contextmanager
def _run_lock() -> Iterator[None]:
    """Serialise what labs share, on a file system that stays: the directory above ours."""
    fd = os.open(os.path.dirname(RUN), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def labs() -> list[str]:
    """Give the names of the labs that have a file system on this host."""
    try:
        names = sorted(os.listdir(RUN))
    except FileNotFoundError:
        return []
    return [name for name in names if libc.is_mount(f"{RUN}/{name}")]


def _locked(lab: str, holder: str) -> Locked:
    return Locked(
        Diagnostic(
            summary=f'lab "{lab}" is locked by another run',
            detail=f"Held by {holder}." if holder else "",
            hint="wait for it to end, or stop it; the lock dies with its holder",
        )
    )


def _distrust(path: str, why: str) -> KernelError:
    hint = "remove the file and run `nsprov down LAB`: what bears the lab's mark is found in the kernel"
    return KernelError(Diagnostic(summary=f'state file "{path}" is not trusted', detail=why, hint=hint), 0)
