"""Compare what was applied, what is desired and what is observed; say what becomes of each resource, and why.

`observed` holds only what is ours: what is in the manifest, what is desired, and what bears the lab's mark.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from nsprov.plan.change import CREATE, DELETE, REPLACE, UPDATE, Change
from nsprov.plan.resource import LAB_TOKEN, Ref, Resource, comparable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    State = Mapping[Ref, Resource]


def diff(applied: State, desired: State, observed: State) -> dict[Ref, Change]:
    """Give the change of every resource that is not as desired, cascades and implied deletions included."""
    changes: dict[Ref, Change] = {}
    for ref, want in desired.items():
        have = observed.get(ref)
        change = _create(want, applied.get(ref)) if have is None else _alter(have, want, applied.get(ref))
        if change:
            changes[ref] = change
    for ref, have in observed.items():
        if ref not in desired:
            changes[ref] = Change(ref, have, None, DELETE, "no longer in the file" if desired else "the lab goes down")
    _cascade(changes, desired, observed)
    return _imply(changes, {} if desired else {LAB_TOKEN: Ref("lab", "all of it")})


def _create(want: Resource, applied: Resource | None) -> Change:
    return Change(want.ref(), None, want, CREATE, "new" if applied is None else "gone from the host")


def _alter(have: Resource, want: Resource, applied: Resource | None) -> Change | None:
    replace = differs = False
    for name, role in comparable(type(want)):
        new = getattr(want, name)
        if new is not None and new != getattr(have, name):
            differs, replace = True, replace or role
    if not differs:
        return None
    reason = "changed on the host" if applied == want else "edited"
    return Change(want.ref(), have, want, REPLACE if replace else UPDATE, reason)


def _cascade(changes: dict[Ref, Change], desired: State, observed: State) -> None:
    """Replace or delete what stands on a thing that is deleted, replaced, or has to be made anew.

    A created thing takes nothing along when another observed thing already provides the same token.
    """
    if not any(change.before for change in changes.values()) and not observed:
        return
    standing: dict[str, list[Ref]] = defaultdict(list)
    provided: set[str] = set()
    for ref, have in observed.items():
        provided.update(have.provides())
        for token in have.stands_on():
            standing[token].append(ref)
    queue = [(change.ref, token) for change in changes.values() for token in _lost(change, provided)]
    while queue:
        cause, token = queue.pop()
        for ref in standing.pop(token, ()):
            earlier = changes.get(ref)
            if ref == cause or (earlier and earlier.action in (DELETE, REPLACE)):
                continue
            have, want = observed[ref], desired[ref]
            changes[ref] = Change(ref, have, want, REPLACE, f"stands on {cause}")
            queue.extend((ref, lost) for lost in have.provides())


def _lost(change: Change, provided: set[str]) -> Iterable[str]:
    if change.action == CREATE and change.after:
        return [token for token in change.after.provides() if token not in provided]
    if change.action in (DELETE, REPLACE) and change.before:
        return change.before.provides()
    return change.before.loses(change.after) if change.before else ()


def _imply(changes: dict[Ref, Change], going: dict[str, Ref]) -> dict[Ref, Change]:
    """Mark the deletions that the kernel does by itself because all that the thing lives in goes."""
    for change in changes.values():
        if change.action in (DELETE, REPLACE) and change.before:
            going.update((token, change.ref) for token in change.before.kills())
    for ref, change in changes.items():
        if change.action in (DELETE, REPLACE) and change.before:
            tokens = change.before.dies_with()
            if tokens and all(going.get(token, ref) != ref for token in tokens):
                changes[ref] = Change(ref, change.before, change.after, change.action, change.reason, going[tokens[0]])
    return changes


def restorable(state: State) -> State:
    """Leave out what somebody had taken away already, and what stands on it: nobody can make that again."""
    state = {ref: resource for ref, resource in state.items() if resource.restorable()}
    while True:
        tokens = {token for resource in state.values() for token in resource.provides()}
        kept = {ref: res for ref, res in state.items() if tokens.issuperset((*res.needs(), *res.stands_on()))}
        if len(kept) == len(state):
            return kept
        state = kept
