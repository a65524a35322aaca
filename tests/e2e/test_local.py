"""The shipped topologies, end to end: parsed, resolved, up, traffic flows, damaged, repaired, down, nothing left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state
from nsprov.resolve import resolve
from nsprov.topology import load

pytestmark = pytest.mark.root
WITH_WORKLOADS = {"container", "service", "names", "frr"}
"""Those that `test_examples.py` brings up, with what they need beside them."""

SHIPPED = sorted((Path(__file__).parents[2] / "topologies").glob("*.yml"))
TOPOLOGIES = [path for path in SHIPPED if path.stem not in WITH_WORKLOADS]

PINGS = {
    "bridge": [("ns1", "192.168.10.12"), ("ns2", "192.168.10.1")],
    "star": [("star-h1", "10.42.1.10"), ("star-h9", "10.42.0.1")],
    "router-line": [("line-h1", "10.0.2.2"), ("line-h2", "fd00:1::2")],
    "leaf-spine": [("fabric-h1", "10.1.4.2"), ("fabric-h4", "fd00:1:1::2"), ("fabric-h2", "10.1.3.2")],
    "blue": [("blue-web1", "10.50.1.20")],
    "green": [("green-web2", "10.50.2.20")],
}


def states(path):
    """Give the lab's name and what it asks of this host."""
    topology = load(str(path))
    (state,) = resolve(topology).values()
    return topology.name, list(state.values())


def reaches(netns, address):
    """Tell whether a packet gets there and back; IPv6 waits a second or two for the links' own addresses to be unique."""
    ping = ["ip", "netns", "exec", netns, "ping", "-c1", "-W8", "-n", address]
    return subprocess.run(ping, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_a_topology(path, labs, host):
    """It comes up in one run, packets get through, and it goes down to nothing."""
    lab, state = states(path)
    labs.up(lab, *state)

    assert labs.plan(lab, *state).actions() == {}
    assert [(netns, address) for netns, address in PINGS.get(path.stem, []) if not reaches(netns, address)] == []
    labs.down(lab)
    host.check()


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_every_node_is_lost(path, labs, run_command):
    """All namespaces deleted behind our back: one run makes everything again, and packets get through again."""
    lab, state = states(path)
    labs.up(lab, *state)
    for resource in state:
        if resource.kind == "netns":
            run_command("ip", "netns", "del", resource.name)
    labs.up(lab, *state)

    assert labs.plan(lab, *state).actions() == {}
    assert [(netns, address) for netns, address in PINGS.get(path.stem, []) if not reaches(netns, address)] == []
    labs.down(lab)


def test_every_topology_is_pinged():
    """A topology that is added gets a line above."""
    assert PINGS.keys() == {path.stem for path in TOPOLOGIES}


def test_an_address_is_edited_and_nothing_else(labs, run_command):
    """Editing one address changes that address and what stands on it: no namespace, no link is made anew."""
    lab, state = states(next(path for path in TOPOLOGIES if path.stem == "bridge"))
    labs.up(lab, *state)
    before = run_command("ip", "netns", "exec", "ns1", "cat", "/sys/class/net/eth0/ifindex")
    old, new = "192.168.10.11/24", "192.168.10.99/24"
    edited = [replaced(resource, old, new) for resource in state]
    actions = labs.up(lab, *edited).actions()

    assert {ref for ref in actions if not ref.startswith(("address:ns1", "route:ns1", "file:"))} == set()
    assert before == run_command("ip", "netns", "exec", "ns1", "cat", "/sys/class/net/eth0/ifindex")
    assert reaches("ns2", "192.168.10.99")
    labs.down(lab)


def replaced(resource, old, new):
    if resource.kind != "address" or resource.address != old:
        return resource
    row = ["address", {"node": resource.node, "dev": resource.dev, "address": new}]
    (value,) = load_state([row], SCHEMAS).values()
    return value
