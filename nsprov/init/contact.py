"""What the agent asks of the inits of a lab's nodes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nsprov.errors import KernelError
from nsprov.init import client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.kernel.machine import Kernel


def status(kernel: Kernel, node: str) -> Mapping[str, Any]:
    """Ask a node's init how it is, once between two changes; empty if there is none, or it does not answer."""
    return kernel.seen.once(f"init {node}", lambda: _hello(kernel, node))


def workloads(kernel: Kernel, node: str) -> Mapping[str, Any]:
    """Ask a node's init what it runs now; nothing if there is no init, for then it has taken them along."""
    found: Mapping[str, Any] = _hello(kernel, node).get("workloads", {})
    return found


def adopt(kernel: Kernel, node: str) -> None:
    """Move a node's init, which is PID 1 since before its own /proc could be mounted, into the node's mount namespace."""
    fd = kernel.namespaces.open(node, "mnt")
    if fd is None:
        raise FileNotFoundError(f"the mount namespace of node {node} is gone")
    try:
        client.ask(kernel.lab.control(node), {"verb": "root"}, (fd,))
    finally:
        os.close(fd)


def _hello(kernel: Kernel, node: str) -> Mapping[str, Any]:
    try:
        return client.ask(kernel.lab.control(node), {"verb": "hello"})
    except KernelError:
        return {}
