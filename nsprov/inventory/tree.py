"""Groups and hosts while sources are read into them, one after the other, and how they hang together in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nsprov.errors import Diagnostic
    from nsprov.inventory.places import Complaints, Place

ALL, UNGROUPED = "all", "ungrouped"
PRIORITY = "ansible_group_priority"


@dataclass
class Variables:
    """What a place in an inventory says of a host or a group, and where it says it.

    `sealed` is the place of a file that is encrypted as a whole, so that nobody knows what it says; `wrong` is what could
    not be read of it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    sealed: Place | None = None
    wrong: Sequence[Diagnostic] = ()

    def put(self, name: str, value: Any, place: Place) -> None:
        """Set one, as the last word on it."""
        self.values[name] = value
        self.places[name] = place


@dataclass
class Kin:
    """A group as it grows: its own hosts, the groups below and above it, both in order."""

    name: str
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    own: Variables = field(default_factory=Variables)
    priority: int = 1
    depth: int = 0


@dataclass
class Member:
    """A host as it grows: the groups that name it, and the first source that did."""

    name: str
    source: str
    own: Variables = field(default_factory=Variables)
    groups: dict[str, None] = field(default_factory=dict)


class Tree:
    """All groups and hosts; every source adds to it, and none takes away."""

    def __init__(self, complaints: Complaints) -> None:
        """Start with `all` and, below it, `ungrouped`."""
        self.complaints = complaints
        self.groups: dict[str, Kin] = {}
        self.hosts: dict[str, Member] = {}
        self._lineages: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.group(ALL)
        self.group(UNGROUPED)
        self.groups[ALL].children[UNGROUPED] = None
        self.groups[UNGROUPED].parents[ALL] = None

    def group(self, name: str) -> Kin:
        """Give a group, made if it is new."""
        return self.groups.setdefault(name, Kin(name))

    def host(self, name: str, group: str, place: Place) -> Member:
        """Give a host, made if it is new, and put it into a group."""
        found = self.hosts.get(name)
        if found is None:
            found = self.hosts[name] = Member(name, place.source.path)
        found.groups[group] = None
        self.groups[group].hosts[name] = None
        return found

    def child(self, parent: str, name: str, place: Place) -> None:
        """Put a group below another; that one must not be below it already."""
        if name == ALL:
            self.complaints.add(place, '"all" cannot be below another group', "leave it out: it is above all groups")
            return
        if parent == name or name in self.above(parent):
            hint = "take one of the two out of the other's children"
            self.complaints.add(place, f'group "{parent}" would contain itself', hint, f'It is below "{name}".')
            return
        self.group(parent).children[name] = None
        self.group(name).parents[parent] = None

    def put(self, group: str, name: str, value: Any, place: Place) -> None:
        """Set a variable of a group; its priority among groups of the same depth is one, too."""
        if name != PRIORITY:
            self.groups[group].own.put(name, value, place)
        elif isinstance(value, (int, str)) and str(value).lstrip("-").isdigit():
            self.groups[group].priority = int(value)
        else:
            self.complaints.add(place, f'"{PRIORITY}" must be a whole number', "write a number, such as 10")

    def above(self, name: str) -> set[str]:
        """Give the names of all groups that a group is below."""
        found: set[str] = set()
        open_ = list(self.groups[name].parents)
        while open_:
            parent = open_.pop()
            if parent not in found:
                found.add(parent)
                open_.extend(self.groups[parent].parents)
        return found

    def below(self, name: str) -> Iterator[Kin]:
        """Give a group and those below it, level by level."""
        seen, level = {name}, [name]
        while level:
            yield from (self.groups[one] for one in level)
            following = dict.fromkeys(child for one in level for child in self.groups[one].children)
            level = [child for child in following if child not in seen]
            seen.update(level)

    def members(self, name: str) -> tuple[str, ...]:
        """Give the hosts of a group and of those below it."""
        return tuple(dict.fromkeys(host for kin in self.below(name) for host in kin.hosts))

    def settle(self, place: Place) -> None:
        """Put what is nowhere where it belongs: groups below `all`, hosts into `ungrouped`; and count depths."""
        for name in list(self.groups):
            if name != ALL and not self.groups[name].parents:
                self.child(ALL, name, place)
        ungrouped = self.groups[UNGROUPED]
        for host in self.hosts.values():
            if host.groups.keys() - {ALL, UNGROUPED}:
                ungrouped.hosts.pop(host.name, None)
                host.groups.pop(UNGROUPED, None)
            else:
                ungrouped.hosts[host.name] = None
                host.groups[UNGROUPED] = None
        self._count()

    def _count(self) -> None:
        """Give each group its depth: the longest way to it from the top."""
        waiting = {name: len(kin.parents) for name, kin in self.groups.items()}
        ready = [name for name, count in waiting.items() if not count]
        while ready:
            kin = self.groups[ready.pop()]
            for child in kin.children:
                below = self.groups[child]
                below.depth = max(below.depth, kin.depth + 1)
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)

    def lineage(self, host: str) -> tuple[str, ...]:
        """Give all groups of a host but `all`, those whose word counts more after the others; for a tree that is settled."""
        groups = tuple(self.hosts[host].groups)
        if groups not in self._lineages:
            self._lineages[groups] = self._in_order({name for group in groups for name in (group, *self.above(group))} - {ALL})
        return self._lineages[groups]

    def _in_order(self, found: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(found, key=lambda name: (self.groups[name].depth, self.groups[name].priority, name)))
