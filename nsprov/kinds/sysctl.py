"""A sysctl of a node's network namespace; removing it from the file restores the value it had before.

    nodes:
      r1:
        sysctls: {net.ipv4.ip_forward: 1}
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel.netlink import refused
from nsprov.plan.resource import IDENTITY, LAB_TOKEN, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "sysctl"
_ORIGINALS = "sysctl.json"
_PER_DEVICE = re.compile(r"net\.ipv[46]\.(?:conf|neigh)\.([^.]+)\.")


@dataclass(frozen=True)
class Sysctl(Resource):
    """`key` as sysctl(8) writes it, `value` with single spaces between words."""

    kind: ClassVar[str] = NAME
    node: str = field(metadata=IDENTITY)
    key: str = field(metadata=IDENTITY)
    value: str

    def ref(self) -> Ref:
        """Name it after its node and key."""
        return Ref(NAME, f"{self.node}/{self.key}")

    def provides(self) -> tuple[str, ...]:
        """The node's workloads need its whole network."""
        return (f"network:{self.node}",)

    def stands_on(self) -> tuple[str, ...]:
        """The network namespace, and the device if the key names one."""
        device = _PER_DEVICE.match(self.key)
        own = (f"netns:{self.node}",)
        if device is None or device[1] in ("all", "default", "lo"):
            return own
        return (f"link:{self.node}/{device[1].replace('/', '.')}",)

    def dies_with(self) -> tuple[str, ...]:
        """The lab's own file system, which has the record: an older one must not be taken for a new device's value."""
        return (LAB_TOKEN,)


SCHEMA = Sysctl


def observe(kernel: Kernel, known: Mapping[Ref, Sysctl]) -> Iterable[Sysctl]:
    """Give the values of the known sysctls that we have set before, and without a record of all that we have."""
    originals = kernel.lab.read(_ORIGINALS)
    with kernel.namespaces.inside("net"):
        for name in sorted(originals):
            if not kernel.seen.thorough and Ref(NAME, name) not in known:
                continue
            node, _, key = name.partition("/")
            if not kernel.seen.dump(node).links:
                continue
            value = kernel.files.read_sysctl(node, key)
            if value is not None:
                yield Sysctl(node=node, key=key, value=value)


def obstacles(kernel: Kernel, wants: Sequence[Sysctl]) -> Mapping[Ref, str]:
    """Nothing: they are in the lab's own namespaces."""
    return {}


def create(kernel: Kernel, wants: Sequence[Sysctl]) -> None:
    """Remember the present values, on disk first, and set the wanted ones."""
    originals = kernel.lab.read(_ORIGINALS)
    with kernel.namespaces.inside("net"):
        for want in wants:
            originals[want.ref().name] = kernel.files.read_sysctl(want.node, want.key)
        kernel.lab.write(_ORIGINALS, originals)
        for want in wants:
            _write(kernel, want, want.value)


def update(kernel: Kernel, pairs: Sequence[tuple[Sysctl, Sysctl]]) -> None:
    """Set the values."""
    with kernel.namespaces.inside("net"):
        for _, after in pairs:
            _write(kernel, after, after.value)


def delete(kernel: Kernel, haves: Sequence[Sysctl]) -> None:
    """Restore the values that we found, and forget them."""
    originals = kernel.lab.read(_ORIGINALS)
    with kernel.namespaces.inside("net"):
        for have in haves:
            original = originals.pop(have.ref().name, None)
            if isinstance(original, str) and kernel.seen.dump(have.node).links:
                _write(kernel, have, original)
    kernel.lab.write(_ORIGINALS, originals)


def _write(kernel: Kernel, sysctl: Sysctl, value: str) -> None:
    try:
        kernel.files.write_sysctl(sysctl.node, sysctl.key, value)
    except OSError as problem:
        raise refused(sysctl.ref(), problem.errno or 0) from problem
