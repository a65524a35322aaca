"""The variables of a task on a host, in Ansible's order of precedence, with its magic ones.

From the weakest: inventory, facts, the play's, its files, those of blocks and tasks, `include_vars`, `set_fact` and what was
registered, those of an include, and those of the command line. All as they are written: who evaluates fills them in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsprov.inventory import Inventory
    from nsprov.playbook.model import Play
    from nsprov.render.native import Expressions


@dataclass
class Known:
    """What a run has learned of one host; it outlives the plays."""

    facts: dict[str, Any] = field(default_factory=dict)
    included: dict[str, Any] = field(default_factory=dict)
    registered: dict[str, Any] = field(default_factory=dict)
    added: dict[str, Any] = field(default_factory=dict)
    """Variables that `add_host` has given it."""


class World:
    """All hosts' variables; `extra` are those of the command line, `about` those that are the same everywhere."""

    def __init__(
        self, inventory: Inventory, expressions: Expressions, extra: Mapping[str, Any], about: Mapping[str, Any]
    ) -> None:
        """Store what is known at the start."""
        self._inventory = inventory
        self._expressions = expressions
        self.extra = extra
        self.about = about
        self.known: dict[str, Known] = {}
        self.groups: dict[str, list[str]] = {name: list(group.members) for name, group in inventory.groups.items()}
        self.groups["all"] = list(inventory.hosts)

    def matching(self, pattern: str) -> tuple[str, ...]:
        """Give the hosts that a pattern stands for; groups that the run has made are there too.

        Raises:
            NothingMatched: there are none.

        """
        if pattern in self.groups and pattern not in self._inventory.groups:
            return tuple(self.groups[pattern])
        if pattern == "localhost":
            return ("localhost",)
        return self._inventory.names(pattern)

    def of(self, host: str) -> Known:
        """Give what is known of a host."""
        return self.known.setdefault(host, Known())

    def lasting(self, host: str) -> dict[str, Any]:
        """Give a host's variables as other hosts see them, in `hostvars`."""
        known = self.of(host)
        return {
            **self._inventory.variables.get(host, {}),
            **known.added,
            **known.facts,
            **known.included,
            **known.registered,
            **self._magic(host),
            **self.extra,
        }

    def for_play(self, host: str, play: Play, files: Mapping[str, Any], hosts: tuple[str, ...]) -> Scope:
        """Give the variables of a play on a host, to which each task adds its own."""
        return Scope(self, host, play.vars, files, hosts)

    def layers(self, host: str, scope: Scope, own: Mapping[str, Any], nearest: Mapping[str, Any]) -> dict[str, Any]:
        """Put all layers over one another."""
        known = self.of(host)
        return {
            **self._inventory.variables.get(host, {}),
            **known.added,
            **known.facts,
            **scope.vars,
            **scope.files,
            **own,
            **known.included,
            **known.registered,
            **self._magic(host),
            "hostvars": HostVariables(self, self._expressions),
            "ansible_play_hosts": list(scope.hosts),
            "ansible_play_batch": list(scope.hosts),
            "play_hosts": list(scope.hosts),
            **nearest,
            **self.extra,
        }

    def _magic(self, host: str) -> dict[str, Any]:
        return {
            **self.about,
            "inventory_hostname": host,
            "inventory_hostname_short": host.partition(".")[0],
            "groups": self.groups,
            "group_names": sorted(name for name, hosts in self.groups.items() if host in hosts and name != "all"),
        }


@dataclass(frozen=True)
class Scope:
    """A play on one host."""

    world: World
    host: str
    vars: Mapping[str, Any]
    files: Mapping[str, Any]
    hosts: tuple[str, ...]

    def variables(self, own: Mapping[str, Any], nearest: Mapping[str, Any]) -> dict[str, Any]:
        """Give the variables of a task; `nearest` are those of an include, a loop, a rescue."""
        return self.world.layers(self.host, self, own, nearest)


class HostVariables(Mapping[str, Any]):
    """`hostvars`: the variables of any host, filled in."""

    def __init__(self, world: World, expressions: Expressions) -> None:
        """Store where they come from."""
        self._world = world
        self._expressions = expressions

    def __getitem__(self, host: str) -> Mapping[str, Any]:
        """Give those of a host; KeyError if there is none."""
        if host not in self:
            raise KeyError(host)
        return _Filled(self._world.lasting(host), self._expressions)

    def __iter__(self) -> Iterator[str]:
        """Give every host's name."""
        return iter(self._world.groups["all"])

    def __len__(self) -> int:
        """Count the hosts."""
        return len(self._world.groups["all"])

    def __contains__(self, host: object) -> bool:
        """Tell whether there is such a host; localhost is there without being listed."""
        return host in self._world.groups["all"] or host == "localhost"


class _Filled(Mapping[str, Any]):
    """Variables that are filled in when they are asked for."""

    def __init__(self, raw: Mapping[str, Any], expressions: Expressions) -> None:
        self._raw = raw
        self._expressions = expressions

    def __getitem__(self, name: str) -> Any:
        return self._expressions.evaluate(self._raw[name], self._raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)
