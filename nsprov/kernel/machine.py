"""One lab's hands on this host, as the kinds get them, and what they see with one look.

`Kernel` bundles the doors; `Snapshot` caches dumps between two changes, so that each namespace is read once.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from nsprov.kernel import attach, namespaces
from nsprov.kernel.cgroups import Cgroups
from nsprov.kernel.files import Files
from nsprov.kernel.lab import Lab
from nsprov.kernel.mounts import Mounts
from nsprov.kernel.namespaces import Namespaces
from nsprov.kernel.netlink import EVERYTHING, Dump, Interest, Netlink, Request
from nsprov.kernel.rtnl import LinkSettings, delete_group, delete_link, set_link
from nsprov.kernel.wgkeys import Keys
from nsprov.kernel.wireguard import Wireguard
from nsprov.plan.resource import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nsprov.kernel.rtnl import Link, Message
    from nsprov.plan.resource import Resource

T = TypeVar("T")
MARK = "nsprov:"
PEER = "~peer"


class Kernel:
    """The doors to this host's kernel for one lab."""

    def __init__(self, lab: str) -> None:
        """Open the doors; nothing is changed."""
        self.lab = Lab(lab)
        self.namespaces = Namespaces(self.lab.pins)
        self.netlink = Netlink(self.namespaces)
        self.files = Files(self.lab, self.namespaces)
        self.mounts = Mounts(self.namespaces, self.lab)
        self.cgroups = Cgroups(lab)
        self.wireguard = Wireguard(self.namespaces)
        self.keys = Keys(self.lab)
        self.seen = Snapshot(self)
        self.heed: Callable[[], None] = lambda: None
        """What waits long calls this again and again; it raises when nobody wants us to go on."""
        # One descriptor per namespace at least; the hard limit is as far as one may go without asking.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def mark(self, ref: Ref, *, peer: bool = False) -> str:
        """Give the alias that says whose a link is (ip-link(8), `alias`)."""
        return f"{MARK}{self.lab.name}/{ref}{PEER if peer else ''}"

    def marked(self, link: Link) -> tuple[Ref, bool] | None:
        """Read a link's mark: the ref and whether it is the peer end; `None` if it is not this lab's."""
        prefix = f"{MARK}{self.lab.name}/"
        if not link.alias.startswith(prefix):
            return None
        text = link.alias[len(prefix) :]
        return Ref.parse(text.partition(PEER)[0]), text.endswith(PEER)

    def pinned(self, kind: str) -> set[str]:
        """Give the nodes that have a pin of a type other than net, where no record says which should."""
        if not self.seen.thorough:
            return set()
        try:
            nodes = os.listdir(self.lab.pins)
        except FileNotFoundError:
            return set()
        return {node for node in nodes if os.path.lexists(f"{self.lab.pins}/{node}/{kind}")}

    def owns(self, node: str) -> bool:
        """Tell whether a node's whole network is this lab's; on the host, and where it is attached, only what is marked is."""
        return bool(node) and any(link.name == "lo" and self.marked(link) for link in self.seen.dump(node).links)

    def taken(self, wants: Iterable[tuple[Ref, str, str]]) -> dict[Ref, str]:
        """Say which of the wanted link names, `(ref, node, name)`, somebody else's link has."""
        found = {}
        for ref, node, name in wants:
            link = self.seen.links(node).get(name)
            if link is not None and self.marked(link) is None:
                where = f'in node "{node}"' if node else "on the host"
                found[ref] = f'A link "{name}" exists {where} and does not bear the mark of this lab.'
        return found

    def delete_links(self, kind: str, refs: Iterable[Ref], nodes: Iterable[str]) -> None:
        """Delete the links that bear the marks of `refs`, wherever in `nodes` they are, the host's first."""
        going = set(refs)
        done: set[Ref] = set()
        for node in sorted(nodes):
            marked = self.seen.marked_links([node], kind)
            ends = [(link.ifindex, ref) for _, link, ref, _ in marked if ref in going and ref not in done]
            if ends:
                self._delete_together(node, [index for index, _ in ends], ends[0][1])
                done.update(ref for _, ref in ends)

    def _delete_together(self, node: str, indexes: Sequence[int], ref: Ref) -> None:
        """Delete links of one node in one go: one by one, each would wait for a grace period of its own."""
        if len(indexes) == 1:
            self.netlink.send([Request(node, delete_link(indexes[0]), ref, absent_is_fine=True)])
            self.netlink.forget()
            return
        # A group of its own for this moment: 31 random bits, so that nobody else's links are in it.
        group = secrets.randbits(31) | 1
        settings = LinkSettings(group=group)
        self.netlink.send(Request(node, set_link(index, settings), ref, absent_is_fine=True) for index in indexes)
        self.netlink.send([Request(node, delete_group(group), ref, absent_is_fine=True)])
        self.netlink.forget()

    def rare_dump(
        self, node: str, message: Message, parse: Callable[[bytes], dict[str, Any] | None]
    ) -> Iterator[dict[str, Any]]:
        """Read what is seldom there, rules or neighbours, past the snapshot."""
        if self.seen.dump(node).links:
            for data in self.netlink.dump_raw(node, message):
                found = parse(data)
                if found is not None:
                    yield found

    def discover(self) -> dict[str, str]:
        """Find this lab's network namespaces by their marks and links alone: node -> name below /run/netns."""
        found: dict[str, str] = {}
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(namespaces.NETNS)):
                # Where a link leads is what tells whose it is: the network behind it may be anybody's.
                is_link = os.path.islink(f"{namespaces.NETNS}/{name}")
                node = attach.node_behind(name, self.lab.pins) if is_link else self._marked_netns(name)
                if node is not None:
                    found[node] = name
        return found

    def _marked_netns(self, name: str) -> str | None:
        probe = f"?{name}"
        self.namespaces.names[probe] = name
        try:
            with self.namespaces.inside("net"):
                links = self.netlink.look(probe, Interest()).links
        except FileNotFoundError:
            return None
        finally:
            self.netlink.forget(probe)
            del self.namespaces.names[probe]
        marks = [self.marked(link) for link in links if link.name == "lo"]
        return marks[0][0].name if marks and marks[0] else None


class Snapshot:
    """What was seen of the namespaces since the last change; the doors forget it when they act."""

    def __init__(self, kernel: Kernel) -> None:
        """Start with nothing seen."""
        self._kernel = kernel
        self._dumps: dict[str, Dump] = {}
        self._interests: dict[str, Interest] = {}
        self._once: dict[str, Any] = {}
        self.thorough = True
        """Whether to look for all that bears the lab's mark, and not only for what is known."""

    def focus(self, known: Iterable[Resource]) -> None:
        """Read of each node only what these resources are about; without a focus, everything."""
        self.thorough = False
        watched: dict[str, tuple[set[str], set[int], set[int]]] = {}
        for one in known:
            for node, what, value in one.watches():
                links, addresses, routes = watched.setdefault(node, ({"lo"}, set(), set()))
                if what == "link":
                    links.add(str(value))
                else:
                    (addresses if what == "address" else routes).add(int(value))
        self._interests = {
            node: Interest(frozenset(links), frozenset(addresses), frozenset(routes))
            for node, (links, addresses, routes) in watched.items()
            if node
        }

    def clear(self) -> None:
        """Forget everything: the next look goes to the kernel."""
        self._dumps.clear()
        self._once.clear()
        self._kernel.netlink.forget()

    def once(self, what: str, ask: Callable[[], T]) -> T:
        """Ask something once between two changes."""
        if what not in self._once:
            self._once[what] = ask()
        found: T = self._once[what]
        return found

    def dump(self, node: str) -> Dump:
        """Give a node's links, addresses and routes; an empty dump if its namespace is not there."""
        if node not in self._dumps:
            self._dumps[node] = self._look(node)
        return self._dumps[node]

    def links(self, node: str) -> dict[str, Link]:
        """Give a node's links by name."""
        return {link.name: link for link in self.dump(node).links}

    def widen(self, node: str) -> None:
        """Read all links of a node from now on, and not only those that are in focus."""
        interest = self._interests.get(node)
        if interest is not None and interest.links is not None:
            self._interests[node] = replace(interest, links=None)
            self._dumps.pop(node, None)

    def master(self, node: str, link: Link) -> str:
        """Name the bridge whose port a link is; nothing if it is none's."""
        if not link.master:
            return ""
        return next((other.name for other in self.dump(node).links if other.ifindex == link.master), "?")

    def marked_links(self, nodes: list[str], kind: str) -> Iterator[tuple[str, Link, Ref, bool]]:
        """Give the links of a kind that bear this lab's mark: node, link, ref, whether it is the peer end."""
        for node in nodes:
            for link in self.dump(node).links:
                mark = self._kernel.marked(link)
                if mark and mark[0].kind == kind:
                    yield node, link, *mark

    def _look(self, node: str) -> Dump:
        interest = self._interests.get(node, EVERYTHING if node else _HOST)
        try:
            return self._kernel.netlink.look(node, interest)
        except FileNotFoundError:
            return Dump()


# On the host itself only links are ours, and addresses on them; its routes may be a whole Internet.
_HOST = Interest(None, frozenset({4, 6}))
