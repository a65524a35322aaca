"""How a playbook's run is shown, for people, as Ansible shows it; and what nobody is shown, in any form."""

from __future__ import annotations

import difflib
import json
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.cli import play_reports, views
from nsprov.texts import SecretFloat, SecretInt, SecretText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nsprov.cli.play_reports import View
    from nsprov.errors import Diagnostic
    from nsprov.playbook.model import Play, Playbook, Task
    from nsprov.playbook.running.plays import Stage
    from nsprov.playbook.running.record import Event, Record, Result

_WIDTH = 80
_WORDS = {"failed": "fatal", "skipped": "skipping"}
_QUIET = frozenset(
    {"changed", "failed", "skipped", "stdout_lines", "stderr_lines", "start", "end", "delta", "diff", "ansible_facts"}
)
_TOLD = ("debug", "assert", "fail")
_SHORTEST = 4
STARS = "***"
CENSORED = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"


class Fence:
    """Puts stars in the place of secrets: texts that are secret by their type, and secret texts within others.

    `known` gives every secret that was met so far; of those that are shorter than four characters only the type is minded.
    """

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        """Store where they come from."""
        self._known = known
        self._texts: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def hide(self, value: Any) -> Any:
        """Give a value as it may be shown."""
        if isinstance(value, (SecretText, SecretInt, SecretFloat)):
            return STARS
        if isinstance(value, str):
            return self._hidden(value)
        if isinstance(value, dict):
            return {self.hide(key): self.hide(item) for key, item in value.items()}
        return [self.hide(item) for item in value] if isinstance(value, (list, tuple)) else self._number(value)

    def diagnostics(self, given: Sequence[Diagnostic]) -> list[Diagnostic]:
        """Give diagnostics as they may be shown."""
        return [type(one)(**{name: self.hide(text) for name, text in vars(one).items()}) for one in given]

    def event(self, event: Event) -> Event:
        """Give an event as it may be shown: of one with `no_log` only what became of it."""
        event = replace(event, title=self.hide(event.title))
        if event.hidden:
            items = tuple(("(censored due to no_log)", _censored(result)) for _, result in event.items)
            return replace(event, result=_censored(event.result), items=items)
        items = tuple((self.hide(label), self.hide(result)) for label, result in event.items)
        return replace(event, result=self.hide(event.result), items=items)

    def _hidden(self, text: str) -> str:
        pattern = self._search()
        return pattern.sub(STARS, text) if pattern is not None else str(text)

    def _number(self, value: Any) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self._hidden(str(value)) == STARS:
            return STARS
        return value

    def _search(self) -> re.Pattern[str] | None:
        known = frozenset(self._known())
        if known != self._texts:
            self._texts = known
            # A secret of many lines may come back line by line, or without the last end of line.
            parts = {part for text in known for part in (text, text.strip(), *_long_lines(text)) if len(part) >= _SHORTEST}
            words = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))
            self._pattern = re.compile(words) if words else None
        return self._pattern


def _long_lines(text: str) -> list[str]:
    lines = text.splitlines()
    return [line.strip() for line in lines if len(line.strip()) >= 2 * _SHORTEST] if len(lines) > 1 else []


def _censored(result: Result) -> Result:
    """Give what of a result may be told in any case; the words are Ansible's."""
    told: Result = {word: result[word] for word in ("changed", "failed", "skipped", "unreachable") if word in result}
    return {"censored": CENSORED, **told}


class Fenced:
    """A view behind the fence: all that it is told of is told without secrets."""

    def __init__(self, view: View, fence: Fence) -> None:
        """Store both."""
        self._view = view
        self._fence = fence

    def play(self, play: Play, hosts: tuple[str, ...]) -> None:
        """A play begins on some hosts."""
        self._view.play(replace(play, name=self._fence.hide(play.name)), hosts)

    def event(self, event: Event) -> None:
        """A task has come to something on a host."""
        self._view.event(self._fence.event(event))

    def settle(self) -> None:
        """All hosts have come as far as they can together."""
        self._view.settle()

    def end(self, record: Record, *, interrupted: bool) -> None:
        """All is over."""
        self._view.end(record, interrupted=interrupted)


def for_output(output: str, fence: Fence, *, verbose: bool, is_one: bool) -> View:
    """Give the view for a kind of output, and for one task alone; no view is told a secret."""
    if output in play_reports.REPORTS:
        return Fenced(play_reports.REPORTS[output](), fence)
    return Fenced(_One() if is_one else _Text(verbose=verbose), fence)


def show_valid(playbook: Playbook) -> None:
    """Say that a playbook can be read."""
    views.say(f"{playbook.path} is valid: {len(playbook.plays)} play(s)")


def show_plays(stage: Stage, *, tasks: bool, tags: bool, hosts: bool) -> None:
    """List what is in a playbook: hosts, tasks with their tags, tags."""
    from nsprov.playbook.contents import tasks_of  # noqa: PLC0415 - for start-up: only a playbook has tasks

    views.say(f"playbook: {stage.playbook.path}")
    for number, play in enumerate(stage.playbook.plays, 1):
        there = [task for task in tasks_of(play) if stage.terms.selection.takes(task.tags) and task not in play.handlers]
        views.say(f"\n  play #{number} ({play.hosts}): {play.name}  TAGS: [{', '.join(sorted(play.tags))}]")
        if hosts:
            names = stage.hosts(play)
            views.say(f"    hosts ({len(names)}):" + "".join(f"\n      {name}" for name in names))
        if tasks:
            views.say("    tasks:")
            for task in there:
                views.say(f"      {task.title}  TAGS: [{', '.join(sorted(task.tags))}]")
        if tags:
            found = sorted({tag for task in there for tag in task.tags})
            views.say(f"    TASK TAGS: [{', '.join(found)}]")


class Confirm:
    """Asks before each task, once for all hosts: yes, no, or go on without asking."""

    def __init__(self, settle: Callable[[], None]) -> None:
        """Ask about every task; what came before it is shown first."""
        self._settle = settle
        self._said: dict[Any, bool] = {}
        self._all = False

    def __call__(self, task: Task) -> bool:
        """Ask about a task, unless that was said already; who cannot answer says no."""
        if self._all or task.where in self._said:
            return self._said.get(task.where, True)
        self._settle()
        views.prompt(f"Perform task: {task.title} (N)o/(y)es/(c)ontinue: ")
        answer = sys.stdin.readline().strip().lower()
        self._all = answer in ("c", "continue")
        self._said[task.where] = self._all or answer in ("y", "yes")
        return self._said[task.where]


class _Text:
    """Lines for people."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._at: tuple[Any, ...] = ()
        self._waiting: list[Event] = []

    def play(self, play: Play, hosts: tuple[str, ...]) -> None:
        """Give a play its heading."""
        self.settle()
        self._at = ()
        views.say(_heading(f"PLAY [{play.name}]"))
        if not hosts:
            views.say("skipping: no hosts matched")

    def event(self, event: Event) -> None:
        """Keep a result until those of the other hosts are there: they stand together, below their task's heading."""
        self._waiting.append(event)

    def settle(self) -> None:
        """Show what has come, task by task."""
        events, self._waiting = self._waiting, []
        for key in _in_order(events):
            for event in events:
                if _key(event) == key:
                    self._show(event)
        views.flush()

    def _show(self, event: Event) -> None:
        if self._at != _key(event):
            self._at = _key(event)
            views.say(_heading(f"{'RUNNING HANDLER' if event.handler else 'TASK'} [{event.title}]"))
        where = f"{event.host} -> {event.delegated}" if event.delegated else event.host
        for label, result in event.items:
            self._line(event, f"{where}", result, f" => (item={_short(label)})")
        if not event.items:
            self._line(event, where, event.result, "")
        if event.ignored:
            views.say("...ignoring")

    def _line(self, event: Event, where: str, result: Result, item: str) -> None:
        from nsprov.playbook.running.record import status  # noqa: PLC0415 - for start-up: only a run has results

        word = status(result)
        text = f"{_WORDS.get(word, word)}: [{where}]{item}"
        is_told = event.task.module in _TOLD and word != "skipped"
        if word in ("failed", "unreachable") or is_told or self._verbose:
            shown = _told(result)
            text += f" => {json.dumps(shown, indent=4, default=str)}" if shown else ""
        for line in [*text.split("\n"), *_differences(result.get("diff"))]:
            views.say(views.printable(line))

    def end(self, record: Record, *, interrupted: bool) -> None:
        """Show the recap."""
        self.settle()
        views.say(_heading("PLAY RECAP"))
        for host in sorted(record.counts):
            counts = "  ".join(f"{kind}={count:<4}" for kind, count in record.counts[host].items())
            views.say(f"{host:<26} : {counts}".rstrip())
        if interrupted:
            views.note("interrupted: hosts have stopped where they were")


class _One:
    """One task, as a line for each host, and what it has said."""

    def play(self, play: Play, hosts: tuple[str, ...]) -> None:
        """Say nothing."""

    def event(self, event: Event) -> None:
        """Show what became of it."""
        result = event.result
        head = f"{event.host} | {event.status.upper()}"
        if "rc" in result and "stdout" in result:
            said = "\n".join(result[name] for name in ("stdout", "stderr") if result.get(name))
            text = f"{head} | rc={result['rc']} >>" + (f"\n{said}" if said else "")
        else:
            shown = {key: value for key, value in result.items() if key not in _QUIET - {"ansible_facts"}}
            text = f"{head} => {json.dumps(shown, indent=4, default=str)}"
        views.say("\n".join(map(views.printable, text.split("\n"))))

    def settle(self) -> None:
        """Let it be seen."""
        views.flush()

    def end(self, record: Record, *, interrupted: bool) -> None:  # noqa: ARG002 - as every view
        """Say that it was too early, if it was."""
        if interrupted:
            views.note("interrupted: hosts have stopped where they were")


def _key(event: Event) -> tuple[Any, ...]:
    return event.task.where, event.handler


def _in_order(events: list[Event]) -> list[tuple[Any, ...]]:
    """Give tasks in an order that is every host's: what a host alone has done stands behind what it did before."""
    found: list[tuple[Any, ...]] = []
    last: dict[str, int] = {}
    for event in events:
        key = _key(event)
        if key not in found:
            found.insert(last.get(event.host, len(found) - 1) + 1, key)
            last = {host: at + (at >= found.index(key)) for host, at in last.items()}
        last[event.host] = found.index(key)
    return found


def _heading(text: str) -> str:
    return f"\n{text} {'*' * max(3, _WIDTH - len(text) - 1)}"


def _told(result: Result) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in _QUIET}


def _differences(diff: Any) -> list[str]:
    """Give the lines in which a file differs, or what of a resource; each begins with a sign."""
    found: list[str] = []
    for one in diff if isinstance(diff, list) else [diff]:
        if isinstance(one, dict) and ("before" in one or "after" in one):
            old, new = (_text_lines(one.get(side)) for side in ("before", "after"))
            head, other = (str(one.get(f"{side}_header", side)) for side in ("before", "after"))
            found += difflib.unified_diff(old, new, head, other, lineterm="")
        elif isinstance(one, dict):
            found += [f"  {key}: {_short(value)}" for key, value in one.items()]
    return found


def _text_lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return [] if value is None else json.dumps(value, indent=4, default=str).splitlines()


def _short(label: Any) -> str:
    return label if isinstance(label, str) else json.dumps(label, default=str)
