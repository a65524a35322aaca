"""Links: where their addresses end up, and which they get when nobody wrote any."""

from ipaddress import ip_interface

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsprov.topology import load


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    """Give a function that loads nodes a to f and the links in a text."""
    path = tmp_path_factory.mktemp("links") / "lab.yml"

    def make(text, top=""):
        path.write_text(f"{top}nodes: {{a: , b: , c: , d: , e: , f: }}\nlinks:\n{text}", encoding="utf-8")
        return load(str(path))

    return make


def by_name(topology):
    """Give each link's addresses by its sorted endpoints."""
    return {
        tuple(sorted(map(str, link.endpoints))): dict(zip(map(str, link.endpoints), link.addresses))
        for link in topology.links
    }  # fmt: skip


def test_addresses_stand_in_the_nodes(links):
    """What a link says of its ends is in the nodes' interfaces."""
    found = links("  - {endpoints: [a:eth1, b:eth2], addresses: [10.0.0.0/31, [10.0.0.1/31]], mtu: 9000}\n")

    assert found.nodes["a"].interfaces["eth1"].addresses == ("10.0.0.0/31",)
    assert found.nodes["b"].interfaces["eth2"].addresses == ("10.0.0.1/31",)
    assert 9000 == found.nodes["b"].interfaces["eth2"].mtu == found.links[0].mtu


def test_allocated_pairs(links):
    """A link without addresses has a /31 of the pool, the even one at the end that sorts first, either way round."""
    one = by_name(links("  - [a:eth0, b:eth0]\n"))
    two = by_name(links("  - [b:eth0, a:eth0]\n"))
    addresses = one["a:eth0", "b:eth0"]

    assert one == two
    assert addresses["a:eth0"][0].startswith("10.254.")
    assert ip_interface(addresses["a:eth0"][0]).ip + 1 == ip_interface(addresses["b:eth0"][0]).ip


def test_addresses_none(links):
    """`addresses: none` leaves both ends bare."""
    assert links("  - {endpoints: [a:eth0, b:eth0], addresses: none}\n").links[0].addresses == ((), ())


def test_a_pool_of_ones_own(links):
    """Pairs come out of the pool that is named, and stay clear of what is written there."""
    text = "  - {endpoints: [a:eth0, b:eth0], addresses: [10.9.0.0/31, 10.9.0.1/31]}\n  - [c:eth0, d:eth0]\n"
    found = links(text, "pools: {links: 10.9.0.0/30}\n")

    assert found.links[1].addresses == (("10.9.0.2/31",), ("10.9.0.3/31",))


def test_the_host_can_be_an_end(links):
    """The end that is on the host has its address in the link only."""
    found = links("  - {endpoints: [host:v0, a:eth0], addresses: [10.0.0.0/31, 10.0.0.1/31], macs: [02:00:00:00:00:01]}\n")

    assert found.links[0].addresses == (("10.0.0.0/31",), ("10.0.0.1/31",))
    assert found.links[0].macs == ("02:00:00:00:00:01", None)
    assert "host" not in found.nodes


PAIRS = [(one, two) for one in "abcdef" for two in "abcdef" if one < two]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PAIRS), unique=True, min_size=2, max_size=10), st.randoms())
def test_adding_a_link_moves_no_other(links, pairs, random):
    """Allocation does not depend on the order of the file, and a link more leaves the others where they were."""
    lines = [f"  - [{one}:to-{two}, {two}:to-{one}]\n" for one, two in pairs]
    before = by_name(links("".join(lines[:-1])))
    random.shuffle(lines)
    after = by_name(links("".join(lines)))

    assert before.items() <= after.items()
    assert len(pairs) == len({str(addresses) for addresses in after.values()})
