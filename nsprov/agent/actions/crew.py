"""`supervise`: start, stop, restart, kill and await workloads of a lab on this host, or say how they are."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from nsprov.agent import control, inits
from nsprov.errors import Diagnostic, InputError
from nsprov.kernel.audit import checked
from nsprov.kernel.machine import Kernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.agent.actions.terms import Terms

    Args = Mapping[str, Any]
    Result = dict[str, Any]
    Row = dict[str, Any]

_ACTS: Mapping[str, str] = {
    "started": "start",
    "stopped": "stop",
    "restarted": "restart",
    "killed": "kill",
    "ready": "wait",
    "exited": "wait",
}
_WAITED_FOR = ("ready", "exited")
_DOWN = ("stopped", "failed", "backoff")
_OVER = ("stopped", "failed", "done")
_PATIENCE = 60.0
"""Seconds to wait if nobody says how many."""


class _Controller:
    """Whoever has asked, as `control` wants to see them: it stops when they are gone."""

    def __init__(self, terms: Terms) -> None:
        """Store how they are looked at."""
        self._terms = terms

    def waiting(self) -> bool:
        """Raise if they are gone; they never want anything else."""
        self._terms.heed()
        return False


def supervise(args: Args, terms: Terms) -> Result:
    """Bring workloads into a state, those that are named or all of the lab here; without a state, tell how they are."""
    kernel = Kernel(checked(str(args["lab"])))
    rows = _chosen(list(inits.rows(kernel, inits.look(kernel))), _names(args.get("name")))
    state = args.get("state")
    if state is None:
        return {"changed": False, "workloads": rows}
    if state not in _ACTS:
        raise InputError(Diagnostic(f'state of a workload cannot be "{state}"', hint=f"use {', '.join(sorted(_ACTS))}"))
    changed = state not in _WAITED_FOR and any(_differs(row["state"], state) for row in rows)
    if terms.check or not rows:
        return {"changed": changed, "workloads": rows, "skipped": state in _WAITED_FOR and terms.check}
    wanted: dict[str, Any] = {"targets": [(row["node"], row["name"]) for row in rows], "action": _ACTS[state]}
    if state == "killed":
        wanted["signal"] = _signal(str(args.get("signal", "KILL")))
    if state in _WAITED_FOR:
        wanted.update({"for": state, "timeout": float(args.get("timeout", _PATIENCE))})
    done: list[Row] = control.control(kernel, _Controller(terms), wanted)["rows"]
    problems = [row for row in done if "error" in row]
    result: Result = {"changed": changed, "workloads": done}
    if problems:
        words = [". ".join(filter(None, (row["error"], row.get("detail"), row.get("hint")))) for row in problems]
        result.update(failed=True, msg="; ".join(words))
    return result


def _names(given: Any) -> list[str]:
    found = given if isinstance(given, list) else str(given or "").split(",")
    return [str(name).strip() for name in found if str(name).strip()]


def _chosen(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Give those that are named, `node/workload` or all of a `node`; all without names.

    Raises:
        InputError: a name is none.

    """
    for name in names:
        if not any(name in (row["node"], f"{row['node']}/{row['name']}") for row in rows):
            there = ", ".join(f"{row['node']}/{row['name']}" for row in rows) or "none"
            raise InputError(Diagnostic(f'there is no workload "{name}" on this host', detail=f"There are {there}."))
    return [row for row in rows if not names or {row["node"], f"{row['node']}/{row['name']}"} & set(names)]


def _differs(state: str, wanted: str) -> bool:
    if wanted == "started":
        return state in _DOWN
    return wanted != "stopped" or state not in _OVER


def _signal(text: str) -> int:
    try:
        return int(signal.Signals[f"SIG{text.upper().removeprefix('SIG')}"]) if not text.isdigit() else int(text)
    except KeyError:
        raise InputError(Diagnostic(f'"{text}" is not a signal', hint="write a name or a number, as TERM or 15")) from None
