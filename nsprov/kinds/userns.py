"""A user namespace of a node, pinned: root inside is nobody outside.

    nodes:
      r1:
        user: {map: auto}

`uids` and `gids` are the rows of its maps, (id inside, id outside, how many), as in user_namespaces(7).
All other namespaces of the node belong to it. `map: auto` takes a range that depends on the names of lab and node only,
above those that systemd and /etc/subuid use.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nsprov.kernel import births, children, lab
from nsprov.plan.resource import IDENTITY, LAB_TOKEN, REPLACE, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "userns"


@dataclass(frozen=True)
class Userns(Resource):
    """The kernel lets a map be written once: another map is another namespace."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    uids: tuple[tuple[int, int, int], ...] = field(metadata=REPLACE)
    gids: tuple[tuple[int, int, int], ...] = field(metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """The node's other namespaces belong to it."""
        return (f"userns:{self.node}",)

    def dies_with(self) -> tuple[str, ...]:
        """The lab's own file system."""
        return (LAB_TOKEN,)


SCHEMA = Userns


def observe(kernel: Kernel, known: Mapping[Ref, Userns]) -> Iterable[Userns]:
    """Give the pinned user namespaces of this lab with their maps."""
    for node in sorted({resource.node for resource in known.values()} | kernel.pinned("user")):
        fd = kernel.namespaces.open(node, "user")
        if fd is not None:
            try:
                uids, gids = children.id_maps(fd)
            finally:
                os.close(fd)
            yield Userns(node=node, uids=uids, gids=gids)


def obstacles(kernel: Kernel, wants: Sequence[Userns]) -> Mapping[Ref, str]:
    """A range that a node of another lab has."""
    taken = {
        (outside, outside + count): f'node "{fields["node"]}" of lab "{name}"'
        for name in lab.labs()
        if name != kernel.lab.name
        for fields in _recorded(name)
        for _, outside, count in (*fields["uids"], *fields["gids"])
    }
    found = {}
    for want in wants:
        for _, outside, count in (*want.uids, *want.gids):
            for (first, end), who in taken.items():
                if outside < end and first < outside + count:
                    found[want.ref()] = f"The ids {outside} to {outside + count - 1} of the host are those of {who}."
    return found


def _recorded(name: str) -> Iterable[Mapping[str, Any]]:
    rows = lab.Lab(name).read("manifest.json").get("resources")
    for row in rows if isinstance(rows, list) else ():
        if row[0] == NAME:
            yield row[1]


def create(kernel: Kernel, wants: Sequence[Userns]) -> None:
    """Make and pin the namespaces and write their maps."""
    for want in wants:
        births.make_user(kernel.namespaces, want.node, want.uids, want.gids)


def update(kernel: Kernel, pairs: Sequence[tuple[Userns, Userns]]) -> None:
    """Nothing: every field replaces it."""


def delete(kernel: Kernel, haves: Sequence[Userns]) -> None:
    """Unpin the namespaces."""
    for have in haves:
        kernel.namespaces.unpin(have.node, "user")
