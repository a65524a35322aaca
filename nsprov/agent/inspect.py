"""Answer what a controller asks of the namespaces of this host, whether they are a lab's or not."""

from __future__ import annotations

import contextlib
import os
import pwd
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from nsprov.agent import enter
from nsprov.errors import Diagnostic, InputError, KernelError
from nsprov.kernel import particulars, pins, subjects, survey
from nsprov.kernel.entering import Way
from nsprov.kernel.lab import PINS
from nsprov.kernel.namespaces import TYPES, Namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from nsprov.kernel.census import Census, Holder, Namespace
    from nsprov.kernel.subjects import Subject

    Request = Mapping[str, Any]


def answer(request: Request) -> dict[str, Any]:
    """Carry out one request of `nsprov ns`: `do` says which."""
    work: Mapping[str, Callable[[Namespaces, Request], dict[str, Any]]] = {
        "list": _list,
        "show": _show,
        "same": _same,
        "pin": _pin,
        "unpin": _unpin,
    }
    return work[request["do"]](Namespaces(PINS), request)


def _list(home: Namespaces, request: Request) -> dict[str, Any]:
    kinds, lab = _kinds(request), request.get("lab")
    with survey.taken(home) as census:
        found = [one for one in census.found.values() if one.kind in kinds and lab in (None, one.lab)]
        rows = [row(census, one) for one in sorted(found, key=lambda one: one.inode)]
        broken = [asdict(one) for one in survey.broken(census) if one.kind in kinds and lab in (None, one.lab)]
        return {"namespaces": rows, "broken": broken, "unreadable": census.unreadable}


def _show(home: Namespaces, request: Request) -> dict[str, Any]:
    with subjects.opened(home, *_subject(request, "subject")) as subject:
        with survey.taken(home, subject.fds.values()) as census:
            rows = [_shown(census, subject, kind) for kind in _kinds(request) if kind in subject.fds]
        return {"subject": _named(subject), "namespaces": rows}


def _shown(census: Census, subject: Subject, kind: str) -> dict[str, Any]:
    fd = subject.fds[kind]
    found = census.found[os.fstat(fd).st_ino]
    users = [{"pid": pid, **_who(pid)} for pid in found.processes]
    inside = particulars.inside(census.home, kind, fd, own=found.inode in census.own)
    return {**row(census, found), "processes": users, "shared": kind in subject.shared, **inside}


def _same(home: Namespaces, request: Request) -> dict[str, Any]:
    with subjects.opened(home, *_subject(request, "a")) as a, subjects.opened(home, *_subject(request, "b")) as b:
        kinds = [kind for kind in _kinds(request) if kind in a.fds and kind in b.fds]
        if not kinds:
            hint = "compare with something that has a namespace of the same type"
            raise InputError(Diagnostic(f'"{a.name}" and "{b.name}" have no type in common', hint=hint))
        return {"a": _named(a), "b": _named(b), "types": [_compared(kind, a, b) for kind in kinds]}


def _compared(kind: str, a: Subject, b: Subject) -> dict[str, Any]:
    first, second = a.fds[kind], b.fds[kind]
    return {
        "type": kind,
        "same": os.path.sameopenfile(first, second),
        "a": os.fstat(first).st_ino,
        "b": os.fstat(second).st_ino,
        "meaning": particulars.meaning(kind, first, second, (a.name, b.name)),
    }


def _pin(home: Namespaces, request: Request) -> dict[str, Any]:
    name, pid = pins.checked(str(request["name"])), int(request["pid"])
    with contextlib.ExitStack() as stack:
        found = subjects.of_process(pid, _kinds(request))
        for fd in found.values():
            stack.callback(os.close, fd)
        if not request.get("kinds"):
            found = {kind: fd for kind, fd in found.items() if not _is_here(kind, fd)}
        if not found:
            hint = "name the types to pin all the same with --type"
            raise InputError(Diagnostic(f"process {pid} is in the namespaces of this host, and in no other", hint=hint))
        made = pins.pin({kind: found[kind] for kind in sorted(found)}, name)
    return {"name": name, "pid": pid, "pins": made}


def _unpin(home: Namespaces, request: Request) -> dict[str, Any]:
    """Unpin, holding what was pinned meanwhile: so its number is nobody else's while we look who else has it."""
    name = str(request["name"])
    with contextlib.ExitStack() as stack:
        found = {kind: fd for kind, fd in pins.open_pinned(name).items() if fd is not None}
        for fd in found.values():
            stack.callback(os.close, fd)
        gone = pins.unpin(name, _kinds(request, ()))
        ours = [found[kind] for kind in sorted(gone) if kind in found]
        with survey.taken(home, ours) as census:
            held = _held([census.found[os.fstat(fd).st_ino] for fd in ours])
    return {"name": name, "pins": {kind: gone[kind] for kind in sorted(gone)}, "held": held}


def _held(namespaces: Sequence[Namespace]) -> list[dict[str, Any]]:
    """Say what keeps namespaces that are to go; that one of them belongs to another counts only if it is kept itself."""
    names = {f"{one.kind}:[{one.inode}]": one for one in namespaces}
    kept = {name for name, one in names.items() if one.processes or one.pins or any(h.what not in names for h in one.holders)}
    found = []
    for name, one in names.items():
        by = [f"process {pid} ({_command(pid)}) is in it" for pid in one.processes]
        by += [f"it is pinned at {_clean(path)}" for path in one.pins]
        by += [_holder(holder)["text"] for holder in one.holders if holder.what not in names or holder.what in kept]
        if by:
            found.append({"type": one.kind, "ns": one.inode, "name": name, "by": by})
    return found


def run(request: Request, screen: enter.Screen, *, terminal: bool | None) -> int:
    """Run a command in namespaces of this host, as `enter.run_on` does.

    Raises:
        NsprovError: there is no such thing, or the kernel does not let us in.

    """
    with _way(request) as way:
        return enter.run_on(way, enter.errand(request), screen, terminal=terminal)


def serve(request: Request, reply: Callable[[], None]) -> NoReturn:
    """Run a command in namespaces of this host for a controller, as `enter.serve_on` does."""
    with _way(request) as way:
        enter.serve_on(way, request, reply)


class _Way(Way):
    """The way into namespaces that need not be a node's."""

    def refused(self, problem: OSError) -> KernelError:
        """Say in words why one could not enter."""
        detail, hint = f"{problem.strerror}.", "leave a type out by naming the others with --type"
        return KernelError(Diagnostic(f"{self.name} can't be entered", "", detail, hint), problem.errno or 0)


@contextlib.contextmanager
def _way(request: Request) -> Iterator[Way]:
    """Open the namespaces that a request names, all but those that we are in: one's own user namespace can't be entered."""
    asked = _kinds(request)
    with subjects.opened(Namespaces(PINS), *_subject(request, "subject")) as subject:
        missing = [kind for kind in request.get("kinds") or () if kind not in subject.fds]
        if missing:
            hint = f"it has: {', '.join(sorted(subject.fds))}"
            raise InputError(Diagnostic(f'"{subject.name}" has no "{missing[0]}" namespace', hint=hint))
        wanted = [kind for kind in TYPES if kind in subject.fds and kind in asked]
        others = {kind: subject.fds[kind] for kind in wanted if not _is_here(kind, subject.fds[kind])}
        yield _Way(f'"{subject.name}"', others, "", lambda: None)


def _is_here(kind: str, fd: int) -> bool:
    return os.path.samestat(os.fstat(fd), os.stat(f"/proc/self/ns/{kind}"))


def row(census: Census, namespace: Namespace) -> dict[str, Any]:
    """Give what is known of a namespace, for JSON; its first process is who it is named after."""
    first = namespace.processes[0] if namespace.processes else 0
    owner = census.found.get(namespace.owner)
    return {
        "type": namespace.kind,
        "ns": namespace.inode,
        "id": namespace.number,
        "nprocs": len(namespace.processes),
        "pid": first or None,
        **(_who(first) if first else {"uid": None, "user": "", "command": ""}),
        "lab": namespace.lab,
        "node": _clean(namespace.node),
        "pins": [_clean(path) for path in namespace.pins],
        "owner": namespace.owner or None,
        "owner_uid": owner.owner_uid if owner else None,
        "parent": namespace.parent or None,
        "own": namespace.inode in census.own,
        "deleted": namespace.deleted,
        "processes": namespace.processes,
        "holders": [_holder(one) for one in namespace.holders],
    }


def _holder(holder: Holder) -> dict[str, Any]:
    who = f" ({_command(holder.pid)})" if holder.pid else ""
    return {"how": holder.how, "pid": holder.pid or None, "what": _clean(holder.what), "text": _clean(str(holder)) + who}


def _who(pid: int) -> dict[str, Any]:
    """Give who a process is: its user and its command line, or its name if it has none."""
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(_LINE).rstrip(b"\0").replace(b"\0", b" ").decode(errors="backslashreplace")
    except OSError:
        return {"uid": None, "user": "", "command": "gone"}
    return {"uid": uid, "user": _user(uid), "command": words or f"[{_command(pid)}]"}


_LINE = 4096


@lru_cache
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().decode(errors="backslashreplace").strip()
    except OSError:
        return "gone"


def _clean(text: str) -> str:
    """Give a text that any output takes: names of files may be of any bytes."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _subject(request: Request, which: str) -> tuple[str, str]:
    return str(request[which]), str(request.get("lab") or "")


def _named(subject: Subject) -> dict[str, Any]:
    found = {"name": subject.name, "what": subject.what, "lab": subject.lab, "node": subject.node, "pid": subject.pid}
    return {key: value for key, value in found.items() if value}


def _kinds(request: Request, default: Iterable[str] | None = None) -> Sequence[str]:
    """Give the types that a request is about, in a fixed order."""
    every = subjects.available()
    asked = [str(kind) for kind in request.get("kinds") or ()]
    unknown = [kind for kind in asked if kind not in every]
    if unknown:
        raise InputError(Diagnostic(f'"{unknown[0]}" is no type of namespace here', hint=f"the types are {', '.join(every)}"))
    if not asked:
        return list(every if default is None else default)
    return sorted(set(asked))
