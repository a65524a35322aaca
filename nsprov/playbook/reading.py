"""Read playbooks and files of tasks: everything that is wrong with them at once, each with its file, line and column."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.playbook import keywords, modules, shapes, tasks
from nsprov.playbook.files import File, Reader
from nsprov.playbook.model import NOTHING, Play, Playbook, Position, Task
from nsprov.topology.positions import Flaw, Problems, closest, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.playbook.model import Block
    from nsprov.topology.positions import Path
    from nsprov.vault import Password

_LAB = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SECTIONS = ("pre_tasks", "tasks", "post_tasks", "handlers")
_STRATEGIES = ("linear", "free")


def load(path: str, passwords: Sequence[Password] = ()) -> Playbook:
    """Read a playbook and everything that it imports.

    Raises:
        InputError: everything that is wrong with it.

    """
    reader = Reader(passwords)
    file = reader.open(path)
    plays = [] if file is None else _plays(tasks.Context(reader, file, (os.path.realpath(path),)), tasks.Inherited())
    reader.settle()
    return Playbook(path=path, folder=os.path.dirname(path), plays=tuple(plays))


def one_task(hosts: str, word: str, given: Any) -> Playbook:
    """Make a playbook of one task, as it was written on the command line.

    Raises:
        InputError: there is no such module, or it cannot take that.

    """
    name = modules.known(word)
    if not name or name in modules.STATIC:
        hint = modules.INSTEAD.get(word) or closest(word, sorted(modules.names())) or "see docs/playbooks.md for the modules"
        raise InputError(Diagnostic(f"there is no module {shown(word)}", "-m", hint=hint))
    try:
        args = modules.arguments(name, given)
    except Flaw as flaw:
        raise InputError(Diagnostic(flaw.summary, "-a", flaw.detail, "give them as KEY=VALUE, or as JSON")) from flaw
    wrong = [Diagnostic(flaw.summary, "-a", flaw.detail, flaw.hint) for _, flaw in modules.check(name, args)]
    if wrong:
        raise InputError(*wrong)
    where = Position("the command line")
    task = Task(module=name, args=args, where=where)
    return Playbook(path="", folder="", plays=(Play(name=word, hosts=hosts, where=where, lab="adhoc", tasks=(task,)),))


def load_tasks(path: str, inherited: tasks.Inherited, passwords: Sequence[Password] = ()) -> tuple[Task | Block, ...]:
    """Read a file of tasks, as `include_tasks` does when it is reached.

    Raises:
        InputError: everything that is wrong with it.

    """
    reader = Reader(passwords)
    found: tuple[Task | Block, ...] = ()
    file = reader.open(path)
    if file is not None:
        found = tasks.read(tasks.Context(reader, file, (os.path.realpath(path),)), file.source.value, (), inherited)
    reader.settle()
    return found


def load_variables(path: str, passwords: Sequence[Password] = ()) -> Mapping[str, Any]:
    """Read a file of variables.

    Raises:
        InputError: it cannot be read, or is no mapping.

    """
    file = File(path, passwords)
    given = file.source.value
    if given is None:
        return NOTHING
    if not isinstance(given, dict):
        file.problems.add((), "a file of variables must be a mapping", 'write "name: value" lines')
        file.problems.settle()
    found = file.value(given, ())
    file.problems.settle()
    return found  # type: ignore[no-any-return]  # of a mapping it is one


def _plays(context: tasks.Context, inherited: tasks.Inherited) -> list[Play]:
    file = context.file
    given = file.source.value
    if not isinstance(given, list) or not given:
        summary = "a playbook must be a list of plays" if given else "the playbook is empty"
        file.problems.add((), summary, 'start with "- hosts: all"')
        return []
    found: list[Play] = []
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            file.problems.add((index,), "a play must be a mapping", 'write "- hosts: all"')
        elif any(modules.known(str(key)) == "import_playbook" for key in item):
            found += _imported(context, item, (index,), inherited)
        else:
            found.append(_play(context, item, (index,), inherited))
    return found


def _imported(context: tasks.Context, item: dict[str, Any], path: Path, inherited: tasks.Inherited) -> list[Play]:
    key = next(key for key in item if modules.known(key) == "import_playbook")
    for other in item.keys() - {key, "name", "tags", "vars", "when"}:
        context.add((*path, other), f"import_playbook takes no {shown(other)}", "put it into the plays", key=True)
    shapes.check(context.file, context.reader.grammar, item, path)
    merged = tasks.merge(inherited, context.keywords(item, path, keywords.INHERITED))
    name = item[key]
    if not isinstance(name, str) or "{{" in name:
        context.add((*path, key), "import_playbook needs the name of a file", "write it without braces")
        return []
    inner = context.imported(name, (*path, key))
    return [] if inner is None else _plays(inner, merged)


def _play(context: tasks.Context, item: dict[str, Any], path: Path, inherited: tasks.Inherited) -> Play:
    file = context.file
    for key in item.keys() - keywords.PLAY:
        _unknown(file.problems, (*path, key), str(key), "a play", keywords.PLAY)
    if not item.get("hosts"):
        file.problems.add((*path, "hosts") if "hosts" in item else path, 'a play needs "hosts"', 'write "hosts: all"')
    shapes.check(file, context.reader.grammar, item, path)
    merged = tasks.merge(inherited, context.keywords(item, path, keywords.INHERITED - {"vars"}))
    context, sections = _sections(context, item, path, merged)
    value = file.value({key: given for key, given in item.items() if key in keywords.PLAY and key not in _SECTIONS}, path)
    return Play(
        name=str(value.get("name") or value.get("hosts")),
        hosts=value.get("hosts"),
        where=file.where(path),
        lab=_lab(file, value.get("lab"), path),
        vars={**merged.vars, **context.mapping(value.get("vars"), (*path, "vars"))},
        vars_files=_list(value.get("vars_files")),
        gather_facts=value.get("gather_facts", False),
        serial=_list(value.get("serial")),
        max_fail_percentage=value.get("max_fail_percentage"),
        any_errors_fatal=value.get("any_errors_fatal", False),
        strategy=_strategy(file, value.get("strategy", "linear"), path),
        pre_tasks=sections["pre_tasks"],
        tasks=sections["tasks"],
        post_tasks=sections["post_tasks"],
        handlers=tuple(task for task in sections["handlers"] if isinstance(task, Task)),
        become=value.get("become"),
        tags=merged.tags,
    )


def _sections(
    context: tasks.Context, item: Mapping[str, Any], path: Path, merged: tasks.Inherited
) -> tuple[tasks.Context, dict[str, tuple[Task | Block, ...]]]:
    """Read a play's tasks; the handlers first, for the others must not notify what is not there."""
    there = tasks.read(context, item.get("handlers"), (*path, "handlers"), merged, handlers=True)
    handlers = [one for one in there if isinstance(one, Task)]
    if not any(one.module == "include_tasks" or "{{" in one.name for one in handlers):
        # One that could not be read has a name all the same.
        named = {str(one["name"]) for one in _list(item.get("handlers")) if isinstance(one, dict) and "name" in one}
        context = replace(context, handlers=frozenset(named.union(*((one.name, *one.listen) for one in handlers))))
    found = {}
    for name in _SECTIONS:
        found[name] = tasks.read(context, item.get(name), (*path, name), merged, handlers=name == "handlers")
    return context, found


def _unknown(problems: Problems, path: Path, word: str, what: str, supported: frozenset[str]) -> None:
    """Say that a word is not supported: what Ansible has of that name, or what comes near."""
    if word in keywords.ANSIBLE:
        detail = f"Ansible has {shown(word)} here; nsprov has not."
        problems.add(path, f"{what} cannot have {shown(word)}", keywords.ANSIBLE[word], detail, key=True)
    else:
        hint = closest(word, supported) or f"{what} has {', '.join(sorted(supported))}"
        problems.add(path, f"unknown keyword {shown(word)}", hint, key=True)


def _strategy(file: File, given: Any, path: Path) -> str:
    if given not in _STRATEGIES:
        detail = "Ansible has it; nsprov has linear and free." if given in ("host_pinned", "debug") else ""
        file.problems.add((*path, "strategy"), f"there is no strategy {shown(given)}", 'use "linear" or "free"', detail)
        return _STRATEGIES[0]
    return str(given)


def _lab(file: File, given: Any, path: Path) -> str:
    if given is None:
        stem = re.sub(r"[^a-z0-9-]", "-", os.path.basename(file.path).partition(".")[0].lower()).lstrip("-0123456789")
        return stem[:32] or "playbook"
    if not isinstance(given, str) or not _LAB.fullmatch(given):
        file.problems.add((*path, "lab"), f"{shown(given)} is no name of a lab", "use lower-case letters, digits and -")
        return "playbook"
    return given


def _list(given: Any) -> tuple[Any, ...]:
    return () if given is None else tuple(given) if isinstance(given, list) else (given,)
