"""A topology over an inventory: what patterns stand for, where nodes come to live, and what is said when they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsprov.errors import InputError, NothingMatched
from nsprov.inventory import load_inventory
from nsprov.survey import Survey
from nsprov.topology import load
from nsprov.wanted import layout

INVENTORY = """\
racks:
  hosts:
    lab[1:4]: {}
  vars: {ansible_user: root}
fast:
  hosts:
    lab[3:4]: {}
"""


@pytest.fixture(name="over")
def _over(tmp_path):
    """Give a function that lays a topology over four hosts, or over those of another inventory."""

    def make(text, hosts=INVENTORY, **options):
        (tmp_path / "lab.yml").write_text(text, encoding="utf-8")
        (tmp_path / "hosts.yml").write_text(hosts, encoding="utf-8")
        found = load(str(tmp_path / "lab.yml"))
        return layout(found, load_inventory([str(tmp_path / "hosts.yml")] if hosts else []), **options)

    return make


def survey(host, *nodes):
    """Give what a host would say that has these nodes."""
    return Survey(
        host=host,
        nodes=frozenset(nodes),
        members=(host,),
        paths={},
        vnis={},
        taken=frozenset(),
        public_key="",
        cpus=1,
        memory=1,
        holds=True,
    )


def homes(found, *surveys):
    """Give where nodes live."""
    placed = found.placed({one.host: one for one in surveys})
    return {node.name: node.host for node in placed.nodes.values()}


def told(caught, *lines):
    """Compare where and what diagnostics say, without the folder."""
    found = [f"{one.where.rpartition('/')[2]}: {one.summary}" for one in caught.value.diagnostics]

    assert list(lines) == found
    assert all(one.hint for one in caught.value.diagnostics)


def test_a_lab_of_this_host_needs_no_inventory(over):
    """It is where it was written to be, and nobody is asked."""
    found = over("nodes: {a: {}, b: {host: localhost}}\n", "")

    assert found.topology is found.placed({})
    assert (list(found.hosts), found.surveys) == (["localhost"], False)


def test_patterns(over):
    """Names, groups, wildcards and intersections; the hosts that any of them means are asked first."""
    found = over('nodes:\n  a: {host: lab2}\n  b: {host: "racks:&fast"}\n  "c[1:3]": {host: "lab1:lab2"}\n')
    where = homes(found)

    assert (list(found.hosts), found.surveys) == (["lab1", "lab2", "lab3", "lab4"], True)
    assert where["a"] == "lab2"
    assert where["b"] in {"lab3", "lab4"}
    assert {"lab1", "lab2"} == {where["c1"], where["c2"], where["c3"]}
    assert found.candidates(["a", "b"]) == ["lab2", "lab3", "lab4"]


def test_nodes_that_name_no_host_live_on_those_of_the_placement(over):
    """Groups and defaults may name one too; a node's own wins."""
    text = (
        "placement: {hosts: racks}\ndefaults: {node: {weight: 2}}\ngroups: {far: {host: lab4}}\n"
        'nodes:\n  "a[1:4]": {weight: 1}\n  b: {group: far}\n  c: {group: far, host: localhost}\n'
    )
    found = over(text)
    where = homes(found)

    assert (where["b"], where["c"]) == ("lab4", "localhost")
    assert {"lab1", "lab2", "lab3"} <= {where[f"a{number}"] for number in range(1, 5)}
    assert [found.topology.nodes[name].weight for name in ("a1", "b")] == [1, 2]


def test_hosts_have_weights(over):
    """One with three times the weight gets three times the nodes, and packing goes by it in the inventory's order."""
    heavy = INVENTORY.replace("lab[3:4]: {}", "lab3: {nsprov_weight: 3}\n    lab4: {}")
    spread = homes(over('placement: {hosts: all}\nnodes: {"a[1:12]": {}}\n', heavy))
    packed = homes(over('placement: {hosts: fast, policy: pack}\nnodes: {"a[1:4]": {}}\n', heavy))

    assert [list(spread.values()).count(f"lab{number}") for number in range(1, 5)] == [2, 2, 6, 2]
    assert list(packed.values()) == ["lab3"] * 3 + ["lab4"]


def test_what_is_up_stays(over):
    """A node stays where a host says it is, unless it may not be there any more, or everything is to be placed anew."""
    text = 'nodes: {"a[1:4]": {host: "lab1:lab2"}}\n'
    said = survey("lab1", "a1", "a2", "a3"), survey("lab4", "a4")
    before = {"a1": "lab1", "a2": "lab1", "a3": "lab1", "a4": "lab2"}

    assert before == homes(over(text), *said)
    assert homes(over(text, rebalance=True), *said) == homes(over(text))
    assert sorted(homes(over(text)).values()) == ["lab1", "lab1", "lab2", "lab2"]


def test_bridges_have_a_home(over):
    """One that names no host is at home with the first node on it; one that nobody is on where nodes are that name no host."""
    text = (
        "placement: {hosts: fast}\nbridges: {br0: {host: lab2}, br1: {}, br2: {}}\n"
        "nodes:\n  a: {host: lab1, interfaces: {eth0: {bridge: br0}, eth1: {bridge: br1}}}\n"
        "  b: {host: lab2, interfaces: {eth0: {bridge: br1}}}\n"
    )
    found = over(text)

    assert {it.name: it.host for it in found.placed({}).bridges.values()} == {"br0": "lab2", "br1": "lab1", "br2": "lab3"}
    assert list(found.hosts) == ["lab1", "lab2", "lab3", "lab4"]


def test_bridges_inside_nodes_go_with_them(over):
    """They are where their node is."""
    found = over("nodes: {a: {host: lab3, bridges: {br0: {address: 10.0.0.1/24}}}}\n").placed({})

    assert found.nodes["a"].bridges["br0"].host == "lab3"


def test_near(over):
    """The ends of links, and what is on one bridge, are on one host where they can be."""
    lans = "".join(f'  "{lan}[1:4]": {{interfaces: {{eth0: {{bridge: {lan}}}}}}}\n' for lan in "xyz")
    where = homes(over("placement: {policy: near, hosts: 'racks:!lab3'}\nbridges: {x: , y: , z: }\nnodes:\n" + lans))

    assert len(set(where.values())) == 3
    assert all(len({where[f"{lan}{number}"] for number in range(1, 5)}) == 1 for lan in "xyz")


def test_what_waits_is_where_it_waits_for(over):
    """A workload waits for one of its own host, so their nodes are placed together."""
    text = (
        "placement: {hosts: racks}\nnodes:\n"
        '  "web[1:3]": {workloads: {w: {command: sleep 1d, depends_on: ["db{{ index }}/d"]}}}\n'
        '  "db[1:3]": {workloads: {d: {command: sleep 1d}}}\n'
    )
    where = homes(over(text))

    assert all(where[f"web{number}"] == where[f"db{number}"] for number in range(1, 4))
    assert len(set(where.values())) == 3


def test_templates_see_where_a_node_lives(over, tmp_path):
    """They are rendered with the host's name, not with the pattern that was written."""
    (tmp_path / "motd.j2").write_text("{{ name }} on {{ node.host }}\n", encoding="utf-8")
    found = over('nodes: {"a[1:2]": {host: "lab1:lab2", files: {/etc/motd: {template: motd.j2}}}}\n').placed({})

    assert {f"{it.name} on {it.host}\n" for it in found.nodes.values()} == {
        it.files["/etc/motd"].content for it in found.nodes.values()
    }
    assert {"lab1", "lab2"} == {it.host for it in found.nodes.values()}


# -- what cannot be ---------------------------------------------------------------------------------------------------


def test_patterns_that_stand_for_nothing(over):
    """All of them are told of, each where it stands, also when it comes from the placement, a group or a range."""
    text = (
        "placement: {hosts: rocks}\ngroups: {far: {host: lab9}}\nbridges: {br0: {host: lab7}}\n"
        'nodes:\n  a: {}\n  b: {group: far}\n  "c[1:2]": {host: "la?"}\n'
    )
    with pytest.raises(NothingMatched) as caught:
        over(text)

    told(
        caught,
        'lab.yml:1:20: no host is meant by "rocks"',
        'lab.yml:2:22: no host is meant by "lab9"',
        'lab.yml:7:20: no host is meant by "la?"',
        'lab.yml:3:23: no host is meant by "lab7"',
    )


def test_waiting_for_what_is_elsewhere(over):
    """A workload cannot wait for one of a node that has no host in common with its own."""
    text = (
        "nodes:\n  a: {host: lab1, workloads: {w: {command: sleep 1d, depends_on: [b/d]}}}\n"
        "  b: {host: fast, workloads: {d: {command: sleep 1d}}}\n"
    )
    with pytest.raises(InputError) as caught:
        over(text).placed({})

    told(caught, 'lab.yml:2:67: "b/d" is on another host')
    assert (
        caught.value.diagnostics[0].detail
        == '"a" can be on lab1, and "b" can be on lab3, lab4: nothing waits for another host.'
    )


def test_what_must_be_certain(over):
    """A bridge has one home, and only one host has the process that a node is attached to."""
    with pytest.raises(InputError) as caught:
        over(
            "bridges: {br0: {host: racks}}\nnodes:\n  a: {host: fast, attach: {pid: 7}}\n  b: {host: lab1, attach: {pid: 7}}\n"
        )

    told(
        caught,
        "lab.yml:1:23: it is open where the bridge would be",
        "lab.yml:3:27: it is open where the attached node would be",
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            'a: {host: lab1, user: "0:100000:10"}\n  b: {host: "lab1*", user: "0:100005:10"}',
            "4:28: two nodes map id 100005 of the host",
        ),
        ("a: {host: lab1, attach: {pid: 7}}\n  b: {host: 'lab1*', attach: {pid: 7}}", '4:30: "pid:7" is attached to twice'),
    ],
    ids=["ids", "attached"],
)
def test_what_cannot_be_on_one_host(over, text, line):
    """What two nodes of a host cannot both have is found when it is known that they are on one."""
    with pytest.raises(InputError) as caught:
        over(f"prefix: ''\nnodes:\n  {text}\n").placed({})

    told(caught, f"lab.yml:{line}")


def test_names_on_one_host(over):
    """Ports that would have one name are found where their nodes meet, and not where they do not."""
    text = (
        "prefix: ''\nbridges: {br0: {host: lab1}, br1: {host: lab2}, a-eth0: {host: lab2}}\n"
        "nodes:\n  a: {host: HOST, interfaces: {eth0: {bridge: br1}}}\n  b: {host: lab1, interfaces: {eth0: {bridge: br0}}}\n"
    )
    with pytest.raises(InputError) as caught:
        over(text.replace("HOST", "lab2")).placed({})

    told(caught, 'lab.yml:4:32: two devices of a host would be "a-eth0"')
    assert over(text.replace("HOST", "lab3")).placed({}).nodes["a"].host == "lab3"


def test_the_shipped_example():
    """Each office is on one host with its router, and all hosts have something to do."""
    folder = Path(__file__).parents[2] / "topologies/fleet"
    found = layout(load(str(folder / "offices.yml")), load_inventory([str(folder / "inventory.yml")]))
    where = homes(found)
    offices = [
        {where[name] for name in (f"r{place}", *(f"{letter}{n}" for n in (1, 2, 3)))} for place, letter in enumerate("abc", 1)
    ]

    assert [len(hosts) for hosts in offices] == [1, 1, 1]
    assert {"lab1", "lab2", "lab3"} == set.union(*offices)
    assert where["core"] in {"lab1", "lab2", "lab3"}
