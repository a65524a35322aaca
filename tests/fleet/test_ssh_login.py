"""Who we are to a real sshd: passwords, questions, more than one proof, keys with a passphrase."""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time

import pytest
from conftest import Secret, Target
from labhosts import PASSWORD, another_sshd

from nsprov.errors import Unreachable
from nsprov.transport import Options, share, ssh

PASSWORDS, QUESTIONS, BOTH, KEYS, ONE, TIGHT = range(2201, 2207)

SSHD = f"""
UsePAM yes
PermitRootLogin yes
Banner /etc/hostname
{"".join(f"Port {port}{chr(10)}" for port in range(PASSWORDS, TIGHT + 1))}
Match LocalPort {PASSWORDS}
  AuthenticationMethods password
Match LocalPort {QUESTIONS}
  AuthenticationMethods keyboard-interactive
  KbdInteractiveAuthentication yes
Match LocalPort {BOTH}
  AuthenticationMethods publickey,password
Match LocalPort {KEYS}
  PasswordAuthentication no
  KbdInteractiveAuthentication no
Match LocalPort {ONE}
  MaxSessions 1
Match LocalPort {TIGHT}
  MaxAuthTries 1
"""


@pytest.fixture(scope="module")
def log(lab):
    """Run a sshd with many ways to authenticate on the first host, and give its log."""
    with another_sshd(lab[0], SSHD) as path:
        yield path


def refusal(reach, options=None, **changes):
    with pytest.raises(Unreachable) as caught:
        reach(options, user="labpw", **changes)
    return caught.value.diagnostics[0]


@pytest.mark.parametrize("port", [PASSWORDS, QUESTIONS, BOTH])
def test_a_password(reach, log, port, caplog):
    """It is given as a password, as the answer to a question, or after a key, and no log of ours has it."""
    caplog.set_level(logging.DEBUG, "paramiko")

    assert reach(user="labpw", port=port, password=Secret(PASSWORD)).facts["uid"] == 2002
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(("port", "method"), [(PASSWORDS, "password"), (QUESTIONS, "keyboard-interactive/pam")])
def test_a_wrong_password(reach, log, port, method):
    """It is tried once: a second try could lock the account."""
    log.write_text("")
    diagnostic = refusal(reach, port=port, password=Secret("nonsense"))

    assert diagnostic.summary == f"labpw@[10.87.0.1]:{port} did not accept the password"
    assert "--ask-pass" in diagnostic.hint
    assert "nonsense" not in repr(diagnostic)
    deadline = time.monotonic() + 5
    while "Connection closed" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)  # sshd may write that after it has answered
    assert log.read_text().count(f"Failed {method} for labpw") == 1


def test_no_password_to_give(reach, log):
    """The hint says how to give one."""
    diagnostic = refusal(reach, port=PASSWORDS)

    assert "accepts none of our keys" in diagnostic.summary
    assert "--ask-pass (-k)" in diagnostic.hint


def test_a_host_that_takes_no_password(reach, log, config):
    """It says what it takes."""
    diagnostic = refusal(reach, config("PubkeyAuthentication no"), port=KEYS, password=Secret(PASSWORD))

    assert diagnostic.summary == f"labpw@[10.87.0.1]:{KEYS} takes no password"
    assert "it takes publickey" in diagnostic.detail


def test_a_host_that_wants_more(reach, log):
    """A key that is accepted is not yet a login."""
    diagnostic = refusal(reach, port=BOTH)

    assert diagnostic.summary == f"labpw@[10.87.0.1]:{BOTH} wants password as well"
    assert "-k" in diagnostic.hint


def test_a_method_that_the_configuration_forbids(reach, log, config):
    """PasswordAuthentication no in ssh_config holds for us, too."""
    log.write_text("")
    diagnostic = refusal(reach, config("PasswordAuthentication no"), port=PASSWORDS, password=Secret(PASSWORD))

    assert "accepts none of our keys" in diagnostic.summary
    assert "password for labpw" not in log.read_text()


def test_one_session_is_enough(reach, log):
    """MaxSessions 1 lets us do all that we do."""
    session = reach(port=ONE, user="lab", become=True)
    session.send({"text": "abc"})

    assert session.receive()["size"] == 3


def test_what_ends_during_the_login_is_not_tried_again(reach, log, machine, tmp_path):
    """A sshd that has heard enough of us does not shed load."""
    log.write_text("")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    diagnostic = refusal(reach, port=TIGHT, private_key=str(tmp_path / "other"))

    assert "accepts none of our keys" in diagnostic.summary
    assert log.read_text().count("Connection from") == 1


def test_a_jump_host_gets_no_password(reach, log, config):
    """The password is the host's; who is on the way is not told."""
    log.write_text("")
    options = config(f"Host 10.87.0.2\n  ProxyJump labpw@10.87.0.1:{PASSWORDS}")
    diagnostic = refusal(reach, options, address="10.87.0.2", password=Secret(PASSWORD))

    assert f"labpw@[10.87.0.1]:{PASSWORDS} accepts none of our keys" in diagnostic.summary
    assert "Failed password" not in log.read_text()
    assert "Accepted password" not in log.read_text()


class User:
    """Answers questions, and remembers them."""

    def __init__(self, *answers):
        self.asked = []
        self.answers = list(answers)

    def __call__(self, prompt):
        assert threading.current_thread() is threading.main_thread()
        self.asked.append(prompt)
        return self.answers.pop(0)


@pytest.fixture
def locked(machine, tmp_path):
    """Make an encrypted copy of the key that the hosts accept, and options that name nothing else."""
    path = tmp_path / "locked"
    shutil.copy(machine.key, path)
    path.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-a", "1", "-P", "", "-N", "open sesame", "-f", path], check=True)
    (tmp_path / "config").write_text(machine.ssh_config.read_text().replace(f"{machine.key}\n", f"{path}\n"))
    return path


@pytest.fixture
def enter(machine, echo, tmp_path):
    """Connect to some hosts as one run does: prepare for all, then one by one."""
    opened = []

    def run(hosts, ask=None):
        options = Options(ssh_config=str(tmp_path / "config"), ask=ask)
        shared = share(options)
        opened.append(shared)
        shared.prepare(hosts)
        for host in hosts:
            opened.append(ssh.connect(host, options, echo, shared))
            assert opened[-1].receive() == {"event": "hello"}

    yield run
    for one in reversed(opened):
        one.close()


def hosts(lab, **changes):
    return [Target(name=host.name, address=host.address, **changes) for host in lab]


def test_one_question_for_all_hosts(enter, lab, locked):
    """A passphrase is asked for before anybody connects, with the file's name; a wrong one is asked for again."""
    user = User("nonsense", "open sesame")
    enter(hosts(lab), user)

    question = f'passphrase of "{locked}" (for h1 and 2 more): '
    assert user.asked == [question, f"That is not it; {question}"]


def test_the_inventorys_passphrase(enter, lab, locked):
    """Nobody is asked for what the inventory says."""
    user = User()
    enter(hosts(lab[:2], passphrase=Secret("open sesame")), user)

    assert user.asked == []


@pytest.mark.parametrize(
    ("changes", "user", "detail"),
    [
        ({}, None, "is encrypted"),
        ({}, User(""), "is encrypted"),
        ({}, User("a", "b", "c"), "is encrypted, and the passphrase given does not open it"),
        ({"passphrase": Secret("x")}, None, "is encrypted, and the passphrase of the inventory does not open it"),
    ],
    ids=["nobody to ask", "no answer", "wrong", "wrong in the inventory"],
)
def test_a_key_that_stays_locked(enter, lab, locked, changes, user, detail):
    """The host that needs it says which key it is, and why it was not used."""
    with pytest.raises(Unreachable) as caught:
        enter(hosts(lab[:1], **changes), user)
    diagnostic = caught.value.diagnostics[0]

    assert diagnostic.where == "h1"
    assert f'"{locked}" {detail}' in diagnostic.detail
    assert "ssh-add" in diagnostic.hint


def test_nobody_is_asked_for_a_key_that_is_not_needed(enter, machine, lab, locked, tmp_path, monkeypatch):
    """An encrypted key where ssh looks by default, and another way in: it is left alone. One that is named is asked for."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    default = home / ".ssh/id_ed25519"
    shutil.copy(locked, default)
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "config").write_text(f"IdentityFile {default}\n" + machine.ssh_config.read_text())
    enter(hosts(lab[:1]), user := User())

    assert user.asked == []
    enter(hosts(lab[:1], private_key=str(locked)), named := User("open sesame"))
    assert len(named.asked) == 1


def test_a_jump_hosts_key(enter, lab, locked, tmp_path):
    """The keys of jump hosts are asked for at the same time."""
    text = (tmp_path / "config").read_text()
    (tmp_path / "config").write_text("Host 10.87.0.1\n  ProxyJump 10.87.0.2\nHost *\n" + text)
    enter(hosts(lab[:1]), user := User("open sesame"))

    assert len(user.asked) == 1


def test_what_an_agent_holds_is_not_asked_for(enter, machine, lab, locked, tmp_path):
    """The public half in the encrypted file itself tells that the agent has the key."""
    with subprocess.Popen(["ssh-agent", "-D", "-a", tmp_path / "agent"], stdout=subprocess.PIPE) as agent:
        agent.stdout.readline()  # it listens
        environment = {"SSH_AUTH_SOCK": str(tmp_path / "agent"), "PATH": "/usr/bin"}
        subprocess.run(["ssh-add", "-q", machine.key], check=True, env=environment)
        config = tmp_path / "config"
        config.write_text(f"IdentityAgent {tmp_path}/agent\n" + config.read_text())
        try:
            enter(hosts(lab[:1]), user := User())
        finally:
            agent.terminate()

    assert user.asked == []
