"""A time namespace of a node, pinned: its monotonic and boot-time clocks are off by some seconds.

    nodes:
      r1:
        time: {boottime: 1d, monotonic: 1d}

The wall clock is nobody's own (time_namespaces(7)). What /proc/uptime says follows the boot-time clock.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import births
from nsprov.plan.resource import IDENTITY, LAB_TOKEN, REPLACE, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "timens"


@dataclass(frozen=True)
class Timens(Resource):
    """The offsets are in seconds; `user` says that it belongs to the node's user namespace."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    boottime: int = field(default=0, metadata=REPLACE)
    monotonic: int = field(default=0, metadata=REPLACE)
    user: bool = field(default=False, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """What runs with the node's clocks needs it."""
        return (f"timens:{self.node}",)

    def stands_on(self) -> tuple[str, ...]:
        """The user namespace that owns it."""
        return (f"userns:{self.node}",) if self.user else ()

    def dies_with(self) -> tuple[str, ...]:
        """The lab's own file system."""
        return (LAB_TOKEN,)


SCHEMA = Timens


def observe(kernel: Kernel, known: Mapping[Ref, Timens]) -> Iterable[Timens]:
    """Give the pinned time namespaces of this lab, with their offsets as the clocks inside tell them."""
    for node in sorted({resource.node for resource in known.values()} | kernel.pinned("time")):
        if kernel.namespaces.is_pinned(node, "time"):
            boottime, monotonic = births.offsets(kernel.namespaces, node)
            owned = births.owned(kernel.namespaces, node, "time")
            yield Timens(node=node, boottime=boottime, monotonic=monotonic, user=owned)


def obstacles(kernel: Kernel, wants: Sequence[Timens]) -> Mapping[Ref, str]:
    """Nothing: the pins are in the lab's own directory."""
    return {}


def create(kernel: Kernel, wants: Sequence[Timens]) -> None:
    """Make and pin the namespaces; OSError if an offset would set a clock below zero."""
    for want in wants:
        offsets = functools.partial(births.write_offsets, want.boottime, want.monotonic)
        births.make(kernel.namespaces, want.node, "time", user=want.user, then=offsets)


def update(kernel: Kernel, pairs: Sequence[tuple[Timens, Timens]]) -> None:
    """Nothing: every field replaces it."""


def delete(kernel: Kernel, haves: Sequence[Timens]) -> None:
    """Unpin the namespaces."""
    for have in haves:
        kernel.namespaces.unpin(have.node, "time")
