"""Workloads that behave badly: the host lives on, `ps` and `down` answer, and nothing is left."""

from __future__ import annotations

import json
import os
import time

import pytest
from commandline import until

from nsprov.kernel.cgroups import Cgroups, members

pytestmark = pytest.mark.root
QUIET = {"command": ["sleep", "1d"], "grace": "0s"}
PROMPT = 30.0
"""Seconds that an answer may take on a machine that others use too."""


@pytest.fixture(name="rough", params=["user", "plain"])
def _rough(request, nsprov):
    """Give the function that brings a node with workloads up; it goes down in the end, in time, and leaves nothing."""
    isolated = {"namespaces": "all", "user": {"map": "auto"}, "rootfs": "host"}
    node = isolated if request.param == "user" else {"namespaces": ["net", "mnt", "uts", "pid"], "rootfs": "host"}

    def up(limits, **workloads):
        nodes = {"n": {**node, "limits": limits, "workloads": workloads}}
        nsprov.write("topology.yml", json.dumps({"name": "rough", "nodes": nodes}))
        nsprov("up", "-q")

    yield up
    began = time.monotonic()
    nsprov("down", "-q", "--lab", "rough")
    assert time.monotonic() - began < PROMPT
    assert "nothing is left" in nsprov("audit", "--lab", "rough").out


def status(nsprov, name="w"):
    """Give how a workload is; the answer is to come in time."""
    began = time.monotonic()
    rows = nsprov("ps", "-o", "json").json["workloads"]
    assert time.monotonic() - began < PROMPT
    return next(row for row in rows if row["name"] == name)


def groups():
    """Give how many processes the node has."""
    return len(members(Cgroups("rough").tree.group("n")))


BOMB = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.1)  # it is full: that it stays so is what counts
"""


def test_a_fork_bomb(rough, nsprov):
    """It is held by the node's limit, its neighbour in the node goes on, and it can be stopped."""
    rough({"pids": 40}, quiet=QUIET, w={"command": ["python3", "-c", BOMB], "grace": "0s"})
    until(lambda: groups() >= 35, "the bomb has gone off")

    assert groups() <= 40
    assert status(nsprov, "quiet")["state"] == "running"
    nsprov("stop", "n/w")
    until(lambda: groups() <= 3, "it is gone")
    assert status(nsprov)["state"] == "stopped"
    assert status(nsprov, "quiet")["state"] == "running"


def test_a_flood_of_words(rough, nsprov):
    """Its log stays as large as it may be; init answers, and the end of the log can be read."""
    rough({"pids": 20}, w={"command": "yes", "log": {"size": "64K", "keep": 1}, "grace": "0s"})
    directory = "/run/nsprov/rough/log/n"
    until(lambda: os.path.exists(f"{directory}/w.log.1"), "it has turned")
    time.sleep(0.5)
    sizes = [os.path.getsize(f"{directory}/{name}") for name in os.listdir(directory)]

    assert sum(sizes) <= 3 * 64 * 1024
    assert status(nsprov)["state"] == "running"
    assert nsprov("logs", "n/w", "--tail", "2").out == "y\ny\n"


def test_a_crash_loop(rough, nsprov):
    """It is started again and again, ever later, and counted; others are not held up, and `stop` ends it."""
    again = {"policy": "always", "delay": "1ms", "max_delay": "20ms"}
    rough({"pids": 40}, quiet=QUIET, w={"command": ["sh", "-c", "exec sleep 0.001"], "restart": again})
    until(lambda: status(nsprov)["restarts"] > 20, "it was restarted")

    assert status(nsprov, "quiet")["restarts"] == 0
    nsprov("stop", "n/w")
    assert status(nsprov)["state"] == "stopped"


ZOMBIES = "while :; do sh -c 'sh -c true & sh -c true &'; i=$((i+1)); [ $i != 100 ] || echo many; done"


def test_a_maker_of_zombies(rough, nsprov):
    """Orphans are reaped by the init: they do not fill the node's limit."""
    rough({"pids": 60}, w={"command": ["sh", "-c", ZOMBIES], "grace": "0s", "ready": {"log": "many"}})

    assert status(nsprov)["state"] == "ready"
    assert groups() < 30
    assert nsprov("exec", "n", "--", "true").code == 0


FILL = "dd if=/dev/zero of=/tmp/full bs=1M 2>&1; df -P /tmp | tail -1; echo full; exec sleep 1d"


def test_a_full_tmp(rough, nsprov):
    """Its /tmp takes so much and no more, the host's has none of it, and the node's memory is limited."""
    before = os.statvfs("/tmp").f_bavail
    rough({"memory": "64M", "pids": 20}, w={"command": ["sh", "-c", FILL], "restart": "no", "grace": "0s"})
    until(lambda: status(nsprov)["state"] != "running" or "full" in nsprov("logs", "n/w").out, "it is full, or killed for it")

    assert not os.path.exists("/tmp/full")
    assert abs(os.statvfs("/tmp").f_bavail - before) * os.statvfs("/tmp").f_frsize < 1 << 28
    # What is in /tmp is freed with the node only, so the kernel may go on to kill the init.
    assert status(nsprov)["state"] in ("running", "failed", "init dead")


HOG = "x = []\nwhile True:\n    x.append(bytearray(1 << 20))\n    x[-1][::4096] = b'x' * 256"


def test_a_hog(rough, nsprov):
    """Who takes more memory than the node has is killed, and `ps` says why; the init is not."""
    rough({"memory": "64M", "pids": 20}, quiet=QUIET, w={"command": ["python3", "-c", HOG], "restart": "no"})
    found = until(lambda: (row := status(nsprov))["state"] == "failed" and row, "it is killed")

    assert found["signal"] == 9
    assert found["oom_kills"] >= 1
