"""What a topology says once it is expanded: ranges, groups, defaults and Jinja are gone, every value is canonical.

Plain frozen values, so that whoever only reads a topology does not pay for the machinery that validates it.
Addresses are canonical strings (`192.168.10.11/24`, `2001:db8::1/64`), `None` means "not managed".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.topology.node_model import Limits, Mount, Rootfs, TimeOffsets, UserMap, Workload
    from nsprov.topology.written import Written

__all__ = [
    "Bridge",
    "Dns",
    "Endpoint",
    "File",
    "Interface",
    "Limits",
    "Link",
    "Mount",
    "Neighbour",
    "Node",
    "Placement",
    "Rootfs",
    "Route",
    "Rule",
    "TimeOffsets",
    "Topology",
    "Underlay",
    "UserMap",
    "Workload",
]

HOST_NODE = "host"
"""The name in a link's endpoint that means the host itself."""

LOCALHOST = "localhost"

VXLAN, GRE, WIREGUARD = "vxlan", "gre", "wireguard"
"""The types of tunnels between hosts; the last is VXLAN through an encrypted network."""

NAMESPACE_TYPES = ("net", "mnt", "uts", "ipc", "pid", "user", "cgroup", "time")


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """An interface in a node: a veth to a bridge of the host (`bridge`), one end of a link, or `lo`."""

    name: str
    bridge: str | None = None
    addresses: tuple[str, ...] = ()
    mac: str | None = None
    mtu: int | None = None
    nodad: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Bridge:
    """A bridge on the host, or inside a node, where `ports` names the node's own interfaces.

    Where nodes of several hosts are on it, each of these has one, and tunnels of the type `tunnel` join them; `host` is its
    home, which alone has its addresses.
    """

    name: str
    host: str = LOCALHOST
    addresses: tuple[str, ...] = ()
    stp: bool = False
    mac: str | None = None
    mtu: int | None = None
    ports: tuple[str, ...] = ()
    tunnel: str = VXLAN


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One end of a link; the node `host` is the host itself."""

    node: str
    interface: str

    def __str__(self) -> str:
        """Write it as `node:interface`."""
        return f"{self.node}:{self.interface}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A veth pair, or a tunnel of the type `tunnel` where its ends are on two hosts.

    Addresses and MACs are given per end, and stand in the nodes' interfaces too.
    """

    endpoints: tuple[Endpoint, Endpoint]
    addresses: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    macs: tuple[str | None, str | None] = (None, None)
    mtu: int | None = None
    tunnel: str = VXLAN


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A route of a node; `nexthops` holds (via, dev, weight) of a multipath route."""

    to: str
    via: str | None = None
    dev: str | None = None
    table: int = 254
    metric: int = 0
    type: str = "unicast"
    nexthops: tuple[tuple[str | None, str | None, int], ...] = ()
    src: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A policy routing rule of a node."""

    priority: int
    from_: str | None = None
    to: str | None = None
    iif: str | None = None
    oif: str | None = None
    fwmark: int | None = None
    table: int = 254
    family: int = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbour:
    """A permanent neighbour entry: an address and the link-layer address behind it."""

    dev: str
    address: str
    lladdr: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Dns:
    """What a node's resolv.conf says."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file that a node sees at a path, content already rendered."""

    content: str
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A set of namespaces on one host and what is in them.

    `user` and `time` are there when the node has such a namespace. `attach` names the owner of a network namespace that
    is not the node's own: `pid:1`, `docker:x`, `podman:x` or `netns:/path`. `host` is a pattern of the inventory until the
    topology is placed; `weight` is what the node counts then.
    """

    name: str
    host: str = LOCALHOST
    weight: int = 1
    namespaces: frozenset[str] = frozenset({"net", "mnt", "uts"})
    hostname: str = ""
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    dns: Dns | None = None
    hosts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)
    user: UserMap | None = None
    time: TimeOffsets | None = None
    rootfs: Rootfs | None = None
    mounts: tuple[Mount, ...] = ()
    limits: Limits | None = None
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    attach: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Underlay:
    """What lies below the tunnels between hosts: the UDP port that they use, and how large a packet gets through at most."""

    port: int = 4789
    mtu: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """How nodes that may live on several hosts are shared out, and the pattern of hosts for nodes that name none."""

    policy: str = "spread"
    hosts: str = LOCALHOST


@dataclass(frozen=True, kw_only=True, slots=True)
class Topology:
    """A whole lab: everything that one file asks for.

    `written` is there while it is open where the nodes live: what `hosting.placed` needs to settle that.
    """

    name: str
    prefix: str
    path: str
    nodes: Mapping[str, Node]
    bridges: Mapping[str, Bridge]
    links: tuple[Link, ...] = ()
    placement: Placement = Placement()
    underlay: Underlay = Underlay()
    written: Written | None = field(default=None, compare=False, repr=False)


def __getattr__(name: str) -> object:
    """Give a class of `node_model` when it is first asked for: most topologies have none of them."""
    if name not in __all__:
        raise AttributeError(name)
    from nsprov.topology import node_model  # noqa: PLC0415 - start-up time: a frozen class costs every command a millisecond

    return getattr(node_model, name)
