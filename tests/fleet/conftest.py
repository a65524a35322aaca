"""Fixtures of the fleet tests: lab hosts with a real sshd and a real sudo, and an agent that only echoes."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import labhosts

from nsprov.agent import bundle
from nsprov.transport import Options, local, ssh

ECHO = b"""
import os, sys

def serve(channel):
    channel.send({"event": "hello"})
    while True:
        message = channel.receive()
        if message is None:
            break
        sys.stderr.write("e" * message.get("errors", 0))
        sys.stderr.flush()
        reply = {"reply": "echo", "size": len(message.get("text", "")), "text": "o" * message.get("out", 0)}
        if message.get("die"):
            sys.exit("the agent was told to die")
        if message.get("who"):
            reply["shell"] = os.getppid()
        channel.send(reply)
    open("/tmp/agent-saw-the-end", "w").close()
"""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.fleet)


@pytest.fixture(scope="session")
def lab():
    """Three lab hosts; not root is a reason to skip, anything missing is a failure."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    reason = labhosts.missing()
    if reason:
        pytest.fail(reason)
    with labhosts.lab_hosts(3) as hosts:
        yield hosts


@pytest.fixture
def machine(lab):
    """Give the first lab host, without a cached agent."""
    lab[0].run("rm -rf /var/cache/nsprov /home/*/.cache /tmp/agent-saw-the-end")
    return lab[0]


@dataclass(frozen=True)
class Secret:
    text: str

    def reveal(self):
        return self.text


@dataclass(frozen=True)
class Target:
    """What nsprov.inventory.Host offers to a transport."""

    name: str = "h1"
    address: str = "10.87.0.1"
    port: int | None = None
    user: str | None = "root"
    connection: str = "ssh"
    become: bool = False
    become_method: str = "sudo"
    become_password: Secret | None = None
    python: str | None = None
    private_key: str | None = None
    password: Secret | None = None
    passphrase: Secret | None = None


@pytest.fixture(scope="session")
def echo():
    """Pack an agent that answers every message with its size."""
    source = Path(bundle.__file__).parents[1]
    files = {
        name: (source / name.removeprefix("nsprov/")).read_bytes() for name in ("nsprov/errors.py", "nsprov/agent/protocol.py")
    }
    archive = bundle.pack({"nsprov/__init__.py": b"", "nsprov/agent/__init__.py": b"", "nsprov/agent/engine.py": ECHO} | files)
    return lambda: archive


@pytest.fixture
def reach(machine, echo):
    """Connect to the first lab host with the echoing agent; what is open at the end is closed."""
    sessions = []

    def connect(options=None, **changes):
        target = Target(**changes)
        options = options or Options(ssh_config=str(machine.ssh_config))
        session = local.through_pipes(target, echo) if target.connection == "local" else ssh.connect(target, options, echo)
        sessions.append(session)
        assert session.receive() == {"event": "hello"}
        return session

    yield connect
    for session in sessions:
        session.close()


@pytest.fixture
def config(machine, tmp_path):
    """Write an ssh_config that starts with the given lines, and give options that use it."""

    def write(text, **options):
        path = tmp_path / "config"
        path.write_text(f"{text}\nHost *\n" + machine.ssh_config.read_text())
        return Options(ssh_config=str(path), **options)

    return write
