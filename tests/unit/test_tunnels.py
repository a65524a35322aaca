"""What leads across hosts, and what joins it: numbers that stay, MTUs that fit, addresses that are there."""

from __future__ import annotations

import re

import pytest

from nsprov import topology
from nsprov.errors import InputError
from nsprov.probes import probes
from nsprov.resolve import resolve, tunnels
from nsprov.resolve.segments import OfBridge, OfLink
from nsprov.resolve.ways import Known
from nsprov.survey import Path, Survey

ADDRESSES = {"h1": "192.0.2.1", "h2": "192.0.2.2", "h3": "192.0.2.3"}
PAIR = """\
name: t
nodes: {a: {host: h1}, b: {host: h2}}
links:
  - {endpoints: [a:eth0, b:eth0], addresses: none}
"""
SHARED = """\
name: t
bridges: {lan: {address: 10.0.0.1/24}}
defaults: {interface: {bridge: lan}}
nodes:
  a: {host: h1, interfaces: {eth0: {address: 10.0.0.2/24}}}
  b: {host: h2, interfaces: {eth0: {address: 10.0.0.3/24}}}
  c: {host: h3, interfaces: {eth0: {address: 10.0.0.4/24}}}
"""


def survey(host, addresses=ADDRESSES, mtu=1500, **changes):
    """Give what a host says that reaches all others, as a host does that has the address by which they reach it."""
    own = addresses[host]
    paths = {to: Path(own, 65536 if to == own else mtu, "lo" if to == own else "eth0") for to in addresses.values()}
    given = {
        "nodes": frozenset(),
        "members": (),
        "paths": paths,
        "vnis": {},
        "taken": frozenset(),
        "public_key": f"key of {host}",
    }
    return Survey(host=host, cpus=1, memory=1, **{**given, **changes})


def known(addresses=ADDRESSES, **by_host):
    """Give what is known of hosts, those that are changed among them."""
    return Known({host: survey(host, addresses, **by_host.get(host, {})) for host in addresses}, addresses)


@pytest.fixture
def load(tmp_path):
    """Read a topology from a text."""

    def read(text):
        path = tmp_path / "t.yml"
        path.write_text(text)
        return topology.load(str(path), {})

    return read


@pytest.fixture
def plan(load):
    """Plan the tunnels of a text."""

    def planned(text, found=None):
        loaded = load(text)
        return tunnels.plan(loaded, known() if found is None else found, loaded.written)

    return planned


def ends(load, text, found=None):
    """Give the tunnels' ends of each host."""
    loaded = load(text)
    states = resolve(loaded, tunnels.plan(loaded, known() if found is None else found, loaded.written))
    kinds = ("vxlan", "gretap")
    return {host: [resource for resource in state.values() if resource.kind in kinds] for host, state in states.items()}


def refused(plan, text, found=None):
    """Give the diagnostics of a plan that is refused."""
    with pytest.raises(InputError) as caught:
        plan(text, found)
    return caught.value.diagnostics


def test_both_ends_know_each_other(load):
    """Each end sends to the other host from its own, both with one number and one MTU."""
    found = ends(load, PAIR)
    (one,), (two,) = found["h1"], found["h2"]

    assert (one.node, one.ifname, one.local, one.remotes) == ("a", "eth0", "192.0.2.1", ("192.0.2.2",))
    assert (two.node, two.ifname, two.local, two.remotes) == ("b", "eth0", "192.0.2.2", ("192.0.2.1",))
    assert (one.vni, one.port, one.mtu, one.learning) == (two.vni, 4789, 1450, False)
    assert one.mac != two.mac


def test_a_bridge_is_on_each_host_of_its_nodes(load):
    """It has a port there that sends to all others, another MAC address on each, and its own address at home."""
    loaded = load(SHARED)
    states = resolve(loaded, tunnels.plan(loaded, known()))
    bridges = {host: next(r for r in state.values() if r.kind == "bridge") for host, state in states.items()}
    ports = {host: next(r for r in state.values() if r.kind == "vxlan") for host, state in states.items()}
    addresses = {
        host: [r.address for r in state.values() if r.kind == "address" and r.dev == "lan"] for host, state in states.items()
    }

    assert {(each.name, each.mtu) for each in bridges.values()} == {("lan", 1450)}
    assert len({each.mac for each in bridges.values()}) == 3
    assert addresses == {"h1": ["10.0.0.1/24"], "h2": [], "h3": []}
    assert ports["h2"].remotes == ("192.0.2.1", "192.0.2.3")
    assert {(each.vni, each.master, each.learning, each.mtu) for each in ports.values()} == {
        (ports["h1"].vni, "lan", True, 1450)
    }
    assert {r.mtu for state in states.values() for r in state.values() if r.kind == "veth"} == {1450}


def test_a_home_without_nodes(plan):
    """A bridge is on the host that it names, too, even if no node on it is."""
    found = plan(SHARED.replace("lan: {", "lan: {host: h3, ").replace("c: {host: h3", "c: {host: h1"))

    assert found.bridges["lan"] == ("h3", "h1", "h2")


def test_no_tunnels_on_one_host(plan):
    """What is on one host needs none, and keeps the usual MTU."""
    found = plan(PAIR.replace("h2", "h1"))

    assert (found.joined, found.limits) == ({}, {})


@pytest.mark.parametrize(
    ("tunnel", "over_4", "over_6"), [("vxlan", 1450, 1430), ("gre", 1458, 1438), ("wireguard", 1370, 1338)]
)
def test_what_is_left(plan, tunnel, over_4, over_6):
    """Each type of tunnel takes its share of a packet, more over IPv6."""
    text = PAIR.replace("addresses: none", f"addresses: none, tunnel: {tunnel}")
    v6 = {"h1": "2001:db8::1", "h2": "2001:db8::2"}

    assert plan(text).limits[OfLink(0)] == over_4
    assert plan(text, known(v6)).limits[OfLink(0)] == over_6


def test_the_smaller_way_counts(plan):
    """The path may take less in one direction, or the user may know that it does."""
    assert plan(PAIR, known(h2={"mtu": 1400})).limits[OfLink(0)] == 1350
    assert plan(f"{PAIR}tunnels: {{mtu: 1300}}\n").limits[OfLink(0)] == 1250
    assert plan(SHARED, known(h3={"mtu": 1280})).limits[OfBridge("lan")] == 1230


def test_a_large_underlay(load):
    """No interface gets more than the usual MTU by itself, but may have what fits."""
    large = known(**{host: {"mtu": 9000} for host in ADDRESSES})

    assert ends(load, PAIR, large)["h1"][0].mtu == 1500
    assert ends(load, PAIR.replace("none", "none, mtu: 8950"), large)["h1"][0].mtu == 8950


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PAIR.replace("none", "none, mtu: 1451"), 'Link "a:eth0 - b:eth0" leads from "h1" to "h2"'),
        (PAIR.replace("b: {host: h2", "b: {host: h2, interfaces: {eth0: {mtu: 1451}}"), "VXLAN over IPv4 needs 50"),
        (SHARED.replace("10.0.0.1/24}", "10.0.0.1/24, mtu: 1451}"), 'Bridge "lan" leads from "h1" to "h2"'),
        (SHARED.replace("10.0.0.4/24}", "10.0.0.4/24, mtu: 1451}"), 'Bridge "lan"'),
    ],
)
def test_an_mtu_that_does_not_fit(plan, text, name):
    """It is said where it stands, between which hosts, and what would fit."""
    (found,) = refused(plan, text)
    line, column = next((n, row.index("1451")) for n, row in enumerate(text.splitlines(), 1) if "1451" in row)

    assert found.summary == "an MTU of 1451 does not fit, 1450 would"
    assert found.where.endswith(f"t.yml:{line}:{column + 1}")
    assert name in found.detail
    assert "use 1450 or less" in found.hint


def test_a_default_mtu_that_does_not_fit(plan):
    """It is said once, at the link that has it from there."""
    (found,) = refused(plan, f"{PAIR}defaults: {{link: {{mtu: 1451}}}}\n")

    assert found.where.endswith("t.yml:4:5")


def test_ipv6_needs_its_share(plan):
    """Addresses of IPv6 are refused where less than 1280 bytes are left."""
    text = PAIR.replace("none", '["2001:db8:1::1/64", "2001:db8:1::2/64"]')
    (found,) = refused(plan, text, known(h1={"mtu": 1300}))

    assert found.summary == "an MTU of 1280 does not fit, 1250 would"


def test_one_network_has_one_mtu(load):
    """What a bridge in a node joins with a tunnel takes no more than the tunnel does, however far it is."""
    text = """\
name: t
bridges: {lan: {host: h1}}
nodes:
  s: {host: h1, bridges: {sw: {ports: [p0, p1, p2]}}, interfaces: {p2: {bridge: lan}}}
  a: {host: h1}
  b: {host: h2}
  c: {host: h1}
links:
  - {endpoints: [s:p0, b:eth0], addresses: none}
  - {endpoints: [s:p1, a:eth0], addresses: none}
  - {endpoints: [a:eth1, c:eth0], addresses: none}
"""
    loaded = load(text)
    state = resolve(loaded, tunnels.plan(loaded, known()))["h1"]
    mtus = {str(ref): resource.mtu for ref, resource in state.items() if ref.kind in ("veth", "bridge", "vxlan")}

    assert mtus.pop("veth:a/eth1") == 1500
    assert set(mtus.values()) == {1450}
    assert len(mtus) == 5


def test_a_number_follows_from_names(plan):
    """The same lab gets the same number on another day, another lab another."""
    first = plan(PAIR).joined[OfLink(0)].id

    assert first == plan(PAIR).joined[OfLink(0)].id != plan(PAIR.replace("name: t", "name: u")).joined[OfLink(0)].id
    assert 1 << 20 <= first < 1 << 24


def test_a_taken_number_is_left_to_others(plan):
    """If either host has it, both take the next one; on another UDP port it is another number."""
    first = plan(PAIR).joined[OfLink(0)].id
    taken = frozenset({(first, 4789), (first + 1, 4789)})

    assert plan(PAIR, known(h2={"taken": taken})).joined[OfLink(0)].id == first + 2
    assert plan(f"{PAIR}tunnels: {{port: 4790}}\n", known(h2={"taken": taken})).joined[OfLink(0)].id == first


@pytest.mark.parametrize("held", [{"h1": 77, "h2": 77}, {"h1": 77}, {"h2": 77}])
def test_a_number_stays(plan, held):
    """A link keeps the number that its ends, or the one that is there, have now."""
    refs = {"h1": "vxlan:a/eth0", "h2": "vxlan:b/eth0"}
    found = known(**{host: {"vnis": {refs[host]: number}} for host, number in held.items()})

    assert plan(PAIR, found).joined[OfLink(0)].id == 77


def test_a_number_is_given_once(plan):
    """When a link's ends part, and each gets another one, only one of the new links keeps the number."""
    text = PAIR.replace("b: {host: h2}", "b: {host: h2}, c: {host: h2}, d: {host: h1}").replace("a:eth0, b", "a:eth0, c")
    text += "  - {endpoints: [d:eth0, b:eth0], addresses: none}\n"
    found = known(h1={"vnis": {"vxlan:a/eth0": 77}}, h2={"vnis": {"vxlan:b/eth0": 77}})
    first, second = (plan(text, found).joined[OfLink(position)].id for position in (0, 1))

    assert first == 77 != second


def test_a_number_that_is_both_ours_and_theirs(plan):
    """Where the host of a moved node has the number in use, the link changes it."""
    found = known(h1={"vnis": {"vxlan:a/eth0": 77}}, h2={"taken": frozenset({(77, 4789)})})

    assert plan(PAIR, found).joined[OfLink(0)].id != 77


def test_translated_addresses(load):
    """A host behind address translation sends from the address that it has, and is sent to at the other."""
    inside = {to: Path("10.1.1.1", 1500, "eth0") for to in ADDRESSES.values()}
    found = ends(load, PAIR, known(h1={"paths": inside}))

    assert found["h1"][0].local == "10.1.1.1"
    assert found["h2"][0].remotes == ("192.0.2.1",)


def test_an_address_of_a_loopback(load):
    """A host that has the address by which it is reached sends from it, wherever that is."""
    paths = {to: Path("10.1.1.1", 1500, "lo" if to == ADDRESSES["h1"] else "eth0") for to in ADDRESSES.values()}

    assert ends(load, PAIR, known(h1={"paths": paths}))["h1"][0].local == "192.0.2.1"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (known(h1={"paths": {}}), '"h1" cannot reach "h2"'),
        (known(h2={"paths": {"192.0.2.1": Path("192.0.2.1", 65536, "lo")}}), '"h2" and "h1" are one machine'),
        (known({**ADDRESSES, "h2": "2001:db8::2"}), '"h1" and "h2" cannot be joined'),
        (
            Known({"h1": survey("h1"), "h2": survey("h2")}, {"h1": "192.0.2.1"}, {"h2": "why."}),
            'host "h2" has no address for tunnels',
        ),
    ],
)
def test_hosts_that_cannot_be_joined(plan, found, says):
    """It is said which, and what the inventory could say."""
    (diagnostic,) = refused(plan, PAIR, found)

    assert diagnostic.summary == says
    assert "nsprov_underlay" in diagnostic.hint


def test_without_surveys(load):
    """Hosts' names stand for what nobody has asked."""
    found = ends(load, PAIR, Known())["h1"][0]

    assert (found.local, found.remotes, found.mtu) == ("h1", ("h2",), 1450)


def test_gre(load):
    """Both ends have one key, and the other's address."""
    found = ends(load, PAIR.replace("none", "none, tunnel: gre"))
    (one,), (two,) = found["h1"], found["h2"]

    assert (one.kind, one.key, one.local, one.remote) == ("gretap", two.key, two.remote, two.local)


def test_probes(load):
    """Each host tries each tunnel that it has an end of, by one token, with the size that all ends have."""
    loaded = load(SHARED + "links:\n  - {endpoints: [a:eth1, b:eth1], addresses: none}\n")
    found = probes("t", resolve(loaded, tunnels.plan(loaded, known())))
    rows = {host: sorted((row["name"], row["size"], row["me"]) for row in asked["tunnels"]) for host, asked in found.items()}

    assert rows == {
        "h1": [('bridge "lan"', 1450, 0), ('link "a:eth1 - b:eth1"', 1450, 0)],
        "h2": [('bridge "lan"', 1450, 1), ('link "a:eth1 - b:eth1"', 1450, 1)],
        "h3": [('bridge "lan"', 1450, 2)],
    }
    assert len({row["token"] for asked in found.values() for row in asked["tunnels"]}) == 2


def test_probes_of_hosts_that_take_part(load):
    """With the other host left out there is nobody to try it with."""
    loaded = load(PAIR)
    states = resolve(loaded, tunnels.plan(loaded, known()))

    assert probes("t", {"h1": states["h1"]}) == {}


def test_numbers_are_within_24_bits(plan):
    """However many there are, no two links have one number."""
    count = 60
    nodes = ", ".join(f"a{n}: {{host: h1}}, b{n}: {{host: h2}}" for n in range(count))
    links = "".join(f"  - {{endpoints: [a{n}:eth0, b{n}:eth0], addresses: none}}\n" for n in range(count))
    found = plan(f"name: t\nnodes: {{{nodes}}}\nlinks:\n{links}").joined

    assert len({tunnel.id for tunnel in found.values()}) == count
    assert all(re.fullmatch(r"\d{7,8}", str(tunnel.id)) for tunnel in found.values())
