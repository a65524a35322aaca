"""Our rtnetlink codec against pyroute2's, which is generic and slow: what one writes the other reads, byte for byte."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from nsprov.kernel import answers, rtnl

macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=15)
mtus = st.integers(68, 65535)
indexes = st.integers(1, 2**31 - 1)
small = st.integers(0, 2**31 - 1)
flags = st.booleans()
v4, v6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)


def maybe(values):
    return st.none() | values


def prefixes(addresses, longest):
    """Give networks, host bits cleared, of any prefix length."""
    pairs = st.tuples(addresses, st.integers(0, longest))
    return pairs.map(lambda pair: str(ipaddress.ip_network(f"{pair[0]}/{pair[1]}", strict=False)))


def as_the_kernel_writes_it(text):
    """Give an address in the form of inet_ntop(3)."""
    plain, slash, length = text.partition("/")
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    return f"{socket.inet_ntop(family, socket.inet_pton(family, plain))}{slash}{length}"


def read(kind, message):
    """Read one of our messages with pyroute2."""
    theirs = kind(rtnl.pack(message, 1))
    theirs.decode()
    return theirs


def written(kind, fields, attrs):
    """Write a message with pyroute2 and give its body."""
    theirs = kind()
    theirs.update(fields)
    theirs["attrs"] = attrs
    theirs["header"]["type"] = 0
    theirs.encode()
    return bytes(theirs.data[16:])


def same_bytes(kind, message):
    """Check that pyroute2, given what it read in our message, writes the same bytes."""
    theirs = read(kind, message)
    fields = {name: value for name, value in theirs.items() if name not in ("attrs", "header", "state", "__align", "event")}
    assert message.body == written(kind, fields, theirs["attrs"])


def attrs(theirs, *path):
    """Give the attributes of a message, or of what is nested in it, by name."""
    for name in path:
        theirs = dict(item[:2] for item in theirs["attrs"])[name]
    return {item[0]: item[1] for item in theirs["attrs"]}


def ends():
    return st.builds(rtnl.VethEnd, names, maybe(macs), maybe(mtus), maybe(indexes), flags, maybe(small))


def told(end):
    """Give what an end's attributes must say."""
    said = {"IFLA_IFNAME": end.name, "IFLA_NUM_TX_QUEUES": 1, "IFLA_NUM_RX_QUEUES": 1, "IFLA_ADDRESS": end.mac}
    said |= {"IFLA_MTU": end.mtu, "IFLA_MASTER": end.master, "IFLA_NET_NS_FD": end.netns}
    return {name: value for name, value in said.items() if value is not None}


@given(ends(), ends())
def test_new_veth(end, peer):
    """Both ends of a pair, each with its namespace, name, MAC and MTU."""
    message = rtnl.new_veth(end, peer)
    theirs = read(ifinfmsg, message)
    found = attrs(theirs)

    assert found.pop("IFLA_LINKINFO")
    assert found == told(end)
    assert attrs(theirs, "IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER") == told(peer)
    assert attrs(theirs, "IFLA_LINKINFO")["IFLA_INFO_KIND"] == "veth"
    assert (theirs["flags"], theirs["change"]) == (int(end.up), int(end.up))
    same_bytes(ifinfmsg, message)


@given(names, maybe(macs), maybe(mtus), flags)
def test_new_bridge(name, mac, mtu, stp):
    """A bridge with its MAC, MTU and spanning tree."""
    message = rtnl.new_bridge(name, mac, mtu, stp=stp)
    theirs = read(ifinfmsg, message)
    expected = {"IFLA_IFNAME": name, "IFLA_ADDRESS": mac, "IFLA_MTU": mtu}
    found = attrs(theirs)

    assert found.pop("IFLA_LINKINFO")
    assert found == {key: value for key, value in expected.items() if value is not None}
    assert attrs(theirs, "IFLA_LINKINFO", "IFLA_INFO_DATA") == {"IFLA_BR_STP_STATE": int(stp)}
    same_bytes(ifinfmsg, message)


settings_of_links = st.builds(
    rtnl.LinkSettings,
    name=maybe(names),
    alias=maybe(st.text("abc:/~é", max_size=50)),
    mtu=maybe(mtus),
    mac=maybe(macs),
    master=maybe(small),
    up=maybe(flags),
    group=maybe(small),
    no_link_local=flags,
    stp=maybe(flags),
)


@given(small, settings_of_links)
def test_set_link(index, settings):
    """Every setting that is given, and no other."""
    message = rtnl.set_link(index, settings)
    theirs = read(ifinfmsg, message)
    found = attrs(theirs)
    expected = {
        "IFLA_IFNAME": settings.name,
        "IFLA_IFALIAS": settings.alias,
        "IFLA_MTU": settings.mtu,
        "IFLA_ADDRESS": settings.mac,
        "IFLA_MASTER": settings.master,
        "IFLA_GROUP": settings.group,
    }

    assert (found.pop("IFLA_LINKINFO", None) is not None) is (settings.stp is not None)
    assert (found.pop("IFLA_AF_SPEC", None) is not None) is settings.no_link_local
    assert found == {key: value for key, value in expected.items() if value is not None}
    assert theirs["index"] == index
    assert (theirs["flags"], theirs["change"]) == (int(settings.up or 0), int(settings.up is not None))


@given(indexes, st.text("abc-", min_size=1, max_size=127))
def test_altname(index, name):
    """A further name, up to 127 characters."""
    theirs = read(ifinfmsg, rtnl.add_altname(index, name))

    assert attrs(theirs, "IFLA_PROP_LIST") == {"IFLA_ALT_IFNAME": name}
    assert theirs["index"] == index


@given(indexes)
def test_deletions(number):
    """One link by its index, many by their group."""
    assert read(ifinfmsg, rtnl.delete_link(number))["index"] == number
    assert attrs(read(ifinfmsg, rtnl.delete_group(number))) == {"IFLA_GROUP": number}
    same_bytes(ifinfmsg, rtnl.delete_group(number))


@given(indexes, st.one_of(st.tuples(v4, st.integers(0, 32)), st.tuples(v6, st.integers(0, 128))), flags)
def test_address(index, given_address, nodad):
    """An address of either family; the flag is for IPv6 only, and a deletion carries neither flag nor protocol."""
    text, length = given_address
    message = rtnl.address_message(rtnl.RTM_NEWADDR, index, f"{text}/{length}", nodad=nodad)
    theirs = read(ifaddrmsg, message)
    found = attrs(theirs)
    plain = as_the_kernel_writes_it(text)

    assert (theirs["index"], theirs["prefixlen"]) == (index, length)
    assert found.pop("IFA_FLAGS", 0) == (rtnl.IFA_F_NODAD if nodad and ":" in text else 0)
    assert found == {"IFA_LOCAL": plain, "IFA_ADDRESS": plain, "IFA_PROTO": rtnl.PROTO}
    same_bytes(ifaddrmsg, message)
    same_bytes(ifaddrmsg, rtnl.address_message(rtnl.RTM_DELADDR, index, f"{text}/{length}"))


def routes(addresses, longest):
    """Give routes of one family, of every type, with one way or several."""
    hops = st.tuples(addresses, indexes, st.integers(1, 256))
    return st.builds(
        rtnl.Route,
        prefixes(addresses, longest),
        table=st.integers(1, 2**31 - 1).filter(lambda table: table != rtnl.LOCAL_TABLE),
        metric=small,
        type=st.sampled_from(sorted(rtnl.ROUTE_TYPES)),
        proto=st.just(rtnl.PROTO),
        via=st.none(),
        ifindex=st.none(),
        source=maybe(addresses),
        nexthops=st.just(()) | st.lists(hops, min_size=2, max_size=5).map(tuple),
    )


every_route = st.one_of(routes(v4, 32), routes(v6, 128))


@given(every_route)
def test_route(route):
    """Destination, table, metric, type and next hops, tables beyond a byte included."""
    message = rtnl.route_message(rtnl.RTM_NEWROUTE, route)
    theirs = read(rtmsg, message)  # kept while its parts are read: pyroute2 decodes next hops late, by way of their parent
    found = attrs(theirs)
    hops = [(dict(hop["attrs"])["RTA_GATEWAY"], hop["oif"], hop["hops"] + 1) for hop in found.get("RTA_MULTIPATH", [])]

    assert found.get("RTA_DST", "") in (as_the_kernel_writes_it(route.destination).partition("/")[0], "")
    assert theirs["dst_len"] == int(route.destination.partition("/")[2])
    assert (found["RTA_TABLE"], found.get("RTA_PRIORITY", 0)) == (route.table, route.metric)
    assert (theirs["type"], theirs["proto"]) == (rtnl.ROUTE_TYPES[route.type], rtnl.PROTO)
    assert hops == [(as_the_kernel_writes_it(via), index, weight) for via, index, weight in route.nexthops]
    same_bytes(rtmsg, message)


@given(every_route, st.data())
def test_route_one_way(route, data):
    """A gateway, a device, both, or none."""
    via = data.draw(maybe(v6 if ":" in route.destination else v4))
    index = data.draw(maybe(indexes))
    route = rtnl.Route(route.destination, route.table, route.metric, "unicast", rtnl.PROTO, via, index, None, ())
    message = rtnl.route_message(rtnl.RTM_NEWROUTE, route)
    theirs = read(rtmsg, message)
    found = attrs(theirs)

    assert (found.get("RTA_GATEWAY"), found.get("RTA_OIF")) == (via and as_the_kernel_writes_it(via), index)
    same_bytes(rtmsg, message)


@given(every_route)
def test_route_deletion(route):
    """A deletion names destination, table and metric, and matches any type and scope."""
    message = rtnl.route_message(rtnl.RTM_DELROUTE, route)
    theirs = read(rtmsg, message)

    assert (theirs["type"], theirs["scope"], theirs["proto"]) == (0, 255, 0)
    assert attrs(theirs).keys() <= {"RTA_DST", "RTA_TABLE", "RTA_PRIORITY"}
    same_bytes(rtmsg, message)


@given(every_route)
def test_routes_read_back(route):
    """What we write as a request, we read as an answer."""
    body = rtnl.route_message(rtnl.RTM_NEWROUTE, route).body
    found = answers.parse_route(body, 0, len(body))

    assert found is not None
    assert (found.destination, found.table, found.metric, found.type) == (
        as_the_kernel_writes_it(route.destination),
        route.table,
        route.metric,
        route.type,
    )
    assert found.nexthops == tuple((as_the_kernel_writes_it(via), index, weight) for via, index, weight in route.nexthops)


@given(st.sampled_from((2, 3, 5, 11)), v4)
def test_routes_that_nobody_declares(kind, to):
    """Local, broadcast, multicast and NAT routes are left out, as is everything in the local table."""
    fields = {"family": socket.AF_INET, "dst_len": 32, "table": 254, "type": kind}
    body = written(rtmsg, fields, [("RTA_DST", to)])
    local = written(rtmsg, {**fields, "type": 1, "table": 255}, [("RTA_DST", to)])

    assert answers.parse_route(body, 0, len(body)) is None
    assert answers.parse_route(local, 0, len(local)) is None


bridges = st.builds(
    rtnl.Link,
    ifindex=indexes,
    name=names,
    up=flags,
    mtu=mtus,
    mac=macs,
    master=small,
    alias=st.text("abc:/~", max_size=40),
    peer=st.just(0),
    peer_netns=st.none(),
    kind=st.just("bridge"),
    stp=flags,
    altnames=st.just(()),
    tunnel=st.none(),
)


@given(bridges)
def test_links_of_theirs(link):
    """A bridge as pyroute2 writes it is read as what it is, what we do not know skipped."""
    data = {"attrs": [("IFLA_BR_STP_STATE", int(link.stp))]}
    listed = [
        ("IFLA_IFNAME", link.name),
        ("IFLA_TXQLEN", 1000),
        ("IFLA_MTU", link.mtu),
        ("IFLA_ADDRESS", link.mac),
        ("IFLA_MASTER", link.master),
        ("IFLA_IFALIAS", link.alias),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", link.kind), ("IFLA_INFO_DATA", data)]}),
    ]
    body = written(ifinfmsg, {"index": link.ifindex, "flags": int(link.up)}, listed)

    assert link == answers.parse_link(body, 0, len(body))


@given(indexes, st.lists(st.text("abc", min_size=1, max_size=20), max_size=4), maybe(small))
def test_altnames_and_peers(index, altnames, netns):
    """The further names, and where the other end is: absent is not zero."""
    listed = [("IFLA_LINK", index)]
    listed += [("IFLA_LINK_NETNSID", netns)] if netns is not None else []
    listed += [("IFLA_PROP_LIST", {"attrs": [("IFLA_ALT_IFNAME", name) for name in altnames]})] if altnames else []
    body = written(ifinfmsg, {"index": 1}, listed)
    found = answers.parse_link(body, 0, len(body))

    assert (found.peer, found.peer_netns, found.altnames) == (index, netns, tuple(altnames))


@given(indexes, st.one_of(st.tuples(v4, st.integers(0, 32)), st.tuples(v6, st.integers(0, 128))), flags, st.integers(0, 255))
def test_addresses_of_theirs(index, given_address, nodad, proto):
    """The local address and not the peer's, the wide flags and not the narrow ones."""
    text, length = given_address
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    other = "::1" if ":" in text else "127.0.0.1"
    listed = [("IFA_ADDRESS", other), ("IFA_LOCAL", text), ("IFA_FLAGS", 0x280 | (2 if nodad else 0)), ("IFA_PROTO", proto)]
    body = written(ifaddrmsg, {"family": family, "prefixlen": length, "index": index}, listed)

    expected = rtnl.Address(index, f"{as_the_kernel_writes_it(text)}/{length}", nodad, proto)
    assert expected == answers.parse_address(body, 0, len(body))


@pytest.mark.parametrize("size", range(9))
def test_padding(size):
    """Attributes and messages begin at multiples of four."""
    both = rtnl.attribute(1, b"x" * size) + rtnl.attribute(2, b"yy")
    message = rtnl.pack(rtnl.Message(16, 0, b"z" * size), 7)

    assert len(both) % 4 == len(message) % 4 == 0
    assert {1: (4, 4 + size), 2: (len(both) - 4, len(both) - 2)} == answers.attributes(both, 0, len(both))


def test_several_in_one_datagram():
    """What was put together is taken apart, each with its sequence number."""
    messages = [(rtnl.delete_link(index), index) for index in (3, 5, 7)]
    data = rtnl.packed_together(messages)

    assert [row[:2] for row in answers.split(data)] == [(rtnl.RTM_DELLINK, 3), (rtnl.RTM_DELLINK, 5), (rtnl.RTM_DELLINK, 7)]


REFUSALS = (struct.error, IndexError, KeyError, ValueError, TypeError, OSError, OverflowError)
"""What a parser may say to junk: anything but nothing."""


def exhausted(steps):
    """Take what a generator gives, and fail if it gives more than there can be."""
    for count, _ in enumerate(steps):
        assert count < 1000, "it loops"


@given(st.binary(max_size=120))
def test_junk_does_not_loop(junk):
    """Whatever the bytes are, taking them apart comes to an end."""
    for parse in (
        lambda: exhausted(answers.split(junk)),
        lambda: answers.attributes(junk, 0, len(junk)),
        lambda: answers.parse_link(junk, 0, len(junk)),
        lambda: answers.parse_address(junk, 0, len(junk)),
        lambda: answers.parse_route(junk, 0, len(junk)),
    ):
        with contextlib.suppress(*REFUSALS):
            parse()


@given(every_route, ends(), ends(), st.data())
def test_truncated_messages_do_not_loop(route, end, peer, data):
    """A message cut off anywhere, or with one of its bytes changed, is read or refused."""
    for message, parse in (
        (rtnl.route_message(rtnl.RTM_NEWROUTE, route), answers.parse_route),
        (rtnl.new_veth(end, peer), answers.parse_link),
        (rtnl.add_altname(1, "abc"), answers.parse_link),
    ):
        raw = bytearray(message.body[: data.draw(st.integers(0, len(message.body)))])
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from((0, 1, 3, 255)))
        with contextlib.suppress(*REFUSALS):
            parse(bytes(raw), 0, len(raw))


@pytest.mark.parametrize("length", [0, 1, 3])
@pytest.mark.timeout(20)
def test_lengths_that_lead_nowhere(length):
    """A length shorter than its own header ends the reading: it would never get on."""
    datagram = struct.pack("=IHHII", length, 16, 0, 1, 0) * 2
    short = struct.pack("=HH", length, 1) * 4
    route = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 110, 0, 1, 0)
    hops = route + struct.pack("=HH", 20, 9) + struct.pack("=HBBi", length, 0, 0, 3) * 2
    names_ = struct.pack("=BxHiII", 0, 0, 1, 0, 0) + struct.pack("=HH", 12, 52) + struct.pack("=HH", length, 53) * 2

    exhausted(answers.split(datagram))
    assert answers.attributes(short, 0, len(short)) == {}
    assert answers.parse_route(hops, 0, len(hops)) is not None
    assert answers.parse_link(names_, 0, len(names_)).altnames == ()
