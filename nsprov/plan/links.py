"""A link with one end, in a node or on the host, that may be a port of a bridge there: what follows from that alone."""

from __future__ import annotations

from typing import Any

from nsprov.plan.resource import Ref, Resource, place


class SingleLink(Resource):
    """The base of such kinds; `node`, `ifname`, `mac` and `master` are fields of each."""

    node: str
    ifname: str
    mac: str | None
    master: str | None

    def ref(self) -> Ref:
        """Name it after its place and name."""
        return Ref(self.kind, f"{place(self.node)}/{self.ifname}")

    def provides(self) -> tuple[str, ...]:
        """Addresses and routes need the link, workloads the whole network of their node."""
        return f"link:{place(self.node)}/{self.ifname}", f"network:{place(self.node)}"

    def needs(self) -> tuple[str, ...]:
        """The bridge whose port it is."""
        return (f"link:{place(self.node)}/{self.master}",) if self.master else ()

    def loses(self, after: Any) -> tuple[str, ...]:
        """With another MAC the kernel drops all neighbour entries (neigh_changeaddr())."""
        return (f"mac:{place(self.node)}/{self.ifname}",) if after.mac not in (None, self.mac) else ()

    def stands_on(self) -> tuple[str, ...]:
        """The network namespace of its node."""
        return (f"netns:{self.node}",) if self.node else ()

    def dies_with(self) -> tuple[str, ...]:
        """Nothing: a namespace is taken down some time later, and until then nobody could have the link's number."""
        return ()

    def watches(self) -> tuple[tuple[str, str, str | int], ...]:
        """Its link."""
        return ((self.node, "link", self.ifname),)
