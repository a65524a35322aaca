"""Carry out a playbook: play after play, batch after batch of hosts, over one session for each host."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError, NothingMatched
from nsprov.playbook.contents import tasks_of
from nsprov.playbook.model import Selection, Task
from nsprov.playbook.reading import load_variables
from nsprov.playbook.running.locally import Locally
from nsprov.playbook.running.program import HostProgram
from nsprov.playbook.running.record import Event
from nsprov.playbook.running.scheduler import ABORTED, UNREACHABLE, Limits, Scheduler, message
from nsprov.playbook.running.setting import Setting
from nsprov.render.filters import to_bool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nsprov.inventory import Inventory
    from nsprov.playbook.model import Play, Playbook
    from nsprov.playbook.running.record import Record
    from nsprov.playbook.running.scheduler import Wires
    from nsprov.playbook.variables import World
    from nsprov.render.native import Expressions
    from nsprov.vault import Password


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a playbook is carried out."""

    selection: Selection = field(default_factory=Selection)
    check: bool = False
    diff: bool = False
    forks: int = 32
    start_at: str = ""
    step: bool = False
    confirm: Callable[[Task], bool] = lambda _task: True
    limit: Callable[[Sequence[str]], Sequence[str]] = lambda names: names
    passwords: Sequence[Password] = ()
    becomes: Callable[[str], bool] = lambda _host: True
    """Tells whether tasks on a host are root's if they say nothing."""


@dataclass
class Stage:
    """Where the plays of one run take place."""

    playbook: Playbook
    inventory: Inventory
    world: World
    expressions: Expressions
    record: Record
    wires: Wires
    terms: Terms
    shared: dict[Any, Any] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    _unmatched: list[Diagnostic] = field(default_factory=list)

    def run(self) -> None:
        """Carry out all plays; a host that has failed takes no part in those that follow.

        Raises:
            NothingMatched: no play has a host.
            InputError: a play's own words cannot be evaluated.

        """
        found = False
        for play in self.playbook.plays:
            hosts = self.hosts(play)
            found |= bool(hosts)
            if hosts and not self._play(play, hosts):
                break
        if not found:
            raise NothingMatched(*self._unmatched)

    def hosts(self, play: Play) -> tuple[str, ...]:
        """Give the hosts that a play is for."""
        given = self.expressions.evaluate(play.hosts, {**self.world.about, **play.vars, **self.world.extra})
        pattern = ",".join(map(str, given)) if isinstance(given, list) else str(given)
        try:
            names = self.world.matching(pattern)
            return tuple(self.terms.limit(names))
        except NothingMatched as problem:
            self._unmatched += problem.diagnostics
            return ()

    def _play(self, play: Play, hosts: tuple[str, ...]) -> bool:
        """Carry out a play, batch after batch, and tell whether any host is left: if none is, nothing may follow."""
        left = tuple(host for host in hosts if host not in self.record.stranded)
        for batch in batches(left, self._filled(play, list(play.serial))):
            self.record.begin(play, batch)
            ended = self._batch(play, batch)
            if ended and all(host in ended for host in batch):
                return False
        return True

    def _filled(self, play: Play, raw: Any) -> Any:
        return self.expressions.evaluate(raw, {**self.world.about, **play.vars, **self.world.extra})

    def _batch(self, play: Play, batch: tuple[str, ...]) -> Mapping[str, str]:
        """Carry out a play on some hosts, and say which of them are out."""
        setting, limits = self._setting(play), self._limits(play)
        lost = self.wires.connect(batch)
        self.wires.connect(tuple(self._delegates(play)))  # now, for this process has one thread; what fails is told later
        for host, why in lost.items():
            self._strand(play, host, UNREACHABLE, why)
        ended: dict[str, str] = dict.fromkeys(lost, UNREACHABLE)
        there = tuple(host for host in batch if host not in lost)
        if not there or limits.exceeded(len(lost), len(batch)):
            return {**dict.fromkeys(there, ABORTED), **ended}
        programs = {}
        for host in there:
            scope = self.world.for_play(host, play, self._files(play, host), there)
            programs[host] = HostProgram(host, play, scope, setting).run()
        scheduler = Scheduler(programs, self.wires, free=play.strategy == "free", forks=self.terms.forks, limits=limits)
        scheduler.run()
        for host, how in scheduler.ended.items():
            why = message(scheduler.lost[host]) if host in scheduler.lost else ""
            self._strand(play, host, how, why)
        return {**ended, **scheduler.ended}

    def _delegates(self, play: Play) -> Iterator[str]:
        """Give the hosts that tasks are delegated to, as far as one can see; one that is computed is mostly this one."""
        for name in {str(task.delegate_to) for task in tasks_of(play) if task.delegate_to is not None}:
            yield "localhost" if "{{" in name else name

    def _strand(self, play: Play, host: str, how: str, why: str) -> None:
        """Note that a host is out; one that was lost has a result that says why."""
        self.record.stranded.setdefault(host, how)
        if why:
            result = {"msg": why, "unreachable" if how == UNREACHABLE else "failed": True, "changed": False}
            task = Task(module="", name="Connecting", where=play.where)
            self.record.add(Event(play, task, host, result, task.name))

    def _setting(self, play: Play) -> Setting:
        terms, folder = self.terms, self.playbook.folder
        lockstep = bool(play.any_errors_fatal) or play.max_fail_percentage is not None or terms.step
        return Setting(
            world=self.world,
            expressions=self.expressions,
            record=self.record,
            local=Locally(self.world, self.expressions, folder, terms.passwords),
            selection=terms.selection,
            folder=folder,
            passwords=terms.passwords,
            topology=self.wires.topology,
            check=terms.check,
            diff=terms.diff,
            lockstep=lockstep or any(task.any_errors_fatal for task in tasks_of(play)),
            start_at=terms.start_at,
            confirm=terms.confirm,
            becomes=terms.becomes,
            shared=self.shared,
            started=self.started,
        )

    def _limits(self, play: Play) -> Limits:
        percentage = self._filled(play, play.max_fail_percentage)
        fatal = to_bool(self._filled(play, play.any_errors_fatal)) or any(
            task.any_errors_fatal is True for task in tasks_of(play)
        )
        return Limits(fatal, None if percentage is None else float(str(percentage).rstrip("%")))

    def _files(self, play: Play, host: str) -> Mapping[str, Any]:
        """Read a play's files of variables; of a list of names the first that is there."""
        found: dict[str, Any] = {}
        about = {**self.world.lasting(host), **play.vars}
        for given in play.vars_files:
            names = [str(self.expressions.evaluate(one, about)) for one in (given if isinstance(given, list) else [given])]
            paths = [os.path.join(self.playbook.folder, name) for name in names]
            path = next((path for path in paths if os.path.exists(path)), None)
            if path is None:
                raise InputError(
                    Diagnostic(f'there is no file "{names[0]}"', str(play.where), hint="create it, or correct its name")
                )
            found.update(load_variables(path, self.terms.passwords))
        return found


def batches(hosts: tuple[str, ...], serial: Sequence[Any]) -> Iterator[tuple[str, ...]]:
    """Divide hosts as `serial` says: numbers, or shares of all; the last of them goes for the rest."""
    sizes = [_size(given, len(hosts)) for given in serial] or [len(hosts)]
    at = 0
    while at < len(hosts):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        yield hosts[at : at + size]
        at += size


def _size(given: Any, total: int) -> int:
    text = str(given)
    try:
        size = int(float(text.rstrip("%")) * total / 100) if text.endswith("%") else int(text)
    except ValueError:
        raise InputError(Diagnostic(f'serial cannot be "{text}"', hint="write a number of hosts, or a share as 25%")) from None
    return max(size, 1) if text.endswith("%") or size > 0 else max(total, 1)
