"""The mount namespaces of nodes: the host's view, with the node's own /sys, files and an empty /run/netns.

For a node that is to see more or less than that, `views` makes it.
A node must not see pins: it could remove them, and copies of them would keep namespaces alive (namespaces(7)).
So every node's mount namespace is cloned from a template without them, which also keeps the cost per node flat.
What a node needs from the host (its files) is handed over as detached mounts (open_tree(2), move_mount(2)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from nsprov.kernel import beneath, libc, views
from nsprov.kernel.assembly import Parts
from nsprov.kernel.devices import CGROUPS
from nsprov.kernel.lab import RUN
from nsprov.kernel.namespaces import NETNS
from nsprov.kernel.views import LIGHT, Kept, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nsprov.errors import KernelError
    from nsprov.kernel.lab import Lab
    from nsprov.kernel.namespaces import Namespaces

_CHUNK = 256
_PSEUDO = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC

SHARED = "@lab/"
"""The prefix of sources that all nodes share; they are bound read-only, so that no node can change another's."""


class Sight(NamedTuple):
    """What a node sees: its view, and the files bound in it, each a target with its source `<node>/<path>`."""

    binds: Mapping[str, str]
    view: View = LIGHT


class Mounts:
    """Makes and changes the mount namespaces of one lab's nodes."""

    def __init__(self, namespaces: Namespaces, lab: Lab) -> None:
        """Store what is acted on."""
        self._namespaces = namespaces
        self._lab = lab

    def create(self, nodes: Mapping[str, Sight]) -> None:
        """Make, furnish and pin a mount namespace for each node; KernelError or OSError if a mount is refused."""
        allowed = os.sched_getaffinity(0)
        try:
            with _template(self._namespaces) as template, contextlib.ExitStack() as stack:
                ahead = views.Ahead(
                    lambda node: self._begin(node, nodes[node].view, template),
                    [node for node, sight in nodes.items() if sight.view != LIGHT],
                )
                stack.callback(ahead.abandon)
                for node, sight in nodes.items():
                    light = partial(self._furnished, node, sight, template)
                    viewed = partial(self._viewed, node, sight, ahead)
                    self._create_pinned(node, light if sight.view == LIGHT else viewed, sorted(allowed))
        finally:
            if os.sched_getaffinity(0) != allowed:
                os.sched_setaffinity(0, allowed)

    def change(self, node: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        """Bind and unbind files in a node's live mount namespace; KernelError or OSError if a mount is refused."""
        pin = self._namespaces.open(node, "mnt")
        if pin is None:
            raise FileNotFoundError(f"the mount namespace of node {node} is gone")
        try:
            kept = views.recall(self._lab, node, pin)
            changed = self._exchange(node, pin, before, after, kept)
            if changed != kept:
                views.remember(self._lab, node, pin, changed)
        finally:
            os.close(pin)

    def _exchange(self, node: str, pin: int, before: Mapping[str, str], after: Mapping[str, str], kept: Kept) -> Kept:
        """Put binds in the place of others; give what is to be remembered of the namespace now."""
        with contextlib.ExitStack() as stack:
            missing: list[str] = []
            if not kept.view.rootfs:
                with self._namespaces.inside("mnt", pin):
                    missing = [target for target in after if not os.path.exists(target)]
            overlays = _overlays(self._lab, node, missing, stack)
            # A new overlay hides what was bound below it: those binds are made again.
            fresh = {t: s for t, s in after.items() if before.get(t) != s or t.startswith(tuple(overlays))}
            trees = _trees(self._lab, fresh, stack)
            with self._namespaces.inside("mnt", pin):
                for target in before:
                    if before[target] != after.get(target):
                        _unbind(target)
                if not kept.view.strict():
                    _attach(overlays, trees)
                    return kept
                own = _attach_strictly(node, overlays, trees, kept)
            return replace(kept, own=kept.own | own)

    def remove(self, node: str) -> None:
        """Unpin a node's mount namespace and drop its overlays."""
        self._namespaces.unpin(node, "mnt")
        views.forget(self._lab, node)
        beneath.clear(f"{self._lab.overlays}/{node}")

    def seen(self, nodes: Mapping[str, Mapping[str, str]]) -> dict[str, Sight]:
        """Tell what nodes see, and which of these binds hold; a node without a mount namespace is left out."""
        found: dict[str, Sight] = {}
        names = list(nodes)
        for start in range(0, len(names), _CHUNK):
            found.update(self._seen({node: nodes[node] for node in names[start : start + _CHUNK]}))
        return found

    def _seen(self, nodes: Mapping[str, Mapping[str, str]]) -> dict[str, Sight]:
        """Open the pins and identify the sources here, then go from namespace to namespace and home once."""
        pins = {node: fd for node in nodes if (fd := self._namespaces.open(node, "mnt")) is not None}
        names = {source for node in pins for source in nodes[node].values()}
        sources = {source: _identity(f"{self._lab.files}/{source}") for source in names}
        found: dict[str, Sight] = {}
        with contextlib.ExitStack() as stack:
            for fd in pins.values():
                stack.callback(os.close, fd)
            kept = {node: views.recall(self._lab, node, fd).view for node, fd in pins.items()}
            stack.enter_context(self._namespaces.inside("mnt"))
            for node, fd in pins.items():
                libc.setns(fd, libc.CLONE_NEWNS)
                held = nodes[node].items()
                binds = {t: s for t, s in held if sources[s] is not None and _identity(t) == sources[s]}
                found[node] = Sight(binds, kept[node])
        return found

    def _create_pinned(self, node: str, make: Callable[[], int], cpus: Sequence[int]) -> None:
        """Make a mount namespace and pin it; on EINVAL again on each CPU.

        Since Linux 6.18 namespace ids are handed out in batches per CPU, and a mount namespace can be pinned only from
        one with a lower id (mnt_ns_loop() in fs/namespace.c). The CPU that made our own namespace always succeeds.
        """
        for cpu in (None, *cpus):
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            fd = make()
            try:
                return self._namespaces.pin(fd, node, "mnt")
            except OSError as problem:
                if problem.errno != errno.EINVAL or cpu == cpus[-1]:
                    raise
            finally:
                os.close(fd)
        return None

    def _furnished(self, node: str, sight: Sight, template: int) -> int:
        """Make a mount namespace from the template and give a descriptor of it."""
        self._clear(node)
        with contextlib.ExitStack() as stack:
            overlays = _overlays(self._lab, node, [target for target in sight.binds if not os.path.exists(target)], stack)
            trees = _trees(self._lab, sight.binds, stack)
            groups = _tree(CGROUPS, stack, recursive=True) if libc.is_mount(CGROUPS) else None
            self._namespaces.enter_net(node)
            stack.enter_context(self._namespaces.inside("mnt", template))
            libc.unshare(libc.CLONE_NEWNS)
            # A sysfs shows the network namespace of the process that mounts it (fs/sysfs/mount.c).
            libc.mount("sysfs", "/sys", "sysfs", _PSEUDO)
            if groups is not None:
                libc.move_mount(groups, CGROUPS)
            for path in (NETNS, RUN):
                libc.mount("nsprov", path, "tmpfs", _PSEUDO, "mode=0755")
            _attach(overlays, trees)
            return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def _clear(self, node: str) -> None:
        """Drop what a killed run left, or the last attempt: it would be taken for the next namespace's own."""
        beneath.clear(f"{self._lab.overlays}/{node}")
        views.forget(self._lab, node)

    def _viewed(self, node: str, sight: Sight, ahead: views.Ahead) -> int:
        """Make a mount namespace with a view of its own, bind the node's files in it, and give a descriptor of it.

        The files are bound from outside afterwards: what is mounted when the node's user namespace becomes the owner
        cannot be unmounted any more, by us neither, and another file is to be bound there one day.
        """
        made = ahead.take(node).made()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, made.fd)
            kept = self._exchange(node, made.fd, {}, sight.binds, made.kept)
            views.remember(self._lab, node, made.fd, kept)
            stack.pop_all()
        return made.fd

    def _begin(self, node: str, view: View, template: int) -> views.Making:
        """Begin to make a mount namespace with a view of its own."""
        self._clear(node)
        for _, target, _ in view.mounts:
            beneath.names(node, target)
        with contextlib.ExitStack() as stack:
            spaces = {kind: self._must_open(node, kind, stack) for kind in ("net", *view.spaces)}
            targets = [] if view.rootfs else [target for _, target, _ in view.mounts if not os.path.exists(target)]
            overlays = _overlays(self._lab, node, targets, stack)
            whole = "cgroup" not in view.spaces and libc.is_mount(CGROUPS)
            groups = _tree(CGROUPS, stack, recursive=True) if whole else None
            return views.Making(view, Parts(node, template, spaces, overlays, groups, _unified()))

    def _must_open(self, node: str, kind: str, stack: contextlib.ExitStack) -> int:
        fd = self._namespaces.open(node, kind)
        if fd is None:
            raise FileNotFoundError(errno.ENOENT, f"its {kind} namespace is gone", node)
        stack.callback(os.close, fd)
        return fd



def _trees(lab: Lab, binds: Mapping[str, str], stack: contextlib.ExitStack) -> dict[str, tuple[int, bool]]:
    """Copy the mounts of the sources, each with whether it is to be read-only; from the host's view."""
    return {t: (_tree(f"{lab.files}/{s}", stack), s.startswith(SHARED)) for t, s in binds.items()}


def _overlays(lab: Lab, node: str, missing: Sequence[str], stack: contextlib.ExitStack) -> dict[str, int]:
    """Make an overlay for each top directory of the host that lacks a file to bind over: the host's is not ours."""
    made: dict[str, int] = {}
    for target in missing:
        top = "/" + target.split("/")[1]
        base = f"{lab.overlays}/{node}{top}"
        if top in made or os.path.isdir(base):
            continue
        if not os.path.isdir(top):
            raise _no_top(node, target, top)
        for name in ("upper", "work"):
            os.makedirs(f"{base}/{name}", 0o755)
        # The merged directory has the owner and the mode of the upper one.
        about = os.stat(top)
        os.chown(f"{base}/upper", about.st_uid, about.st_gid)
        os.chmod(f"{base}/upper", stat.S_IMODE(about.st_mode))
        options = {"lowerdir": top, "upperdir": f"{base}/upper", "workdir": f"{base}/work"}
        made[top] = libc.detached_mount("overlay", f"nsprov-{node}", options)
        stack.callback(os.close, made[top])
    return made


def _no_top(node: str, target: str, top: str) -> KernelError:
    detail = f"The host has no directory {top}, and in its own / nothing is made."
    hint = "use a path below a directory that the host has, or `rootfs: host`, which gives the node a copy"
    return beneath.refused(node, f'node "{node}" has no place for "{target}"', detail, hint, errno.ENOENT)


def _mounted_below(top: str) -> list[str]:
    """Give the mount points below a directory, the newest first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        found = [line.split(" ", 5)[4] for line in file]
    return [path for path in reversed(found) if path.startswith(f"{top}/")]


def _unified() -> list[str]:
    """Say where the host has version 2 of control groups: alone, or beside version 1 (cgroups(7))."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        found = [line.split(" ", 5)[4] for line in file if " - cgroup2 " in line]
    return list(dict.fromkeys(path for path in found if path == CGROUPS or os.path.dirname(path) == CGROUPS))


def _tree(path: str, stack: contextlib.ExitStack, *, recursive: bool = False) -> int:
    fd = libc.open_tree(path, recursive=recursive)
    stack.callback(os.close, fd)
    return fd


def _attach(overlays: Mapping[str, int], trees: Mapping[str, tuple[int, bool]]) -> None:
    for top, fd in overlays.items():
        libc.move_mount(fd, top)
    for target, (fd, read_only) in trees.items():
        while _is_unlinked(target):
            libc.umount(target, libc.MNT_DETACH)
        if not os.path.exists(target):
            if os.path.islink(target):  # it leads nowhere, as /etc/resolv.conf does where no resolver runs
                os.unlink(target)
            os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
            os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        libc.move_mount(fd, target)
        if read_only:
            libc.mount(None, target, None, libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY)


def _attach_strictly(
    node: str, overlays: Mapping[str, int], trees: Mapping[str, tuple[int, bool]], kept: Kept
) -> frozenset[int]:
    """Bind files read-only in a view that may be hostile; give the devices of the overlays, which are the node's own now.

    In a node's own root no link is followed; in the host's view the links are the host's, and stay in it.
    """
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = beneath.Beneath(node, root, set(kept.own), kept.owner)
        for top, fd in overlays.items():
            place.attach(fd, top, follow=True)
            place.own.add(os.stat(fd).st_dev)
        for target, (fd, _) in trees.items():
            libc.set_mount(fd, libc.MOUNT_RDONLY | libc.MOUNT_NOSUID | libc.MOUNT_NODEV)
            while _is_unlinked(target):
                libc.umount(target, libc.MNT_DETACH)
            place.attach(fd, target, follow=not kept.view.rootfs)
        return frozenset(place.own)
    finally:
        os.close(root)


def _is_unlinked(target: str) -> bool:
    """Tell whether a bound file has been removed meanwhile: nothing can be mounted over that (ENOENT)."""
    try:
        return os.stat(target).st_nlink == 0
    except OSError:
        return False


def _unbind(target: str) -> None:
    # EINVAL: it is not bound, somebody unmounted it in the node; ENOENT: somebody removed it.
    with contextlib.suppress(OSError):
        libc.umount(target, libc.MNT_DETACH)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino


@contextlib.contextmanager
def _template(namespaces: Namespaces) -> Iterator[int]:
    """Make a mount namespace without pins and without /sys, from which the nodes' are cloned."""
    with namespaces.inside("mnt"):
        libc.unshare(libc.CLONE_NEWNS)
        # Slave: what the host unmounts later must not be held by nodes; what nodes mount stays theirs.
        libc.mount(None, "/", None, libc.MS_SLAVE | libc.MS_REC)
        for path in (NETNS, RUN, "/sys"):
            while libc.is_mount(path):
                libc.umount(path)
        # Where / is shared, each pin is there twice: below the shared /run/netns, and hidden in what that was bound from.
        for path in _mounted_below(NETNS):
            with contextlib.suppress(OSError):  # somebody else's name, with a character that the list escapes
                libc.umount(path)
        fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
