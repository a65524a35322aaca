"""What a topology means once it is loaded: expansion, merging, links, routes, files."""

import pytest

from nsprov.errors import InputError
from nsprov.topology import Dns, Endpoint, File, Neighbour, Route, Rule, load

BR = "bridges:\n  br0: {address: 10.0.0.1/24}\n"


@pytest.fixture
def lab(tmp_path):
    """Give a function that loads a topology from text."""

    def make(text, /, **variables):
        path = tmp_path / "lab.yml"
        path.write_text(text, encoding="utf-8")
        return load(str(path), variables)

    return make


@pytest.fixture
def node(lab):
    """Give a function that loads one node `a` on a bridge, with more lines in it."""

    def make(rest, address="10.0.0.2/24"):
        head = f'{BR}nodes:\n  a:\n    interfaces:\n      eth0: {{bridge: br0, addresses: ["{address}", "fd00::2/64"]}}\n'
        return lab(head + "".join(f"    {line}\n" for line in rest.splitlines())).nodes["a"]

    return make


def test_name_and_prefix_come_from_the_file_name(lab):
    """A lab without a name has the file's, and its prefix follows."""
    found = lab("nodes: {}\n")

    assert (found.name, found.prefix) == ("lab", "lab-")


def test_a_node_has_defaults(node):
    """A node that says nothing more is on this host, with its own name and three namespaces."""
    found = node("")

    assert ("localhost", "a", {"net", "mnt", "uts"}) == (found.host, found.hostname, found.namespaces)
    assert found.interfaces["eth0"].addresses == ("10.0.0.2/24", "fd00::2/64")
    assert found.interfaces["eth0"].nodad


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("h[1:3]", ["h1", "h2", "h3"]),
        ("h[08:10]", ["h08", "h09", "h10"]),
        ("h[1:6:2]-x", ["h1-x", "h3-x", "h5-x"]),
        ("h[1:{{ n }}]", ["h1", "h2"]),
    ],
)
def test_ranges(lab, key, expected):
    """A range makes a node per number, zeros and step kept, and its bounds may be variables."""
    assert expected == list(lab(f'vars: {{n: 2}}\nnodes:\n  "{key}": {{}}\n').nodes)


def test_index_and_name(lab):
    """Each node of a range has its own index, a number, and its name, in values and in keys."""
    text = (
        'nodes:\n  "h[01:02]":\n    hosts: {"x{{ index }}": "10.0.0.{{ index + 8 }}"}\n    hostname: "{{ name }}-{{ index }}"\n'
    )
    nodes = lab(text).nodes

    assert nodes["h01"].hosts == {"x1": "10.0.0.9"}
    assert nodes["h02"].hostname == "h02-2"


def test_variables_given_outside_win(lab):
    """A variable given on the command line wins, is read as YAML, and reaches those that follow from it."""
    text = 'vars: {n: 1, m: "{{ n * 2 }}"}\nbridges:\n  br0: {mtu: "{{ 1000 + m }}"}\n'

    assert lab(text).bridges["br0"].mtu == 1002
    assert lab(text, n="3").bridges["br0"].mtu == 1006


def test_merging(lab):
    """A node's own value wins over its groups, a later group over an earlier one, and both over the defaults."""
    text = """
defaults: {node: {sysctls: {net.a: 1, net.b: 1, net.c: 1, net.d: 1}, dns: {nameservers: [1.1.1.1, 2.2.2.2]}}}
groups: {g: {sysctls: {net.b: 2, net.c: 2, net.d: 2}}, h: {sysctls: {net.c: 3, net.d: 3}}}
nodes: {a: {group: [g, h], sysctls: {net.d: 4}, dns: {nameservers: [9.9.9.9]}}}
"""
    found = lab(text).nodes["a"]

    assert found.sysctls == {"net.a": "1", "net.b": "2", "net.c": "3", "net.d": "4"}
    assert Dns(nameservers=("9.9.9.9",)) == found.dns


def test_a_nodes_address_replaces_the_groups_addresses(lab):
    """`address` and `addresses` say the same thing: one laid over the other takes its place."""
    text = (
        BR
        + """
groups: {g: {interfaces: {eth0: {bridge: br0, addresses: [10.0.0.2/24, 10.0.0.3/24]}}}}
nodes: {a: {group: g, interfaces: {eth0: {address: 10.0.0.9/24}}}}
"""
    )

    assert lab(text).nodes["a"].interfaces["eth0"].addresses == ("10.0.0.9/24",)


def test_interface_defaults_lie_under_the_links_mtu(lab):
    """An interface's own MTU wins over its link's, and that over the defaults."""
    text = """
defaults: {interface: {mtu: 1400, nodad: false}}
nodes: {a: {interfaces: {eth0: {mtu: 2000}}}, b: , c: }
links:
  - {endpoints: [a:eth0, b:eth0], mtu: 9000}
  - [b:eth1, c:eth0]
"""
    nodes = lab(text).nodes

    assert nodes["a"].interfaces["eth0"].mtu == 2000
    assert nodes["b"].interfaces["eth0"].mtu == 9000
    assert nodes["c"].interfaces["eth0"].mtu == 1400
    assert not nodes["c"].interfaces["eth0"].nodad


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{to: default, via: 10.0.0.1}", Route(to="0.0.0.0/0", via="10.0.0.1", dev="eth0")),
        ('{to: default, via: "fd00:0::1"}', Route(to="::/0", via="fd00::1", dev="eth0")),
        ("{to: default6, dev: eth0}", Route(to="::/0", dev="eth0")),
        ("{to: default, dev: eth0}", Route(to="0.0.0.0/0", dev="eth0")),
        ("{to: 10.9.9.9, via: 10.0.0.1, metric: 5, table: 0x10}",
         Route(to="10.9.9.9/32", via="10.0.0.1", dev="eth0", metric=5, table=16)),
        ("{to: 10.9.0.0/16, via: 172.16.0.1, dev: eth0}", Route(to="10.9.0.0/16", via="172.16.0.1", dev="eth0")),
        ("{to: 10.0.0.0/8, blackhole: true}", Route(to="10.0.0.0/8", type="blackhole")),
        ("{to: 10.0.0.0/8, type: prohibit}", Route(to="10.0.0.0/8", type="prohibit")),
        ("{to: default, nexthops: [{via: 10.0.0.1, weight: 2}, {dev: eth0}]}",
         Route(to="0.0.0.0/0", nexthops=(("10.0.0.1", "eth0", 2), (None, "eth0", 1)))),
        ("{to: 10.9.0.0/16, dev: eth0, src: 10.0.0.2}", Route(to="10.9.0.0/16", dev="eth0", src="10.0.0.2")),
        ('{to: "fd01::/64", via: "fe80::1", dev: eth0}', Route(to="fd01::/64", via="fe80::1", dev="eth0")),
    ],
)  # fmt: skip
def test_routes(node, line, expected):
    """A route is canonical, and its device is that of the subnet its gateway is in."""
    assert (expected,) == node(f"routes: [{line}]").routes


def test_rules_and_neighbours(node):
    """Rules and neighbours are canonical; a rule's family follows from its addresses."""
    found = node(
        'rules: [{priority: 9, from: "fd00::/64", table: 7}, {priority: 10, iif: eth0, fwmark: 0x2}]\n'
        "neighbours: [{dev: eth0, address: 10.0.0.9, lladdr: 02-00-00-00-00-0A}]"
    )

    assert Rule(priority=9, from_="fd00::/64", table=7, family=6) == found.rules[0]
    assert Rule(priority=10, iif="eth0", fwmark=2) == found.rules[1]
    assert (Neighbour(dev="eth0", address="10.0.0.9", lladdr="02:00:00:00:00:0a"),) == found.neighbours


def test_files(lab, tmp_path):
    """A file's content is given, rendered from a template with the node's variables, or copied."""
    (tmp_path / "a.j2").write_text("{{ name }} in {{ lab }} at {{ node.interfaces.lo.addresses[0] }}\n")
    (tmp_path / "a.txt").write_text("{{ as it is }}\n")
    text = """
nodes:
  a:
    interfaces: {lo: {address: 10.1.1.1}}
    files:
      /etc/a: {content: "one\\n"}
      /etc/b: {template: a.j2, mode: "0600"}
      /etc/c: {source: a.txt}
"""
    expected = {
        "/etc/a": File(content="one\n"),
        "/etc/b": File(content="a in lab at 10.1.1.1/32\n", mode=0o600),
        "/etc/c": File(content="{{ as it is }}\n"),
    }

    assert expected == lab(text).nodes["a"].files


def test_a_bridge_is_where_its_nodes_are(lab):
    """A bridge without a host of its own is on that of the nodes on it."""
    found = lab("bridges: {br0: , br1: }\nnodes: {a: {host: lab1, interfaces: {eth0: {bridge: br0}}}}\n")

    assert [bridge.host for bridge in found.bridges.values()] == ["lab1", "localhost"]


def test_yaml_1_2_scalars(lab):
    """MACs, `no` and `on` are strings, and 0123 is a decimal number."""
    text = 'bridges:\n  br0: {mac: 02:00:00:00:00:10, mtu: 01500}\nnodes: {"no": , on: {hostname: off}}\n'
    found = lab(text)

    assert (found.bridges["br0"].mac, found.bridges["br0"].mtu) == ("02:00:00:00:00:10", 1500)
    assert [node.hostname for node in found.nodes.values()] == ["no", "off"]


def test_anchors(lab):
    """An anchor's value can be used again."""
    found = lab("nodes:\n  a: &same {sysctls: {net.a: 1}}\n  b: *same\n")

    assert found.nodes["b"].sysctls == {"net.a": "1"}


def test_a_missing_file_and_a_folder(tmp_path):
    """What cannot be read is said so, with a way out."""
    for path, expected in ((tmp_path / "x.yml", "the file does not exist"), (tmp_path, "the file is a directory")):
        with pytest.raises(InputError) as caught:
            load(str(path))

        assert expected == caught.value.diagnostics[0].summary
        assert caught.value.diagnostics[0].hint


def test_endpoints():
    """An endpoint is written as in the file."""
    assert str(Endpoint(node="r1", interface="eth0")) == "r1:eth0"
