"""Read tasks and blocks; what a play, a block or an import says for all tasks in it is merged into each."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nsprov.playbook import keywords, modules, shapes
from nsprov.playbook.model import NOTHING, RAW, UNSET, Block, LoopControl, Task
from nsprov.topology.positions import Flaw, closest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.playbook.files import File, Reader
    from nsprov.topology.positions import Path

    Steps = tuple["Task | Block", ...]

_IMPORTABLE = keywords.INHERITED | {"args", "name", "notify"}
_CONTROL = {"loop_var": "variable", "index_var": "index_variable", "label": "label", "pause": "pause", "extended": "extended"}
_PLAIN = ("any_errors_fatal", "become", "become_user", "check_mode", "delegate_to", "diff")
_OTHERS = ("ignore_errors", "ignore_unreachable", "no_log", "run_once")
_TASK_ONLY = ("delay", "retries")


@dataclass(frozen=True)
class Inherited:
    """What those above a task say for it: conditions, tags, variables and environments add up, the nearest other word wins."""

    when: tuple[Any, ...] = ()
    tags: frozenset[str] = frozenset()
    vars: Mapping[str, Any] = field(default_factory=dict)
    environment: tuple[Any, ...] = ()
    notify: tuple[Any, ...] = ()
    words: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """The file that is read, and the reader of those that it imports."""

    reader: Reader
    file: File
    chain: tuple[str, ...] = ()
    """The files that have led here, each by import of the next."""
    handlers: frozenset[str] | None = None
    """What tasks may notify, if that is known."""

    def add(self, path: Path, summary: str, hint: str = "", detail: str = "", *, key: bool = False) -> None:
        """Note what is wrong."""
        self.file.problems.add(path, summary, hint, detail, key=key)

    def mapping(self, given: Any, path: Path) -> Mapping[str, Any]:
        """Give a mapping of variables."""
        if given is None:
            return NOTHING
        if not isinstance(given, dict):
            self.add(path, f"{shown(str(path[-1]))} must be a mapping", 'write "name: value" lines below it')
            return NOTHING
        for name in given:
            if not str(name).isidentifier():
                self.add((*path, name), f"{shown(str(name))} is no name of a variable", "use letters, digits and _", key=True)
        return given

    def keywords(self, item: Mapping[str, Any], path: Path, which: frozenset[str]) -> Inherited:
        """Give what a play, a block or a task says that is inherited."""
        value = self.file.value({key: item[key] for key in which if key in item}, path)
        self._notified(item.get("notify") if "notify" in which else None, (*path, "notify"))
        words = {key: value[key] for key in (*_PLAIN, *_OTHERS) if key in value}
        return Inherited(
            when=_many(value.get("when")),
            tags=self._tags(value.get("tags"), (*path, "tags")),
            vars=dict(self.mapping(value.get("vars"), (*path, "vars"))),
            environment=_many(value.get("environment")),
            notify=_many(value.get("notify")),
            words=words,
        )

    def _notified(self, given: Any, path: Path) -> None:
        """Note handlers that are not there, as far as they are named and not computed."""
        for index, name in enumerate(_many(given)):
            if self.handlers is not None and isinstance(name, str) and "{{" not in name and name not in self.handlers:
                here = (*path, index) if isinstance(given, list) else path
                hint = closest(name, self.handlers) or "add it to `handlers`, or correct its name"
                self.add(here, f"there is no handler {shown(name)}", hint)

    def imported(self, name: str, path: Path) -> Context | None:
        """Go on in another file; that it is not there, or has led here, is noted where it was asked for."""
        where = os.path.join(self.file.folder, name)
        if os.path.realpath(where) in self.chain:
            names = " imports ".join(os.path.basename(one) for one in (*self.chain, where))
            self.add(path, "files import one another in a circle", "remove one of the imports", f"{names}.")
            return None
        file = self.reader.open(where, (self.file, path))
        return None if file is None else replace(self, file=file, chain=(*self.chain, os.path.realpath(where)))

    def _tags(self, given: Any, path: Path) -> frozenset[str]:
        found = [one for item in _many(given) for one in (item.split(",") if isinstance(item, str) else [item])]
        for one in found:
            if "{{" in str(one):
                self.add(path, "a tag must be a word", "write it without braces")
        return frozenset(str(one).strip() for one in found)


def merge(above: Inherited, own: Inherited) -> Inherited:
    """Put what is said nearer over what is said above."""
    return Inherited(
        when=(*above.when, *own.when),
        tags=above.tags | own.tags,
        vars={**above.vars, **own.vars},
        environment=(*above.environment, *own.environment),
        notify=(*above.notify, *own.notify),
        words={**above.words, **own.words},
    )


def read(context: Context, given: Any, path: Path, inherited: Inherited, *, handlers: bool = False) -> Steps:
    """Read a list of tasks and blocks; handlers are tasks only."""
    if given is None:
        return ()
    if not isinstance(given, list):
        what = shown(str(path[-1])) if path else "a file of tasks"
        context.add(path, f"{what} must be a list of tasks", 'start each with "- "')
        return ()
    found: list[Task | Block] = []
    for index, item in enumerate(given):
        here = (*path, index)
        if not isinstance(item, dict) or not item:
            context.add(here, "a task must be a mapping", 'write "- MODULE: ..."')
        elif "block" in item and handlers:
            context.add(here, "a handler cannot be a block", "write its tasks as handlers that `listen` to one name")
        elif item.keys() & {"block", "rescue", "always"}:
            found.append(_block(context, item, here, inherited))
        else:
            found += _task(context, item, here, inherited, handlers=handlers)
    return tuple(found)


def _block(context: Context, item: Mapping[str, Any], path: Path, inherited: Inherited) -> Block:
    for key in item.keys() - keywords.BLOCK:
        _unknown(context, (*path, key), str(key), keywords.BLOCK)
    shapes.check(context.file, context.reader.grammar, item, path)
    if "block" not in item:
        context.add(path, 'a block needs "block"', "write its tasks below `block:`")
    merged = merge(inherited, context.keywords(item, path, keywords.INHERITED | {"notify"}))
    parts = {part: read(context, item.get(part), (*path, part), merged) for part in ("block", "rescue", "always")}
    return Block(
        tasks=parts["block"],
        rescue=parts["rescue"],
        always=parts["always"],
        name=str(item.get("name", "")),
        where=context.file.where(path),
    )


def _unknown(context: Context, path: Path, word: str, supported: frozenset[str]) -> None:
    if word in keywords.ANSIBLE:
        detail = f"Ansible has {shown(word)} here; nsprov has not."
        context.add(path, f"{shown(word)} is not supported", keywords.ANSIBLE[word], detail, key=True)
    elif word in keywords.HANDLER:
        hint = "move the task to `handlers`" if word == "listen" else "write it on the tasks, or have them in `include_tasks`"
        context.add(path, f"{shown(word)} cannot stand here", hint, key=True)
    elif word in modules.LOOPS or word.startswith("with_"):
        detail = f"Ansible has {shown(word)}, and `loop` in its place."
        context.add(path, f"{shown(word)} is not supported", f"write {modules.LOOPS.get(word, '`loop:`')}", detail, key=True)
    elif (plain := word.rpartition(".")[2]) in modules.INSTEAD:
        context.add(
            path, f"there is no module {shown(plain)}", modules.INSTEAD[plain], "Ansible has it; nsprov has not.", key=True
        )
    else:
        hint = closest(word.rpartition(".")[2], sorted(supported | modules.names())) or "see docs/playbooks.md for the modules"
        context.add(path, f"no module and no keyword is {shown(word)}", hint, key=True)


def _task(context: Context, item: dict[str, Any], path: Path, inherited: Inherited, *, handlers: bool) -> list[Task | Block]:
    supported = keywords.HANDLER if handlers else keywords.TASK
    shapes.check(context.file, context.reader.grammar, item, path)
    named = [key for key in item if key not in supported and modules.known(str(key))]
    for key in item.keys() - supported - set(named):
        _unknown(context, (*path, key), str(key), supported)
    if len(named) != 1:
        if named:
            context.add((*path, named[1]), f"a task has one module, not {len(named)}", "write two tasks", key=True)
        elif item.keys() <= supported:
            context.add(path, "a task names no module", "add one, as `command: ...`")
        context.keywords(item, path, keywords.INHERITED | {"notify"})
        return []
    name = modules.known(named[0])
    args = _arguments(context, name, item, (*path, named[0]))
    merged = merge(inherited, context.keywords(item, path, keywords.INHERITED | {"notify"}))
    if name == "import_tasks":
        for key in (item.keys() & supported) - _IMPORTABLE:
            context.add((*path, key), f"import_tasks takes no {shown(key)}", "use `include_tasks`", key=True)
        return list(_imported(context, args, (*path, named[0]), merged))
    if name == "import_playbook":
        context.add((*path, named[0]), "import_playbook stands among plays", "use `import_tasks`", key=True)
        return []
    return [_made(context, item, path, merged, Task(module=name, args=args, where=context.file.where(path)))]


def _arguments(context: Context, name: str, item: Mapping[str, Any], path: Path) -> dict[str, Any]:
    given = item[path[-1]]
    shapes.arguments(context.file, context.reader.grammar, name, given, path)
    try:
        args = modules.arguments(name, context.file.value(given, path))
    except Flaw as flaw:
        context.file.problems.flaw(path, flaw)
        return {}
    extra = item.get("args")
    if isinstance(extra, dict):
        args.update(context.file.value(extra, (*path[:-1], "args")))
    elif extra is not None:
        context.add((*path[:-1], "args"), '"args" must be a mapping', "write `key: value` lines below it")
    for key, wrong in modules.check(name, args):
        beside = (*path[:-1], "args") if isinstance(extra, dict) and key in extra else path
        place = (*path, key) if isinstance(given, dict) and key in given else (*beside, key)
        context.add(place, wrong.summary, wrong.hint, wrong.detail, key=True)
    for what, why, hint in shapes.meta(args) if name == "meta" else ():
        context.add(path, what, hint, why)
    return args


def _imported(context: Context, args: Mapping[str, Any], path: Path, inherited: Inherited) -> Steps:
    name = args.get("file", args.get(RAW))
    if name is None:
        return ()
    if not isinstance(name, str) or "{{" in name:
        context.add(path, "import_tasks needs the name of a file", "use `include_tasks` for one that is computed")
        return ()
    inner = context.imported(name, path)
    return () if inner is None else read(inner, inner.file.source.value, (), inherited)


def _made(context: Context, item: Mapping[str, Any], path: Path, merged: Inherited, task: Task) -> Task:
    """Give the task with all its keywords."""
    value = context.file.value({key: item[key] for key in keywords.HANDLER & item.keys()}, path)
    register = value.get("register", "")
    if register and not str(register).isidentifier():
        context.add((*path, "register"), f"{shown(str(register))} is no name of a variable", "use letters, digits and _")
    loop = value.get("loop", UNSET)
    return replace(
        task,
        name=str(value.get("name") or ""),
        when=merged.when,
        loop=loop,
        loop_control=_loop_control(context, value.get("loop_control"), (*path, "loop_control")),
        register=str(register),
        until=_many(value.get("until")),
        notify=merged.notify,
        listen=tuple(map(str, _many(value.get("listen")))),
        changed_when=_many(value["changed_when"]) if "changed_when" in value else None,
        failed_when=_many(value["failed_when"]) if "failed_when" in value else None,
        environment=merged.environment,
        vars=merged.vars,
        tags=merged.tags,
        **{key: value[key] for key in _TASK_ONLY if key in value},
        **merged.words,
    )


def _loop_control(context: Context, given: Any, path: Path) -> LoopControl:
    if given is None:
        return LoopControl()
    if not isinstance(given, dict):
        context.add(path, '"loop_control" must be a mapping', "write `loop_var: name` below it")
        return LoopControl()
    for key in given.keys() - _CONTROL.keys():
        hint = closest(str(key), list(_CONTROL)) or f"it takes {', '.join(sorted(_CONTROL))}"
        context.add((*path, key), f"loop_control has no {shown(str(key))}", hint, key=True)
    context.reader.grammar.templates(context.file.problems, given, path)
    return LoopControl(**{_CONTROL[key]: value for key, value in given.items() if key in _CONTROL})


def _many(given: Any) -> tuple[Any, ...]:
    return () if given is None else tuple(given) if isinstance(given, list) else (given,)
