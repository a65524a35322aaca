"""A lab in a node of another lab, and hosts whose / is shared as systemd makes it, or private as containers have it."""

from __future__ import annotations

import json
import sys

import pytest
from attacked import FULL, OWN, SLEEP
from commandline import ROOT

pytestmark = pytest.mark.root

INNER = {
    "plain": {},
    "own": {**OWN, "workloads": {"w": SLEEP}},
    "pid": {"namespaces": ["net", "mnt", "uts", "pid"], "workloads": {"w": SLEEP}},
    "user": {"namespaces": ["net", "mnt", "uts", "ipc", "pid", "user"], "rootfs": "host", "workloads": {"w": SLEEP}},
}
SCRIPT = """
set -e
export PYTHONPATH={root}
nsprov="{python} -m nsprov"
cd "$(mktemp -d)"
cat > topology.yml
before=$(cut -d' ' -f5- /proc/self/mountinfo | sort)
$nsprov up -q >/dev/null
$nsprov plan --detailed-exitcode >/dev/null
for node in {nodes}; do $nsprov exec $node -- hostname; done
$nsprov down -q >/dev/null
$nsprov audit --lab inner
[ "$before" = "$(cut -d' ' -f5- /proc/self/mountinfo | sort)" ] || echo "mounts are left"
"""


def script(nodes):
    """Give the shell's part: a lab up, entered, down, and nothing left."""
    return SCRIPT.format(root=ROOT, python=sys.executable, nodes=" ".join(nodes))


def test_a_lab_in_a_node(lab):
    """A node with the host's files and all namespaces but `user` is host enough for nodes of every sort."""
    lab.up({"h": {**OWN, "workloads": {"w": SLEEP}}})
    links = [["plain:eth0", "user:eth0"]]
    inner = json.dumps({"name": "inner", "nodes": INNER, "links": links}).encode()
    said = lab.nsprov("exec", "h", "--", "sh", "-c", script(INNER), input=inner)

    assert said.out.split("\n")[:-1] == [*INNER, "lab inner on localhost: nothing is left"]
    assert lab.nsprov("plan", "--detailed-exitcode").code == 0


@pytest.mark.parametrize("propagation", ["shared", "private"])
def test_both_propagations(tmp_path, run_command, propagation):
    """Nothing that is mounted for a node shows on the host, nor stays, however the host's / propagates."""
    nodes = {**INNER, "full": {**FULL, "workloads": {"w": SLEEP}}}
    path = tmp_path / "inner.json"
    path.write_text(json.dumps({"name": "inner", "nodes": nodes}))
    (tmp_path / "script").write_text(f"exec < {path}\n{script(nodes)}")
    unshare = ["unshare", "--mount", "--propagation", propagation]
    said = run_command(*unshare, "sh", tmp_path / "script").split("\n")

    assert said == [*nodes, "lab inner on localhost: nothing is left"]
