"""`exec` by an agent, on the descriptors of its conversation: bytes without a terminal, frames with one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from commandline import PATIENCE, ROOT, until
from furnished import Furnished, alive, gone

from nsprov.agent import frames
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root
SIZE = {"terminal": [40, 110]}


@pytest.fixture(name="node", params=["plain", "pid", "user"])
def _node(request, labs, forked):
    """Bring a lab up and furnish its node, or leave it as most nodes are."""
    rows = [
        ["netns", {"node": "n1", "name": "t-n1", "etc": []}],
        ["utsns", {"node": "n1", "hostname": "n1"}],
        ["mntns", {"node": "n1", "binds": []}],
    ]
    labs.up("t", *load_state(rows, SCHEMAS).values())
    found = None if request.param == "plain" else Furnished("t", "n1", "t-n1", forked, user=request.param == "user")
    yield request.param
    if found:
        found.end()
    labs.down("t")


@pytest.fixture(name="start")
def _start(node):
    """Start an agent and have it run a command; give its process once it has said yes, or what it has said instead."""
    started = []

    def start(*argv, **request):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SECRET": "x", "LC_ALL": "C"}
        pipe = subprocess.PIPE
        code = "from nsprov.agent.engine import main; main()"
        program = [sys.executable, "-c", code]
        process = subprocess.Popen(program, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        started.append(process)
        assert json.loads(process.stdout.readline())["event"] == "hello"
        asked = {"verb": "exec", "lab": "t", "node": "n1", "argv": argv, **request}
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        reply = json.loads(process.stdout.readline())
        return process if reply == {"reply": "exec"} else reply

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def finished(process, data=b""):
    """Give the rest of the input and wait for the end."""
    out, err = process.communicate(data, timeout=PATIENCE)
    return process.returncode, out, err


def awaited(process):
    """Wait for the end while the controller is still there."""
    out, err = process.stdout.read(), process.stderr.read()
    return process.wait(PATIENCE), out, err


def test_bytes(start):
    """Binary clean both ways, stderr apart, and the exit code."""
    data = os.urandom(3_000_000)
    code, out, err = finished(start("sh", "-c", "cat; echo err >&2; exit 7"), data)

    assert (code, err) == (7, b"err\n")
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(out).hexdigest()


def test_not_found(start):
    """It is said on stderr, as a shell would."""
    code, out, err = finished(start("no-such-command"))

    assert (code, out) == (127, b"")
    assert b"no-such-command" in err


@pytest.mark.parametrize("request_", [{"user": "1:"}, {"directory": "/proc/1/root"}, {"user": "nobody-at-all", **SIZE}])
def test_a_refusal(start, request_):
    """It is the reply, and no command is run."""
    reply = start("true", **request_)

    assert reply["error"] == "InputError"


def test_the_environment(start, node):
    """The controller's terminal and language take the place of those of the way here."""
    caller = {"TERM": "vt100", "LANG": "de_DE", "PATH": "/evil"}
    said = finished(start("env", caller=caller, variables={"A": "b"}))[1].decode()
    found = dict(line.split("=", 1) for line in said.splitlines())

    assert (found["TERM"], found["LANG"], found["A"]) == ("vt100", "de_DE", "b")
    assert "LC_ALL" not in found
    assert "/evil" not in found["PATH"]
    assert ("SECRET" in found) == (node == "plain")


def test_frames(start):
    """Keys, sizes and signals reach the command; its end is the agent's."""
    script = (
        "tty; stty size; echo err >&2; read x; echo got $x; trap 'stty size; echo resized' WINCH; "
        "trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    )
    process = start("sh", "-c", script, **SIZE)
    process.stdin.write(frames.data(b"wo") + frames.data(b"rd\n"))
    process.stdin.flush()
    seen = _until(process, b"ready\r\n")
    process.stdin.write(frames.resize(33, 77))
    process.stdin.flush()
    seen += _until(process, b"resized\r\n")
    process.stdin.write(frames.signal(signal.SIGTERM))
    process.stdin.flush()
    code, out, err = awaited(process)

    assert re.search(rb"/dev/pts/\d+\r\n40 110\r\nerr\r\n", seen.replace(b"word\r\n", b"", 1))
    assert b"got word\r\n" in seen
    assert b"33 77\r\n" in seen
    assert (code, out.endswith(b"term\r\n"), err) == (9, True, b"")


def _until(process, words):
    seen = b""
    while not seen.endswith(words):
        byte = process.stdout.read(1)
        assert byte, seen
        seen += byte
    return seen


def test_the_end_of_input(start):
    """Is a frame, and not that of the conversation."""
    process = start("cat", **SIZE)
    process.stdin.write(frames.data(b"one\ntwo") + frames.end())
    process.stdin.flush()

    assert awaited(process) == (0, b"one\r\ntwoone\r\ntwo", b"")  # its echo, and what is read


def test_stderr_apart(start):
    """As it is without a terminal, if that is wanted."""
    process = start("sh", "-c", "echo out; echo err >&2; test -t 2 || echo apart; sleep 0.1", apart=True, **SIZE)
    seen = _until(process, b"apart\r\n")

    assert seen == b"out\r\napart\r\n"
    assert finished(process)[2] == b"err\n"


@pytest.mark.parametrize("end", ["close", "kill", "garbage"])
def test_a_controller_that_goes(start, end):
    """Nothing runs on, whether it hung up, the agent was killed, or what it says makes no sense."""
    process = start("sh", "-c", "echo ready; sleep 87654", **SIZE)
    _until(process, b"ready\r\n")
    if end == "kill":
        process.kill()
    elif end == "close":
        process.stdin.close()
    else:
        process.stdin.write(b"x" * 100)
        process.stdin.flush()

    assert gone("sh\x00-c\x00echo", 2)
    assert gone("87654", 2)


def test_a_command_that_does_not_want_to_go(start):
    """It is killed after a moment."""
    process = start("sh", "-c", "trap '' HUP TERM; echo ready; while :; do sleep 0.1; done", **SIZE)
    _until(process, b"ready\r\n")
    process.stdin.close()
    until(lambda: process.poll() is not None, "it has ended")

    assert process.returncode == 137
    assert not alive("trap '' HUP TERM")
