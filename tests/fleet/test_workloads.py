"""What runs in nodes on other hosts: one list, one log and one stream of events of the whole lab, over one login per host."""

from __future__ import annotations

import json
import os
import select
import signal

import pytest
from controlled import PATIENCE, finish, fleet_fixture, until  # noqa: F401 - fixtures

CREW = """\
name: demo
nodes:
  a1: {host: lab1, workloads: {talk: {command: [sh, -c, "echo a; while sleep 0.05; do echo a; done"]}}}
  b1: {host: lab2, workloads: {talk: {command: [sh, -c, "echo b; while sleep 0.05; do echo b; done"]}, db: {command: sleep 1d}}}
  c1: {host: lab3, workloads: {once: {command: [sh, -c, "echo c"], type: oneshot}}}
"""
EVERYTHING = {"a1/talk": "lab1", "b1/db": "lab2", "b1/talk": "lab2", "c1/once": "lab3"}


@pytest.fixture(name="crew")
def _crew(fleet):
    """Bring a lab with workloads up on three hosts: root, sudo, sudo with a password; take it down in the end."""
    fleet.topology(CREW)
    fleet.nsprov("up", "-q")
    yield fleet.nsprov
    fleet.nsprov("down", "--lab", "demo", "-q")


def rows(crew, *names):
    """Give how workloads are, by name."""
    return {f"{row['node']}/{row['name']}": row for row in crew("ps", *names, "-o", "json").json["workloads"]}


def interrupt(process):
    """Press Ctrl-C and give what came of it."""
    os.killpg(process.pid, signal.SIGINT)
    return finish(process)


def test_the_workloads_of_all_hosts(crew):
    """By the topology, by the lab's name, and those of some nodes; with where they are."""
    assert {name: row["host"] for name, row in rows(crew).items()} == EVERYTHING
    assert {name: row["host"] for name, row in rows(crew, "--lab", "demo").items()} == EVERYTHING
    assert set(rows(crew, "b1", "--lab", "demo")) == {"b1/db", "b1/talk"}
    assert "HOST" in crew("ps").out.splitlines()[0]
    assert "HOST" not in crew("ps", "b1").out.splitlines()[0]
    assert 'no node "x1"' in crew("ps", "x1", "--lab", "demo", code=9).err


def test_one_log(crew):
    """Lines of all hosts, in the order of time."""
    until(lambda: len(crew("logs").out.splitlines()) > 20, "they have talked")
    lines = crew("logs", "-o", "jsonl").lines

    assert {f"{line['node']}/{line['name']}": line["host"] for line in lines} == {
        name: host for name, host in EVERYTHING.items() if name != "b1/db"
    }
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert "c1/once | c" in crew("logs", "c1", "a1/talk").out
    assert crew("logs", "c1").out == "c\n"


@pytest.mark.parametrize("nodes", [(), ("b1/talk",)])
def test_following(crew, nodes):
    """Lines of all hosts as they come; Ctrl-C is exit 130 without words, and no agent stays."""
    process = crew.start("logs", "-f", *nodes)
    wanted = {b"a1/talk | a\n", b"b1/talk | b\n", b"c1/once | c\n"} if not nodes else {b"b\n"}
    seen = set()
    while not wanted <= seen:
        seen.add(process.stdout.readline())
    said = interrupt(process)

    assert (said.code, said.err) == (130, "")


def test_nobody_reads_any_more(crew):
    """It ends, on all hosts."""
    process = crew.start("logs", "-f")
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=PATIENCE)

    assert process.stderr.read() == b""
    assert process.returncode == 141


def test_acting_on_several_hosts(crew):
    """One command acts on all; a wrong name on one host is nothing done on another."""
    assert set(crew("stop", "a1", "b1/talk").out.splitlines()) == {"a1/talk: stopped", "b1/talk: stopped"}
    assert {name: row["state"] for name, row in rows(crew).items()} == {
        **dict.fromkeys(("a1/talk", "b1/talk"), "stopped"),
        "b1/db": "running",
        "c1/once": "done",
    }

    crew("start", "a1", "b1/nope", "--lab", "demo", code=9)
    assert rows(crew)["a1/talk"]["state"] == "stopped"

    crew("restart", "a1", "b1", "c1")
    assert rows(crew)["b1/talk"]["state"] == "running"

    crew("freeze", "a1", "b1")
    assert {name for name, row in rows(crew).items() if row["frozen"]} == {"a1/talk", "b1/db", "b1/talk"}

    crew("thaw", "a1", "b1")
    crew("kill", "b1/db", "-s", "TERM")
    assert crew("wait", "b1/db").out == "143\n"


def test_events_of_all_hosts(crew):
    """They come from all, whatever is done to whom."""
    process = crew.start("events", "-f", "-o", "jsonl")
    seen = set()
    while seen != {("lab1", "talk", "stopped"), ("lab2", "db", "stopped")}:
        crew("restart", "a1", "b1/db")  # until somebody listens
        crew("stop", "a1", "b1/db")
        while (event := json.loads(process.stdout.readline()))["event"] != "stopped":
            pass
        seen.add((event["host"], event["name"], event["event"]))
    said = interrupt(process)

    assert said.code == 130


def test_a_host_that_is_not_there(crew, fleet):
    """The others are shown, it is told of, and exit 4; nothing is acted on anywhere."""
    text = (fleet.nsprov.folder / "inventory.yml").read_text()
    fleet.inventory(text.replace("10.87.0.1\n", "10.87.0.99\n"))
    said = crew("ps", code=4)
    stopped = crew("stop", "a1", "b1", code=4)
    fleet.inventory(text)

    assert "b1/db" in said.out
    assert "lab1" in said.err
    assert "lab1" in stopped.err
    assert rows(crew)["b1/db"]["state"] == "running"


def test_a_host_that_goes_away_while_it_is_followed(crew, fleet):
    """It is told of; the others go on."""
    process = crew.start("logs", "-f")
    while b"c1/once" not in process.stdout.readline():
        pass
    fleet.hosts[0].run("pkill -KILL -f '[p]ython.* -c'")
    assert select.select([process.stderr], [], [], PATIENCE)[0], "nobody is told that a host has gone"
    rest = [process.stdout.readline() for _ in range(150)]
    said = interrupt(process)

    assert rest.count(b"b1/talk | b\n") > 20
    assert (said.code, said.err.count("error:")) == (130, 1)
    assert "lab1" in said.err
