"""What hosts say before there is a plan: what they hold of a lab already, how they reach each other, and how large they are.

Only values: who asks is `nsprov.provision`, who answers is `nsprov.agent.surveying`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Path:
    """How a host's packets leave for an address: from which address of its own, how large at most, by which device."""

    source: str
    mtu: int
    dev: str


@dataclass(frozen=True)
class Survey:
    """What one host has said of one lab.

    `nodes` and `vnis` (`kind:name` to id) are what the lab has there by its record, also that of a run that was killed;
    `members` are the hosts that this record names. `paths` are by remote address; `taken` has each (VNI, UDP port) of others.
    `public_key` is empty unless it was asked for. `memory` is in bytes. `holds` tells whether there is a record at all.
    """

    host: str
    nodes: frozenset[str]
    members: tuple[str, ...]
    paths: Mapping[str, Path]
    vnis: Mapping[str, int]
    taken: frozenset[tuple[int, int]]
    public_key: str
    cpus: int
    memory: int
    holds: bool = False


def read(host: str, reply: Mapping[str, Any]) -> Survey:
    """Read the reply of a host's agent."""
    return Survey(
        host=host,
        nodes=frozenset(reply["nodes"]),
        members=tuple(reply["members"]),
        paths={remote: Path(*found) for remote, found in reply["paths"].items()},
        vnis=reply["vnis"],
        taken=frozenset((vni, port) for vni, port in reply["taken"]),
        public_key=reply["public_key"],
        cpus=reply["cpus"],
        memory=reply["memory"],
        holds=reply["holds"],
    )
