"""What a playbook says, once its files are read: plain frozen values, Jinja not filled in yet.

Keywords that are inherited in Ansible (conditions, tags, variables, ...) are merged into the tasks already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING: Mapping[str, Any] = MappingProxyType({})
UNSET = object()
"""A keyword that was not given, where `null` could be."""

RAW = "_raw"
"""The argument that is written without a name: the command of `command: ls /`."""


class Position(NamedTuple):
    """Where something stands, counted from 1."""

    path: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        """Write it as `file:line:col`."""
        return f"{self.path}:{self.line}:{self.column}"


NOWHERE = Position("")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopControl:
    """How a loop goes about it."""

    variable: str = "item"
    index_variable: str = ""
    label: Any = UNSET
    pause: Any = 0
    extended: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One step: a module with its arguments, and when, how often and how it is taken.

    `None` means that nobody said; `when`, `changed_when`, `failed_when` and `until` must all hold.
    """

    module: str
    args: Mapping[str, Any] = field(default_factory=dict)
    where: Position = NOWHERE
    name: str = ""
    when: tuple[Any, ...] = ()
    loop: Any = UNSET
    loop_control: LoopControl = LoopControl()
    register: str = ""
    until: tuple[Any, ...] = ()
    retries: Any = 3
    delay: Any = 5
    notify: tuple[Any, ...] = ()
    listen: tuple[str, ...] = ()
    changed_when: tuple[Any, ...] | None = None
    failed_when: tuple[Any, ...] | None = None
    ignore_errors: Any = False
    ignore_unreachable: Any = False
    any_errors_fatal: Any = False
    delegate_to: Any = None
    run_once: Any = False
    become: Any = None
    become_user: Any = None
    environment: tuple[Any, ...] = ()
    vars: Mapping[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    no_log: Any = False
    check_mode: Any = None
    diff: Any = None

    @property
    def title(self) -> str:
        """What the task is called where it is shown."""
        return self.name or self.module

    def is_called(self, pattern: str) -> bool:
        """Tell whether its name is the one given, or fits it: `*` and `?` stand for others, as in Ansible."""
        return pattern in (self.name, self.title) or fnmatchcase(self.title, pattern)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Tasks that stand together: what to do when one of them fails, and what in any case."""

    tasks: tuple[Task | Block, ...]
    rescue: tuple[Task | Block, ...] = ()
    always: tuple[Task | Block, ...] = ()
    name: str = ""
    where: Position = NOWHERE


@dataclass(frozen=True, kw_only=True, slots=True)
class Play:
    """Tasks for the hosts of a pattern. `lab` is what its resource tasks belong to."""

    name: str
    hosts: Any
    where: Position
    lab: str
    vars: Mapping[str, Any] = field(default_factory=dict)
    vars_files: tuple[Any, ...] = ()
    gather_facts: Any = False
    serial: tuple[Any, ...] = ()
    max_fail_percentage: Any = None
    any_errors_fatal: Any = False
    strategy: str = "linear"
    pre_tasks: tuple[Task | Block, ...] = ()
    tasks: tuple[Task | Block, ...] = ()
    post_tasks: tuple[Task | Block, ...] = ()
    handlers: tuple[Task, ...] = ()
    become: Any = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Playbook:
    """Plays, one after the other; `folder` is where their files are looked for."""

    path: str
    folder: str
    plays: tuple[Play, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which tasks are taken: `--tags`, `--skip-tags`."""

    only: frozenset[str] = frozenset()
    skip: frozenset[str] = frozenset()

    def takes(self, tags: frozenset[str]) -> bool:
        """Tell whether a task with these tags is taken; `always` and `never` are special, as in Ansible."""
        own = tags or _UNTAGGED
        if self._leaves_out(own):
            return False
        if "always" in own or own & self.only:
            return True
        if "never" in own:
            return False
        return not self.only or "all" in self.only or ("tagged" in self.only and own != _UNTAGGED)

    def _leaves_out(self, own: frozenset[str]) -> bool:
        if "all" in self.skip:
            return "always" not in own or "always" in self.skip
        return bool(own & self.skip) or ("tagged" in self.skip and own != _UNTAGGED)


_UNTAGGED = frozenset({"untagged"})
