"""Many hosts behind one jump host, and sshds that shed load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Target
from labhosts import another_sshd

from nsprov.errors import Unreachable
from nsprov.transport import Options, share, ssh

TIGHT, CLOSED = 2221, 2222
CROWD = 16


@pytest.fixture(scope="module")
def jump(lab):
    """Run a sshd on the second host that takes three logins at a time, and one that forwards nothing."""
    text = f"Port {TIGHT}\nPort {CLOSED}\nMaxStartups 3:100:3\nPermitRootLogin yes"
    text += f"\nMatch LocalPort {CLOSED}\n  AllowTcpForwarding no"
    with another_sshd(lab[1], text) as log:
        yield log


@pytest.fixture
def crowd(machine, echo, tmp_path):
    """Connect to many hosts at once, over ways that they share; give their sessions, or the failure of each."""
    shared = []
    sessions = []

    def enter(config, address="10.87.0.1", **changes):
        path = tmp_path / "config"
        path.write_text(f"{config}\nHost *\n" + machine.ssh_config.read_text())
        options = Options(ssh_config=str(path))
        shared.append(share(options))
        targets = [Target(name=f"host{number}", address=address, **changes) for number in range(CROWD)]
        shared[-1].prepare(targets)

        def one(target):
            try:
                sessions.append(ssh.connect(target, options, echo, shared[-1]))
            except Unreachable as problem:
                return problem.diagnostics[0]
            return sessions[-1].receive()

        with ThreadPoolExecutor(CROWD) as pool:
            return list(pool.map(one, targets))

    yield enter
    for one in [*sessions, *shared]:
        one.close()


def test_many_hosts_behind_one(crowd, jump, lab):
    """They share one connection to it, which MaxStartups cannot refuse them."""
    jump.write_text("")
    before = lab[0].logins()
    answers = crowd(f"Host 10.87.0.1\n  ProxyJump 10.87.0.2:{TIGHT}")

    assert answers == [{"event": "hello"}] * CROWD
    assert jump.read_text().count("Accepted publickey") == 1
    assert lab[0].logins() - before == CROWD


def test_many_at_once_where_three_are_let_in(crowd, jump):
    """Who is dropped before the first word comes back a little later."""
    jump.write_text("")

    assert crowd("", address="10.87.0.2", port=TIGHT) == [{"event": "hello"}] * CROWD
    assert "MaxStartups" in jump.read_text()


def test_a_jump_host_that_is_not_there(crowd, jump):
    """It is tried once, and every host behind it says so under its own name."""
    jump.write_text("")
    answers = crowd(f"Host 10.87.0.1\n  ProxyJump nobody@10.87.0.2:{TIGHT}")

    assert [answer.where for answer in answers] == [f"host{number}" for number in range(CROWD)]
    assert {answer.summary for answer in answers} == {f"nobody@[10.87.0.2]:{TIGHT} accepts none of our keys"}
    assert jump.read_text().count("Connection from") == 1


@pytest.mark.parametrize(
    ("port", "target", "why"),
    [(CLOSED, 22, "it is not allowed to"), (TIGHT, 2, "Connect failed")],
    ids=["forbidden", "refused"],
)
def test_a_jump_host_that_leads_nowhere(crowd, jump, port, target, why):
    """A jump host that may not forward, or finds nobody behind it, is named."""
    answers = crowd(f"Host 10.87.0.1\n  ProxyJump 10.87.0.2:{port}", port=target)

    assert {answer.summary.partition(" 10.")[0].partition(" [")[0] for answer in answers} == {"the jump host does not reach"}
    assert {answer.detail for answer in answers} == {f"[10.87.0.2]:{port}: {why}"}
