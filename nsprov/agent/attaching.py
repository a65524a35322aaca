"""Attach one living network, and detach it: a lab of its own with one node, which no file describes.

Its name begins with `@`, which no lab's name can: so nothing but these two verbs works on it.
"""

from __future__ import annotations

import ipaddress
import re
import zlib
from typing import TYPE_CHECKING, Any

from nsprov.agent.run import Run
from nsprov.errors import Conflict, Diagnostic, Difference, InputError, NothingMatched, NsprovError, RollbackIncomplete
from nsprov.kinds import SCHEMAS
from nsprov.plan.resource import HOST, Resource, decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsprov.kernel.rtnl import Link
    from nsprov.plan.change import Change

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_LONGEST = 15
"""IFNAMSIZ less the terminating zero."""


def attach(request: Mapping[str, Any]) -> dict[str, Any]:
    """Name a living network, and put an interface into it if a bridge is given; all of it or nothing.

    Raises:
        Conflict: the name is taken, by us or others, or something in the network is in the way.
        NothingMatched: there is no such bridge.

    """
    name = _checked(request)
    run = Run(f"@{name}", {})
    with run.kernel.lab.locked(str(request.get("holder", "nsprov"))):
        wanted = list(_wanted(run, name, request))
        run.desired = {resource.ref(): resource for resource in wanted}
        run.look()
        if run.applied and not run.interrupted and run.applied != run.desired:
            detail, hint = f"It leads to {_source(run.applied.values())}.", f"run `nsprov detach {name}` first"
            raise Conflict(Diagnostic(f'"{name}" is attached already, and not like this', f"/run/netns/{name}", detail, hint))
        changed = bool(run.plan())
        _carry_out(run)
        return {"changed": changed, "attached": [vars(resource) | {"kind": resource.kind} for resource in wanted]}


def detach(request: Mapping[str, Any]) -> dict[str, Any]:
    """Take an interface out that `attach` has put in, and the name away; the network lives on.

    Raises:
        NothingMatched: nothing is attached under that name.

    """
    name = _checked(request)
    run = Run(f"@{name}", {})
    with run.kernel.lab.locked(str(request.get("holder", "nsprov"))):
        run.look()
        if not run.observed and not run.kernel.lab.exists():
            hint = "`nsprov ls` shows what is attached, with an @"
            raise NothingMatched(Diagnostic(f'nothing is attached as "{name}"', hint=hint))
        source = _source(run.applied.values())
        run.plan()
        _carry_out(run)
        return {"source": source}


def _carry_out(run: Run) -> None:
    """Act and look whether it holds; whatever ends it before, put back what was."""
    try:
        run.execute(lambda *_: None)
        _none(run.verify(), Difference, "is not as asked")
    except BaseException:
        _none(run.rollback(), RollbackIncomplete, "is left")
        raise
    run.commit()


def _none(left: Sequence[Change], kind: type[NsprovError], words: str) -> None:
    if left:
        raise kind(*(Diagnostic(f'"{change.ref}" {words}', str(change.ref), change.reason) for change in left))


def _checked(request: Mapping[str, Any]) -> str:
    """Check the name: it becomes part of paths."""
    name = request.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "host":
        hint = "begin with a letter, and use letters, digits, dots, - and _ only, 64 at most; and not `host`"
        raise InputError(Diagnostic(f"{name!r} is no name for a network", hint=hint))
    return name


def _source(resources: Any) -> str:
    return next((str(vars(resource)["source"]) for resource in resources if resource.kind == "attachment"), "")


def _wanted(run: Run, name: str, request: Mapping[str, Any]) -> Iterator[Resource]:
    """Give what must hold: the name, and with a bridge an interface with its addresses."""
    yield decode(SCHEMAS["attachment"], {"node": name, "name": name, "source": str(request.get("source"))})
    if not request.get("bridge"):
        return
    device = str(request.get("interface"))
    if not _DEVICE.fullmatch(device) or device == "lo":
        hint = f"use letters, digits, dots, - and _ only, {_LONGEST} at most"
        raise InputError(Diagnostic(f'"{device}" is no name for an interface', hint=hint))
    bridge = _bridge(run, str(request["bridge"]))
    port, mac = _port(name, device)
    fields = {"node": name, "ifname": device, "mtu": bridge.mtu, "state": "up"}
    peer = {"peer_node": HOST, "peer_ifname": port, "peer_mac": mac, "peer_mtu": bridge.mtu, "peer_state": "up"}
    yield decode(SCHEMAS["veth"], {**fields, **peer, "peer_master": bridge.name})
    for text in request.get("addresses", ()):
        address = _address(str(text))
        nodad = True if ":" in address else None
        yield decode(SCHEMAS["address"], {"node": name, "dev": device, "address": address, "nodad": nodad})


def _bridge(run: Run, name: str) -> Link:
    link = run.kernel.seen.links(HOST).get(name)
    if link is None:
        raise NothingMatched(Diagnostic(f'there is no bridge "{name}"', hint="`ip link show type bridge` lists them"))
    if link.kind != "bridge":
        raise InputError(Diagnostic(f'"{name}" is no bridge', hint="`ip link show type bridge` lists them"))
    return link


def _port(name: str, device: str) -> tuple[str, str]:
    """Name the host's end after both, or after a hash of both where that is too long, and give its MAC.

    A bridge without a MAC of its own takes the lowest of its ports': so this one is as high as it can be.
    """
    long = f"{name}-{device}"
    digest = f"{zlib.crc32(long.encode()):08x}"
    return long if len(long) <= _LONGEST else f"{name[:6]}-{digest}", f"fe:ff:{bytes.fromhex(digest).hex(':')}"


def _address(text: str) -> str:
    try:
        found = ipaddress.ip_interface(text)
    except ValueError as problem:
        raise InputError(Diagnostic(f'"{text}" is no address', detail=f"{problem}.", hint="write 192.0.2.1/24")) from problem
    if "/" not in text:
        raise InputError(Diagnostic(f'"{text}" has no prefix length', hint=f"write {text}/24, or the length that is meant"))
    return found.with_prefixlen
