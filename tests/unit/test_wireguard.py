"""WireGuard: how keys are made and kept, the codec against pyroute2's, and each host's part in a lab's network."""

from __future__ import annotations

import json
import os
import socket
import struct
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.wireguard import wgmsg

from nsprov.errors import InputError, KernelError
from nsprov.kernel import wgkeys, wireguard
from nsprov.kernel.lab import Lab
from nsprov.kernel.wireguard import Peer, Settings
from nsprov.kinds.wireguard import NAME, Wireguard
from nsprov.plan.change import CREATE, UPDATE, Change
from nsprov.resolve.ways import Known, Ways
from nsprov.resolve.wireguard import devices, makes_key, port
from nsprov.survey import Survey

keys = st.binary(min_size=32, max_size=32)
v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).map(lambda found: socket.inet_ntop(socket.AF_INET6, found.packed))
ports = st.integers(1, 65535)
endpoints = st.builds("{}:{}".format, v4, ports) | st.builds("[{}]:{}".format, v6, ports) | st.just("")
allowed = st.lists(st.builds("{}/32".format, v4) | st.builds("{}/128".format, v6), max_size=4, unique=True)
peers = st.builds(Peer, keys.map(wireguard.text_key), endpoints, allowed.map(tuple), st.integers(0, 65535), st.just(0))


# RFC 7748, sections 5.2 and 6.1.
VECTORS = [
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    ),
    (
        "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    ),
]


@pytest.mark.parametrize(("scalar", "point", "product"), VECTORS)
def test_x25519(scalar, point, product):
    """The examples of the RFC come out."""
    assert product == wgkeys.x25519(bytes.fromhex(scalar), bytes.fromhex(point)).hex()


def test_a_public_key():
    """It is the one of the RFC, and a private key has the form that the kernel gives it."""
    assert wgkeys.public_key(bytes.fromhex(VECTORS[1][0])).hex() == VECTORS[2][1]
    assert wgkeys.clamped(b"\xff" * 32).hex() == "f8" + "ff" * 30 + "7f"


def decoded(body):
    """Read what we would send with pyroute2's codec."""
    message = wgmsg(struct.pack("=IHHIIBBH", 20 + len(body), 0, 0, 0, 0, 1, 1, 0) + body)
    message.decode()
    return message


@given(st.lists(peers, max_size=3, unique_by=lambda peer: peer.public_key), keys, ports)
def test_what_we_write_others_read(found, private, number):
    """A device's key and port, and every peer with its addresses, are what pyroute2 reads."""
    (body,) = wireguard.write_device("wg-t", Settings(private, number, tuple(found), alone=True))
    message = decoded(body)
    rows = message.get_attr("WGDEVICE_A_PEERS") or []

    assert message.get_attr("WGDEVICE_A_IFNAME") == "wg-t"
    assert message.get_attr("WGDEVICE_A_LISTEN_PORT") == number
    assert message.get_attr("WGDEVICE_A_FLAGS") == 1
    assert [row.get_attr("WGPEER_A_PUBLIC_KEY").decode() for row in rows] == [peer.public_key for peer in found]
    assert [row.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") for row in rows] == [peer.keepalive for peer in found]


@given(st.lists(peers, max_size=4, unique_by=lambda peer: peer.public_key), ports)
def test_what_the_kernel_says_is_read(found, number):
    """Peers come back as they were set, also when their addresses go on in a second message."""
    first, second = (tuple(peer._replace(allowed=peer.allowed[part]) for peer in found) for part in (slice(1), slice(1, None)))
    bodies = [body for half in (first, second) for body in wireguard.write_device("wg-t", Settings(port=number, peers=half))]
    device = wireguard.read_device(bodies)

    assert tuple(found) == device.peers
    assert device.port == number


def test_many_peers():
    """They go in several messages, of which none is larger than an attribute can be, and only the first empties the device."""
    many = tuple(
        Peer(
            wireguard.text_key(number.to_bytes(32, "big")),
            f"10.0.{number >> 8}.{number & 255}:51820",
            (f"fd00::{number:x}/128",),
        )
        for number in range(1, 1001)
    )
    bodies = list(wireguard.write_device("wg-t", Settings(bytes(32), 51820, many, alone=True)))
    flags = [decoded(body).get_attr("WGDEVICE_A_FLAGS") for body in bodies]

    assert len(bodies) == 8
    assert max(map(len, bodies)) < 1 << 15
    assert flags == [1, *[None] * 7]
    assert many == wireguard.read_device(bodies).peers


def test_keys_are_not_shown():
    """No private key is in what a traceback or a log would print."""
    for shown in (repr(Settings(b"secretsecret")), repr(wireguard.Device(b"secretsecret", "public"))):
        assert "secret" not in shown


@pytest.fixture
def lab(tmp_path):
    """Give a lab whose directory is elsewhere."""
    found = Lab("demo")
    found.root = str(tmp_path)
    return found


def test_a_key_that_is_only_planned(lab):
    """It is the same as long as one asks, and nothing is written until it is stored; then the next run has it, too."""
    held = wgkeys.Keys(lab)
    public = held.public()
    assert public == held.public()
    assert os.listdir(lab.root) == []
    assert wgkeys.Keys(lab).private(public) is None
    held.store(public)

    assert wgkeys.Keys(lab).public() == public
    assert wgkeys.Keys(lab).private(public) == held.private(public)
    assert os.stat(f"{lab.root}/{wgkeys.FILE}").st_mode & 0o777 == 0o600


def test_a_key_that_goes_can_come_back(lab):
    """What is forgotten is gone from the disk, and a run that goes back still has it."""
    held = wgkeys.Keys(lab)
    public = held.public()
    held.store(public)
    again = wgkeys.Keys(lab)
    again.forget()
    assert os.listdir(lab.root) == []
    again.store(public)

    assert wgkeys.Keys(lab).public() == public


@pytest.mark.parametrize("text", ["", "no base64!", "c2hvcnQ="])
def test_a_damaged_key(lab, text):
    """It is not used, and not shown."""
    path = f"{lab.root}/{wgkeys.FILE}"
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump({"private": text or None}, file)
    with pytest.raises(KernelError) as caught:
        wgkeys.Keys(lab).public()

    assert caught.value.diagnostics[0].hint.startswith("remove the file")
    assert not text or text not in str(caught.value.diagnostics)


HOSTS = {"h1": "192.0.2.1", "h2": "192.0.2.2", "h3": "2001:db8::3"}


def ways(unknown=()):
    """Give the ways between hosts that have said their keys."""
    surveys = {
        host: Survey(host, frozenset(), (), {}, {}, frozenset(), "" if host in unknown else f"key-of-{host}", 1, 1)
        for host in HOSTS
    }
    return Ways("demo", Known(surveys, HOSTS))


def found_devices(pairs, unknown=()):
    """Give each host's device and address."""
    rows = list(devices("demo", pairs, ways(unknown)))
    return (
        {host: resource for host, resource in rows if resource.kind == NAME},
        {host: resource for host, resource in rows if resource.kind != NAME},
    )


def test_each_host_has_one_device():
    """Its peers are the hosts that it has encrypted links with, and no others, each with the address that is behind it."""
    made, addresses = found_devices({("h1", "h2"): 1440, ("h1", "h3"): 1408})
    inside = {host: address.address.partition("/")[0] for host, address in addresses.items()}

    assert {host: device.mtu for host, device in made.items()} == {"h1": 1440, "h2": 1440, "h3": 1408}
    assert made["h1"].peers == (
        ("key-of-h2", f"192.0.2.2:{port('demo')}", f"{inside['h2']}/128", 0),
        ("key-of-h3", f"[2001:db8::3]:{port('demo')}", f"{inside['h3']}/128", 0),
    )
    assert [peer[0] for peer in made["h2"].peers] == ["key-of-h1"]
    assert {device.network for device in made.values()} == {ways().network()}
    assert {address.dev for address in addresses.values()} == {device.name for device in made.values()} == {"wg-demo"}


def test_a_host_that_does_not_tell_its_key():
    """It is named, for nobody could reach it."""
    with pytest.raises(InputError) as caught:
        found_devices({("h1", "h2"): 1440}, unknown={"h2"})

    assert [told.where for told in caught.value.diagnostics] == ["h2"]


def test_names_and_ports_of_labs():
    """They follow from the lab's name; long names fit, and differ."""
    labs = ["demo", "a" * 32, "a" * 31 + "b"]
    names = [next(devices(lab, {("h1", "h2"): 1440}, ways()))[1].name for lab in labs]

    assert all(len(name) <= 15 for name in names)
    assert all(one != other for one, other in combinations(names, 2))
    assert len({port(lab) for lab in labs}) == 3
    assert all(51820 <= port(lab) < 52820 for lab in labs)


def test_plans_that_make_keys():
    """A device that is new or gets another key does; one that gets another peer does not."""
    one = Wireguard("wg-t", 51820, 1420, "a-key", "fd00::/64")
    other, more = Wireguard("wg-t", 51820, 1420, "b-key", "fd00::/64"), Wireguard("wg-t", 51820, 1380, "a-key", "fd00::/64")

    assert makes_key(Change(one.ref(), None, one, CREATE))
    assert makes_key(Change(one.ref(), one, other, UPDATE))
    assert not makes_key(Change(one.ref(), one, more, UPDATE))
