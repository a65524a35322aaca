"""Changes, plans and states as values: their inverse, their JSON form, and what is refused when read back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsprov.errors import InputError
from nsprov.kinds import ORDER, SCHEMAS
from nsprov.kinds.address import Address
from nsprov.kinds.attachment import Attachment
from nsprov.kinds.bridge import Bridge
from nsprov.kinds.cgroup import Cgroup
from nsprov.kinds.cgroupns import Cgroupns
from nsprov.kinds.file import File
from nsprov.kinds.gretap import Gretap
from nsprov.kinds.init import Init
from nsprov.kinds.ipcns import Ipcns
from nsprov.kinds.mntns import Mntns
from nsprov.kinds.neighbour import Neighbour
from nsprov.kinds.netns import Netns
from nsprov.kinds.route import Route
from nsprov.kinds.rule import Rule
from nsprov.kinds.sysctl import Sysctl
from nsprov.kinds.timens import Timens
from nsprov.kinds.userns import Userns
from nsprov.kinds.utsns import Utsns
from nsprov.kinds.veth import Veth
from nsprov.kinds.vxlan import Vxlan
from nsprov.kinds.wireguard import Wireguard
from nsprov.kinds.workload import Workload
from nsprov.plan.change import (
    CREATE,
    DELETE,
    REPLACE,
    UPDATE,
    Change,
    Plan,
    dump_plan,
    dump_state,
    fingerprint,
    load_plan,
    load_state,
)
from nsprov.plan.diff import diff
from nsprov.plan.order import levels, order
from nsprov.plan.resource import IDENTITY, Ref, Resource, decode, encode

EXAMPLES = (
    Netns(node="a", name="t-a", etc=(("hosts", "a/etc/hosts"), ("motd", "a/etc/motd"))),
    Utsns(node="a", hostname="alpha"),
    Sysctl(node="a", key="net.ipv4.ip_forward", value="1"),
    File(owner="a", path="/etc/motd", content="héllo\n", mode=0o600),
    Bridge(node="", name="br0", mac=None, mtu=1500, stp=False),
    Veth(node="a", ifname="eth0", peer_node="", peer_ifname="a-eth0", peer_master="br0", state="up"),
    Mntns(node="a", binds=(("/etc/hosts", "a/etc/hosts"),)),
    Address(node="a", dev="eth0", address="2001:db8::1/64", nodad=True),
    Neighbour(node="a", dev="eth0", address="10.0.0.2", lladdr="02:00:00:00:00:02"),
    Route(node="a", to="10.1.0.0/16", metric=5, nexthops=(("10.0.0.2", "eth0", 1), ("10.0.1.2", "eth1", 2))),
    Rule(node="a", family=4, priority=100, table=100, source="10.0.0.0/8"),
    Userns(node="a", uids=((0, 1900000000, 65536),), gids=((0, 1900000000, 65536),)),
    Ipcns(node="a", user=True),
    Timens(node="a", boottime=86400, monotonic=-1),
    Cgroup(node="a", cpu=500, io=(("/dev/vda", "rbps", 1 << 20),)),
    Cgroupns(node="a"),
    Init(node="a", spaces=("net", "uts"), pid=True),
    Workload(node="a", name="w", command=("sleep", "1"), secrets=(("P", "s"),), after=(("b/x", "ready"),)),
    Attachment(node="a", name="t-a", source="pid:1"),
    Vxlan(node="a", ifname="eth2", vni=7, port=4789, local="192.0.2.1", remotes=("192.0.2.2",), learning=False, state="up"),
    Gretap(node="a", ifname="eth3", key=7, local="192.0.2.1", remote="192.0.2.2", mtu=1458),
    Wireguard(name="wg-t", port=51820, mtu=1440, public_key="k", network="fd00::/64", peers=(("l", "", "fd00::2/128", 0),)),
)
one = pytest.mark.parametrize("resource", EXAMPLES, ids=lambda resource: resource.kind)


def over_the_wire(value):
    return json.loads(json.dumps(value))


def test_examples_are_of_all_kinds():
    """No kind is forgotten below."""
    assert set(SCHEMAS) == {resource.kind for resource in EXAMPLES}


@one
def test_a_state_survives_the_wire(resource):
    """What was dumped is loaded as the same value, tuples and `None` included."""
    assert {resource.ref(): resource} == load_state(over_the_wire(dump_state([resource])), SCHEMAS)


@one
def test_what_is_not_managed_is_not_sent(resource):
    """`None` is not in the JSON form."""
    assert None not in encode(resource).values()


@one
def test_refs_read_back(resource):
    """A ref's text is read back as the same ref, colons and blanks in the name included."""
    assert resource.ref() == Ref.parse(str(resource.ref()))


def test_a_plan_survives_the_wire():
    """Every action, reason and implied deletion is loaded as it was dumped."""
    first, second = EXAMPLES[0], EXAMPLES[4]
    changes = (
        Change(first.ref(), None, first, CREATE, "new"),
        Change(second.ref(), second, Bridge(node="", name="br0", mtu=9000), UPDATE, "edited"),
        Change(EXAMPLES[5].ref(), EXAMPLES[5], None, DELETE, "", implied=first.ref()),
        Change(EXAMPLES[7].ref(), EXAMPLES[7], EXAMPLES[7], REPLACE, "stands on it"),
    )
    plan = Plan(changes, "abc")

    assert plan == load_plan(over_the_wire(dump_plan(plan)), SCHEMAS)


def test_counts():
    """Every action is counted, also those that do not occur."""
    first = EXAMPLES[0]

    assert Plan((Change(first.ref(), None, first, CREATE),)).counts() == {CREATE: 1, UPDATE: 0, REPLACE: 0, DELETE: 0}
    assert not Plan(())


@pytest.mark.parametrize(("action", "back"), [(CREATE, DELETE), (DELETE, CREATE), (UPDATE, UPDATE), (REPLACE, REPLACE)])
def test_inverse(action, back):
    """The inverse swaps the sides and the action, and its own inverse is where we began."""
    first, second = EXAMPLES[0], EXAMPLES[1]
    change = Change(first.ref(), first, second, action)
    inverse = change.inverse()

    assert (second, first, back) == (inverse.before, inverse.after, inverse.action)
    assert (first, second, action) == (inverse.inverse().before, inverse.inverse().after, inverse.inverse().action)


def test_fields_of_an_update():
    """The fields that differ are given with both values; what is not managed is left out."""
    before = Bridge(node="", name="br0", mac="02:00:00:00:00:01", mtu=1500, stp=True)
    after = Bridge(node="", name="br0", mtu=9000, stp=True)

    assert Change(before.ref(), before, after, UPDATE).fields() == (("mtu", 1500, 9000),)
    assert Change(before.ref(), None, after, CREATE).fields() == ()


def test_fingerprints_do_not_depend_on_the_order():
    """The same resources have the same fingerprint, others have another."""
    assert fingerprint(EXAMPLES) == fingerprint(reversed(EXAMPLES))
    assert fingerprint(EXAMPLES) != fingerprint(EXAMPLES[1:])


@pytest.mark.parametrize(
    ("kind", "given_fields", "said"),
    [
        ("netns", {"node": "a", "name": "t-a", "colour": "red"}, "colour"),
        ("netns", {"node": "a"}, "name"),
        ("netns", {"node": 1, "name": "t-a"}, "node"),
        ("netns", {"node": "a", "name": None}, "name"),
        ("netns", {"node": "a", "name": "t-a", "etc": "hosts"}, "etc"),
        ("netns", {"node": "a", "name": "t-a", "etc": ["hosts"]}, "etc"),
        ("netns", {"node": "a", "name": "t-a", "etc": [["hosts"]]}, "etc"),
        ("netns", {"node": "a", "name": "t-a", "etc": [["hosts", 5]]}, "etc"),
        ("netns", {"node": "a", "name": "t-a", "etc": [["hosts", {}]]}, "etc"),
        ("route", {"node": "a", "to": "10.0.0.0/8", "nexthops": [["10.0.0.1", "eth0", True]]}, "nexthops"),
        ("bridge", {"node": "", "name": "br0", "mtu": True}, "mtu"),
        ("bridge", {"node": "", "name": "br0", "mtu": "1500"}, "mtu"),
        ("bridge", {"node": "", "name": "br0", "stp": 1}, "stp"),
        ("address", {"node": "a", "dev": ["eth0"], "address": "10.0.0.1/24"}, "dev"),
        ("route", {"node": "a", "to": "10.0.0.0/8", "table": 1.5}, "table"),
        ("file", {"owner": "a", "path": "/x", "content": {"a": 1}}, "content"),
    ],
)
def test_decode_refuses(kind, given_fields, said):
    """An unknown field, a missing one, and a value of another type are refused, with the field's name."""
    with pytest.raises(InputError, match=said):
        decode(SCHEMAS[kind], given_fields)


def test_an_unknown_kind_is_refused():
    """Another version's kind is not guessed at."""
    with pytest.raises(InputError, match="teapot"):
        load_state([["teapot", {}]], SCHEMAS)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=1), inner, max_size=1),
    max_leaves=3,
)


@given(st.sampled_from(EXAMPLES), st.data())
def test_decode_takes_the_right_types_or_refuses(resource, data):
    """Whatever stands in a field, the value is built with the types of its schema or refused."""
    fields = {**encode(resource), data.draw(st.sampled_from(sorted(encode(resource)))): data.draw(junk)}
    try:
        decoded = decode(type(resource), fields)
    except InputError:
        return

    assert all(isinstance(value, (str, int, tuple, type(None))) for value in vars(decoded).values())
    assert hash(decoded) is not None


@dataclass(frozen=True)
class Node(Resource):
    """A resource that needs what it is told to."""

    kind: ClassVar[str] = "node"
    name: str = field(metadata=IDENTITY)
    wants: tuple[str, ...] = ()

    def ref(self):
        return Ref("node", self.name)

    def provides(self):
        return (self.name,)

    def needs(self):
        return self.wants


def created(*nodes):
    return diff({}, {node.ref(): node for node in nodes}, {}).values()


@pytest.mark.parametrize("size", [2, 3, 50])
def test_a_circle_is_refused(size):
    """Resources that need each other in a circle are named, not looped over."""
    with pytest.raises(InputError, match="need each other"):
        order(created(*(Node(str(n), (str((n + 1) % size),)) for n in range(size))), ["node"])


def test_who_needs_itself_is_no_circle():
    """A token that a resource gives itself is there."""
    assert [(step.verb, len(step.changes)) for step in order(created(Node("a", ("a",))), ["node"])] == [("create", 1)]


def test_a_long_chain():
    """A chain of needs longer than Python's stack has a level for each."""
    chain = [Node(str(n), (str(n + 1),)) for n in range(5000)]

    assert max(levels({node.ref(): node for node in chain}).values()) == 4999


def test_kinds_of_one_level_go_in_their_order():
    """Within a level the order of KINDS decides, and each kind is one step."""
    desired = {resource.ref(): resource for resource in EXAMPLES}
    steps = order(diff({}, desired, {}).values(), ORDER)
    first = [step.kind for step in steps if step.kind in ("netns", "utsns", "file", "bridge")]

    assert first == ["netns", "utsns", "file", "bridge"]
    assert len(first) == len(set(first))
