"""One task on one host: its turns evaluated, put off or done at once, tried until it is as wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.errors import InputError
from nsprov.playbook.model import UNSET
from nsprov.playbook.running import judging
from nsprov.playbook.running.entries import Entry, Pause, Send, Turn
from nsprov.texts import literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.playbook.model import Play, Task
    from nsprov.playbook.running.batch import Batch
    from nsprov.playbook.running.entries import Program
    from nsprov.playbook.running.record import Result
    from nsprov.playbook.running.setting import Setting
    from nsprov.playbook.variables import Scope

AT_ONCE = frozenset({"set_fact", "include_vars", "group_by", "pause"})
"""Modules that change what comes after them, so that what comes before them must be done."""


class Doer:
    """Does the tasks of a host in a play; `nearest` are the variables of an include or a rescue, `handling` is in a handler."""

    def __init__(self, host: str, play: Play, scope: Scope, setting: Setting, batch: Batch) -> None:
        """Store where it takes place."""
        self._host = host
        self._play = play
        self._scope = scope
        self._setting = setting
        self._batch = batch
        self.nearest: dict[str, Any] = {}
        self.handling = False

    def do(self, task: Task) -> Program:
        """Put a task off, or have it done at once if it is one that nothing may follow."""
        entry = Entry(task, self._host, is_loop=task.loop is not UNSET, handler=self.handling)
        try:
            self._prepare(entry)
        except InputError as problem:
            yield from self._batch.flush()
            self._batch.finish(settled(entry, judging.broken(problem)))
            return
        alone = entry.host != self._host or entry.terms.decides or bool(task.until) or task.module in AT_ONCE
        if alone:
            yield from self._batch.flush()
        if task.module == "pause":
            yield self._pause(entry)
        elif task.until:
            yield from self._until(entry)
        self._batch.add(entry)
        if alone or entry.failed:
            yield from self._batch.flush()

    def _prepare(self, entry: Entry) -> None:
        """Evaluate what can be evaluated: conditions, items, arguments."""
        task, variables = entry.task, self.variables(entry.task)
        entry.terms = self._setting.terms(task, variables)
        for turn in self.turns(task, variables):
            entry.turns.append(turn)
            if task.delegate_to is not None:
                entry.host = str(self.fill(task.delegate_to, turn.variables))
            self._setting.make(task, turn, self._host, self._play.lab, entry.terms)

    def turns(self, task: Task, variables: Mapping[str, Any]) -> list[Turn]:
        """Give the turns of a task: one, or one for each item of its loop."""
        if task.loop is UNSET:
            return [Turn(None, None, variables)]
        # A condition that does not hold may keep a loop from asking for what is not there.
        if task.when and not self._setting.needs_item(task) and not self._setting.holds(task.when, variables):
            return []
        items = literal(self.fill(task.loop, variables))
        if not isinstance(items, (list, tuple)):
            raise judging.no_list(items)
        control, found = task.loop_control, []
        for index, item in enumerate(items):
            own = {**variables, control.variable: item, "ansible_loop_var": control.variable}
            if control.index_variable:
                own[control.index_variable] = index
            if control.extended:
                own["ansible_loop"] = judging.extended(index, items)
            label = item if control.label is UNSET else self.fill(control.label, own)
            found.append(Turn(item, label, own))
        return found

    def _pause(self, entry: Entry) -> Pause:
        args = self.fill(entry.task.args, entry.turns[0].variables) if entry.turns else {}
        seconds = float(args.get("seconds", 0)) + 60 * float(args.get("minutes", 0))
        skipped = not entry.turns or entry.turns[0].result is not None
        if not skipped:
            entry.turns[0].result = {"changed": False, "rc": 0, "stdout": f"Paused for {seconds:g} seconds"}
        return Pause(0 if skipped else seconds)

    def _until(self, entry: Entry) -> Program:
        """Have each turn done until it is as wanted, or often enough."""
        task = entry.task
        for turn in entry.turns:
            if turn.result is not None:
                continue
            tries = int(self.fill(task.retries, turn.variables)) + 1
            for attempt in range(1, tries + 1):
                results = yield Send(entry.host, [{**(turn.step or {}), "id": 0, "group": 0, "ignore": True}])
                result = {**self._setting.after(task, turn, self._host, results[0]), "attempts": attempt}
                if self._setting.holds(task.until, {**turn.variables, task.register or "_": result}):
                    break
                if attempt < tries:
                    yield Pause(float(self.fill(task.delay, turn.variables)))
            else:
                result = {**result, "attempts": tries - 1, "failed": True}
            turn.result = result

    def variables(self, task: Task) -> dict[str, Any]:
        """Give the variables of a task, as they are written."""
        return self._scope.variables(task.vars, self.nearest)

    def fill(self, raw: Any, variables: Mapping[str, Any]) -> Any:
        """Evaluate a value."""
        return self._setting.expressions.evaluate(raw, variables)


def settled(entry: Entry, result: Result) -> Entry:
    """Give the entry as it came to one result, whatever was to be done."""
    turn = Turn(None, None, {}, result=result)
    return Entry(entry.task, entry.host, [turn], terms=entry.terms, handler=entry.handler)
