"""A run that is killed while it makes, edits or takes down a node in full; and the death of what such a node runs.

The node has all eight namespaces, limits, files of its own, an init and workloads; its neighbour shares the host's ids.
"""

from __future__ import annotations

import itertools
import os
import signal
import time

import pytest

from nsprov.kernel.cgroups import Cgroups, members
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root
LAB = "t"
PATIENCE = 10.0
FIRST = 1900000000
MAP = [[0, FIRST, 65536]]


def full(node, pids, command, *, user):
    """Give the resources of a node in full."""
    owned = {"user": True} if user else {}
    owner = {"uid": FIRST, "gid": FIRST} if user else {}
    kinds = ["cgroup", "ipc", "net", "time", "uts", *(["user"] if user else [])]
    spaces = ["cgroup", "ipc", "pid", *(["user"] if user else [])]
    after = [[f"{node}/job", "completed"]]
    rows = [
        ["cgroup", {"node": node, "pids": pids}],
        ["netns", {"node": node, "name": f"t-{node}", "etc": [["motd", f"{node}/etc/motd"]], **owned}],
        ["utsns", {"node": node, "hostname": f"{node}{pids}", **owned}],
        ["ipcns", {"node": node, **owned}],
        ["cgroupns", {"node": node, **owned}],
        ["timens", {"node": node, "boottime": 1000, **owned}],
        ["init", {"node": node, "pid": True, "spaces": kinds}],
        ["file", {"owner": node, "path": "/etc/motd", "content": command, **owner}],
        ["mntns", {"node": node, "rootfs": "host", "spaces": spaces, "binds": [["/etc/motd", f"{node}/etc/motd"]]}],
        ["workload", {"node": node, "name": "job", "command": ["true"], "type": "oneshot"}],
        ["workload", {"node": node, "name": "w", "command": ["sleep", command], "grace": 0, "after": after}],
    ]
    return [["userns", {"node": node, "uids": MAP, "gids": MAP}], *rows] if user else rows


WIRE = ["veth", {"node": "a", "ifname": "eth0", "peer_node": "b", "peer_ifname": "eth0", "state": "up", "peer_state": "up"}]
BEFORE = [*full("a", 100, "1000", user=True), *full("b", 100, "1000", user=False), WIRE]
AFTER = [*full("a", 90, "2000", user=False), *full("b", 90, "2000", user=True), WIRE]


def state(rows):
    """Give resources."""
    return list(load_state(rows, SCHEMAS).values())


class Killer:
    """Progress that kills its own process at one step."""

    def __init__(self, at):
        """Store when."""
        self._left = at

    def __call__(self, *_):
        """Count down, and die."""
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def kill_everywhere(labs, prepare, rows, repair):
    """Kill a run at each of its steps in turn, repairing in between, until one gets through; give how many there were."""
    for at in range(100):
        prepare()
        if labs.up(LAB, *state(rows), progress=Killer(at)) != signal.SIGKILL:
            return at
        repair()
    pytest.fail("the run has no end")


def converged(labs, rows):
    """Finish what was begun, and see that nothing is left to do and that all runs."""
    labs.up(LAB, *state(rows))

    assert labs.plan(LAB, *state(rows)).actions() == {}
    assert all(group(node, "w-w") and group(node, "init") for node in "ab")


def group(node, child):
    """Give the processes of a group of a node."""
    return members(Cgroups(LAB).tree.group(node, child))


def test_new_then_up(labs):
    """Killed while it made them, wherever: the next `up` makes what is missing."""
    steps = kill_everywhere(labs, lambda: labs.down(LAB), BEFORE, lambda: converged(labs, BEFORE))
    labs.down(LAB)

    assert steps > 10


def test_new_then_down(labs, host):
    """Killed while it made them, wherever: the next `down` leaves nothing, no process either."""

    def down():
        labs.down(LAB)
        host.check()

    assert kill_everywhere(labs, lambda: None, BEFORE, down) > 10
    labs.down(LAB)


def test_edit(labs, host):
    """Killed while it replaced nearly everything, wherever: `up` gets there, and `down` leaves nothing of old and new."""

    def down():
        labs.down(LAB)
        host.check()

    ways = itertools.cycle([lambda: converged(labs, AFTER), down])
    steps = kill_everywhere(labs, lambda: labs.up(LAB, *state(BEFORE)), AFTER, lambda: next(ways)())  # noqa: PLW0108 - another one each time
    labs.down(LAB)

    assert steps > 20


def test_down_then_down(labs, host):
    """Killed while it took them down, wherever: the next `down` takes the rest."""

    def down():
        labs.down(LAB)
        host.check()

    kill_everywhere(labs, lambda: labs.up(LAB, *state(BEFORE)), [], down)


def slain(*groups):
    """Kill what is in groups of nodes, and wait until it is gone."""
    for node, child in groups:
        for pid in group(node, child):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while any(group(node, child) for node, child in groups):
        assert time.monotonic() < deadline
        time.sleep(0.005)


WHOM = {
    "a workload": [("a", "w-w")],
    "every workload": [("a", "w-w"), ("b", "w-w")],
    "an init": [("a", "init")],
    "every init": [("a", "init"), ("b", "init")],
    "all of it": [("a", "w-w"), ("a", "init"), ("b", "init"), ("b", "w-w")],
}


@pytest.mark.parametrize("whom", WHOM)
def test_somebody_dies(labs, host, whom):
    """Killed by hand: `up` sees it and makes them anew; `down` leaves nothing, whether they are alive or not."""
    labs.up(LAB, *state(BEFORE))
    slain(*WHOM[whom])
    assert labs.plan(LAB, *state(BEFORE)).actions() != {}
    converged(labs, BEFORE)
    slain(*WHOM[whom])
    labs.down(LAB)
    host.check()
