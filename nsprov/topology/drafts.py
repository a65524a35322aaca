"""Nodes and bridges half-way: every value read and canonical, the links and routes still to come."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from nsprov.topology.addresses import Cidr, parse_assigned, parse_mac
from nsprov.topology.model import Bridge, Interface
from nsprov.topology.names import MAX_INTERFACE
from nsprov.topology.positions import Flaw, Path, Problems, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.topology import spec as language

LOOPBACK = "lo"
_INTERFACE = re.compile(r"[^\s/:%\x00-\x1f\x7f]{1,15}")
_RESERVED = frozenset({".", "..", "all", "default"})
"""`all` and `default` are directories of net.ipv4.conf: no interface of that name could be configured."""

MIN_MTU, MIN_MTU_6, MAX_MTU = 68, 1280, 65535


class Assigned(NamedTuple):
    """An address, who has it, and where that is written."""

    cidr: Cidr
    node: str
    dev: str
    path: Path


@dataclass(slots=True)
class Draft:
    """A node in the making: its shape as written, its interfaces and bridges so far, and their addresses."""

    name: str
    spec: language.NodeSpec
    interfaces: dict[str, Interface] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    assigned: list[Assigned] = field(default_factory=list)


class Reader:
    """Reads values, notes what is wrong with them, and goes on."""

    def __init__(self, problems: Problems, defaults: language.DefaultsSpec | None) -> None:
        """Store where to note problems, and what is laid under interfaces and bridges."""
        self.problems = problems
        self.interface_defaults = defaults.interface if defaults else None
        self.bridge_defaults = defaults.bridge if defaults else None

    def draft(self, name: str, spec: language.NodeSpec) -> Draft:
        """Read a node's interfaces and the bridges inside it."""
        draft = Draft(name, spec)
        for ifname, given in (spec.interfaces or {}).items():
            self._interface(draft, ifname, given)
        for bridge_name, inner in (spec.bridges or {}).items():
            path: Path = ("nodes", name, "bridges", bridge_name)
            draft.bridges[bridge_name] = self.bridge(bridge_name, inner, path, (name, draft.assigned))
            self._ports(draft, bridge_name, path)
            if bridge_name in draft.interfaces:
                self.problems.add(path, f"{shown(bridge_name)} is an interface of the node too", "rename one", key=True)
        return draft

    def _interface(self, draft: Draft, name: str, given: language.InterfaceSpec | None) -> None:
        path: Path = ("nodes", draft.name, "interfaces", name)
        self.name(name, path)
        default = self.interface_defaults
        if given is None:
            draft.interfaces[name] = Interface(name=name)
            return
        if name == LOOPBACK and given.model_fields_set - {"address", "addresses"}:
            word = min(given.model_fields_set - {"address", "addresses"})
            self.problems.add(
                (*path, word), f'"lo" cannot have {shown(word)}', 'remove it; "lo" takes addresses only', key=True
            )
        cidrs = self.addresses(given.address, given.addresses, path, (draft.name, name, draft.assigned))
        nodad = given.nodad if given.nodad is not None or default is None else default.nodad
        draft.interfaces[name] = Interface(
            name=name,
            bridge=given.bridge or (default.bridge if default and name != LOOPBACK else None),
            addresses=tuple([cidr.text for cidr in cidrs]),
            mac=self.mac(given.mac, (*path, "mac")) if given.mac is not None else None,
            mtu=self.mtu(given.mtu, (*path, "mtu")) if given.mtu is not None else None,
            nodad=nodad is not False,
        )

    def _ports(self, draft: Draft, bridge_name: str, path: Path) -> None:
        for other, bridge in draft.bridges.items():
            for place, port in enumerate(draft.bridges[bridge_name].ports):
                if other != bridge_name and port in bridge.ports:
                    self.problems.add(
                        (*path, "ports", place), f"{shown(port)} is a port of {shown(other)} already", "remove it from one"
                    )

    def bridge(
        self,
        name: str,
        given: language.BridgeSpec | language.InnerBridgeSpec | None,
        path: Path,
        owner: tuple[str, list[Assigned]],
    ) -> Bridge:
        """Read a bridge; `owner` is its node (none for the host) and the list that takes its addresses."""
        self.name(name, path)
        default = self.bridge_defaults
        stp, mtu = (default.stp, default.mtu) if default else (None, None)
        if given is None:
            return Bridge(name=name, stp=stp is True, mtu=mtu)
        cidrs = self.addresses(given.address, given.addresses, path, (owner[0], name, owner[1]))
        return Bridge(
            name=name,
            addresses=tuple([cidr.text for cidr in cidrs]),
            stp=(stp if given.stp is None else given.stp) is True,
            mac=self.mac(given.mac, (*path, "mac")),
            mtu=self.mtu(mtu if given.mtu is None else given.mtu, (*path, "mtu")),
            ports=tuple(getattr(given, "ports", None) or ()),
        )

    def addresses(
        self, one: Sequence[str] | None, many: Sequence[str] | None, path: Path, owner: tuple[str, str, list[Assigned]]
    ) -> list[Cidr]:
        """Read the addresses of a device, in either spelling."""
        if one and many:
            self.problems.add((*path, "addresses"), '"address" and "addresses" are both given', "use one of them", key=True)
        node, dev, assigned = owner
        found = []
        for place, text in enumerate(one or many or ()):
            where = (*path, "addresses", place)
            cidr = self.address(text, where, loopback=dev == LOOPBACK)
            if cidr is not None:
                found.append(cidr)
                assigned.append(Assigned(cidr, node, dev, where))
        return found

    def address(self, text: str, path: Path, *, loopback: bool = False) -> Cidr | None:
        """Read one address with its prefix length."""
        try:
            return parse_assigned(text, loopback=loopback)
        except Flaw as flaw:
            self.problems.flaw(path, flaw)
            return None

    def mac(self, text: str | None, path: Path) -> str | None:
        """Read a MAC address."""
        try:
            return None if text is None else parse_mac(text)
        except Flaw as flaw:
            self.problems.flaw(path, flaw)
            return None

    def mtu(self, value: int | None, path: Path) -> int | None:
        """Read an MTU."""
        if value is not None and not MIN_MTU <= value <= MAX_MTU:
            self.problems.add(path, f"an MTU of {shown(value)} is impossible", f"use one from {MIN_MTU} to {MAX_MTU}")
            return None
        return value

    def name(self, name: str, path: Path) -> None:
        """Check the name of a device."""
        if _INTERFACE.fullmatch(name) and name not in _RESERVED:
            return
        if len(name) > MAX_INTERFACE:
            self.problems.add(
                path, f"{shown(name)} is longer than 15 characters", "shorten it", "The kernel's limit is IFNAMSIZ.", key=True
            )
        elif name in _RESERVED:
            self.problems.add(path, f"a device cannot be named {shown(name)}", "choose another name", key=True)
        else:
            self.problems.add(
                path, f"{shown(name)} is not a device name", "use letters, digits, dots, dashes and underscores", key=True
            )
