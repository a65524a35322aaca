"""Hosts that have had a part in a lab: what moves away from them leaves nothing, and comes back when the move fails."""

from __future__ import annotations

from controlled import INVENTORY, LAB, fleet_fixture  # noqa: F401 - a fixture

MOVED = LAB.replace("c1: {host: lab3", "c1: {host: lab2")
REFUSED = MOVED.replace("net.ipv4.ip_forward: 1", "net.ipv4.ip_default_ttl: 100000")
ALONE = "name: demo\nnodes: {a1: {host: lab1}}\n"


def forget(fleet):
    """Forget what the controller remembers, as if it were another one."""
    for path in (fleet.nsprov.folder / ".local/state/nsprov").iterdir():
        path.unlink()


def test_a_node_moves_to_another_host(fleet):
    """The records tell who has had it; a move that fails brings it back; where a whole lab was, the controller knows."""
    fleet.nsprov("up", "-q")
    forget(fleet)
    fleet.topology(REFUSED)
    said = fleet.nsprov("up", code=5)
    assert "--> lab2/" in said.err
    assert fleet.netns(2) == ["demo-c1"]
    fleet.topology(LAB)
    fleet.nsprov("status", "--lab", "demo", "--detailed-exitcode")

    forget(fleet)
    fleet.topology(MOVED)
    hosts = fleet.nsprov("up", "-o", "json").json["hosts"]
    assert {change["action"] for change in hosts["lab3"]["changes"]} == {"delete"}
    assert fleet.netns(1) == ["demo-b1", "demo-b2", "demo-c1"]
    assert fleet.changed_hosts() == ["h1", "h2"]

    fleet.topology("name: demo\nnodes: {a1: {host: lab3}}\n")
    fleet.nsprov("up", "-q")
    assert fleet.changed_hosts() == ["h3"]
    fleet.nsprov("down", "-q")
    fleet.nothing_left()


def test_a_host_that_the_inventory_has_no_more(fleet):
    """Exit 3 and what to do; with --forget the rest goes on without it. `down` by a shorter file takes down all the same."""
    fleet.nsprov("up", "-q")
    fleet.inventory(INVENTORY.partition("    lab3:")[0])
    fleet.topology(MOVED)
    forget(fleet)
    before = fleet.look()
    said = fleet.nsprov("up", code=3)
    assert fleet.changed_hosts(before) == []
    assert 'host "lab3" is not in the inventory' in said.err
    assert "--forget lab3" in said.err
    fleet.nsprov("up", "-q", "--forget", "lab3")

    fleet.inventory(INVENTORY)
    forget(fleet)
    fleet.topology(ALONE)
    fleet.nsprov("down", "-q")
    assert fleet.changed_hosts() == ["h3"]
    fleet.nsprov("down", "--lab", "demo", "-q")
    fleet.nothing_left()


def test_a_part_of_a_lab_and_another_one(fleet):
    """With -l the others keep what they have and stay known; what this machine has under the same name is another lab."""
    fleet.topology("name: demo\nnodes: {x1: {}}\n", "mine.yml")
    elsewhere = {"HOME": str(fleet.nsprov.folder / "elsewhere")}
    fleet.nsprov("up", "mine.yml", "-q", env=elsewhere)
    fleet.topology(LAB)
    fleet.nsprov("up", "-q")
    fleet.topology(LAB.replace("  a2: {host: lab1", "  a3: {host: lab1}\n  a2: {host: lab1"))
    fleet.nsprov("up", "-l", "lab1", "-q")
    assert fleet.netns(0) == ["demo-a1", "demo-a2", "demo-a3"]
    assert fleet.netns(2) == ["demo-c1"]

    forget(fleet)
    fleet.topology(ALONE)
    fleet.nsprov("up", "-q")
    assert fleet.changed_hosts() == ["controller", "h1"]
    fleet.nsprov("down", "-q")
    fleet.nsprov("down", "mine.yml", "-q", env=elsewhere)
    fleet.nothing_left()
