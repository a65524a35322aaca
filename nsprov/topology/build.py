"""Build the topology: from the shapes that were written to canonical values, everything joined."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.topology import spec as language
from nsprov.topology.check import check
from nsprov.topology.contents import Contents
from nsprov.topology.drafts import LOOPBACK, Assigned, Draft, Reader
from nsprov.topology.expand import expand
from nsprov.topology.hosting import check_hosts, users_of_bridges
from nsprov.topology.linking import Linker
from nsprov.topology.model import HOST_NODE, LOCALHOST, Bridge, Link, Node, Topology
from nsprov.topology.namespaces import has_more, read_namespaces
from nsprov.topology.policy import Policy
from nsprov.topology.positions import Path, Problems, closest, shown
from nsprov.topology.routing import Router
from nsprov.topology.sites import Sites
from nsprov.topology.tunneling import of_bridge, read_underlay
from nsprov.topology.wording import validate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.topology.expand import Expanded
    from nsprov.topology.positions import Source

_LAB = re.compile(r"[a-z][a-z0-9-]{0,31}")
_PREFIX = re.compile(r"[a-zA-Z0-9_.-]*")
_NODE = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]{0,30}")
MAX_NETNS = 200


def build(source: Source, variables: Mapping[str, Any]) -> Topology:
    """Expand, validate and build what a file says.

    Raises:
        InputError: everything that is wrong with it.

    """
    problems = Problems(source)
    expanded = expand(problems, variables)
    spec = validate(expanded.raw, problems)
    builder = _Builder(problems, spec, expanded)
    topology = builder.topology()
    problems.settle()
    return topology


class _Builder:
    """Holds what the steps of building share."""

    def __init__(self, problems: Problems, spec: language.TopologySpec, expanded: Expanded) -> None:
        """Store the shapes."""
        self.problems = problems
        self.spec = spec
        self.expanded = expanded
        self.reader = Reader(problems, spec.defaults)
        self.assigned: list[Assigned] = []
        self.sites = Sites(spec, problems)

    def topology(self) -> Topology:
        """Build everything, and check how it fits together."""
        lab = self._lab()
        prefix = self._prefix(lab)
        empty = language.NodeSpec()
        drafts = {name: self.reader.draft(name, spec or empty) for name, spec in (self.spec.nodes or {}).items()}
        self._names(drafts, prefix)
        linker = Linker(self.reader, drafts, self.spec)
        links = linker.links()
        self._sources(drafts, links)
        nodes = {name: self._node(draft, lab) for name, draft in drafts.items()}
        more = {name: draft for name, draft in drafts.items() if has_more(draft.spec, nodes[name].namespaces)}
        if more:
            nodes = self._joined(nodes, more)
        bridges = self._bridges(nodes)
        topology = Topology(
            name=lab,
            prefix=prefix,
            path=self.problems.source.path,
            nodes=nodes,
            bridges=bridges,
            links=links,
            placement=self.sites.placement,
            underlay=read_underlay(self.spec.tunnels, self.reader),
            written=self.sites.written(nodes, bridges, linker.places),
        )
        assigned = [item for draft in drafts.values() for item in draft.assigned]
        check(topology, [*self.assigned, *linker.host_assigned, *assigned], linker.places, self.problems)
        check_hosts(topology, linker.places, self.problems, only=LOCALHOST)
        return topology

    def _lab(self) -> str:
        name = self.spec.name
        if name is None:
            name = os.path.basename(self.problems.source.path).partition(".")[0]
            if not _LAB.fullmatch(name):
                slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:32] or "lab"
                self.problems.add((), f"the file's name {shown(name)} cannot name the lab", f'add "name: {slug}"')
        elif not _LAB.fullmatch(name):
            hint = "use a lower-case letter, then at most 31 lower-case letters, digits and dashes"
            self.problems.add(("name",), f"{shown(name)} cannot name a lab", hint)
        return name

    def _prefix(self, lab: str) -> str:
        prefix = f"{lab}-" if self.spec.prefix is None else self.spec.prefix
        if self.spec.prefix is not None and not _PREFIX.fullmatch(prefix):
            self.problems.add(("prefix",), f"{shown(prefix)} cannot be a prefix", "use letters, digits, dots and dashes")
        return prefix

    def _names(self, drafts: Mapping[str, Draft], prefix: str) -> None:
        for name in drafts:
            if name == HOST_NODE:
                hint = "choose another name"
                detail = "In a link it means the host itself."
                self.problems.add(("nodes", name), 'the node name "host" is reserved', hint, detail, key=True)
            elif not _NODE.fullmatch(name):
                hint = "use a letter, then at most 30 letters, digits, dots, dashes and underscores"
                self.problems.add(("nodes", name), f"{shown(name)} cannot name a node", hint, key=True)
            elif len(prefix) + len(name) > MAX_NETNS:
                self.problems.add(("prefix",), f"the prefix makes names longer than {MAX_NETNS}", "shorten it")

    def _sources(self, drafts: Mapping[str, Draft], links: tuple[Link, ...]) -> None:
        """Check that every interface leads somewhere: to a bridge that exists, or to a link."""
        linked = {(end.node, end.interface) for link in links for end in link.endpoints}
        for draft in drafts.values():
            for name, interface in draft.interfaces.items():
                path: Path = ("nodes", draft.name, "interfaces", name)
                if interface.bridge is not None:
                    if interface.bridge not in (self.spec.bridges or {}):
                        hint = closest(interface.bridge, self.spec.bridges or {}) or 'write it under "bridges"'
                        self.problems.add((*path, "bridge"), f"there is no bridge {shown(interface.bridge)}", hint)
                elif name != LOOPBACK and (draft.name, name) not in linked and not self.problems.doubtful(draft.name):
                    hint = 'give it a "bridge", or name it under "links"'
                    self.problems.add(path, f"interface {shown(name)} leads nowhere", hint, key=True)
            self._ports(draft)

    def _ports(self, draft: Draft) -> None:
        for name, bridge in draft.bridges.items():
            for place, port in enumerate(bridge.ports):
                if port not in draft.interfaces or port == LOOPBACK:
                    path: Path = ("nodes", draft.name, "bridges", name, "ports", place)
                    hint = closest(port, draft.interfaces) or 'write it under "interfaces" or "links"'
                    self.problems.add(path, f"the node has no interface {shown(port)}", hint)

    def _node(self, draft: Draft, lab: str) -> Node:
        contents = Contents(draft.name, draft.spec, self.problems)
        spec = draft.spec
        site = self.sites.node(spec, contents.path)
        namespaces = read_namespaces(spec, contents.path, self.problems)
        node = Node(
            name=draft.name,
            **site,
            namespaces=namespaces,
            hostname=contents.hostname(),
            interfaces=draft.interfaces,
            bridges={name: replace(bridge, host=site["host"]) for name, bridge in draft.bridges.items()}
            if draft.bridges
            else {},
            routes=Router(draft, self.problems).routes() if spec.routes else (),
            rules=Policy(draft, self.problems).rules() if spec.rules else (),
            neighbours=Policy(draft, self.problems).neighbours() if spec.neighbours else (),
            sysctls=contents.sysctls() if spec.sysctls else {},
            dns=contents.dns() if spec.dns else None,
            hosts=contents.hosts() if spec.hosts else {},
            **(self._more(draft, namespaces, site["host"]) if has_more(spec, namespaces) else {}),
        )
        if not spec.files:
            return node
        variables = {**self.expanded.contexts.get(draft.name, {}), "lab": lab}
        self.sites.keep(node, spec, variables)
        return replace(node, files=contents.files({**variables, "node": node}))

    def _more(self, draft: Draft, namespaces: frozenset[str], host: str) -> dict[str, Any]:
        # Start-up time: most topologies have nothing of what it reads.
        from nsprov.topology.isolation import Isolation  # noqa: PLC0415

        return Isolation(draft.name, draft.spec, self.problems).read(namespaces, host)

    def _joined(self, nodes: Mapping[str, Node], more: Mapping[str, Draft]) -> dict[str, Node]:
        from nsprov.topology.dependencies import Dependencies  # noqa: PLC0415 - start-up time, as above

        wanted = {name: draft.spec.workloads for name, draft in more.items() if draft.spec.workloads}
        return Dependencies(nodes, wanted, self.problems).settled()

    def _bridges(self, nodes: Mapping[str, Node]) -> dict[str, Bridge]:
        """Read the bridges of the host, and put each where it says, or where the first node on it is."""
        users = users_of_bridges(nodes.values())
        result = {}
        for name, given in (self.spec.bridges or {}).items():
            path: Path = ("bridges", name)
            bridge = self.reader.bridge(name, given, path, ("", self.assigned))
            host = next(iter(users.get(name, ())), self.sites.placement.hosts)
            host = self.sites.pattern(given.host if given else None, (*path, "host"), host)
            result[name] = replace(bridge, host=host, tunnel=of_bridge(name, given, self.spec.defaults, self.problems))
        return result
