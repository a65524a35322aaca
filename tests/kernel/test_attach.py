"""Finding whose network is meant: processes, paths, and what a container engine says, whatever it says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nsprov.kernel import attach, containers
from nsprov.kernel.attach import Absent, resolve

pytestmark = pytest.mark.root
ID = "f" * 63


@pytest.fixture(name="living")
def _living():
    """Start processes with a network of their own; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(*command):
            process = subprocess.Popen(["unshare", "--net", *(command or ("sleep", "1000"))], stdin=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
            while os.stat(f"/proc/{process.pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
                time.sleep(0.005)
            return process

        yield start


@pytest.fixture(name="one")
def _one():
    """Resolve one source: its inode, or why there is none."""

    def ask(source):
        found, why = resolve([source])
        if source in why:
            assert not found
            return why[source]
        inode = os.fstat(found[source].fd).st_ino
        attach.close(found)
        return inode

    return ask


def inode(pid):
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def test_a_process(living):
    """The network of a process is found by its number, and so is when it began."""
    process = living()
    found, why = resolve([f"pid:{process.pid}", f"pid:{os.getpid()}"])
    mine, his = found[f"pid:{os.getpid()}"], found[f"pid:{process.pid}"]

    assert why == {}
    assert (inode(process.pid), os.fstat(mine.fd).st_ino) == (os.fstat(his.fd).st_ino, inode("self"))
    assert 0 < mine.started <= his.started <= time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
    assert (his.same(his.fd), his.same(mine.fd), his.same(None)) == (True, False, False)
    attach.close(found)


def test_a_network_outlives_what_was_asked_for(living):
    """What was opened stays open when its process has gone."""
    process = living()
    before = inode(process.pid)
    found, _ = resolve([f"pid:{process.pid}"])
    process.kill()
    process.wait()

    assert os.fstat(found[f"pid:{process.pid}"].fd).st_ino == before
    attach.close(found)


def test_a_process_that_has_ended(living, one):
    """A zombie has no network, and a number that is nobody's has no process."""
    process = living()
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert one(f"pid:{process.pid}") == f"Process {process.pid} has ended."
    process.wait()
    assert one(f"pid:{process.pid}") == f"There is no process {process.pid}."


def test_a_thread_is_no_process(living, one):
    """The number of a thread is not that of a process."""
    code = "import threading, time; threading.Thread(target=time.sleep, args=(99,)).start(); print(flush=True); time.sleep(99)"
    process = subprocess.Popen(["python3", "-S", "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    (thread,) = set(os.listdir(f"/proc/{process.pid}/task")) - {str(process.pid)}

    assert one(f"pid:{thread}") == f"There is no process {thread}."
    process.kill()
    process.communicate()


def test_a_process_with_a_strange_name(one):
    """Brackets and spaces in the name of a program do not hide when it began."""
    script = "echo -n ') S 1 2 (' >/proc/self/comm; echo; read -r"
    with subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        found = attach.of_process(process.pid)
        os.close(found.fd)
        mine = attach.of_process(os.getpid())
        os.close(mine.fd)

        assert mine.started <= found.started <= mine.started + 10**7
        process.stdin.close()


def test_a_path(living, one, tmp_path):
    """A pinned network is found by its path; what is no such thing is not, and stops nobody."""
    pin, fifo = tmp_path / "pin", tmp_path / "fifo"
    pin.touch()
    os.mkfifo(fifo)
    process = living()

    assert one(f"netns:{pin}") == f"There is no network namespace at {pin}."
    assert one(f"netns:{fifo}") == f"There is no network namespace at {fifo}."
    assert one(f"netns:{tmp_path}/absent") == f"There is no network namespace at {tmp_path}/absent."
    assert one("netns:/proc/self/ns/uts") == "There is no network namespace at /proc/self/ns/uts."
    assert one(f"netns:/proc/{process.pid}/ns/net") == inode(process.pid)
    subprocess.run(["mount", "--bind", f"/proc/{process.pid}/ns/net", pin], check=True)
    assert one(f"netns:{pin}") == inode(process.pid)
    subprocess.run(["umount", pin], check=True)


@pytest.mark.parametrize(
    "source",
    [
        *("pid:0", "pid:-1", "pid:01", "pid:1\n", "pid:", "pid:²", "pid:99999999999", "pid: 1", "1", "", "netns:x", "lxc:x"),
        *("docker:--help", "podman:a b", "docker:../x", "docker:"),
    ],
)
def test_what_means_nobody(source, one):
    """A source that is malformed is refused before anything is asked."""
    assert one(source) == f'"{source}" does not say whose network is meant.'


# -- engines ----------------------------------------------------------------------------------------------------------


@pytest.fixture(name="engine")
def _engine(monkeypatch):
    """Put a program of any name where engines are looked for; it writes down how it was called."""
    directory = Path("/usr/local/sbin")  # of this sandbox, from here on
    subprocess.run(["mount", "-t", "tmpfs", "engines", directory], check=True)

    def put(script, name="docker"):
        path = directory / name
        path.write_text(f'#!/bin/sh\n(printf "%s\\n" "$@"; env; pwd) >{directory}/called\n{script}\n')
        path.chmod(0o755)
        return lambda: (directory / "called").read_text().splitlines()

    monkeypatch.setattr(containers, "_PATIENCE", 1)
    yield put
    subprocess.run(["umount", directory], check=True)


def says(*rows, code=0, stderr=""):
    return f"cat <<'END'\n{json.dumps(rows)}\nEND\nprintf '%s' '{stderr}' >&2\nexit {code}"


def row(name, pid, identifier=f"{ID}0", *, running=True):
    return {"Id": identifier, "Name": name, "State": {"Pid": pid, "Running": running}}


def test_containers_are_asked_for_together(engine, living):
    """One call names all of an engine's containers, after `--`, with an environment that is ours."""
    process = living()
    rows = row("/web", process.pid), row("/db", 0, f"{ID}1", running=False)
    called = engine(says(*rows, code=1, stderr="Error: No such container: x"))
    os.environ["DOCKER_HOST"] = "tcp://192.0.2.1:2375"
    try:
        found, why = resolve(["docker:web", "docker:db", "docker:x", f"docker:{ID}0"])
    finally:
        del os.environ["DOCKER_HOST"]
    argv = called()

    assert {source: os.fstat(one.fd).st_ino for source, one in found.items()} == dict.fromkeys(
        ("docker:web", f"docker:{ID}0"), inode(process.pid)
    )
    assert why == {"docker:db": 'Container "db" is not running.', "docker:x": 'There is no container "x" in docker.'}
    assert argv[:7] == ["container", "inspect", "--", "web", "db", "x", f"{ID}0"]
    assert "DOCKER_HOST=unix:///var/run/docker.sock" in argv
    variables = {line.partition("=")[0] for line in argv[7:-1]}
    assert variables - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "HOME", "LC_ALL", "DOCKER_HOST"}
    assert argv[-1] == "/"
    attach.close(found)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo not json", "docker gave an answer that is not understood."),
        ("echo '{}'", 'There is no container "web" in docker.'),
        ("echo '[1]'", "docker gave an answer that is not understood."),
        (says(row("web", 1, identifier=1)), "docker gave an answer that is not understood."),
        (says(row("web", "1")), "docker gave an answer that is not understood."),
        (says(row("web", True)), "docker gave an answer that is not understood."),
        (says(row("web", 1.5)), "docker gave an answer that is not understood."),
        (says(row("web", -1)), 'Container "web" is not running.'),
        (says(row("web", 1, running=False)), 'Container "web" is not running.'),
        (says(row("web", 1, running="yes")), 'Container "web" is not running.'),
        (says(row("webserver", 1)), 'There is no container "web" in docker.'),
        (says(row("web", 4194300)), "There is no process 4194300."),
        (says(code=1, stderr="Cannot connect.\nIs it\x1brunning?"), "docker says: Is it?running?"),
        ("sleep 5 & exec sleep 60", "docker did not answer within 1 seconds."),
        ("kill -9 $$", 'There is no container "web" in docker.'),
    ],
)
def test_what_an_engine_may_say(engine, one, script, why):
    """Whatever comes of asking an engine is a sentence, and never a process that was not meant."""
    engine(script)

    assert one("docker:web") == why


def test_an_engine_that_is_not_there(one, monkeypatch):
    """Without the engine nothing can be known of its containers."""
    monkeypatch.setattr(containers, "_PATH", "/nowhere:/run")

    assert one("podman:web") == "There is no podman on this host."


def test_a_program_of_the_callers_is_not_run(engine, one, tmp_path, monkeypatch):
    """What is first in the caller's PATH has nothing to say."""
    (tmp_path / "podman").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    engine(says(code=125, stderr="Error: no such container web"), "podman")

    assert one("podman:web") == 'There is no container "web" in podman.'
    assert not (tmp_path / "ran").exists()


def test_a_number_that_changed_hands(engine, one):
    """A process that began after the engine was asked is not the one that the engine meant."""
    engine(
        f"""
        sleep 0.05
        unshare --net sleep 1000 </dev/null >/dev/null 2>&1 &
        echo $! >/usr/local/sbin/pid
        sleep 0.1
        printf '[{{"Id": "{ID}", "Name": "web", "State": {{"Pid": %s, "Running": true}}}}]' $!
        """
    )

    assert one("docker:web") == 'Container "web" is just being restarted.'
    os.kill(int(Path("/usr/local/sbin/pid").read_text()), signal.SIGKILL)


def test_by_name_rather_than_by_how_an_id_begins(engine, living):
    """A name goes before the beginning of an id, and a whole id before a name."""
    one, two = living(), living()
    engine(says(row("/x", one.pid, "abc" + ID), row("/abc", two.pid, ID), row(f"/{ID}", one.pid, "0" + ID)))
    found, why = resolve(["docker:abc", "docker:abcf", f"docker:{ID}"])

    assert why == {}
    assert {source: os.fstat(place.fd).st_ino for source, place in found.items()} == {
        "docker:abc": inode(two.pid),
        "docker:abcf": inode(one.pid),
        f"docker:{ID}": inode(two.pid),
    }
    attach.close(found)


def test_absent_is_said_in_a_sentence():
    """Who asks for one process gets the sentence as an error."""
    with pytest.raises(Absent, match=r"^There is no process 4194300\.$"):
        attach.of_process(4194300)
