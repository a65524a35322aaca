"""The contract of every kind, on data: created, seen, edited, damaged, repaired, deleted, and nothing left.

The cases are in `<kind>/*.yaml` beside this file:

    case:      what it is about
    lab:       the lab's name, where it is not "t"
    needs:     a type of links that not every kernel has; without it there is no such case
    keys:      private keys of WireGuard that this host has
    setup:     commands that make what is there without us; teardown: those that take it away again
    given:     resources of any kind that are there first, each {kind: fields}
    want:      the resource that the case is about, {kind: fields}
    edits:     changes of fields, one run each; what can change in place must do so, what cannot must be replaced
    damage:    commands, each followed by a run that must repair what it did
    harmless:  commands that change nothing of ours: the plan stays empty
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import yaml

from nsprov.agent.run import Run
from nsprov.kernel import libc, linktypes
from nsprov.kernel.machine import Kernel
from nsprov.kernel.wireguard import raw_key
from nsprov.kinds import BY_NAME, KINDS, SCHEMAS
from nsprov.plan.change import REPLACE, UPDATE
from nsprov.plan.resource import comparable, decode

HERE = Path(__file__).parent
LAB = "t"


def _cases():
    for path in sorted(HERE.glob("*/*.yaml")):
        for case in yaml.safe_load(path.read_text(encoding="utf-8")):
            yield pytest.param(case, path.parent.name, id=f"{path.parent.name}/{path.stem}: {case['case']}")


def _resource(row):
    (kind, fields), = row.items()
    return decode(SCHEMAS[kind], fields)


def managed(resource):
    """Give the fields that say something, without the name."""
    values = {name: getattr(resource, name) for name, _ in comparable(type(resource))}
    return {name: value for name, value in values.items() if value is not None}


def seen(done, want):
    """Give what is observed of the fields that `want` manages."""
    observed = done.observed[want.ref()]
    return {name: getattr(observed, name) for name in managed(want)}


@pytest.fixture
def identity(run_command):
    """Give what a resource is to the kernel, so that an update in place can be told from a replacement."""

    def inode(path):
        return os.stat(path).st_ino

    def namespace(path):
        """Give a number that is not used again, where the kernel has one; an inode's is, at once."""
        with open(path, encoding="ascii") as pin:
            return libc.namespace_id(pin.fileno()) or inode(path)

    def unified():
        hybrid = "/sys/fs/cgroup/unified"
        return hybrid if os.path.isdir(hybrid) else "/sys/fs/cgroup"

    def index(node, name, names):
        inside = ("-n", names[node]) if node else ()
        return run_command("ip", *inside, "-o", "link", "show", "dev", name).partition(":")[0]

    def tell(resource, names):
        kinds = {
            "netns": lambda: inode(f"/run/netns/{resource.name}"),
            "attachment": lambda: os.lstat(f"/run/netns/{resource.name}").st_ino,
            "utsns": lambda: namespace(f"/run/nsprov/{LAB}/ns/{resource.node}/uts"),
            "mntns": lambda: namespace(f"/run/nsprov/{LAB}/ns/{resource.node}/mnt"),
            "cgroup": lambda: inode(f"{unified()}/nsprov.{LAB}/{resource.node}"),
            "file": lambda: inode(f"/run/nsprov/{LAB}/files/{resource.source()}"),
            "bridge": lambda: index(resource.node, resource.name, names),
            "veth": lambda: index(resource.node, resource.ifname, names),
            "wireguard": lambda: index("", resource.name, names),
            "vxlan": lambda: index(resource.node, resource.ifname, names),
            "gretap": lambda: index(resource.node, resource.ifname, names),
        }
        return kinds.get(resource.kind, lambda: None)()

    return tell


class Case:
    """One case while it is being told."""

    def __init__(self, labs, case, identity):
        """Read the case."""
        self.labs = labs
        self.given = [_resource(row) for row in case.get("given", ())]
        self.want = _resource(case["want"])
        self._identity = identity

    def state(self):
        """Give what is desired."""
        return [*self.given, self.want]

    def identity(self):
        """Give what the resource is to the kernel now."""
        names = {resource.node: resource.name for resource in self.state() if resource.pinned_network()}
        return self._identity(self.want, names)

    def settled(self):
        """Check that the resource is as wanted, and that there is nothing more to do."""
        plan = self.labs.plan(LAB, *self.state())

        assert plan.actions() == {}
        assert managed(self.want) == seen(plan, self.want)

    def edit(self, fields):
        """Change fields; what the schema says can change in place does."""
        before, was = self.want, self.identity()
        self.want = decode(type(before), {**{k: v for k, v in vars(before).items() if v is not None}, **fields})
        roles = dict(comparable(type(before)))
        expected = REPLACE if any(roles[name] for name in fields) else UPDATE
        done = self.labs.up(LAB, *self.state())

        assert done.actions()[str(self.want.ref())] == expected
        assert (self.identity() == was) is (expected == UPDATE or was is None)
        self.settled()

    def repair(self, run_command, argv):
        """Damage the resource and see it repaired."""
        run_command(*argv)
        assert self.labs.plan(LAB, *self.state()).actions() != {}, "the damage was not seen"
        self.labs.up(LAB, *self.state())
        self.settled()

    def delete(self, forked):
        """Delete the resource, twice, and see that what was there before it still is."""
        self.labs.up(LAB, *self.given)
        assert self.labs.plan(LAB, *self.given).actions() == {}
        forked(self._delete_again)
        assert self.labs.plan(LAB, *self.given).actions() == {}

    def _delete_again(self):
        run = Run(LAB, {resource.ref(): resource for resource in self.given})
        run.look()
        run.kernel.namespaces.names.update({r.node: r.name for r in self.state() if r.pinned_network()})
        BY_NAME[self.want.kind].delete(run.kernel, [self.want])


@pytest.fixture
def around(case, host, run_command, forked):
    """Make the things that a case finds there; they go when the test is over, however it ends."""
    if "needs" in case and (lacking := forked(lambda: linktypes.lacks(Kernel(LAB), case["needs"]))):
        pytest.skip(lacking)
    for argv in case.get("setup", ()):
        run_command(*argv)
    yield
    for argv in case.get("teardown", ()):
        run_command(*argv)


@pytest.mark.root
@pytest.mark.usefixtures("around")
@pytest.mark.parametrize(("case", "kind"), list(_cases()))
def test_contract(case, kind, labs, identity, run_command, forked):
    """A resource is created, edited, repaired and deleted, each in one run after which the plan is empty."""
    labs.keys = tuple(map(raw_key, case.get("keys", ())))
    told = Case(labs, case, identity)
    assert told.want.kind == kind
    labs.up(LAB, *told.given)
    labs.up(LAB, *told.state())
    told.settled()
    for fields in case.get("edits", ()):
        told.edit(fields)
    for argv in case.get("harmless", ()):
        run_command(*argv)
        told.settled()
    for argv in case.get("damage", ()):
        told.repair(run_command, argv)
    if told.given:
        told.delete(forked)
    labs.down(LAB)


def test_every_kind_has_its_cases():
    """Adding a kind means adding its cases: eight at least, with an edit of each field that can be edited."""
    cases = [parameter.values for parameter in _cases()]
    counts = {kind.NAME: sum(1 for _, name in cases if name == kind.NAME) for kind in KINDS}

    assert {name: count for name, count in counts.items() if count < 8} == {}


def test_every_field_is_edited():
    """Each field of each kind that is no part of its name has a case that edits it, but those that only observing fills."""
    edited = {(name, field) for case, name in (p.values for p in _cases()) for edit in case.get("edits", ()) for field in edit}
    fields = {(kind.NAME, name) for kind in KINDS for name, _ in comparable(kind.SCHEMA)}

    movable = {(kind, "intact") for kind in ("veth", "vxlan", "gretap", "wireguard")}
    observed = {*movable, ("attachment", "current"), ("workload", "state")}
    assert fields - edited == {*observed, ("workload", "mnt")}  # another mount namespace is another init


def test_schemas_are_frozen():
    """A resource is a value."""
    for kind in KINDS:
        assert dataclasses.fields(kind.SCHEMA)
        assert kind.SCHEMA.__dataclass_params__.frozen
