"""What there is in a playbook before it is run: the names and the tags of its tasks, for who asks for some of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, NothingMatched
from nsprov.playbook import reading
from nsprov.playbook.model import RAW, Block
from nsprov.playbook.tasks import Inherited
from nsprov.topology.positions import closest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nsprov.playbook.model import Play, Playbook, Selection, Task
    from nsprov.vault import Password

_SPECIAL = frozenset({"all", "always", "never", "tagged", "untagged"})


def tasks_of(play: Play) -> Iterator[Task]:
    """Give every task of a play, those in blocks and the handlers included."""
    return _flat([*play.pre_tasks, *play.tasks, *play.post_tasks, *play.handlers])


def _flat(steps: Sequence[Task | Block]) -> Iterator[Task]:
    todo = [*steps]
    while todo:
        one = todo.pop(0)
        if isinstance(one, Block):
            todo[:0] = [*one.tasks, *one.rescue, *one.always]
        else:
            yield one


def check_start(playbook: Playbook, name: str) -> None:
    """Make sure that there is a task to start at; those of files that are included when they are reached are not there yet.

    Raises:
        NothingMatched: there is none.

    """
    there = [task for play in playbook.plays for task in tasks_of(play) if task not in play.handlers]
    if name and not any(task.is_called(name) for task in there):
        hint = closest(name, [task.title for task in there]) or f"see `nsprov play {playbook.path} --list-tasks`"
        raise NothingMatched(Diagnostic(f"no task is called {shown(name)}", "--start-at-task", hint=hint))


def check_tags(playbook: Playbook, selection: Selection, passwords: Sequence[Password]) -> None:
    """Make sure that every tag that is asked for is there; who includes files by computed names may have any.

    Raises:
        NothingMatched: one is not.

    """
    unknown = (selection.only | selection.skip) - _SPECIAL
    if not unknown:
        return
    known = _tags(playbook, passwords)
    if known is None or not unknown - known:
        return
    option = "--tags" if selection.only & (unknown - known) else "--skip-tags"
    found = []
    for tag in sorted(unknown - known):
        hint = closest(tag, known) or f"see `nsprov play {playbook.path} --list-tags`"
        found.append(Diagnostic(f"no task has the tag {shown(tag)}", option, hint=hint))
    raise NothingMatched(*found)


def _tags(playbook: Playbook, passwords: Sequence[Password]) -> frozenset[str] | None:
    found: set[str] = set()
    todo = [task for play in playbook.plays for task in tasks_of(play)]
    seen: set[str] = set()
    while todo:
        task = todo.pop()
        found |= task.tags
        if task.module != "include_tasks":
            continue
        name = str(task.args.get("file", task.args.get(RAW, "")))
        path = os.path.join(os.path.dirname(task.where.path), name)
        if "{{" in name:
            return None
        if path not in seen and os.path.isfile(path):
            seen.add(path)
            todo += _flat(reading.load_tasks(path, Inherited(), passwords))
    return frozenset(found)
