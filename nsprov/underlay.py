"""By which addresses the hosts of a lab reach each other: what the inventory says, or what its names come to here.

Names are looked up on this machine, and no packet goes to any host.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

_DISCARD = 9
"""Any port would do: a UDP socket that is connected has sent nothing (udp(7))."""


class Host(Protocol):
    """What is asked of a host."""

    @property
    def name(self) -> str:
        """Its name in the inventory."""

    @property
    def address(self) -> str:
        """Where it is entered."""

    @property
    def connection(self) -> str:
        """Whether it is this machine, "local", or another one, "ssh"."""

    @property
    def underlay(self) -> str | None:
        """The address that the inventory gives it for this."""


def addresses(hosts: Iterable[Host]) -> tuple[dict[str, str], dict[str, str]]:
    """Give the address of each host by which the others are to reach it; and for hosts that have none, why, as sentences."""
    found: dict[str, str] = {}
    lacking: dict[str, str] = {}
    here = []
    for host in hosts:
        if host.underlay is None and host.connection == "local":
            here.append(host.name)
            continue
        try:
            found[host.name] = _usable(host.underlay or host.address)
        except ValueError as problem:
            lacking[host.name] = f"{problem}."
    own = _source(found.values())
    for name in here:
        if own:
            found[name] = own
        else:
            lacking[name] = "This machine has no route to any of the others."
    return found, lacking


def _usable(text: str) -> str:
    """Give the address that a text is, or a name has, IPv4 before IPv6; ValueError in words if others cannot use it."""
    with contextlib.suppress(ValueError):
        return _outward(text, text)
    try:
        rows = socket.getaddrinfo(text, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as problem:  # what cannot be a name at all is the latter
        message = f'"{text}" is not known here: {getattr(problem, "strerror", None) or "it cannot be a name"}'
        raise ValueError(message) from problem
    families = sorted(rows, key=lambda row: row[0] != socket.AF_INET)
    return _outward(str(families[0][4][0]), text)


def _outward(address: str, text: str) -> str:
    """Check an address, and write it as inet_ntop(3) does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        plain = socket.inet_ntop(family, socket.inet_pton(family, address))
    except OSError as problem:
        message = f'"{text}" is no address'
        raise ValueError(message) from problem
    import ipaddress  # noqa: PLC0415 - start-up time: only labs across hosts have tunnels

    about = ipaddress.ip_address(plain)
    if about.is_loopback or about.is_link_local or about.is_multicast or about.is_unspecified:
        message = f'"{text}" is {plain}, by which no other host reaches it'
        raise ValueError(message)
    return plain


def _source(remotes: Iterable[str]) -> str:
    """Give the address that this machine's packets to the first of the others that it has a route to come from."""
    for remote in remotes:
        family = socket.AF_INET6 if ":" in remote else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:  # no route: the next one may have
            probe.connect((remote, _DISCARD))
            return str(probe.getsockname()[0])
    return ""
