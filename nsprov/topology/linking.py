"""Links: their endpoints, the interfaces they make in the nodes, and the addresses that nobody wrote down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.topology.drafts import LOOPBACK, Assigned, Draft, Reader
from nsprov.topology.model import HOST_NODE, VXLAN, Endpoint, Interface, Link
from nsprov.topology.pool import allocate, read_pool
from nsprov.topology.positions import Path, Problems, closest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.topology import spec as language
    from nsprov.topology.addresses import Cidr

NONE = "none"
_PAIR = 2


class Linker:
    """Joins the links with the nodes' interfaces, so that each value ends up in one place."""

    def __init__(self, reader: Reader, drafts: Mapping[str, Draft], spec: language.TopologySpec) -> None:
        """Store the nodes so far, and what the file says about links."""
        self.reader = reader
        self.problems: Problems = reader.problems
        self.drafts = drafts
        self.spec = spec
        self.host_assigned: list[Assigned] = []
        self.places: list[int] = []
        self._used: dict[str, Path] = {}
        self._default = spec.defaults.link if spec.defaults else None
        self._interface_default = reader.interface_defaults

    def links(self) -> tuple[Link, ...]:
        """Read every link, put its ends into the nodes, and allocate what was not given."""
        found: list[tuple[Link, int, bool]] = []
        for place, given in enumerate(self.spec.links or ()):
            endpoints = self._endpoints(given, ("links", place, "endpoints"))
            if endpoints is not None:
                found.append((self._join(endpoints, given, ("links", place)), place, given.addresses == NONE))
        self.places = [place for _, place, _ in found]
        bare = {place: link for link, place, none in found if not none and not any(link.addresses) and self._wants(link)}
        bases = self._allocate(bare) if bare else {}
        return tuple(self._addressed(link, bases[place], place) if place in bases else link for link, place, _ in found)

    def _endpoints(self, given: language.LinkSpec, path: Path) -> tuple[Endpoint, Endpoint] | None:
        if len(given.endpoints) != _PAIR:
            self.problems.add(path, f"a link has two ends, not {len(given.endpoints)}", 'write "[ns1:eth1, ns2:eth1]"')
            return None
        ends = [self._endpoint(text, (*path, place)) for place, text in enumerate(given.endpoints)]
        if ends[0] is None or ends[1] is None:
            return None
        if ends[0].node == ends[1].node == HOST_NODE:
            self.problems.add(path, "both ends of the link are on the host", "join the host with a node, or two nodes")
            return None
        return ends[0], ends[1]

    def _endpoint(self, text: str, path: Path) -> Endpoint | None:
        node, colon, interface = text.partition(":")
        if not colon or not node or not interface:
            self.problems.add(path, f"{shown(text)} is not an endpoint", f'write "{node or "ns1"}:{interface or "eth1"}"')
            return None
        if node != HOST_NODE and node not in self.drafts:
            self.problems.add(path, f"there is no node {shown(node)}", self._near(node, interface))
            return None
        self.reader.name(interface, path)
        if interface == LOOPBACK:
            self.problems.add(path, '"lo" cannot be the end of a link', "use another interface")
            return None
        if text in self._used:
            detail = f"Line {self.problems.line(self._used[text])} uses it already."
            self.problems.add(path, f"endpoint {shown(text)} is used twice", "use another interface", detail)
            return None
        self._used[text] = path
        return Endpoint(node=node, interface=interface)

    def _near(self, node: str, interface: str) -> str:
        near = closest(node, self.drafts)
        return near.replace('"', "").replace("use ", 'use "') + f':{interface}"' if near else 'write it under "nodes"'

    def _join(self, endpoints: tuple[Endpoint, Endpoint], given: language.LinkSpec, path: Path) -> Link:
        mtu = given.mtu if given.mtu is not None or self._default is None else self._default.mtu
        if mtu is None and self._interface_default is not None:
            mtu = self._interface_default.mtu
        mtu = self.reader.mtu(mtu, (*path, "mtu"))
        texts = _texts(given.addresses, (*path, "addresses"), self.problems)
        macs = [*(given.macs or ()), None, None][:_PAIR]
        ends = []
        for side, endpoint in enumerate(endpoints):
            assigned: list[Assigned] = []
            owner = (endpoint.node, endpoint.interface, assigned)
            cidrs = self._side(texts[side], (*path, "addresses", side), owner)
            mac = self.reader.mac(macs[side], (*path, "macs", side))
            made = Interface(name=endpoint.interface, addresses=tuple(cidr.text for cidr in cidrs), mac=mac, mtu=mtu)
            ends.append(self._placed(endpoint, made, assigned))
        left, right = ends
        return Link(
            endpoints=endpoints,
            addresses=(left.addresses, right.addresses),
            macs=(left.mac, right.mac),
            mtu=mtu,
            tunnel=given.tunnel or (self._default.tunnel if self._default else None) or VXLAN,
        )

    def _side(self, texts: Sequence[str], path: Path, owner: tuple[str, str, list[Assigned]]) -> list[Cidr]:
        node, dev, assigned = owner
        found = []
        for place, text in enumerate(texts):
            cidr = self.reader.address(text, (*path, place))
            if cidr is not None:
                found.append(cidr)
                assigned.append(Assigned(cidr, node, dev, (*path, place)))
        return found

    def _placed(self, endpoint: Endpoint, made: Interface, assigned: list[Assigned]) -> Interface:
        """Put an end into its node, where what the node says of the interface wins."""
        if endpoint.node == HOST_NODE:
            self.host_assigned += assigned
            return made
        draft = self.drafts[endpoint.node]
        path: Path = ("nodes", endpoint.node, "interfaces", endpoint.interface)
        own = draft.interfaces.get(endpoint.interface)
        if own is not None:
            made = self._joined(own, made, draft, path)
        elif self._interface_default is not None and self._interface_default.nodad is False:
            made = replace(made, nodad=False)
        draft.interfaces[endpoint.interface] = made
        draft.assigned += assigned
        return made

    def _joined(self, own: Interface, made: Interface, draft: Draft, path: Path) -> Interface:
        given = (draft.spec.interfaces or {}).get(own.name)
        if given is not None and given.bridge is not None:
            hint = 'remove "bridge", or the link'
            self.problems.add((*path, "bridge"), f"{shown(own.name)} is on a bridge and the end of a link", hint)
        for word in ("addresses", "mac"):
            if getattr(own, word) and getattr(made, word):
                hint = "remove it from one of them"
                self.problems.add((*path, word), f"the link gives {shown(own.name)} {word} too", hint, key=True)
        return replace(
            own, bridge=None, addresses=own.addresses or made.addresses, mac=own.mac or made.mac, mtu=own.mtu or made.mtu
        )

    def _wants(self, link: Link) -> bool:
        """Tell whether a link without addresses needs some: a port of a bridge does not, nor does half an address."""
        for end in link.endpoints:
            draft = self.drafts.get(end.node)
            if draft and any(end.interface in bridge.ports for bridge in draft.bridges.values()):
                return False
            given = (draft.spec.interfaces or {}).get(end.interface) if draft else None
            if given is not None and (given.address or given.addresses):
                return False
        return True

    def _allocate(self, bare: Mapping[int, Link]) -> dict[int, Cidr]:
        pool = read_pool(self.spec.pools.links if self.spec.pools else None, self.problems)
        everyone = [item.cidr for draft in self.drafts.values() for item in draft.assigned]
        return allocate(bare, pool, [*everyone, *(item.cidr for item in self.host_assigned)], self.problems)

    def _addressed(self, link: Link, base: Cidr, place: int) -> Link:
        """Give the end that sorts first the even address, whichever way round the link is written."""
        flipped = str(link.endpoints[0]) > str(link.endpoints[1])
        texts = []
        for side, end in enumerate(link.endpoints):
            cidr = base._replace(value=base.value + (side ^ flipped))
            texts.append((cidr.text,))
            draft = self.drafts.get(end.node)
            assigned = draft.assigned if draft else self.host_assigned
            assigned.append(Assigned(cidr, end.node, end.interface, ("links", place)))
            if draft:
                draft.interfaces[end.interface] = replace(draft.interfaces[end.interface], addresses=(cidr.text,))
        return replace(link, addresses=(texts[0], texts[1]))


def _texts(given: Any, path: Path, problems: Problems) -> list[list[str]]:
    """Read the addresses of both ends: `none`, or a list with a string, a list or nothing per end."""
    if given is None or given == NONE:
        return [[], []]
    if not isinstance(given, list) or len(given) > _PAIR:
        problems.add(path, "a link has addresses for two ends", 'write "[10.0.0.0/31, 10.0.0.1/31]", or "none"')
        return [[], []]
    sides = [[side] if isinstance(side, str) else side or [] for side in given]
    for place, side in enumerate(sides):
        if not isinstance(side, list) or not all(isinstance(text, str) for text in side):
            problems.add((*path, place), '"addresses" must be a string or a list', "write one address per item")
            sides[place] = []
    return [*sides, [], []][:_PAIR]
