"""Hosts that are not as one would wish: each works, or says in one line what to do."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from labhosts import another_sshd

from nsprov.errors import Unreachable

CACHE = "/var/cache/nsprov/agents"
PYENV = Path("~/.pyenv/versions").expanduser()


@contextlib.contextmanager
def start_up(machine, user, text):
    """Let a user's shell start with some lines."""
    path = machine.root / ("root" if user == "root" else f"home/{user}") / ".bashrc"
    path.write_text(text + "\n")
    try:
        yield
    finally:
        path.write_text("")


POISONS = {
    "locale": "export LANG=de_DE.UTF-8 LC_ALL=de_DE.UTF-8 LANGUAGE=de",
    "modules in the way": "mkdir -p /tmp/evil; cd /tmp/evil; echo 'raise SystemExit(7)' >json.py; export PYTHONPATH=/tmp/evil",
    "another home of Python": "export PYTHONHOME=/nonexistent PYTHONSTARTUP=/nonexistent PYTHONUTF8=7",
    "umask 000": "umask 000",
    "umask 777": "umask 777",
    "shims": "mkdir -p /tmp/shims; cp /bin/false /tmp/shims/python3; export PATH=/tmp/shims:$PATH",
    "no path": "PATH=/bin:/usr/bin; unset HOME",
    "a function": "python3() { exit 7; }; export -f python3; alias exec=false sudo=false",
    "a trap": "trap 'echo bye' EXIT; set -u; set -o noclobber",
}


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("user", ["root", "lab"])
def test_an_odd_environment(reach, machine, poison, user):
    """What the login shell sets does not reach the agent, and what it writes is private all the same."""
    with start_up(machine, user, POISONS[poison]):
        session = reach(user=user, become=user != "root")
        session.send({"text": "abc"})

        assert session.receive()["size"] == 3
        assert session.facts["uid"] == 0
        modes = machine.run(f"stat -c '%a' {CACHE} {CACHE}/*").split()
        assert [mode for mode in modes if int(mode, 8) & 0o077] == []


def test_a_sudo_that_speaks_german(reach, machine):
    """Its complaints are understood."""
    with start_up(machine, "labpw", POISONS["locale"]), pytest.raises(Unreachable, match="sudo asks for a password"):
        reach(user="labpw", become=True)


def test_a_banner_and_noise_on_both_streams(reach, lab):
    """What sshd and the shell say before the agent does is no message."""
    text = "Port 2231\nBanner /etc/hosts\nPrintMotd yes\nPermitRootLogin yes"
    noise = "cat /etc/hosts /etc/passwd; seq 10000; cat /etc/hosts >&2; printf 'no newline'"
    with another_sshd(lab[0], text), start_up(lab[0], "root", noise):
        session = reach(port=2231)
        session.send({"text": "abc"})

        assert session.receive()["size"] == 3


@pytest.mark.parametrize("shell", ["/bin/tcsh", "/usr/bin/fish", "/bin/sh"])
@pytest.mark.parametrize("how", [{}, {"become": True}, {"become": True, "become_method": "doas"}], ids=["user", "sudo", "doas"])
def test_other_shells(reach, machine, shell, how):
    """The command line means the same to each, through whatever else it goes."""
    machine.run(f"usermod -s {shell} lab; echo 'permit nopass lab as root' >/etc/doas.conf")
    try:
        assert reach(user="lab", **how).facts["uid"] == (0 if how else 2001)
    finally:
        machine.run("usermod -s /bin/bash lab; rm /etc/doas.conf")


def test_a_read_only_host(reach, machine):
    """Nothing is written; the agent runs from memory."""
    machine.run("mount -o remount,ro / && mount -o remount,ro /tmp")
    try:
        session = reach()
        session.send({"text": "abc"})

        assert session.receive()["size"] == 3
        assert session.facts["cached"] is False
    finally:
        machine.run("mount -o remount,rw / && mount -o remount,rw /tmp")


def test_nothing_may_be_executed(reach, machine):
    """Where /tmp, /home and /var are noexec, the agent is read, not executed; on a terminal of its own, too."""
    for path in ("/tmp", "/home", "/var"):
        machine.run(f"mount --bind {path} {path}; mount -o remount,bind,noexec {path}")
    machine.run("echo 'Defaults requiretty' >/etc/sudoers.d/terminal")
    try:
        assert [reach(user="lab", become=True).facts["cached"] for _ in range(2)] == [False, True]
    finally:
        machine.run("rm /etc/sudoers.d/terminal; umount -l /tmp /home /var")


@contextlib.contextmanager
def only_python(machine, target):
    """Leave one Python on the host, or none."""
    hidden = [machine.root / "usr/bin/python3", *(machine.root / "usr/bin").glob("python3.*")]
    for path in hidden:
        path.rename(f"{path}.hidden")
    if target:
        (machine.root / "usr/bin/python3").symlink_to(target)
    try:
        yield
    finally:
        (machine.root / "usr/bin/python3").unlink(missing_ok=True)
        for path in hidden:
            Path(f"{path}.hidden").rename(path)


@pytest.mark.parametrize("become", [False, True])
def test_no_python_at_all(reach, machine, become):
    """The hint says what to install."""
    with only_python(machine, None), pytest.raises(Unreachable) as caught:
        reach(user="lab", become=become)

    diagnostic = caught.value.diagnostics[0]
    assert (diagnostic.summary, diagnostic.detail) == ("no usable Python on the host", "no python3 was found")
    assert "install Python 3.9" in diagnostic.hint


def test_only_an_old_python(reach, machine):
    """Python 3.8 is found, and is not enough."""
    old = next(PYENV.glob("3.8.*/bin/python3"), None)
    if old is None:
        pytest.skip("this machine has no Python 3.8")
    with only_python(machine, old), pytest.raises(Unreachable) as caught:
        reach()

    assert caught.value.diagnostics[0].detail == '"/usr/bin/python3" is older than 3.9'
