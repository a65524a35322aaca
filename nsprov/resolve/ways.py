"""How the hosts of a lab reach each other: by which addresses, and how much of a packet is left for what a tunnel carries."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic
from nsprov.topology.model import GRE, WIREGUARD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nsprov.survey import Path, Survey

ETHERNET, IPV4, IPV6, UDP, VXLAN, GRE_WITH_KEY = 14, 20, 40, 8, 8, 8
WIREGUARD_DATA, WIREGUARD_UNIT = 32, 16
"""Four bytes of type, four of the receiver's index, eight of a counter, sixteen of proof (wireguard.com/protocol)."""

ASSUMED_PATH = 1500
_GIVE = "give it `nsprov_underlay` in the inventory: an address by which the lab's other hosts reach it"


@dataclass(frozen=True)
class Known:
    """What was found out of the hosts: what each has said, by which address the others reach it, and why it has none.

    Without surveys nothing is known, and names stand for addresses.
    """

    surveys: Mapping[str, Survey] | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ways:
    """The ways between the hosts of a lab; `most` is how large a packet gets through by the word of the user."""

    lab: str
    known: Known
    most: int | None = None

    @property
    def surveys(self) -> Mapping[str, Survey] | None:
        """Give what the hosts have said, `None` if they were not asked."""
        return self.known.surveys

    def address(self, host: str) -> str:
        """Give the address by which the others reach a host."""
        return self.known.addresses.get(host, host)

    def source(self, host: str, others: tuple[str, ...]) -> str:
        """Give the address that a host's packets to the others come from, which is not the former where that is translated."""
        own = self.address(host)
        if self.surveys is None or host not in self.surveys:
            return own
        paths = self.surveys[host].paths
        sources = [paths[self.address(other)].source for other in others if self.address(other) in paths]
        is_its_own = own in paths and paths[own].dev == "lo"
        return own if is_its_own or own in sources or not sources else sources[0]

    def is_v6(self, host: str) -> bool:
        """Tell whether packets to a host are of IPv6."""
        return ":" in self.address(host)

    def takes(self, one: str, other: str) -> int:
        """Give how large a packet gets from either host to the other."""
        found = [path.mtu for path in (self._path(one, other), self._path(other, one)) if path is not None]
        known = min(found, default=ASSUMED_PATH)
        return known if self.most is None else min(known, self.most)

    def through(self, one: str, other: str) -> int:
        """Give how large a packet gets through the encrypted network between two hosts."""
        left = self.takes(one, other) - (IPV6 if self.is_v6(one) else IPV4) - UDP - WIREGUARD_DATA
        # What is encrypted is filled up to a multiple of sixteen bytes first (calculate_skb_padding() in the kernel).
        return left - left % WIREGUARD_UNIT

    def left(self, kind: str, one: str, other: str) -> int:
        """Give the MTU of what a tunnel between two hosts carries: without Ethernet's header, as an interface has it."""
        if kind == WIREGUARD:
            return self.through(one, other) - IPV6 - UDP - VXLAN - ETHERNET
        around = GRE_WITH_KEY if kind == GRE else UDP + VXLAN
        return self.takes(one, other) - (IPV6 if self.is_v6(one) else IPV4) - around - ETHERNET

    def inside(self, host: str) -> str:
        """Give a host's address in the encrypted network: of a network of the lab's own (RFC 4193), by name."""
        return socket.inet_ntop(socket.AF_INET6, self._prefix() + blake2s(host.encode(), digest_size=8).digest())

    def network(self) -> str:
        """Give the encrypted network as such."""
        return f"{socket.inet_ntop(socket.AF_INET6, self._prefix() + bytes(8))}/64"

    def _prefix(self) -> bytes:
        return b"\xfd" + blake2s(self.lab.encode(), digest_size=7).digest()

    def _path(self, host: str, other: str) -> Path | None:
        survey = None if self.surveys is None else self.surveys.get(host)
        return None if survey is None else survey.paths.get(self.address(other))

    def problems(self, one: str, other: str) -> Iterator[Diagnostic]:
        """Say why two hosts cannot be joined."""
        if self.surveys is None:
            return
        for host in (one, other):
            if host not in self.known.addresses:
                detail = self.known.lacking.get(host, "Nobody has looked for one.")
                yield Diagnostic(f'host "{host}" has no address for tunnels', host, detail, _GIVE)
                return
        if self.is_v6(one) != self.is_v6(other):
            detail = f"{self.address(one)} and {self.address(other)} are not of one family."
            yield Diagnostic(f'"{one}" and "{other}" cannot be joined', one, detail, _GIVE)
            return
        for host, to in ((one, other), (other, one)):
            path = self._path(host, to)
            if path is None and host in self.surveys:
                detail = f'It has no route to {self.address(to)}, the address of "{to}".'
                yield Diagnostic(
                    f'"{host}" cannot reach "{to}"', host, detail, "add a route, or " + _GIVE.replace("it", f'"{to}"')
                )
            elif path is not None and path.dev == "lo":
                detail = f'{self.address(to)}, the address of "{to}", is one of its own.'
                yield Diagnostic(f'"{host}" and "{to}" are one machine', host, detail, _GIVE)
                return
