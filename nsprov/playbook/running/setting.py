"""What all programs of a play work with: variables, expressions, files, and the terms of the run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.playbook import modules, reading
from nsprov.playbook.model import RAW
from nsprov.playbook.running import judging, work
from nsprov.playbook.tasks import Inherited
from nsprov.render.filters import to_bool
from nsprov.texts import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.playbook.model import Block, Selection, Task
    from nsprov.playbook.running.entries import Entry, Turn
    from nsprov.playbook.running.locally import Locally
    from nsprov.playbook.running.record import Record, Result
    from nsprov.playbook.variables import World
    from nsprov.render.native import Expressions
    from nsprov.vault import Password

    Topology = Callable[[Mapping[str, Any], Sequence[str]], Mapping[str, Result]]

_EVALUATED = ("when", "loop", "args", "vars", "environment", "delegate_to", "ignore_errors", "no_log", "become_user", "until")
_BARE = ("that", "var")
"""Arguments that are expressions without braces."""

CONTROLLER = frozenset({"assert", "debug", "fail", "group_by", "include_vars", "set_fact"})


@dataclass
class Setting:
    """One play's; `shared` is what hosts have for one another, `started` whether the task to start at has been met."""

    world: World
    expressions: Expressions
    record: Record
    local: Locally
    selection: Selection
    folder: str
    passwords: Sequence[Password]
    topology: Topology
    check: bool = False
    diff: bool = False
    lockstep: bool = False
    start_at: str = ""
    confirm: Callable[[Task], bool] = lambda _task: True
    becomes: Callable[[str], bool] = lambda _host: True
    shared: dict[Any, Any] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)

    def takes(self, task: Task, host: str) -> bool:
        """Tell whether a task is done at all: by its tags, and from where the user wants to start."""
        if self.start_at and host not in self.started:
            if not task.is_called(self.start_at):
                return False
            self.started.add(host)
        return self.selection.takes(task.tags)

    def title(self, task: Task, variables: Mapping[str, Any]) -> str:
        """Give a task's name, filled in as far as that can be."""
        try:
            return str(self.expressions.evaluate(task.title, variables))
        except InputError:
            return task.title

    def asked(self, task: Task, variables: Mapping[str, Any]) -> frozenset[str]:
        """Give every variable that a task asks for, and those that these ask for."""
        found: set[str] = set()
        bare = [task.args[name] for name in _BARE if name in task.args]
        conditions = [one for given in (*bare, *task.when) for one in (given if isinstance(given, list) else [given])]
        todo = self._names([getattr(task, name) for name in _EVALUATED], conditions)
        while todo:
            found |= todo
            todo = self._names([variables[name] for name in todo if name in variables]) - found
        return frozenset(found)

    def _names(self, raw: Sequence[Any], conditions: Sequence[Any] = ()) -> set[str]:
        names = self.expressions.names([item for item in raw if isinstance(item, (str, list, tuple, dict))])
        return set(names | self.expressions.names(["{{ " + one + " }}" for one in conditions if isinstance(one, str)]))

    def needs_item(self, task: Task) -> bool:
        """Tell whether a task's conditions ask for the item of its loop."""
        own = {task.loop_control.variable, task.loop_control.index_variable, "ansible_loop"}
        return bool(own & self._names([], task.when))

    def holds(self, conditions: Sequence[Any], variables: Mapping[str, Any]) -> bool:
        """Tell whether all conditions hold."""
        return self.expressions.condition(list(conditions), variables)

    def terms(self, task: Task, variables: Mapping[str, Any]) -> judging.Terms:
        """Fill in how a task is to be taken."""

        def truth(raw: Any) -> bool:
            return to_bool(self.expressions.evaluate(raw, variables))

        environment: dict[str, str] = {}
        for given in task.environment:
            environment.update({str(key): str(value) for key, value in self.expressions.evaluate(given, variables).items()})
        on_host: dict[str, Any] = {"check": self.check if task.check_mode is None else truth(task.check_mode)}
        on_host["diff"] = self.diff if task.diff is None else truth(task.diff)
        if environment:
            on_host["environment"] = environment
        host = str(variables["inventory_hostname"])
        if not (self.becomes(host) if task.become is None else truth(task.become)):
            on_host["user"] = ""
        elif task.become_user is not None:
            on_host["user"] = str(self.expressions.evaluate(task.become_user, variables))
        constant = task.failed_when is None or all(isinstance(one, bool) for one in task.failed_when)
        return judging.Terms(truth(task.ignore_errors), truth(task.no_log), not constant, on_host)

    def make(self, task: Task, turn: Turn, host: str, lab: str, terms: judging.Terms) -> None:
        """Give a turn what its host has to do, or its result if there is nothing to do there."""
        if not self.holds(task.when, turn.variables):
            turn.result = judging.skipped(task.when)
        elif task.module in CONTROLLER:
            turn.result = literal(self.local.do(task.module, host, task.args, turn.variables))
        else:
            args = self.expressions.evaluate(task.args, turn.variables)
            for name, flaw in modules.check(task.module, args):
                raise InputError(Diagnostic(flaw.summary, name, hint=flaw.hint))
            step = work.step(task.module, args, lab, self.find, lambda path: self.fill(path, turn.variables))
            turn.step = {**step, **terms.on_host}

    def find(self, kind: str, name: str) -> str:
        """Find a file or a template of the playbook: in `files/` or `templates/` beside it, or beside it.

        Raises:
            InputError: it is nowhere.

        """
        for folder in (os.path.join(self.folder, kind), self.folder):
            path = os.path.join(folder, name)
            if os.path.exists(path):
                return path
        looked = ", ".join(os.path.join(folder, name) for folder in (kind, ".") if not os.path.isabs(name))
        raise InputError(Diagnostic(f'there is no file "{name}"', detail=f"It was looked for at {looked or name}."))

    def fill(self, path: str, variables: Mapping[str, Any]) -> str:
        """Fill in a template."""
        return self.expressions.template(path, {**variables, "template_path": path, "ansible_managed": "Ansible managed"})

    def include(self, task: Task, args: Mapping[str, Any]) -> tuple[str, tuple[Task | Block, ...]]:
        """Read a file of tasks."""
        name = str(args.get("file", args.get(RAW, "")))
        inherited = Inherited(environment=task.environment)
        return name, reading.load_tasks(os.path.join(os.path.dirname(task.where.path), name), inherited, self.passwords)

    def after(self, task: Task, turn: Turn, host: str, result: Result) -> Result:
        """Do on the controller what is left to do of a turn."""
        if task.module == "fetch":
            args = self.expressions.evaluate(task.args, turn.variables)
            return literal(work.fetched(args, host, self.folder, result))  # type: ignore[no-any-return]  # as below
        # What a host says is never a template: it could ask for our variables.
        return literal(judging.lines(result))  # type: ignore[no-any-return]  # of a mapping it is one

    def judge(self, entry: Entry) -> tuple[Result, tuple[tuple[Any, Result], ...]]:
        """Give a task's one result, and those of the turns of its loop."""
        task, rows = entry.task, []
        for turn in entry.turns:
            if turn.result is not None:
                try:
                    result = judging.verdict(task, turn.result, turn.variables, self.holds)
                except InputError as problem:
                    result = {**turn.result, **judging.broken(problem)}
                rows.append((turn, result))
        if not entry.is_loop:
            return (rows[0][1] if rows else judging.skipped(task.when)), ()
        found = judging.together([(turn.item, turn.variables, result) for turn, result in rows], task.loop_control.variable)
        return found, tuple((turn.label, result) for turn, result in rows)

    def learn(self, host: str, result: Result) -> None:
        """Keep the facts of a host."""
        facts = result.get("ansible_facts", {})
        self.world.of(host).facts.update({**facts, "ansible_facts": {k.removeprefix("ansible_"): v for k, v in facts.items()}})
