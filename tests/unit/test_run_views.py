"""How a run over many hosts looks: the live board, plain and JSON lines, the table, and failures that several share."""

from __future__ import annotations

import io
import json

import pytest

from nsprov.cli import matrix, outcome_views
from nsprov.cli.live import Board
from nsprov.cli.options import Given, Output, Progressing
from nsprov.cli.progress import Progress
from nsprov.errors import Diagnostic, RollbackIncomplete, StepFailed, Unreachable
from nsprov.fleet import Outcome, Phase
from nsprov.fleet import Progress as Event

WELL, BADLY = Phase(0.0, 0.25, ok=True), Phase(0.0, 0.25, ok=False)


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self):
        return True

    def fileno(self):
        raise OSError("no descriptor")


def board(hosts, done=0, step="create veth"):
    """Give a board of hosts that are all at the same step, but for the first ones, which are done."""
    made = Board(hosts, 0.0)
    for number in range(hosts):
        made.take(Event(f"lab{number}", "apply"), 0.0)
        made.take(Event(f"lab{number}", "apply", step, 5, 20), 0.0)
    for number in range(done):
        made.take(Event(f"lab{number}", "apply", ended=WELL), 1.0)
    return made


def test_one_host_is_one_line():
    """What it is at, how far it is, since when."""
    assert board(1).lines(1.5, 80, 24) == ["lab0  apply     #####--------------- 5/20  create veth  1.50 s"]


def test_each_host_at_work_has_a_line_and_the_last_is_about_all():
    """Who is done has none."""
    lines = board(5, done=2).lines(1.5, 80, 24)

    assert [line.split()[0] for line in lines[:-1]] == ["lab2", "lab3", "lab4"]
    assert lines[-1] == "apply: 2 of 5 hosts done, 3 at work, 1.50 s"


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 23])
def test_it_is_no_higher_than_the_terminal(rows):
    """The rest is counted; nothing would be worse than a display that scrolls."""
    lines = board(32).lines(1.5, 80, rows)
    named = sum(line.startswith("lab") for line in lines)
    rest = sum(int(line.split()[2]) for line in lines if line.startswith("..."))

    assert len(lines) == rows
    assert rows < 3 or named + rest == 32
    assert "0 of 32 hosts done, 32 at work" in lines[-1]


@pytest.mark.parametrize("columns", [1, 10, 60, 80, 200])
def test_it_is_no_wider_than_the_terminal(columns):
    """A line that wraps would be two."""
    made = board(3, step="create " + "x" * 100)
    made.take(Event("a-host-with-a-very-long-name.example.org", "apply"), 0.0)

    assert max(map(len, made.lines(1.5, columns, 24))) <= columns


def test_who_has_failed_is_named_until_the_end():
    """Even when its way back went well, and while others are at another phase."""
    made = board(3)
    made.take(Event("lab1", "apply", ended=BADLY), 1.0)
    made.take(Event("lab1", "rollback"), 1.0)
    made.take(Event("lab1", "rollback", ended=WELL), 1.0)

    assert made.lines(1.5, 80, 24)[-1] == "rollback: 0 of 3 hosts done, 2 at work, 1 failed (lab1), 1.50 s"


def test_nobody_at_work_is_nothing_to_show():
    """Between two phases."""
    assert board(2, done=2).lines(1.5, 80, 24) == []


def test_what_a_host_says_does_not_steer_the_terminal():
    """Control characters are written as what they are."""
    assert "\x1b" not in board(1, step="\x1b[2Jcreate").lines(1.5, 80, 24)[0]


def shown(monkeypatch, stream, events, **given):
    """Show events as a run would, and give what was written."""
    monkeypatch.setattr("sys.stderr", stream)
    with Progress(Given(**given)) as progress:
        for event in events:
            progress(event)
    return stream.getvalue()


EVENTS = [Event("lab1", "apply"), Event("lab1", "apply", "create veth", 5, 20), Event("lab1", "apply", ended=WELL)]


def test_without_a_terminal_it_is_a_line_per_host_and_phase(monkeypatch):
    """With -v the steps too."""
    assert shown(monkeypatch, io.StringIO(), EVENTS) == "lab1: apply ok (250 ms)\n"
    assert "lab1: create veth (5 of 20 done)\n" in shown(monkeypatch, io.StringIO(), EVENTS, verbose=True)


@pytest.mark.parametrize(
    "given", [{"quiet": True}, {"progress": Progressing.NONE}, {"output": Output.JSON}, {"quiet": True, "progress": "tty"}]
)
def test_nothing_is_shown_to_who_wants_nothing(monkeypatch, given):
    """With -q, with `none`, and where JSON is read and nobody is there to see."""
    assert shown(monkeypatch, io.StringIO(), EVENTS, **given) == ""


def test_json_lines_have_every_event(monkeypatch):
    """Begin, steps and end, each with its host and phase."""
    rows = [json.loads(line) for line in shown(monkeypatch, io.StringIO(), EVENTS, progress=Progressing.JSON).splitlines()]

    assert [(row["event"], row["host"], row["phase"]) for row in rows] == [
        (e, "lab1", "apply") for e in ("begin", "step", "end")
    ]
    assert rows[1]["done"] == 5
    assert rows[2]["ok"] is True


def test_a_terminal_that_can_do_nothing_gets_lines(monkeypatch):
    """TERM=dumb, and no TERM at all."""
    monkeypatch.setenv("TERM", "dumb")
    assert shown(monkeypatch, Terminal(), EVENTS) == "lab1: apply ok (250 ms)\n"


def test_a_short_run_on_a_terminal_shows_nothing(monkeypatch):
    """Who is done at once has not waited, and has nothing to wipe away."""
    monkeypatch.setenv("TERM", "xterm")
    assert shown(monkeypatch, Terminal(), EVENTS) == ""


def outcome(host, error=None, undone="", phases=("connect", "apply"), **more):
    """Give what became of a host; its last phase failed if it has an error."""
    ways = {name: WELL if error is None or name != phases[-1] else BADLY for name in phases}
    return Outcome(host, error=error, undone=undone, phases=ways, **more)


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ("ok", outcome("h")),
        ("failed", outcome("h", StepFailed(Diagnostic("x", "h")))),
        ("failed", outcome("h", Unreachable(Diagnostic("x", "h")), phases=("connect",))),
        ("unknown", outcome("h", Unreachable(Diagnostic("x", "h")))),
        ("incomplete", outcome("h", RollbackIncomplete(Diagnostic("x", "h")))),
        ("undone", outcome("h", undone="put back")),
        ("not begun", outcome("h", undone="not begun", phases=("connect", "prepare"))),
    ],
)
def test_a_host_comes_out_in_one_word(result, found):
    """In the table and as JSON."""
    assert outcome_views.as_json("demo", [found])["hosts"]["h"]["result"] == result


def test_the_table_has_the_phases_that_there_were(capsys):
    """In their order, a time where one went well, a dash where none was."""
    failed = outcome("lab2", StepFailed(Diagnostic("x", "lab2")))
    matrix.show_matrix([outcome("lab1", phases=("connect", "survey", "apply")), failed])

    assert capsys.readouterr().err.splitlines() == [
        "HOST  CONNECT  SURVEY  APPLY   RESULT",
        "lab1  250 ms   250 ms  250 ms  ok",
        "lab2  250 ms   -       failed  failed",
    ]


def refused(host, address, name="lab"):
    """Give a host that did not answer, in the words of the transport."""
    said = Diagnostic(f"{name}@{address} does not answer", host, "Connection refused", "check the address")
    return outcome(host, Unreachable(said), address=address)


def test_what_is_the_same_on_many_hosts_is_said_once(capsys):
    """With the list of them, whatever their addresses; another failure is told by itself."""
    hosts = [refused(f"lab{number}", f"10.0.0.{number}") for number in range(32)]
    matrix.show_failures([*hosts, refused("lab32", "10.0.0.32", name="other"), outcome("lab33")])
    said = capsys.readouterr().err

    assert said.count("error: ") == 2
    assert "error: lab@<host> does not answer\n  --> lab0, lab1, lab2" in said
    assert "error: other@10.0.0.32 does not answer\n  --> lab32\n" in said


def test_what_differs_in_more_than_the_host_is_said_apart(capsys):
    """An address that merely begins alike is another one, and so is another place on the host."""
    one, other = refused("lab1", "10.0.0.1"), refused("lab2", "10.0.0.2")
    other.error = Unreachable(Diagnostic("lab@10.0.0.20 does not answer", "lab2", "Connection refused", "check the address"))
    matrix.show_failures([one, other])

    assert capsys.readouterr().err.count("error: ") == 2


def test_a_place_on_every_host_is_named_once(capsys):
    """Hosts first, then what is on each."""
    matrix.show_failures(outcome(name, StepFailed(Diagnostic("x", f"{name}/netns:a1"))) for name in ("lab1", "lab2"))

    assert "  --> lab1, lab2: netns:a1\n" in capsys.readouterr().err


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_none_is_wanted(monkeypatch, variable, value):
    """NO_COLOR and TERM=dumb hold on a terminal too; without them there are colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NSPROV_COLOR", "auto")
    monkeypatch.delenv("NO_COLOR", raising=False)
    seen = []
    for _ in range(2):
        stream = Terminal()
        monkeypatch.setattr("sys.stderr", stream)
        matrix.show_failures([refused("lab1", "10.0.0.1")])
        seen.append("\x1b[" in stream.getvalue())
        monkeypatch.setenv(variable, value)

    assert seen == [True, False]


def test_all_well_is_one_line(capsys):
    """The table is for when something failed, or when somebody asks."""
    hosts = [outcome("lab1"), outcome("lab2")]
    outcome_views.show_end(Given(), hosts, 1.5)
    plain = capsys.readouterr().err
    outcome_views.show_end(Given(verbose=True), hosts, 1.5)

    assert plain == "all 2 hosts are ok (1.50 s)\n"
    assert capsys.readouterr().err.startswith("HOST  ")
