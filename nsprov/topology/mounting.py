"""A node's root, and what of its host is mounted in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.topology.node_model import Mount, Rootfs
from nsprov.topology.paths import inside, on_host
from nsprov.topology.positions import Path, Problems, attempt, shown

if TYPE_CHECKING:
    from nsprov.topology import node_spec
    from nsprov.topology import spec as language

HOST_ROOT = "host"
"""The word that means a view of the host's own root."""

_KERNELS = ("/proc", "/sys")
_OURS = {"/etc/hosts": "hosts", "/etc/hostname": "hostname", "/etc/resolv.conf": "dns"}


class Mounting:
    """Reads where a node's files come from."""

    def __init__(self, path: Path, spec: language.NodeSpec, problems: Problems) -> None:
        """Store where the node stands, its shape, and where to note problems."""
        self.path = path
        self.spec = spec
        self.problems = problems

    def rootfs(self, host: str) -> Rootfs | None:
        """Read the root: the host's, or a directory."""
        given: node_spec.RootfsSpec = self.spec.rootfs
        path = (*self.path, "rootfs")
        if given.path is None:
            if not self.problems.touched(path):
                self.problems.add(path, '"rootfs" has no path', 'add "path", a directory or "host"', key=True)
            return None
        if given.path == HOST_ROOT:
            if given.writable != "overlay":
                detail = "What a node writes over the host's root is kept beside it, and goes with the node."
                hint = 'remove it, or give "path" a directory'
                self.problems.add((*path, "writable"), "the host's root is always an overlay", hint, detail)
            return Rootfs(path=HOST_ROOT)
        found = self._on_host(given.path, host, (*path, "path"))
        if found == "/":
            self.problems.add((*path, "path"), '"/" cannot be the root of a node', 'use "rootfs: host" for a view of it')
        return Rootfs(path=found, writable=given.writable) if found else None

    def mounts(self, host: str) -> tuple[Mount, ...]:
        """Read the mounts, sorted by their target: so that one below another comes after it."""
        found: dict[str, Mount] = {}
        for place, given in enumerate(self.spec.mounts):
            path = (*self.path, "mounts", place)
            source = self._on_host(given.source, host, (*path, "source"))
            target = self._target(given.target, (*path, "target"))
            if target in found:
                self.problems.add((*path, "target"), f"two mounts on {shown(target)}", "remove one of them")
            elif target and source:
                found[target] = Mount(source=source, target=target, readonly=given.readonly)
        return tuple(found[target] for target in sorted(found))

    def _target(self, text: str, path: Path) -> str:
        target = attempt(self.problems, path, inside, text)
        if target is None:
            return ""
        kernels = next((root for root in _KERNELS if f"{target}/".startswith(f"{root}/")), None)
        if target == "/":
            self.problems.add(path, "nothing can be mounted on the node's root", 'use "rootfs" for that')
        elif kernels is not None:
            detail = "What stands there is the kernel's, and the node's own."
            self.problems.add(path, f"nothing can be mounted below {kernels}", "choose another target", detail)
        elif target in (self.spec.files or {}):
            hint = 'remove it here, or below "files"'
            self.problems.add(path, f"{shown(target)} is one of the node's files too", hint)
        elif target in _OURS and (target != "/etc/resolv.conf" or self.spec.dns):
            hint = f'use "{_OURS[target]}", or "files" for all of it'
            self.problems.add(path, f"{shown(target)} is written by nsprov", hint)
        else:
            return target
        return ""

    def _on_host(self, text: str, host: str, path: Path) -> str:
        return attempt(self.problems, path, on_host, text, host, self.problems.source.path) or ""
