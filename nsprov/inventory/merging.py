"""What is said of a host or a group in all, in Ansible's order of precedence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.inventory.tree import ALL, PRIORITY
from nsprov.inventory.variable_files import GROUPS, HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nsprov.inventory.tree import Tree, Variables
    from nsprov.inventory.unsealing import Opener
    from nsprov.inventory.variable_files import Shelf


class Merging:
    """Layers of variables: what sources say, what lies beside them, what lies beside the topology."""

    def __init__(self, tree: Tree, beside_sources: Sequence[Shelf], beside_topology: Sequence[Shelf], opener: Opener) -> None:
        """Store where to look, and what opens what is encrypted there."""
        self._opener = opener
        self.tree = tree
        self.near = beside_sources
        self.far = beside_topology
        self._bases: dict[tuple[str, ...], list[Variables]] = {}

    def layers(self, host: str) -> list[Variables]:
        """Give all that is said of a host; what counts more comes after."""
        lineage = self.tree.lineage(host)
        if lineage not in self._bases:
            self._bases[lineage] = self._base(lineage)
        own = self.tree.hosts[host].own
        return self._opened([*self._bases[lineage], own, *_beside([*self.near, *self.far], HOSTS, [host])])

    def _opened(self, layers: Iterable[Variables]) -> list[Variables]:
        return [self._opener.variables(layer) for layer in layers]

    def _base(self, lineage: Sequence[str]) -> list[Variables]:
        """Give what the groups of a host say: `all` before the others, and sources before files beside them."""
        groups = self.tree.groups
        return [
            groups[ALL].own,
            *(groups[name].own for name in lineage),
            *_beside([*self.near, *self.far], GROUPS, [ALL]),
            *_beside(self.near, GROUPS, lineage),
            *_beside(self.far, GROUPS, lineage),
        ]

    def host(self, name: str) -> dict[str, Any]:
        """Give a host's variables, as they are written.

        Raises:
            InputError: a file of variables is wrong.

        """
        return merged(self.layers(name))

    def group(self, name: str) -> dict[str, Any]:
        """Give what is said of a group itself.

        Raises:
            InputError: a file of variables is wrong.

        """
        kin = self.tree.groups[name]
        found = merged(self._opened([kin.own, *_beside([*self.near, *self.far], GROUPS, [name])]))
        return {**found, PRIORITY: kin.priority} if kin.priority != 1 else found


def _beside(shelves: Iterable[Shelf], kind: str, names: Sequence[str]) -> list[Variables]:
    return [one for shelf in shelves for name in names for one in shelf.of(kind, name)]


def merged(layers: Iterable[Variables]) -> dict[str, Any]:
    """Put layers over one another.

    Raises:
        InputError: something of them could not be read.

    """
    found: dict[str, Any] = {}
    wrong: list[Diagnostic] = []
    for layer in layers:
        found.update(layer.values)
        wrong.extend(layer.wrong)
    if wrong:
        raise InputError(*dict.fromkeys(wrong))
    return found
