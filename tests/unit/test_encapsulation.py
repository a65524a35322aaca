"""The codec of tunnels against pyroute2's: what one writes the other reads, attribute by attribute."""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from nsprov.kernel import answers, rtnl
from nsprov.kernel import encapsulation as codec

macs = st.none() | st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=15)
indexes, descriptors = st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1)
links = st.builds(codec.NewLink, names, macs, st.none() | st.integers(68, 65535), st.none() | descriptors)
flags = st.booleans()
v4, v6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)


def as_the_kernel_writes_it(address):
    """Give an address in the form of inet_ntop(3)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_ntop(family, socket.inet_pton(family, address))


def read(kind, message):
    """Read one of our messages with pyroute2."""
    theirs = kind(rtnl.pack(message, 1))
    theirs.decode()
    return theirs


def attrs(theirs, *path):
    """Give the attributes of a message, or of what is nested in it, by name."""
    for name in path:
        theirs = dict(item[:2] for item in theirs["attrs"])[name]
    return {item[0]: item[1] for item in theirs["attrs"]}


def set_apart(address):
    """Tell whether an address says something: the kernel tells one that is not given as zeros."""
    return as_the_kernel_writes_it(address) not in ("0.0.0.0", "::")


def tunnels(addresses, number, port):
    """Give tunnels between addresses of one family."""
    texts = addresses.filter(set_apart).map(as_the_kernel_writes_it)
    return st.builds(rtnl.Tunnel, number, port, texts, texts, flags)


vxlans = tunnels(v4, st.integers(1, 2**24 - 1), st.integers(1, 65535)) | tunnels(
    v6, st.integers(1, 2**24 - 1), st.integers(1, 65535)
)
gretaps = tunnels(v4, st.integers(0, 2**32 - 1), st.just(0)) | tunnels(v6, st.integers(0, 2**32 - 1), st.just(0))


def said(link):
    """Give what a new link's attributes must say."""
    found = {"IFLA_IFNAME": link.name, "IFLA_ADDRESS": link.mac, "IFLA_MTU": link.mtu, "IFLA_NET_NS_FD": link.netns}
    return {name: value for name, value in found.items() if value is not None}


@given(links, vxlans)
def test_new_vxlan(link, tunnel):
    """A VXLAN device with all that cannot be changed later, and no remote; what is told of it is read back."""
    message = codec.new_vxlan(link, tunnel)
    theirs = read(ifinfmsg, message)
    found = attrs(theirs)
    data = attrs(theirs, "IFLA_LINKINFO", "IFLA_INFO_DATA")
    local = "IFLA_VXLAN_LOCAL6" if ":" in tunnel.local else "IFLA_VXLAN_LOCAL"

    assert found.pop("IFLA_LINKINFO")
    assert found == said(link)
    assert attrs(theirs, "IFLA_LINKINFO")["IFLA_INFO_KIND"] == "vxlan"
    assert (data["IFLA_VXLAN_ID"], data["IFLA_VXLAN_PORT"], data[local]) == (tunnel.id, tunnel.port, tunnel.local)
    assert (data["IFLA_VXLAN_LEARNING"], data["IFLA_VXLAN_UDP_CSUM"]) == (int(tunnel.learning), 1)
    assert (data["IFLA_VXLAN_UDP_ZERO_CSUM6_TX"], data["IFLA_VXLAN_UDP_ZERO_CSUM6_RX"]) == (0, 0)
    assert "IFLA_VXLAN_GROUP" not in data
    assert struct.pack("=HHB", 5, 29, 1) in message.body, "df set; pyroute2 has no name for it"
    assert answers.parse_link(message.body, 0, len(message.body)).tunnel == tunnel._replace(remote="")


@given(links, gretaps)
def test_new_gretap(link, tunnel):
    """An Ethernet over GRE device with its key both ways; what is told of it is read back."""
    message = codec.new_gretap(link, tunnel)
    theirs = read(ifinfmsg, message)
    kind = attrs(theirs, "IFLA_LINKINFO")["IFLA_INFO_KIND"]
    found = attrs(theirs)

    assert found.pop("IFLA_LINKINFO")
    assert found == said(link)
    assert kind == ("ip6gretap" if ":" in tunnel.local else "gretap")
    assert answers.parse_link(message.body, 0, len(message.body)).tunnel == tunnel._replace(learning=False)
    if kind == "gretap":
        data = attrs(theirs, "IFLA_LINKINFO", "IFLA_INFO_DATA")
        assert (data["IFLA_GRE_LOCAL"], data["IFLA_GRE_REMOTE"]) == (tunnel.local, tunnel.remote)
        assert (data["IFLA_GRE_IKEY"], data["IFLA_GRE_OKEY"]) == (tunnel.id, tunnel.id)
        assert (data["IFLA_GRE_IFLAGS"], data["IFLA_GRE_OFLAGS"], data["IFLA_GRE_PMTUDISC"]) == (0x2000, 0x2000, 1)


@given(indexes, (v4 | v6).filter(set_apart).map(as_the_kernel_writes_it), flags)
def test_forwarding(index, remote, add):
    """Where frames for all go, one more or one less; what is told of it is read back."""
    message = codec.forwarding(index, remote, add=add)
    theirs = read(ndmsg, message)
    start = codec.NEIGHBOUR.size

    assert (theirs["family"], theirs["ifindex"], theirs["flags"]) == (7, index, 2)
    assert attrs(theirs)["NDA_LLADDR"] == "00:00:00:00:00:00"
    assert message.flags == (0x400 | 0x800 if add else 0)
    spans = answers.attributes(message.body, start, len(message.body))
    assert codec.forwards_all(message.body, 0, spans) == remote


@given(indexes, names, descriptors)
def test_move_link(index, name, netns):
    """A link moves to another namespace under another name."""
    message = codec.move_link(index, name, netns)
    theirs = read(ifinfmsg, message)

    assert theirs["index"] == index
    assert attrs(theirs) == {"IFLA_IFNAME": name, "IFLA_NET_NS_FD": netns}


def test_entries_of_a_bridge():
    """What a bridge has learned on the device is no remote of ours, nor is one address behind one."""
    body = codec.NEIGHBOUR.pack(7, 1, 0x80, 0x04, 0) + rtnl.attribute(2, codec.ALL_ZEROS)
    one = codec.NEIGHBOUR.pack(7, 1, 0x80, 0x02, 0) + rtnl.attribute(1, b"\xc0\0\2\1") + rtnl.attribute(2, b"\2\0\0\0\0\1")
    start = codec.NEIGHBOUR.size

    assert [codec.forwards_all(data, 0, answers.attributes(data, start, len(data))) for data in (body, one)] == ["", ""]
