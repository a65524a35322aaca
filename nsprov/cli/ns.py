"""`nsprov ns`: the namespaces of a host, whether a lab made them or not: list, show, compare, pin, enter."""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsprov import fleet, inquiry, provision
from nsprov.cli import limits, ns_views, options, reaching, targets, whereabouts
from nsprov.cli.converge import report
from nsprov.cli.enter import Manner
from nsprov.cli.options import Given
from nsprov.errors import Diagnostic, Difference, InputError, NothingMatched
from nsprov.transport.terminal import hold_streams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.inventory import Host


class Kind(str, Enum):
    """The types of namespaces."""

    CGROUP = "cgroup"
    IPC = "ipc"
    MNT = "mnt"
    NET = "net"
    PID = "pid"
    TIME = "time"
    USER = "user"
    UTS = "uts"


_WHAT = "A node, LAB/NODE, a PID, a path that begins with /, or a name that was pinned."
Subject = Annotated[str, typer.Argument(help=_WHAT, metavar="NODE|PID|PATH")]
Name = Annotated[str, typer.Argument(help="The name to pin under: a letter, then letters, digits, dots, - and _.")]
KindsOption = Annotated[list[Kind] | None, typer.Option("--type", help="Only this type; again for more.")]
HostOption = Annotated[str | None, typer.Option("--host", help="The host of the inventory to look on, instead of this one.")]
DeletedOption = Annotated[bool, typer.Option("--deleted", help="Only those that live on without a name.")]
Command = Annotated[list[str] | None, typer.Argument(help="The command and its arguments, after --; default a shell.")]

app = typer.Typer(
    help="The namespaces of a host, of labs and of others: list, show, compare, pin, enter.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("ls")
@options.shared(topology=options.TopologyOption)
def list_namespaces(given: Given, kinds: KindsOption = None, host: HostOption = None, deleted: DeletedOption = False) -> int:
    """List namespaces: as lsns does, and also those that nobody is in, with what keeps them alive and whose they are.

    With -l, those of these hosts of the inventory.
    """
    terms = {"lab": given.lab} if given.lab else {}
    request = {"do": "list", **_types(kinds), **terms}
    if given.limit is None:
        ns_views.show_list(_only(_ask(given, [_host(given, host)], request), deleted=deleted), given.output)
        return 0
    chosen = limits.chosen(given, targets.load_inventory(given), None if host is None else [host])
    hosts = reaching.entered(chosen, given)
    found = inquiry.ask(
        "ns", given.lab or "", hosts, given.run_options(), {one.name: {**request, "lab": given.lab} for one in hosts}
    )
    replies = [_only({"host": name, **_said(reply)}, deleted=deleted) for name, reply in found.replies.items()]
    ns_views.show_lists(replies, given.output)
    return report("", found.outcomes, returned=False)


def _only(reply: Mapping[str, Any], *, deleted: bool) -> dict[str, Any]:
    return {**reply, "namespaces": [one for one in reply["namespaces"] if one["deleted"] or not deleted]}


@app.command("show")
@options.shared(topology=options.TopologyOption)
def show(given: Given, subject: Subject, kinds: KindsOption = None, host: HostOption = None) -> int:
    """Show the namespaces of a node, a process or a pin: which they are, whose, who is in them, what they are like inside."""
    where, terms = _whereabouts(given, host, subject)
    reply = _ask(given, where, {"do": "show", "subject": _meant(subject), **_types(kinds), **terms})
    ns_views.show_subject(reply, given.output)
    return 0


@app.command("same")
@options.shared(topology=options.TopologyOption)
def same(
    given: Given,
    first: Annotated[str, typer.Argument(help=_WHAT, metavar="A")],
    second: Annotated[str, typer.Argument(help="What to compare it with.", metavar="B")],
    kinds: KindsOption = None,
    host: HostOption = None,
) -> int:
    """Say which namespaces two have in common, and what that means; exit 7 if any differs."""
    where, terms = _whereabouts(given, host, first, second)
    reply = _ask(given, where, {"do": "same", "a": _meant(first), "b": _meant(second), **_types(kinds), **terms})
    ns_views.show_same(reply, given.output)
    return 0 if all(one["same"] for one in reply["types"]) else Difference.exit_code


@app.command("pin")
@options.shared(topology=options.TopologyOption)
def pin(
    given: Given,
    pid: Annotated[int, typer.Argument(help="The process.", min=1)],
    name: Name,
    kinds: KindsOption = None,
    host: HostOption = None,
) -> int:
    """Pin the namespaces of a process, so that they outlive it: all that are not this host's own, or those of --type."""
    reply = _ask(given, [_host(given, host)], {"do": "pin", "pid": pid, "name": name, **_types(kinds)})
    ns_views.show_pinned(reply, given.output)
    return 0


@app.command("unpin")
@options.shared(topology=options.TopologyOption)
def unpin(given: Given, name: Name, kinds: KindsOption = None, host: HostOption = None) -> int:
    """Give up what `ns pin` has pinned, and say what still keeps it alive."""
    reply = _ask(given, [_host(given, host)], {"do": "unpin", "name": name, **_types(kinds)})
    ns_views.show_unpinned(reply, given.output)
    return 0


@app.command("enter")
@options.shared(topology=options.TopologyOption)
def enter(given: Given, subject: Subject, argv: Command = None, kinds: KindsOption = None, host: HostOption = None) -> int:
    """Run a command in namespaces, as nsenter does, and give its exit code; 126 and 127 as a shell does."""
    hold_streams()
    where, terms = _whereabouts(given, host, subject)
    manner = Manner(terminal=None, user=None, directory=None, variables=())
    request = {"subject": _meant(subject), "argv": argv or [], **manner.request(), **_types(kinds), **terms}
    for one in where[:-1]:
        try:
            return _enter_on(given, one, request)
        except NothingMatched:  # noqa: PERF203 - a try per host is what is meant
            continue
    return _enter_on(given, where[-1], request)


def _enter_on(given: Given, host: Host, request: Mapping[str, Any]) -> int:
    if host.connection == "local" and os.geteuid() == 0:
        return provision.run_inside(request)
    return provision.execute("", host, {"verb": "ns", "do": "enter", **request}, given.run_options(), terminal=None)


def _types(kinds: Sequence[Kind] | None) -> dict[str, list[str]]:
    return {"kinds": [kind.value for kind in kinds]} if kinds else {}


def _meant(subject: str) -> str:
    """Make a path that is plainly one absolute; any other word with a slash is LAB/NODE."""
    return os.path.abspath(subject) if subject.startswith(("./", "../")) else subject


def _host(given: Given, name: str | None) -> Host:
    return reaching.entered([targets.load_inventory(given).host(name or "localhost")], given)[0]


def _whereabouts(given: Given, host: str | None, *subjects: str) -> tuple[list[Host], dict[str, str]]:
    """Say on which hosts to look, one after the other, and in which lab: the topology knows where its nodes live."""
    terms = {"lab": given.lab} if given.lab else {}
    if host is not None:
        return [_host(given, host)], terms
    if given.lab:
        return reaching.entered(limits.chosen(given, targets.load_inventory(given)), given), terms
    names = [name for name in subjects if not name.isdigit() and "/" not in name]
    if not names or (given.topology is None and targets.default_topology() is None):
        return [_host(given, None)], terms
    loaded = targets.load_topology(given)
    known = [name for name in names if name in loaded.nodes]
    if not known:
        return [_host(given, None)], {}
    inventory = targets.load_inventory(given)
    homes = [whereabouts.homes(loaded, inventory, [name]) for name in known]
    hosts = [name for name in homes[0] if all(name in others for others in homes)]
    if not hosts:
        hint = "compare nodes of the same host"
        raise InputError(Diagnostic(f"{' and '.join(names)} live on different hosts", loaded.path, hint=hint))
    terms = {"lab": loaded.name} if len(known) == len(names) else {}
    return reaching.entered([inventory.host(name) for name in hosts], given), terms


def _ask(given: Given, hosts: Sequence[Host], request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the agents of hosts, one after the other until one knows the name, and give its reply with the host."""
    for host in hosts[:-1]:
        try:
            return _ask_one(given, host, request)
        except NothingMatched:  # noqa: PERF203 - a try per host is what is meant
            continue
    return _ask_one(given, hosts[-1], request)


def _ask_one(given: Given, host: Host, request: Mapping[str, Any]) -> dict[str, Any]:
    with fleet.opened([host], given.run_options()) as opened:
        replies = opened.ask({host.name: {"verb": "ns", **request}})
        error = opened.outcomes[host.name].error
        if error is not None:
            raise error
        return {"host": host.name, **_said(replies[host.name])}


def _said(reply: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in reply.items() if key != "reply"}
