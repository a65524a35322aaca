"""A host's end of the lab's encrypted network: one WireGuard device, whose peers are the other hosts.

    links:
      - {endpoints: [r1:eth0, r2:eth0], tunnel: wireguard}

It stands where links between hosts are asked to be encrypted: their frames go through it. The private key is made
on this host, stays in the lab's file system and is in no plan and no record; the public one is what others are told.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from nsprov.errors import Diagnostic, KernelError
from nsprov.kernel import linktypes, wireguard
from nsprov.kernel.netlink import Interest, Request, creating, refused
from nsprov.kernel.rtnl import (
    MAIN_TABLE,
    PROTO,
    RTM_DELROUTE,
    RTM_NEWROUTE,
    LinkSettings,
    Route,
    route_message,
    set_link,
)
from nsprov.plan.resource import HOST, IDENTITY, REPLACE, Ref, Resource, place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "wireguard"
_FRESH = 180
"""Seconds for which a peer that has proved that it has its key may send (REJECT_AFTER_TIME in WireGuard's paper)."""

_LAST = 65535
"""The metric of the unreachable route: whatever else leads there comes first."""

_REDIRECTS = "net.ipv4.conf.all.send_redirects"
_NO_IPV6 = "net.ipv6.conf.default.disable_ipv6"
_UDP = ("/proc/net/udp", "/proc/net/udp6")


@dataclass(frozen=True)
class Wireguard(Resource):
    """`peers` are `(public key, endpoint, allowed addresses with commas between, keepalive)`, by key.

    Nothing for `network`, where the hosts have their addresses inside, leaves the host otherwise: an unreachable route
    stands behind the device's own. `intact` is false if of both only that route is there.
    """

    kind: ClassVar[str] = NAME
    name: str = field(metadata=IDENTITY)
    port: int
    mtu: int
    public_key: str
    network: str
    peers: tuple[tuple[str, str, str, int], ...] = ()
    state: str = "up"
    intact: bool = field(default=True, metadata=REPLACE)

    def ref(self) -> Ref:
        """Name it after its place, the host, and its name."""
        return Ref(NAME, f"{place(HOST)}/{self.name}")

    def provides(self) -> tuple[str, ...]:
        """Its addresses need it, and the tunnels that go through it."""
        return (f"link:{place(HOST)}/{self.name}",)


SCHEMA = Wireguard


def observe(kernel: Kernel, known: Mapping[Ref, Wireguard]) -> Iterable[Wireguard]:
    """Give the devices that bear the lab's mark, with their keys and peers as they are now."""
    there = set()
    for _, link, ref, _ in kernel.seen.marked_links([HOST], NAME):
        if link.kind == NAME and ref.name == f"{place(HOST)}/{link.name}":
            there.add(ref)
            device = kernel.wireguard.read(link.name)
            wanted = {peer[0]: peer for peer in known[ref].peers} if ref in known else {}
            peers = sorted(_seen(peer, wanted.get(peer.public_key)) for peer in device.peers)
            yield Wireguard(
                name=link.name,
                port=device.port,
                mtu=link.mtu,
                public_key=device.public_key,
                network=_guarded(kernel, known[ref].network if ref in known else ""),
                peers=tuple(peers),
                state="up" if link.up else "down",
            )
    for ref, want in known.items():
        if ref not in there and _guarded(kernel, want.network):
            yield replace(want, intact=False)


def _guarded(kernel: Kernel, network: str) -> str:
    """Give a network if its unreachable route is there; without one, whichever there is."""
    routes = kernel.seen.once("guards", lambda: kernel.netlink.look(HOST, Interest(frozenset(), routes=frozenset({6}))).routes)
    found = [route.destination for route in routes if (route.type, route.metric) == ("unreachable", _LAST)]
    return network if network in found else "" if network or not found else found[0]


def _seen(peer: wireguard.Peer, wanted: tuple[str, str, str, int] | None) -> tuple[str, str, str, int]:
    """Say what a peer is; one that has lately proved its key from another address is where it was said to be, and roams."""
    allowed = ",".join(sorted(peer.allowed))
    roams = wanted is not None and time.time() - peer.handshake < _FRESH
    return peer.public_key, wanted[1] if wanted and roams else peer.endpoint, allowed, peer.keepalive


def obstacles(kernel: Kernel, wants: Sequence[Wireguard]) -> Mapping[Ref, str]:
    """A kernel without WireGuard, a link or a port that is somebody else's, and a key that is not this host's."""
    lacks = linktypes.lacks(kernel, NAME)
    found = {want.ref(): lacks for want in wants} if lacks else kernel.taken((want.ref(), HOST, want.name) for want in wants)
    for want in wants:
        if kernel.keys.private(want.public_key) is None:
            found[want.ref()] = (
                f'This host has no private key to the public key "{want.public_key}": '
                "what is planned before there is a key cannot be saved and done later. Run `nsprov up` without a saved plan."
            )
        elif want.port in _ports(kernel):
            found[want.ref()] = f"UDP port {want.port} is in use on this host."
        elif kernel.files.read_sysctl(HOST, _NO_IPV6) is None:
            found[want.ref()] = "This host has no IPv6, and the addresses inside of the encrypted network are of it."
    return found


def _ports(kernel: Kernel) -> set[int]:
    """Give the UDP ports that something on this host listens on."""
    kernel.namespaces.enter_net(HOST)
    found: set[int] = set()
    for path in _UDP:
        with contextlib.suppress(FileNotFoundError), open(path, encoding="ascii") as file:
            found.update(int(line.split()[1].rpartition(":")[2], 16) for line in file.readlines()[1:])
    return found


def create(kernel: Kernel, wants: Sequence[Wireguard]) -> None:
    """Create the devices, each marked and with its key and peers before it goes up."""

    def finish(done: Collection[Ref]) -> Iterator[Request]:
        for want in wants:
            if want.ref() in done:
                mark = LinkSettings(name=want.name, alias=kernel.mark(want.ref()))
                yield Request(HOST, set_link(0, mark), want.ref())

    with creating(kernel.netlink, finish) as done:
        kernel.netlink.send((Request(HOST, wireguard.new_device(want.name, want.mtu), want.ref()) for want in wants), done)
    kernel.netlink.send(_guard(RTM_NEWROUTE, want) for want in wants)
    for want in wants:
        if kernel.files.read_sysctl(HOST, _NO_IPV6) != "0":  # for the host's own links; its user has asked for this one
            kernel.files.write_sysctl(HOST, f"net.ipv6.conf.{want.name}.disable_ipv6", "0")
        _configure(kernel, want, None)
        _set_state(kernel, want, None)


def update(kernel: Kernel, pairs: Sequence[tuple[Wireguard, Wireguard]]) -> None:
    """Set what differs, in place; peers that stay keep their sessions."""
    for before, after in pairs:
        if before.public_key != after.public_key:
            _remember(kernel, before.name)
        if before.network != after.network:
            _unguard(kernel, before)
            kernel.netlink.send([_guard(RTM_NEWROUTE, after)])
        _configure(kernel, after, before)
        _set_state(kernel, after, before)


def delete(kernel: Kernel, haves: Sequence[Wireguard]) -> None:
    """Delete the devices and forget their keys."""
    present = kernel.seen.links(HOST)
    for have in haves:
        if have.name in present and present[have.name].kind == NAME:
            _remember(kernel, have.name)
    kernel.keys.forget()
    kernel.delete_links(NAME, [have.ref() for have in haves], [HOST])
    for have in haves:
        _unguard(kernel, have)


def _guard(operation: int, want: Wireguard) -> Request:
    route = Route(want.network, MAIN_TABLE, _LAST, "unreachable", PROTO, None, None, None, ())
    return Request(HOST, route_message(operation, route), want.ref(), absent_is_fine=operation == RTM_DELROUTE)


def _unguard(kernel: Kernel, have: Wireguard) -> None:
    if have.network:
        kernel.netlink.send([_guard(RTM_DELROUTE, have)])


def _remember(kernel: Kernel, name: str) -> None:
    """Hold the key that a device has, for a rollback may want it again."""
    private = kernel.wireguard.read(name).private_key
    if private:
        kernel.keys.hold(private)


def _configure(kernel: Kernel, want: Wireguard, before: Wireguard | None) -> None:
    private = None
    if before is None or before.public_key != want.public_key:
        private = kernel.keys.private(want.public_key)
        if private is None:
            raise KernelError(_without_key(want), 0)
        kernel.keys.store(want.public_key)
    old = {peer[0]: peer for peer in before.peers} if before else {}
    new = {peer[0]: peer for peer in want.peers}
    settings = wireguard.Settings(
        private_key=private,
        port=want.port if before is None or before.port != want.port else None,
        peers=tuple(_peer(peer) for key, peer in new.items() if old.get(key) != peer),
        gone=tuple(key for key in old if key not in new),
        alone=before is None,
    )
    try:
        kernel.wireguard.set(want.name, settings)
    except OSError as problem:
        raise refused(want.ref(), problem.errno or 0, problem.strerror or "") from problem


def _peer(row: tuple[str, str, str, int]) -> wireguard.Peer:
    key, endpoint, allowed, keepalive = row
    return wireguard.Peer(key, endpoint, tuple(filter(None, allowed.split(","))), keepalive)


def _set_state(kernel: Kernel, want: Wireguard, before: Wireguard | None) -> None:
    """Set what rtnetlink sets. A device that goes up switches a sysctl of the whole host off (wg_open()): it is put back."""
    redirects = kernel.files.read_sysctl(HOST, _REDIRECTS)
    kernel.netlink.send(Request(HOST, set_link(0, settings), want.ref()) for settings in _settings(want, before))
    if redirects is not None and redirects != kernel.files.read_sysctl(HOST, _REDIRECTS):
        kernel.files.write_sysctl(HOST, _REDIRECTS, redirects)


def _settings(want: Wireguard, before: Wireguard | None) -> Iterator[LinkSettings]:
    mtu = want.mtu if before is not None and before.mtu != want.mtu else None
    up = want.state == "up" if before is None or before.state != want.state else None
    if (mtu, up) != (None, None):
        yield LinkSettings(name=want.name, mtu=mtu, up=up)


def _without_key(want: Wireguard) -> Diagnostic:
    hint = "run `nsprov up` again: it makes a key, and tells the other hosts"
    return Diagnostic(f'there is no private key for "{want.ref()}"', str(want.ref()), hint=hint)
