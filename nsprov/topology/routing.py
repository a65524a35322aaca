"""A node's routes, read against the subnets that the node is connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.topology.addresses import POINT_TO_POINT, V4, Cidr, is_link_local, parse_ip, parse_network, text_of
from nsprov.topology.model import Route
from nsprov.topology.policy import MAX_U32, in_range, known_device
from nsprov.topology.positions import Flaw, Path, Problems, shown

if TYPE_CHECKING:
    from nsprov.topology import spec as language
    from nsprov.topology.drafts import Draft

MAX_WEIGHT = 256
_DEFAULTS = {"default": 4, "default4": 4, "default6": 6}


class Router:
    """Reads what one node says about where packets go."""

    def __init__(self, draft: Draft, problems: Problems) -> None:
        """Store the node so far, all its interfaces present, and where to note problems."""
        self.draft = draft
        self.problems = problems
        self.path: Path = ("nodes", draft.name)

    def routes(self) -> tuple[Route, ...]:
        """Read the routes."""
        found: dict[tuple[str, int, int], Route] = {}
        for place, given in enumerate(self.draft.spec.routes or ()):
            path = (*self.path, "routes", place)
            try:
                route = self._route(given, path)
            except Flaw as flaw:
                self.problems.flaw(path, flaw)
                continue
            key = (route.to, route.table, route.metric)
            if key in found:
                self.problems.add(path, f"a second route to {shown(given.to)}", 'give it another "metric" or "table"')
            found[key] = route
        return tuple(found.values())

    def _route(self, given: language.RouteSpec, path: Path) -> Route:
        family = self._family(given)
        to = self._to(given.to, family, path)
        kind = self._kind(given, path)
        dev = known_device(self.draft, self.problems, given.dev, (*path, "dev"))
        via, found = self._via(given.via, given.dev, to.family, (*path, "via"))
        hops = tuple(self._hop(hop, to.family, (*path, "nexthops", place)) for place, hop in enumerate(given.nexthops or ()))
        if kind == "unicast" and not (given.via or given.dev or hops or self.problems.touched(path)):
            self.problems.add(path, f"the route to {shown(given.to)} leads nowhere", 'add "via", "dev" or "blackhole: true"')
        if hops and (given.via or given.dev):
            self.problems.add((*path, "nexthops"), '"nexthops" and "via" are both given', "use one of them", key=True)
        in_range(self.problems, given.table, 1, MAX_U32, (*path, "table"))
        in_range(self.problems, given.metric, 0, MAX_U32, (*path, "metric"))
        src = self._source(given.src, to.family, (*path, "src"))
        return Route(
            to=to.text, via=via, dev=dev or found, table=given.table, metric=given.metric, type=kind, nexthops=hops, src=src
        )

    def _family(self, given: language.RouteSpec) -> int:
        """Tell which family the word `default` means: that of the first address beside it."""
        if given.to != "default":
            return _DEFAULTS.get(given.to, 0)
        if given.via is not None:
            return 6 if ":" in given.via else 4
        first = next((text for text in (*(hop.via for hop in given.nexthops or ()), given.src) if text), None)
        return 6 if first is not None and ":" in first else 4

    def _to(self, text: str, family: int, path: Path) -> Cidr:
        try:
            return Cidr(family, 0, 0) if text in _DEFAULTS else parse_network(text)
        except Flaw as flaw:
            self.problems.flaw((*path, "to"), flaw)
            return Cidr(6 if ":" in text else 4, 0, 0)

    def _kind(self, given: language.RouteSpec, path: Path) -> str:
        words = [word for word in ("blackhole", "unreachable", "prohibit") if getattr(given, word)]
        if given.type != "unicast" and given.type not in words:
            words.append(given.type)
        if len(words) > 1:
            self.problems.add(path, f"the route is both {words[0]} and {words[1]}", "keep one of them")
        if words and (given.via or given.nexthops):
            self.problems.add((*path, "via"), f"a {words[0]} route has no gateway", 'remove "via"', key=True)
        return words[0] if words else "unicast"

    def _via(self, text: str | None, dev: str | None, family: int, path: Path) -> tuple[str | None, str | None]:
        """Read a gateway and find the interface behind which it is."""
        if text is None:
            return None, None
        try:
            version, value = parse_ip(text)
            found = self._connected(version, value, family)
            if found is None and dev is None and not self.problems.doubtful(self.draft.name):
                self.problems.flaw(path, self._unreached(text, version, value))
        except Flaw as flaw:
            self.problems.flaw(path, flaw)
            return None, None
        return text_of(version, value), found

    def _unreached(self, text: str, family: int, value: int) -> Flaw:
        if is_link_local(family, value):
            return Flaw(f"gateway {shown(text)} is link-local", 'add "dev"')
        mine = [item.cidr for item in self.draft.assigned if item.cidr.family == family]
        subnets = ", ".join(sorted({cidr._replace(value=cidr.network).text for cidr in mine})) or "none"
        detail = f'Node "{self.draft.name}" is connected to: {subnets}.'
        return Flaw(
            f"gateway {shown(text)} is outside every subnet", 'use an address of a connected subnet, or add "dev"', detail
        )

    def _connected(self, family: int, value: int, wanted: int) -> str | None:
        if family != wanted:
            raise Flaw(f"gateway {shown(text_of(family, value))} is of another family", f"use an IPv{wanted} address")
        for item in self.draft.assigned:
            if not item.cidr.holds(family, value) or item.dev == "lo":
                continue
            if item.cidr.value == value:
                raise Flaw(f"gateway {shown(text_of(family, value))} is the node itself", "use the address of a neighbour")
            if family == V4 and item.cidr.length < POINT_TO_POINT and value in (item.cidr.network, item.cidr.last):
                raise Flaw(f"gateway {shown(text_of(family, value))} is no host address", "use the address of a neighbour")
            if not is_link_local(family, value):
                return item.dev
        return None

    def _hop(self, hop: language.NexthopSpec, family: int, path: Path) -> tuple[str | None, str | None, int]:
        if hop.via is None and hop.dev is None:
            self.problems.add(path, "a nexthop leads nowhere", 'add "via" or "dev"')
        in_range(self.problems, hop.weight, 1, MAX_WEIGHT, (*path, "weight"))
        dev = known_device(self.draft, self.problems, hop.dev, (*path, "dev"))
        via, found = self._via(hop.via, hop.dev, family, (*path, "via"))
        return via, dev or found, hop.weight

    def _source(self, text: str | None, family: int, path: Path) -> str | None:
        if text is None:
            return None
        try:
            version, value = parse_ip(text)
        except Flaw as flaw:
            self.problems.flaw(path, flaw)
            return None
        if version != family:
            self.problems.add(path, f"source {shown(text)} is of another family", f"use an IPv{family} address")
        elif not any(item.cidr[:2] == (version, value) for item in self.draft.assigned):
            self.problems.add(path, f"source {shown(text)} is no address of the node", "use one of its own addresses")
        return text_of(version, value)
