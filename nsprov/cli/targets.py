"""What a command works on: the topology that it means, what must hold where, and the hosts as they are to be entered."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nsprov import fleet
from nsprov.cli import limits
from nsprov.cli.reaching import entered, vault_passwords
from nsprov.errors import Diagnostic, InputError
from nsprov.provision import Settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov import transport
    from nsprov.cli.options import Given
    from nsprov.inventory import Host, Inventory
    from nsprov.plan.resource import Ref, Resource
    from nsprov.provision import Finder, Wanted
    from nsprov.topology import Topology

DEFAULT_TOPOLOGY = "topology.yml"
PLAN_FORMAT = "nsprov_plan"
"""The key that tells a saved plan; its value is the format's version."""


@dataclass(frozen=True)
class Target:
    """A lab with what must hold on each of its hosts; `early` is an agent that was started meanwhile.

    `find` finds other hosts of the inventory by their names.
    With `-l` it is a part of the lab: `outside` names the other hosts, and `cut` says what of it would be left in half.
    """

    lab: str
    path: str
    wanted: Wanted
    hosts: Sequence[Host]
    find: Finder
    early: transport.Session | None = None
    outside: Sequence[str] = ()
    cut: Sequence[Diagnostic] = ()

    @property
    def states(self) -> Mapping[str, Mapping[Ref, Resource]]:
        """Give what must hold where, as far as that is known without asking the hosts."""
        return self.wanted.states({})

    def whole(self) -> Target:
        """Give it, unless acting on it would leave something in half.

        Raises:
            InputError: it would.

        """
        if self.cut:
            raise InputError(*self.cut)
        return self


def find_topology(given: str | None) -> str:
    """Give the path of the topology file: the one named, else `topology.yml` here or in a parent.

    Raises:
        InputError: there is none.

    """
    if given is not None:
        return given
    found = default_topology()
    if found is None:
        raise InputError(
            Diagnostic(
                f'there is no "{DEFAULT_TOPOLOGY}" here or in a parent',
                where=os.getcwd(),
                hint="name a topology file, or a lab with --lab",
            )
        )
    return found


def default_topology() -> str | None:
    """Give the path of `topology.yml` here or in a parent, if there is one."""
    folder = os.getcwd()
    while True:
        path = os.path.join(folder, DEFAULT_TOPOLOGY)
        if os.path.isfile(path):
            return os.path.relpath(path)
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)


def variables(given: Given) -> dict[str, Any]:
    """Read `KEY=VALUE` pairs, JSON objects and `@FILE`s; a value that is JSON is that, any other is a string.

    Raises:
        InputError: one of them is none of these, or its file is no mapping.

    """
    found: dict[str, Any] = {}
    for pair in given.variables or ():
        key, equals, value = pair.partition("=")
        if pair.lstrip().startswith("{"):
            found.update(_object(pair))
        elif pair.startswith("@"):
            found.update(_of_file(pair[1:], given))
        elif not equals or not key.isidentifier():
            raise InputError(Diagnostic(f'"{pair}" sets no variable', "-e", hint="write KEY=VALUE, a JSON object or @FILE"))
        else:
            found[key] = _value(value)
    return found


def _of_file(path: str, given: Given) -> Mapping[str, Any]:
    """Read a file of variables: YAML or JSON, encrypted or not."""
    from nsprov.playbook.reading import load_variables  # noqa: PLC0415 - for start-up: hardly ever needed

    return load_variables(os.path.expanduser(path), vault_passwords(given))


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as problem:
        raise InputError(Diagnostic("extra variables are not JSON", "-e", str(problem), "write KEY=VALUE")) from problem
    return dict(found)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def load_topology(given: Given) -> Topology:
    """Read the topology that the command line means."""
    from nsprov import topology  # noqa: PLC0415 - for start-up: commands on a lab's name read none

    path = find_topology(given.topology)
    if saved_plan(path) is not None:
        hint = f"carry it out with `nsprov up {path}`, or name the topology that it was made of"
        raise InputError(Diagnostic("this is a saved plan and no topology", path, hint=hint))
    return topology.load(path, variables(given))


def saved_plan(path: str) -> dict[str, Any] | None:
    """Read a file that `plan --out` wrote; `None` if it is none, and then it is a topology."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read(1) != "{":
                return None
            file.seek(0)
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get(PLAN_FORMAT) == 1 else None


def load_target(given: Given, *, joined: bool = False, rebalance: bool = False) -> Target:
    """Read the topology and the inventory and give what must hold where; if it is to be `joined`, with hosts' addresses."""
    from nsprov.wanted import layout  # noqa: PLC0415 - for start-up, as above

    inventory = load_inventory(given)
    found = layout(load_topology(given), inventory, rebalance=rebalance)
    hosts = limits.chosen(given, inventory, list(found.hosts))
    inside = {host.name for host in hosts}
    outside = [name for name in found.hosts if name not in inside]
    cut: Sequence[Diagnostic] = ()
    if outside:
        cut = limits.cut_open(found.topology) if found.is_open else limits.cut(found.placed({}), inside)
        found = replace(found, inside=inside)
    if joined and found.may_cross:
        from nsprov import underlay  # noqa: PLC0415 - for start-up: not for labs of one host
        from nsprov.resolve.ways import Known  # noqa: PLC0415 - as above

        found = replace(found, known=Known(None, *underlay.addresses(found.hosts.values())))
    lab, path = found.topology.name, found.topology.path
    return Target(lab, path, found, entered(hosts, given), finder(inventory, given), outside=outside, cut=cut)


def load_target_early(given: Given, *, rebalance: bool = False) -> Target:
    """Do as `load_target`, with the local agent at work on the lab's probable name from the start.

    Raises:
        InputError: `-l` would cut the lab.

    """
    path = find_topology(given.topology)
    early = fleet.start_early(_probable_lab(path))
    try:
        return replace(load_target(given, joined=True, rebalance=rebalance).whole(), early=early)
    except BaseException:
        if early is not None:
            early.close()
        raise


_NAME = re.compile(rb"^name:[ \t]*[\"']?([a-z][a-z0-9-]*)", re.MULTILINE)


def _probable_lab(path: str) -> str:
    """Guess the lab's name without reading the file as YAML; a wrong guess costs nothing but the guess."""
    try:
        with open(path, "rb") as file:
            found = _NAME.search(file.read(1 << 16))
    except OSError:
        found = None
    return found[1].decode() if found else os.path.basename(path).partition(".")[0]


def load_inventory(given: Given) -> Inventory:
    """Read the inventory, or give one with this host alone."""
    from nsprov.inventory import load_inventory as load  # noqa: PLC0415 - for start-up, as above

    # Not by typer, which would split it at blanks.
    named = os.environ.get("NSPROV_INVENTORY")
    sources = given.inventory or ([named] if named else [])
    return load(sources, _beside(given), vault_passwords(given)) if sources else load()


def _beside(given: Given) -> str | None:
    """Give the directory of the topology, whose `group_vars` and `host_vars` count too."""
    path = given.topology if given.topology and os.path.isfile(given.topology) else default_topology()
    return None if path is None else os.path.dirname(os.path.abspath(path))


def finder(inventory: Inventory, given: Given) -> Finder:
    """Make what finds hosts that have, or may have, a part in a lab that its file does not tell of."""

    def find(names: Sequence[str], *, sure: bool) -> Sequence[Host]:
        there = {*inventory.names("all"), "localhost"}
        missing = [name for name in names if name not in there]
        if sure and missing:
            detail = "The lab's record on another host names it: something of the lab may be there."
            hint = "add it, or if it is gone for good: --forget"
            summaries = [(f'host "{name}" is not in the inventory', f"{hint} {name}") for name in missing]
            raise InputError(*(Diagnostic(text, inventory.path or "inventory", detail, hint) for text, hint in summaries))
        return entered([inventory.host(name) for name in names if name in there], given)

    return find


def by_name(given: Given) -> Target:
    """Give the lab and its hosts; of a file only if no name is given, so that a lab can go when its file is gone."""
    is_file = given.topology is None or os.path.exists(given.topology) or not _is_name(given.topology)
    if given.lab is None and is_file:
        return load_target(given)
    name = str(given.lab or given.topology)
    if not _is_name(name):
        raise InputError(Diagnostic(f'"{name}" is no name of a lab', "--lab", hint="use lower-case letters, digits and -"))
    inventory = load_inventory(given)
    hosts = entered(limits.chosen(given, inventory), given)
    return Target(name, "", Settled({host.name: {} for host in hosts}), hosts, finder(inventory, given))


def _is_name(text: str) -> bool:
    return text[:1].isalpha() and text.replace("-", "").isalnum() and text.isascii() and text.islower()
