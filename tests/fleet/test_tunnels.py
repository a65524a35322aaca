"""Links between hosts, as a user lives with them: full-size packets, bridges over three hosts, moves, firewalls, clashes."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading

import pytest
from controlled import INVENTORY, Fleet

from nsprov import topology
from nsprov.kernel import libc
from nsprov.resolve import resolve

LAB = """\
name: wide
bridges:
  lan: {address: 10.63.0.1/24, host: lab1}
nodes:
  a: {host: lab1, interfaces: {eth0: {bridge: lan, address: 10.63.0.11/24}}}
  b: {host: lab2, interfaces: {eth0: {bridge: lan, address: 10.63.0.12/24}}}
  c: {host: lab3, interfaces: {eth0: {bridge: lan, address: 10.63.0.13/24}}}
  s: {host: lab3, bridges: {sw: {ports: [p0, p1]}}}
links:
  - {endpoints: [a:eth1, b:eth1], addresses: [[10.63.1.1/30, "fd63::1/64"], [10.63.1.2/30, "fd63::2/64"]]}
  - {endpoints: [b:eth2, s:p0], addresses: [10.63.2.1/30, null]}
  - {endpoints: [c:eth2, s:p1], addresses: [10.63.2.2/30, null]}
"""
LINK = """\
name: wide
nodes:
  a: {host: lab1}
  b: {host: lab2}
links:
  - {endpoints: [a:eth1, b:eth1], addresses: [10.63.1.1/30, 10.63.1.2/30]}
"""
HEADERS = 28  # of IPv4 and ICMP, before what `ping -s` counts


@pytest.fixture(scope="module")
def ground(lab, tmp_path_factory):
    """Give three hosts and a controller to all tests of this file."""
    return Fleet(lab, tmp_path_factory.mktemp("tunnels"))


@pytest.fixture
def fleet(ground):
    """Give the hosts, and take down and check what a test leaves."""
    if ground.netns(0):  # what the tests before have looked at
        ground.nsprov("down", "--lab", "wide")
    ground.topology(LINK)
    yield ground
    ground.nsprov("down", "--lab", "wide")
    ground.check()


@pytest.fixture(scope="module")
def wide(ground):
    """Bring a lab up over three hosts for the tests that only look at it."""
    ground.topology(LAB)
    ground.nsprov("up")
    yield ground
    if ground.netns(0):
        ground.nsprov("down", "--lab", "wide")
    ground.check()


def ping(fleet, host, node, target, size=1450 - HEADERS, wait=3):
    """Ping once with a packet of this size, which must not be cut to pieces."""
    fleet.hosts[host].run(f"ip netns exec wide-{node} ping -q -c1 -W{wait} -M do -s {size} {target}")


def mtu(fleet, host, node, device):
    """Give the MTU of a device in a node."""
    return int(fleet.hosts[host].run(f"ip netns exec wide-{node} cat /sys/class/net/{device}/mtu"))


def vni(fleet, host, node, device="eth1"):
    """Give the number of a tunnel's end."""
    return int(re.search(r"vxlan id (\d+)", fleet.hosts[host].run(f"ip -n wide-{node} -d link show {device}"))[1])


def socket_in(fleet, host, node):
    """Open a socket for broadcasts in a node; a socket stays in its namespace, whoever has it."""
    opened = []

    def work():
        with open(fleet.hosts[host].root / f"run/netns/wide-{node}", "rb") as pin:
            libc.setns(pin.fileno(), libc.CLONE_NEWNET)
        opened.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    opened[0].setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    opened[0].settimeout(5)
    opened[0].bind(("", 5000))
    return opened[0]


def test_a_link_carries_full_packets(wide):
    """Two nodes on two hosts ping each other with packets of the MTU that is left, and one more byte is refused."""
    ping(wide, 0, "a", "10.63.1.2")
    ping(wide, 1, "b", "10.63.1.1")
    wide.hosts[0].run("ip netns exec wide-a ping -q -c1 -W3 -M do -s 1402 fd63::2")
    with pytest.raises(AssertionError, match="wide-a ping"):
        ping(wide, 0, "a", "10.63.1.2", 1450 - HEADERS + 1, wait=0.1)


def test_the_device_is_the_interface(wide):
    """The node's own interface is the tunnel's end, and its socket is the host's: no other link is there for it."""
    link = wide.hosts[0].run("ip -n wide-a -d link show eth1")

    assert "link-netnsid" in link
    assert "df set" in link
    assert "nolearning" in link
    assert wide.hosts[0].run("ss -Hlun sport = 4789").count("4789") == 1
    assert wide.hosts[0].run("ip -o link | grep -c wide-a").strip() == "1", "only its port of the bridge"


def test_a_bridge_joins_all_its_hosts(wide):
    """Every node on it reaches every other, and the address that the bridge has at its home."""
    for host, node in enumerate("abc"):
        for target in ("10.63.0.1", "10.63.0.11", "10.63.0.12", "10.63.0.13"):
            ping(wide, host, node, target)

    assert [host.run("ip -4 -o addr show lan").count("10.63.0.1/24") for host in wide.hosts] == [1, 0, 0]


def test_a_broadcast_reaches_all_once(wide):
    """What one node says to all comes to each of the others one time."""
    with contextlib.ExitStack() as stack:
        said, *others = [stack.enter_context(socket_in(wide, host, node)) for host, node in enumerate("abc")]
        said.sendto(b"all", ("10.63.0.255", 5000))
        for last in (12, 13):
            said.sendto(b"end", (f"10.63.0.{last}", 5000))
        heard = [[other.recv(9), other.recv(9)] for other in others]

    assert heard == [[b"all", b"end"]] * 2


def test_a_switch_in_a_node(wide):
    """The bridge inside a node joins a link from another host with one on its own, and both have the MTU of the smaller."""
    ping(wide, 1, "b", "10.63.2.2")

    assert [mtu(wide, 2, "s", device) for device in ("sw", "p0", "p1")] == [1450] * 3
    assert mtu(wide, 2, "c", "eth2") == 1450


def test_everybody_knows_everybody(wide):
    """/etc/hosts is the same on all hosts."""
    hosts = {host.run(f"ip netns exec wide-{node} cat /etc/hosts") for host, node in zip(wide.hosts, "abc", strict=True)}

    assert len(hosts) == 1
    wide.hosts[1].run("ip netns exec wide-b ping -q -c1 -W3 c")


def test_nothing_is_left_to_do(wide):
    """After `up`, file and hosts agree."""
    wide.nsprov("diff")


def test_moves(fleet):
    """A node moves to another host, then next to the other end, then to the controller: tunnel to tunnel to pair to tunnel."""
    fleet.nsprov("up")
    number = vni(fleet, 0, "a")
    fleet.topology(LINK.replace("host: lab2", "host: lab3"))
    fleet.nsprov("up")
    ping(fleet, 0, "a", "10.63.1.2")
    assert vni(fleet, 0, "a") == vni(fleet, 2, "b") == number
    assert [fleet.netns(host) for host in range(3)] == [["wide-a"], [], ["wide-b"]]

    fleet.topology(LINK.replace("host: lab2", "host: lab1"))
    fleet.nsprov("up")
    ping(fleet, 0, "a", "10.63.1.2", 1500 - HEADERS)
    assert [fleet.netns(host) for host in range(3)] == [["wide-a", "wide-b"], [], []]
    fleet.nsprov("diff")

    fleet.topology(LINK.replace("host: lab2", "host: localhost"))
    fleet.nsprov("up")
    ping(fleet, 0, "a", "10.63.1.2")
    assert "local 10.87.0.1 " in fleet.hosts[0].run("ip -n wide-a -d link show eth1")
    assert "dst 10.87.0.254" in fleet.hosts[0].run("bridge -n wide-a fdb show dev eth1")
    fleet.nsprov("diff")


def test_a_smaller_underlay(fleet):
    """The MTU inside follows that of the hosts' network, and one that does not fit is refused before anything is done."""
    fleet.hosts[1].run("ip link set eth0 mtu 1400")
    try:
        fleet.topology(LINK.replace("10.63.1.2/30]", "10.63.1.2/30], mtu: 1450"))
        before = fleet.look()
        said = fleet.nsprov("up", code=3)

        assert fleet.changed_hosts(before) == []
        assert "an MTU of 1450 does not fit, 1350 would" in said.err
        assert "topology.yml:6:81" in said.err
        assert "1400 bytes at most, VXLAN over IPv4 needs 50" in said.err
        fleet.topology(LINK)
        fleet.nsprov("up")
        assert (mtu(fleet, 0, "a", "eth1"), mtu(fleet, 1, "b", "eth1")) == (1350, 1350)
        ping(fleet, 0, "a", "10.63.1.2", 1350 - HEADERS)
    finally:
        fleet.hosts[1].run("ip link set eth0 mtu 1500")
    fleet.nsprov("up")
    assert mtu(fleet, 1, "b", "eth1") == 1450


def test_a_path_that_takes_less_than_it_says(fleet):
    """A switch on the way drops large frames silently: `up` finds out, goes back, and says what to write; then it works."""
    port = ("ip", "link", "set", "nsp-lab-v2", "mtu")
    subprocess.run([*port, "1400"], check=True)
    try:
        before = fleet.look()
        said = fleet.nsprov("up", code=7)
        fleet.same_as(before)

        assert 'link "a:eth1 - b:eth1" does not carry its full size' in said.err
        assert "small ones arrive, and those of its MTU, 1450 bytes, do not" in said.err
        fleet.topology(LINK + "tunnels: {mtu: 1400}\n")
        fleet.nsprov("up")
        ping(fleet, 0, "a", "10.63.1.2", 1350 - HEADERS)
    finally:
        subprocess.run([*port, "1500"], check=True)


def test_a_firewall_on_the_way(fleet):
    """One host lets no tunnel in: `up`, of a saved plan too, exits 7, says what to do, and nothing of it is left anywhere."""
    fleet.hosts[1].run("nft add table inet wall; nft add chain inet wall in '{type filter hook input priority 0;}'")
    fleet.hosts[1].run("nft add rule inet wall in udp dport 4789 drop")
    try:
        before = fleet.look()
        fleet.nsprov("plan", "--out", "saved.json")
        said = fleet.nsprov("up", "saved.json", code=7)

        assert 'link "a:eth1 - b:eth1" carries nothing' in said.err
        assert 'No frame from "lab1" to "lab2" arrived' in said.err
        assert "let UDP port 4789 through" in said.err
        fleet.same_as(before)
        assert fleet.nsprov("audit").out.count("nothing is left") >= 2
    finally:
        fleet.hosts[1].run("nft delete table inet wall")


def test_numbers_of_others(fleet):
    """A number that another tunnel has on one of the hosts is left to it, on both, and for as long as the lab is up."""
    states = resolve(topology.load(str(fleet.nsprov.folder / "topology.yml"), {}))
    usual = next(resource.vni for resource in states["lab1"].values() if resource.kind == "vxlan")
    fleet.hosts[1].run(f"ip link add other type vxlan id {usual} local 10.87.0.2 dstport 4789")
    try:
        fleet.nsprov("up")
        number = vni(fleet, 0, "a")
        assert number == vni(fleet, 1, "b") != usual
        ping(fleet, 0, "a", "10.63.1.2")
    finally:
        fleet.hosts[1].run("ip link del other")
    fleet.nsprov("diff")


def test_over_ipv6(fleet):
    """With `nsprov_underlay` the hosts reach each other over IPv6, which takes 20 bytes more."""
    inventory = INVENTORY
    for number in (1, 2):
        fleet.hosts[number - 1].run(f"ip addr add fd87::{number}/64 dev eth0 nodad")
        line = f"      host: 10.87.0.{number}\n"
        inventory = inventory.replace(line, f"{line}      nsprov_underlay: fd87::{number}\n")
    try:
        fleet.inventory(inventory)
        fleet.nsprov("up")
        ping(fleet, 0, "a", "10.63.1.2", 1430 - HEADERS)
        assert "local fd87::1" in fleet.hosts[0].run("ip -n wide-a -d link show eth1")
    finally:
        fleet.inventory(INVENTORY)
        for number in (1, 2):
            fleet.hosts[number - 1].run(f"ip addr del fd87::{number}/64 dev eth0")
