"""Reach this host: as root by a fork, as another user by sudo and the same boot as over SSH."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from labhosts import PASSWORD

from nsprov.errors import Unreachable

TREE = Path(__file__).parents[2]

FORK = """
import json, os, sys
from nsprov.transport import Options, connect
sys.path.insert(0, sys.argv[1])
from conftest import Target
secret = os.open("/etc/shadow", os.O_RDONLY)
session = connect(Target(name="here", connection="local"), Options())
hello = session.receive()
pid = hello["pid"]
open_files = sorted(os.listdir(f"/proc/{pid}/fd"), key=int)
streams = [os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1)]
apart = os.getsid(pid) != os.getsid(0)
session.close()
session.close()
print(json.dumps([hello["event"], open_files, streams, apart, os.path.exists(f"/proc/{pid}"), dict(session.facts)]))
"""


def test_root_forks():
    """The child serves over one socket, holds no other file of ours, and is gone after close()."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(Path(__file__).parent)], check=True, capture_output=True, text=True, cwd=TREE
    )
    event, files, streams, apart, still_there, facts = json.loads(done.stdout)

    assert event == "hello"
    assert files == ["0", "1", "2", "3"]
    assert streams == ["/dev/null", "/dev/null"]
    assert apart is True
    assert still_there is False
    assert facts["exec_channels"] == 0


def test_without_sudo_we_stay_who_we_are(reach):
    """The same boot over pipes."""
    session = reach(connection="local")
    session.send({"text": "x" * 300_000})

    assert session.receive()["size"] == 300_000


THROUGH_SUDO = """
import sys
sys.path[:0] = [{tree!r}]
from types import SimpleNamespace
from nsprov.errors import NsprovError
from nsprov.transport import local
from nsprov.agent import bundle
password = SimpleNamespace(reveal=lambda: sys.argv[1]) if len(sys.argv) > 1 else None
host = SimpleNamespace(name="here", become=True, become_method="sudo", become_password=password, python=None)
host.connection = "local"
source = {{"nsprov/" + name: open({tree!r} + "/nsprov/" + name, "rb").read() for name in ("errors.py", "agent/protocol.py")}}
engine = b"def serve(channel): channel.send({{'event': 'hello'}}); channel.receive()"
archive = bundle.pack({{"nsprov/__init__.py": b"", "nsprov/agent/__init__.py": b"", "nsprov/agent/engine.py": engine}} | source)
try:
    session = local.through_pipes(host, lambda: archive)
    print(session.receive()["event"], session.facts["uid"])
    session.close()
except NsprovError as problem:
    print(problem.diagnostics[0].summary)
"""


@pytest.mark.parametrize(
    ("user", "password", "expected"),
    [
        ("lab", None, "hello 0"),
        ("lab", PASSWORD, "hello 0"),
        ("labpw", PASSWORD, "hello 0"),
        ("labpw", "wrong", "sudo did not accept the password"),
        ("labpw", None, "sudo asks for a password"),
        ("nobody", None, "sudo asks for a password"),
    ],
)
def test_another_user_through_sudo(machine, user, password, expected):
    """Local is remote with a shorter wire: the same prompts, the same errors."""
    # The host has a /tmp of its own, and this tree may be in ours.
    shutil.copytree(TREE / "nsprov", machine.root / "srv/tree/nsprov", dirs_exist_ok=True)
    script = machine.root / "tmp/through_sudo.py"
    script.write_text(THROUGH_SUDO.format(tree="/srv/tree"))

    assert machine.run(f"cd /; /usr/bin/python3 -I -S /tmp/through_sudo.py {password or ''}", user=user) == expected + "\n"


def test_no_python_here(reach):
    """The diagnostics are those of a remote host."""
    with pytest.raises(Unreachable, match="no usable Python"):
        reach(connection="local", python="/nonexistent")
