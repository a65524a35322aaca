"""What `-i` names: files, directories of them, lists of hosts and programs, read one after the other into one inventory."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from nsprov.errors import Diagnostic, InputError
from nsprov.inventory import ranges
from nsprov.inventory.ini_file import read_ini
from nsprov.inventory.merging import Merging
from nsprov.inventory.model import Group, Inventory
from nsprov.inventory.places import Complaints, Place
from nsprov.inventory.reaching import make
from nsprov.inventory.rendering import Rendered
from nsprov.inventory.script import read_script
from nsprov.inventory.tree import ALL, UNGROUPED, Tree
from nsprov.inventory.unsealing import HINT, Opener
from nsprov.inventory.variable_files import VAULT, Shelf
from nsprov.inventory.yaml_file import read_yaml
from nsprov.topology.positions import Flaw, Source
from nsprov.topology.source import read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.inventory.model import Host
    from nsprov.vault import Password

V = TypeVar("V")

_IGNORED = re.compile(
    r"\.|(?:host_vars|group_vars|vars_plugins)$|.*(?:~|\.(?:pyc|pyo|swp|bak|rpm|md|txt|rst|orig|cfg|retry))$", re.DOTALL
)
"""What is no inventory in a directory of them: hidden files, variables, and the endings that Ansible passes over."""

_YAML = (".yml", ".yaml", ".json")
_YAML_START = re.compile(r"""(?:---|%|\{|(?:"[^"]*"|'[^']*'|[^\s:\[\]{}"'=]+)\s*:(?:\s|$))""")
_PROGRAMS = (b"#!", b"\x7fELF")


def read(sources: Sequence[str], beside: str | None = None, passwords: Sequence[Password] = ()) -> Inventory:
    """Read all sources.

    Raises:
        InputError: everything that is wrong with them.

    """
    complaints = Complaints()
    tree, opener = Tree(complaints), Opener(passwords)
    paths = [os.path.expanduser(source) for source in sources]
    for path in paths:
        _attempt(path, tree, opener)
    whole = ", ".join(sources)
    tree.settle(Place(Source(whole, "")))
    complaints.settle()
    # The last one counts most: a directory that is named twice counts where it is named last.
    near = {os.path.realpath(folder): folder for path in reversed(paths) if (folder := _folder(path)) is not None}
    far = [] if beside is None else [Shelf(beside, opener)]
    shelves = [Shelf(one, opener) for one in reversed(near.values())]
    return _inventory(Merging(tree, shelves, far, opener), whole)


def _folder(path: str) -> str | None:
    """Give the directory whose `group_vars` and `host_vars` go with a source."""
    if not os.path.exists(path):
        return None
    return path if os.path.isdir(path) else os.path.dirname(path)


def _read(path: str, tree: Tree, opener: Opener) -> None:
    if os.path.isdir(path):
        for name in sorted(os.listdir(path)):
            if not _IGNORED.match(name):
                _attempt(os.path.join(path, name), tree, opener)
    elif "," in path and not os.path.exists(path):
        _read_list(path, tree)
    elif _is_program(path):
        read_script(path, tree)
    else:
        _read_file(path, tree, opener)


def _attempt(path: str, tree: Tree, opener: Opener) -> None:
    """Read one of several, and note what is wrong with it beside what is wrong with others."""
    try:
        _read(path, tree, opener)
    except InputError as problem:
        tree.complaints.adopt(path, problem.diagnostics)


def _is_program(path: str) -> bool:
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(4).startswith(_PROGRAMS)
    except OSError:  # who may run it and not read it cannot use it here: Ansible wants both, too
        return False


def _read_list(text: str, tree: Tree) -> None:
    place = Place(Source(text, ""))
    for part in text.split(","):
        if not part.strip():
            continue
        try:
            names, port = ranges.hosts(part.strip())
        except Flaw as flaw:
            tree.complaints.add(place, flaw.summary, flaw.hint, flaw.detail)
            continue
        for name in names:
            if name not in tree.hosts:
                host = tree.host(name, UNGROUPED, place)
                if port is not None:
                    host.own.put("ansible_port", port, place)


def _read_file(path: str, tree: Tree, opener: Opener) -> None:
    if not os.path.exists(path):
        hint = f'name a file that exists, or for a host write "{path}," with a comma'
        raise InputError(Diagnostic("there is no such inventory", path, hint=hint))
    ending = os.path.splitext(path)[1]
    if ending == ".toml":
        raise InputError(Diagnostic("an inventory in TOML is not read", path, hint="write it as YAML"))
    text = read_text(path)
    if text.startswith(VAULT):
        if not opener:
            raise InputError(Diagnostic("the file is encrypted (Ansible Vault)", path, hint=HINT))
        hint = "encrypt group_vars and host_vars, or single values"
        raise InputError(Diagnostic("an inventory cannot be encrypted as a whole", path, hint=hint))
    first = _first_line(text)
    if first and (ending in _YAML or (not ending and _YAML_START.match(first))):
        read_yaml(path, text, tree)
    elif first:
        read_ini(path, text, tree)


def _first_line(text: str) -> str:
    """Give the first line that says something: of an inventory without an ending it tells YAML from INI."""
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and line[0] not in "#;"), "")


def _whereabouts(source: str) -> Mapping[str, str | None]:
    """Give what templates may ask for of the source that named a host first."""
    if not os.path.exists(source):
        return {"inventory_file": source, "inventory_dir": None}
    path = os.path.abspath(source)
    return {"inventory_file": path, "inventory_dir": os.path.dirname(path)}


class _Lazy(Mapping[str, V]):
    """A mapping whose values are made when they are first asked for."""

    def __init__(self, names: Iterable[str], give: Callable[[str], V]) -> None:
        """Store the names and what makes a value of one."""
        self._names = dict.fromkeys(names)
        self._give = give
        self._made: dict[str, V] = {}

    def __getitem__(self, name: str) -> V:
        """Make a value, or give it again."""
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = self._give(name)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is one, without making it."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """Give the names in their order."""
        return iter(self._names)

    def __len__(self) -> int:
        """Count them."""
        return len(self._names)


def _inventory(merging: Merging, path: str) -> Inventory:
    """Give the inventory of what was read; hosts and variables are made of it as they are asked for."""
    tree = merging.tree
    groups = {
        name: Group(
            name=name,
            hosts=tuple(kin.hosts),
            children=tuple(kin.children),
            members=tree.members(name),
            priority=kin.priority,
            variables=partial(merging.group, name),
        )
        for name, kin in tree.groups.items()
    }
    rosters = {name: list(group.members) for name, group in groups.items()}
    names = groups[ALL].members
    others: Mapping[str, Rendered] = _Lazy(names, lambda name: Rendered(merging.host(name), partial(known, name)))
    here = lru_cache(maxsize=None)(_whereabouts)
    shared = {"groups": rosters, "hostvars": others, "ansible_playbook_python": sys.executable}

    def known(name: str) -> dict[str, Any]:
        short = name if ranges.is_ipv6(name) or name.replace(".", "").isdigit() else name.partition(".")[0]
        return {
            **shared,
            "inventory_hostname": name,
            "inventory_hostname_short": short,
            "group_names": sorted(tree.lineage(name)),
            **here(tree.hosts[name].source),
        }

    def host(name: str) -> Host:
        return make(name, merging.layers(name), partial(known, name))

    return Inventory(hosts=_Lazy(names, host), groups=groups, variables=_Lazy(names, merging.host), path=path)
