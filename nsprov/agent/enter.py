"""Enter a node of this host without a conversation: this process itself becomes the command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

from nsprov.kernel import processes
from nsprov.kernel.lab import labs
from nsprov.kernel.machine import Kernel

if TYPE_CHECKING:
    from collections.abc import Sequence


def become(lab: str, node: str, argv: Sequence[str]) -> NoReturn:
    """Become a command in a node; exit 126 or 127 if it cannot be run.

    Raises:
        NothingMatched: the lab has no such node on this host.

    """
    kernel = Kernel(lab)
    processes.find(kernel, node)
    processes.enter(kernel, node)
    processes.become(argv, os.environ)


def labs_with(node: str) -> list[str]:
    """Give the labs on this host that have a node of that name."""
    return [lab for lab in labs() if node in Kernel(lab).discover()]
