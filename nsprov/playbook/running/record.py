"""What happened in a run, for whoever shows it: an event for each result, and a recap for each host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.playbook.model import Play, Task

Result = dict[str, Any]
"""What a task came to, in Ansible's words: changed, failed, skipped, unreachable, msg, rc, stdout, ..."""

KINDS = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored")


@dataclass(frozen=True)
class Event:
    """A task's result on a host; `items` are those of a loop, each with its label. `hidden` ones say nothing of it."""

    play: Play
    task: Task
    host: str
    result: Result
    title: str
    items: tuple[tuple[Any, Result], ...] = ()
    ignored: bool = False
    hidden: bool = False
    delegated: str = ""
    handler: bool = False

    @property
    def status(self) -> str:
        """What it is called."""
        return status(self.result)


def status(result: Mapping[str, Any]) -> str:
    """Name what a result is."""
    for word in ("unreachable", "failed", "skipped", "changed"):
        if result.get(word):
            return word
    return "ok"


@dataclass
class Record:
    """Counts by host, and what is told of each event as it comes."""

    tell: Callable[[Event], None] = lambda _event: None
    begin: Callable[[Play, tuple[str, ...]], None] = lambda _play, _hosts: None
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    stranded: dict[str, str] = field(default_factory=dict)
    """Hosts that are out, and why: "failed", "unreachable"."""

    def add(self, event: Event) -> None:
        """Count an event, and tell of it."""
        counts = self.of(event.host)
        found = event.status
        if event.ignored:
            counts["ok"] += 1
            counts["ignored"] += 1
            counts["changed"] += bool(event.result.get("changed"))
        elif found == "changed":
            counts["ok"] += 1
            counts["changed"] += 1
        else:
            counts[found] += 1
        self.tell(event)

    def of(self, host: str) -> dict[str, int]:
        """Give a host's counts."""
        return self.counts.setdefault(host, dict.fromkeys(KINDS, 0))

    def rescued(self, host: str) -> None:
        """Count a failure as one that was rescued."""
        self.of(host)["failed"] -= 1
        self.of(host)["rescued"] += 1
