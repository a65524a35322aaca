"""New terminals (pty(7)), made in a node from the node's own /dev/pts.

A program may put words into the mouth of whoever reads its terminal (TIOCSTI in ioctl_tty(2)). So what runs in a node
never gets the caller's own; and one of the host's would have no name in the node.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import termios

from nsprov.errors import Diagnostic, KernelError

_MULTIPLEXERS = ("/dev/pts/ptmx", "/dev/ptmx")
_MULTIPLEXER = os.makedev(5, 2)
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441


def make(rows: int, columns: int, uid: int) -> tuple[int, int]:
    """Make a terminal where we are and give the end that controls it and the terminal itself, which becomes that user's.

    Raises:
        KernelError: there is no /dev/pts here.

    """
    controller = _open()
    fcntl.ioctl(controller, _TIOCSPTLCK, struct.pack("i", 0))
    # By descriptor (Linux 4.13): what the name /dev/pts/N leads to is for the node to say.
    terminal = fcntl.ioctl(controller, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    resize(controller, rows, columns)
    if uid:
        os.fchown(terminal, uid, -1)
    return controller, terminal


def _open() -> int:
    for path in _MULTIPLEXERS:
        with contextlib.suppress(OSError):  # there is none, or only the other one is for everybody
            fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            about = os.fstat(fd)
            if stat.S_ISCHR(about.st_mode) and about.st_rdev == _MULTIPLEXER:
                return fd
            os.close(fd)
    hint = "mount devpts at /dev/pts in the node's root, or use no -t"
    raise KernelError(Diagnostic("the node has no terminals", "", "There is no /dev/pts/ptmx in it.", hint), errno.ENODEV)


def resize(fd: int, rows: int, columns: int) -> None:
    """Say how large the window is; what runs in it gets SIGWINCH if that is new."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def end_of_file(fd: int) -> bytes:
    """Give the key that ends the input of who reads a terminal by lines; nothing if nobody does now."""
    _, _, _, local, _, _, keys = termios.tcgetattr(fd)
    key = keys[termios.VEOF]
    return key if local & termios.ICANON and isinstance(key, bytes) else b""


def leave() -> bool:
    """Give up our controlling terminal, so that what we become cannot write into it; tell whether we have none now.

    A session's leader keeps it: giving it up would end what runs in the session.
    """
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        if os.getsid(0) == os.getpid():
            return False
        fcntl.ioctl(fd, termios.TIOCNOTTY)
    finally:
        os.close(fd)
    return True
