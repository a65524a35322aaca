"""`nsprov play`: carry out a playbook, or say what is in it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsprov import __version__, fleet, memory
from nsprov.cli import options, play_views, targets
from nsprov.cli.options import Given
from nsprov.cli.reaching import entered, vault_passwords
from nsprov.errors import Diagnostic, InputError, Interrupted, NsprovError, StepFailed, Unreachable

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence
    from typing import Self

    from nsprov.inventory import Host, Inventory
    from nsprov.playbook.model import Playbook
    from nsprov.playbook.running.plays import Stage
    from nsprov.playbook.running.record import Record, Result

PlaybookArgument = Annotated[str, typer.Argument(help="The playbook file.", metavar="PLAYBOOK")]
CheckOption = Annotated[bool, typer.Option("--check", "-C", help="Change nothing, and say what would change.")]
DiffOption = Annotated[bool, typer.Option("--diff", "-D", help="Show what changes in files.")]
PlayOutputOption = Annotated[
    options.PlayOutput, typer.Option("--output", "-o", help="How to write results.", envvar="NSPROV_OUTPUT")
]
TagsOption = Annotated[list[str] | None, typer.Option("--tags", "-t", help="Only tasks with one of these tags.")]
SkipOption = Annotated[list[str] | None, typer.Option("--skip-tags", help="No tasks with one of these tags.")]
StartOption = Annotated[str, typer.Option("--start-at-task", help="Begin at the task of this name.")]
StepOption = Annotated[bool, typer.Option("--step", help="Ask before each task.")]
SyntaxOption = Annotated[bool, typer.Option("--syntax-check", help="Read it, say what is wrong, and do nothing.")]
ListTasksOption = Annotated[bool, typer.Option("--list-tasks", help="List the tasks, and do nothing.")]
ListTagsOption = Annotated[bool, typer.Option("--list-tags", help="List the tags, and do nothing.")]
ListHostsOption = Annotated[bool, typer.Option("--list-hosts", help="List the hosts, and do nothing.")]


@dataclass(frozen=True)
class Mode:
    """How tasks are done; the fields are options of `play` and of `run`."""

    check: CheckOption = False
    diff: DiffOption = False


@dataclass(frozen=True)
class Part:
    """Which tasks are done, or only listed; the fields are options of `play`."""

    tags: TagsOption = None
    skip_tags: SkipOption = None
    start_at_task: StartOption = ""
    step: StepOption = False
    syntax_check: SyntaxOption = False
    list_tasks: ListTasksOption = False
    list_tags: ListTagsOption = False
    list_hosts: ListHostsOption = False


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(play)


@options.shared(topology=PlaybookArgument, also=(Mode, Part), output=PlayOutputOption)
def play(given: Given, mode: Mode, part: Part) -> int:
    """Carry out a playbook: what happens, in order, on the hosts of an inventory."""
    from nsprov.playbook import reading  # noqa: PLC0415 - for start-up: only here are playbooks read

    if given.topology is None:
        raise InputError(Diagnostic("no playbook is named", "play", hint="name its file: nsprov play site.yml"))
    playbook = reading.load(given.topology, vault_passwords(given))
    if part.syntax_check:
        play_views.show_valid(playbook)
        return 0
    with Run(given, playbook, mode, part) as run:
        if part.list_tasks or part.list_tags or part.list_hosts:
            play_views.show_plays(run.stage(), tasks=part.list_tasks, tags=part.list_tags, hosts=part.list_hosts)
            return 0
        return run.carry_out()


def _words(given: Sequence[str] | None) -> frozenset[str]:
    return frozenset(word.strip() for text in given or () for word in text.split(",") if word.strip())


class Run:
    """The sessions and the record of one playbook's run."""

    def __init__(self, given: Given, playbook: Playbook, mode: Mode, part: Part | None) -> None:
        """Store what is to be done; nothing is connected."""
        from nsprov.playbook.contents import tasks_of  # noqa: PLC0415 - for start-up, as above
        from nsprov.playbook.running.record import Record  # noqa: PLC0415 - for start-up, as above
        from nsprov.render.native import Expressions  # noqa: PLC0415 - for start-up, as above

        self._given = given
        self._playbook = playbook
        self._mode = mode
        self._part = part or Part()
        self._elevates = any(task.become for play in playbook.plays for task in tasks_of(play))
        self._inventory: Inventory = targets.load_inventory(given)
        self._fleet = fleet.Fleet(given.run_options())
        self._expressions = Expressions(["/", os.getcwd()])
        self._fence = play_views.Fence(lambda: self._expressions.secrets)
        self._views = play_views.for_output(given.output.value, self._fence, verbose=given.verbose, is_one=part is None)
        self._record = Record(tell=self._views.event, begin=self._views.play)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every session."""
        self._fleet.close()

    def carry_out(self) -> int:
        """Carry out the playbook, show what happens, and give the exit code."""
        record = self._record
        try:
            self.stage().run()
        except KeyboardInterrupt:
            self._fleet.drop()
            self._views.end(record, interrupted=True)
            return Interrupted.exit_code
        except NsprovError as problem:
            problem.diagnostics = self._fence.diagnostics(problem.diagnostics)
            raise
        self._views.end(record, interrupted=False)
        memory.remember_failed(record.stranded)
        return _code(record)

    def stage(self) -> Stage:
        """Give where the playbook takes place."""
        from nsprov.playbook import contents  # noqa: PLC0415 - for start-up, as above
        from nsprov.playbook.model import Selection  # noqa: PLC0415 - for start-up, as above
        from nsprov.playbook.running.plays import Stage, Terms  # noqa: PLC0415 - for start-up, as above
        from nsprov.playbook.running.scheduler import Wires  # noqa: PLC0415 - for start-up, as above
        from nsprov.playbook.variables import World  # noqa: PLC0415 - for start-up, as above

        mode, part, expressions = self._mode, self._part, self._expressions
        about = {
            "playbook_dir": os.path.abspath(self._playbook.folder),
            "ansible_check_mode": mode.check,
            "ansible_diff_mode": mode.diff,
            "ansible_forks": self._given.forks,
            "nsprov_version": __version__,
        }
        passwords, selection = vault_passwords(self._given), Selection(only=_words(part.tags), skip=_words(part.skip_tags))
        contents.check_tags(self._playbook, selection, passwords)
        contents.check_start(self._playbook, part.start_at_task)
        terms = Terms(
            selection=selection,
            check=mode.check,
            diff=mode.diff,
            forks=self._given.forks,
            start_at=part.start_at_task,
            step=part.step,
            confirm=play_views.Confirm(self._views.settle) if part.step else lambda _task: True,
            limit=self._limited,
            passwords=passwords,
            becomes=self._is_root,
        )
        world = World(self._inventory, expressions, targets.variables(self._given), about)
        wires = Wires(
            connect=self._connect,
            exchange=self._exchange,
            topology=self._topology,
            sign=self._fleet.sign,
            settle=self._views.settle,
        )
        return Stage(self._playbook, self._inventory, world, expressions, self._record, wires, terms)

    def _limited(self, names: Sequence[str]) -> Sequence[str]:
        limit = self._given.limit
        return names if limit is None else self._inventory.limited(names, limit, memory.failed)

    def _connect(self, names: Sequence[str]) -> Mapping[str, str]:
        """Reach hosts that have not been reached, or tried, before."""
        new = [self._host(name) for name in names if name not in self._fleet.outcomes]
        if new:
            self._fleet.connect(entered(new, self._given))
        outcomes = {name: self._fleet.outcomes[name] for name in names}
        return {name: _message(outcome.error) for name, outcome in outcomes.items() if outcome.error is not None}

    def _host(self, name: str) -> Host:
        """Give a host as it is entered: as root, if any task needs that; which tasks are root's is told with each."""
        host = self._inventory.host(name)
        return replace(host, become=True) if self._elevates and not host.become else host

    def _is_root(self, name: str) -> bool:
        """Tell whether tasks on a host are root's if they say nothing."""
        return self._given.become or self._inventory.host(name).become

    def _is_elevated(self, name: str) -> bool:
        """Tell whether we have become root there: who is to be nobody else than who logged in is another user then."""
        if self._inventory.host(name).connection == "local":
            return os.geteuid() != 0
        return self._elevates or self._is_root(name)

    def _exchange(self, name: str, steps: Sequence[dict[str, Any]], stop: threading.Event) -> Mapping[int, Result]:
        def tick() -> None:
            if stop.is_set():
                raise Unreachable

        if not self._is_elevated(name):
            steps = [{key: value for key, value in step.items() if (key, value) != ("user", "")} for step in steps]
        found: dict[int, Result] = {}
        for message in fleet.talk(self._fleet, name, {"verb": "play", "steps": list(steps)}, tick):
            if message.get("event") == "result":
                found[message["step"]] = message["result"]
        return found

    def _topology(self, args: Mapping[str, Any], hosts: Sequence[str]) -> Mapping[str, Result]:
        """Bring a lab up or down on hosts of the play."""
        from nsprov.cli import play_topology  # noqa: PLC0415 - for start-up: few playbooks have labs

        folder, check = self._playbook.folder, self._mode.check
        ground = play_topology.Ground(self._given, self._inventory, self._fleet, folder, check)
        return play_topology.carry_out(ground, args, hosts)


def _message(error: Any) -> str:
    found = error.diagnostics[0]
    return ". ".join(part.rstrip(".") for part in (found.summary, found.detail, found.hint) if part)


def _code(record: Record) -> int:
    """Give the exit code: that a host could not be reached, or that a task has failed."""
    if any(how == "unreachable" for how in record.stranded.values()):
        return Unreachable.exit_code
    return StepFailed.exit_code if record.stranded else 0
