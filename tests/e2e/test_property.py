"""Random labs on the real kernel: one run brings them up, changes them, repairs them, and takes them down to nothing."""

from __future__ import annotations

import os
import random
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsprov.resolve import resolve
from nsprov.topology import load

pytestmark = pytest.mark.root
LAB = "prop"
bounded = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds = st.integers(0, 2**32)


class Maker(random.Random):
    """Writes random topologies; the same seed writes the same one."""

    def some(self, values, share=0.5):
        return [value for value in values if self.random() < share]

    def topology(self):
        """Write a topology as the mapping that a file would hold: nodes, bridges, links, and what is in them."""
        nodes = {f"n{number}": {} for number in range(self.randint(2, 8))}
        topology = {"name": LAB, "bridges": {}, "nodes": nodes, "links": []}
        for number in range(self.randrange(3)):
            bridge = {"address": f"10.{60 + number}.0.1/16", "stp": self.random() < 0.3}
            topology["bridges"][f"pb{number}"] = bridge | self.choice(({}, {"mtu": 1400}, {"mtu": 9000}))
        for position, name in enumerate(nodes):
            self.fill(nodes[name], position, sorted(topology["bridges"]))
        topology["links"] = [self.link(number, sorted(nodes)) for number in range(self.randrange(len(nodes) + 2))]
        for position, name in enumerate(nodes):
            self.inner_bridge(name, position, topology)
            self.routes(name, topology)
        return topology

    def fill(self, node, position, bridges):
        """Put interfaces and what needs none into a node."""
        interfaces = node["interfaces"] = {}
        for number, bridge in enumerate(self.some(bridges, 0.6)):
            lan = 60 + int(bridge[2:])
            interface = {"bridge": bridge, "addresses": [f"10.{lan}.{position + 1}.1/16"]}
            if self.random() < 0.4:
                interface["addresses"].append(f"fd{lan}::{position + 1}/64")
            if self.random() < 0.2:
                interface["mtu"] = 1300
            interfaces[f"lan{number}"] = interface
        if self.random() < 0.3:
            interfaces["lo"] = {"addresses": [f"10.255.0.{position + 1}/32", f"fd00:255::{position + 1}/128"]}
        keys = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1, "net.ipv4.ip_default_ttl": self.randint(10, 90)}
        node["sysctls"] = {key: keys[key] for key in self.some(keys, 0.3)}
        paths = ("/etc/motd", "/etc/nsprov-prop/deep/er.conf", "/opt/nsprov-prop.conf", "/etc/hosts")
        node["files"] = {path: {"content": f"{self.random()}\n", "mode": "0640"} for path in self.some(paths, 0.25)}
        node["rules"] = [
            {"priority": number, "from": f"10.{number}.0.0/16", "table": number} for number in self.some((100, 101, 102), 0.2)
        ]
        if self.random() < 0.3:
            node["dns"] = {"nameservers": [f"10.0.0.{self.randint(1, 250)}"]}
        if self.random() < 0.2:
            node["hostname"] = f"host-{position}-{self.randint(0, 9)}"

    def link(self, number, nodes):
        """Write a link between two nodes, with addresses of either family or none."""
        first, second = self.sample(nodes, 2)
        v4 = [f"10.200.{number}.{side}/24" for side in (1, 2)]
        v6 = [f"fd00:200:{number}::{side}/64" for side in (1, 2)]
        addresses = self.choice(([[v4[0]], [v4[1]]], [[v4[0], v6[0]], [v4[1], v6[1]]], [[v6[0]], [v6[1]]], "none"))
        link = {"endpoints": [f"{first}:p{number}", f"{second}:p{number}"], "addresses": addresses}
        return link | self.choice(({}, {"mtu": 1350}))

    def inner_bridge(self, name, position, topology):
        """Give a node a bridge of its own, sometimes with ports, which then have no addresses."""
        if self.random() < 0.7:
            return
        ports = []
        for link in topology["links"]:
            ends = [end.partition(":") for end in link["endpoints"]]
            if link["addresses"] == "none":
                ports += [end for node, _, end in ends if node == name]
        bridge = {"address": f"10.150.{position}.1/24", "ports": self.some(ports)}
        topology["nodes"][name]["bridges"] = {"br0": bridge}

    def routes(self, name, topology):
        """Give a node routes over the subnets that it is in, several ways, and to nowhere."""
        gateways = []
        for link in topology["links"]:
            ends = [end.partition(":")[0] for end in link["endpoints"]]
            if name in ends and link["addresses"] != "none":
                gateways += [address.partition("/")[0] for address in link["addresses"][1 - ends.index(name)]]
        node = topology["nodes"][name]
        v4, v6 = [g for g in gateways if ":" not in g], [g for g in gateways if ":" in g]
        routes = [{"to": "10.99.0.0/16", "blackhole": True}] if self.random() < 0.3 else []
        routes += [{"to": f"10.{n}.0.0/16", "via": self.choice(v4)} for n in self.some((100, 101), 0.5) if v4]
        routes += [{"to": "fd99::/32", "via": self.choice(v6), "metric": self.choice((7, 1024))}] if v6 else []
        if len(v4) > 1:
            routes.append({"to": "10.102.0.0/16", "nexthops": [{"via": v4[0]}, {"via": v4[1], "weight": self.randint(1, 9)}]})
        if v4 and self.random() < 0.3:
            routes.append({"to": "10.103.0.0/16", "via": v4[0], "table": 100, "metric": 5})
        node["routes"] = routes
        devs = [dev for dev in node["interfaces"] if dev != "lo"]
        entry = {"address": "10.60.9.9", "lladdr": "02:00:00:00:99:01"}
        node["neighbours"] = [entry | {"dev": dev} for dev in self.some(devs, 0.2)]

    def edited(self, topology):
        """Change some of a topology: another node's worth of everything, a node more or less, a bridge's or a link's MTU."""
        other = Maker(self.getrandbits(32)).topology()
        nodes = dict(topology["nodes"])
        for name in self.some(nodes, 0.3):
            plain = ("sysctls", "files", "rules", "dns", "hostname")
            kept = {key: value for key, value in nodes[name].items() if key not in plain}
            nodes[name] = kept | {key: value for key, value in other["nodes"].get(name, {}).items() if key in plain}
        nodes |= {"extra": {}} if self.random() < 0.3 else {}
        links = [link | self.choice(({}, {}, {"mtu": 1280})) for link in topology["links"]]
        bridges = {name: bridge | self.choice(({}, {"mtu": 1450})) for name, bridge in topology["bridges"].items()}
        return topology | {"nodes": nodes, "links": links, "bridges": bridges}


DAMAGE = {
    "veth": [
        "ip $in link del {ifname}",
        "ip $in link set {ifname} down",
        "ip $in link set {ifname} mtu 1290",
        "ip $in link set {ifname} address 02:00:00:aa:aa:aa",
        "ip $in addr flush dev {ifname}",
        "ip $in link set {ifname} name renamed",
        "ip $in link set {ifname} nomaster",
    ],
    "bridge": ["ip $in link del {name}", "ip $in link set {name} down", "ip $in link set {name} mtu 1290"],
    "address": ["ip $in addr del {address} dev {dev}"],
    "route": ["ip $in route del {to} table {table} metric {metric}", "ip $in route flush proto 110"],
    "rule": ["ip $in -{family} rule del priority {priority}"],
    "neighbour": ["ip $in neigh del {address} dev {dev}"],
    "netns": ["ip netns del {name}", "ip -n {name} link set lo down"],
    "mntns": ["umount /run/nsprov/prop/ns/{node}/mnt", "nsenter --mount=/run/nsprov/prop/ns/{node}/mnt umount /etc/hosts"],
    "utsns": ["umount /run/nsprov/prop/ns/{node}/uts", "nsenter --uts=/run/nsprov/prop/ns/{node}/uts hostname changed"],
    "file": ["echo changed > /run/nsprov/prop/files/{owner}{path}", "chmod 600 /run/nsprov/prop/files/{owner}{path}"],
    "sysctl": ["ip netns exec prop-{node} sysctl -qw {key}=0"],
}


def damaged(dice, state):
    """Break one to four things by commands; one that fails because another did its work is fine."""
    for resource in dice.sample(state, min(len(state), dice.randint(1, 4))):
        command = dice.choice(DAMAGE[resource.kind]).format(**vars(resource))
        inside = f"-n prop-{resource.node}" if getattr(resource, "node", "") else ""
        subprocess.run(["/bin/sh", "-c", command.replace("$in", inside)], check=False, capture_output=True)


@pytest.fixture
def resolved(tmp_path):
    """Give a function that writes a topology to a file, reads it, and gives what it asks of this host."""

    def make(topology):
        path = tmp_path / "lab.yml"
        path.write_text(repr(topology).replace("True", "true").replace("False", "false").replace("'", '"'), encoding="utf-8")
        (state,) = resolve(load(str(path))).values()
        return list(state.values())

    return make


def inodes():
    return {name: os.stat(f"/run/netns/{name}").st_ino for name in os.listdir("/run/netns")}


def converge(labs, state):
    """Plan and do it: what is done is what was planned, and then there is nothing more to do."""
    plan = labs.plan(LAB, *state)
    done = labs.up(LAB, *state)

    assert plan.changes == done.changes
    assert labs.plan(LAB, *state).actions() == {}
    return done


def repair(labs, state):
    """Do it at once: what was damaged may still be going, so that a plan made before would be another one."""
    labs.up(LAB, *state)

    assert labs.plan(LAB, *state).actions() == {}


@bounded
@given(seeds)
def test_up_and_down(labs, host, resolved, seed):
    """A random lab comes up in one run and goes down to nothing."""
    state = resolved(Maker(seed).topology())
    done = converge(labs, state)

    assert set(done.actions().values()) == {"create"}
    labs.down(LAB)
    host.check()


@bounded
@given(seeds)
def test_an_edit(labs, host, resolved, seed):
    """A random edit is made in one run, and nodes that stay keep their namespaces."""
    dice = Maker(seed)
    topology = dice.topology()
    converge(labs, resolved(topology))
    before = inodes()
    converge(labs, resolved(dice.edited(topology)))
    after = inodes()

    assert {name: inode for name, inode in before.items() if name in after and inode != after[name]} == {}
    labs.down(LAB)
    host.check()


@bounded
@given(seeds)
def test_another_lab_altogether(labs, host, resolved, seed):
    """From any lab to any other in one run, and back."""
    dice = Maker(seed)
    first, second = resolved(dice.topology()), resolved(dice.topology())
    converge(labs, first)
    converge(labs, second)
    converge(labs, first)
    labs.down(LAB)
    host.check()


@bounded
@given(seeds)
def test_damage(labs, host, resolved, seed):
    """What somebody breaks is repaired in one run, and what is broken does not keep the lab from going down."""
    dice = Maker(seed)
    state = resolved(dice.topology())
    converge(labs, state)
    damaged(dice, state)
    repair(labs, state)
    damaged(dice, state)
    labs.down(LAB)
    host.check()


@bounded
@given(seeds)
def test_damage_and_an_edit(labs, host, resolved, seed):
    """An edit of a damaged lab is made in one run."""
    dice = Maker(seed)
    topology = dice.topology()
    state = resolved(topology)
    converge(labs, state)
    damaged(dice, state)
    repair(labs, resolved(dice.edited(topology)))
    labs.down(LAB)
    host.check()
