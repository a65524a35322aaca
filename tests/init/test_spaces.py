"""Inits in a user namespace: who is root in the node is somebody else outside."""

from __future__ import annotations

import os

import pytest

from nsprov.errors import KernelError

pytestmark = pytest.mark.root


def test_what_root_is_there(mapped):
    """It has the namespace's capabilities, as far as they are listed; logs are its own."""
    text = mapped.said("x", "/bin/cat", "/proc/self/uid_map", "/proc/self/status")
    found = {line.split(":")[0]: line.split(":")[1].split() for line in text.splitlines()[1:]}

    assert text.split()[:3] == ["0", "100000", "65536"]
    assert found["Uid"] == ["0"] * 4
    assert found["CapEff"] == found["CapBnd"] == ["00000000a80435fb"]
    assert os.stat(f"{mapped.logs}/x.log").st_uid == 100000
    assert os.stat(f"/proc/{mapped.pid}/fd").st_uid == 0  # it is not dumpable, so nobody of the node is its owner


def test_other_users(mapped):
    """Those that are mapped; others do not exist."""
    assert mapped.said("x", "id -u; id -g; echo out > /dev/stdout", user="nobody").split() == ["65534", "65534", "out"]
    bind = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 80))"
    mapped.set("web", "/usr/bin/python3", "-c", bind, user="nobody", capabilities=["NET_BIND_SERVICE"])
    assert mapped.wait("web")["exit"] == 1  # the network is the host's here, and its namespace is above the node's
    mapped.set("y", "id", user="70000")
    status = mapped.wait("y")

    assert status["exit"] == 125
    assert status["reason"].endswith("Invalid argument")


def test_the_init_is_closed_to_its_node(mapped):
    """Root there, with all capabilities of the namespace, can neither look into it nor trace nor end it."""
    script = f"(cd /proc/{mapped.pid} && readlink fd/3 cwd root exe; cat environ; kill -9 1) 2>&1; echo end"
    text = mapped.said("x", script, capabilities=["all"], seccomp="none")

    assert text.splitlines()[-1] == "end"
    assert "/" not in text.replace("cat: environ", "").replace("/bin/sh:", "").split("end")[0].replace("fd/3", "")
    assert mapped.alive()


def test_all_of_it_works(mapped, eventually):
    """Probes, restarts, stops."""
    mapped.set("w", "echo up; sleep 1000", ready=[["log", "up"]], health=[["exec", '["true"]'], ["interval", "20"]])
    assert mapped.until("w", lambda status: status["health"] == "healthy")["state"] == "ready"
    mapped.ask("restart", "w")
    mapped.ask("remove", "w")
    with pytest.raises(KernelError, match="none of"):
        mapped.ask("nonsense")
