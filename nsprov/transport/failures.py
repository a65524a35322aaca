"""What a host that could not be entered has said, in our words and with what to do about it."""

from __future__ import annotations

import re

from nsprov.errors import Diagnostic, Unreachable
from nsprov.transport import boot

LINES = 10
"""How many of a host's last words a diagnostic quotes."""

# what sudo and the shell say under LC_ALL=C (sudo 1.8 and 1.9, sudo-rs), what it means, and what to do
_SAYINGS = (
    (
        r"a password is required|a terminal is required to read the password|interactive authentication is required",
        "sudo asks for a password",
        "give it with --ask-become-pass (-K), or allow NOPASSWD in the host's sudoers",
    ),
    (
        r"incorrect password attempt|Sorry, try again|Authentication failed, try again|maximum \d+ incorrect",
        "sudo did not accept the password",
        "check the password given with --ask-become-pass (-K)",
    ),
    (
        r"is not in the sudoers file|not allowed to (execute|run sudo)|may not run sudo|I'm sorry .* I can't do that",
        "the user is not allowed to become root",
        "allow it in the host's sudoers, or connect as root",
    ),
    (
        r"must have a tty to run sudo",
        "sudo on the host wants a terminal",
        'put "Defaults:USER !requiretty" into the host\'s sudoers for this user',
    ),
    (
        r"sudo: (command )?not found|sudo\W{0,2}: No such file",
        "there is no sudo on the host",
        "install sudo, or connect as root and leave --become out",
    ),
    (
        r"effective uid is not 0|no new privileges|must be owned by uid 0",
        "sudo cannot work on the host",
        "sudo's file must be setuid root, on a file system that is not nosuid",
    ),
    (
        r"This account is currently not available|/nologin",
        "the user has no shell on the host",
        "connect as a user whose shell runs commands",
    ),
    (
        r"the agent arrived damaged",
        "the agent arrived damaged",
        "try again; if it happens again, something between the hosts changes bytes",
    ),
    (
        r"No space left on device|Cannot allocate memory|MemoryError",
        "the host has no room left",
        "free some space or memory on the host",
    ),
)


def explain(host: str, code: int | None, text: str) -> Unreachable:
    """Say why the command on the host ended before the agent spoke."""
    for pattern, summary, hint in _SAYINGS:
        if re.search(pattern, text):
            return Unreachable(Diagnostic(summary=summary, where=host, detail=last_lines(text), hint=hint))
    summary = "the host closed the connection" if code is None else f"starting the agent failed with exit code {code}"
    hint = "run the same login by hand: a shell start-up file that exits would do this"
    return Unreachable(Diagnostic(summary=summary, where=host, detail=last_lines(text), hint=hint))


def wrong_password(host: str) -> Unreachable:
    """Say that sudo asked a second time."""
    summary, hint = _SAYINGS[1][1:]
    return Unreachable(Diagnostic(summary=summary, where=host, hint=hint))


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
    return "\n".join([line for line in lines if line][-LINES:])
