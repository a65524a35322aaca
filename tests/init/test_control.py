"""Agents and others that connect: what they may ask, and what does no harm."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time

import pytest

from nsprov.errors import KernelError
from nsprov.init import client

pytestmark = pytest.mark.root


def connect(node):
    """Connect as nobody does who means well."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(node.path)
    connection.settimeout(10)
    return connection


def answer(connection):
    """Read one line, and nothing of the next one."""
    data = b""
    while not data.endswith(b"\n"):
        more = connection.recv(1)
        if not more:
            return None
        data += more
    return json.loads(data)


NO_REQUESTS = [
    (b"\n", "not a request"),
    (b"garbage\n", "not a request"),
    (b"\xff\xfe\x00\n", "not a request"),
    (b"[]\n", "not a mapping"),
    (b"1\n", "not a mapping"),
    (b"[" * 100000 + b"\n", "nested too deeply"),
    (b"{}\n", "None is none of hello"),
    (b'{"verb": "explode"}\n', "'explode' is none of hello"),
    (b'{"verb": ["hello"]}\n', "is none of hello"),
    (b'{"verb": {}}\n', "is none of hello"),
    (b'{"verb": "stop"}\n', "there is no workload None"),
    (b'{"verb": "stop", "name": {}}\n', "there is no workload {}"),
    (b'{"verb": "stop", "name": "x\\u0000"}\n', "there is no workload"),
    (b'{"verb": "root"}\n', "one mount namespace"),
    (b'{"verb": "set", "name": "x", "spec": {"command": 5}}\n', "command: "),
    (b'{"verb": "set", "name": 5, "spec": {"command": ["x"]}}\n', "name of a workload"),
    (b"x" * (2 << 20), "too large"),
]


def test_what_is_no_request(node):
    """It is said what is wrong, and the next one is served."""
    for line, words in NO_REQUESTS:
        with connect(node) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(line)
            with contextlib.suppress(ConnectionError):
                assert words in answer(connection)["error"]

    assert node.alive()


def test_ten_megabytes_without_a_line(node, memory):
    """They are not kept."""
    before = memory(node.pid)
    with connect(node) as connection, pytest.raises(ConnectionError):
        connection.sendall(b"x" * 10_000_000)

    assert node.alive()
    assert memory(node.pid) < before + 3000


def descriptors(node):
    """Count the init's descriptors when all connections are closed."""
    time.sleep(0.1)
    return len(os.listdir(f"/proc/{node.pid}/fd"))


def test_descriptors_are_not_kept(node):
    """Those that nobody asked for, too many of them, and those of a request that is refused."""
    node.ask("hello")
    before = descriptors(node)
    fds = [0] * 20
    node.ask("hello", fds=fds)
    with pytest.raises(KernelError, match="command"):
        node.ask("set", "w", fds=fds, spec={})
    with pytest.raises(KernelError, match="one mount namespace"):
        node.ask("root", fds=fds)
    with pytest.raises(KernelError):
        node.ask("root", fds=[0])
    with pytest.raises(KernelError, match="too large"):
        node.ask("hello", fds=[0] * 33)
    node.set("w", "sleep 1000")
    running = descriptors(node)
    node.set("w", "sleep 1000", fds=fds)
    assert descriptors(node) == running
    node.ask("remove", "w")

    assert descriptors(node) == before


def test_many_requests_at_once(node):
    """Each is answered, in order."""
    lines = b'{"verb": "hello"}\n' * 2000
    with connect(node) as connection:
        thread = threading.Thread(target=lambda: connection.sendall(lines))
        thread.start()
        data = b""
        while data.count(b"\n") < 2000:
            data += connection.recv(65536)
        thread.join()

    assert set(data.splitlines()) == {b'{"ok":true,"pid":1,"workloads":{}}'}


def test_one_after_the_other(node):
    """A request waits for the answer of the one before it on its own connection, and on no other."""
    node.set("w", "sleep 1000", ready=[["file", "/nonexistent"]])
    with connect(node) as connection:
        connection.sendall(b'{"verb": "wait", "name": "w", "for": "ready", "timeout": 0.3}\n{"verb": "hello"}\n')
        assert node.alive()
        first, second = answer(connection), None
        if first is not None:
            second = answer(connection)

    assert (first["reached"], second["pid"]) == (False, 1)


def test_who_goes_before_the_answer(node):
    """What they wanted is done all the same."""
    node.set("w", "trap 'sleep 0.2; exit 0' TERM; echo up; while :; do sleep 0.02; done", ready=[["log", "up"]])
    node.wait("w", "ready")
    with connect(node) as connection:
        connection.sendall(b'{"verb": "remove", "name": "w"}\n')

    deadline = time.monotonic() + 5
    while node.ask("hello")["workloads"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert node.ask("hello")["workloads"] == {}


def test_what_is_removed_is_not_started(node):
    """A request in between is refused."""
    node.set("w", "trap 'sleep 0.3; exit 0' TERM; echo up; while :; do sleep 0.02; done", ready=[["log", "up"]])
    node.wait("w", "ready")
    with connect(node) as connection:
        connection.sendall(b'{"verb": "remove", "name": "w"}\n')
        time.sleep(0.1)
        for ask in (lambda: node.ask("start", "w"), lambda: node.set("w", "sleep 1000")):
            with pytest.raises(KernelError, match="is being removed"):
                ask()

        assert answer(connection) == {"ok": True}


def test_many_that_hang(node):
    """More than are served at a time: others are served when they are given up, and at once when they go."""
    with contextlib.ExitStack() as stack:
        hanging = [stack.enter_context(connect(node)) for _ in range(100)]
        for connection in hanging[:50]:
            connection.sendall(b'{"verb"')
        with pytest.raises(KernelError, match="does not answer"):
            node.ask("hello", patience=0.5)

    assert node.alive()


def test_who_asks_nothing_is_given_up(node):
    """After some time; who waits for an answer or for events is not."""
    node.set("w", "sleep 1000", ready=[["file", "/nonexistent"]])
    with connect(node) as idle, connect(node) as events, connect(node) as waiting:
        events.sendall(b'{"verb": "events"}\n')
        waiting.sendall(b'{"verb": "wait", "name": "w", "for": "ready", "timeout": 6}\n')
        assert answer(events) == {"ok": True}
        began = time.monotonic()
        assert idle.recv(1) == b""
        assert 4 < time.monotonic() - began < 9
        assert answer(waiting)["reached"] is False
        node.ask("stop", "w")
        data = b""
        while b'"stopped"' not in data:
            data += events.recv(65536)


def test_events(node):
    """All that happens, as it happens, with what is true by then."""
    seen = []

    def watch():
        seen.extend(client.stream(node.path, {"verb": "events"}))

    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(0.2)
    node.set("w", "exit 3 ", restart="on-failure", restart_max=1, backoff=10)
    node.wait("w")
    node.set("v", "sleep 1000", ready=[["exec", '["true"]']], health=[["exec", '["true"]'], ["interval", "10"]])
    node.until("v", lambda status: status["health"] == "healthy")
    node.ask("shutdown")
    thread.join()
    rows = [(row["workload"], row["event"]) for row in seen]

    assert [event for name, event in rows if name == "w"] == ["started", "exited", "restarting", "started", "exited", "failed"]
    assert [event for name, event in rows if name == "v"] == ["started", "ready", "healthy", "exited", "stopped"]
    assert seen[1].items() >= {"exit": 3, "signal": None, "reason": "exited with code 3"}.items()
    assert all(abs(row["time"] - time.time()) < 60 for row in seen)


def test_a_slow_reader_of_events(node, memory):
    """It is dropped, and nobody waits for it."""
    with connect(node) as connection:
        connection.sendall(b'{"verb": "events"}\n')
        answer(connection)
        node.set("w", "true ", restart="always", backoff=0, backoff_max=0)
        node.until("w", lambda status: status["restarts"] > 20)
        before = memory(node.pid)
        node.until("w", lambda status: status["restarts"] > 100)

        assert memory(node.pid) < before + 1000


def test_a_long_path(tmp_path, host):
    """An address has 107 bytes; a longer path goes by its directory."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        fd = os.open(directory, os.O_PATH)
        listener.bind(f"/proc/self/fd/{fd}/x.sock")
        listener.listen()
        os.close(fd)

        def serve():
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b'{"ok": true}\n')

        thread = threading.Thread(target=serve)
        thread.start()
        assert client.ask(f"{directory}/x.sock", {"verb": "hello"}) == {"ok": True}
        thread.join()


def test_what_the_client_says(tmp_path, node):
    """Nobody there, nobody who answers, and many at a time."""
    nowhere = str(tmp_path / "nowhere.sock")
    with pytest.raises(KernelError, match="does not answer") as caught:
        client.ask(nowhere, {"verb": "hello"})
    assert caught.value.diagnostics[0].where == "nowhere"
    assert caught.value.diagnostics[0].detail == "No such file or directory."
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "mute.sock"))
        listener.listen()
        with pytest.raises(KernelError) as caught:
            client.ask(str(tmp_path / "mute.sock"), {"verb": "hello"}, timeout=0.2)
    assert caught.value.diagnostics[0].detail == "Connection timed out."
    good, gone, bad = client.ask_all([node.path, nowhere, node.path], {"verb": "hello"})
    assert good["ok"]
    assert bad["ok"]
    assert "No such file" in gone["error"]
