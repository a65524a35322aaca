"""`package`, by the host's own tool, and `service`, by systemd where it runs."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from nsprov.agent.actions.terms import truth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.agent.actions.processes import Ran
    from nsprov.agent.actions.terms import Terms

    Args = Mapping[str, Any]
    Result = dict[str, Any]


class Tool(NamedTuple):
    """A package manager: its commands, to which the names are added; `rehearse` says what `upgrade` would do."""

    name: str
    query: tuple[str, ...]
    install: tuple[str, ...]
    upgrade: tuple[str, ...]
    remove: tuple[str, ...]
    refresh: tuple[str, ...]
    rehearse: tuple[str, ...]


_APT = (
    *("apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=60"),
    *("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"),
)
TOOLS = (
    Tool(
        "apt-get",
        ("dpkg-query", "-W", "-f", r"${db:Status-Status} ${Version}\n", "--"),
        (*_APT, "install", "--"),
        (*_APT, "install", "--"),
        (*_APT, "remove", "--"),
        ("apt-get", "-q", "update"),
        (*_APT, "install", "--simulate", "--"),
    ),
    Tool(
        "dnf",
        ("rpm", "-q", "--whatprovides", "--"),
        ("dnf", "-y", "install", "--"),
        ("dnf", "-y", "upgrade", "--"),
        ("dnf", "-y", "remove", "--"),
        ("dnf", "makecache"),
        ("dnf", "-q", "check-update", "--"),
    ),
    Tool(
        "apk",
        ("apk", "info", "-e", "-v", "--"),
        ("apk", "add", "--"),
        ("apk", "add", "--upgrade", "--"),
        ("apk", "del", "--"),
        ("apk", "update"),
        ("apk", "add", "--upgrade", "--simulate", "--"),
    ),
)
_STALE = {"apt-get": "Inst ", "dnf": "", "apk": "(1/"}
"""What a line begins with that `rehearse` says of a package that is to be upgraded."""

_QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
_SYSTEMD = "/run/systemd/system"


def package(args: Args, terms: Terms) -> Result:
    """Have packages installed, up to date with `state: latest`, or gone."""
    tool = next((one for one in TOOLS if shutil.which(one.name)), None)
    if tool is None:
        return _failed(f"the host has none of {', '.join(one.name for one in TOOLS)}")
    state = str(args.get("state", "present"))
    if state not in ("present", "installed", "absent", "removed", "latest"):
        return _failed(f"state of a package cannot be {state}: use present, absent or latest")
    if truth(args.get("update_cache", False)) and not terms.check:
        ran = _run(terms, tool.refresh)
        if ran.code:
            return _said(tool.refresh, ran)
    names = _names(args["name"])
    there = {name: _there(tool, name, terms) for name in names}
    if state in ("absent", "removed"):
        acts = [(tool.remove, [name for name in names if there[name]])]
    else:
        have = [name for name in names if there[name]] if state == "latest" else []
        stale = [name for name in have if _stale(tool, name, terms)]
        acts = [(tool.install, [name for name in names if not there[name]]), (tool.upgrade, stale)]
    return _carry_out(tool, [act for act in acts if act[1]], terms)


def _carry_out(tool: Tool, acts: Sequence[tuple[Sequence[str], list[str]]], terms: Terms) -> Result:
    todo = [name for _, names in acts for name in names]
    result: Result = {"changed": bool(todo), "packages": todo}
    if not todo or terms.check:
        return result
    before = [_version(tool, name, terms) for name in todo]
    said = ""
    for verb, names in acts:
        ran = _run(terms, [*verb, *names])
        if ran.code:
            return {**_said([*verb, *names], ran), "changed": before != [_version(tool, name, terms) for name in todo]}
        said += ran.out
    return {**result, "changed": before != [_version(tool, name, terms) for name in todo], "stdout": said, "rc": 0}


def _names(given: Any) -> list[str]:
    found = given if isinstance(given, list) else str(given).split(",")
    return [str(name).strip() for name in found if str(name).strip()]


def _run(terms: Terms, argv: Sequence[str]) -> Ran:
    return terms.run(["env", *(f"{key}={value}" for key, value in _QUIET.items()), *argv])


def _version(tool: Tool, name: str, terms: Terms) -> str:
    """Give the version of a package that is installed; nothing if it is not."""
    ran = _run(terms, [*tool.query, name.partition("=")[0]])
    if tool.name != "apt-get":
        return "" if ran.code else ran.out.strip()
    rows = (line.split() for line in ran.out.splitlines())
    return " ".join(row[1] for row in rows if len(row) > 1 and row[0] == "installed")


def _there(tool: Tool, name: str, terms: Terms) -> bool:
    """Tell whether a package is installed, in its version if one is named: `name=version`."""
    found, wanted = _version(tool, name, terms), name.partition("=")[2]
    return bool(found) and (not wanted or wanted in found.split())


def _stale(tool: Tool, name: str, terms: Terms) -> bool:
    """Tell whether there is a newer one."""
    said = _run(terms, [*tool.rehearse, name]).out.splitlines()
    return any(line.strip() and line.startswith(_STALE[tool.name]) for line in said)


def service(args: Args, terms: Terms) -> Result:
    """Have a service of systemd started, stopped, restarted or reloaded, and enabled or disabled."""
    if not os.path.isdir(_SYSTEMD):
        return _failed("systemd does not run on this host; use a `workload:`, or `command:` with what starts the service")
    name, state = str(args["name"]), args.get("state")
    if state not in (None, "started", "stopped", "restarted", "reloaded"):
        return _failed(f"state of a service cannot be {state}: use started, stopped, restarted or reloaded")
    known = _run(terms, ["systemctl", "cat", "--", name])
    if known.code:
        return _failed(f"Could not find the requested service {name}: {known.err.strip()}")
    verbs = [*_enabling(args, name, terms), *_starting(state, name, terms)]
    for verb in [] if terms.check else verbs:
        ran = _run(terms, ["systemctl", verb, "--", name])
        if ran.code:
            return _said(["systemctl", verb, name], ran)
    return {"changed": bool(verbs), "name": name, **({"state": state} if state else {}), "actions": verbs}


def _enabling(args: Args, name: str, terms: Terms) -> list[str]:
    """Say how to enable or disable; what cannot be either, as it has no [Install], stays as it is (systemctl(1))."""
    if args.get("enabled") is None:
        return []
    now = _run(terms, ["systemctl", "is-enabled", "--", name]).out.strip()
    if truth(args["enabled"]):
        return ["enable"] if now in ("disabled", "enabled-runtime", "masked") else []
    return ["disable"] if now in ("enabled", "enabled-runtime", "linked") else []


def _starting(state: str | None, name: str, terms: Terms) -> list[str]:
    if state in ("restarted", "reloaded"):
        return [{"restarted": "restart", "reloaded": "reload-or-restart"}[state]]
    now = _run(terms, ["systemctl", "show", "-p", "ActiveState", "--", name]).out.strip().partition("=")[2]
    active = now in ("active", "activating", "reloading")
    if state == "started":
        return [] if active else ["start"]
    return ["stop"] if state == "stopped" and active else []


def _said(argv: Sequence[str], ran: Ran) -> Result:
    last = (ran.err.strip() or ran.out.strip()).splitlines()[-10:]
    return {**_failed(f"{' '.join(argv)}: {' / '.join(last)}"), "rc": ran.code, "stdout": ran.out, "stderr": ran.err}


def _failed(message: str) -> Result:
    return {"changed": False, "failed": True, "msg": message}
