"""The file language, one model per mapping; what is published as the JSON Schema.

Only the shape is checked here: which keys there are and which type each value has.
What a value means is checked in `build`, and how it fits the others in `check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Optional

from pydantic import BeforeValidator, Field, TypeAdapter
from pydantic_core import core_schema

from nsprov.topology.model import NAMESPACE_TYPES
from nsprov.topology.shapes import Flag, Integer, Many, Published, Spec, Word, many, trusting


@dataclass(frozen=True)
class Deferred:
    """A field of a node whose models are built when a file first has it: each model costs every command some time."""

    word: str

    def shape(self) -> Any:
        """Give the type that the field has."""
        from nsprov.topology.node_spec import SHAPES  # noqa: PLC0415 - start-up time, as above

        return SHAPES[self.word]

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> core_schema.CoreSchema:
        """Ask `validate` for each value."""
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: Any) -> Any:
        """Check a value; pydantic makes what is wrong inside it part of its own report."""
        return None if value is None else _adapter(self).validate_python(value)

    def __get_pydantic_json_schema__(self, _core: object, handler: Any) -> Any:
        """Give the schema of what is behind it."""
        return handler(_adapter(self).core_schema)


@lru_cache
def _adapter(field: Deferred) -> TypeAdapter[Any]:
    shape: Any = Optional[field.shape()]
    return TypeAdapter(shape)


def _link(value: Any) -> Any:
    return {"endpoints": value} if isinstance(value, list) else value


_TYPE = {"enum": list(NAMESPACE_TYPES)}
Namespaces = Annotated[
    Optional[list[str]],
    BeforeValidator(many),
    Published({"anyOf": [{"const": "all"}, _TYPE, {"type": "array", "items": _TYPE}, {"type": "null"}]}),
]
"""Namespace types, or the word `all`."""


class InterfaceDefaults(Spec):
    """What every interface has that does not say otherwise."""

    bridge: Optional[str] = None
    mtu: Optional[Integer] = None
    nodad: Optional[Flag] = None


class InterfaceSpec(InterfaceDefaults):
    """An interface of a node: on a bridge of the host, the end of a link, or `lo`."""

    address: Many = None
    addresses: Many = None
    mac: Optional[str] = None


Tunnel = Annotated[Optional[Literal["vxlan", "gre", "wireguard"]], trusting("vxlan")]
"""What joins hosts, where a link or a bridge leads from one to another."""


class AnyBridge(Spec):
    """What a bridge may say wherever it is."""

    stp: Optional[Flag] = None
    mtu: Optional[Integer] = None


class BridgeDefaults(AnyBridge):
    """What every bridge has that does not say otherwise."""

    tunnel: Tunnel = None


class InnerBridgeSpec(AnyBridge):
    """A bridge inside a node."""

    address: Many = None
    addresses: Many = None
    mac: Optional[str] = None
    ports: Many = None


class BridgeSpec(BridgeDefaults):
    """A bridge on a host, or on each host that has a node on it."""

    host: Optional[str] = None
    address: Many = None
    addresses: Many = None
    mac: Optional[str] = None


class NexthopSpec(Spec):
    """One way of a multipath route."""

    via: Optional[str] = None
    dev: Optional[str] = None
    weight: Integer = 1


class RouteSpec(Spec):
    """A route: `to`, and one of `via`, `dev`, `nexthops` or a type that discards."""

    to: str
    via: Optional[str] = None
    dev: Optional[str] = None
    src: Optional[str] = None
    table: Integer = 254
    metric: Integer = 0
    type: Annotated[Literal["unicast", "blackhole", "unreachable", "prohibit"], trusting("unicast")] = "unicast"
    blackhole: Flag = False
    unreachable: Flag = False
    prohibit: Flag = False
    nexthops: Optional[list[NexthopSpec]] = None


class RuleSpec(Spec):
    """A policy routing rule."""

    priority: Integer
    from_: Optional[str] = Field(default=None, alias="from")
    to: Optional[str] = None
    iif: Optional[str] = None
    oif: Optional[str] = None
    fwmark: Optional[Integer] = None
    table: Integer = 254
    family: Optional[Integer] = None


class NeighbourSpec(Spec):
    """A permanent neighbour entry."""

    dev: str
    address: str
    lladdr: str


class DnsSpec(Spec):
    """The contents of resolv.conf."""

    nameservers: Many = None
    search: Many = None
    options: Many = None


class FileSpec(Spec):
    """A file in a node: `content`, a `template` to render, or a `source` to copy."""

    content: Optional[str] = None
    template: Optional[str] = None
    source: Optional[str] = None
    mode: Optional[str] = None


class GroupSpec(Spec):
    """What a node may say; groups and defaults may say it for many."""

    host: Optional[str] = None
    weight: Optional[Integer] = None
    namespaces: Namespaces = None
    hostname: Optional[str] = None
    interfaces: Optional[dict[str, Optional[InterfaceSpec]]] = None
    bridges: Optional[dict[str, Optional[InnerBridgeSpec]]] = None
    routes: Optional[list[RouteSpec]] = None
    rules: Optional[list[RuleSpec]] = None
    neighbours: Optional[list[NeighbourSpec]] = None
    sysctls: Optional[dict[str, Word]] = None
    dns: Optional[DnsSpec] = None
    hosts: Optional[dict[str, str]] = None
    files: Optional[dict[str, FileSpec]] = None
    attach: Annotated[Any, Deferred("attach")] = None
    user: Annotated[Any, Deferred("user")] = None
    time: Annotated[Any, Deferred("time")] = None
    rootfs: Annotated[Any, Deferred("rootfs")] = None
    mounts: Annotated[Any, Deferred("mounts")] = None
    limits: Annotated[Any, Deferred("limits")] = None
    workloads: Annotated[Any, Deferred("workloads")] = None


class NodeSpec(GroupSpec):
    """A node, or many when its key is a range such as `h[1:40]`."""

    group: Many = None


class LinkDefaults(Spec):
    """What every link has that does not say otherwise."""

    mtu: Optional[Integer] = None
    tunnel: Tunnel = None


class LinkSpec(LinkDefaults):
    """A veth pair between two nodes, or between a node and the host; a tunnel between nodes of two hosts."""

    endpoints: list[str] = Field(json_schema_extra={"minItems": 2, "maxItems": 2})
    addresses: Annotated[
        Any,
        Published(
            {
                "anyOf": [
                    {"const": "none"},
                    {
                        "type": "array",
                        "maxItems": 2,
                        "items": {
                            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]
                        },
                    },
                ]
            }
        ),
    ] = None
    macs: Optional[list[Optional[str]]] = Field(default=None, json_schema_extra={"maxItems": 2})


class PoolsSpec(Spec):
    """Where addresses come from that nobody wrote down."""

    links: str = "10.254.0.0/16"


class TunnelsSpec(Spec):
    """What all tunnels between hosts have in common: a UDP port, and how large a packet the network below takes."""

    port: Optional[Integer] = None
    mtu: Optional[Integer] = None


class PlacementSpec(Spec):
    """How nodes that may live on several hosts are shared out, and on which hosts nodes live that name none."""

    policy: Annotated[Optional[Literal["spread", "pack", "near"]], trusting("spread")] = None
    hosts: Optional[str] = None


class DefaultsSpec(Spec):
    """Laid under every node, interface, bridge, link and workload."""

    node: Optional[GroupSpec] = None
    interface: Optional[InterfaceDefaults] = None
    bridge: Optional[BridgeDefaults] = None
    link: Optional[LinkDefaults] = None
    workload: Annotated[Any, Deferred("workload")] = None


class TopologySpec(Spec):
    """A topology file."""

    name: Optional[str] = None
    prefix: Optional[str] = None
    vars: Optional[dict[str, Any]] = None
    pools: Optional[PoolsSpec] = None
    placement: Optional[PlacementSpec] = None
    tunnels: Optional[TunnelsSpec] = None
    defaults: Optional[DefaultsSpec] = None
    groups: Optional[dict[str, Optional[GroupSpec]]] = None
    bridges: Optional[dict[str, Optional[BridgeSpec]]] = None
    nodes: Optional[dict[str, Optional[NodeSpec]]] = None
    links: Optional[list[Annotated[LinkSpec, BeforeValidator(_link)]]] = None
