"""The program of one host in one play: it walks the tasks, and collects what can travel together in one message.

It is a generator: it yields what it wants (`Send`, `Meet`, `Pause`) and is resumed with the answer. A task is put off
until something needs its result: a condition, a loop or an argument of a later task, the end of a block with a rescue, a
handler, or a task that all hosts do together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.errors import InputError
from nsprov.playbook import modules
from nsprov.playbook.model import RAW, UNSET, Block, Task
from nsprov.playbook.running import judging
from nsprov.playbook.running.batch import Batch, Entry, Meet, Pause, Send, TaskFailed, Turn
from nsprov.playbook.running.record import Event
from nsprov.render.filters import to_bool

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from nsprov.playbook.model import Play
    from nsprov.playbook.running.batch import Program, Wants
    from nsprov.playbook.running.record import Result
    from nsprov.playbook.running.setting import Setting
    from nsprov.playbook.variables import Scope

_OF_OTHERS = frozenset({"hostvars", "groups", "group_names", "ansible_play_hosts", "play_hosts"})
"""Variables that other hosts' results, or tasks that make groups, may change."""

_AT_ONCE = frozenset({"set_fact", "include_vars", "group_by", "pause"})
"""Modules that change what comes after them, so that what comes before them must be done."""


class Enough(Exception):
    """The host has done with the play, or with `play` all hosts have."""

    def __init__(self, *, play: bool) -> None:
        """Store for whom."""
        super().__init__()
        self.play = play


class HostProgram:
    """What one host does in one play."""

    def __init__(self, host: str, play: Play, scope: Scope, setting: Setting) -> None:
        """Store where it takes place."""
        self.host = host
        self._play = play
        self._scope = scope
        self._setting = setting
        self._batch = Batch(host, play, setting)
        self._nearest: dict[str, Any] = {}
        self._handling = False

    def run(self) -> Program:
        """Do everything, section by section, each with the handlers that it has notified."""
        play = self._play
        if to_bool(self._fill(play.gather_facts, self._scope.variables({}, {}))):
            yield from self._task(Task(module="setup", name="Gathering Facts", tags=frozenset({"always"}), where=play.where))
        for section in (play.pre_tasks, play.tasks, play.post_tasks):
            yield from self._walk(section)
            yield from self._handlers()

    def _walk(self, steps: tuple[Task | Block, ...]) -> Program:
        for one in steps:
            yield from self._block(one) if isinstance(one, Block) else self._task(one)

    def _block(self, block: Block) -> Program:
        if not block.rescue and not block.always:
            yield from self._walk(block.tasks)
            return
        yield from self._batch.flush()
        failure = yield from self._attempt(block.tasks)
        if failure is not None and block.rescue:
            self._setting.record.rescued(self.host)
            self._nearest.update(ansible_failed_task={"name": failure.task.title}, ansible_failed_result=failure.result)
            failure = yield from self._attempt(block.rescue)
        yield from self._walk(block.always)
        yield from self._batch.flush()
        if failure is not None:
            raise failure

    def _attempt(self, steps: tuple[Task | Block, ...]) -> Generator[Wants, Any, TaskFailed | None]:
        try:
            yield from self._walk(steps)
            yield from self._batch.flush()
        except TaskFailed as failure:
            return failure
        return None

    def _handlers(self) -> Program:
        yield from self._batch.flush()
        notified = self._batch.notified
        while notified:
            index = min(notified)
            notified.discard(index)
            self._handling = True
            yield from self._do(self._play.handlers[index])
            yield from self._batch.flush()
            self._handling = False

    def _task(self, task: Task) -> Program:
        if self._setting.takes(task, self.host):
            yield from self._do(task)

    def _do(self, task: Task) -> Program:
        if self._setting.lockstep:
            yield from self._batch.flush()
            yield Meet(task.where)
        elif self._batch:
            asked = self._setting.asked(task, self._variables(task))
            if asked & self._batch.wanted or asked & _OF_OTHERS or task.module in _AT_ONCE:
                yield from self._batch.flush()
        if task.module == "meta":
            yield from self._meta(task)
        elif task.module == modules.TOPOLOGY.name or self._truth(task.run_once, task):
            yield from self._together(task)
        elif task.module == "include_tasks":
            yield from self._include(task)
        else:
            yield from self._ordinary(task)

    def _ordinary(self, task: Task) -> Program:
        """Put a task off, or have it done at once if it is one that nothing may follow."""
        entry = Entry(task, self.host, is_loop=task.loop is not UNSET, handler=self._handling)
        try:
            self._prepare(entry)
        except InputError as problem:
            yield from self._batch.flush()
            self._batch.finish(self._with(entry, judging.broken(problem)))
            return
        alone = entry.host != self.host or entry.terms.decides or bool(task.until) or task.module in _AT_ONCE
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
        task, variables = entry.task, self._variables(entry.task)
        entry.terms = self._setting.terms(task, variables)
        for turn in self._turns(task, variables):
            entry.turns.append(turn)
            if task.delegate_to is not None:
                entry.host = str(self._fill(task.delegate_to, turn.variables))
            self._setting.make(task, turn, self.host, self._play.lab, entry.terms)

    def _turns(self, task: Task, variables: Mapping[str, Any]) -> list[Turn]:
        if task.loop is UNSET:
            return [Turn(None, None, variables)]
        # A condition that does not hold may keep a loop from asking for what is not there.
        if task.when and not self._setting.needs_item(task) and not self._setting.holds(task.when, variables):
            return []
        items = self._fill(task.loop, variables)
        if not isinstance(items, (list, tuple)):
            raise judging.no_list(items)
        control, found = task.loop_control, []
        for index, item in enumerate(items):
            own = {**variables, control.variable: item, "ansible_loop_var": control.variable}
            if control.index_variable:
                own[control.index_variable] = index
            if control.extended:
                own["ansible_loop"] = judging.extended(index, items)
            label = item if control.label is UNSET else self._fill(control.label, own)
            found.append(Turn(item, label, own))
        return found

    def _pause(self, entry: Entry) -> Pause:
        args = self._fill(entry.task.args, entry.turns[0].variables) if entry.turns else {}
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
            tries = int(self._fill(task.retries, turn.variables)) + 1
            for attempt in range(1, tries + 1):
                results = yield Send(entry.host, [{**(turn.step or {}), "id": 0, "group": 0, "ignore": True}])
                result = {**self._setting.after(task, turn, self.host, results[0]), "attempts": attempt}
                if self._setting.holds(task.until, {**turn.variables, task.register or "_": result}):
                    break
                if attempt < tries:
                    yield Pause(float(self._fill(task.delay, turn.variables)))
            else:
                result = {**result, "attempts": tries - 1, "failed": True}
            turn.result = result

    def _together(self, task: Task) -> Program:
        """Have the first host do it for all; the others get its result."""
        yield from self._batch.flush()
        hosts: tuple[str, ...] = yield Meet((task.where, "begin"))
        shared, key = self._setting.shared, (task.where, hosts)
        if self.host == hosts[0]:
            shared[key] = None
            try:
                if task.module == modules.TOPOLOGY.name:
                    self._topology(task, hosts)
                else:
                    yield from self._ordinary(task)
                    yield from self._batch.flush()
                    shared[key] = self._setting.world.of(self.host).registered.get(task.register)
            except TaskFailed as failure:
                shared[key] = failure
        yield Meet((task.where, "end"))
        found = shared.get(key)
        if isinstance(found, TaskFailed):
            raise TaskFailed(found.task, found.result)
        if found is not None and task.register:
            self._setting.world.of(self.host).registered[task.register] = found

    def _topology(self, task: Task, hosts: tuple[str, ...]) -> None:
        """Bring a lab up or down on all hosts, in one transaction."""
        variables = self._variables(task)
        results = dict.fromkeys(hosts, judging.skipped(task.when))
        if self._setting.holds(task.when, variables):
            results.update(self._setting.topology(self._fill(task.args, variables), hosts))
        for host, result in results.items():
            self._setting.record.add(Event(self._play, task, host, result, self._setting.title(task, variables)))
            if task.register:
                self._setting.world.of(host).registered[task.register] = result
        failed = next((result for result in results.values() if result.get("failed")), None)
        if failed is not None:
            raise TaskFailed(task, failed)

    def _include(self, task: Task) -> Program:
        """Read a file of tasks when it is reached, once for each turn, and go through it."""
        yield from self._batch.flush()
        variables = self._variables(task)
        entry = Entry(task, self.host)
        try:
            turns = [turn for turn in self._turns(task, variables) if self._setting.holds(task.when, turn.variables)]
            found = [(turn, *self._setting.include(task, self._fill(task.args, turn.variables))) for turn in turns]
        except InputError as problem:
            self._batch.finish(self._with(entry, judging.broken(problem)))
            return
        if not turns:
            self._batch.finish(self._with(entry, judging.skipped(task.when)))
        before = self._nearest
        for turn, name, steps in found:
            own = {key: turn.variables[key] for key in turn.variables if key not in variables}
            self._nearest = {**before, **task.vars, **own}
            self._batch.finish(self._with(entry, {"changed": False, "included": name}))
            yield from self._walk(steps)
            yield from self._batch.flush()
        self._nearest = before

    def _meta(self, task: Task) -> Program:
        variables = self._variables(task)
        word = str(task.args.get(RAW, task.args.get("action", "")))
        yield from self._batch.flush()
        if not self._setting.holds(task.when, variables):
            return
        if word == "flush_handlers":
            yield from self._handlers()
        elif word in ("end_host", "end_play", "end_batch"):
            raise Enough(play=word != "end_host")

    @staticmethod
    def _with(entry: Entry, result: Result) -> Entry:
        """Give the entry as it came to one result, whatever was to be done."""
        turn = Turn(None, None, {}, result=result)
        return Entry(entry.task, entry.host, [turn], terms=entry.terms, handler=entry.handler)

    def _variables(self, task: Task) -> dict[str, Any]:
        return self._scope.variables(task.vars, self._nearest)

    def _fill(self, raw: Any, variables: Mapping[str, Any]) -> Any:
        return self._setting.expressions.evaluate(raw, variables)

    def _truth(self, raw: Any, task: Task) -> bool:
        return to_bool(self._fill(raw, self._variables(task)))
