"""What the connections of one run share: ~/.ssh/config's answers, keys and their passphrases, connections to jump hosts.

Whatever has to be asked for is asked for in `prepare`, before any thread is there, and once for all hosts.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.errors import NsprovError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nsprov.transport.keyring import Keyring
    from nsprov.transport.session import Host, Options
    from nsprov.transport.sshconfig import Target

_ATTEMPTS = 3
_ASKING = 8
_MAX_JUMPS = 8


class Routes:
    """The ways to the hosts of one run; `close` it after the last session."""

    def __init__(self, options: Options) -> None:
        """Store the options; what is heavy is loaded when a host needs it."""
        self.options = options
        self._lock = threading.Lock()
        self._targets: dict[Any, Future[Target]] = {}
        self._gateways: dict[str, Future[Any]] = {}
        self._keyring: Keyring | None = None

    @property
    def keyring(self) -> Keyring:
        """Give the keys that all connections share."""
        from nsprov.transport.keyring import Keyring  # noqa: PLC0415 - for start-up time: paramiko takes 130 ms

        with self._lock:
            self._keyring = self._keyring or Keyring()
            return self._keyring

    def prepare(self, hosts: Iterable[Host]) -> None:
        """Ask the user for the passphrases that will be needed, each once; to be called from the main thread.

        A host whose configuration cannot be read fails later, when it is connected to.
        """
        remote = [host for host in hosts if host.connection != "local"]
        if not remote:
            return
        from nsprov.transport import unlocking  # noqa: PLC0415 - for start-up time

        if len(remote) > 1:
            with ThreadPoolExecutor(_ASKING) as pool:  # each asks ssh -G, a process of some milliseconds
                list(pool.map(self._resolve, remote))
        ways = [(host, self._resolve(host)) for host in remote]
        for path, names in unlocking.wanted(ways, self.keyring).items():
            self._unlock(path, names)

    def _resolve(self, host: Host) -> Sequence[Target]:
        with contextlib.suppress(NsprovError):  # it is said when this host is connected to
            target = self.target(host)
            return target, *self.hops(host.name, target)
        return ()

    def _unlock(self, path: str, names: Sequence[str]) -> None:
        ask = self.options.ask
        if ask is None:
            return
        what = f'passphrase of "{path}" (for {names[0]}{f" and {len(names) - 1} more" if len(names) > 1 else ""}): '
        prompt = what
        for _ in range(_ATTEMPTS):
            given = ask(prompt)
            if not given or self.keyring.unlock(path, given, "the passphrase given"):
                return
            prompt = "That is not it; " + what

    def target(self, host: Host) -> Target:
        """Say how to reach a host."""
        from nsprov.transport import sshconfig  # noqa: PLC0415 - for start-up time

        key = (host.address, host.port, host.user, host.private_key)
        found: Target = self._settled(self._targets, key, host.name, lambda: sshconfig.target(host, self.options))
        return found

    def hop(self, name: str, jumps: str) -> Target:
        """Say how to reach the last of a comma-separated list of jump hosts, through those before it."""
        from nsprov.transport import sshconfig  # noqa: PLC0415 - for start-up time

        *before, last = jumps.split(",")
        found = self._settled(self._targets, last, name, lambda: sshconfig.hop(name, last, self.options))
        return sshconfig.through(found, ",".join(before)) if before else found

    def hops(self, name: str, target: Target) -> list[Target]:
        """Give the jump hosts on the way to a target, the nearest to it first; more than a few when they lead in a circle."""
        found: list[Target] = []
        while target.proxy_jump and len(found) <= _MAX_JUMPS:
            target = self.hop(name, target.proxy_jump)
            found.append(target)
        return found

    def circular(self, name: str, target: Target) -> bool:
        """Tell whether the jump hosts on the way to a target lead in a circle."""
        return len(self.hops(name, target)) > _MAX_JUMPS

    def gateway(self, jumps: str, name: str, connect: Callable[[], Any]) -> Any:
        """Give the one connection to a jump host; the first who needs it makes it by `connect`."""
        return self._settled(self._gateways, jumps, name, connect)

    def _settled(self, known: dict[Any, Future[Any]], key: Any, name: str, settle: Callable[[], Any]) -> Any:
        """Do a thing once for all hosts; a failure is everybody's, each under his own name."""
        with self._lock:
            mine = key not in known
            future = known.setdefault(key, Future())
        if mine:
            try:
                future.set_result(settle())
            except BaseException as problem:
                future.set_exception(problem)
                raise
        try:
            return future.result()
        except NsprovError as problem:
            raise type(problem)(*(replace(row, where=name) for row in problem.diagnostics)) from problem

    def close(self) -> None:
        """Close the connections to jump hosts."""
        for future in self._gateways.values():
            if future.done() and future.exception() is None:
                future.result().close()
        self._gateways.clear()
