"""Filters on addresses, by the names of Ansible's `ansible.utils` collection, on the standard library's ipaddress.

A value that is no address gives `False`, and a list gives those of its items that are something.
"""

from __future__ import annotations

import ipaddress
import re
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_PAIR = 2
"""How many addresses a network has that needs neither its own nor a broadcast address (RFC 3021)."""

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4}){2}|[0-9A-Fa-f]{12}")
_MAC_FORMS: Mapping[str, tuple[int, str]] = {
    **dict.fromkeys(("linux", "unix", ""), (2, ":")),
    **dict.fromkeys(("eui48", "win"), (2, "-")),
    "cisco": (4, "."),
    "bare": (12, ""),
}


def ipaddr(value: Any, query: str | int = "", version: int | None = None) -> Any:
    """Give a property of an address or a network, the address itself without a query, `False` for what is none."""
    if isinstance(value, (list, tuple)):
        found = (ipaddr(item, query, version) for item in value)
        return [item for item in found if item not in (False, None)]
    given = _read(value)
    if given is None or version not in (None, given.version):
        return False
    if isinstance(query, int) or query.lstrip("-").isdigit():
        return _nth(given, int(query))
    return _asked(given, value, query)


def _asked(given: Interface, value: Any, query: str) -> Any:
    if query in _QUERIES:
        return _QUERIES[query](given)
    if query in _CONDITIONS:
        return str(value) if _CONDITIONS[query](given) else False
    if query == "bool":
        return True
    return _within(given, value, query) if query else str(value) if "/" in str(value) else str(given.ip)


def _read(value: object) -> Interface | None:
    if isinstance(value, bool):
        return None
    try:
        return ipaddress.ip_interface(value if isinstance(value, int) else str(value))
    except ValueError:
        return None


def _nth(given: Interface, index: int) -> Any:
    """Give the address of that number in a network, with the network's length."""
    try:
        return f"{given.network[index]}/{given.network.prefixlen}"
    except IndexError:
        return False


def _within(given: Interface, value: object, query: str) -> Any:
    """Give the value if it lies in the network that the query is."""
    try:
        network = ipaddress.ip_network(query, strict=False)
    except ValueError:
        raise ValueError(f"ipaddr knows no {query!r}") from None
    return value if given.version == network.version and given.network.subnet_of(network) else False  # type: ignore[arg-type]


def _is_old(given: Interface) -> bool:
    """Tell IPv4 from IPv6, which has no broadcast."""
    return isinstance(given, ipaddress.IPv4Interface)


def _host_length(given: Interface) -> bool:
    return given.network.prefixlen == given.max_prefixlen


def _usable(given: Interface) -> tuple[Any, Any]:
    """Give the first and the last address that a host can have."""
    network = given.network
    if network.num_addresses <= _PAIR:
        return network[0], network[-1]
    return network[1], network[-2] if _is_old(given) else network[-1]


_QUERIES: Mapping[str, Callable[[Interface], Any]] = {
    "address": lambda given: str(given.ip),
    "ip": lambda given: str(given.ip),
    "version": lambda given: given.version,
    "int": lambda given: int(given.ip) if _host_length(given) else f"{int(given.ip)}/{given.network.prefixlen}",
    "prefix": lambda given: given.network.prefixlen,
    "netmask": lambda given: str(given.netmask),
    "hostmask": lambda given: str(given.hostmask),
    "wildcard": lambda given: str(given.hostmask),
    "network": lambda given: str(given.network.network_address),
    "network_id": lambda given: str(given.network.network_address),
    "network/prefix": lambda given: str(given.network),
    "subnet": lambda given: str(given.network),
    "net": lambda given: str(given.network) if given.ip == given.network[0] and not _host_length(given) else False,
    "broadcast": lambda given: str(given.network.broadcast_address) if given.network.num_addresses > _PAIR else "",
    "size": lambda given: given.network.num_addresses,
    "host": lambda given: f"{given.ip}/{given.network.prefixlen}",
    "host/prefix": lambda given: str(given) if given.ip != given.network[0] or _host_length(given) else False,
    "ip/prefix": lambda given: str(given) if given.ip != given.network[0] or _host_length(given) else False,
    "address/prefix": lambda given: str(given) if given.ip != given.network[0] or _host_length(given) else False,
    "cidr": str,
    "first_usable": lambda given: str(_usable(given)[0]),
    "last_usable": lambda given: str(_usable(given)[1]),
    "range_usable": lambda given: "-".join(map(str, _usable(given))),
    "next_usable": lambda given: str(given.ip + 1) if given.ip + 1 <= _usable(given)[1] else False,
    "previous_usable": lambda given: str(given.ip - 1) if given.ip - 1 >= _usable(given)[0] else False,
    "revdns": lambda given: f"{given.ip.reverse_pointer}.",
    "type": lambda given: "address" if given.ip != given.network[0] or _host_length(given) else "network",
}


_CONDITIONS: Mapping[str, Callable[[Interface], bool]] = {
    "private": lambda given: given.ip.is_private,
    "public": lambda given: given.ip.is_global,
    "loopback": lambda given: given.ip.is_loopback,
    "multicast": lambda given: given.ip.is_multicast,
    "link-local": lambda given: given.ip.is_link_local,
    "unspecified": lambda given: given.ip.is_unspecified,
}
"""Queries that give the value itself if it is so."""


def ipwrap(value: Any) -> Any:
    """Put brackets around IPv6 addresses, as URLs want them."""
    if isinstance(value, (list, tuple)):
        return [ipwrap(item) for item in value]
    given = _read(value)
    if given is None or _is_old(given):
        return value
    address, slash, length = str(value).partition("/")
    return f"[{address}]{slash}{length}"


def ipsubnet(value: Any, query: str | int = "", index: int | None = None) -> Any:
    """Give a network, how many networks of a length are in it, one of them by its number, or the wider one around it."""
    given = _read(value)
    if given is None:
        return False
    if query == "":
        return str(given.network)
    length = int(query)
    if length < given.network.prefixlen:
        return str(given.network.supernet(new_prefix=length))
    count = 1 << (length - given.network.prefixlen)
    if index is None:
        return count
    if not -count <= index < count:
        return False
    bits = given.max_prefixlen - length
    first = int(given.network.network_address) + ((index % count) << bits)
    return str(ipaddress.ip_network((first, length)))


def nthhost(value: Any, index: int) -> Any:
    """Give the address of that number in a network, without a length."""
    given = _read(value)
    return False if given is None else str(_nth(given, int(index)) or "").partition("/")[0] or False


def ipmath(value: Any, amount: int) -> str:
    """Add to an address."""
    given = _read(value)
    if given is None:
        raise ValueError(f"{value!r} is no address")
    return str(given.ip + int(amount))


def network_in_network(value: Any, inner: Any) -> bool:
    """Tell whether a network lies in another."""
    outside, inside = _read(value), _read(inner)
    if outside is None or inside is None or outside.version != inside.version:
        return False
    return inside.network.subnet_of(outside.network)  # type: ignore[arg-type]  # of one version


def hwaddr(value: Any, form: str = "") -> Any:
    """Write a MAC address in one of the forms that systems like; `False` for what is none."""
    if not _MAC.fullmatch(str(value)):
        return False
    if form == "bool":
        return True
    if form not in _MAC_FORMS:
        raise ValueError(f"hwaddr knows no {form!r}")
    digits = re.sub(r"[^0-9a-f]", "", str(value).lower())
    width, separator = _MAC_FORMS[form]
    return separator.join(digits[at : at + width] for at in range(0, 12, width))


FILTERS: Mapping[str, Callable[..., Any]] = {
    **{function.__name__: function for function in (ipaddr, ipwrap, ipsubnet, nthhost, ipmath, network_in_network, hwaddr)},
    "ipv4": partial(ipaddr, version=4),
    "ipv6": partial(ipaddr, version=6),
    "macaddr": hwaddr,
}
"""Every filter by its name."""
