"""Divide what a stage changes among the tasks that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.plan.change import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.agent.parts import Wants
    from nsprov.plan.change import Plan
    from nsprov.plan.resource import Ref, Resource


class Shares:
    """The tasks of a stage, each with the resource that it asks for."""

    def __init__(self, steps: Sequence[Mapping[str, Any]], wants: Wants) -> None:
        """Store them, in their order."""
        self._steps = steps
        self._wants = wants

    def results(self, plan: Plan) -> list[dict[str, Any]]:
        """Give each task's result: its own change, and in `also` those that it has taken along.

        What nobody has asked for, as it is mended, is the first task's.
        """
        rows = {change.ref: row for change, row in zip(plan.changes, shown(plan))}
        owners = self._owners(plan)
        found = []
        for index, (step, (resource, present)) in enumerate(zip(self._steps, self._wants)):
            ref = resource.ref()
            own = rows.get(ref) if owners.get(ref) == index else None
            also = sorted(str(other) for other, owner in owners.items() if owner == index and other != ref)
            result: dict[str, Any] = {
                "changed": bool(own or also),
                "ref": str(ref),
                "state": "present" if present else "absent",
            }
            if own is not None:
                result.update(action=own["action"], reason=own.get("reason", ""))
            if also:
                result["also"] = also
            if step.get("diff") and (own or also):
                result["diff"] = [rows[one] for one in rows if owners.get(one) == index]
            found.append(result)
        return found

    def _owners(self, plan: Plan) -> dict[Ref, int]:
        """Give each change to a task: its own, or one that stands on it or that it stands on, over any number of others."""
        owners: dict[Ref, int] = {}
        for index, (resource, _) in enumerate(self._wants):
            owners[resource.ref()] = index  # of two tasks about one resource the last one has its way
        values = {change.ref: change.after or change.before for change in plan.changes}
        found = {ref: owner for ref, owner in owners.items() if ref in values}
        queue = list(found)
        while queue:
            ref = queue.pop(0)
            for other in values:
                if other not in found and _touch(values[ref], values[other]):
                    found[other] = found[ref]
                    queue.append(other)
        return {**dict.fromkeys(values, 0), **found}


def _touch(one: Resource | None, other: Resource | None) -> bool:
    """Tell whether one of two resources stands on the other."""
    if one is None or other is None:
        return False
    return bool({*one.stands_on()} & {*other.provides()} or {*other.stands_on()} & {*one.provides()})
