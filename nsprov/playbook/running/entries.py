"""What passes between a host's program and who drives it: what it wants, and tasks with their turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from nsprov.playbook.running.judging import Terms

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from nsprov.playbook.model import Task
    from nsprov.playbook.running.record import Result
    from nsprov.playbook.running.work import Step


class Send(NamedTuple):
    """Have a host do steps; the answer is its results by the steps' numbers, up to the first that failed."""

    host: str
    steps: list[Step]


class Meet(NamedTuple):
    """Wait for all hosts that are still there to come to this point; the answer is their names, in the play's order."""

    point: object


class Pause(NamedTuple):
    """Wait for so many seconds."""

    seconds: float


Wants = Send | Meet | Pause

if TYPE_CHECKING:
    Program = Generator[Wants, Any, None]


class TaskFailed(Exception):
    """A task has failed on this host."""

    def __init__(self, task: Task, result: Result) -> None:
        """Store which and how."""
        super().__init__(task.title)
        self.task = task
        self.result = result


@dataclass
class Turn:
    """One turn of a task: the only one, or one of a loop; `result` is there when it is done."""

    item: Any
    label: Any
    variables: Mapping[str, Any]
    step: Step | None = None
    result: Result | None = None


@dataclass
class Entry:
    """A task with its turns, some of which have still to be done, on this host or another."""

    task: Task
    host: str
    turns: list[Turn] = field(default_factory=list)
    is_loop: bool = False
    terms: Terms = field(default_factory=Terms)
    handler: bool = False

    @property
    def failed(self) -> bool:
        """Tell whether a turn that is done has failed."""
        return any(turn.result.get("failed") for turn in self.turns if turn.result)
