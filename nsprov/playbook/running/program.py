"""The program of one host in one play: it walks the tasks, and collects what can travel together in one message.

It is a generator: it yields what it wants (`Send`, `Meet`, `Pause`) and is resumed with the answer. A task is put off
until something needs its result: a condition, a loop or an argument of a later task, the end of a block with a rescue, a
handler, or a task that all hosts do together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.errors import InputError
from nsprov.playbook import modules
from nsprov.playbook.model import RAW, Block, Task
from nsprov.playbook.running import judging
from nsprov.playbook.running.batch import Batch
from nsprov.playbook.running.doing import AT_ONCE, Doer, settled
from nsprov.playbook.running.entries import Entry, Meet, TaskFailed
from nsprov.playbook.running.record import Event
from nsprov.render.filters import to_bool

if TYPE_CHECKING:
    from collections.abc import Generator

    from nsprov.playbook.model import Play
    from nsprov.playbook.running.entries import Program, Wants
    from nsprov.playbook.running.record import Result
    from nsprov.playbook.running.setting import Setting
    from nsprov.playbook.variables import Scope

_OF_OTHERS = frozenset({"hostvars", "groups", "group_names", "ansible_play_hosts", "play_hosts"})
"""Variables that other hosts' results, or tasks that make groups, may change."""


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
        self._doer = Doer(host, play, scope, setting, self._batch)

    def run(self) -> Program:
        """Do everything, section by section, each with the handlers that it has notified."""
        play = self._play
        if to_bool(self._doer.fill(play.gather_facts, self._scope.variables({}, {}))):
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
            self._doer.nearest.update(ansible_failed_task={"name": failure.task.title}, ansible_failed_result=failure.result)
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
            self._doer.handling = True
            yield from self._do(self._play.handlers[index])
            yield from self._batch.flush()
            self._doer.handling = False

    def _task(self, task: Task) -> Program:
        if not self._setting.takes(task, self.host):
            return
        if self._setting.lockstep:
            # What came before is done and seen before anybody is asked.
            yield from self._batch.flush()
            yield Meet((task.where, "asked"))
        if self._setting.confirm(task):
            yield from self._do(task)

    def _do(self, task: Task) -> Program:
        if self._setting.lockstep:
            yield from self._batch.flush()
            yield Meet(task.where)
        elif self._batch:
            asked = self._setting.asked(task, self._doer.variables(task))
            if asked & self._batch.wanted or asked & _OF_OTHERS or task.module in AT_ONCE:
                yield from self._batch.flush()
        if task.module == "meta":
            yield from self._meta(task)
        elif task.module == modules.TOPOLOGY.name or self._truth(task.run_once, task):
            yield from self._together(task)
        elif task.module == "include_tasks":
            yield from self._include(task)
        else:
            yield from self._doer.do(task)

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
                    yield from self._doer.do(task)
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
        variables = self._doer.variables(task)
        results: dict[str, Result] = dict.fromkeys(hosts, judging.skipped(task.when))
        if self._setting.holds(task.when, variables):
            try:
                results.update(self._setting.topology(self._doer.fill(task.args, variables), hosts))
            except InputError as problem:
                results = dict.fromkeys(hosts, judging.broken(problem))
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
        variables = self._doer.variables(task)
        entry = Entry(task, self.host)
        try:
            turns = [turn for turn in self._doer.turns(task, variables) if self._setting.holds(task.when, turn.variables)]
            found = [(turn, *self._setting.include(task, self._doer.fill(task.args, turn.variables))) for turn in turns]
        except InputError as problem:
            self._batch.finish(settled(entry, judging.broken(problem)))
            return
        if not turns:
            self._batch.finish(settled(entry, judging.skipped(task.when)))
        before = self._doer.nearest
        for turn, name, steps in found:
            own = {key: turn.variables[key] for key in turn.variables if key not in variables}
            self._doer.nearest = {**before, **task.vars, **own}
            self._batch.finish(settled(entry, {"changed": False, "included": name}))
            yield from self._walk(steps)
            yield from self._batch.flush()
        self._doer.nearest = before

    def _meta(self, task: Task) -> Program:
        variables = self._doer.variables(task)
        word = str(task.args.get(RAW, task.args.get("action", "")))
        yield from self._batch.flush()
        if not self._setting.holds(task.when, variables):
            return
        if word == "flush_handlers":
            yield from self._handlers()
        elif word in ("end_host", "end_play", "end_batch"):
            raise Enough(play=word != "end_host")

    def _truth(self, raw: Any, task: Task) -> bool:
        return to_bool(self._doer.fill(raw, self._doer.variables(task)))
