"""What travels over one SSH channel: the agent, once; then messages of any size; the end."""

from __future__ import annotations

import time

import pytest
from conftest import Target
from labhosts import PYTHONS

from nsprov.errors import Unreachable
from nsprov.transport import Options, connect


def test_a_message_is_answered(reach):
    """The shortest way: key, root, one message."""
    session = reach()
    session.send({"text": "abc"})

    assert session.receive() == {"reply": "echo", "size": 3, "text": ""}
    assert session.facts["python"].startswith("3.")
    assert session.facts["uid"] == 0


def test_the_agent_is_sent_once(reach):
    """The second connection finds the compiled agent on the host."""
    assert reach().facts["cached"] is False
    assert reach().facts["cached"] is True


def test_one_exec_channel_per_session(reach, machine):
    """Whatever happens in a session, sshd starts one command."""
    before = machine.sessions(), machine.logins()
    session = reach()
    for _ in range(5):
        session.send({"text": "x"})
        session.receive()
    session.close()

    assert machine.sessions() - before[0] == session.facts["exec_channels"] == 1
    assert machine.logins() - before[1] == 1


@pytest.mark.parametrize("how", [{"connection": "ssh"}, {"connection": "local"}])
def test_five_megabytes_both_ways_do_not_block(reach, how):
    """Requests, replies and stderr may each be larger than any window, at the same time."""
    session = reach(**how)
    size = 5_000_000
    began = time.monotonic()
    for _ in range(2):
        session.send({"text": "x" * size, "out": size, "errors": size})
    for _ in range(2):
        reply = session.receive()
        assert (reply["size"], len(reply["text"])) == (size, size)

    assert time.monotonic() - began < 30
    assert session.last_words().endswith("e" * 100)


def test_closing_is_the_end_for_the_agent(reach, machine):
    """The agent sees the end of its input and has finished when close() returns."""
    session = reach()
    session.close()
    session.close()

    assert (machine.root / "tmp/agent-saw-the-end").exists()


def test_an_agent_that_dies_leaves_its_last_words(reach):
    """The end comes as None, and stderr says why."""
    session = reach()
    session.send({"die": True})

    assert session.receive() is None
    assert session.last_words() == "the agent was told to die"
    with pytest.raises(Unreachable, match="the agent has gone"):
        [session.send({"text": "x" * 100_000}) for _ in range(100)]


def test_a_connection_that_is_cut(reach, machine):
    """When sshd dies, our side sees the end at once, and so does the agent."""
    session = reach()
    session.send({"who": True})
    machine.run(f"kill -9 $(ps -o ppid= -p {session.receive()['shell']})")
    began = time.monotonic()

    assert session.receive() is None
    session.close()
    assert time.monotonic() - began < 2
    assert (machine.root / "tmp/agent-saw-the-end").exists()


@pytest.mark.parametrize("version", sorted(PYTHONS))
def test_other_pythons(reach, version):
    """The oldest and a new Python run the agent, and each has its own compiled copy."""
    if not PYTHONS[version]:
        pytest.skip(f"this machine has no Python {version}")
    facts = [reach(python=str(PYTHONS[version])).facts for _ in range(2)]

    assert [fact["cached"] for fact in facts] == [False, True]
    assert facts[0]["python"].startswith(version)


def test_the_real_agent_says_hello(machine):
    """The bundle is complete: the real agent starts on a host that has no nsprov."""
    session = connect(Target(python=PYTHONS["3.9"] and str(PYTHONS["3.9"])), Options(ssh_config=str(machine.ssh_config)))
    hello = session.receive()
    session.close()

    assert hello["event"] == "hello"


def test_noise_before_the_agent_is_dropped(reach, machine):
    """A .bashrc that prints, on either stream and without a newline, does no harm."""
    bashrc = machine.root / "root/.bashrc"
    bashrc.write_text("echo welcome; echo careful >&2; printf 'no newline'\n")
    try:
        session = reach()
        session.send({"text": "ab"})

        assert session.receive()["size"] == 2
    finally:
        bashrc.write_text("")


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_login_shells(reach, machine, shell):
    """The command line means the same to every shell."""
    machine.run(f"usermod -s {shell} lab")

    assert reach(user="lab").facts["uid"] == 2001


def test_a_shell_that_is_no_shell(reach, machine):
    """The account of a service says so instead of running commands."""
    machine.run("usermod -s /usr/sbin/nologin lab")
    try:
        with pytest.raises(Unreachable, match="no shell"):
            reach(user="lab")
    finally:
        machine.run("usermod -s /bin/bash lab")


def test_a_python_that_is_not_there(reach):
    """The interpreter that was named is the only one tried, and is named."""
    with pytest.raises(Unreachable) as caught:
        reach(python="/opt/python3")

    diagnostic = caught.value.diagnostics[0]
    assert diagnostic.summary == "no usable Python on the host"
    assert diagnostic.detail == '"/opt/python3" is not there'
    assert diagnostic.where == "h1"


def test_a_python_that_is_too_old(reach):
    """Python 3.6 can still say that it is too old."""
    with pytest.raises(Unreachable) as caught:
        reach(python="/root/.pyenv/versions/3.6.15/bin/python3")

    assert "is older than 3.9" in caught.value.diagnostics[0].detail


def test_a_python_without_ctypes(reach, machine):
    """Debian's python3-minimal lacks ctypes; the hint says what to install."""
    machine.run("printf '#!/bin/sh\\nexit 99\\n' >/usr/local/bin/minimal; chmod 755 /usr/local/bin/minimal")
    with pytest.raises(Unreachable) as caught:
        reach(python="/usr/local/bin/minimal")

    assert "without ctypes" in caught.value.diagnostics[0].detail
    assert "python3-minimal" in caught.value.diagnostics[0].hint


def test_an_interpreter_name_is_no_shell_text(reach, machine):
    """Nothing that a user writes is ever read by a shell."""
    with pytest.raises(Unreachable, match="no usable Python"):
        reach(python="$(touch /tmp/owned)'; touch /tmp/owned; '/x\ny")

    assert not (machine.root / "tmp/owned").exists()
