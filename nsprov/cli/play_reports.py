"""A playbook's run for other programs: JSON, lines of JSON, and JUnit's XML. They are told nothing that is secret."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from xml.etree import ElementTree as ET

from nsprov.cli import views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.playbook.model import Play
    from nsprov.playbook.running.record import Event, Record, Result


class View(Protocol):
    """What is told of a run."""

    def play(self, play: Play, hosts: tuple[str, ...]) -> None:
        """A play begins on some hosts."""

    def event(self, event: Event) -> None:
        """A task has come to something on a host."""

    def settle(self) -> None:
        """All hosts have come as far as they can together."""

    def end(self, record: Record, *, interrupted: bool) -> None:
        """All is over."""


class Json:
    """One JSON object, at the end."""

    def __init__(self) -> None:
        """Start with no play."""
        self._plays: list[dict[str, Any]] = []

    def play(self, play: Play, hosts: tuple[str, ...]) -> None:
        """Begin a play."""
        self._plays.append({"play": play.name, "hosts": list(hosts), "tasks": []})

    def event(self, event: Event) -> None:
        """Add a result."""
        tasks = self._plays[-1]["tasks"]
        where = str(event.task.where)
        if not tasks or tasks[-1]["where"] != where:
            tasks.append({"task": event.title, "where": where, "hosts": {}})
        result = event.result
        tasks[-1]["hosts"][event.host] = {**result, "ignored": True} if event.ignored else result

    def settle(self) -> None:
        """Wait for the end."""

    def end(self, record: Record, *, interrupted: bool) -> None:
        """Write it."""
        views.dump({"plays": self._plays, "stats": record.counts, "interrupted": interrupted})


class Lines:
    """A line of JSON for each event, as it comes."""

    def play(self, play: Play, hosts: tuple[str, ...]) -> None:
        """Tell that a play begins."""
        views.dump_line({"event": "play", "play": play.name, "where": str(play.where), "hosts": list(hosts)})

    def event(self, event: Event) -> None:
        """Tell a result."""
        views.dump_line(
            {
                "event": "result",
                "play": event.play.name,
                "task": event.title,
                "where": str(event.task.where),
                "host": event.host,
                "status": "ignored" if event.ignored else event.status,
                "result": event.result,
                **({"handler": True} if event.handler else {}),
                **({"delegated": event.delegated} if event.delegated else {}),
            }
        )

    def settle(self) -> None:
        """Leave it: everything has been told."""

    def end(self, record: Record, *, interrupted: bool) -> None:
        """Tell the recap."""
        views.dump_line({"event": "end", "stats": record.counts, "interrupted": interrupted})


class Junit:
    """JUnit's XML, at the end: a suite for each host, a case for each of its tasks."""

    def __init__(self) -> None:
        """Start with no host."""
        self._cases: dict[str, list[ET.Element]] = {}

    def play(self, play: Play, hosts: tuple[str, ...]) -> None:  # noqa: ARG002 - as every view
        """Note the hosts, which may come to nothing."""
        for host in hosts:
            self._cases.setdefault(host, [])

    def event(self, event: Event) -> None:
        """Add a case."""
        names = {"name": event.title, "classname": event.play.name, "file": event.task.where.path}
        case = ET.Element("testcase", {key: _legible(text) for key, text in names.items()})
        case.set("line", str(event.task.where.line))
        word = "" if event.ignored else _CASES.get(event.status, "")
        if word:
            mark = ET.SubElement(case, word, message=_legible(_why(event.result)))
            mark.text = _legible(_said(event.result)) if word != "skipped" else ""
        elif event.result.get("stdout"):
            ET.SubElement(case, "system-out").text = _legible(str(event.result["stdout"]))
        self._cases.setdefault(event.host, []).append(case)

    def settle(self) -> None:
        """Wait for the end."""

    def end(self, record: Record, *, interrupted: bool) -> None:
        """Write it."""
        root = ET.Element("testsuites", name="nsprov play")
        for host, cases in self._cases.items():
            suite = ET.SubElement(root, "testsuite", {"name": host, "tests": str(len(cases)), **_counted(cases)})
            recap = ET.SubElement(suite, "properties")
            for kind, count in record.counts.get(host, {}).items():
                ET.SubElement(recap, "property", name=kind, value=str(count))
            suite.extend(cases)
        if interrupted:
            root.set("interrupted", "true")
        ET.indent(root)
        views.say('<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode"))


_CASES = MappingProxyType({"failed": "failure", "unreachable": "error", "skipped": "skipped"})
REPORTS: Mapping[str, Callable[[], View]] = MappingProxyType({"json": Json, "jsonl": Lines, "junit": Junit})
"""The reports by what `-o` calls them."""


def _counted(cases: list[ET.Element]) -> dict[str, str]:
    counts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {name: str(sum(case.find(word) is not None for case in cases)) for name, word in counts.items()}


def _why(result: Result) -> str:
    return str(result.get("msg") or result.get("skip_reason") or result.get("censored") or "")


def _said(result: Result) -> str:
    return json.dumps(result, indent=2, ensure_ascii=False, default=str)


def _legible(text: str) -> str:
    """Escape what XML cannot hold."""
    return "\n".join(map(views.printable, text.split("\n")))
