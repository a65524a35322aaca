"""Actions, changes and plans as values, their inverse, and their JSON form.

A change is `(ref, before, after)`: `before` is `None` for a creation, `after` is `None` for a deletion.
Replacing is no action of its own when it comes to acting: it is a deletion and a creation, in that order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.plan.resource import Ref, Resource, comparable, decode, encode, secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CREATE, UPDATE, REPLACE, DELETE = "create", "update", "replace", "delete"
HIDDEN = "***"
GLYPHS: Mapping[str, str] = {CREATE: "+", UPDATE: "~", REPLACE: "±", DELETE: "-"}


@dataclass(frozen=True)
class Change:
    """What becomes of one resource, and why.

    `implied` is the ref whose deletion takes this resource along, so that nothing needs to be done for it.
    """

    ref: Ref
    before: Resource | None
    after: Resource | None
    action: str
    reason: str = ""
    implied: Ref | None = None

    def fields(self) -> tuple[tuple[str, object, object], ...]:
        """Give `(name, before, after)` of every managed field that differs; of a secret one only that it does."""
        before, after = self.before, self.after
        if before is None or after is None:
            return ()
        pairs = ((name, getattr(before, name), getattr(after, name)) for name, _ in comparable(type(after)))
        secret = secrets(after)
        return tuple(
            (name, HIDDEN, f"{HIDDEN} (another)") if name in secret else (name, old, new)
            for name, old, new in pairs
            if new is not None and old != new
        )

    def inverse(self) -> Change:
        """Give the change that undoes this one."""
        swapped = {CREATE: DELETE, DELETE: CREATE}.get(self.action, self.action)
        return Change(self.ref, self.after, self.before, swapped, "rolled back")


@dataclass(frozen=True)
class Step:
    """One act of one kind on many resources: `verb` is `create`, `update` or `delete`."""

    verb: str
    kind: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Plan:
    """Every change of one host, in the order of their refs, with what was seen when it was made.

    `fingerprint` is a digest of the observed state; a saved plan is only good for a host that still has it.
    """

    changes: tuple[Change, ...]
    fingerprint: str = ""

    def __bool__(self) -> bool:
        """Tell whether anything would change."""
        return bool(self.changes)

    def counts(self) -> dict[str, int]:
        """Count the changes by action."""
        totals = dict.fromkeys(GLYPHS, 0)
        for change in self.changes:
            totals[change.action] += 1
        return totals


def fingerprint(observed: Iterable[Resource]) -> str:
    """Digest an observed state, independent of its order."""
    rows = sorted(json.dumps([r.kind, encode(r)], sort_keys=True) for r in observed)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:32]


def dump_state(resources: Iterable[Resource]) -> list[list[object]]:
    """Give a state as JSON values: `[[kind, {field: value}], ...]`."""
    return [[resource.kind, encode(resource)] for resource in resources]


def load_state(rows: Sequence[Sequence[Any]], kinds: Mapping[str, type[Resource]]) -> dict[Ref, Resource]:
    """Read a state back.

    Raises:
        InputError: a kind or a field that this version does not know.

    """
    resources = [_load_row(row, kinds) for row in rows]
    return {resource.ref(): resource for resource in resources}


def _load_row(row: Any, kinds: Mapping[str, type[Resource]]) -> Resource:
    if not isinstance(row, list) or list(map(type, row)) != [str, dict]:
        raise InputError(Diagnostic(summary=f"{row!r} is no resource", hint="use the same nsprov version on both sides"))
    return decode(_kind(row[0], kinds), row[1])


def dump_plan(plan: Plan) -> dict[str, Any]:
    """Give a plan as JSON values, whole: for whoever carries it out."""
    return {"fingerprint": plan.fingerprint, "changes": [_dump_change(change) for change in plan.changes]}


def shown(plan: Plan) -> list[dict[str, Any]]:
    """Give the changes of a plan as JSON values, for whoever reads them: without secrets."""
    rows = [_dump_change(change) for change in plan.changes]
    for row, change in zip(rows, plan.changes):
        for name in secrets(change.after or change.before):
            for side in ("before", "after"):
                if row.get(side, {}).get(name):
                    row[side][name] = HIDDEN
    return rows


def load_plan(given: Mapping[str, Any], kinds: Mapping[str, type[Resource]]) -> Plan:
    """Read a plan back."""
    return Plan(tuple(_load_change(row, kinds) for row in given["changes"]), str(given.get("fingerprint", "")))


def _dump_change(change: Change) -> dict[str, Any]:
    sides = {"before": change.before, "after": change.after}
    row: dict[str, Any] = {name: encode(side) for name, side in sides.items() if side is not None}
    row.update(ref=str(change.ref), action=change.action)
    if change.reason:
        row["reason"] = change.reason
    if change.implied:
        row["implied"] = str(change.implied)
    return row


def _load_change(row: Mapping[str, Any], kinds: Mapping[str, type[Resource]]) -> Change:
    ref = Ref.parse(str(row["ref"]))
    before, after = (decode(_kind(ref.kind, kinds), row[side]) if side in row else None for side in ("before", "after"))
    implied = Ref.parse(str(row["implied"])) if "implied" in row else None
    return Change(ref, before, after, str(row["action"]), str(row.get("reason", "")), implied)


def _kind(name: str, kinds: Mapping[str, type[Resource]]) -> type[Resource]:
    try:
        return kinds[name]
    except KeyError:
        raise InputError(
            Diagnostic(summary=f'kind "{name}" is not known', hint="use the same nsprov version on both sides")
        ) from None
