"""A workload: a command that a node's init runs, restarts, watches, and whose output it keeps.

    nodes:
      web1:
        workloads:
          web:
            command: python3 -m http.server 80
            restart: on-failure
            ready: {tcp: 80}

An edited workload is restarted, and that one only. One that has died or was stopped is drift, and `up` starts it again.
`up` waits until it is ready, if it says what that means, and until a oneshot is done.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nsprov.errors import Diagnostic, InputError, KernelError
from nsprov.init import client, contact
from nsprov.kernel import cgroups, logbook
from nsprov.plan.resource import IDENTITY, SECRET, Ref, Resource, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "workload"
_PATIENCE = 0.25  # seconds between two looks at whether somebody wants us to stop waiting
_SLACK = 5.0  # seconds that an init may take to answer when a workload has used up its grace
_TAIL = 10  # lines of a log that say why


@dataclass(frozen=True)
class Workload(Resource):
    """Times are in milliseconds, sizes in bytes; `state` is "up", or "down" when it has stopped or has been given up.

    `ready` and `health` are a probe, `(what, value)`, with its settings; `after` names other workloads of the lab,
    `node/name`, with what must be true of them first. `capabilities` are those that it keeps, or `all`.
    `mnt` says that the node has files of its own.
    """

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    name: str = field(metadata=IDENTITY)
    command: tuple[str, ...] = ()
    type: str = "service"
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False, metadata=SECRET)
    cwd: str = "/"
    user: str = "0"
    groups: tuple[str, ...] = ()
    umask: int = 0o022
    restart: str = "no"
    restart_max: int = 0
    backoff: int = 1000
    backoff_max: int = 60000
    reset: int = 10000
    rlimits: tuple[tuple[str, int, int], ...] = ()
    capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = True
    seccomp: str = "default"
    nice: int = 0
    stop_signal: str = "TERM"
    grace: int = 10000
    ready: tuple[tuple[str, str], ...] = ()
    health: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()
    log_size: int = 1 << 20
    log_keep: int = 1
    state: str = "up"
    mnt: bool = True

    def ref(self) -> Ref:
        """Name it after its node and itself."""
        return Ref(NAME, f"{self.node}/{self.name}")

    def provides(self) -> tuple[str, ...]:
        """Others may come after it."""
        return (f"workload:{self.node}/{self.name}",)

    def needs(self) -> tuple[str, ...]:
        """Those that it comes after, and the node's whole network: addresses and routes are there before it starts."""
        return (*(f"workload:{other}" for other, _ in self.after), f"network:{self.node}")

    def stands_on(self) -> tuple[str, ...]:
        """Its init, and the node's files."""
        return (f"init:{self.node}", *((f"mntns:{self.node}",) if self.mnt else ()))


SCHEMA = Workload


def observe(kernel: Kernel, known: Mapping[Ref, Workload]) -> Iterable[Workload]:
    """Give the workloads that the inits of this lab have, as they run them."""
    for node in sorted({resource.node for resource in known.values()} | set(kernel.lab.controlled())):
        for about in contact.status(kernel, node).get("workloads", {}).values():
            yield from _read(about)


def _read(about: Mapping[str, Any]) -> Iterable[Workload]:
    """Read what an init says of a workload; what an init of another version says and we do not know is not there."""
    state = "down" if about["state"] in ("failed", "stopped") else "up"
    with contextlib.suppress(InputError):
        yield decode(SCHEMA, {**about["spec"], "state": state})  # type: ignore[misc]  # it is one of these


def obstacles(kernel: Kernel, wants: Sequence[Workload]) -> Mapping[Ref, str]:
    """Nothing: they are the init's."""
    return {}


def create(kernel: Kernel, wants: Sequence[Workload]) -> None:
    """Start them all, then wait for each to be what others may wait for.

    Raises:
        KernelError: one did not start, did not become ready, or failed; with the end of its log.

    """
    kernel.netlink.settle()  # the network is what they may talk over at once, bridges included
    for want in wants:
        _set(kernel, want)
    for want in wants:
        _await(kernel, want)


def _set(kernel: Kernel, want: Workload) -> None:
    """Hand a workload to its init, with what it takes to join its control groups and to kill all that is in them."""
    group = f"w-{want.name}"
    fds = kernel.cgroups.descriptors(want.node, group)
    killer = cgroups.open_killer(kernel.cgroups, want.node, group)
    try:
        request = {"verb": "set", "name": want.name, "spec": encode(want), "kill": bool(killer)}
        client.ask(kernel.lab.control(want.node), request, [*fds, *killer])
    finally:
        for fd in [*fds, *killer]:
            os.close(fd)


def _await(kernel: Kernel, want: Workload) -> None:
    """Wait for a oneshot to end and for a service to be ready, as long as nobody wants us to stop."""
    goal = "exit" if want.type == "oneshot" else "ready"
    # Restarts included: one that crashes each time is never ready, whatever its policy says.
    patience = int(dict(want.ready).get("timeout", 0)) / 1000
    deadline = time.monotonic() + patience if patience else math.inf
    while True:
        kernel.heed()
        request = {"verb": "wait", "name": want.name, "for": goal, "timeout": _PATIENCE}
        about = client.ask(kernel.lab.control(want.node), request)["status"]
        if about["state"] in ("ready", "done") or (goal == "ready" and about["state"] == "running"):
            return
        if about["state"] in ("failed", "stopped") or time.monotonic() > deadline:
            raise _failed(kernel, want, about)


def _failed(kernel: Kernel, want: Workload, about: Mapping[str, Any]) -> KernelError:
    lines = logbook.tail(f"{kernel.lab.logs}/{want.node}/{want.name}.log", _TAIL)
    detail = "\n".join([f"{about['reason']}.", *(f"| {line.text}" for line in lines)])
    hint = "see what it says; correct its command, or what it needs"
    return KernelError(Diagnostic(f'workload "{want.node}/{want.name}" failed', str(want.ref()), detail, hint), 0)


def update(kernel: Kernel, pairs: Sequence[tuple[Workload, Workload]]) -> None:
    """Restart those that are edited with what they are now, and start those that are down."""
    for before, after in pairs:
        if before.state != after.state:
            client.ask(kernel.lab.control(after.node), {"verb": "start", "name": after.name})
    create(kernel, [after for _, after in pairs])


def delete(kernel: Kernel, haves: Sequence[Workload]) -> None:
    """Stop them, each by its own signal and within its grace, and forget them."""
    for have in haves:
        if have.name in contact.workloads(kernel, have.node):
            timeout = have.grace / 1000 + _SLACK
            client.ask(kernel.lab.control(have.node), {"verb": "remove", "name": have.name}, timeout=timeout)
