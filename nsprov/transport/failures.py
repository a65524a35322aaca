"""What a host that could not be entered has said, in our words and with what to do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nsprov.errors import Diagnostic, Unreachable
from nsprov.transport import boot

if TYPE_CHECKING:
    from nsprov.transport.become import Become

LINES = 10
"""How many of a host's last words a diagnostic quotes."""

_WIDTH = 200  # characters at both ends of a long line that are shown: sudo quotes the whole command that it refuses


class NeedsTerminal(Unreachable):
    """The host would let us become root from a terminal only, so one may be made and tried again."""


class _Saying(NamedTuple):
    """A pattern of what a host says, what it means, and what to do; `{}` is the program that makes one root."""

    pattern: str
    summary: str
    hint: str


_ASKS = _Saying(
    r"(?i)a password is required|a terminal is required to (read|authenticate)|(authentication|authorization) (is )?required",
    "{} asks for a password",
    "give it with --ask-become-pass (-K) or --become-password-file, or let the host ask for none (NOPASSWD, nopass)",
)
_WRONG = _Saying(
    r"(?i)incorrect password attempt|Sorry, try again|Authentication fail(ed|ure)|maximum \d+ incorrect",
    "{} did not accept the password",
    "check the password given with --ask-become-pass (-K) or in the inventory; su wants that of root",
)
_TERMINAL = _Saying(
    r"must have a tty to run sudo|must be run from a terminal|a tty is required",
    "{} on the host wants a terminal",
    'put "Defaults:USER !requiretty" into the host\'s sudoers for this user, or use another become method',
)

# what sudo (1.8, 1.9, sudo-rs), su, doas and the shell say under LC_ALL=C
_SAYINGS = (
    _TERMINAL,
    _ASKS,
    _Saying(
        r"is not in the sudoers file|may not run sudo|I'm sorry .* I can't do that|not in the sudoers",
        "the user is not in the host's sudoers",
        "add the user to the host's sudoers, or connect as root",
    ),
    _Saying(
        r"not allowed to (execute|run)",
        "the user may run only some commands as root",
        "allow all commands (ALL) to this user in the host's sudoers, or connect as root",
    ),
    _Saying(
        r"doas: Operation not permitted",
        "doas does not allow it",
        'put "permit USER as root" into the host\'s /etc/doas.conf, without a cmd',
    ),
    _Saying(
        r"doas is not enabled",
        "doas has no configuration on the host",
        'put "permit USER as root" into the host\'s /etc/doas.conf',
    ),
    _Saying(
        r"su: Permission denied|su: (Account|User account has) expired",
        "su does not allow it",
        "see pam_wheel in the host's /etc/pam.d/su, or use sudo",
    ),
    _WRONG,
    _Saying(
        r"(sudo|doas|su)\W{0,4}:? (command )?not found|\b(sudo|doas|su)\W{0,3}: No such file",
        "there is no {} on the host",
        "install it, name another --become-method, or connect as root and leave --become out",
    ),
    _Saying(
        r"effective uid is not 0|no new privileges|must be owned by uid 0|not installed setuid|must be suid|cannot set groups",
        "{} cannot work on the host",
        "its file must be setuid root, on a file system that is not nosuid",
    ),
    _Saying(
        r"This account is currently not available|/nologin",
        "the user has no shell on the host",
        "connect as a user whose shell runs commands",
    ),
    _Saying(
        r"(?i)password (has )?expired|You are required to change your password|change your password now",
        "the user's password on the host has expired",
        "log in by hand once and change it",
    ),
    _Saying(
        r"the agent arrived damaged",
        "the agent arrived damaged",
        "try again; if it happens again, something between the hosts changes bytes",
    ),
    _Saying(
        r"No space left on device|Cannot allocate memory|MemoryError",
        "the host has no room left",
        "free some space or memory on the host",
    ),
)


def explain(host: str, code: int | None, text: str, become: Become | None = None) -> Unreachable:
    """Say why the command on the host ended before the agent spoke."""
    for saying in _SAYINGS:
        if re.search(saying.pattern, text):
            return _said(host, saying, become, last_lines(text))
    summary = "the host closed the connection" if code is None else f"starting the agent failed with exit code {code}"
    hint = "run the same login by hand: a shell start-up file that exits would do this"
    return Unreachable(Diagnostic(summary=summary, where=host, detail=last_lines(text), hint=hint))


def wrong_password(host: str, become: Become) -> Unreachable:
    """Say that the question came a second time."""
    return _said(host, _WRONG, become, "")


def no_password(host: str, become: Become) -> Unreachable:
    """Say that there was a question and nothing to answer."""
    return _said(host, _ASKS, become, "")


def _said(host: str, saying: _Saying, become: Become | None, detail: str) -> Unreachable:
    kind = NeedsTerminal if saying is _TERMINAL else Unreachable
    summary = saying.summary.format(become.method if become else "sudo")
    return kind(Diagnostic(summary=summary, where=host, detail=detail, hint=saying.hint))


def no_python(host: str, found: list[str], wanted: str | None) -> Unreachable:
    """Say which Pythons were found on the host and why none of them will do."""
    reasons = {str(boot.TOO_OLD): "older than 3.9", str(boot.NO_CTYPES): "without ctypes", "127": "not there"}
    seen = dict(entry.rpartition("=")[::2] for entry in found)
    if wanted is None:
        seen = {path: code for path, code in seen.items() if code != "127"}
    detail = ", ".join(f'"{path}" is {reasons.get(code, "broken")}' for path, code in seen.items())
    if str(boot.NO_CTYPES) in seen.values():
        hint = "install the whole of Python's standard library: python3 (not only python3-minimal)"
    elif wanted is not None:
        hint = "correct the host's ansible_python_interpreter, or leave it out to have one looked for"
    else:
        hint = "install Python 3.9 or newer (RHEL 8: python39), or name one as ansible_python_interpreter"
    summary = "no usable Python on the host"
    return Unreachable(Diagnostic(summary=summary, where=host, detail=detail or "no python3 was found", hint=hint))


def last_lines(text: str) -> str:
    """Give the last lines that say something, without control characters."""
    lines = [re.sub(r"[^\x20-\x7e\xa0-\uffff]", "", line).rstrip() for line in text.splitlines()]
    return "\n".join([_shortened(line) for line in lines if line][-LINES:])


def _shortened(line: str) -> str:
    return line if len(line) <= 2 * _WIDTH else f"{line[:_WIDTH]} ... {line[-_WIDTH:]}"
