"""A named network namespace, pinned at /run/netns/NAME so that `ip netns` knows it.

    nodes:
      ns1: {}

Its `lo` is up and carries the lab's mark in its alias. /etc/netns/NAME leads to the node's rendered files,
which `ip netns exec` binds over /etc (ip-netns(8)).
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel import attach, births
from nsprov.kernel.lab import ETC_NETNS
from nsprov.kernel.namespaces import NETNS, share_netns_directory, stale, unpin, unpin_stale
from nsprov.kernel.netlink import Request
from nsprov.kernel.rtnl import LinkSettings, set_link
from nsprov.plan.resource import IDENTITY, REPLACE, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "netns"
_LOOPBACK = 1


@dataclass(frozen=True)
class Netns(Resource):
    """`etc` pairs a name in /etc/netns/NAME with the lab's file that it leads to; `user`: the node's user namespace owns it."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    name: str = field(metadata=REPLACE)
    lo: str = "up"
    etc: tuple[tuple[str, str], ...] = ()
    user: bool = field(default=False, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its node."""
        return Ref(NAME, self.node)

    def provides(self) -> tuple[str, ...]:
        """Everything in the node's network lives in it."""
        return (f"netns:{self.node}", f"network:{self.node}")

    def stands_on(self) -> tuple[str, ...]:
        """The user namespace that owns it."""
        return (f"userns:{self.node}",) if self.user else ()

    def dies_with(self) -> tuple[str, ...]:
        """Nothing: it is pinned outside of the lab's file system."""
        return ()

    def watches(self) -> tuple[tuple[str, str, str | int], ...]:
        """Its `lo`, which is always read."""
        return ((self.node, "link", "lo"),)

    def pinned_network(self) -> tuple[str, str]:
        """Its node and its name below /run/netns."""
        return self.node, self.name


SCHEMA = Netns


def observe(kernel: Kernel, known: Mapping[Ref, Netns]) -> Iterable[Netns]:
    """Give the namespaces whose `lo` bears the lab's mark."""
    users = {resource.node for resource in known.values() if resource.user} | kernel.pinned("user")
    for node, name in list(kernel.namespaces.names.items()):
        loopback = kernel.seen.links(node).get("lo")
        if loopback is None or kernel.marked(loopback) is None:
            continue
        etc = _etc(kernel, name, None if kernel.seen.thorough else known.get(Ref(NAME, node)))
        owned = node in users and births.owned(kernel.namespaces, node, "net")
        yield Netns(node=node, name=name, lo="up" if loopback.up else "down", etc=etc, user=owned)


def _etc(kernel: Kernel, name: str, recorded: Netns | None) -> tuple[tuple[str, str], ...]:
    """Give the entries of /etc/netns/NAME; where they lead is as recorded, for the links are in our own directory."""
    entries = kernel.files.etc_entries(name)
    if recorded is None:
        return tuple(sorted((entry, kernel.files.etc_source(name, entry)) for entry in entries))
    sources = dict(recorded.etc)
    return tuple(sorted((entry, sources.get(entry, "?")) for entry in entries))


def obstacles(kernel: Kernel, wants: Sequence[Netns]) -> Mapping[Ref, str]:
    """A namespace of that name, or a directory in /etc/netns, that is not ours."""
    try:
        taken = set(os.listdir(NETNS))
    except FileNotFoundError:
        taken = set()
    found = {}
    for want in wants:
        path = f"{NETNS}/{want.name}"
        if want.name in taken and not stale(path) and not _ours(kernel, want):
            found[want.ref()] = f'A network namespace "{want.name}" exists at {path} and is not of this lab.'
        elif want.etc and kernel.files.etc_exists(want.name) and not kernel.files.etc_is_ours(want.name):
            found[want.ref()] = f"/etc/netns/{want.name} exists and is not of this lab."
    return found


def _ours(kernel: Kernel, want: Netns) -> bool:
    """Tell whether the name is the node's until now: of its own network, or of one that it is attached to."""
    named = kernel.namespaces.names.get(want.node) == want.name
    return (named and kernel.owns(want.node)) or attach.node_behind(want.name, kernel.lab.pins) == want.node


def create(kernel: Kernel, wants: Sequence[Netns]) -> None:
    """Make and pin the namespaces, `lo` up and marked."""
    kernel.lab.make_directory(NETNS)
    share_netns_directory()
    if any(want.etc for want in wants):
        kernel.lab.make_directory(ETC_NETNS)
    with kernel.namespaces.inside("net"):
        for want in wants:
            kernel.namespaces.names[want.node] = want.name
            unpin_stale(want.name)
            settings = LinkSettings(alias=kernel.mark(want.ref()), up=want.lo == "up")
            request = Request(want.node, set_link(_LOOPBACK, settings), want.ref())
            mark = functools.partial(kernel.netlink.send, [request])
            births.make_net(kernel.namespaces, want.node, mark, user=want.user)
            if want.etc:
                kernel.files.link_etc(want.name, dict(want.etc))


def update(kernel: Kernel, pairs: Sequence[tuple[Netns, Netns]]) -> None:
    """Set `lo` up or down and lay the links in /etc/netns anew."""
    for before, after in pairs:
        if before.lo != after.lo:
            settings = LinkSettings(up=after.lo == "up")
            kernel.netlink.send([Request(after.node, set_link(_LOOPBACK, settings), after.ref())])
        if before.etc != after.etc:
            if after.etc:
                kernel.lab.make_directory(ETC_NETNS)
                kernel.files.link_etc(after.name, dict(after.etc))
            else:
                kernel.files.unlink_etc(after.name)


def delete(kernel: Kernel, haves: Sequence[Netns]) -> None:
    """Unpin the namespaces; the kernel takes down what is in them, all in one go."""
    for have in haves:
        kernel.netlink.forget(have.node)
        unpin(f"{NETNS}/{have.name}")
        kernel.files.unlink_etc(have.name)
        if kernel.namespaces.names.get(have.node) == have.name:
            del kernel.namespaces.names[have.node]
