"""Readiness and health: every way to ask, and what comes of the answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time

import pytest

from nsprov.errors import KernelError

pytestmark = pytest.mark.root
QUICK = [["interval", "20"]]
LATE = [["interval", "20"], ["timeout", "200"]]
NOTIFY = (
    "import os, socket, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); "
    "a = '\\0' + os.environ['NOTIFY_SOCKET'][1:]; "
)


@contextlib.contextmanager
def listening(answer=b"HTTP/1.1 200 OK\r\n\r\n", family=socket.AF_INET):
    """Listen in the sandbox's network, which is the node's too, and answer all that is asked; give the port."""
    with socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(0.5)
                        connection.recv(1000)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def becomes_ready(node, *ready, script="sleep 1000", **spec):
    """Tell whether it does, within the time that it has for it."""
    node.set("w", script, ready=[*ready, *LATE], **spec)
    reply = node.ask("wait", "w", **{"for": "ready", "timeout": 5})
    if not reply["reached"]:
        assert reply["status"]["reason"].startswith("not ready within 0.2 s"), reply
    return reply["reached"], reply["status"]["reason"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_tcp(node, family):
    """Somebody listens; a port alone is of both families."""
    with listening(family=family) as port:
        assert becomes_ready(node, ["tcp", str(port)])[0]
        host = "[::1]" if family == socket.AF_INET6 else "127.0.0.1"
        assert becomes_ready(node, ["tcp", f"{host}:{port}"])[0]

    reached, reason = becomes_ready(node, ["tcp", str(port)])
    assert not reached
    assert f"port {port}: Connection refused" in reason


ANSWERS = [
    (b"HTTP/1.0 200 OK\r\n\r\n", True, ""),
    (b"HTTP/1.1 302 Found\r\n\r\n", True, ""),
    (b"HTTP/1.1 404 Not Found\r\n\r\n", False, "404 Not Found"),
    (b"HTTP/1.1 500\r\n\r\n", False, "500"),
    (b"SSH-2.0-x\r\n", False, "not HTTP"),
    (b"", False, "not HTTP"),
    (b"x" * 100000, False, "not HTTP"),
]


def test_http(node):
    """A status below 400 is good."""
    for answer, reached, words in ANSWERS:
        with listening(answer) as port:
            found, reason = becomes_ready(node, ["http", f"http://localhost:{port}/x"])

        assert (found, words in reason) == (reached, True), reason


def test_http_that_hangs(node):
    """An answer that does not come is none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached, reason = becomes_ready(node, ["http", f"http://127.0.0.1:{server.getsockname()[1]}/"])

    assert not reached
    assert reason == "not ready within 0.2 s"


def test_exec(node, tmp_path):
    """A command that ends well, run as the workload is: its user, its environment, its directory."""
    script = '[ "$(id -u) $PWD $A" = "65534 /usr 1" ] && [ $(ls /proc/self/fd | wc -l) = 4 ]'
    spec = {"user": "nobody", "cwd": "/usr", "env": [["A", "1"]]}

    assert becomes_ready(node, ["exec", json.dumps(["/bin/sh", "-c", script])], **spec)[0]
    assert becomes_ready(node, ["exec", '["false"]'])[1].endswith("exit code 1")
    assert becomes_ready(node, ["exec", '["no-such"]'])[1].endswith('"no-such" was not found')


def test_exec_that_hangs(node, eventually):
    """It is killed with all that it has started."""
    node.set("w", "sleep 1000", ready=[["exec", json.dumps(["/bin/sh", "-c", "sleep 2001 & sleep 2002"])], *LATE])
    assert not node.ask("wait", "w", **{"for": "ready", "timeout": 5})["reached"]

    eventually(lambda: not [pid for pid in os.listdir("/proc") if pid.isdigit() and b"sleep\x00200" in cmdline(pid)])


def cmdline(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()
    return b""


def test_file(node, tmp_path):
    """It is there, in the end."""
    path = tmp_path / "ready"

    assert becomes_ready(node, ["file", str(path)], script=f"sleep 0.05; touch {path}; sleep 1000")[0]
    path.unlink()
    assert becomes_ready(node, ["file", str(path)])[1].endswith(f"{path}: No such file or directory")


def test_log(node):
    """A line, on either stream, in pieces or not."""
    script = "echo no; printf 'list' >&2; sleep 0.05; echo 'ening on 80' >&2; sleep 1000"

    assert becomes_ready(node, ["log", r"^listening on \d+$"], script=script)[0]
    assert not becomes_ready(node, ["log", r"^ening"], script=script)[0]
    assert not becomes_ready(node, ["log", r"no$"], script="printf no; sleep 1000")[0]


def test_a_pattern_that_takes_for_ever(node):
    """It matches nothing, and holds up nobody."""
    line = "a" * 40 + "!"
    reached, _ = becomes_ready(node, ["log", "^(a+)+$"], script=f"echo {line}; sleep 1000")

    assert not reached
    assert node.alive()


def test_notify(node):
    """READY=1 from one of its processes; its status is shown."""
    program = NOTIFY + "s.sendto(b'STATUS=load\\x1bing\\nX', a); time.sleep(0.3); s.sendto(b'READY=1\\n', a); time.sleep(1000)"
    node.set("w", "/usr/bin/python3", "-c", program, ready=[["notify", "1"]])
    assert node.until("w", lambda status: status["reason"] == "loading")["state"] == "starting"
    assert node.wait("w", "ready")["state"] == "ready"

    child = NOTIFY + "os.fork() and time.sleep(1000); os.setsid(); s.sendto(b'READY=1', a); time.sleep(1000)"
    assert not becomes_ready(node, ["notify", "1"], script=f'exec /usr/bin/python3 -c "{child}"')[0]


def test_notify_of_others(node):
    """What another workload says, or who has gone, does not count; descriptors that come along are not kept."""
    steal = NOTIFY.replace("os.environ['NOTIFY_SOCKET']", "'@nsprov/w'")
    node.set("w", "sleep 1000", ready=[["notify", "1"], ["timeout", "700"]])
    send = "import array; s.sendmsg([b'READY=1'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 0]))], 0, a)"
    node.said("thief", "/usr/bin/python3", "-c", f"{steal} {send}")
    assert node.status("w")["state"] == "starting"
    reply = node.ask("wait", "w", **{"for": "ready", "timeout": 5})

    assert not reply["reached"]
    assert not [fd for fd in os.listdir(f"/proc/{node.pid}/fd") if os.readlink(f"/proc/{node.pid}/fd/{fd}") == "/dev/null"][2:]


def test_the_name_of_the_socket_is_taken(node):
    """It says so, and starts when it is free."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind("\0nsprov/w")
        status = node.set("w", "sleep 1000", ready=[["notify", "1"]])
        assert status["state"] == "backoff"
        assert "Address already in use" in status["reason"]

    node.until("w", lambda status: status["state"] == "starting")


def test_not_ready_in_time_is_a_failure(node):
    """It is ended, by its own signal, and its policy decides."""
    script = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.02; done"
    spec = {"restart": "on-failure", "restart_max": 1, "backoff": 10}
    node.set("w", script, ready=[["file", "/nonexistent"], *LATE], **spec)
    status = node.wait("w")

    assert (status["state"], status["restarts"], status["exit"]) == ("failed", 1, 0)
    assert "not ready within 0.2 s: /nonexistent" in status["reason"]
    assert len(node.log("w")) == 2


def test_it_ends_before_it_is_ready(node):
    """No probe is asked any more."""
    node.set("w", "exit 3 ", ready=[["file", "/nonexistent"], *QUICK])

    assert node.wait("w")["reason"] == "exited with code 3"
    reply = node.ask("wait", "w", **{"for": "ready", "timeout": 10})
    assert (reply["reached"], reply["status"]["state"]) == (False, "failed")


def health(kind, value, **settings):
    """Write a probe's rows."""
    rows = {"interval": "20", "timeout": "1000", "retries": "2", **settings}
    return [[kind, value], *([name, str(setting)] for name, setting in rows.items())]


def test_health(node, tmp_path):
    """Starting, healthy, unhealthy after as many failures in a row as it may have, and healthy again."""
    path = tmp_path / "well"
    path.touch()
    node.set("w", "sleep 1000", health=health("file", str(path)))
    assert node.until("w", lambda status: status["health"] == "healthy")["state"] == "running"
    path.unlink()
    status = node.until("w", lambda status: status["health"] == "unhealthy")
    assert status["reason"].endswith("No such file or directory")
    path.touch()

    assert node.until("w", lambda status: status["health"] == "healthy")["reason"] == ""


def test_start_period(node, tmp_path):
    """Failures in it do not count."""
    node.set("w", "sleep 1000", health=health("file", str(tmp_path / "x"), start_period=400))
    time.sleep(0.25)
    assert node.status("w")["health"] == "starting"

    node.until("w", lambda status: status["health"] == "unhealthy")


def test_every_kind_of_health(node):
    """A probe that fails, or takes too long."""
    asked = [("exec", '["false"]'), ("tcp", "1"), ("http", "http://127.0.0.1:1/"), ("exec", '["sleep", "1000"]')]
    for number, (kind, value) in enumerate(asked):
        node.set(f"w{number}", "sleep 1000", health=health(kind, value, timeout=100))
    for number in range(len(asked)):
        assert node.until(f"w{number}", lambda status: status["health"] == "unhealthy")["state"] == "running"


def test_cures(node, tmp_path):
    """Restart is by the workload's own signal and whatever its policy; kill leaves it to the policy."""
    path = tmp_path / "well"
    script = f"trap 'echo bye; exit 0' TERM; touch {path}; while :; do sleep 0.02; done"
    spec = {"backoff": 10, "grace": 5000}
    node.set("restart", script, health=health("file", str(path), on_failure="restart"), **spec)
    node.until("restart", lambda status: status["health"] == "healthy")
    path.unlink()
    status = node.until("restart", lambda status: status["restarts"] == 1 and status["health"] == "healthy")
    assert status["state"] == "running"
    assert len(node.log("restart")) == 1
    node.ask("stop", "restart")

    node.set("kill", script, health=health("file", str(path), on_failure="kill"), **spec)
    node.until("kill", lambda status: status["health"] == "healthy")
    path.unlink()
    status = node.wait("kill")
    assert (status["state"], status["signal"]) == ("failed", signal.SIGKILL)
    assert status["reason"].startswith("unhealthy: ")
    assert node.log("kill") == []


def test_health_begins_when_it_is_ready(node, tmp_path):
    """What is not ready is not ill."""
    path = tmp_path / "ready"
    node.set("w", "sleep 1000", ready=[["file", str(path)], *QUICK], health=health("exec", '["false"]'))
    time.sleep(0.2)
    assert node.status("w")["health"] == "starting"
    path.touch()

    node.until("w", lambda status: status["health"] == "unhealthy")


def test_pause(node, tmp_path):
    """While the node is frozen nothing is asked, and nothing is late."""
    node.ask("pause", on=True)
    node.set("w", "sleep 1000", ready=[["file", str(tmp_path / "x")], *LATE])
    node.set("v", "sleep 1000", health=health("exec", '["false"]'))
    time.sleep(0.4)
    assert node.status("w")["state"] == "starting"
    assert node.status("v")["health"] == "starting"
    node.ask("pause", on=False)

    node.until("v", lambda status: status["health"] == "unhealthy")
    assert node.wait("w")["reason"].startswith("not ready within")


def test_wait_has_a_timeout(node):
    """It is answered by the loop, which does other things meanwhile."""
    node.set("w", "sleep 1000", ready=[["file", "/nonexistent"]])
    began = time.monotonic()
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(node.ask("wait", "w", **{"for": "ready", "timeout": 0.5})))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert node.alive()
    for thread in threads:
        thread.join()

    assert 0.5 <= time.monotonic() - began < 1.5
    assert [answer["reached"] for answer in answers] == [False] * 3
    for message in ({"for": "x", "timeout": 1}, {"for": "ready"}, {"for": "ready", "timeout": -1}, {"for": [], "timeout": 1}):
        with pytest.raises(KernelError, match="in seconds"):
            node.ask("wait", "w", **message)
