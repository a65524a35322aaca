"""Nodes that are placed on four hosts: they come up everywhere, stay where they are, and move when they must."""

from __future__ import annotations

from pathlib import Path

import pytest
from controlled import Fleet
from labhosts import lab_hosts

ROOT = Path(__file__).parents[2]
NETWORK = "10.89.0"
HOSTS = range(1, 5)
SPREAD = """\
name: demo
placement: {hosts: lab}
nodes:
  "n[01:12]": {workloads: {w: {command: sleep 1d}}}
"""


def inventory(members=HOSTS):
    """Write an inventory of four hosts, of which some are in the group."""
    lines = ["all:", "  vars: {ansible_user: root}", "  hosts:"]
    lines += [f"    lab{number}: {{ansible_host: {NETWORK}.{number}}}" for number in HOSTS]
    lines += ["  children:", "    lab:", "      hosts:", *(f"        lab{number}:" for number in members)]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module", name="four")
def _four(lab):
    """Give four hosts, of a network beside that of the others."""
    with lab_hosts(4, NETWORK, "nsp-plc0") as hosts:
        yield hosts


@pytest.fixture(name="fleet")
def _fleet(four, tmp_path):
    """Give a controller of the four hosts; in the end everything is gone from all of them."""
    found = Fleet(four, tmp_path)
    found.inventory(inventory())
    yield found
    if homes(found):
        found.inventory(inventory())
        found.nsprov("down", "--lab", "demo", "-q")
    found.check()


def homes(fleet):
    """Give where the nodes are, by looking at the hosts."""
    return {name.removeprefix("demo-"): f"lab{number}" for number in HOSTS for name in fleet.netns(number - 1)}


def moved(before, after):
    """Give the nodes that are elsewhere now."""
    return {name for name in before.keys() & after.keys() if before[name] != after[name]}


def test_nodes_stay_where_they_are(fleet):
    """Twelve nodes are spread; one more moves none of them; a host that leaves the group loses its own, and only those move."""
    fleet.topology(SPREAD)
    fleet.nsprov("up", "-q")
    first = homes(fleet)

    assert sorted(first) == [f"n{number:02}" for number in range(1, 13)]
    assert sorted(map(list(first.values()).count, set(first.values()))) == [3, 3, 3, 3]

    fleet.topology(SPREAD + "  a: {weight: 2}\n")
    planned = fleet.nsprov("plan", "-q", "-o", "json").json["hosts"]
    fleet.nsprov("up", "-q")
    second = homes(fleet)

    assert sum(change["ref"] == "netns:a" for host in planned.values() for change in host["changes"]) == 1
    assert second == {**first, "a": second["a"]}

    fleet.inventory(inventory((1, 2, 4)))
    fleet.nsprov("up", "-q")
    third = homes(fleet)

    assert moved(second, third) == {name for name, host in second.items() if host == "lab3"}
    assert "nothing is left" in fleet.nsprov("audit", "--lab", "demo", "-l", "lab3").out
    assert fleet.hosts[2].name not in fleet.changed_hosts()

    # Where they are is not where they would be in a new lab: they are found nevertheless.
    for name in ("a", min(moved(second, third))):
        assert fleet.nsprov("exec", name, "--", "hostname").out == f"{name}\n"
    shown = fleet.nsprov("ps", "-o", "json").json["workloads"]

    assert {row["node"]: row["host"] for row in shown} == {name: host for name, host in third.items() if name != "a"}
    assert fleet.nsprov("exec", "--lab", "demo", "n01", "--", "hostname").out == "n01\n"

    fleet.inventory(inventory())

    assert "nothing to do" in fleet.nsprov("up", "-q").out, "a host that is there again draws nobody"

    fleet.nsprov("up", "-q", "--rebalance")
    loads = [sum(2 if name == "a" else 1 for name, host in homes(fleet).items() if host == f"lab{number}") for number in HOSTS]

    assert sorted(loads) == [3, 3, 4, 4]


def test_a_node_that_is_moved_leaves_nothing(fleet):
    """Another `host` for one node takes it there, with its files; the host where it was is as if it had never been."""
    text = "name: demo\nnodes:\n  a: {host: lab1, files: {/etc/motd: {content: hello}}}\n  b: {host: lab2}\n"
    fleet.topology(text)
    fleet.nsprov("up", "-q")
    fleet.topology(text.replace("lab1", "lab3:lab4"))
    fleet.nsprov("up", "-q")
    found = homes(fleet)

    assert found["a"] in {"lab3", "lab4"}
    assert found["b"] == "lab2"
    assert fleet.nsprov("exec", "a", "--", "cat", "/etc/motd").out == "hello"
    assert fleet.hosts[0].name not in fleet.changed_hosts()

    fleet.nsprov("down", "-q")
    fleet.nothing_left()


def test_neighbours_stay_together(fleet):
    """The shipped example with `near`: each office is on one host with its router, and packets get from one to another."""
    fleet.topology((ROOT / "topologies/fleet/offices.yml").read_text().replace("name: offices", "name: demo"))
    fleet.nsprov("up", "-q")
    found = homes(fleet)

    for router, office in (("r1", "a"), ("r2", "b"), ("r3", "c")):
        assert {found[router]} == {found[f"{office}{number}"] for number in (1, 2, 3)}
    assert len({found[f"r{number}"] for number in (1, 2, 3)}) == 3
    assert fleet.nsprov("exec", "a1", "--", "ping", "-c1", "-W5", "10.30.3.11").code == 0


def test_a_host_that_cannot_be_reached(fleet):
    """Where nodes live is not known without asking all hosts where they may: nothing is done anywhere."""
    fleet.topology(SPREAD)
    fleet.inventory(inventory().replace(f"{NETWORK}.3", f"{NETWORK}.99"))
    said = fleet.nsprov("up", "-q", code=4)
    limited = fleet.nsprov("up", "-q", "-l", "lab1", code=3)

    assert "lab3" in said.err
    assert "the limit leaves out hosts" in limited.err
    assert fleet.changed_hosts() == []


def test_a_pattern_that_stands_for_nothing(fleet):
    """It is told of where it is written, and nobody is asked."""
    fleet.topology(SPREAD.replace("hosts: lab", "hosts: rocks"))
    before = [host.sessions() for host in fleet.hosts]
    said = fleet.nsprov("up", "-q", code=9)

    assert "topology.yml:2:20" in said.err
    assert 'no host is meant by "rocks"' in said.err
    assert [host.sessions() for host in fleet.hosts] == before
