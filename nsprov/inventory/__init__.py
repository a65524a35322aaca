"""Hosts, their groups and variables, from inventories as Ansible users have them.

Importing this package loads the model alone; an inventory that is read loads the rest.
`localhost` is always there, reached without a connection, unless an inventory says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.inventory.model import IMPLICIT, LOCALHOST, ONLY_THIS, Group, Host, Inventory, Secret
from nsprov.texts import Sealed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.vault import Password

__all__ = ["IMPLICIT", "LOCALHOST", "Group", "Host", "Inventory", "Sealed", "Secret", "load_inventory"]


def load_inventory(sources: Sequence[str] = (), beside: str | None = None, passwords: Sequence[Password] = ()) -> Inventory:
    """Read inventories, of which a later one wins; none means that there is only this machine.

    `beside` is a directory, the topology's, whose `group_vars` and `host_vars` count too. What is encrypted stays so without
    a password, and is an error where it is used.

    Raises:
        InputError: everything that is wrong with the files, each with its line and column.

    """
    if not sources:
        return ONLY_THIS
    # Start-up time: without an inventory there is nothing to read.
    from nsprov.inventory.sources import read  # noqa: PLC0415

    return read(sources, beside, passwords)
