"""Edits of which one thing disturbs another: the kernel drops more than was asked for, and one run still gets there."""

from __future__ import annotations

import dataclasses

import pytest

from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root
LAB = "t"

VETH = {"node": "a", "ifname": "eth0", "peer_node": "b", "peer_ifname": "eth0", "state": "up", "peer_state": "up", "mtu": 1500}
ROWS = [
    ["netns", {"node": "a", "name": "t-a"}],
    ["netns", {"node": "b", "name": "t-b"}],
    ["veth", {**VETH, "mac": "02:00:00:00:00:01", "peer_mac": "02:00:00:00:00:02", "master": ""}],
    ["bridge", {"node": "a", "name": "br0", "mac": "02:00:00:00:00:03", "mtu": 1500}],
    ["address", {"node": "a", "dev": "eth0", "address": "10.0.0.1/24"}],
    ["address", {"node": "a", "dev": "eth0", "address": "fd00::1/64", "nodad": True}],
    ["address", {"node": "a", "dev": "br0", "address": "10.0.1.1/24"}],
    ["neighbour", {"node": "a", "dev": "eth0", "address": "10.0.0.9", "lladdr": "02:00:00:00:00:09"}],
    ["neighbour", {"node": "a", "dev": "br0", "address": "10.0.1.9", "lladdr": "02:00:00:00:00:09"}],
    ["neighbour", {"node": "a", "dev": "eth0", "address": "fd00::9", "lladdr": "02:00:00:00:00:09"}],
    ["route", {"node": "a", "to": "10.9.0.0/16", "via": "10.0.0.2", "dev": "eth0"}],
    ["route", {"node": "a", "to": "10.8.0.0/16", "via": "10.0.1.2", "dev": "br0"}],
    ["route", {"node": "a", "to": "fd09::/16", "metric": 1024, "via": "fd00::2", "dev": "eth0"}],
    ["route", {"node": "a", "to": "10.7.0.0/16", "nexthops": [["10.0.0.3", "eth0", 1], ["10.0.1.3", "br0", 1]]}],
    ["sysctl", {"node": "a", "key": "net.ipv4.conf.eth0.rp_filter", "value": "2"}],
    ["rule", {"node": "a", "family": 4, "priority": 100, "table": 100}],
]


def state():
    return load_state(ROWS, SCHEMAS)


def edited(which, **fields):
    """Change fields of one resource."""
    found = state()
    for ref, resource in found.items():
        if str(ref) == which:
            found[ref] = dataclasses.replace(resource, **fields)
    return list(found.values())


def without(*names):
    """Leave resources out."""
    return [resource for ref, resource in state().items() if not str(ref).startswith(names)]


def there_and_back(labs, other):
    """Go from the lab to the other one and back, in one run each."""
    labs.up(LAB, *state().values())
    for desired in (other, list(state().values())):
        labs.up(LAB, *desired)
        assert labs.plan(LAB, *desired).actions() == {}
    labs.down(LAB)


OVER_THE_PAIR = ("route:a/10.9", "route:a/fd", "route:a/10.7")
EDITS = {
    "another MAC": edited("veth:a/eth0", mac="02:00:00:00:00:11"),
    "another MAC at the other end": edited("veth:a/eth0", peer_mac="02:00:00:00:00:12"),
    "another MTU": edited("veth:a/eth0", mtu=1400),
    "another name at the other end": edited("veth:a/eth0", peer_ifname="eth7"),
    "another bridge's MAC": edited("bridge:a/br0", mac="02:00:00:00:00:13"),
    "another name of a namespace": edited("netns:a", name="u-a"),
    "a route with another gateway": edited("route:a/10.9.0.0/16", via="10.0.0.7"),
    "a route to nowhere": edited("route:a/10.9.0.0/16", via="", dev="", type="blackhole"),
    "no bridge, nor what is on it": without("bridge:a/br0", "neighbour:a/br0", "address:a/br0", "route:a/10.8", "route:a/10.7"),
    "no pair, nor what is on it": without("veth:", "address:a/eth0", "neighbour:a/eth0", *OVER_THE_PAIR, "sysctl"),
    "no neighbours": without("neighbour:"),
    "no routes": without("route:"),
    "no addresses, nor routes": without("address:", "route:"),
    "no addresses of IPv4, nor routes": without("address:a/eth0/10", "route:a/10.9", "route:a/10.7"),
    "no node": without("netns:a", "veth:", "bridge:", "address:", "neighbour:", "route:", "sysctl", "rule"),
}


@pytest.mark.parametrize("other", EDITS.values(), ids=EDITS)
def test_there_and_back(labs, other):
    """Each edit is one run, its undoing another, and after each the plan is empty."""
    there_and_back(labs, other)


def test_a_sysctl_goes_with_its_device_replaced(labs):
    """A device's sysctl is taken out of the file in the same run in which the device is made anew."""
    other = [resource for resource in edited("veth:a/eth0", peer_ifname="eth7") if resource.kind != "sysctl"]
    there_and_back(labs, other)


def test_a_sysctl_goes_after_its_device_was_deleted(labs, run_command):
    """A device's sysctl is taken out of the file after somebody has deleted the device."""
    labs.up(LAB, *state().values())
    run_command("ip", "-n", "t-a", "link", "del", "eth0")
    other = without("sysctl")
    labs.up(LAB, *other)

    assert labs.plan(LAB, *other).actions() == {}
    labs.down(LAB)


def test_a_sysctl_is_what_it_was(labs, run_command):
    """A sysctl that is taken out of the file gets the value back that the kernel had given it."""
    look = ["ip", "netns", "exec", "t-a", "sysctl", "-n", "net.ipv4.conf.eth0.rp_filter"]
    labs.up(LAB, *without("sysctl"))
    before = run_command(*look)
    labs.up(LAB, *state().values())
    labs.up(LAB, *without("sysctl"))

    assert before == run_command(*look) != "2"
    labs.down(LAB)
