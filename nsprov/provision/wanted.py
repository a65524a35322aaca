"""What a lab's hosts are to hold: settled already, or only once the hosts have said what is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nsprov.errors import Diagnostic, InputError
from nsprov.probes import probes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nsprov import transport
    from nsprov.plan.resource import Ref, Resource
    from nsprov.survey import Survey

    State = Mapping[Ref, Resource]
    States = Mapping[str, State]


class Wanted(Protocol):
    """What a lab's hosts are to hold."""

    @property
    def surveys(self) -> bool:
        """Whether the hosts have to be asked before this can be said."""

    @property
    def remotes(self) -> Mapping[str, Sequence[str]]:
        """The addresses of others that each host is asked the way to; a host that is not in here is asked for none."""

    @property
    def keys(self) -> Collection[str]:
        """The hosts that are asked for the lab's public key."""

    def states(self, surveys: Mapping[str, Survey]) -> States:
        """Give what each host is to hold; one that is not in here is to hold nothing.

        Raises:
            NsprovError: it cannot be had with what the hosts have said.

        """

    def probes(self, states: States) -> Mapping[str, Mapping[str, Any]]:
        """Give what each host is to try once all hosts hold their states: requests of the verb `probe`; mostly none."""


@dataclass(frozen=True)
class Settled:
    """States that are known from the start."""

    known: States
    surveys: bool = False
    remotes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    keys: Collection[str] = ()

    def states(self, _surveys: Mapping[str, Survey]) -> States:
        """Give them."""
        return self.known

    def probes(self, states: States) -> Mapping[str, Mapping[str, Any]]:
        """Try the tunnels that are in them; their numbers tell them apart."""
        return probes("", states)


class Finder(Protocol):
    """Finds hosts by their names."""

    def __call__(self, names: Sequence[str], *, sure: bool) -> Sequence[transport.Host]:
        """Find all of them, or if that they have a part is not `sure`, those that there are.

        Raises:
            InputError: one that surely has a part is not there.

        """


def _nobody(names: Sequence[str], *, sure: bool) -> Sequence[transport.Host]:
    if not sure:
        return ()
    hint = "give the inventory that has it with -i"
    raise InputError(*(Diagnostic("there is no inventory to find this host in", name, hint=hint) for name in names))


@dataclass(frozen=True)
class Task:
    """What a run is to do with one lab.

    `hosts` are those that are known to have a part in it. A host that the lab's records name as well is found with `find`,
    and holds nothing of the lab afterwards, unless the run is `partial`: then it is nobody's business, as are those in
    `forget`, which are gone for good. `remembered` are hosts that may hold something of the lab, for all we know.
    """

    lab: str
    wanted: Wanted
    hosts: Sequence[transport.Host]
    find: Finder = _nobody
    remembered: Sequence[str] = ()
    forget: frozenset[str] = frozenset()
    partial: bool = False
