"""Start the inits of nodes, from the agent: a fresh interpreter forks them all, so that they share its pages.

It is a fresh one because a fork of the agent would hold the whole lab, secrets included, in memory that the root of
one node may read. It gets the modules it needs compiled, through memory, and a node's descriptors; it ends when we do.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import marshal
import os
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, KernelError
from nsprov.init import PARTS
from nsprov.kernel.namespaces import TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_TABLE, _CHANNEL = 3, 4
_COMMAND = f"import marshal as nsprov_init; memory = open({_TABLE}, 'rb'); exec(nsprov_init.load(memory))"
"""What ps(1) shows of every init: short, and it says whose it is."""

_STUB = f"""
import marshal, sys
from importlib.machinery import ModuleSpec
class Table(dict):
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self, is_package=self[name][0]) if name in self else None
    def create_module(self, spec): return None
    def exec_module(self, module): exec(self[module.__name__][1], vars(module))
sys.meta_path.insert(0, Table(marshal.load(memory)))
memory.close()
from nsprov.init.zygote import main
main({_CHANNEL})
"""
_FLOOR = 10
"""Descriptors are moved from here up first: what becomes 3 must not overwrite what becomes 4."""
_REPLY = 4096


@dataclass(frozen=True)
class Birth:
    """What an init is born into: descriptors, each closed when the request is on its way.

    `groups` are files to join control groups by; `spaces` are namespaces by type; with `pid` it becomes PID 1 of a new one.
    """

    node: str
    listener: int
    logs: int
    groups: Sequence[int]
    spaces: Mapping[str, int]
    pid: bool


class Zygote:
    """The interpreter that forks inits; a context manager, at whose end it is gone and they are not."""

    def __enter__(self) -> Zygote:  # noqa: PYI034 - Self is of Python 3.11
        """Start it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        table = _table()
        floor = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FLOOR) for fd in (table, theirs.fileno())]
        os.close(table)
        theirs.close()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
            (os.POSIX_SPAWN_DUP2, floor[0], _TABLE),
            (os.POSIX_SPAWN_DUP2, floor[1], _CHANNEL),
        ]
        argv = [sys.executable, "-I", "-S", "-c", _COMMAND]
        defaults = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE]
        self._pid = os.posix_spawn(argv[0], argv, {}, file_actions=actions, setsigdef=defaults)
        for fd in floor:
            os.close(fd)
        self._channel = ours
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        """End it."""
        self._channel.close()
        os.waitpid(self._pid, 0)

    def ask(self, birth: Birth) -> None:
        """Ask for an init; `born` gives what became of it."""
        kinds = [kind for kind in TYPES if kind in birth.spaces]
        flags = [TYPES[kind] for kind in kinds]
        request = {"node": birth.node, "groups": len(birth.groups), "spaces": flags, "pid": birth.pid}
        fds = [birth.listener, birth.logs, *birth.groups, *(birth.spaces[kind] for kind in kinds)]
        try:
            socket.send_fds(self._channel, [json.dumps(request).encode()], fds)
        finally:
            for fd in fds:
                os.close(fd)

    def born(self) -> tuple[str, int, int | None]:
        """Wait for the next init and give its node, its pid as we see it, and its new pid namespace if it has one.

        Raises:
            KernelError: it could not enter the node.

        """
        try:
            data, fds, _, _ = socket.recv_fds(self._channel, _REPLY, 1)
        except ConnectionResetError:  # it ended before it had read all requests
            data, fds = b"", []
        if not data:
            raise KernelError(Diagnostic("the inits of nodes could not be started", detail="Their interpreter ended."), 0)
        reply = json.loads(data)
        if "error" in reply:
            raise _stillborn(reply["node"], *reply["error"])
        return reply["node"], reply["pid"], fds[0] if fds else None


def _stillborn(node: str, number: int, words: str) -> KernelError:
    return KernelError(Diagnostic(f'the init of node "{node}" did not start', node, f"{words}."), number)


def _table() -> int:
    """Give a descriptor of the stub's code, and behind it the modules that an init runs on: {name: (is it a package, code)}."""
    table = {}
    for name in PARTS:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        package = spec.submodule_search_locations is not None
        # The top-level package would bring what only a controller has.
        code = compile("", name, "exec") if package else spec.loader.get_code(name)  # type: ignore[union-attr]  # ours have one
        table[name] = (package, code)
    fd = os.memfd_create("nsprov-init")
    with open(fd, "wb", closefd=False) as file:
        marshal.dump(compile(_STUB, "nsprov.init", "exec"), file)
        marshal.dump(table, file)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
