"""What hosts say when nobody becomes root there, in the words of each program and version."""

from __future__ import annotations

import pytest

from nsprov.transport import failures
from nsprov.transport.become import Become

SAYINGS = [
    ("sudo", "sudo: a password is required", "sudo asks for a password"),
    ("sudo", "sudo: a terminal is required to read the password; either use the -S option", "sudo asks for a password"),
    ("sudo", "sudo-rs: interactive authentication is required", "sudo asks for a password"),
    ("sudo", "sudo: Interactive authentication is required", "sudo asks for a password"),
    ("sudo", "sudo: A terminal is required to authenticate", "sudo asks for a password"),
    ("sudo", "Sorry, try again.\nsudo: 1 incorrect password attempt", "sudo did not accept the password"),
    ("sudo", "sudo: Authentication failed, try again.", "sudo did not accept the password"),
    ("sudo", "sudo-rs: Maximum 3 incorrect authentication attempts", "sudo did not accept the password"),
    ("sudo", "joe is not in the sudoers file.", "the user is not in the host's sudoers"),
    ("sudo", "sudo: I'm sorry joe. I'm afraid I can't do that", "the user is not in the host's sudoers"),
    ("sudo", "Sorry, user joe may not run sudo on h1.", "the user is not in the host's sudoers"),
    (
        "sudo",
        "Sorry, user joe is not allowed to execute '/bin/sh -c x' as root on h1.",
        "the user may run only some commands as root",
    ),
    ("sudo", "sudo: sorry, you must have a tty to run sudo", "sudo on the host wants a terminal"),
    ("sudo", "env: 'sudo': No such file or directory", "there is no sudo on the host"),
    ("sudo", 'sudo: The "no new privileges" flag is set', "sudo cannot work on the host"),
    ("su", "Password: su: Authentication failure", "su did not accept the password"),
    ("su", "su: must be run from a terminal", "su on the host wants a terminal"),
    ("su", "Password: su: Permission denied", "su does not allow it"),
    ("doas", "doas: Authentication required", "doas asks for a password"),
    ("doas", "doas: Authorization required", "doas asks for a password"),
    ("doas", "doas: Authentication failed", "doas did not accept the password"),
    ("doas", "doas: Operation not permitted", "doas does not allow it"),
    ("doas", "doas: a tty is required", "doas on the host wants a terminal"),
    ("doas", "env: 'doas': No such file or directory", "there is no doas on the host"),
    ("sudo", "WARNING: Your password has expired.", "the user's password on the host has expired"),
]


@pytest.mark.parametrize(("method", "said", "summary"), SAYINGS, ids=[said.splitlines()[0][:40] for _, said, _ in SAYINGS])
def test_each_saying_has_its_meaning(method, said, summary):
    """sudo, sudo-rs, su and doas in the wordings of their releases."""
    diagnostic = failures.explain("h1", 1, f"welcome\n{said}", Become(method, password=False)).diagnostics[0]

    assert (diagnostic.summary, diagnostic.where) == (summary, "h1")
    assert said.splitlines()[-1] in diagnostic.detail
    assert diagnostic.hint


def test_su_and_doas_are_heard_only_after_they_began():
    """Before that it is the login shell that speaks; sudo's prompt has a random word."""
    for method in ("su", "doas"):
        become = Become(method, password=True)
        assert become.asked(b"Password: ", "TOKEN") == 0
        assert become.asked(b"Password: \nTOKEN begins\n", "TOKEN") == 0
        assert become.asked(b"TOKEN begins\ndoas (joe@h1) password: ", "TOKEN") == 1
    assert Become("sudo", password=True).asked(b"Password: [TOKEN] ", "TOKEN") == 1


def test_long_lines_are_cut_in_the_middle():
    """Sudo quotes the whole command that it refuses."""
    said = failures.last_lines("x" * 5000 + "end")

    assert len(said) < 500
    assert said.endswith("end")
