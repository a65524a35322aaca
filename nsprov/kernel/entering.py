"""Enter a node for good: its control group, its namespaces in the right order, then an account and a directory.

What enters is a process of ours that will become a command. On the way it holds descriptors of the host, and from the
middle on it looks at files that are the node's: so nothing is imported any more, and whoever is inside may not look into it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from nsprov.errors import Conflict, Diagnostic, InputError, KernelError, NothingMatched
from nsprov.kernel import environment, libc
from nsprov.kernel.lab import ETC_NETNS
from nsprov.kernel.namespaces import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.kernel.environment import Account
    from nsprov.kernel.machine import Kernel

    Identify = Callable[[str], Account]

GROUP = "exec"
_FIRST = 3
"""The first descriptor that is no standard stream."""

_PLAIN = frozenset({"net", "mnt", "uts"})
_RECORDED = {f"{kind}ns": kind for kind in TYPES}
"""The kinds of resources that are namespaces, and their types; that of processes is the init's."""


class Errand(NamedTuple):
    """What is to run in a node: no `argv` is a shell, no `user` is root, no `directory` is where we are or what is fit.

    `variables` are for the command alone; `caller` is the environment of who asks, as far as it holds in every node.
    """

    argv: tuple[str, ...]
    user: str | None
    directory: str | None
    variables: Mapping[str, str]
    caller: Mapping[str, str]
    callers_shell: str


def _nothing() -> None:
    """Have no control group to join, or nothing to close."""


class Way(NamedTuple):
    """The way into a node: `pins` of namespaces, open, in the order in which they are entered.

    `first` moves us into its control group. With `netns` but no mount namespace we get what that has below /etc/netns.
    `last` closes the pins, for who does not go himself: they would keep the node alive.
    """

    name: str
    pins: Mapping[str, int]
    netns: str
    first: Callable[[], None]
    last: Callable[[], None] = _nothing

    @property
    def to_processes(self) -> bool:
        """Tell whether only a child of who goes it is in the node wholly, because of the node's processes."""
        return "pid" in self.pins

    def refused(self, problem: OSError) -> KernelError:
        """Say in words why somebody could not enter."""
        hint = "see with `nsprov status` what has become of the node, and run `nsprov up`"
        return KernelError(Diagnostic(f"{self.name} cannot be entered", "", f"{problem.strerror}.", hint), problem.errno or 0)


class Arrival(NamedTuple):
    """What one has found inside: a root directory of the node's own, ids of its own, and where one came from."""

    way: Way
    own_root: bool
    own_ids: bool
    home: str


class Program(NamedTuple):
    """What a process in a node is to become."""

    argv: tuple[str, ...]
    variables: Mapping[str, str]


def find(kernel: Kernel, node: str) -> None:
    """Make a node known to `kernel` by the marks on this host.

    Raises:
        NothingMatched: the lab has no such node here.

    """
    kernel.namespaces.names = kernel.discover()
    if node not in kernel.namespaces.names:
        known = ", ".join(sorted(kernel.namespaces.names)[:10]) or "none"
        hint = f"the lab's nodes on this host: {known}"
        raise NothingMatched(Diagnostic(f'lab "{kernel.lab.name}" has no node "{node}"', hint=hint))


def way(kernel: Kernel, node: str) -> Way:
    """Find a node and open its pins.

    Raises:
        NothingMatched: the lab has no such node here.
        Conflict: the node is frozen.
        KernelError: a pin is not there, or is no namespace: one must not be left in the host's instead.

    """
    find(kernel, node)
    if kernel.cgroups.frozen(node):
        hint = f"let it go on with `nsprov thaw {node}`"
        raise Conflict(Diagnostic(f'node "{node}" is frozen', "", "A command would stop before it has begun.", hint))
    found = {kind: kernel.namespaces.open(node, kind) for kind in TYPES}
    pins = {kind: fd for kind, fd in found.items() if fd is not None}
    lost = _lost(kernel, node, pins)
    if lost:
        words = f"What is pinned for its {', '.join(sorted(lost))} namespace is gone, or is no such namespace."
        hint = "run `nsprov up`, which makes it anew"
        raise KernelError(Diagnostic(f'node "{node}" cannot be entered', "", words, hint), errno.ENOENT)
    group = (lambda: kernel.cgroups.join(node, GROUP)) if kernel.cgroups.exists(node) else _nothing
    return Way(f'node "{node}"', pins, kernel.namespaces.names[node], group, lambda: _close(pins))


def _close(pins: Mapping[str, int]) -> None:
    for fd in pins.values():
        os.close(fd)


def _lost(kernel: Kernel, node: str, pins: Mapping[str, int]) -> set[str]:
    """Give the types of namespaces that a node should have and has no longer."""
    paths = {kind: kernel.namespaces.path(node, kind) for kind in TYPES}
    lost = {kind for kind in TYPES if kind not in pins and os.path.lexists(paths[kind])}
    if pins.keys() != _PLAIN:  # what most nodes have needs no look at the record, which may be long
        lost |= _recorded(kernel, node) - pins.keys()
    own = [fd for kind, fd in pins.items() if not os.path.islink(paths[kind])]  # a link leads to what is attached
    if "user" not in pins and not all(map(_is_ours, own)):
        lost.add("user")
    return lost


def _recorded(kernel: Kernel, node: str) -> set[str]:
    """Give the types of namespaces that a node should have by the lab's record."""
    rows = kernel.lab.read("manifest.json").get("resources")
    mine = [row for row in rows if row[1].get("node") == node] if isinstance(rows, list) else []
    inits = {"pid" for kind, fields in mine if kind == "init" and fields.get("pid")}
    return inits | {_RECORDED[kind] for kind, _ in mine if kind in _RECORDED}


def _is_ours(fd: int) -> bool:
    """Tell whether a namespace belongs to the user namespace that we are in."""
    owner = libc.owner(fd)
    try:
        return os.path.samestat(os.fstat(owner), os.stat("/proc/self/ns/user"))
    finally:
        os.close(owner)


def enter(the_way: Way, keep: int = 2) -> Arrival:
    """Move this process into a node for good; only the account, the directory and the program are still our own.

    Of what is open only stdin, stdout, stderr and `keep` stay: a link in the node may lead to any descriptor of ours.
    The user namespace comes last, for it takes the right to enter the others; in a namespace of processes only our
    next child will be (setns(2)).

    Raises:
        KernelError: it is refused; what is left is to say so and to end.

    """
    pins = the_way.pins
    try:
        home, before = _here(), os.stat("/")
        sys.meta_path.clear()
        libc.set_dumpable(dumpable=False)
        the_way.first()
        for kind, fd in pins.items():
            if kind != "user":
                libc.setns(fd, TYPES[kind])
        if the_way.netns and "mnt" not in pins:
            _dress(the_way.netns)
        own_root = not os.path.samestat(before, os.stat("/"))
        if "user" in pins:
            _become_root(pins["user"])
        _close_others(keep)
    except OSError as problem:
        raise the_way.refused(problem) from problem
    return Arrival(the_way, own_root, "user" in pins, home)


def _close_others(keep: int) -> None:
    """Close what is not a standard stream and not `keep`."""
    if keep > _FIRST:
        libc.close_from(_FIRST, keep - 1)
    libc.close_from(max(keep + 1, _FIRST))


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed under us
        return "/"


def _become_root(user: int) -> None:
    """Become root of a user namespace; until the ids are set one is nobody inside, and root of the host for files."""
    os.setgroups([])  # before: inside, it may be denied for ever (user_namespaces(7))
    libc.setns(user, TYPES["user"])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    libc.set_dumpable(dumpable=False)


def _dress(netns: str) -> None:
    """Give a node without a mount namespace of its own what `ip netns exec` gives it (ip-netns(8))."""
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount(None, "/", None, libc.MS_SLAVE | libc.MS_REC)
    with contextlib.suppress(OSError):  # there is nothing at /sys to replace
        libc.umount("/sys")
    libc.mount("sysfs", "/sys", "sysfs", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    directory = f"{ETC_NETNS}/{netns}"
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            with contextlib.suppress(OSError):  # as ip does: what has no counterpart in /etc is not shown
                libc.mount(f"{directory}/{name}", f"/etc/{name}", None, libc.MS_BIND)


def account(arrival: Arrival, errand: Errand, identify: Identify) -> Account | None:
    """Give the account that the command gets; `None` where it stays what we are.

    Raises:
        InputError: the node has none of that name.

    """
    if errand.user is not None:
        return identify(errand.user)
    return identify("0") if arrival.own_root or arrival.own_ids else None


def settle(arrival: Arrival, errand: Errand, who: Account | None) -> Program:
    """Take the account's ids and go to the directory, after `enter`; give what is to be run.

    Raises:
        InputError: the ids do not exist in the node, or one cannot be in that directory.
        KernelError: the kernel refuses something else.

    """
    if who is not None and errand.user is not None:
        _take(who)
    try:
        libc.set_capabilities(libc.capabilities())
        libc.set_dumpable(dumpable=False)
    except OSError as problem:
        raise arrival.way.refused(problem) from problem
    if errand.directory is not None:
        _go(errand.directory)
    else:
        _go_if_fit(_fit(arrival, errand, who))
    if who is not None and (arrival.own_root or arrival.own_ids):
        variables = environment.clean(errand.caller, who)
    else:
        variables = environment.inherited(os.environ, errand.caller, who)
    shell = errand.callers_shell if who is None else who.shell
    # A shell of the caller's need not be on this host.
    argv = errand.argv or (shell if os.access(shell, os.X_OK) else environment.SHELL,)
    return Program(argv, {**variables, **errand.variables})


def _fit(arrival: Arrival, errand: Errand, who: Account | None) -> str:
    """Give the directory to be in when none is named: where the host's files are the node's, the same."""
    if not arrival.own_root:
        return arrival.home
    return who.home if who is not None and errand.user is not None else "/"


def _take(who: Account) -> None:
    """Become an account, its groups first: without being root one cannot."""
    try:
        os.setgroups(who.groups)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
    except OSError as problem:
        detail = f"{problem.strerror}: the maps of its user namespace have no such ids."
        raise InputError(Diagnostic(f"uid {who.uid} and gid {who.gid} cannot be had in the node", "-u", detail)) from problem


def _go_if_fit(directory: str) -> None:
    """Go to a directory if one can, else to the root; what a home is called is for the node to say, so it is asked no less."""
    try:
        _go(directory)
    except InputError:
        with contextlib.suppress(OSError):  # not even the root may be entered: setns(2) has left us there
            os.chdir("/")


def _go(directory: str) -> None:
    """Go to a directory that somebody has named, and no further.

    /proc has links that lead through to what other processes hold open, the host's root perhaps: getcwd(2) then knows
    no path (CVE-2024-21626).
    """
    if not directory.startswith("/"):
        raise _no_place(directory, "It must begin with a slash.")
    try:
        flags = os.O_PATH | os.O_DIRECTORY
        fd = libc.open_beneath(libc.AT_FDCWD, directory, flags, libc.RESOLVE_NO_MAGICLINKS)
        try:
            os.fchdir(fd)
        finally:
            os.close(fd)
        found = os.getcwd()
    except OSError as problem:
        words = "a link that leads out of the node" if problem.errno == errno.ELOOP else problem.strerror
        raise _no_place(directory, f"It cannot be entered: {words}.") from problem
    if not found.startswith("/") or f"{found}/".startswith("/proc/"):
        raise _no_place(directory, "What runs there could hold on to another process.")


def _no_place(directory: str, why: str) -> InputError:
    return InputError(Diagnostic(f'"{directory}" is no directory to run a command in', "-w", why))
