"""Derived names, MACs and addresses hold for any input."""

import ipaddress
import re

from hypothesis import given
from hypothesis import strategies as st

from nsprov.topology.addresses import Cidr, parse_cidr, parse_network
from nsprov.topology.names import bridge_mac, mac, port_name
from nsprov.topology.positions import Flaw
from nsprov.topology.scalars import resolve

WORD = st.from_regex(r"[a-z][a-z0-9.-]{0,30}", fullmatch=True)
IFNAME = st.from_regex(r"[a-z][a-z0-9.-]{0,14}", fullmatch=True)


@given(st.sampled_from(["", "lab-", "a-very-long-prefix-of-a-lab-"]), WORD, IFNAME, WORD)
def test_port_names_fit(prefix, node, ifname, lab):
    """A port's name fits in 15 characters, and carries the long one as its altname when that does not."""
    name, alternative = port_name(prefix, node, ifname, lab)
    long = f"{prefix}{node}-{ifname}"

    assert 0 < len(name) <= 15
    assert (name, None) == (long, alternative) if len(long) <= 15 else alternative == long
    assert (name, alternative) == port_name(prefix, node, ifname, lab)


def test_port_names_differ():
    """Names that only differ behind the head do not meet."""
    names = {port_name("a-long-prefix-", f"node{number}", "eth0", "lab")[0] for number in range(10000)}

    assert len(names) == 10000


def test_a_very_long_altname():
    """An altname keeps to the kernel's 127 characters."""
    assert len(port_name("p" * 180, "node", "eth0", "lab")[1]) == 127


@given(WORD, WORD, IFNAME)
def test_macs(lab, node, ifname):
    """A derived MAC is a locally administered unicast address."""
    for found in (mac(lab, node, ifname), bridge_mac(lab, ifname)):
        assert re.fullmatch(r"[0-9a-f][26ae](:[0-9a-f]{2}){5}", found)


@given(st.ip_addresses(), st.integers(0, 128))
def test_addresses_agree_with_ipaddress(address, length):
    """Our arithmetic gives what the standard library gives."""
    length = min(length, address.max_prefixlen)
    expected = ipaddress.ip_interface(f"{address}/{length}")
    found = parse_cidr(f"{address}/{length}")

    assert int(expected.network.network_address) == found.network
    assert int(expected.network.broadcast_address) == found.last
    assert expected == ipaddress.ip_interface(found.text)
    assert found.holds(address.version, int(address))


@given(st.integers(0, 32), st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1))
def test_overlaps_agree_with_ipaddress(length, value, other_length, other_value):
    """Two subnets overlap for us when they do for the standard library."""
    one, two = Cidr(4, value, length), Cidr(4, other_value, other_length)
    networks = [ipaddress.ip_network((cidr.value, cidr.length), strict=False) for cidr in (one, two)]

    assert networks[0].overlaps(networks[1]) == one.overlaps(two) == two.overlaps(one)


@given(st.text(max_size=30))
def test_no_text_breaks_the_parsers(text):
    """Any text is an address or a flaw with a hint."""
    hint = "none needed"
    try:
        parse_network(text)
    except Flaw as flaw:
        hint = flaw.hint

    assert hint


@given(st.text(alphabet="0123456789abcdefx+-._:eEoOnNylsTtF~ ", max_size=12))
def test_scalars(text):
    """A plain scalar is what the YAML 1.2 core schema says it is."""
    found = resolve(text)
    if re.fullmatch(r"[-+]?[0-9]+", text):
        assert int(text) == found
    elif re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        assert float(text) == found
    elif re.fullmatch(r"0x[0-9a-fA-F]+|0o[0-7]+", text):
        assert int(text, 0) == found
    elif text.lower() not in ("", "~", "null", "true", "false"):
        assert text == found
