"""A lab on three hosts as a user lives with it: root, sudo without and sudo with a password; nothing is mocked."""

from __future__ import annotations

import pytest
from controlled import EDITED, INVENTORY, big, demo_fixture, fleet_fixture  # noqa: F401 - fixtures
from labhosts import PYTHONS


def test_plan_changes_nothing(fleet):
    """`plan` says what `up` would do on each host and touches none of them."""
    said = fleet.nsprov("plan")

    assert fleet.changed_hosts() == []
    assert all(f"lab demo on lab{number}: " in said.out for number in (1, 2, 3))
    assert "+ create  netns:c1  (new)" in said.out


def test_up_makes_the_nodes_where_they_belong(demo):
    """Every node is a named network namespace on its host and nowhere else, the controller included."""
    assert demo.netns(0) == ["demo-a1", "demo-a2"]
    assert demo.netns(1) == ["demo-b1", "demo-b2"]
    assert demo.netns(2) == ["demo-c1"]
    assert demo.changed_hosts() == ["h1", "h2", "h3"]


def test_nodes_of_a_host_reach_each_other(demo):
    """Bridge, link and sysctl work, seen with the hosts' own `ip`."""
    for command in ("ip netns exec demo-a1 ping -c1 -W2 10.61.1.12", "ping -c1 -W2 10.61.1.11"):
        demo.hosts[0].run(command)
    demo.hosts[1].run("ip netns exec demo-b1 ping -c1 -W2 10.61.2.2")

    assert demo.hosts[2].run("ip netns exec demo-c1 cat /proc/sys/net/ipv4/ip_forward") == "1\n"


def test_nodes_are_namespaces_of_their_own(demo):
    """What `nsenter` finds at the pins is neither the host's network nor its hostname."""
    host = demo.hosts[0]
    own = host.run("nsenter --net=/run/netns/demo-a1 ls /sys/class/net; nsenter --net=/run/netns/demo-a1 ip -o link")
    name = host.run("nsenter --uts=/run/nsprov/demo/ns/a1/uts hostname")

    assert "10.87.0.1" not in host.run("nsenter --net=/run/netns/demo-a1 ip addr")
    assert "eth0" in own
    assert name == "a1\n"


def test_the_second_up_has_nothing_to_do(demo):
    """`up` again changes nothing on any host."""
    before = demo.look()
    said = demo.nsprov("up")

    assert said.out == "lab demo on lab1, lab2, lab3: nothing to do, everything is as asked\n"
    assert demo.changed_hosts(before) == []


def test_an_edit_is_pending_until_it_is_applied(demo):
    """`diff` exits 10, `plan` 0 unless --detailed-exitcode is given, `up` does just that, and `diff` exits 0."""
    demo.topology(EDITED)
    said = demo.nsprov("diff", code=10)
    demo.nsprov("plan")
    demo.nsprov("plan", "--detailed-exitcode", code=10)
    done = demo.nsprov("up", "-o", "json").json["hosts"]
    demo.nsprov("diff")

    assert "create  netns:b3" in said.out
    assert [sum(done[host]["counts"].values()) for host in ("lab1", "lab3")] == [1, 1], "only /etc/hosts"
    assert demo.netns(1) == ["demo-b1", "demo-b2", "demo-b3"]


def test_status_sees_drift(demo):
    """`status` needs no file; after somebody removed an address it says which, and `up` puts it back."""
    demo.nsprov("status", "--lab", "demo", "--detailed-exitcode")
    demo.hosts[1].run("ip -n demo-b1 addr del 10.61.2.1/24 dev eth0")
    said = demo.nsprov("status", "--lab", "demo", "--detailed-exitcode", code=10)
    demo.nsprov("up")
    demo.nsprov("status", "--lab", "demo", "--detailed-exitcode")

    assert "address:b1/eth0/10.61.2.1/24" in said.out


def test_audit_finds_what_is_there(fleet):
    """`audit` exits 7 while the lab is up, naming what it found on which host, and 0 afterwards."""
    fleet.nsprov("up")
    said = fleet.nsprov("audit", code=7)
    fleet.nsprov("down")
    after = fleet.nsprov("audit")

    assert 'network namespace "demo-c1" is there' in said.out
    assert after.out.count("nothing is left") == 3


def test_ls_lists_labs_by_host(demo):
    """`ls` shows each host's share of the lab."""
    rows = demo.nsprov("ls", "-o", "json").json

    assert [(r["host"], r["lab"], r["nodes"]) for r in rows] == [("lab1", "demo", 2), ("lab2", "demo", 2), ("lab3", "demo", 1)]


def test_down_by_file(fleet):
    """`down` with the file at hand leaves nothing on any host."""
    fleet.nsprov("up")
    fleet.nsprov("down")

    fleet.nothing_left()


def test_down_by_name_when_the_file_is_gone(fleet):
    """`down --lab` needs the inventory and nothing else."""
    fleet.nsprov("up")
    (fleet.nsprov.folder / "topology.yml").unlink()
    fleet.nsprov("down", "--lab", "demo")

    fleet.nothing_left()


def test_a_host_that_is_no_longer_in_the_file_is_cleared_by_down_by_name(fleet):
    """`down --lab` takes the lab from every host of the inventory, whatever the file says by now."""
    fleet.nsprov("up")
    fleet.topology("name: demo\nnodes: {a1: {host: lab1}}\n")
    fleet.nsprov("down", "--lab", "demo")

    fleet.nothing_left()


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("command", ["plan", "up"])
def test_one_exec_channel_per_host_and_run(fleet, count, command):
    """Whatever the number of nodes, sshd sees one login and one command on each host that has some."""
    fleet.topology(big(count, min(count, 3)))
    before = [(host.logins(), host.sessions()) for host in fleet.hosts]
    fleet.nsprov(command)
    used = [(h.logins() - was[0], h.sessions() - was[1]) for h, was in zip(fleet.hosts, before, strict=True)]
    fleet.nsprov("down", "--lab", "big")

    assert [(1, 1)] * min(count, 3) + [(0, 0)] * (3 - min(count, 3)) == used


@pytest.mark.parametrize("version", sorted(PYTHONS))
def test_the_pythons_of_hosts(fleet, version):
    """The agent works under the oldest and a new Python, as the inventory names it."""
    if not PYTHONS[version]:
        pytest.skip(f"this machine has no Python {version}")
    python = f"    lab1:\n      python: {PYTHONS[version]}\n"
    fleet.inventory(INVENTORY.replace("    lab1:\n", python))
    fleet.nsprov("up")
    fleet.nsprov("diff")
    fleet.nsprov("down")

    fleet.nothing_left()


def test_a_saved_plan_is_carried_out(fleet):
    """`up PLAN` does what `plan --out` has saved, without the topology."""
    fleet.nsprov("plan", "--out", "saved.json")
    (fleet.nsprov.folder / "topology.yml").unlink()
    fleet.nsprov("up", "saved.json")

    assert fleet.netns(2) == ["demo-c1"]
    fleet.nsprov("down", "--lab", "demo")


def test_a_saved_plan_that_is_stale_is_refused(demo):
    """When one host is not as it was, `up PLAN` exits 7 and changes none of them."""
    demo.topology(EDITED.replace("a2: {host", "a3: {host: lab1}\n  a2: {host"))
    demo.nsprov("plan", "--out", "saved.json")
    demo.hosts[1].run("ip -n demo-b1 addr add 10.61.2.1/25 dev eth0; ip -n demo-b1 addr del 10.61.2.1/24 dev eth0")
    before = demo.look()
    said = demo.nsprov("up", "saved.json", code=7)

    assert demo.changed_hosts(before) == []
    assert "the host has changed since the plan was saved" in said.err
    assert "--> lab2" in said.err
    assert "help: make a new plan" in said.err


def test_json_is_pure(demo):
    """`-o json` writes one document on stdout; `jsonl` one a line, with the steps of every host."""
    demo.topology(EDITED)
    plan = demo.nsprov("plan", "-o", "json")
    rows = demo.nsprov("up", "-o", "jsonl").lines

    assert {"lab1", "lab2", "lab3"} == plan.json["hosts"].keys()
    assert {"step", "change", "end"} == {row["event"] for row in rows}
    assert {"lab1", "lab2", "lab3"} == {row["host"] for row in rows if row["event"] == "step"}
