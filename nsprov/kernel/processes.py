"""Run a command in a node: enter its namespaces in the right order and become the command."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import sys
import termios
from typing import TYPE_CHECKING, NoReturn

from nsprov.errors import Diagnostic, NothingMatched
from nsprov.kernel import libc
from nsprov.kernel.lab import ETC_NETNS
from nsprov.kernel.namespaces import TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NOT_EXECUTABLE, NOT_FOUND = 126, 127


def find(kernel: Kernel, node: str) -> None:
    """Make a node known to `kernel` by the marks on this host.

    Raises:
        NothingMatched: the lab has no such node here.

    """
    kernel.namespaces.names = kernel.discover()
    if node not in kernel.namespaces.names:
        known = ", ".join(sorted(kernel.namespaces.names)[:10]) or "none"
        hint = f"the lab's nodes on this host: {known}"
        raise NothingMatched(Diagnostic(f'lab "{kernel.lab.name}" has no node "{node}"', hint=hint))


def enter(kernel: Kernel, node: str) -> None:
    """Move this process into a node's namespaces for good; the mount namespace last, for the other pins are not in it."""
    here = os.getcwd()
    pins = {kind: kernel.namespaces.open(node, kind) for kind in TYPES}
    for kind in ("net", "uts", "mnt"):
        fd = pins[kind]
        if fd is not None:
            libc.setns(fd, TYPES[kind])
    if pins["mnt"] is None:
        _dress(kernel.namespaces.names[node])
    # setns(2) leaves a process at the root of the mount namespace; the same path is the same place where it exists.
    try:
        os.chdir(here)
    except OSError:
        os.chdir("/")


def _dress(netns: str) -> None:
    """Give a node without a mount namespace of its own what `ip netns exec` gives it (ip-netns(8))."""
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount(None, "/", None, libc.MS_SLAVE | libc.MS_REC)
    with contextlib.suppress(OSError):  # there is nothing at /sys to replace
        libc.umount("/sys")
    libc.mount("sysfs", "/sys", "sysfs", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    directory = f"{ETC_NETNS}/{netns}"
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            with contextlib.suppress(OSError):  # as ip does: what has no counterpart in /etc is not shown
                libc.mount(f"{directory}/{name}", f"/etc/{name}", None, libc.MS_BIND)


def become(argv: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Become the command; exit 127 if there is none of that name, 126 if it cannot be run."""
    sys.stdout.flush()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)  # what Python or the agent ignores, a command must not inherit ignored
    os.closerange(3, 1 << 20)
    try:
        os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606 - without a shell is how it has to be
    except OSError as problem:
        os.write(2, f'error: cannot run "{argv[0]}": {problem.strerror}\n'.encode(errors="replace"))
        os._exit(NOT_FOUND if problem.errno == errno.ENOENT else NOT_EXECUTABLE)


def on_terminal(argv: Sequence[str], environment: Mapping[str, str], rows: int, columns: int) -> int:
    """Run the command on a new terminal joined to fds 0 and 1, in the namespaces entered; give its exit code."""
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(terminal, fd)
        become(argv, environment)
    os.close(terminal)
    _relay(controller)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _relay(controller: int) -> None:
    """Copy between fds 0 and 1 and a terminal until its last holder is gone, which reads as EIO."""
    sources = [0, controller]
    while True:
        for fd in select.select(sources, [], [])[0]:
            try:
                data = os.read(fd, 1 << 16)
            except OSError:
                return
            if fd == controller:
                if not data:
                    return
                os.write(1, data)
            elif data:
                os.write(controller, data)
            else:
                sources.remove(0)
