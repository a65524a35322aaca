"""The first code on a host, run as a host would run it: what it reads, what it keeps, what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nsprov.agent import bundle
from nsprov.transport import boot
from nsprov.transport.become import Become

TREE = Path(bundle.__file__).parents[1]
ENGINE = b"""
def serve(channel):
    while (message := channel.receive()) is not None:
        channel.send({"echo": message})
"""
SOURCES = {name: (TREE / name).read_bytes() for name in ("errors.py", "agent/protocol.py", "agent/__init__.py", "__init__.py")}
DATA, DIGEST = bundle.pack({f"nsprov/{name}": data for name, data in SOURCES.items()} | {"nsprov/agent/engine.py": ENGINE})
ARCHIVE = b"%012d" % len(DATA) + DATA


@pytest.fixture
def home():
    """Make a home for an ordinary user, who has the cache in it; root's is not for tests."""
    path = Path(tempfile.mkdtemp(prefix="nsprov-boot-"))
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def run(home):
    """Run the boot with some input to its end, and give its greeting, its other lines and the process."""

    def run(data=b"", *, digest=DIGEST, **environment):
        done = subprocess.run(
            ["/bin/sh", "-c", boot.command(digest, "TOKEN", python=None, become=None)],
            input=data,
            capture_output=True,
            check=False,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": str(home)} | environment,
            user=65534 if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
        )
        greeting, *lines = done.stdout.decode().splitlines() or [""]
        hello = json.loads(greeting.partition("TOKEN ok ")[2] or "{}")
        return hello, [json.loads(line) for line in lines], done

    return run


def test_the_command_line_is_one_line():
    """A csh would stumble over a newline or an exclamation mark."""
    line = boot.command(DIGEST, "TOKEN", python="/a b/python3", become=Become("su", password=True))

    assert "\n" not in line
    assert "!" not in line
    assert "'/a b/python3'" in line
    assert len(line) < 8000


def test_the_archive_is_asked_for_once(run, home):
    """The first run takes it, the second does not; both serve."""
    first = run(ARCHIVE + b'{"a":1}\n')
    second = run(b'{"a":2}\n')

    assert (first[0]["have"], first[1]) == (False, [{"echo": {"a": 1}}])
    assert (second[0]["have"], second[1]) == (True, [{"echo": {"a": 2}}])
    assert [
        path.stat().st_mode & 0o777 for path in (home / ".cache/nsprov/agents", *(home / ".cache/nsprov/agents").iterdir())
    ] == [0o700, 0o600]


def test_another_archive_is_another_entry(run):
    """Two versions of the agent lie side by side."""
    run(ARCHIVE)
    other, digest = bundle.pack(
        {f"nsprov/{name}": data for name, data in SOURCES.items()} | {"nsprov/agent/engine.py": ENGINE + b"#"}
    )

    assert run(b"%012d" % len(other) + other, digest=digest)[0]["have"] is False
    assert run(digest=digest)[0]["have"] is True
    assert run()[0]["have"] is True


def test_a_damaged_archive_is_refused(run, home):
    """Its sha256 is in the command line, so nothing else is run."""
    _, lines, done = run(b"%012d" % len(DATA) + DATA[:-1] + b"x")

    assert (lines, done.returncode) == ([], 1)
    assert done.stderr == b"nsprov: the agent arrived damaged\n"
    assert not list((home / ".cache/nsprov/agents").iterdir())


@pytest.mark.parametrize("data", [b"", b"000", b"%012d" % 1000 + b"abc"])
def test_a_controller_that_goes(run, data):
    """No archive, half a size, half an archive: a message and no traceback."""
    _, lines, done = run(data)

    assert (lines, done.returncode) == ([], 1)
    assert done.stderr == b"nsprov: the controller closed the connection\n"


def test_a_home_that_does_not_exist(run):
    """The agent runs from memory."""
    assert run(ARCHIVE + b"{}\n", HOME="/nonexistent")[1] == [{"echo": {}}]
    assert run(ARCHIVE + b"{}\n", XDG_CACHE_HOME="relative")[1] == [{"echo": {}}]


def test_xdg_cache_home(run, home):
    """The user's wish about the place is honoured."""
    run(ARCHIVE, XDG_CACHE_HOME=str(home / "elsewhere"))

    assert (home / "elsewhere/nsprov/agents").is_dir()
    assert not (home / ".cache").exists()


def test_poisoned_environment(run, home):
    """Modules that lie in the way are not imported."""
    (home / "json.py").write_text("raise SystemExit('poison')")

    assert run(ARCHIVE + b"{}\n", PYTHONPATH=str(home), PYTHONHOME=str(home), PYTHONSTARTUP=str(home / "json.py"))[1] == [
        {"echo": {}}
    ]


def test_many_at_once(run, home):
    """Several controllers that install the same agent do not disturb each other."""
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: run(ARCHIVE + b"{}\n"), range(6)))

    assert all(done.returncode == 0 or hello["have"] for hello, _, done in results)
    assert [path.name for path in (home / ".cache/nsprov/agents").iterdir() if "." in path.name.removeprefix(DIGEST)] == []
    assert run(b"{}\n")[0]["have"] is True


def test_last_months_agents_are_dropped(run, home):
    """The cache does not grow for ever."""
    run(ARCHIVE)
    old = next((home / ".cache/nsprov/agents").iterdir())
    os.utime(old, (0, time.time() - 31 * 86400))
    other, digest = bundle.pack(
        {f"nsprov/{name}": data for name, data in SOURCES.items()} | {"nsprov/agent/engine.py": ENGINE + b"#"}
    )
    run(b"%012d" % len(other) + other, digest=digest)

    assert not old.exists()
    assert run(digest=digest)[0]["have"] is True


def test_the_password_prompt_is_ours():
    """Nobody else can know the text by which sudo asks."""
    assert "-S -p '[TOKEN] '" in boot.command(DIGEST, "TOKEN", python=None, become=Become("sudo", password=True))
    assert " sudo -n -- " in boot.command(DIGEST, "TOKEN", python=None, become=Become("sudo", password=False))
    assert "sudo" not in boot.command(DIGEST, "TOKEN", python=None, become=None)
