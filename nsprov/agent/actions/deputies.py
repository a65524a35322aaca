"""Do an action as another user: in a child that becomes that user for good, and gives the result through a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import signal
import time
from typing import TYPE_CHECKING, Any, NoReturn

from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    Result = dict[str, Any]

_LOOK_UP = 0.2
"""Seconds between two looks at whether the controller is still there."""

_GRACE = 4.0
"""Seconds that the child gets to end its commands, which it gives less."""


def find(user: str | None) -> pwd.struct_passwd | None:
    """Give who an action is to be done as, and nothing if that is who we are; an empty name is who logged in.

    Raises:
        InputError: there is no such user, or we may not be him.

    """
    if user is None or not (name := user or _login()):
        return None
    try:
        who = pwd.getpwnam(name)
    except KeyError:
        raise InputError(Diagnostic(f'the host has no user "{name}"', hint="correct `become_user`")) from None
    if who.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise InputError(Diagnostic(f'only root can become "{name}"', hint="say `become: true` too"))
    return who


def _login() -> str:
    """Give who logged in before root was become; sudo and doas say it, and with su it is who started that."""
    name = os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER")
    if name:
        return name
    pid, below_su = os.getppid(), False
    with contextlib.suppress(OSError, LookupError, ValueError):  # without a /proc that shows it, we are who we are
        while pid > 1:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
                about = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
            below_su = below_su or about["Name"] == "su"
            uid = int(about["Uid"].split()[0])
            if below_su and uid:
                return pwd.getpwuid(uid).pw_name
            pid = int(about["PPid"])
    return ""


def act(who: pwd.struct_passwd, action: Callable[[], Result], heed: Callable[[], None]) -> Result:
    """Have an action done by a user, and end it if `heed` raises."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _be(who, action, writer)
    os.close(writer)
    try:
        told = _listen(reader, heed)
    except BaseException:
        _end(child)
        raise
    finally:
        os.close(reader)
    _, status = os.waitpid(child, 0)
    if not told:
        return {"changed": False, "failed": True, "msg": f"what was done as {who.pw_name} ended without a result ({status})"}
    found: Result = json.loads(told)
    return found


def _listen(reader: int, heed: Callable[[], None]) -> bytes:
    told: list[bytes] = []
    while True:
        if select.select([reader], [], [], _LOOK_UP)[0]:
            data = os.read(reader, 1 << 20)
            if not data:
                return b"".join(told)
            told.append(data)
        else:
            heed()


def _end(child: int) -> None:
    """End the child, and before that, by it, what it has running."""
    deadline = time.monotonic() + _GRACE
    os.kill(child, signal.SIGTERM)
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.01)


def _be(who: pwd.struct_passwd, action: Callable[[], Result], writer: int) -> NoReturn:
    """Become the user, holding nothing that is root's, do it, and tell."""
    code = 1
    try:
        import subprocess  # noqa: F401, PLC0415 - while we can read it, wherever this Python is

        _let_go(writer)
        signal.signal(signal.SIGTERM, _leave)
        os.initgroups(who.pw_name, who.pw_gid)
        os.setgid(who.pw_gid)
        os.setuid(who.pw_uid)
        home = {"HOME": who.pw_dir, "SHELL": who.pw_shell or "/bin/sh"}
        os.environ.update(home, USER=who.pw_name, LOGNAME=who.pw_name)
        with open(writer, "wb") as pipe:
            pipe.write(json.dumps(action()).encode())
        code = 0
    finally:
        os._exit(code)


def _leave(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _let_go(writer: int) -> None:
    """Close all but stderr and one pipe: who holds the agent's channel keeps the controller waiting."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in (0, 1, 2, writer):
            with contextlib.suppress(OSError):  # that of the list itself
                os.close(int(name))
