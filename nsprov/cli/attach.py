"""`attach` and `detach`: a name, and an interface if wanted, for the network of a process or container that lives."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsprov import fleet
from nsprov.cli import options, reaching, targets, views
from nsprov.cli.options import Given, Output
from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Source = Annotated[str, typer.Argument(help="A process id, or docker:NAME, podman:NAME or netns:/PATH.")]
Name = Annotated[str, typer.Argument(help="The name below /run/netns.")]
NameOption = Annotated[str, typer.Option("--name", help="The name below /run/netns.")]
BridgeOption = Annotated[str | None, typer.Option("--bridge", help="Put an interface into it, on this bridge of the host.")]
AddressOption = Annotated[list[str] | None, typer.Option("--address", help="An address of that interface, with its length.")]
InterfaceOption = Annotated[str, typer.Option("--interface", help="What that interface is called.")]
HostOption = Annotated[str, typer.Option("--host", help="The host where it lives.")]

_DEVICE = "eth1"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(options.shared(topology=options.TopologyOption)(attach))
    app.command()(options.shared(topology=options.TopologyOption)(detach))


def attach(  # noqa: PLR0913, PLR0917 - each is an option of the command
    given: Given,
    source: Source,
    name: NameOption,
    bridge: BridgeOption = None,
    address: AddressOption = None,
    interface: InterfaceOption = _DEVICE,
    host: HostOption = "localhost",
) -> int:
    """Give a living network a name that `ip netns` knows, and an interface on a bridge if wanted; all of it or nothing."""
    if bridge is None and (address or interface != _DEVICE):
        hint = "add --bridge BRIDGE, or leave --address and --interface out"
        raise InputError(Diagnostic("an interface needs a bridge of the host to be on", "--bridge", hint=hint))
    request: dict[str, Any] = {"source": f"pid:{source}" if source.isdigit() else source, "name": name}
    if bridge is not None:
        request.update(bridge=bridge, interface=interface, addresses=list(address or ()))
    reply = _ask(given, host, {"verb": "attach", **request})
    if given.output is not Output.TEXT:
        views.dump({key: reply[key] for key in ("changed", "attached")})
    elif reply["changed"]:
        views.say(f"{request['source']} is attached as {name}" + (f", with {interface} on {bridge}" if bridge else ""))
    else:
        views.say(f"{request['source']} is attached as {name} already")
    return 0


def detach(given: Given, name: Name, host: HostOption = "localhost") -> int:
    """Take away a name that `attach` has given, and its interface; the network and who is in it live on."""
    reply = _ask(given, host, {"verb": "detach", "name": name})
    if given.output is not Output.TEXT:
        views.dump({"name": name, "source": reply["source"]})
    else:
        views.say(f"{name} is detached" + (f" from {reply['source']}" if reply["source"] else ""))
    return 0


def _ask(given: Given, host: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the agent of one host."""
    target = reaching.entered([targets.load_inventory(given).host(host)], given)[0]
    user = os.environ.get("SUDO_USER") or os.environ.get("USER") or os.geteuid()
    with fleet.opened([target], given.run_options()) as found:
        replies = found.ask({target.name: {**request, "holder": f"{user}@{socket.gethostname()}"}})
        error = found.outcomes[target.name].error
        if error is not None:
            raise error
        return replies[target.name]
