"""Rules and neighbours, of which a lab has few: encoded by pyroute2, sent through our own sockets.

The only importer of pyroute2, and only when such a thing is in the topology: importing it costs more than a whole `up`.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from nsprov.kernel.rtnl import NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, PROTO, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
_FR_ACT_TO_TBL = 1
_NUD_PERMANENT = 0x80
_SELECTORS = {
    "priority": "FRA_PRIORITY",
    "table": "FRA_TABLE",
    "iif": "FRA_IIFNAME",
    "oif": "FRA_OIFNAME",
    "fwmark": "FRA_FWMARK",
}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def _encode(kind: int, flags: int, message: Any) -> Message:
    message["header"]["type"] = kind
    message.encode()
    return Message(kind, flags, bytes(message.data[16:]))


def _rule() -> Any:
    from pyroute2.netlink.rtnl.fibmsg import fibmsg  # noqa: PLC0415 (lazy for start-up: see above)

    return fibmsg


def _neighbour() -> Any:
    from pyroute2.netlink.rtnl.ndmsg import ndmsg  # noqa: PLC0415 (lazy for start-up: see above)

    return ndmsg


def get_rules() -> Message:
    """Ask for all rules of both families."""
    return _encode(RTM_GETRULE, NLM_F_DUMP, _rule()())


def rule_message(fields: dict[str, object], *, add: bool) -> Message:
    """Add or delete a rule; `fields` are those of the kind, without the node."""
    message = _rule()()
    message["family"] = _FAMILIES[int(str(fields["family"]))]
    message["action"] = _FR_ACT_TO_TBL
    message["table"] = 0
    attributes: list[Sequence[object]] = [(key, fields[name]) for name, key in _SELECTORS.items() if fields[name]]
    if fields["fwmark"]:
        attributes.append(("FRA_FWMASK", 0xFFFFFFFF))
    for name, length, key in (("source", "src_len", "FRA_SRC"), ("destination", "dst_len", "FRA_DST")):
        plain, _, bits = str(fields[name]).partition("/")
        if plain:
            message[length] = int(bits)
            attributes.append((key, plain))
    if add:
        attributes.append(("FRA_PROTOCOL", PROTO))
    message["attrs"] = attributes
    return _encode(RTM_NEWRULE if add else RTM_DELRULE, NLM_F_CREATE | NLM_F_EXCL if add else 0, message)


def parse_rule(data: bytes) -> dict[str, Any] | None:
    """Read one RTM_NEWRULE message whole; `None` for one that leads to no table."""
    message = _rule()(data)
    message.decode()
    if message["action"] != _FR_ACT_TO_TBL or message["family"] not in _FAMILIES.values():
        return None
    found = dict(message["attrs"])
    prefixes = {
        name: f"{found[key]}/{message[length]}" if key in found else ""
        for name, key, length in (("source", "FRA_SRC", "src_len"), ("destination", "FRA_DST", "dst_len"))
    }
    return {
        "family": 4 if message["family"] == socket.AF_INET else 6,
        "priority": found.get("FRA_PRIORITY", 0),
        "table": found.get("FRA_TABLE", message["table"]),
        "iif": found.get("FRA_IIFNAME", ""),
        "oif": found.get("FRA_OIFNAME", ""),
        "fwmark": found.get("FRA_FWMARK", 0),
        "proto": found.get("FRA_PROTOCOL", 0),
        **prefixes,
    }


def get_neighbours() -> Message:
    """Ask for all neighbour entries of both families."""
    return _encode(RTM_GETNEIGH, NLM_F_DUMP, _neighbour()())


def neighbour_message(index: int, address: str, lladdr: str, *, add: bool) -> Message:
    """Add, replacing, or delete a permanent entry."""
    message = _neighbour()()
    message["family"] = socket.AF_INET6 if ":" in address else socket.AF_INET
    message["ifindex"] = index
    message["state"] = _NUD_PERMANENT if add else 0
    message["attrs"] = [("NDA_DST", address), ("NDA_LLADDR", lladdr)] if add else [("NDA_DST", address)]
    return _encode(RTM_NEWNEIGH if add else RTM_DELNEIGH, NLM_F_CREATE | NLM_F_REPLACE if add else 0, message)


def parse_neighbour(data: bytes) -> dict[str, Any] | None:
    """Read one RTM_NEWNEIGH message whole; `None` for one that is not permanent."""
    message = _neighbour()(data)
    message.decode()
    found = dict(message["attrs"])
    if message["state"] != _NUD_PERMANENT or "NDA_LLADDR" not in found:
        return None
    return {"index": message["ifindex"], "address": found["NDA_DST"], "lladdr": found["NDA_LLADDR"]}
