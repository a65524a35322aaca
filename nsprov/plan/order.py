"""Put the changes of a plan into waves: what needs another thing comes after it, what is deleted goes before it.

All deletions come first, the deepest first; then creations and updates, level by level.
Within a level, changes of one kind form one step, so that the kernel is spoken to in batches.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, InputError
from nsprov.plan.change import CREATE, DELETE, REPLACE, UPDATE, Change, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nsprov.plan.resource import Ref, Resource


def order(changes: Iterable[Change], kinds: Sequence[str]) -> list[Step]:
    """Give the steps in the order in which they are taken; `kinds` ranks the steps of one level.

    Raises:
        InputError: resources need each other in a circle.

    """
    rank = {kind: position for position, kind in enumerate(kinds)}
    falling: dict[Ref, Resource] = {}
    rising: dict[Ref, Resource] = {}
    by_ref: dict[Ref, Change] = {}
    for change in changes:
        by_ref[change.ref] = change
        if change.action in (DELETE, REPLACE) and change.before and not change.implied:
            falling[change.ref] = change.before
        if change.action != DELETE and change.after:
            rising[change.ref] = change.after
    down = _group(falling, by_ref, rank, lambda _: "delete")
    up = _group(rising, by_ref, rank, lambda change: UPDATE if change.action == UPDATE else CREATE)
    return [*reversed(down), *up]


def _group(
    resources: Mapping[Ref, Resource],
    changes: Mapping[Ref, Change],
    rank: Mapping[str, int],
    verb: Callable[[Change], str],
) -> list[Step]:
    groups: dict[tuple[int, int, str, str], list[Change]] = defaultdict(list)
    for ref, level in levels(resources).items():
        change = changes[ref]
        groups[level, rank.get(ref.kind, 99), verb(change), ref.kind].append(change)
    return [Step(what, kind, tuple(groups[key])) for key in sorted(groups) for _, _, what, kind in (key,)]


def levels(resources: Mapping[Ref, Resource]) -> dict[Ref, int]:
    """Give each resource the length of its longest chain of needs within these resources.

    Raises:
        InputError: resources need each other in a circle.

    """
    providers: dict[str, list[Ref]] = defaultdict(list)
    for ref, resource in resources.items():
        for token in resource.provides():
            providers[token].append(ref)
    done: dict[Ref, int] = {}
    for start in resources:
        if start not in done:
            _descend(start, resources, providers, done)
    return done


def _descend(
    start: Ref, resources: Mapping[Ref, Resource], providers: Mapping[str, list[Ref]], done: dict[Ref, int]
) -> None:
    """Visit `start` and all that it needs, depth first with a stack of our own: chains may be long."""
    stack, path = [start], {start}
    while stack:
        ref = stack[-1]
        resource = resources[ref]
        level = 0
        for token in (*resource.needs(), *resource.stands_on()):
            for needed in providers.get(token, ()):
                if needed in done:
                    level = max(level, done[needed] + 1)
                elif needed != ref:
                    if needed in path:
                        raise _circle(ref, needed)
                    stack.append(needed)
                    path.add(needed)
                    break
            else:
                continue
            break
        else:
            done[ref] = level
            path.discard(stack.pop())


def _circle(ref: Ref, needed: Ref) -> InputError:
    return InputError(
        Diagnostic(
            summary=f'"{ref}" and "{needed}" need each other',
            detail="Neither can be created first.",
            hint="remove one of the two references",
        )
    )
