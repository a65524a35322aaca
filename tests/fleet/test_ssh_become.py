"""Become root through a real sudo: without a password, with one, and when it refuses."""

from __future__ import annotations

import pytest
from conftest import Secret
from labhosts import PASSWORD

from nsprov.errors import Unreachable


def refusal(reach, **changes):
    with pytest.raises(Unreachable) as caught:
        reach(become=True, **changes)
    assert caught.value.diagnostics[0].where == "h1"
    return caught.value.diagnostics[0]


def test_without_a_password(reach):
    """NOPASSWD needs no prompt; the agent is root."""
    assert reach(user="lab", become=True).facts["uid"] == 0


def test_with_a_password(reach):
    """The password is given when sudo asks, and only sudo reads it."""
    session = reach(user="labpw", become=True, become_password=Secret(PASSWORD))
    session.send({"text": "abc"})

    assert session.receive()["size"] == 3
    assert session.facts["uid"] == 0
    assert PASSWORD not in session.last_words()


def test_a_password_that_nobody_asks_for_is_not_sent(reach):
    """With NOPASSWD a password sent in advance would become the agent's first line; it is not."""
    session = reach(user="lab", become=True, become_password=Secret(PASSWORD))
    session.send({"text": "abc"})

    assert session.receive()["size"] == 3


def test_a_wrong_password(reach):
    """A second prompt means that the first answer was wrong."""
    diagnostic = refusal(reach, user="labpw", become_password=Secret("nonsense"))

    assert diagnostic.summary == "sudo did not accept the password"
    assert "nonsense" not in repr(diagnostic)


def test_no_password_to_give(reach):
    """What sudo -n says when it would have to ask."""
    diagnostic = refusal(reach, user="labpw")

    assert diagnostic.summary == "sudo asks for a password"
    assert "--ask-become-pass" in diagnostic.hint


def test_a_user_who_may_not(reach, machine):
    """Not in the sudoers file."""
    machine.run("mv /etc/sudoers.d/labpw /etc/labpw.away")
    try:
        diagnostic = refusal(reach, user="labpw", become_password=Secret(PASSWORD))
    finally:
        machine.run("mv /etc/labpw.away /etc/sudoers.d/labpw")

    assert diagnostic.summary == "the user is not allowed to become root"


def test_a_sudo_that_wants_a_terminal(reach, machine):
    """Requiretty gets a hint."""
    machine.run("echo 'Defaults:lab requiretty' >>/etc/sudoers.d/lab")
    try:
        diagnostic = refusal(reach, user="lab")
    finally:
        machine.run("sed -i /requiretty/d /etc/sudoers.d/lab")

    assert diagnostic.summary == "sudo on the host wants a terminal"


def test_a_host_without_sudo(reach, machine):
    """There is nothing to become root with."""
    machine.run("mv /usr/bin/sudo /usr/bin/sudo.away")
    try:
        diagnostic = refusal(reach, user="lab")
    finally:
        machine.run("mv /usr/bin/sudo.away /usr/bin/sudo")

    assert diagnostic.summary == "there is no sudo on the host"


@pytest.mark.parametrize("option", ["use_pty", "log_input,log_output", "!use_pty"])
def test_sudo_between_the_streams(reach, machine, option):
    """Its own terminal and its logging leave the bytes alone."""
    machine.run(f"echo 'Defaults {option}' >/etc/sudoers.d/streams")
    try:
        session = reach(user="labpw", become=True, become_password=Secret(PASSWORD))
        session.send({"text": "x" * 400_000, "out": 400_000})
        reply = session.receive()
    finally:
        machine.run("rm /etc/sudoers.d/streams")

    assert (reply["size"], len(reply["text"])) == (400_000, 400_000)


def test_the_password_is_in_no_command_line(reach, machine):
    """No process of the host has the password in its arguments or environment."""
    reach(user="labpw", become=True, become_password=Secret(PASSWORD))

    found = machine.run(f"grep -l {PASSWORD[:-1]}[t] /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true")
    assert found == ""
