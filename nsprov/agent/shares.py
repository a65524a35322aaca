"""Divide what a stage changes among the tasks that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.plan.change import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
                result.update(action=own["action"], reason=own.get("reason", "") if present else "")
            if also:
                result["also"] = also
            if step.get("diff") and (own or also):
                result["diff"] = [rows[one] for one in rows if owners.get(one) == index]
            found.append(result)
        return found

    def _owners(self, plan: Plan) -> dict[Ref, int]:
        """Give each change to a task: its own, one that this stands on, or one that stands on it, over any number of others."""
        owners: dict[Ref, int] = {}
        for index, (want, _) in enumerate(self._wants):
            owners[want.ref()] = index  # of two tasks about one resource the last one has its way
        values = {one.ref: value for one in plan.changes if (value := one.after or one.before)}
        found = {ref: owner for ref, owner in owners.items() if ref in values}
        _spread(found, values, lambda ours, other: {*ours.stands_on()} & {*other.provides()})
        _spread(found, values, lambda ours, other: {*other.stands_on()} & {*ours.provides()})
        return {**dict.fromkeys(values, 0), **found}


def _spread(owners: dict[Ref, int], values: Mapping[Ref, Resource], touch: Callable[[Resource, Resource], object]) -> None:
    """Give what is touched to the owner of what touches it, and so on."""
    queue = list(owners)
    while queue:
        ref = queue.pop(0)
        for other, resource in values.items():
            if other not in owners and touch(values[ref], resource):
                owners[other] = owners[ref]
                queue.append(other)
