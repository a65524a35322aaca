"""Ways to a host: what ~/.ssh/config can say, jump hosts, and hosts that are not there."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nsprov.errors import InputError, Unreachable
from nsprov.transport import Options, sshconfig


def refusal(reach, options=None, **changes):
    with pytest.raises(Unreachable) as caught:
        reach(options, **changes)
    return caught.value.diagnostics[0]


def test_include_and_alias(reach, config, tmp_path):
    """An alias from an included file, which paramiko's own reader would miss."""
    (tmp_path / "included").write_text("Host web\n  HostName 10.87.0.1\n  User lab\n")

    assert reach(config(f"Include {tmp_path}/included"), address="web", user=None).facts["uid"] == 2001


def test_port_of_the_configuration(reach, config):
    """An inventory's default port does not hide what ~/.ssh/config says."""
    assert "[10.87.0.1]:2 does not answer" in refusal(reach, config("Host 10.87.0.1\n  Port 2"), port=22).summary


def test_proxy_jump(reach, config, lab):
    """Through another host, which sees a login and no command."""
    before = lab[1].logins(), lab[1].sessions()
    session = reach(config("Host 10.87.0.1\n  ProxyJump 10.87.0.2"))
    session.send({"text": "abc"})

    assert session.receive()["size"] == 3
    assert (lab[1].logins() - before[0], lab[1].sessions() - before[1]) == (1, 0)


def test_two_jumps(reach, config, lab):
    """Through two hosts, in the order that is written."""
    before = [host.logins() for host in lab]
    reach(config("Host 10.87.0.1\n  ProxyJump lab@10.87.0.3:22,root@10.87.0.2"))

    assert [host.logins() - count for host, count in zip(lab, before, strict=True)] == [1, 1, 1]


def test_a_jump_hosts_key_is_verified(reach, config, lab):
    """A jump host is verified like any other."""
    options = config("Host 10.87.0.1\n  ProxyJump 10.87.0.2\nHost 10.87.0.2\n  UserKnownHostsFile /dev/null")
    before = lab[1].logins()
    diagnostic = refusal(reach, options)

    assert diagnostic.summary == "the host key is not known"
    assert '"10.87.0.2"' in diagnostic.detail
    assert lab[1].logins() == before


def test_jumps_in_a_circle(reach, config):
    """A configuration that never ends is found out."""
    both = config("Host 10.87.0.1\n  ProxyJump 10.87.0.2\nHost 10.87.0.2\n  ProxyJump 10.87.0.1")

    assert refusal(reach, both).summary == "the jump hosts lead in a circle"
    assert "loop" in refusal(reach, config("Host 10.87.0.*\n  ProxyJump 10.87.0.2")).detail


def test_proxy_command(reach, config, machine, lab):
    """A command of the user's carries the connection; its tokens are put in."""
    before = lab[1].logins()
    options = config(f"Host web\n  HostName 10.87.0.1\n  ProxyCommand ssh -F {machine.ssh_config} -W %h:%p 10.87.0.2 # %%")
    session = reach(options, address="web")
    session.send({"text": "x" * 1_000_000})

    assert session.receive()["size"] == 1_000_000
    assert lab[1].logins() == before + 1


def test_a_proxy_command_that_ends(reach, config):
    """A command that fails is an error at once, not a wait."""
    began = time.monotonic()
    diagnostic = refusal(reach, config("Host 10.87.0.1\n  ProxyCommand false"))

    assert "could not be reached" in diagnostic.summary
    assert time.monotonic() - began < 5


def test_nobody_listens(reach):
    """A closed port says so at once."""
    diagnostic = refusal(reach, port=2)

    assert diagnostic.summary == "root@[10.87.0.1]:2 does not answer"
    assert "refused" in diagnostic.detail


def test_nobody_is_there(reach, machine):
    """An address without a host: the neighbour is not found, or the time is over."""
    began = time.monotonic()
    diagnostic = refusal(reach, Options(ssh_config=str(machine.ssh_config), connect_timeout=1), address="10.87.0.77")

    assert "10.87.0.77" in diagnostic.summary
    assert time.monotonic() - began < 5


def test_a_server_that_says_nothing(reach, config):
    """A port that accepts and stays silent costs the timeout, not more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        options = config("", connect_timeout=1)
        refusal(reach, options, address="127.0.0.1", port=server.getsockname()[1])

    assert time.monotonic() - began < 5


def test_a_name_that_is_not_known(reach):
    """A name that nobody resolves is named."""
    assert refusal(reach, address="nohost.invalid").summary == 'the name "nohost.invalid" is not known'


def test_no_key_is_accepted(reach, config, tmp_path):
    """What was offered is listed."""
    diagnostic = refusal(reach, config(f"IdentityFile {tmp_path}/nothing"), user="nobody")

    assert diagnostic.summary == "nobody@10.87.0.1 accepts none of our keys"
    assert "offered" in diagnostic.detail


def test_an_address_is_no_option(reach):
    """An address that starts with a dash is not given to ssh."""
    with pytest.raises(InputError, match="is no address"):
        reach(address="-oProxyCommand=touch /tmp/owned")


def test_a_config_that_is_not_there(reach):
    """A wrong path is the user's mistake, not the host's."""
    with pytest.raises(InputError, match="no ssh_config file"):
        reach(Options(ssh_config="/nonexistent"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("jump", ("jump", 22, None)),
        ("u@jump:2222", ("jump", 2222, "u")),
        ("ssh://u@jump:2222", ("jump", 2222, "u")),
        ("[fe80::1]:2222", ("fe80::1", 2222, None)),
        ("u@fe80::1", ("fe80::1", 22, "u")),
    ],
)
def test_how_a_jump_host_is_written(config, spec, expected):
    """As in ProxyJump: user, host and port, IPv6 in brackets."""
    found = sshconfig.hop("h1", spec, config(""))

    assert (found.hostname, found.port, found.user) == (*expected[:2], expected[2] or "root")


def test_many_at_once(reach, lab):
    """Connections from many threads do not disturb each other, and end their threads."""
    before = threading.active_count()
    with ThreadPoolExecutor(12) as pool:
        sessions = list(pool.map(lambda number: reach(address=lab[number % 3].address), range(12)))
    for session in sessions:
        session.send({"text": "abc"})
    assert [session.receive()["size"] for session in sessions] == [3] * 12

    for session in sessions:
        session.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_host_that_sheds_load(reach, lab):
    """A sshd with MaxStartups drops connections before its first word; they are tried again."""
    host = lab[2]
    host.run("sed -i 's/^MaxStartups.*/MaxStartups 2/' /etc/ssh/sshd_config; kill -HUP 1; sleep 0.2")
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: reach(address=host.address), range(8)))
        assert "MaxStartups" in host.log_path.read_text()
    finally:
        host.run("sed -i 's/^MaxStartups.*/MaxStartups 100/' /etc/ssh/sshd_config; kill -HUP 1; sleep 0.2")


def test_refusals_are_quiet(reach, capfd):
    """What went wrong is said once, in the exception; paramiko's own log does not reach the terminal."""
    refusal(reach, port=2)
    refusal(reach, user="nobody")

    assert capfd.readouterr() == ("", "")


@pytest.fixture
def encrypted(machine, tmp_path):
    """Make an encrypted copy of the key that the hosts accept."""
    path = tmp_path / "locked"
    shutil.copy(machine.key, path)
    path.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", path], check=True)
    shutil.copy(f"{machine.key}.pub", f"{path}.pub")
    return path


def test_an_encrypted_key(reach, machine, tmp_path, encrypted):
    """Nobody asks for a passphrase; the hint says where to give it."""
    config = tmp_path / "config"
    config.write_text(machine.ssh_config.read_text().replace(f"{machine.key}\n", f"{encrypted}\n"))
    diagnostic = refusal(reach, Options(ssh_config=str(config)))

    assert "is encrypted" in diagnostic.detail
    assert "ssh-add" in diagnostic.hint


def test_an_agent_with_the_key(reach, machine, tmp_path, encrypted):
    """The key is used through the agent that IdentityAgent names, although only its public half can be read."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", tmp_path / "agent"], stdout=subprocess.DEVNULL)
    try:
        while not (tmp_path / "agent").exists():
            time.sleep(0.01)
        subprocess.run(
            ["ssh-add", "-q", machine.key], check=True, env={"SSH_AUTH_SOCK": str(tmp_path / "agent"), "PATH": "/usr/bin"}
        )
        config = tmp_path / "config"
        settings = machine.ssh_config.read_text().replace(f"{machine.key}\n", f"{encrypted}\n")
        config.write_text(f"IdentityAgent {tmp_path}/agent\n{settings}")

        assert reach(Options(ssh_config=str(config))).facts["uid"] == 0
    finally:
        agent.terminate()
        agent.wait()


def test_without_an_ssh_binary(reach, config, monkeypatch):
    """Paramiko's reader knows most of the configuration, and a warning says that it is not all."""
    options = config("Host web\n  HostName 10.87.0.1\n  User lab")
    monkeypatch.setenv("PATH", "/nonexistent")
    facts = reach(options, address="web", user=None).facts

    assert facts["uid"] == 2001
    assert "no ssh binary" in facts["warnings"][0]
