"""Run a command on a terminal of its own, while its input and output stay the pipes that they are.

For a sudo with `requiretty`, and for doas, which asks on /dev/tty. Like `boot`, this file's text is an argument of the
host's Python (see `nsprov.transport.become`), and it runs there before anybody is root.
The terminal is in raw mode and echoes nothing. What is written to it goes to stderr; if it ends with a colon, that is a
question, and the next line of stdin is the answer, once.
"""

from __future__ import annotations

import fcntl
import os
import pty
import termios
import threading
import tty


def main(command: str, asks: str) -> None:
    """Run the command, which answers the terminal's question from stdin if `asks` is not empty; exit as it does."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        os.execv("/bin/sh", ["/bin/sh", "-c", command])  # noqa: S606 - as sshd does, and without a shell it would be no different
    threading.Thread(target=listen, args=(ours, bool(asks)), daemon=True).start()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


def listen(terminal: int, asks: bool) -> None:  # noqa: FBT001 - a thread's arguments go by position
    """Pass on what the terminal shows, and answer its first question."""
    while True:
        said = os.read(terminal, 4096)
        os.write(2, said.replace(b"\r", b""))
        if asks and said.rstrip().endswith(b":"):
            asks = False
            answer = b""
            while not answer.endswith(b"\n"):
                more = os.read(0, 1)
                if not more:
                    return
                answer += more
            os.write(terminal, answer)
