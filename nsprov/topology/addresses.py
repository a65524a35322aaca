"""IP and MAC addresses as numbers and as canonical text: pure arithmetic, every refusal says what to write instead.

The ipaddress module would be clearer; it is five times slower, and a lab has thousands of addresses.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from typing import NamedTuple

from nsprov.topology.positions import Flaw, shown

V4, V6 = 4, 6
BITS = {V4: 32, V6: 128}
POINT_TO_POINT = 31
"""From here on a subnet has no network and no broadcast address (RFC 3021)."""

_AF = {V4: socket.AF_INET, V6: socket.AF_INET6}
_LENGTH = re.compile(r"[0-9]{1,3}")
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_LINK_LOCAL_4, _LINK_LOCAL_6 = 0xA9FE, 0x3FA
_LOOPBACK_4, _MULTICAST_4, _MULTICAST_6 = 127, 0xE, 0xFF


class Cidr(NamedTuple):
    """An address with a prefix length."""

    family: int
    value: int
    length: int

    @property
    def network(self) -> int:
        """Give the first address of the subnet."""
        free = BITS[self.family] - self.length
        return self.value >> free << free

    @property
    def last(self) -> int:
        """Give the last address of the subnet."""
        return self.value | ((1 << (BITS[self.family] - self.length)) - 1)

    @property
    def text(self) -> str:
        """Write it as `address/length`."""
        return f"{text_of(self.family, self.value)}/{self.length}"

    def holds(self, family: int, value: int) -> bool:
        """Tell whether an address lies in this subnet."""
        return self.family == family and (self.value ^ value) >> (BITS[family] - self.length) == 0

    def overlaps(self, other: Cidr) -> bool:
        """Tell whether two subnets share an address."""
        return self.holds(other.family, other.value) if self.length <= other.length else other.holds(self.family, self.value)


@lru_cache(maxsize=4096)
def text_of(family: int, value: int) -> str:
    """Write an address canonically."""
    return socket.inet_ntop(_AF[family], value.to_bytes(BITS[family] // 8, "big"))


@lru_cache(maxsize=4096)
def parse_ip(text: str) -> tuple[int, int]:
    """Read an address without a prefix length, as family and number.

    Raises:
        Flaw: it is none.

    """
    family = 6 if ":" in text else V4
    try:
        return family, int.from_bytes(socket.inet_pton(_AF[family], text), "big")
    except (OSError, ValueError) as error:
        if "/" in text:
            raise Flaw(f"{shown(text)} has a prefix length", f'use "{text.partition("/")[0]}"') from error
        raise Flaw(f"{shown(text)} is not an IP address", "use an address such as 192.168.10.11 or 2001:db8::1") from error


def parse_cidr(text: str) -> Cidr:
    """Read an address with a prefix length.

    Raises:
        Flaw: it is none.

    """
    address, slash, length = text.partition("/")
    family, value = parse_ip(address)
    if not slash:
        raise Flaw(f"{shown(text)} has no prefix length", f'use "{text}/{24 if family == V4 else 64}"')
    if not _LENGTH.fullmatch(length) or int(length) > BITS[family]:
        raise Flaw(f"{shown(text)} has a wrong prefix length", f"use one from 0 to {BITS[family]}")
    return Cidr(family, value, int(length))


@lru_cache(maxsize=4096)
def parse_assigned(text: str, *, loopback: bool = False) -> Cidr:
    """Read an address that an interface is to have.

    Raises:
        Flaw: it is none, or is one that no interface may have.

    """
    if loopback and "/" not in text:
        family, value = parse_ip(text)
        return Cidr(family, value, BITS[family])
    cidr = parse_cidr(text)
    family, value, length = cidr
    if family == V4 and length < POINT_TO_POINT and value in (cidr.network, cidr.last):
        which, usable = ("network", value + 1) if value == cidr.network else ("broadcast", value - 1)
        raise Flaw(f"{shown(text)} is the {which} address of its subnet", f'use "{text_of(V4, usable)}/{length}"')
    multicast = value >> 28 == _MULTICAST_4 if family == V4 else value >> 120 == _MULTICAST_6
    if value == 0 or multicast:
        raise Flaw(f"{shown(text)} cannot be given to an interface", "use a unicast address")
    if not loopback and is_loopback(family, value):
        raise Flaw(f"{shown(text)} is a loopback address", 'give it to "lo"')
    return cidr


@lru_cache(maxsize=4096)
def parse_network(text: str) -> Cidr:
    """Read the destination of a route or the selector of a rule: a subnet, or one address alone.

    Raises:
        Flaw: it is none, or has bits set behind its prefix length.

    """
    if "/" not in text:
        family, value = parse_ip(text)
        return Cidr(family, value, BITS[family])
    cidr = parse_cidr(text)
    if cidr.value != cidr.network:
        fixed = cidr._replace(value=cidr.network)
        raise Flaw(f"{shown(text)} has bits set behind its prefix length", f'use "{fixed.text}"')
    return cidr


def is_loopback(family: int, value: int) -> bool:
    """Tell whether an address lies in 127.0.0.0/8 or is ::1."""
    return value >> 24 == _LOOPBACK_4 if family == V4 else value == 1


def is_link_local(family: int, value: int) -> bool:
    """Tell whether an address counts on one link only, so that others may have it too."""
    return value >> 16 == _LINK_LOCAL_4 if family == V4 else value >> 118 == _LINK_LOCAL_6


def parse_mac(text: str) -> str:
    """Read a MAC address that an interface may have, as lower case with colons.

    Raises:
        Flaw: it is none, or is zero, or is a group address.

    """
    mac = text.lower().replace("-", ":")
    if not _MAC.fullmatch(mac):
        raise Flaw(f"{shown(text)} is not a MAC address", "use six octets such as 02:00:00:00:00:01")
    if mac == "00:00:00:00:00:00":
        raise Flaw("the all-zero MAC address cannot be used", "remove it; nsprov derives one from the names")
    if int(mac[1], 16) & 1:
        fixed = f"{int(mac[:2], 16) & 0xFE:02x}{mac[2:]}"
        raise Flaw(f"{shown(text)} is a group (multicast) MAC address", f'use "{fixed}"')
    return mac
