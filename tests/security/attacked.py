"""One small lab with everything a node can have, seen from the host."""

from __future__ import annotations

import json
import os

from commandline import until

from nsprov.kernel.cgroups import Cgroups, members
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

LAB = "sec"
FULL = {"namespaces": "all", "user": {"map": "auto"}, "rootfs": "host"}
"""A node with all namespaces, and root in it is nobody outside."""

OWN = {"namespaces": ["net", "mnt", "uts", "ipc", "pid", "cgroup"], "rootfs": "host"}
"""A node with all but the user namespace: root in it is root of the host, but what its workloads keep is little."""

SLEEP = {"command": ["sleep", "1d"], "grace": "0s"}


def both(**workloads):
    """Give a node of each sort with these workloads."""
    return {"full": {**FULL, "workloads": workloads}, "own": {**OWN, "workloads": workloads}}


class Lab:
    """A lab that is written as a mapping of nodes, seen from the host."""

    root = f"/run/nsprov/{LAB}"

    def __init__(self, nsprov):
        """Store what runs commands."""
        self.nsprov = nsprov

    def write(self, nodes, **more):
        """Write the topology."""
        return self.nsprov.write("topology.yml", json.dumps({"name": LAB, "nodes": nodes, **more}))

    def up(self, nodes, code=0, **more):
        """Write the topology and bring it up; give what was said."""
        self.write(nodes, **more)
        return self.nsprov("up", "-q", code=code)

    def run(self, node, *argv, code=0):
        """Run a command in a node and give what it said."""
        return self.nsprov("exec", node, "--", *argv, code=code)

    def log(self, name):
        """Give what a workload has said."""
        return self.nsprov("logs", name).out

    def workloads(self):
        """Give how workloads are, by name."""
        rows = self.nsprov("ps", "-o", "json").json["workloads"]
        return {f"{row['node']}/{row['name']}": row for row in rows}

    def group(self, node, child):
        """Give the processes of a group of a node, as the host knows them."""
        return members(Cgroups(LAB).tree.group(node, child))

    def init(self, node):
        """Give the pid of a node's init."""
        return until(lambda: self.group(node, "init"), "its init")[0]

    def down(self):
        """Take the lab down, and see that nothing is left."""
        self.nsprov("down", "--lab", LAB, "-q")
        assert "nothing is left" in self.nsprov("audit", "--lab", LAB).out
        assert not os.path.lexists(self.root)


FIRST = 1900000000
"""What root of a user namespace is on the host."""


def resources(node="a", workload=("sleep", "1d"), **sysctls):
    """Give the resources of a node with all namespaces and a workload, for who runs the agent's code directly."""
    ids = [[0, FIRST, 65536]]
    kinds = ["cgroup", "ipc", "net", "time", "user", "uts"]
    rows = [
        ["userns", {"node": node, "uids": ids, "gids": ids}],
        ["cgroup", {"node": node, "pids": 100}],
        ["netns", {"node": node, "name": f"{LAB}-{node}", "user": True}],
        ["utsns", {"node": node, "hostname": node, "user": True}],
        ["ipcns", {"node": node, "user": True}],
        ["cgroupns", {"node": node, "user": True}],
        ["timens", {"node": node, "boottime": 1000, "user": True}],
        ["init", {"node": node, "pid": True, "spaces": kinds}],
        ["mntns", {"node": node, "rootfs": "host", "spaces": ["cgroup", "ipc", "pid", "user"]}],
        ["workload", {"node": node, "name": "w", "command": workload, "grace": 0}],
        *(["sysctl", {"node": node, "key": key.replace("__", "."), "value": value}] for key, value in sysctls.items()),
    ]
    return list(load_state(rows, SCHEMAS).values())
