"""What a host has still to do: tasks that were put off, until something needs their results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsprov.playbook.running.entries import Send, TaskFailed
from nsprov.playbook.running.record import Event

if TYPE_CHECKING:
    from nsprov.playbook.model import Play, Task
    from nsprov.playbook.running.entries import Entry, Program, Turn
    from nsprov.playbook.running.setting import Setting


class Batch:
    """The tasks of one host that travel together; `notified` is what handlers its results have called for."""

    def __init__(self, host: str, play: Play, setting: Setting) -> None:
        """Start with nothing to do."""
        self._host = host
        self._play = play
        self._setting = setting
        self._entries: list[Entry] = []
        self.wanted: frozenset[str] = frozenset()
        """Variables that its results will be registered under."""
        self.notified: set[int] = set()

    def __bool__(self) -> bool:
        """Tell whether there is something to do."""
        return bool(self._entries)

    def add(self, entry: Entry) -> None:
        """Put a task off."""
        self._entries.append(entry)
        self.wanted |= {entry.task.register} if entry.task.register else set()

    def flush(self) -> Program:
        """Have everything done, and take the results, in order, up to the first that failed.

        Raises:
            TaskFailed: a task has.

        """
        entries, self._entries, self.wanted = self._entries, [], frozenset()
        todo = [(group, turn) for group, entry in enumerate(entries) for turn in entry.turns if turn.result is None]
        if todo:
            steps = []
            for number, (group, turn) in enumerate(todo):
                terms = entries[group].terms
                steps.append({**(turn.step or {}), "id": number, "group": group, "ignore": terms.ignores or terms.decides})
            results = yield Send(entries[0].host, steps)
            for number, (group, turn) in enumerate(todo):
                if number in results:
                    turn.result = self._setting.after(entries[group].task, turn, self._host, results[number])
        for entry in entries:
            self.finish(entry)

    def finish(self, entry: Entry) -> None:
        """Judge a task that is done: register, tell, notify.

        Raises:
            TaskFailed: it has failed, and that is not ignored.

        """
        task = entry.task
        result, items = self._setting.judge(entry)
        if task.register:
            self._setting.world.of(self._host).registered[task.register] = result
        failed = bool(result.get("failed"))
        if task.module == "setup" and not failed:
            self._setting.learn(self._host, result)
        event = Event(
            self._play,
            task,
            self._host,
            result,
            self._setting.title(task, entry.turns[0].variables if entry.turns else {}),
            items=items,
            ignored=failed and entry.terms.ignores,
            hidden=entry.terms.hides,
            delegated="" if entry.host == self._host else entry.host,
            handler=entry.handler,
        )
        self._setting.record.add(event)
        if failed and not event.ignored:
            raise TaskFailed(task, result)
        if result.get("changed"):
            self._notify(task, entry.turns)

    def _notify(self, task: Task, turns: list[Turn]) -> None:
        variables = turns[0].variables if turns else {}
        for given in task.notify:
            name = str(self._setting.expressions.evaluate(given, variables))
            found = [i for i, one in enumerate(self._play.handlers) if name in (one.name, *one.listen)]
            if not found:
                raise TaskFailed(task, {"failed": True, "msg": f'there is no handler "{name}"'})
            self.notified.update(found)
