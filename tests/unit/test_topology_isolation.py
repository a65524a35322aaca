"""What a node is apart in: namespaces, ids, clocks, its root, mounts and limits; and nodes that are somebody else's."""

import pytest

from nsprov.errors import InputError
from nsprov.topology import Limits, Mount, Rootfs, TimeOffsets, UserMap, load

USUAL = {"net", "mnt", "uts"}
EVERYTHING = {"net", "mnt", "uts", "ipc", "pid", "user", "cgroup", "time"}


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
    """Give a function that loads one node `a` that says what it is given."""

    def make(text):
        return lab("nodes:\n  a:\n" + "".join(f"    {line}\n" for line in text.splitlines())).nodes["a"]

    return make


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", USUAL),
        ("namespaces: [net]", {"net"}),
        ("namespaces: net", {"net"}),
        ("namespaces: all", EVERYTHING),
        ("namespaces: [all]", EVERYTHING),
        ("namespaces: [net, mnt, pid, ipc]", {"net", "mnt", "pid", "ipc"}),
        ("user: auto", USUAL | {"user"}),
        ("time: {boottime: 1d}", USUAL | {"time"}),
        ("time: {}", USUAL | {"time"}),
        ("rootfs: host", USUAL),
        ("mounts: [/a:/b]", USUAL),
        ("user:", USUAL),
        ("limits: {pids: 5}", USUAL),
        ("workloads: {w: {command: 'true'}}", USUAL),
        ("attach: {pid: 1}", {"net"}),
    ],
)
def test_namespaces(node, text, expected):
    """A node names its types, or has the usual ones and those that its keys need."""
    assert expected == node(text).namespaces


def test_nothing_of_it_is_there_by_itself(node):
    """A node that says nothing has nothing of it."""
    found = node("hostname: x")

    assert (found.user, found.time, found.rootfs, found.limits, found.attach) == (None, None, None, None, None)
    assert (found.mounts, found.workloads) == ((), {})


def test_a_namespace_alone_has_its_usual_settings(node):
    """Ids are allocated, and clocks not moved, for a node that has the namespace and says no more."""
    found = node("namespaces: all")

    assert UserMap() == found.user
    assert TimeOffsets() == found.time


@pytest.mark.parametrize(
    ("text", "uids", "gids"),
    [
        ("auto", (), ()),
        ("{map: auto}", (), ()),
        ("{}", (), ()),
        ('"0:100000:65536"', ((0, 100000, 65536),), ((0, 100000, 65536),)),
        ("0:100000:65536", ((0, 100000, 65536),), ((0, 100000, 65536),)),
        ('["1000:200000:1", "0:100000:1000"]', ((0, 100000, 1000), (1000, 200000, 1)), ((0, 100000, 1000), (1000, 200000, 1))),
        ('{map: ["0:100000:1"]}', ((0, 100000, 1),), ((0, 100000, 1),)),
        ('{uids: "0:1000:1", gids: ["0:2000:5", "9:3000:1"]}', ((0, 1000, 1),), ((0, 2000, 5), (9, 3000, 1))),
        ('{map: "0:0:4294967295", allow_host_ids: true}', ((0, 0, 4294967295),), ((0, 0, 4294967295),)),
    ],
)
def test_user_maps(node, text, uids, gids):
    """Ranges come out as numbers, sorted; `auto` comes out empty."""
    assert UserMap(uids=uids, gids=gids) == node(f"user: {text}").user


def test_the_longest_map(node):
    """The kernel takes 340 ranges, if their text fits in a page."""
    rows = [f"{index}:{index + 1000}:1" for index in range(0, 680, 2)]

    assert len(node(f"user: [{', '.join(rows)}]").user.uids) == 340


def test_maps_of_a_range_of_nodes(lab):
    """Each node of a range can have ids of its own, and nodes on different hosts the same."""
    nodes = lab(
        'nodes:\n  "h[1:3]": {user: "0:{{ index * 100000 }}:65536"}\n  far: {host: lab1, user: "0:100000:65536"}\n'
    ).nodes

    assert [node.user.uids[0][1] for node in nodes.values()] == [100000, 200000, 300000, 100000]


@pytest.mark.parametrize(
    ("text", "boottime", "monotonic"),
    [
        ("{boottime: 1d, monotonic: 90s}", 86400, 90),
        ("{boottime: -30s}", -30, 0),
        ("{monotonic: 5}", 0, 5),
        ("{monotonic: -1.0}", 0, -1),
        ("{boottime: '{{ 2 * 3 }}', monotonic: '{{ 2 }}w'}", 6, 1209600),
    ],
)
def test_clocks(node, text, boottime, monotonic):
    """Offsets come out as whole seconds."""
    assert TimeOffsets(boottime=boottime, monotonic=monotonic) == node(f"time: {text}").time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", Rootfs(path="host", writable="overlay")),
        ("{path: host}", Rootfs(path="host", writable="overlay")),
        ("/srv/tree/", Rootfs(path="/srv/tree")),
        ("{path: /srv/tree, writable: no}", Rootfs(path="/srv/tree", writable="no")),
        ('{path: "/srv/{{ name }}", writable: "{{ \'yes\' }}"}', Rootfs(path="/srv/a", writable="yes")),
    ],
)
def test_rootfs(node, text, expected):
    """A root is the host's, or a directory with what is written over it in one of three places."""
    assert expected == node(f"rootfs: {text}").rootfs


def test_paths_beside_the_topology(lab, tmp_path, monkeypatch):
    """A relative path begins where the topology file is, wherever the command is run."""
    monkeypatch.chdir("/")
    text = "nodes: {a: {rootfs: ./tree, mounts: [data:/data, '../x:/x:ro']}}\n"
    found = lab(text).nodes["a"]

    assert str(tmp_path / "tree") == found.rootfs.path
    assert [(str(tmp_path / "data"), False), (str(tmp_path.parent / "x"), True)] == [
        (mount.source, mount.readonly) for mount in found.mounts
    ]


def test_a_relative_name_of_a_topology_file(lab, tmp_path, monkeypatch):
    """A path beside a topology that is named without its directory is absolute too."""
    (tmp_path / "lab.yml").write_text("nodes: {a: {rootfs: host2}}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert str(tmp_path / "host2") == load("lab.yml").nodes["a"].rootfs.path


def test_mounts(node):
    """Mounts come out sorted by target: one below another comes after it."""
    text = """mounts:
  - {source: /srv/b, target: /data/below, readonly: true}
  - /srv/a:/data
  - /srv/c:/etc/app.conf:ro
  - /:/host:rw"""

    assert (
        Mount(source="/srv/a", target="/data"),
        Mount(source="/srv/b", target="/data/below", readonly=True),
        Mount(source="/srv/c", target="/etc/app.conf", readonly=True),
        Mount(source="/", target="/host"),
    ) == node(text).mounts


def test_mounting_over_the_resolver_of_a_node_without_one(node):
    """Only what nsprov writes itself is out of bounds."""
    assert [mount.target for mount in node("mounts: [/srv/r:/etc/resolv.conf]").mounts] == ["/etc/resolv.conf"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{cpu: 0.5, memory: 256M, pids: 200}", Limits(cpu=500, memory=256 << 20, pids=200)),
        ("{cpu: 500m, memory: 1.5Gi}", Limits(cpu=500, memory=3 << 29)),
        ("{cpu: 2, memory: 1048576, cpuset: 1}", Limits(cpu=2000, memory=1 << 20, cpuset="1")),
        ('{cpuset: "3,0-1"}', Limits(cpuset="0-1,3")),
        ("{cpu: '{{ 1 / 4 }}', pids: '{{ 10 * 2 }}'}", Limits(cpu=250, pids=20)),
        (
            "{io: {/dev/vdb: {wiops: 100, rbps: 1M}, /dev/vda: {wbps: 2K}}}",
            Limits(io=(("/dev/vda", "wbps", 2048), ("/dev/vdb", "rbps", 1 << 20), ("/dev/vdb", "wiops", 100))),
        ),
        ("{}", None),
        ("{io: {/dev/vda: {}}}", None),
    ],
)
def test_limits(node, text, expected):
    """Limits come out in the smallest unit; none at all is no limits."""
    assert expected == node(f"limits: {text}").limits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{pid: 4711}", "pid:4711"),
        ("{pid: '{{ 40 + 2 }}'}", "pid:42"),
        ("{docker: web_1}", "docker:web_1"),
        ("{podman: 0a1b2c3d}", "podman:0a1b2c3d"),
        ("{netns: /run/netns/blue}", "netns:/run/netns/blue"),
    ],
)
def test_attach(node, text, expected):
    """A node can be the network namespace of something else."""
    assert expected == node(f"attach: {text}").attach


def test_an_attached_node_has_a_network(lab):
    """Interfaces, addresses, routes, rules and neighbours of it are the lab's; defaults that it cannot have do not reach it."""
    text = """
defaults: {node: {dns: {nameservers: [10.0.0.1]}, rules: [{priority: 5, table: 7}]}}
bridges: {br0: {address: 10.0.0.1/24}}
nodes:
  web:
    attach: {docker: web}
    interfaces: {eth1: {bridge: br0, address: 10.0.0.2/24}}
    routes: [{to: 10.9.0.0/16, via: 10.0.0.1}]
    neighbours: [{dev: eth1, address: 10.0.0.9, lladdr: 02:00:00:00:00:09}]
  other: {}
links:
  - [web:eth2, other:eth0]
"""
    nodes = lab(text).nodes

    assert nodes["web"].dns is None
    assert nodes["other"].dns is not None
    assert tuple(len(getattr(nodes["web"], word)) for word in ("interfaces", "routes", "rules", "neighbours")) == (2, 1, 1, 1)


def test_one_way_of_attaching_replaces_another(lab):
    """A node's own `docker` takes the place of its group's `podman`."""
    text = "groups: {g: {attach: {podman: x}}}\nnodes: {a: {group: g, attach: {docker: y}}}\n"

    assert lab(text).nodes["a"].attach == "docker:y"


def test_defaults_and_groups(lab):
    """What a node may be can be said for many; a map of ids takes the place of two, and two that of one."""
    text = """
defaults: {node: {limits: {pids: 100, cpu: 1}, user: {map: auto}}}
groups: {g: {limits: {pids: 50}, rootfs: host}}
nodes:
  a: {group: g, limits: {cpu: 2}}
  b: {user: {uids: "0:100000:1", gids: "0:100000:2"}, rootfs: /srv}
"""
    nodes = lab(text).nodes

    assert Limits(cpu=2000, pids=50) == nodes["a"].limits
    assert UserMap() == nodes["a"].user
    assert Rootfs(path="host") == nodes["a"].rootfs
    assert UserMap(uids=((0, 100000, 1),), gids=((0, 100000, 2),)) == nodes["b"].user


def test_what_waits_for_a_node_is_taken_on_trust_in_a_group(lab):
    """A group may say a thing that only its nodes complete, wherever a value can stand."""
    text = """
groups:
  g:
    user: {map: "0:{{ index * 70000 }}:65536", allow_host_ids: "{{ index > 1 }}"}
    time: {boottime: "{{ index }}"}
    rootfs: {path: "/srv/{{ name }}", writable: "overlay"}
    mounts: ["/srv/{{ name }}:/data", {source: "/{{ index }}", target: /x, readonly: "{{ index == 1 }}"}]
    limits: {cpu: "{{ index }}", memory: "{{ index }}M", pids: "{{ index }}", io: {/dev/vda: {riops: "{{ index }}"}}}
nodes:
  "h[1:2]": {group: g}
"""
    first, second = lab(text).nodes.values()

    assert (first.user.uids[0][1], second.user.uids[0][1]) == (70000, 140000)
    assert (first.time.boottime, second.time.boottime) == (1, 2)
    assert [(mount.source, mount.readonly) for mount in second.mounts] == [("/srv/h2", False), ("/2", False)]
    assert first.mounts[1].readonly
    assert Limits(cpu=2000, memory=2 << 20, pids=2, io=(("/dev/vda", "riops", 2),)) == second.limits


def test_one_mistake_in_a_range_is_told_once(lab):
    """Nodes that share a mistake share the message."""
    with pytest.raises(InputError) as caught:
        lab('nodes:\n  "h[1:500]": {limits: {cpu: fast}}\n')

    assert len(caught.value.diagnostics) == 1
