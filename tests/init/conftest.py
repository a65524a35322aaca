"""A node's init, started as the agent starts it: as PID 1 of a pid namespace, or as a subreaper."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time

import pytest

from nsprov.init import client, confine
from nsprov.init.spawn import Birth, Zygote
from nsprov.kernel import libc

PATIENCE = 10.0
USUAL = list(confine.USUAL)


class Node:
    """An init that is asked as the agent asks it; `pid` is its own, from outside."""

    def __init__(self, directory, *, pid1=True, spaces=(), owner=0):
        """Start it in namespaces, {type: descriptor}; `owner` is the uid that their root has outside."""
        self.path = f"{directory}/node.sock"
        self.logs = f"{directory}/log"
        os.mkdir(self.logs)
        os.chown(self.logs, owner, owner)
        with socket.socket(socket.AF_UNIX) as listener, Zygote() as zygote:
            listener.bind(self.path)
            listener.listen(64)
            logs = os.open(self.logs, os.O_RDONLY)
            zygote.ask(Birth("node", listener.detach(), logs, [], dict(spaces), pid1))
            _, self.pid, space = zygote.born()
            if space is not None:
                os.close(space)

    def ask(self, verb, name=None, /, fds=(), patience=PATIENCE + 5, **message):
        """Ask, and give the answer."""
        message = {"verb": verb, **({"name": name} if name else {}), **message}
        return client.ask(self.path, message, fds, patience)

    def set(self, name, *command, fds=(), kill=False, **spec):
        """Have a workload run a command, or a script if it is one word with spaces in it."""
        if len(command) == 1 and " " in command[0]:
            command = ("/bin/sh", "-c", command[0])
        spec = {"node": "node", "name": name, "command": list(command), "capabilities": USUAL, **spec}
        return self.ask("set", name, fds=fds, spec=spec, **({"kill": True} if kill else {}))["status"]

    def wait(self, name, goal="exit", timeout=PATIENCE):
        """Wait until it is ready or has ended for good, and give its status."""
        reply = self.ask("wait", name, **{"for": goal, "timeout": timeout})
        assert reply["reached"], reply
        return reply["status"]

    def said(self, name, *command, **spec):
        """Run a command to its end and give what it said."""
        spec.setdefault("type", "oneshot")
        self.set(name, *command, **spec)
        status = self.wait(name)
        text = "\n".join(line.split(" ", 3)[3] for line in self.log(name))
        assert status["state"] == "done", (status, text)
        return text

    def log(self, name):
        """Give the lines of a workload's log."""
        try:
            with open(f"{self.logs}/{name}.log", encoding="utf-8") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def status(self, name):
        """Give what the init knows of a workload."""
        return self.ask("hello")["workloads"][name]

    def until(self, name, what, timeout=PATIENCE):
        """Wait until something is true of a workload's status, and give it."""

        def look():
            status = self.status(name)
            return status if what(status) else None

        return eventually(look, timeout)

    def alive(self):
        """Tell whether the init answers at once."""
        began = time.monotonic()
        return self.ask("hello")["ok"] and time.monotonic() - began < 2.0

    def end(self):
        """End it and all that it has."""
        with contextlib.suppress(Exception):
            names = list(self.ask("hello", patience=2)["workloads"])
            for name in names:
                self.ask("kill", name, signal="KILL", patience=2)
        with contextlib.suppress(Exception):
            self.ask("shutdown", patience=5)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def faults(self):
        """Give what went wrong in the init itself."""
        with open(f"{self.logs}/@init.log", encoding="utf-8") as file:
            return file.read()


def eventually(what, timeout=PATIENCE):
    """Wait until something is true, and give it."""
    deadline = time.monotonic() + timeout
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(name="node")
def _node(tmp_path, host):
    """Give a node whose init is PID 1 of a pid namespace."""
    node = Node(tmp_path)
    yield node
    node.end()
    assert node.faults() == ""


@pytest.fixture(name="subreaper")
def _subreaper(tmp_path, host):
    """Give a node whose init is a subreaper."""
    node = Node(tmp_path, pid1=False)
    yield node
    node.end()
    assert node.faults() == ""


@pytest.fixture(name="small")
def _small(tmp_path, host):
    """Give a node whose logs have 64 kB of room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", str(tmp_path)], check=True)
    node = Node(tmp_path)
    yield node
    node.end()
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.fixture(name="mapped")
def _mapped(tmp_path, host):
    """Give a node whose root is uid 100000 outside."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            ours.close()
            libc.unshare(libc.CLONE_NEWUSER)
            theirs.send(b"1")
            theirs.recv(1)
            os._exit(0)
        theirs.close()
        ours.recv(1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write("0 100000 65536")
        node = Node(tmp_path, spaces={"user": os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)}, owner=100000)
    os.waitpid(pid, 0)
    yield node
    node.end()
    assert node.faults() == ""


@pytest.fixture(name="memory")
def _memory():
    """Give what counts the kB of a process that no file is behind."""

    def count(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

    return count


@pytest.fixture(name="eventually")
def _eventually():
    return eventually
