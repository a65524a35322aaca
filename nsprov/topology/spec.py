"""The file language, one model per mapping; what is published as the JSON Schema.

Only the shape is checked here: which keys there are and which type each value has.
What a value means is checked in `build`, and how it fits the others in `check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nsprov.topology.scalars import Pending, Rendered, resolve


@dataclass(frozen=True, eq=False)
class Published:
    """What the JSON Schema says of a field; pydantic's own WithJsonSchema costs 30 ms to import, for every command."""

    schema: dict[str, Any]

    def __get_pydantic_json_schema__(self, _core: object, _handler: object) -> dict[str, Any]:
        """Give the schema when it is asked for."""
        return dict(self.schema)


def _number(value: Any) -> Any:
    """Read a rendered number as YAML would; one that waits for `index` is taken on trust until the node is known."""
    if type(value) is Rendered:
        return resolve(value)
    return 1 if type(value) is Pending else value


def _flag(value: Any) -> Any:
    if type(value) is Rendered:
        return resolve(value)
    return False if type(value) is Pending else value


def _many(value: Any) -> Any:
    return value if value is None or isinstance(value, (list, dict)) else [value]


def _link(value: Any) -> Any:
    return {"endpoints": value} if isinstance(value, list) else value


def _word(value: Any) -> Any:
    return str(value) if type(value) is int else value


Integer = Annotated[int, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Word = Annotated[str, BeforeValidator(_word), Published({"type": ["string", "integer"]})]
"""A word that may be a number, as the values of sysctls mostly are."""

Many = Annotated[
    Optional[list[str]],
    BeforeValidator(_many),
    Published({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}),
]
"""A list of strings; one string alone is a list of one."""


class Spec(BaseModel):
    """A mapping in the file: unknown keys are refused, and no type is converted into another.

    Every default is immutable: pydantic would copy a list or a mapping for each node.
    """

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, populate_by_name=False)


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


class BridgeDefaults(Spec):
    """What every bridge has that does not say otherwise."""

    stp: Optional[Flag] = None
    mtu: Optional[Integer] = None


class InnerBridgeSpec(BridgeDefaults):
    """A bridge inside a node."""

    address: Many = None
    addresses: Many = None
    mac: Optional[str] = None
    ports: Many = None


class BridgeSpec(BridgeDefaults):
    """A bridge on a host."""

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
    type: Literal["unicast", "blackhole", "unreachable", "prohibit"] = "unicast"
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
    namespaces: Many = None
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


class NodeSpec(GroupSpec):
    """A node, or many when its key is a range such as `h[1:40]`."""

    group: Many = None


class LinkDefaults(Spec):
    """What every link has that does not say otherwise."""

    mtu: Optional[Integer] = None


class LinkSpec(LinkDefaults):
    """A veth pair between two nodes, or between a node and the host."""

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


class DefaultsSpec(Spec):
    """Laid under every node, interface, bridge and link."""

    node: Optional[GroupSpec] = None
    interface: Optional[InterfaceDefaults] = None
    bridge: Optional[BridgeDefaults] = None
    link: Optional[LinkDefaults] = None


class TopologySpec(Spec):
    """A topology file."""

    name: Optional[str] = None
    prefix: Optional[str] = None
    vars: Optional[dict[str, Any]] = None
    pools: Optional[PoolsSpec] = None
    defaults: Optional[DefaultsSpec] = None
    groups: Optional[dict[str, Optional[GroupSpec]]] = None
    bridges: Optional[dict[str, Optional[BridgeSpec]]] = None
    nodes: Optional[dict[str, Optional[NodeSpec]]] = None
    links: Optional[list[Annotated[LinkSpec, BeforeValidator(_link)]]] = None
