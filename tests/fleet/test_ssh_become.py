"""Become root through a real sudo: without a password, with one, and when it refuses."""

from __future__ import annotations

from pathlib import Path

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

    assert diagnostic.summary == "the user is not in the host's sudoers"


def test_a_user_who_may_run_only_one_command(reach, machine):
    """That is another thing than not to be in the sudoers file; sudo's quotation of the whole command is cut."""
    machine.run("cp /etc/sudoers.d/labpw /etc/labpw.away; echo 'labpw ALL=(ALL) /bin/true' >/etc/sudoers.d/labpw")
    try:
        diagnostic = refusal(reach, user="labpw", become_password=Secret(PASSWORD))
    finally:
        machine.run("mv /etc/labpw.away /etc/sudoers.d/labpw")

    assert diagnostic.summary == "the user may run only some commands as root"
    assert len(diagnostic.detail) < 1000


@pytest.mark.parametrize("options", ["requiretty", "requiretty,use_pty"])
@pytest.mark.parametrize(
    "who", [{"user": "lab"}, {"user": "labpw", "become_password": Secret(PASSWORD)}], ids=["free", "asked"]
)
def test_a_sudo_that_wants_a_terminal(reach, machine, options, who):
    """After its complaint it is tried once more on a terminal, beside which the bytes go as before; sshd need not give one."""
    machine.run(f"echo 'Defaults {options}' >/etc/sudoers.d/terminal; chmod 440 /etc/sudoers.d/terminal")
    try:
        session = reach(become=True, **who)
        session.send({"text": "x" * 200_000, "out": 200_000})
        reply = session.receive()
        session.close()
    finally:
        machine.run("rm /etc/sudoers.d/terminal")

    assert (reply["size"], len(reply["text"])) == (200_000, 200_000)
    assert (session.facts["uid"], session.facts["exec_channels"]) == (0, 2)
    assert (machine.root / "tmp/agent-saw-the-end").exists()


def test_a_wrong_password_on_a_terminal(reach, machine):
    """The second try says as much as the first would."""
    machine.run("echo 'Defaults requiretty' >/etc/sudoers.d/terminal")
    try:
        diagnostic = refusal(reach, user="labpw", become_password=Secret("nonsense"))
    finally:
        machine.run("rm /etc/sudoers.d/terminal")

    assert diagnostic.summary == "sudo did not accept the password"


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


@pytest.fixture(scope="module")
def root_password(lab):
    """Give root of the first host a password, for su."""
    lab[0].run("cp -p /etc/shadow /etc/shadow.away; echo root:r00t | chpasswd -c SHA512")
    yield Secret("r00t")
    lab[0].run("mv /etc/shadow.away /etc/shadow")


def test_su(reach, root_password):
    """It takes root's password, from a pipe, and not a byte more."""
    session = reach(user="lab", become=True, become_method="su", become_password=root_password)
    session.send({"text": "x" * 200_000})

    assert session.receive()["size"] == 200_000
    assert (session.facts["uid"], session.facts["exec_channels"]) == (0, 1)


def test_su_is_asked_after_the_noise(reach, machine, root_password):
    """What a start-up file prints is no prompt, even if it looks like one."""
    bashrc = machine.root / "home/lab/.bashrc"
    bashrc.write_text("printf 'Password: ' >&2\n")
    try:
        assert reach(user="lab", become=True, become_method="su", become_password=root_password).facts["uid"] == 0
    finally:
        bashrc.write_text("")


@pytest.mark.parametrize(
    ("password", "summary"), [(None, "su asks for a password"), (Secret("nonsense"), "su did not accept the password")]
)
def test_su_refuses(reach, root_password, password, summary):
    """Without its password, and with a wrong one."""
    assert refusal(reach, user="lab", become_method="su", become_password=password).summary == summary


@pytest.fixture
def doas(machine):
    """Write a doas.conf."""
    path = machine.root / "etc/doas.conf"
    yield lambda text: path.write_text(text + "\n")
    path.unlink(missing_ok=True)


@pytest.mark.parametrize("password", [None, Secret(PASSWORD)])
def test_doas_without_a_password(reach, doas, password):
    """Nobody is asked, and a password that nobody asks for stays here."""
    doas("permit nopass labpw as root")
    session = reach(user="labpw", become=True, become_method="doas", become_password=password)
    session.send({"text": "abc"})

    assert (session.receive()["size"], session.facts["uid"]) == (3, 0)


def test_doas_with_a_password(reach, machine, doas):
    """It asks on /dev/tty only, which it is given, while the bytes go beside it."""
    doas("permit labpw as root")
    session = reach(user="labpw", become=True, become_method="doas", become_password=Secret(PASSWORD))
    session.send({"text": "x" * 200_000, "out": 200_000})
    reply = session.receive()
    session.close()

    assert (reply["size"], len(reply["text"])) == (200_000, 200_000)
    assert (session.facts["uid"], session.facts["exec_channels"]) == (0, 1)
    assert (machine.root / "tmp/agent-saw-the-end").exists()


@pytest.mark.parametrize(
    ("rule", "password", "summary"),
    [
        ("permit labpw as root", None, "doas asks for a password"),
        ("permit labpw as root", Secret("nonsense"), "doas did not accept the password"),
        ("permit nopass other as root", None, "doas does not allow it"),
        ("permit nopass labpw as root cmd /bin/true", None, "doas does not allow it"),
        (None, None, "doas has no configuration on the host"),
    ],
)
def test_doas_refuses(reach, doas, rule, password, summary):
    """Each reason has its own words."""
    if rule:
        doas(rule)

    assert refusal(reach, user="labpw", become_method="doas", become_password=password).summary == summary


@pytest.mark.parametrize("method", ["sudo", "su", "doas"])
def test_a_host_without_it(reach, machine, method):
    """There is nothing to become root with, and the program is named."""
    program = machine.root / "usr/bin" / method  # not by a command on the host: that goes through su
    program.rename(f"{program}.away")
    try:
        diagnostic = refusal(reach, user="lab", become_method=method)
    finally:
        Path(f"{program}.away").rename(program)

    assert diagnostic.summary == f"there is no {method} on the host"
