"""Each shipped topology comes up, does what it is for, has nothing pending, and goes without a trace."""

from __future__ import annotations

import subprocess

import pytest
from commandline import ROOT

pytestmark = pytest.mark.root

WORKS = {
    "bridge": [("ns1", "192.168.10.12"), ("ns1", "192.168.10.1"), ("ns2", "192.168.10.11"), ("ns1", "ns2")],
    "router-line": [("line-h1", "10.0.2.2"), ("line-h2", "10.0.1.2"), ("line-h1", "fd00:2::2"), ("line-h2", "fd00:1::2")],
    "leaf-spine": [
        *((f"fabric-h{a}", f"10.1.{b}.2") for a in (1, 4) for b in (1, 2, 3, 4) if a != b),
        *((f"fabric-h{a}", f"fd00:1:{b}::2") for a in (1, 4) for b in (1, 2, 3, 4) if a != b),
    ],
    "star": [("star-h1", "10.42.0.1"), ("star-h1", "10.42.1.11"), ("star-h10", "10.42.1.2")],
    "blue": [("blue-web1", "10.50.1.12"), ("blue-db", "10.50.1.1")],
    "green": [("green-web2", "10.50.2.20"), ("green-db", "10.50.2.1")],
}

WITH_WORKLOADS = {"container", "service", "names", "frr"}
"""Those that `test_examples.py` brings up, with the real programs."""


def test_all_are_tried():
    """No topology is shipped that nobody brings up."""
    assert WITH_WORKLOADS | WORKS.keys() == {path.stem for path in (ROOT / "topologies").glob("*.yml")}


@pytest.fixture(name="shipped", params=sorted(WORKS))
def _shipped(request, nsprov):
    """Bring a shipped topology up, and take it down in the end, with proof."""
    path = ROOT / f"topologies/{request.param}.yml"
    nsprov("up", path)
    yield nsprov, path
    nsprov("down", path)
    assert "nothing is left" in nsprov("audit", path).out


def ping(netns, address):
    """Ping from a namespace, as iproute2 enters it; fail with what ping said."""
    argv = ["ip", "netns", "exec", netns, "ping", "-c1", "-W3", address]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{netns} -> {address}: {done.stdout}{done.stderr}"


def test_it_works(shipped):
    """Nothing is pending after `up`, and every way that the topology promises is there."""
    nsprov, path = shipped
    nsprov("plan", path, "--detailed-exitcode")

    for netns, address in WORKS[path.stem]:
        ping(netns, address)


def test_the_fabric_uses_both_spines(nsprov, run_command):
    """Flows from one leaf's host to another's go over either spine, and over the other one when a link is down."""
    path = ROOT / "topologies/leaf-spine.yml"
    nsprov("up", path)
    ask = ("ip", "-n", "fabric-leaf1", "route", "get", "10.1.3.2", "from", "10.1.1.2", "iif", "eth3", "ipproto", "udp")
    answers = [run_command(*ask, "sport", str(port), "dport", "9") for port in range(1000, 1040)]
    ways = {answer.split(" dev ")[1][:4] for answer in answers}
    run_command("ip", "-n", "fabric-leaf1", "link", "set", "eth1", "down")
    run_command("ip", "-n", "fabric-spine1", "route", "flush", "10.1.1.0/24")
    nsprov("status", "--lab", "fabric", "--detailed-exitcode", code=10)
    nsprov("up", path)
    ping("fabric-h1", "10.1.3.2")
    nsprov("down", path)

    assert {"eth1", "eth2"} == ways


def test_the_tutorials_dns(nsprov, run_command):
    """What the tutorial gives its nodes is what `ip netns exec` shows."""
    path = ROOT / "topologies/bridge.yml"
    nsprov("up", path)
    resolv = run_command("ip", "netns", "exec", "ns1", "cat", "/etc/resolv.conf")
    routes = run_command("ip", "-n", "ns1", "route", "show", "default")
    nsprov("down", path)

    assert "nameserver 8.8.8.8" in resolv
    assert routes.startswith("default via 192.168.10.1 dev eth0")
