"""Names and MAC addresses that follow from the lab alone: pure, the same on every host and in every run."""

from __future__ import annotations

from base64 import b32encode
from hashlib import blake2s

MAX_INTERFACE = 15
"""IFNAMSIZ less the terminating zero."""

MAX_ALTNAME = 127
"""ALTIFNAMSIZ less the terminating zero."""

_HEAD = 6
_TAIL = MAX_INTERFACE - _HEAD


def port_name(prefix: str, node: str, ifname: str, lab: str) -> tuple[str, str | None]:
    """Name the host's end of a node's veth, with the long form as its altname when that does not fit.

    A name that does not fit keeps its first 6 characters, and 9 characters of a hash (45 bits) tell it from others.
    """
    long = f"{prefix}{node}-{ifname}"
    if len(long) <= MAX_INTERFACE:
        return long, None
    digest = b32encode(_digest(lab, node, ifname)).decode().lower()
    short = long[:_HEAD] + digest[:_TAIL]
    return short, long if len(long) <= MAX_ALTNAME else long[: MAX_ALTNAME - 10] + "-" + digest[:9]


def tunnel_name(prefix: str, bridge: str, lab: str) -> str:
    """Name the port of a bridge behind which its other hosts are."""
    return port_name(prefix, bridge, "vx", lab)[0]


def mac(lab: str, node: str, ifname: str) -> str:
    """Give an interface's MAC address: locally administered, unicast."""
    return _mac(_digest(lab, node, ifname))


def bridge_mac(lab: str, name: str) -> str:
    """Give a bridge's MAC address, which would else follow the lowest of its ports."""
    return _mac(_digest(lab, "", name))


def slot(text: str, slots: int) -> int:
    """Give the place in a pool at which a search for a free one starts."""
    return int.from_bytes(blake2s(text.encode(), digest_size=8).digest(), "big") % slots


def _digest(*parts: str) -> bytes:
    return blake2s("\0".join(parts).encode(), digest_size=10).digest()


def _mac(digest: bytes) -> str:
    octets = bytes([digest[0] & 0xFC | 0x02]) + digest[1:6]
    return octets.hex(":")
