"""Inventories that a program prints: `--list` gives the groups, and the hosts' variables too or each with `--host NAME`.

The program is run as it is, without a shell.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.inventory.places import Place
from nsprov.texts import Sealed, Unsafe
from nsprov.topology.positions import Source, shown

if TYPE_CHECKING:
    from nsprov.inventory.tree import Tree

PATIENCE = 120.0
"""Seconds that a script may take for one answer."""

_LINES = 10
_META = "_meta"


def read_script(path: str, tree: Tree, patience: float = PATIENCE) -> None:
    """Run an inventory script and read what it prints into a tree; what is wrong with that is noted there.

    Raises:
        InputError: it failed, took too long, or printed no JSON.

    """
    reader = _Reader(Place(Source(path, "")), tree)
    given = _mapping(path, _asked(path, ["--list"], patience), "--list")
    meta = given.pop(_META, {})
    known = meta.get("hostvars") if isinstance(meta, dict) else None
    for name, group in given.items():
        reader.group(name, group)
    if known is not None and not isinstance(known, dict):
        reader.complain('"_meta.hostvars" must be an object')
        known = {}
    for host in reader.hosts:
        own = known.get(host, {}) if known is not None else _alone(path, host, patience)
        reader.variables(host, own)


class _Reader:
    """Reads the groups of one answer."""

    def __init__(self, place: Place, tree: Tree) -> None:
        """Store the script's place and the tree."""
        self.place = place
        self.tree = tree
        self.hosts: dict[str, None] = {}

    def group(self, name: str, given: Any) -> None:
        """Read one group: an object, or as scripts once did, a list of hosts or one host's variables."""
        self.tree.group(name)
        if not isinstance(given, dict):
            given = {"hosts": given}
        elif given.keys().isdisjoint(("hosts", "vars", "children")):
            given = {"hosts": [name], "vars": given}
        for host in self._names(name, "hosts", given):
            self.tree.host(host, name, self.place)
            self.hosts[host] = None
        values = given.get("vars", {})
        if not isinstance(values, dict):
            self.complain(f'"vars" of {shown(name)} must be an object')
            values = {}
        for word, value in values.items():
            self.tree.put(name, word, _plain(value), self.place)
        for child in self._names(name, "children", given):
            self.tree.group(child)
            self.tree.child(name, child, self.place)

    def _names(self, group: str, key: str, given: dict[str, Any]) -> list[str]:
        found = given.get(key, [])
        if isinstance(found, list) and all(isinstance(one, str) and one for one in found):
            return found
        self.complain(f"{shown(key)} of {shown(group)} must be a list of names")
        return []

    def variables(self, host: str, given: Any) -> None:
        """Read what is said of one host."""
        if not isinstance(given, dict):
            self.complain(f"the variables of {shown(host)} must be an object")
            return
        for word, value in given.items():
            self.tree.hosts[host].own.put(word, _plain(value), self.place)

    def complain(self, summary: str) -> None:
        """Note what is wrong with what the script printed."""
        self.tree.complaints.add(self.place, summary, "correct what the script prints")


def _plain(value: Any) -> Any:
    """Give a value with what Ansible marks in JSON: what is encrypted, and what is not to be rendered."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "__ansible_vault" in value:
        return Sealed(str(value["__ansible_vault"]))
    if isinstance(value.get("__ansible_unsafe"), str):
        return Unsafe(value["__ansible_unsafe"])
    return {key: _plain(one) for key, one in value.items()}


def _alone(path: str, host: str, patience: float) -> dict[str, Any]:
    printed = _asked(path, ["--host", host], patience)
    return _mapping(path, printed, f"--host {host}") if printed.strip() else {}


def _mapping(path: str, printed: bytes, asked: str) -> dict[str, Any]:
    try:
        found = json.loads(printed)
    except ValueError as problem:
        hint = f"see what `{path} {asked}` prints"
        raise InputError(
            Diagnostic("the inventory script printed no JSON", path, f"Python says: {problem}.", hint)
        ) from problem
    if not isinstance(found, dict):
        hint = f"see what `{path} {asked}` prints"
        raise InputError(Diagnostic("the inventory script printed no JSON object", path, hint=hint))
    return found


def _asked(path: str, argv: list[str], patience: float) -> bytes:
    """Run the script and give what it printed."""
    command = [os.path.abspath(path), *argv]
    try:
        process = subprocess.Popen(  # noqa: S603 - the user names it as an inventory, and it is executable
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as problem:
        reason = os.strerror(problem.errno or 0).lower()
        hint = "correct its first line, or make it not executable if it is no script"
        raise InputError(Diagnostic(f"the inventory script cannot run: {reason}"[:60], path, hint=hint)) from problem
    with process:
        try:
            printed, complained = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired as problem:
            _end(process)
            hint = f"see what `{path} {' '.join(argv)}` waits for"
            raise InputError(Diagnostic(f"the inventory script took more than {patience:g} s", path, hint=hint)) from problem
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        last = "\n".join(complained.decode(errors="replace").strip().splitlines()[-_LINES:])
        how = f"exit code {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        hint = f"see what `{path} {' '.join(argv)}` needs"
        raise InputError(Diagnostic(f"the inventory script failed: {how}", path, last or "It said nothing.", hint))
    return printed


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a script and all that it has started: it has a session of its own, where not even Ctrl-C reaches it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
