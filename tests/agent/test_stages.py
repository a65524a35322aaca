"""Resources one by one: what stands together of a lab is one stage, and what is checked is counted upon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from steps import Talk

from nsprov.kernel.lab import Lab
from nsprov.kernel.machine import MARK
from nsprov.playbook.running.resources import resource

pytestmark = pytest.mark.root

NODE = ("netns", {"name": "a"})
BRIDGE = ("bridge", {"name": "br9"})
VETH = ("veth", {"node": "a", "ifname": "eth0", "peer_ifname": "a-eth0", "peer_master": "br9", "state": "up"})
ADDRESS = ("address", {"node": "a", "dev": "eth0", "address": "10.9.0.2/24"})
ROUTE = ("route", {"node": "a", "to": "default", "via": "10.9.0.1", "dev": "eth0"})
NET = (NODE, BRIDGE, VETH, ADDRESS)


def step(kind, fields, lab="t", **terms):
    """Write a step, of a task's arguments."""
    return {"resource": resource(kind, fields, lab), **terms}


def steps(*given, **terms):
    return [step(kind, fields, **terms) for kind, fields in given]


def without(kind, **fields):
    return step(kind, {**fields, "state": "absent"})


def inside(*argv):
    """Run a command in the node's network."""
    return subprocess.run(["ip", "netns", "exec", "a", *argv], capture_output=True, text=True, check=False).stdout


def statuses(results):
    return ["failed" if one.get("failed") else "changed" if one["changed"] else "ok" for one in results]


@pytest.fixture(name="talk")
def _talk():
    """Give a conversation, after which nothing of the lab may be there."""
    found = Talk()
    yield found
    left = found.ask("audit", lab="t")["left"]
    found.session.close()
    if left or Lab("t").exists():
        subprocess.run(["python3", "-m", "nsprov", "down", "--lab", "t"], check=False)
    assert not left


def test_a_stage(talk):
    """Each task says what of it is news; again nothing is; and the last that goes takes the lab with it."""
    first, again = talk.play(*steps(*NET, ROUTE)), talk.play(*steps(*NET, ROUTE))
    routes = inside("ip", "route")
    fewer = talk.play(without("address", node="a", dev="eth0", address="10.9.0.2/24"))
    last = talk.play(without("netns", name="a"), without("bridge", name="br9"))
    none = talk.play(without("netns", name="a"))

    assert (statuses(first), statuses(again)) == (["changed"] * 5, ["ok"] * 5)
    assert "default via 10.9.0.1" in routes
    assert (fewer[0]["action"], fewer[0]["also"]) == ("delete", ["route:a/0.0.0.0/0"])
    assert statuses(last) == ["changed", "changed"]
    assert last[0]["also"] == ["veth:a/eth0"]
    assert (statuses(none), Lab("t").exists()) == (["ok"], False)


def test_a_check_says_what_the_run_does(talk):
    """Stage after stage, each upon what the ones before it would have made, and nothing is there."""
    stages = [steps(NODE, BRIDGE), steps(VETH, ADDRESS), steps(ROUTE, NODE), [without("veth", node="a", ifname="eth0")]]
    stages += [[without("netns", name="a")], [without("bridge", name="br9")]]
    checks = [talk.play(*[{**one, "check": True} for one in stage]) for stage in stages]
    there = Lab("t").exists()
    results = [talk.play(*stage) for stage in stages]

    assert not there
    assert checks == results
    assert [statuses(one) for one in results[:3]] == [["changed"] * 2, ["changed"] * 2, ["changed", "ok"]]


def test_stages_that_stand_apart(talk):
    """Two in a row keep the lab; an action between them sees the first."""
    results = talk.play(
        *steps(NODE), {"action": "command", "args": {"argv": ["ip", "netns", "exec", "a", "ip", "link"]}}, *steps(BRIDGE)
    )
    talk.play(without("netns", name="a"), without("bridge", name="br9"))

    assert statuses(results) == ["changed"] * 3
    assert "lo:" in results[1]["stdout"]


@pytest.mark.parametrize("ignore", [False, True])
def test_a_stage_that_fails(talk, ignore):
    """It goes back as a whole, and says which task it was; what may fail stands alone."""
    bad = ("sysctl", {"node": "a", "key": "net.ipv4.ip_default_ttl", "value": "9999"})
    results = talk.play(*steps(NODE), {"action": "ping", "args": {}}, *steps(BRIDGE, bad, VETH, ignore=ignore))
    links = subprocess.run(["ip", "link", "show", "br9"], capture_output=True, check=False).returncode
    again = talk.play(*steps(NODE))
    talk.play(without("netns", name="a"), without("bridge", name="br9"))

    wanted = ["changed", "failed", "changed"] if ignore else ["ok", "failed"]
    assert ["changed", "ok", *wanted] == statuses(results), results[-1]
    assert "net.ipv4.ip_default_ttl" in results[3]["msg"]
    assert ignore or "not kept" in results[2]["msg"]
    assert (0 if ignore else 1, ["ok"]) == (links, statuses(again))


def test_the_last_resource_that_cannot_go(talk):
    """A stage that takes all away and fails puts it back, too."""
    talk.play(*steps(NODE))
    results = talk.play(without("netns", name="a"), step("address", {"node": "b", "dev": "eth0", "address": "10.0.0.1/24"}))

    assert statuses(results) == ["ok", "failed"]
    assert 'the lab has no link "b/eth0"' in results[1]["msg"]
    assert talk.play(without("netns", name="a"))[0]["changed"]


def test_kinds_that_say_little(talk):
    """Names are enough, other forms of an address are the same address, and nothing is news again."""
    given = [
        *NET,
        ("address", {"node": "a", "dev": "eth0", "address": "FD00:0::2/64"}),
        ("route", {"node": "a", "to": "fd01::/16", "via": "fd00:0:0::1", "dev": "eth0"}),
        ("neighbour", {"node": "a", "dev": "eth0", "address": "10.9.0.7", "lladdr": "02-00-00-00-00-0A".replace("-", ":")}),
        ("rule", {"node": "a", "priority": "100", "table": "50", "source": "10.9.0.0/24"}),
        ("sysctl", {"node": "a", "key": "net/ipv4/ip_forward", "value": 1}),
        ("file", {"path": "/motd", "content": "hello\n"}),
        ("utsns", {"node": "a", "hostname": "alpha"}),
    ]
    first, again = talk.play(*steps(*given)), talk.play(*steps(*given))
    rules, forward = inside("ip", "rule"), inside("cat", "/proc/sys/net/ipv4/ip_forward")
    talk.play(*[without(kind, **fields) for kind, fields in reversed(given)])

    assert statuses(first) == ["changed"] * 11, first[-1]
    assert statuses(again) == ["ok"] * 11
    assert ("from 10.9.0.0/24 lookup 50" in rules, "1\n") == (True, forward)
    assert not Lab("t").exists()


def test_a_workload(talk):
    """In the words of a topology; what keeps it comes along, and goes with the last."""
    given = ("workload", {"node": "a", "name": "w", "command": "sleep 86414", "restart": "on-failure", "env": {"A": "b"}})
    other = ("workload", {"node": "a", "name": "v", "command": ["sleep", "86415"]})
    first = talk.play(*steps(NODE, given, other))
    again = talk.play(*steps(NODE, given))
    running = subprocess.run(["pgrep", "-fx", "sleep 86414"], capture_output=True, text=True, check=False).stdout.split()
    one = talk.play(without("workload", node="a", name="v"))
    rest = talk.play(without("workload", node="a", name="w"))
    end = talk.play(without("netns", name="a"))

    assert (statuses(first), statuses(again)) == (["changed"] * 3, ["ok"] * 2)
    assert first[1]["also"] == ["cgroup:a", "init:a"]
    assert len(running) == 1
    assert ("also" not in one[0], ["cgroup:a", "init:a"]) == (True, rest[0]["also"])
    assert ("also" not in end[0], False) == (True, Lab("t").exists())


def test_a_lab_of_a_topology(talk):
    """A task adds to it and mends it; whom it is spread over and how often it was brought up stays known."""
    rows = [["netns", {"node": "a", "name": "a"}], ["bridge", {"node": "", "name": "br9", "mac": None, "mtu": 1400}]]
    rows[1][1].pop("mac")
    other = Talk()
    assert "reply" in other.ask("prepare", lab="t", act=True, desired=rows, members=["h1", "h2"])
    assert "reply" in other.ask("apply", generation=7, together=["h1"])
    assert "reply" in other.ask("commit")
    (locked,) = talk.play(*steps(VETH))
    other.session.close()
    subprocess.run(["ip", "link", "set", "br9", "mtu", "1300"], check=True)
    results = talk.play(*steps(VETH, ADDRESS))
    record = Lab("t").read("manifest.json")
    talk.play(without("netns", name="a"), without("bridge", name="br9"))

    assert "another run" in locked["msg"]
    assert statuses(results) == ["changed", "changed"]
    assert results[0]["also"] == ["bridge:host/br9"]
    assert (record["members"], record["generation"], record["together"]) == (["h1", "h2"], 7, ["h1"])


def test_what_is_refused(talk):
    """A lab's name is no path, and a kind that is none, or a resource that is none, is said to be so."""
    bad = [
        {"resource": {"lab": "../../etc", "row": ["netns", {"node": "a", "name": "a"}], "present": True}},
        {"resource": {"lab": "t", "row": ["teapot", {}], "present": True}},
        {"resource": {"lab": "t", "row": ["netns", {"node": 1}], "present": True}},
    ]
    results = talk.play(*[{**one, "ignore": True} for one in bad])

    assert statuses(results) == ["failed"] * 3
    assert [word in one["msg"] for word, one in zip(["name of a lab", "teapot", "node"], results, strict=True)] == [True] * 3


def test_a_run_that_was_killed(talk):
    """What it had begun is no part of the lab: it goes with the next stage."""
    talk.play(*steps(NODE))
    begun = [["netns", {"node": "a", "name": "a"}], ["bridge", {"node": "", "name": "br9"}]]
    Lab("t").write("journal.json", {"holder": "pid 1", "resources": begun})
    subprocess.run(["ip", "link", "add", "br9", "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", "br9", "alias", f"{MARK}t/bridge:host/br9"], check=True)
    talk.play(*steps(NODE))
    there = subprocess.run(["ip", "link", "show", "br9"], capture_output=True, check=False).returncode == 0
    if there:
        subprocess.run(["ip", "link", "del", "br9"], check=True)
    talk.play(without("netns", name="a"))

    assert not there
