"""Hosts, their groups and variables, from an Ansible-compatible YAML inventory.

The short words (`host`, `port`, `user`, ...) mean the same as Ansible's (`ansible_host`, ...).
`localhost` is always there, reached without a connection, unless the inventory says otherwise.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from nsprov.errors import Diagnostic, NothingMatched
from nsprov.topology.positions import Path, Problems, closest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCALHOST = "localhost"

_WORDS = {
    "host": "ansible_host",
    "port": "ansible_port",
    "user": "ansible_user",
    "connection": "ansible_connection",
    "become": "ansible_become",
    "become_password": "ansible_become_password",
    "python": "ansible_python_interpreter",
    "private_key": "ansible_ssh_private_key_file",
}
_SYNONYMS = {"ansible_become_pass": "ansible_become_password", "ansible_private_key_file": "ansible_ssh_private_key_file"}
_GROUP_KEYS = frozenset({"hosts", "children", "vars"})
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "ansible_port": ((int,), "a whole number"),
    "ansible_become": ((bool,), "true or false"),
}


class Secret:
    """A text that no message, log or traceback shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Store the text."""
        self._text = text

    def reveal(self) -> str:
        """Give the text itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        """Show stars."""
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Compare by the text."""
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        """Hash by the text."""
        return hash(self._text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A machine on which nodes can live, and how to get there."""

    name: str
    address: str
    port: int | None = None
    user: str | None = None
    connection: Literal["local", "ssh"] = "ssh"
    become: bool = False
    become_password: Secret | None = None
    python: str | None = None
    private_key: str | None = None
    variables: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


IMPLICIT = Host(name=LOCALHOST, address=LOCALHOST, connection="local")
"""The machine that nsprov runs on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """Every host by name, and every group with the names of its hosts."""

    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
    path: str = ""

    def host(self, name: str) -> Host:
        """Give a host by its name; `localhost` needs no entry.

        Raises:
            NothingMatched: there is none.

        """
        if name in self.hosts:
            return self.hosts[name]
        if name == LOCALHOST:
            return IMPLICIT
        hint = closest(name, [*self.hosts, LOCALHOST]) or "add it to the inventory, and give that with -i"
        raise NothingMatched(Diagnostic(f"there is no host {shown(name)}", self.path or "inventory", hint=hint))

    def select(self, pattern: str) -> tuple[Host, ...]:
        """Give the hosts that a name, a group, `all` or a shell pattern stands for, in the inventory's order.

        Raises:
            NothingMatched: there are none.

        """
        if pattern == "all":
            return tuple(self.hosts.values()) or (IMPLICIT,)
        if pattern in self.groups:
            return tuple(self.hosts[name] for name in self.groups[pattern])
        if pattern not in self.hosts and any(char in pattern for char in "*?["):
            found = tuple(host for name, host in self.hosts.items() if fnmatch.fnmatchcase(name, pattern))
            if found:
                return found
        hint = closest(pattern, [*self.groups])
        return (self.host(pattern),) if not hint or pattern in (*self.hosts, LOCALHOST) else self._nothing(pattern, hint)

    def _nothing(self, pattern: str, hint: str) -> tuple[Host, ...]:
        raise NothingMatched(Diagnostic(f"no host and no group is {shown(pattern)}", self.path or "inventory", hint=hint))


def load_inventory(path: str | None) -> Inventory:
    """Read an inventory file; none means that there is only this machine.

    Raises:
        InputError: everything that is wrong with the file, each with its line and column.

    """
    if path is None:
        return Inventory(hosts={LOCALHOST: IMPLICIT}, groups={})
    # Start-up time: without an inventory there is no YAML to read.
    from nsprov.topology.source import read  # noqa: PLC0415

    problems = Problems(read(path))
    gathered = _Gathered(problems)
    if isinstance(problems.source.value, dict):
        for name, group in problems.source.value.items():
            gathered.group(name, group, (name,), {})
    else:
        problems.add((), "an inventory must be a mapping", 'start with "all:"')
    problems.settle()
    hosts = {name: gathered.host(name) for name in gathered.variables}
    problems.settle()
    return Inventory(hosts=hosts, groups={name: tuple(names) for name, names in gathered.groups.items()}, path=path)


class _Gathered:
    """Collects hosts and groups while the file is walked."""

    def __init__(self, problems: Problems) -> None:
        """Start with nothing."""
        self.problems = problems
        self.variables: dict[str, dict[str, Any]] = {}
        self.paths: dict[str, Path] = {}
        self.groups: dict[str, dict[str, None]] = {}

    def group(self, name: str, given: Any, path: Path, inherited: Mapping[str, Any]) -> dict[str, None]:
        """Read one group and those below it; give the names of all hosts in it."""
        members = self.groups.setdefault(name, {})
        given = self._mapping(given, path)
        for key in given.keys() - _GROUP_KEYS:
            self.problems.add((*path, key), f"unknown key {shown(key)}", closest(key, _GROUP_KEYS) or 'use "hosts"', key=True)
        variables = {**inherited, **_normal(self._mapping(given.get("vars"), (*path, "vars")))}
        for host, own in self._mapping(given.get("hosts"), (*path, "hosts")).items():
            where = (*path, "hosts", host)
            members[host] = None
            self.variables[host] = {**self.variables.get(host, {}), **variables, **_normal(self._mapping(own, where))}
            self.paths[host] = where
        for child, inner in self._mapping(given.get("children"), (*path, "children")).items():
            members.update(self.group(child, inner, (*path, "children", child), variables))
        return members

    def _mapping(self, given: Any, path: Path) -> Mapping[str, Any]:
        if given is None:
            return {}
        if isinstance(given, dict):
            return given
        self.problems.add(path, f"{shown(str(path[-1]))} must be a mapping", 'write "name:" lines, indented below it')
        return {}

    def host(self, name: str) -> Host:
        """Build one host from everything that was said about it."""
        given = dict(self.variables[name])
        for word, (types, meaning) in _TYPES.items():
            if word in given and type(given[word]) not in types:
                path = (*self.paths[name], word)
                self.problems.add(path, f"{shown(word)} must be {meaning}, not {shown(given[word])}", "correct it")
                del given[word]
        connection = str(given.get("ansible_connection", "local" if name == LOCALHOST else "ssh"))
        if connection not in ("local", "ssh"):
            path = (*self.paths[name], "ansible_connection")
            self.problems.add(path, f"connection {shown(connection)} is not supported", 'use "ssh" or "local"')
        password = given.pop("ansible_become_password", None)
        return Host(
            name=name,
            address=str(given.get("ansible_host", name)),
            port=given.get("ansible_port"),
            user=_text(given.get("ansible_user")),
            connection="local" if connection == "local" else "ssh",
            become=given.get("ansible_become", False),
            become_password=None if password is None else Secret(str(password)),
            python=_text(given.get("ansible_python_interpreter")),
            private_key=_text(given.get("ansible_ssh_private_key_file")),
            variables=MappingProxyType(given),
        )


def _normal(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give variables under Ansible's own names."""
    return {_WORDS.get(key) or _SYNONYMS.get(key, key): value for key, value in given.items()}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
