"""A node's routing rules and permanent neighbours, and what they share with its routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.topology.addresses import Cidr, parse_ip, parse_mac, parse_network, text_of
from nsprov.topology.model import Neighbour, Rule
from nsprov.topology.positions import Flaw, Path, Problems, closest, shown

if TYPE_CHECKING:
    from nsprov.topology import spec as language
    from nsprov.topology.drafts import Draft

MAX_U32 = 0xFFFFFFFF


def known_device(draft: Draft, problems: Problems, dev: str | None, path: Path) -> str | None:
    """Check that a node has a device."""
    if dev is None or dev in draft.interfaces or dev in draft.bridges or dev == "lo":
        return dev
    known = [*draft.interfaces, *draft.bridges, "lo"]
    hint = closest(dev, known) or "use one of: " + ", ".join(known)
    problems.add(path, f"{shown(dev)} is not an interface of the node", hint)
    return None


def in_range(problems: Problems, value: int, low: int, high: int, path: Path) -> None:
    """Check that a number lies between two others."""
    if not low <= value <= high:
        problems.add(path, f'"{path[-1]}" cannot be {value}', f"use a number from {low} to {high}")


class Policy:
    """Reads a node's rules and neighbours."""

    def __init__(self, draft: Draft, problems: Problems) -> None:
        """Store the node so far, and where to note problems."""
        self.draft = draft
        self.problems = problems
        self.path: Path = ("nodes", draft.name)

    def rules(self) -> tuple[Rule, ...]:
        """Read the policy routing rules."""
        return tuple(self._rule(given, (*self.path, "rules", place)) for place, given in enumerate(self.draft.spec.rules or ()))

    def _rule(self, given: language.RuleSpec, path: Path) -> Rule:
        in_range(self.problems, given.priority, 1, MAX_U32, (*path, "priority"))
        in_range(self.problems, given.table, 1, MAX_U32, (*path, "table"))
        in_range(self.problems, given.fwmark or 0, 0, MAX_U32, (*path, "fwmark"))
        source, destination = self._selector(given.from_, (*path, "from_")), self._selector(given.to, (*path, "to"))
        families = {cidr.family for cidr in (source, destination) if cidr} | ({given.family} if given.family else set())
        if len(families) > 1 or not families <= {4, 6}:
            self.problems.add(path, "the rule mixes address families", "use IPv4 or IPv6 throughout")
        return Rule(
            priority=given.priority,
            from_=source.text if source else None,
            to=destination.text if destination else None,
            iif=known_device(self.draft, self.problems, given.iif, (*path, "iif")),
            oif=known_device(self.draft, self.problems, given.oif, (*path, "oif")),
            fwmark=given.fwmark,
            table=given.table,
            family=min(families, default=4),
        )

    def _selector(self, text: str | None, path: Path) -> Cidr | None:
        try:
            return None if text in (None, "all") else parse_network(text or "")
        except Flaw as flaw:
            self.problems.flaw(path, flaw)
            return None

    def neighbours(self) -> tuple[Neighbour, ...]:
        """Read the permanent neighbour entries."""
        found = []
        for place, given in enumerate(self.draft.spec.neighbours or ()):
            path = (*self.path, "neighbours", place)
            dev = known_device(self.draft, self.problems, given.dev, (*path, "dev"))
            try:
                word = "address"
                address = text_of(*parse_ip(given.address))
                word = "lladdr"
                found.append(Neighbour(dev=dev or given.dev, address=address, lladdr=parse_mac(given.lladdr)))
            except Flaw as flaw:
                self.problems.flaw((*path, word), flaw)
        return tuple(found)
