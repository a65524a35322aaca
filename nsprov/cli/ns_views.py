"""How namespaces look: tables for people, and the same rows for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nsprov.cli import views
from nsprov.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, Any]

_SHOWN = 3
_PROCESSES = 20
_WIDTH = 40


def show_list(reply: Row, output: Output) -> None:
    """Write what namespaces there are, and which pins are broken."""
    if output is Output.JSON:
        views.dump(reply)
    elif output is Output.JSONL:
        for name, event in (("namespaces", "namespace"), ("broken", "broken")):
            for row in reply[name]:
                views.dump_line({"event": event, "host": reply["host"], **row})
        views.dump_line({"event": "end", "host": reply["host"], "unreadable": reply["unreadable"]})
    else:
        _table([_HEAD, *(_listed(row) for row in reply["namespaces"])])
        for row in reply["broken"]:
            whose = f" of {row['lab']}/{row['node']}" if row["lab"] else ""
            views.say(views.printable(f"broken: {row['path']}, the {row['kind']} pin{whose}: {row['why']}"))
        if reply["unreadable"]:
            views.note(f"{reply['unreadable']} process(es) on {reply['host']} may not be looked into and are not counted")


def show_lists(replies: Sequence[Row], output: Output) -> None:
    """Write what namespaces there are on each of some hosts."""
    if output is Output.JSON:
        views.dump(replies)
        return
    for reply in replies:
        if output is Output.TEXT:
            views.say(views.printable(f"on {reply['host']}:"))
        show_list(reply, output)


_HEAD = ("NS", "TYPE", "NPROCS", "PID", "USER", "COMMAND", "LAB/NODE", "PINS")


def _listed(row: Row) -> tuple[str, ...]:
    """Give the cells of one namespace; of one without a pin here, what else keeps it stands in place of the pins."""
    pins = _some(row["pins"]) or _some([one["text"] for one in row["holders"] if one["how"] == "mount"])
    if row["deleted"]:
        pins = f"deleted; {_some([one['text'] for one in row['holders']]) or _some(_users(row))}"
    who = (str(row["pid"]), row["user"], _short(row["command"])) if row["pid"] else ("-", "-", "-")
    return (str(row["ns"]), row["type"], str(row["nprocs"]), *who, _node(row), pins)


def _users(row: Row) -> list[str]:
    return [f"process {pid} is in it" for pid in row["processes"]]


def _node(row: Row) -> str:
    return f"{row['lab']}/{row['node']}" if row["lab"] else "-"


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _table(rows: Sequence[Sequence[str]]) -> None:
    views.show_table([[views.printable(cell) for cell in row] for row in rows])


def show_subject(reply: Row, output: Output) -> None:
    """Write the namespaces of something, and what they are like inside."""
    if output is not Output.TEXT:
        _dump(reply, "namespaces", "namespace", output)
        return
    views.say(views.printable(f"{reply['subject']['what']} {reply['subject']['name']} on {reply['host']}"))
    head = ("TYPE", "NS", "ID", "OWNER", "NPROCS", "PINS")
    _table([head, *(_described(row) for row in reply["namespaces"])])
    for row in reply["namespaces"]:
        for line in _inside(row):
            views.say(views.printable(line))
    for line in _processes(reply["namespaces"]):
        views.say(views.printable(line))


def _described(row: Row) -> tuple[str, ...]:
    owner = "-" if row["owner"] is None else f"user:[{row['owner']}] uid {row['owner_uid']}"
    number = "-" if row["id"] is None else str(row["id"])
    pins = _some(row["pins"]) or ("the host's" if row["shared"] or row["own"] else "-")
    return (row["type"], str(row["ns"]), number, owner, str(row["nprocs"]), pins)


def _inside(row: Row) -> list[str]:
    found = []
    if "hostname" in row:
        found.append(f"hostname: {row['hostname']}")
    found.extend(f"{name}: {_map(row[name])}" for name in ("uid_map", "gid_map") if name in row)
    if "offsets" in row:
        found.append("clocks: " + ", ".join(f"{clock} {seconds:+g} s" for clock, seconds in row["offsets"].items()))
    if row["deleted"]:
        found.extend(f"{row['type']}: deleted, but {one['text']}" for one in row["holders"])
    return found


def _map(rows: Sequence[Sequence[int]]) -> str:
    return "; ".join(f"{inside} is {outside} outside, {count} in all" for inside, outside, count in rows) or "empty"


def _processes(rows: Sequence[Row]) -> list[str]:
    """List who is in those of the namespaces that are not the host's own."""
    known: dict[int, Row] = {}
    types: dict[int, list[str]] = {}
    for row in rows:
        for one in row["processes"] if not row["own"] else ():
            known[one["pid"]] = one
            types.setdefault(one["pid"], []).append(row["type"])
    found = []
    for pid, one in sorted(known.items()):
        found.append(f"process {pid}  {one['user']}  {_short(one['command'])}  in {', '.join(types[pid])}")
    return found[:_PROCESSES] + ([f"and {len(found) - _PROCESSES} processes more"] if len(found) > _PROCESSES else [])


def show_same(reply: Row, output: Output) -> None:
    """Write which namespaces two have in common."""
    if output is not Output.TEXT:
        _dump(reply, "types", "type", output)
        return
    head = ("TYPE", "SAME", reply["a"]["name"], reply["b"]["name"], "WHICH MEANS")
    rows = [
        (row["type"], "yes" if row["same"] else "no", str(row["a"]), str(row["b"]), row["meaning"]) for row in reply["types"]
    ]
    _table([head, *rows])


def show_pinned(reply: Row, output: Output) -> None:
    """Write what has been pinned where."""
    if output is not Output.TEXT:
        _document(reply, output)
        return
    views.say(f"the namespaces of process {reply['pid']} are pinned as {reply['name']}:")
    _table([(f"  {kind}", path) for kind, path in reply["pins"].items()])


def show_unpinned(reply: Row, output: Output) -> None:
    """Write what is pinned no more, and what keeps it alive all the same."""
    if output is not Output.TEXT:
        _document(reply, output)
        return
    views.say(f"unpinned {reply['name']}: {', '.join(reply['pins'])}")
    for row in reply["held"]:
        views.say(views.printable(f"  {row['type']}:[{row['ns']}] lives on: {_some(row['by'])}"))


def _document(reply: Row, output: Output) -> None:
    if output is Output.JSON:
        views.dump(reply)
    else:
        views.dump_line(reply)


def _dump(reply: Row, rows: str, event: str, output: Output) -> None:
    """Write a reply that has rows: whole, or as a line for each row."""
    if output is Output.JSON:
        views.dump(reply)
        return
    rest = {key: value for key, value in reply.items() if key != rows}
    for row in reply[rows]:
        views.dump_line({"event": event, **row})
    views.dump_line({"event": "end", **rest})
