"""A run that is killed between two steps: the next one converges, or takes everything down."""

from __future__ import annotations

import os
import signal

import pytest

from nsprov.kinds import KINDS, SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root
LAB = "t"

BEFORE = [
    ["netns", {"node": "a", "name": "t-a", "etc": [["motd", "a/etc/motd"]]}],
    ["netns", {"node": "b", "name": "t-b"}],
    ["utsns", {"node": "a", "hostname": "alpha"}],
    ["cgroup", {"node": "a", "pids": 100, "cpuset": "0"}],
    ["cgroup", {"node": "b", "memory": 67108864}],
    ["file", {"owner": "a", "path": "/etc/motd", "content": "one"}],
    ["mntns", {"node": "a", "binds": [["/etc/motd", "a/etc/motd"]]}],
    ["bridge", {"node": "", "name": "br0", "mac": "02:00:00:00:00:01", "mtu": 1500}],
    ["address", {"node": "", "dev": "br0", "address": "10.50.0.1/24"}],
    ["veth", {"node": "a", "ifname": "eth0", "peer_node": "", "peer_ifname": "a-eth0", "peer_master": "br0", "state": "up"}],
    ["veth", {"node": "a", "ifname": "eth1", "peer_node": "b", "peer_ifname": "eth1", "state": "up", "peer_state": "up"}],
    ["vxlan", {"node": "b", "ifname": "eth2", "vni": 7101, "port": 4789, "local": "10.9.0.1", "remotes": ["10.9.0.2"]}],
    ["address", {"node": "a", "dev": "eth1", "address": "10.0.0.1/24"}],
    ["address", {"node": "a", "dev": "eth1", "address": "fd00::1/64", "nodad": True}],
    ["sysctl", {"node": "a", "key": "net.ipv4.ip_forward", "value": "1"}],
    ["sysctl", {"node": "a", "key": "net.ipv4.conf.eth1.rp_filter", "value": "2"}],
    ["neighbour", {"node": "a", "dev": "eth1", "address": "10.0.0.2", "lladdr": "02:00:00:00:00:02"}],
    ["route", {"node": "a", "to": "10.9.0.0/16", "via": "10.0.0.2", "dev": "eth1"}],
    ["rule", {"node": "a", "family": 4, "priority": 100, "table": 100}],
]

AFTER = [
    ["netns", {"node": "a", "name": "t-a", "etc": [["hosts", "a/etc/hosts"]]}],
    ["netns", {"node": "c", "name": "t-c"}],
    ["utsns", {"node": "a", "hostname": "omega"}],
    ["cgroup", {"node": "a", "pids": 50, "cpu": 500}],
    ["cgroup", {"node": "c"}],
    ["file", {"owner": "a", "path": "/etc/hosts", "content": "two"}],
    ["mntns", {"node": "a", "binds": [["/etc/hosts", "a/etc/hosts"]]}],
    ["bridge", {"node": "", "name": "br1", "mac": "02:00:00:00:00:01", "mtu": 1400}],
    ["address", {"node": "", "dev": "br1", "address": "10.50.0.1/24"}],
    ["veth", {"node": "a", "ifname": "eth0", "peer_node": "", "peer_ifname": "a-eth0", "peer_master": "br1", "state": "up"}],
    ["veth", {"node": "a", "ifname": "eth1", "peer_node": "c", "peer_ifname": "eth1", "state": "up", "peer_state": "up"}],
    ["vxlan", {"node": "c", "ifname": "eth2", "vni": 7101, "port": 4789, "local": "10.9.0.1", "remotes": ["10.9.0.3"]}],
    ["address", {"node": "a", "dev": "eth1", "address": "10.0.0.1/24"}],
    ["sysctl", {"node": "a", "key": "net.ipv4.ip_forward", "value": "0"}],
    ["neighbour", {"node": "a", "dev": "eth1", "address": "10.0.0.2", "lladdr": "02:00:00:00:00:03"}],
    ["route", {"node": "a", "to": "10.9.0.0/16", "via": "10.0.0.3", "dev": "eth1"}],
    ["rule", {"node": "a", "family": 4, "priority": 100, "table": 101}],
]


def state(rows):
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


def test_all_kinds_are_in_it():
    """No kind is forgotten: the others are in `test_killed_full.py`, `test_attach.py`, and for their kernels in `tests/vm`."""
    full = {"userns", "ipcns", "cgroupns", "timens", "init", "workload", "attachment", "gretap", "wireguard"}
    assert {kind.NAME for kind in KINDS} - full == {row[0] for row in BEFORE} == {row[0] for row in AFTER}


def converge(labs):
    """Finish what was begun; the journal says that somebody was killed."""
    done = labs.up(LAB, *state(AFTER))

    assert done.interrupted
    assert labs.plan(LAB, *state(AFTER)).actions() == {}


def test_a_new_lab_then_up(labs):
    """Killed while it made a lab, wherever: the next `up` makes what is missing."""
    steps = kill_everywhere(labs, lambda: labs.down(LAB), AFTER, lambda: converge(labs))
    labs.down(LAB)

    assert steps > 10


def test_a_new_lab_then_down(labs, host):
    """Killed while it made a lab, wherever: the next `down` leaves nothing."""

    def down():
        labs.down(LAB)
        host.check()

    assert kill_everywhere(labs, lambda: None, AFTER, down) > 10
    labs.down(LAB)


def test_an_edit_then_up(labs):
    """Killed while it changed a lab, wherever: the next `up` gets there."""
    steps = kill_everywhere(labs, lambda: labs.up(LAB, *state(BEFORE)), AFTER, lambda: converge(labs))
    labs.down(LAB)

    assert steps > 15


def test_an_edit_then_back(labs):
    """Killed while it changed a lab, wherever: the next `up` with the old file brings the old lab back."""

    def back():
        labs.up(LAB, *state(BEFORE))
        assert labs.plan(LAB, *state(BEFORE)).actions() == {}

    kill_everywhere(labs, lambda: labs.up(LAB, *state(BEFORE)), AFTER, back)
    labs.down(LAB)


def test_an_edit_then_down(labs, host):
    """Killed while it changed a lab, wherever: the next `down` leaves nothing, of the old nor of the new."""

    def down():
        labs.down(LAB)
        host.check()

    kill_everywhere(labs, lambda: labs.up(LAB, *state(BEFORE)), AFTER, down)
    labs.down(LAB)


def test_going_down_then_down(labs, host):
    """Killed while it took a lab down, wherever: the next `down` takes the rest."""

    def down():
        labs.down(LAB)
        host.check()

    kill_everywhere(labs, lambda: labs.up(LAB, *state(BEFORE)), [], down)


def test_going_down_then_up(labs):
    """Killed while it took a lab down, wherever: the next `up` makes it whole."""
    kill_everywhere(labs, lambda: labs.up(LAB, *state(BEFORE)), [], lambda: labs.up(LAB, *state(BEFORE)))
