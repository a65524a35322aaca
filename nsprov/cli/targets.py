"""What a command works on: the topology that it means, what must hold where, and the hosts as they are to be entered."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nsprov import fleet
from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov import transport
    from nsprov.cli.options import Given
    from nsprov.inventory import Host, Inventory
    from nsprov.plan.resource import Ref, Resource
    from nsprov.topology import Topology

DEFAULT_TOPOLOGY = "topology.yml"
PLAN_FORMAT = "nsprov_plan"
"""The key that tells a saved plan; its value is the format's version."""


@dataclass(frozen=True)
class Target:
    """A lab with what must hold on each of its hosts; `early` is an agent that was started meanwhile."""

    lab: str
    path: str
    states: Mapping[str, Mapping[Ref, Resource]]
    hosts: Sequence[Host]
    early: transport.Session | None = None


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


def variables(pairs: Sequence[str]) -> dict[str, Any]:
    """Read `KEY=VALUE` pairs and JSON objects; a value that is JSON is that, any other is a string."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if pair.lstrip().startswith("{"):
            found.update(_object(pair))
        elif not equals or not key.isidentifier():
            raise InputError(Diagnostic(f'"{pair}" sets no variable', "-e", hint="write KEY=VALUE or a JSON object"))
        else:
            found[key] = _value(value)
    return found


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
    return topology.load(path, variables(given.variables or ()))


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


def load_target(given: Given, loaded: Topology | None = None) -> Target:
    """Read the topology and the inventory and give what must hold where."""
    from nsprov.resolve import resolve  # noqa: PLC0415 - for start-up, as above

    found = loaded or load_topology(given)
    states = resolve(found) or {"localhost": {}}
    inventory = load_inventory(given)
    return Target(found.name, found.path, states, entered([inventory.host(name) for name in states], given))


def load_target_early(given: Given) -> Target:
    """Do as `load_target`, with the local agent at work on the lab's probable name from the start."""
    path = find_topology(given.topology)
    early = fleet.start_early(_probable_lab(path))
    try:
        return replace(load_target(given), early=early)
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

    return load(given.inventory)


def entered(hosts: Sequence[Host], given: Given) -> list[Host]:
    """Give the hosts as they are to be entered: this one through sudo unless we are root, with the password asked for once."""
    found = [replace(host, become=True) if host.connection == "local" and os.geteuid() != 0 else host for host in hosts]
    if not given.ask_become or all(host.become_password is not None for host in found):
        return found
    import getpass  # noqa: PLC0415 - for start-up: hardly ever asked

    from nsprov.inventory import Secret  # noqa: PLC0415 - for start-up

    if not sys.stdin.isatty():
        raise InputError(Diagnostic("there is no terminal to ask for the sudo password", "-K"))
    password = Secret(getpass.getpass("sudo password: "))
    return [replace(host, become_password=host.become_password or password) for host in found]


def by_name(given: Given) -> Target:
    """Give the lab and its hosts; of a file only if no name is given, so that a lab can go when its file is gone."""
    is_file = given.topology is None or os.path.exists(given.topology) or not _is_name(given.topology)
    if given.lab is None and is_file:
        return load_target(given)
    name = str(given.lab or given.topology)
    if not _is_name(name):
        raise InputError(Diagnostic(f'"{name}" is no name of a lab', "--lab", hint="use lower-case letters, digits and -"))
    inventory = load_inventory(given)
    hosts = entered(inventory.select("all"), given)
    return Target(name, "", {host.name: {} for host in hosts}, hosts)


def _is_name(text: str) -> bool:
    return text[:1].isalpha() and text.replace("-", "").isalnum() and text.isascii() and text.islower()
