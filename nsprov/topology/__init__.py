"""The topology language: what the user wrote, expanded, validated and typed.

Importing this package loads neither pydantic nor jinja2 nor yaml; `load` and `json_schema` do.
"""

from __future__ import annotations

import gc
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nsprov.topology import model
from nsprov.topology.model import (
    Bridge,
    Dns,
    Endpoint,
    File,
    Interface,
    Link,
    Neighbour,
    Node,
    Placement,
    Route,
    Rule,
    Topology,
    Underlay,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.topology.model import Limits, Mount, Rootfs, TimeOffsets, UserMap, Workload

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
    "json_schema",
    "load",
    "load_inline",
]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def load(path: str, variables: Mapping[str, Any] = _NOTHING) -> Topology:
    """Read a topology file; `variables` win over those in the file.

    Raises:
        InputError: everything that is wrong with the file, each with its line and column.

    """
    # Start-up time: pydantic and yaml cost 100 ms, which a command that reads no topology should not pay.
    from nsprov.topology.build import build  # noqa: PLC0415
    from nsprov.topology.source import read  # noqa: PLC0415

    # Nothing is garbage before it is done: the collector would walk a growing lab again and again.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return build(read(path), variables)
    finally:
        if collecting:
            gc.enable()


def load_inline(given: Any, path: str, variables: Mapping[str, Any] = _NOTHING) -> Topology:
    """Read a topology that is a value already, as a playbook has it; `path` says whose it is, and where its files are.

    Raises:
        InputError: everything that is wrong with it.

    """
    import json  # noqa: PLC0415 - start-up time, as above

    from nsprov.topology.build import build  # noqa: PLC0415 - as above
    from nsprov.topology.source import parse  # noqa: PLC0415 - as above

    return build(parse(path, json.dumps(given)), variables)


def json_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 7) of a topology file, for editors."""
    from nsprov.topology.schema import json_schema as make  # noqa: PLC0415 - start-up time, as above

    return make()


def __getattr__(name: str) -> object:
    """Give what the model itself loads when it is asked for."""
    if name not in __all__:
        raise AttributeError(name)
    return getattr(model, name)
