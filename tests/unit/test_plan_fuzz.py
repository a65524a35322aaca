"""The plan core against a fake kernel with the real one's habits: whatever was, whatever shall be, one run gets there."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from nsprov.plan.change import CREATE, DELETE, REPLACE, UPDATE
from nsprov.plan.diff import diff, restorable
from nsprov.plan.order import order
from nsprov.plan.resource import HOST, IDENTITY, LAB_TOKEN, Ref, Resource, comparable
from nsprov.plan.resource import REPLACE as FIXED

KINDS = ("lent", "space", "file", "view", "link", "addr", "way")
NODES = ("a", "b", "c")
DEVICES = ("e0", "e1")


@dataclass(frozen=True)
class Space(Resource):
    """Like a network namespace: takes along what is in it."""

    kind: ClassVar[str] = "space"
    node: str = field(metadata=IDENTITY)
    name: str = field(default="", metadata=FIXED)
    lo: int | None = None

    def ref(self):
        return Ref("space", self.node)

    def provides(self):
        return (f"space:{self.node}",)


@dataclass(frozen=True)
class Lent(Resource):
    """Like the network of a living process: it can be named and left, and takes nothing along."""

    kind: ClassVar[str] = "lent"
    node: str = field(metadata=IDENTITY)
    name: str = field(default="", metadata=FIXED)
    current: bool = field(default=True, metadata=FIXED)

    def ref(self):
        return Ref("lent", self.node)

    def provides(self):
        return (f"space:{self.node}",)

    def kills(self):
        return ()

    def restorable(self):
        return self.current


@dataclass(frozen=True)
class File(Resource):
    """Like a rendered file: goes with the lab's own file system only."""

    kind: ClassVar[str] = "file"
    path: str = field(metadata=IDENTITY)
    content: int = 0

    def ref(self):
        return Ref("file", self.path)

    def provides(self):
        return (f"file:{self.path}",)

    def dies_with(self):
        return (LAB_TOKEN,)


@dataclass(frozen=True)
class View(Resource):
    """Like a mount namespace: stands on the space, but is pinned, so that it outlives it."""

    kind: ClassVar[str] = "view"
    node: str = field(metadata=IDENTITY)
    files: tuple[str, ...] = ()

    def ref(self):
        return Ref("view", self.node)

    def needs(self):
        return tuple(f"file:{path}" for path in self.files)

    def stands_on(self):
        return (f"space:{self.node}",)

    def dies_with(self):
        return (LAB_TOKEN,)


@dataclass(frozen=True)
class Link(Resource):
    """Like a bridge, or a veth pair with a second end in `peer`; the host's place is the empty node."""

    kind: ClassVar[str] = "link"
    node: str = field(metadata=IDENTITY)
    name: str = field(metadata=IDENTITY)
    peer: str | None = field(default=None, metadata=FIXED)
    mtu: int | None = None
    master: str | None = None

    def ref(self):
        return Ref("link", f"{self.node}/{self.name}")

    def ends(self):
        first = (self.node, self.name)
        return (first,) if self.peer in (None, "") else (first, (self.peer.strip("@"), f"{self.node}{self.name}"))

    def provides(self):
        return tuple(f"link:{node}/{name}" for node, name in self.ends())

    def needs(self):
        return (f"link:{self.node}/{self.master}",) if self.master else ()

    def stands_on(self):
        return tuple(f"space:{node}" for node, _ in self.ends() if node)

    def dies_with(self):
        return () if HOST in dict(self.ends()) else self.stands_on()


@dataclass(frozen=True)
class Addr(Resource):
    """Like an address: the first of a family lets routes through, the last takes them along."""

    kind: ClassVar[str] = "addr"
    node: str = field(metadata=IDENTITY)
    dev: str = field(metadata=IDENTITY)
    number: int = field(metadata=IDENTITY)
    flag: int | None = field(default=None, metadata=FIXED)

    def ref(self):
        return Ref("addr", f"{self.node}/{self.dev}/{self.number}")

    def provides(self):
        return (f"addr:{self.node}/{self.dev}/{self.number % 2}",)

    def stands_on(self):
        return (f"link:{self.node}/{self.dev}",)


@dataclass(frozen=True)
class Way(Resource):
    """Like a route over one device or two; the kernel drops the next hops that go one by one."""

    kind: ClassVar[str] = "way"
    node: str = field(metadata=IDENTITY)
    to: int = field(metadata=IDENTITY)
    devs: tuple[str, ...] = ()
    via: int = 0

    def ref(self):
        return Ref("way", f"{self.node}/{self.to}")

    def stands_on(self):
        links = (f"link:{self.node}/{dev}" for dev in self.devs)
        return (f"space:{self.node}", *links, *(f"addr:{self.node}/{dev}/{self.to % 2}" for dev in self.devs))

    def dies_with(self):
        return (f"space:{self.node}",)


class FakeKernel:
    """Holds resources, and has the habits that a plan must reckon with."""

    def __init__(self, state=None):
        self.state = dict(state or {})

    def tokens(self):
        return {token for thing in self.state.values() for token in thing.provides()}

    def create(self, want):
        assert want.ref() not in self.state, f"{want.ref()} exists"
        self._require(want)
        self.state[want.ref()] = replace(want, current=True) if isinstance(want, Lent) else want

    def update(self, before, after):
        present = self.state[before.ref()]
        self._require(after)
        values = {name: getattr(after, name) for name, fixed in comparable(type(after)) if not fixed}
        self.state[after.ref()] = replace(present, **{name: value for name, value in values.items() if value is not None})

    def delete(self, have):
        gone = self.state.pop(have.ref(), None)
        if isinstance(gone, Space):
            self._space_gone(gone.node)
        elif isinstance(gone, Link):
            self._link_gone(gone)
        elif isinstance(gone, Addr):
            self._addr_gone(gone)

    def close(self):
        """The lab's own file system goes, and with it what is pinned there."""
        self.state = {ref: thing for ref, thing in self.state.items() if not isinstance(thing, (File, View))}

    def _require(self, want):
        missing = {*want.needs(), *want.stands_on()} - self.tokens()
        assert not missing, f"{want.ref()} lacks {missing}"

    def _space_gone(self, node):
        for thing in list(self.state.values()):
            if isinstance(thing, Link) and node in dict(thing.ends()):
                self.delete(thing)
            elif isinstance(thing, Way) and thing.node == node:
                self.state.pop(thing.ref(), None)

    def _link_gone(self, link):
        for thing in list(self.state.values()):
            if isinstance(thing, Addr) and (thing.node, thing.dev) in link.ends():
                self.delete(thing)
            elif isinstance(thing, Link) and thing.master == link.name and thing.node == link.node:
                self.state[thing.ref()] = replace(thing, master="")
        for node, name in link.ends():
            self._drop_hops(node, name, {0, 1})

    def _addr_gone(self, addr):
        left = [t for t in self.state.values() if isinstance(t, Addr) and t.provides() == addr.provides()]
        if not left:
            self._drop_hops(addr.node, addr.dev, {addr.number % 2})

    def _drop_hops(self, node, dev, families):
        for thing in list(self.state.values()):
            if isinstance(thing, Way) and thing.node == node and dev in thing.devs and thing.to % 2 in families:
                hops = tuple(other for other in thing.devs if other != dev)
                if hops:
                    self.state[thing.ref()] = replace(thing, devs=hops)
                else:
                    del self.state[thing.ref()]


def run(kernel, steps, *, limit=None):
    """Take steps, at most `limit` single changes of them."""
    done = 0
    for step in steps:
        for change in step.changes:
            if done == limit:
                return
            done += 1
            if step.verb == "delete":
                kernel.delete(change.before)
            elif step.verb == "update":
                kernel.update(change.before, change.after)
            else:
                kernel.create(change.after)


def fill(thing):
    """Give what a kernel holds after a creation: no field is left to chance."""
    unset = {name: 0 if name in ("lo", "mtu", "flag") else "" for name, _ in comparable(type(thing))}
    return replace(thing, **{name: value for name, value in unset.items() if getattr(thing, name) is None})


def holds(kernel, desired):
    """Tell whether the kernel has what is desired, and nothing else."""
    return not diff(desired, desired, kernel.state)


class Dice(random.Random):
    """A seeded source of choices: a strategy of many draws would take minutes for what takes a second."""

    def maybe(self):
        return self.choice((None, 0, 1))

    def subset(self, values):
        return tuple(value for value in values if self.random() < 1 / 2)


def make_state(dice, nodes):
    """Make a state that can exist: all that anything needs is there."""
    nodes = dice.subset(nodes)
    paths = dice.subset("xyz")
    things = [make_space(dice, node) for node in nodes]
    things += [File(path, dice.randrange(2)) for path in paths]
    things += [View(node, dice.subset(paths)) for node in dice.subset(nodes)]
    links = [link for node in (HOST, *nodes) for link in make_links(dice, node, nodes)]
    ends = [end for link in links for end in link.ends()]
    addresses = [Addr(*end, number, dice.maybe()) for end in ends for number in dice.subset(range(4))]
    things += [*links, *addresses]
    for node in nodes:
        things += [way for to in dice.subset(range(4)) for way in make_ways(dice, node, to, addresses)]
    dice.shuffle(things)
    return {thing.ref(): thing for thing in things}


def make_space(dice, node):
    name = dice.choice("pq")
    return Lent(node, name) if dice.random() < 1 / 3 else Space(node, name, dice.maybe())


def make_links(dice, node, nodes):
    bridges = [Link(node, name, "", dice.maybe(), "") for name in dice.subset(("b0", "b1"))]
    masters = (None, "", *(bridge.name for bridge in bridges))
    peers = ("", "@", *(f"@{other}" for other in nodes)) if node else ("",)
    return bridges + [Link(node, name, dice.choice(peers), dice.maybe(), dice.choice(masters)) for name in dice.subset(DEVICES)]


def make_ways(dice, node, to, addresses):
    devs = dice.subset(sorted({a.dev for a in addresses if a.node == node and a.number % 2 == to % 2}))
    return [Way(node, to, devs, dice.randrange(2))] if devs else []


def damage(dice, kernel, thing):
    if dice.random() < 1 / 2:
        kernel.delete(thing)
    elif isinstance(thing, Lent):
        kernel.state[thing.ref()] = replace(thing, current=False)
    elif isinstance(thing, (Link, Space)):
        name = "mtu" if isinstance(thing, Link) else "lo"
        kernel.state[thing.ref()] = replace(thing, **{name: 7})


def make_world(seed, nodes):
    """Make what was applied, a kernel that had it and was damaged since, and what is desired."""
    dice = Dice(seed)
    applied = make_state(dice, nodes)
    desired = dice.choice((make_state(dice, nodes), make_state(dice, nodes), make_changed(dice, applied), {}))
    kernel = FakeKernel({ref: fill(thing) for ref, thing in applied.items()})
    for ref in dice.sample(sorted(applied), min(len(applied), dice.randrange(4))):
        if ref in kernel.state:
            damage(dice, kernel, kernel.state[ref])
    return World(applied, kernel, desired, dice)


def make_changed(dice, applied):
    """Change a few fields of a state and nothing else."""
    desired = dict(applied)
    for ref in dice.sample(sorted(applied), min(len(applied), 3)):
        thing = desired[ref]
        name = {"space": "lo", "file": "content", "link": "mtu", "addr": "flag", "way": "via"}.get(ref.kind)
        if name:
            desired[ref] = replace(thing, **{name: dice.randrange(2)})
    return desired


class World(NamedTuple):
    """Where a run starts, and where it shall go."""

    applied: dict
    kernel: FakeKernel
    desired: dict
    dice: Dice


worlds = st.builds(make_world, st.integers(0, 2**32), st.sampled_from((NODES[:1], NODES[:2], NODES)))
many = settings(max_examples=500, deadline=None)


@many
@given(worlds)
def test_one_run_converges(world):
    """One run of the plan brings about what is desired, from anywhere, and the next plan is empty."""
    applied, kernel, desired, _ = world
    changes = diff(applied, desired, kernel.state)
    run(kernel, order(changes.values(), KINDS))
    if not desired:
        kernel.close()

    assert holds(kernel, desired)


@many
@given(worlds)
def test_deletions_come_first(world):
    """Everything that goes has gone before anything is made or changed."""
    applied, kernel, desired, _ = world
    verbs = [step.verb for step in order(diff(applied, desired, kernel.state).values(), KINDS)]

    assert verbs == sorted(verbs, key=lambda verb: verb != "delete")


@many
@given(worlds)
def test_implied_deletions_happen(world):
    """What the plan leaves to the kernel is gone once the plan's own deletions are done."""
    applied, kernel, desired, _ = world
    changes = diff(applied, desired, kernel.state)
    run(kernel, [step for step in order(changes.values(), KINDS) if step.verb == "delete"])
    if not desired:
        kernel.close()
    implied = {ref for ref, change in changes.items() if change.implied}

    assert implied & kernel.state.keys() == set()


@many
@given(worlds)
def test_rolling_back_restores(world):
    """Wherever a run stops, the plan back to what was observed before it brings exactly that about."""
    applied, kernel, desired, dice = world
    before = dict(kernel.state)
    steps = order(diff(applied, desired, before).values(), KINDS)
    total = sum(len(step.changes) for step in steps)
    run(kernel, steps, limit=dice.randint(0, total))
    target = restorable(before)
    run(kernel, order(diff({**desired, **before}, target, kernel.state).values(), KINDS))
    if not target:
        kernel.close()

    assert kernel.state == target


@many
@given(worlds)
def test_what_is_as_desired_is_left_alone(world):
    """A change says what differs; what does not differ and stands on nothing that goes has none."""
    applied, kernel, desired, _ = world
    changes = diff(applied, desired, kernel.state)

    assert {ref for ref, change in changes.items() if change.action == CREATE} == desired.keys() - kernel.state.keys()
    assert {ref for ref, change in changes.items() if change.action == DELETE} == kernel.state.keys() - desired.keys()
    assert all(change.fields() or change.action == CREATE for change in changes.values() if change.action == UPDATE)
    assert all(
        change.fields() or change.reason.startswith("stands on") for change in changes.values() if change.action == REPLACE
    )
