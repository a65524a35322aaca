"""Hosts that have had a part in a lab: what moves away from them leaves nothing, and comes back when the move fails."""

from __future__ import annotations

from controlled import INVENTORY, LAB, demo_fixture, fleet_fixture  # noqa: F401 - fixtures

MOVED = LAB.replace("c1: {host: lab3", "c1: {host: lab2")
REFUSED = MOVED.replace("net.ipv4.ip_forward: 1", "net.ipv4.ip_default_ttl: 100000")
WITHOUT = "".join(INVENTORY.partition("    lab3:")[:1])


def forget(fleet):
    """Forget what the controller remembers, as if it were another one."""
    fleet.nsprov("ls", "-q")
    for path in (fleet.nsprov.folder / ".local/state/nsprov").glob("*"):
        path.unlink()


def test_a_node_moves_to_another_host(demo):
    """`plan` tells of it, `up` clears the host that the file does not name any more, and the records go with it."""
    demo.topology(MOVED)
    forget(demo)
    plan = demo.nsprov("plan", "-o", "json").json["hosts"]
    demo.nsprov("up")

    assert {change["action"] for change in plan["lab3"]["changes"]} == {"delete"}
    assert demo.netns(1) == ["demo-b1", "demo-b2", "demo-c1"]
    assert demo.changed_hosts() == ["h1", "h2"]
    demo.nsprov("diff")


def test_a_move_that_fails(demo):
    """The node that had left its host already is there again, with what it had."""
    demo.topology(REFUSED)
    said = demo.nsprov("up", code=5)
    demo.topology(LAB)

    assert "--> lab2/" in said.err
    assert demo.netns(2) == ["demo-c1"]
    demo.nsprov("diff")
    demo.nsprov("status", "--lab", "demo", "--detailed-exitcode")


def test_down_by_a_file_that_has_changed(demo):
    """What the file does not name any more goes as well."""
    demo.topology("name: demo\nnodes: {a1: {host: lab1}}\n")
    forget(demo)
    demo.nsprov("down")

    demo.nothing_left()


def test_a_lab_that_moves_as_a_whole(demo):
    """No host that it is on now has a record of where it was: the controller remembers that."""
    demo.topology("name: demo\nnodes: {a1: {host: lab3}}\n")
    demo.nsprov("up")

    assert demo.changed_hosts() == ["h3"]


def test_a_host_that_the_inventory_has_no_more(demo):
    """Exit 3 and what to do; with --forget the rest goes on without it."""
    demo.inventory(WITHOUT)
    demo.topology(MOVED)
    forget(demo)
    before = demo.look()
    said = demo.nsprov("up", code=3)

    assert demo.changed_hosts(before) == []
    assert 'host "lab3" is not in the inventory' in said.err
    assert "--forget lab3" in said.err
    demo.nsprov("up", "--forget", "lab3")
    demo.nsprov("diff")
    demo.inventory(INVENTORY)


def test_a_part_of_a_lab(demo):
    """With -l the other hosts keep what they have, and the record still knows of them."""
    demo.topology(LAB.replace("  a2: {host: lab1", "  a3: {host: lab1}\n  a2: {host: lab1"))
    demo.nsprov("up", "-l", "lab1")
    assert demo.netns(0) == ["demo-a1", "demo-a2", "demo-a3"]
    assert demo.netns(2) == ["demo-c1"]
    forget(demo)
    demo.topology("name: demo\nnodes: {a1: {host: lab1}}\n")
    demo.nsprov("up")

    assert demo.changed_hosts() == ["h1"]


def test_another_lab_of_that_name(demo):
    """What this machine has under the same name, and no record of ours knows, is not touched."""
    demo.topology("name: demo\nnodes: {x1: {}}\n", "mine.yml")
    demo.nsprov("up", "mine.yml", env={"HOME": str(demo.nsprov.folder / "elsewhere")})
    demo.nsprov("up")
    demo.nsprov("down")

    demo.nsprov("diff", "mine.yml")
    demo.nsprov("down", "mine.yml")
    demo.nothing_left()
