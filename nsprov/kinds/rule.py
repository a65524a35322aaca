"""A routing policy rule of a node (ip-rule(8)); its priority and family name it.

    nodes:
      r1:
        rules:
          - {priority: 100, from: 10.1.0.0/16, table: 100}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import rare
from nsprov.kernel.netlink import Request
from nsprov.kernel.rtnl import PROTO
from nsprov.plan.resource import IDENTITY, REPLACE, Ref, Resource, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "rule"


@dataclass(frozen=True)
class Rule(Resource):
    """Empty selectors match anything; `fwmark` 0 is none."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    family: int = field(metadata=IDENTITY)
    priority: int = field(metadata=IDENTITY)
    table: int = field(metadata=REPLACE)
    source: str = field(default="", metadata=REPLACE)
    destination: str = field(default="", metadata=REPLACE)
    iif: str = field(default="", metadata=REPLACE)
    oif: str = field(default="", metadata=REPLACE)
    fwmark: int = field(default=0, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its node, family and priority."""
        return Ref(NAME, f"{place(self.node)}/ipv{self.family} {self.priority}")

    def provides(self) -> tuple[str, ...]:
        """The node's workloads need its whole network."""
        return (f"network:{self.node}",)

    def stands_on(self) -> tuple[str, ...]:
        """The network namespace of its node."""
        return (f"netns:{self.node}",)


SCHEMA = Rule


def observe(kernel: Kernel, known: Mapping[Ref, Rule]) -> Iterable[Rule]:
    """Give the known rules that are there; a rule bears no lab's mark, so only the known are looked for.

    Where a node is attached, those of others have another protocol number.
    """
    for node in sorted({rule.node for rule in known.values()}):
        alone = kernel.owns(node)
        for found in kernel.rare_dump(node, rare.get_rules(), rare.parse_rule):
            proto = found.pop("proto")
            rule = Rule(node=node, **found)
            if rule.ref() in known and (alone or proto == PROTO):
                yield rule


def obstacles(kernel: Kernel, wants: Sequence[Rule]) -> Mapping[Ref, str]:
    """Nothing: they are in the lab's own namespaces."""
    return {}


def create(kernel: Kernel, wants: Sequence[Rule]) -> None:
    """Add the rules."""
    kernel.netlink.send(Request(want.node, rare.rule_message(_fields(want), add=True), want.ref()) for want in wants)


def update(kernel: Kernel, pairs: Sequence[tuple[Rule, Rule]]) -> None:
    """Nothing of a rule can change in place."""


def delete(kernel: Kernel, haves: Sequence[Rule]) -> None:
    """Remove the rules."""
    kernel.netlink.send(
        Request(have.node, rare.rule_message(_fields(have), add=False), have.ref(), absent_is_fine=True) for have in haves
    )


def _fields(rule: Rule) -> dict[str, object]:
    return {name: value for name, value in vars(rule).items() if name != "node"}
