"""What runs in nodes, by the command line: `ps`, `logs`, `events`, `start`, `stop`, `restart`, `kill`, `wait`, `freeze`."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from commandline import PATIENCE, finish, until

from nsprov.kernel.cgroups import Cgroups

pytestmark = pytest.mark.root

CREW = """\
name: crew
nodes:
  n1:
    workloads:
      web: {command: [sh, -c, "echo up; echo no >&2; exec sleep 1d"], ready: {log: up}, depends_on: [db]}
      db: {command: sleep 1d}
  n2:
    namespaces: [net, mnt, uts, pid]
    workloads:
      job: {type: oneshot, command: [sh, -c, "echo one; echo two"]}
      talk: {command: [sh, -c, "while sleep 0.02; do i=$((i+1)); echo $i; done"]}
  idle: {}
"""
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def one(command, **keys):
    """Write a lab of one workload, n1/w, that is a shell's script."""
    workload = {"command": ["sh", "-c", command], **keys}
    return json.dumps({"name": "crew", "nodes": {"n1": {"workloads": {"w": workload}}}})


@pytest.fixture(name="make")
def _make(nsprov):
    """Give the function that brings a lab up from its text; the lab goes down in the end."""

    def make(text=CREW):
        nsprov.write("topology.yml", text)
        nsprov("up", "-q")
        return nsprov

    yield make
    nsprov("down", "--lab", "crew", "-q")


@pytest.fixture(name="crew")
def _crew(make):
    """Bring the lab up."""
    return make()


def rows(nsprov, *names):
    """Give how workloads are, by name."""
    return {f"{row['node']}/{row['name']}": row for row in nsprov("ps", *names, "-o", "json").json["workloads"]}


def states(nsprov, *names):
    """Give the states of workloads."""
    return {name: row["state"] for name, row in rows(nsprov, *names).items()}


def pid_of_init(node):
    """Give the pid of a node's init."""
    return int(Path(Cgroups("crew").tree.group(node, "init"), "cgroup.procs").read_text())


def read_lines(process, count):
    """Read so many lines of what a started command says."""
    return [process.stdout.readline().decode() for _ in range(count)]


def rest(process):
    """Press Ctrl-C and give all that was not read yet."""
    os.killpg(process.pid, signal.SIGINT)
    return process.stdout.read().decode()


def interrupt(process):
    """Press Ctrl-C and give what came of it."""
    os.killpg(process.pid, signal.SIGINT)
    return finish(process)


# -- ps ---------------------------------------------------------------------------------------------------------------


def test_ps(crew):
    """A line for each workload, in the order of names, with its state, its process and how it ended."""
    heading, *lines = crew("ps").out.splitlines()
    cells = {line.split()[0]: line.split() for line in lines}

    assert heading.split() == ["WORKLOAD", "STATE", "PID", "SINCE", "RESTARTS", "EXIT", "HEALTH", "OOM", "REASON"]
    assert list(cells) == ["n1/db", "n1/web", "n2/job", "n2/talk"]
    assert {name: row[1] for name, row in cells.items()} == {
        "n1/db": "running", "n1/web": "ready", "n2/job": "done", "n2/talk": "running",
    }
    assert cells["n2/job"][2] == "-"
    assert cells["n2/job"][5] == "0"


def test_ps_gives_pids_as_the_host_has_them(crew):
    """In a node with a pid namespace too."""
    found = rows(crew)
    commands = {
        name: Path(f"/proc/{found[name]['pid']}/cmdline").read_bytes().split(b"\0")[0] for name in ("n1/db", "n2/talk")
    }

    assert commands == {"n1/db": b"sleep", "n2/talk": b"sh"}


def test_ps_as_json(crew):
    """Every field has a value of its type."""
    found = rows(crew)

    assert found["n2/job"] == {
        "host": "localhost", "node": "n2", "name": "job", "state": "done", "pid": None, "exit": 0, "signal": None,
        "restarts": 0, "reason": "exited with code 0", "health": "", "dropped": 0, "frozen": False, "oom_kills": 0,
        "since": found["n2/job"]["since"], "seconds": found["n2/job"]["seconds"],
    }
    assert re.fullmatch(STAMP, found["n2/job"]["since"])
    assert 0 <= found["n2/job"]["seconds"] < PATIENCE
    assert crew("ps", "-o", "jsonl").lines[0]["name"] == "db"


def test_ps_of_nodes(crew):
    """Only those; one without workloads has no lines; one that is not there is an error."""
    assert set(rows(crew, "n2")) == {"n2/job", "n2/talk"}
    assert rows(crew, "idle") == {}
    assert 'no node "n9"' in crew("ps", "n9", code=9).err
    assert 'lab "crew" has no node "n9"' in crew("ps", "n9", "--lab", "crew", code=9).err


def test_without_a_file(crew, tmp_path):
    """The only lab on this host is meant, or that which has the node, or the one that is named."""
    away = tmp_path / "away"
    away.mkdir()
    (crew.folder / "topology.yml").rename(away / "crew.yml")

    assert set(rows(crew)) == {"n1/db", "n1/web", "n2/job", "n2/talk"}
    assert set(rows(crew, "n1")) == {"n1/db", "n1/web"}
    assert set(rows(crew, "n1", "--lab", "crew")) == {"n1/db", "n1/web"}
    assert set(rows(crew, "-t", away / "crew.yml")) == {"n1/db", "n1/web", "n2/job", "n2/talk"}

    other = crew.write("other.yml", "name: other\nnodes: {n1: {}}")
    crew("up", other, "-q")

    assert "--lab" in crew("ps", code=3).err
    assert "--lab" in crew("ps", "n1", code=3).err
    assert set(rows(crew, "n2")) == {"n2/job", "n2/talk"}

    crew("down", "other", "-q")


def test_there_is_no_lab(nsprov):
    """Nothing to ask is exit 9, with words."""
    assert "no lab" in nsprov("ps", code=9).err
    assert 'no host has a lab "none"' in nsprov("ps", "--lab", "none", code=9).err
    assert 'no host has a lab "none"' in nsprov("logs", "--lab", "none", code=9).err


def test_an_init_that_died(crew):
    """It is said so; what workloads have said is still there; nothing can be done with them until `up` makes it anew."""
    os.kill(pid_of_init("n1"), signal.SIGKILL)
    until(lambda: states(crew, "n1") == {"n1/db": "init dead", "n1/web": "init dead"}, "it is seen")

    assert "up\n" in crew("logs", "n1/web").out
    assert "does not answer" in crew("stop", "n1/db", code=7).err
    assert states(crew, "n2")["n2/talk"] == "running"

    crew("up", "-q")

    assert states(crew, "n1") == {"n1/db": "running", "n1/web": "ready"}


# -- logs -------------------------------------------------------------------------------------------------------------

SPEAKERS = """\
name: crew
nodes:
  n1:
    workloads:
      a: {type: oneshot, command: [sh, -c, "echo a1; sleep 0.2; echo a2 >&2; sleep 0.2; echo a3"]}
      longer: {command: [sh, -c, "sleep 0.1; echo b1; sleep 0.2; echo b2; exec sleep 1d"]}
  n2:
    workloads:
      c: {type: oneshot, command: [printf, "c1\\nc2\\n\\nc4"]}
"""


def test_logs_of_one_workload(make):
    """Its lines as they are, from both streams or from one."""
    lab = make(SPEAKERS)

    assert lab("logs", "n1/a").out == "a1\na2\na3\n"
    assert lab("logs", "n1/a", "--stream", "stderr").out == "a2\n"
    assert lab("logs", "n1/a", "--stream", "stdout", "--tail", "1").out == "a3\n"
    assert lab("logs", "n2").out == "c1\nc2\n\nc4\n"
    assert lab("logs", "n2/c", "-n", "0").out == ""


def test_logs_of_several_workloads(make):
    """By time, with whose they are before them."""
    lab = make(SPEAKERS)
    expected = [*["n1/a      | a1", "n1/longer | b1", "n1/a      | a2"], *["n1/longer | b2", "n1/a      | a3"]]

    def said():
        return lab("logs", "n1").out.splitlines()

    assert until(lambda: len(said()) == 5 and said(), "all is said") == expected
    assert lab("logs", "n1", "--tail", "1").out.splitlines() == expected[-2:]
    assert set(lab("logs").out.splitlines()) > set(expected)
    assert {line.split(" ")[0] for line in lab("logs", "n1/a", "n2").out.splitlines()} == {"n1/a", "n2/c"}


def test_logs_since(make):
    """A moment, as it stands before a line with -T, and a time ago."""
    lab = make(SPEAKERS)
    lines = [line.split(" ") for line in lab("logs", "n1/a", "-T").out.splitlines()]

    assert [text for _, text in lines] == ["a1", "a2", "a3"]
    assert all(re.fullmatch(STAMP, moment) for moment, _ in lines)
    assert lab("logs", "n1/a", "--since", lines[1][0]).out == "a2\na3\n"
    assert lab("logs", "n1/a", "--since", "1h30m").out == "a1\na2\na3\n"
    assert lab("logs", "n1/a", "--since", "2100-01-01T00:00:00Z").out == ""

    time.sleep(0.01)

    assert lab("logs", "n1/a", "--since", "0.001").out == ""


@pytest.mark.parametrize("since", ["yesterday", "-10m", "2026-13-01T00:00:00Z", "10x", ""])
def test_since_what(make, since):
    """What is no time is refused."""
    lab = make(SPEAKERS)

    assert "--since" in lab("logs", f"--since={since}", code=3).err


def test_logs_as_json(make):
    """Each line is an object; `jsonl` is one a line, `json` one document."""
    lab = make(SPEAKERS)
    lines = lab("logs", "n2", "-o", "jsonl").lines

    assert [line["text"] for line in lines] == ["c1", "c2", "", "c4"]
    assert lab("logs", "n2", "-o", "json").json == lines
    assert {key: value for key, value in lines[0].items() if key != "time"} == {
        "host": "localhost", "node": "n2", "name": "c", "stream": "stdout", "partial": False, "text": "c1",
    }
    assert lab("logs", "n2", "--tail", "0", "-o", "json").json == []


NASTY = b"\x1b]0;title\x07\x1b[31m\ttab\r back\xff\xfe\x00end"


def test_what_workloads_say_does_not_reach_the_terminal(make, nsprov):
    """Control characters are escaped but for tabs; --raw gives every byte."""
    nsprov.write("nasty", "")
    (nsprov.folder / "nasty").write_bytes(NASTY + b"\n")
    lab = make(one(f"cat {nsprov.folder / 'nasty'}", type="oneshot"))
    said = lab("logs", "n1/w").out

    assert said == "\\x1b]0;title\\x07\\x1b[31m\ttab\\r back��\\x00end\n"
    assert json.loads(lab("logs", "n1/w", "-o", "jsonl").out)["text"] == NASTY.decode(errors="replace")

    raw, _ = lab.start("logs", "n1/w", "--raw").communicate(timeout=PATIENCE)

    assert raw == NASTY + b"\n"


def test_a_long_line_is_one_line(make):
    """It is kept in pieces, and shown as it was; the other stream does not get into it unmarked."""
    lab = make(one("head -c 100000 /dev/zero | tr '\\0' x; echo; echo end; sleep 0.1; echo after >&2", type="oneshot"))
    said = lab("logs", "n1/w").out

    assert said == "x" * 100_000 + "\nend\nafter\n"
    assert lab("logs", "n1/w", "--tail", "3").out == said
    assert any(line["partial"] for line in lab("logs", "n1/w", "-o", "jsonl").lines)


def test_logs_of_what_is_not_there(crew):
    """A workload, or a node, that has no name here."""
    assert "use one of db, web" in crew("logs", "n1/nope", code=9).err
    assert "no workloads" in crew("logs", "idle", code=9).err
    assert "no node" in crew("logs", "../n1", "--lab", "crew", code=9).err


def test_following(crew):
    """Lines as they come, those that were there first; Ctrl-C is exit 130, without words."""
    process = crew.start("logs", "-f", "n2/talk")
    first = [int(line) for line in read_lines(process, 30)]
    said = interrupt(process)

    assert first == list(range(1, 31))
    assert (said.code, said.err) == (130, "")


def test_following_what_is_new(crew):
    """--tail 0 shows nothing of what was there."""
    until(lambda: "9\n" in crew("logs", "n2/talk").out, "it has talked")
    process = crew.start("logs", "-f", "-n", "0", "n2/talk", "-T")
    (line,) = read_lines(process, 1)
    interrupt(process)

    assert re.fullmatch(rf"{STAMP} \d+\n", line)
    assert int(line.split()[1]) > 9


def test_following_through_turns(make):
    """A log that is turned again and again loses no line, and gives none twice."""
    lab = make(one("while sleep 0.001; do i=$((i+1)); echo $i $(seq 100); done", log={"size": "8K", "keep": 20}))
    process = lab.start("logs", "-f", "n1/w")
    numbers = [int(line.split()[0]) for line in read_lines(process, 300)]
    interrupt(process)

    assert os.path.exists("/run/nsprov/crew/log/n1/w.log.5")
    assert numbers == list(range(numbers[0], numbers[0] + 300))


def test_following_a_restart_and_a_newcomer(make):
    """What starts anew goes on in the same log; a workload that the node gets meanwhile is followed too."""
    lab = make(one("echo hello; exec sleep 1d"))
    process = lab.start("logs", "-f", "n1")

    assert read_lines(process, 1) == ["hello\n"]

    lab("restart", "n1/w")

    assert read_lines(process, 1) == ["hello\n"]

    edited = json.loads(one("echo hello; exec sleep 1d"))
    edited["nodes"]["n1"]["workloads"]["new"] = {"command": ["sh", "-c", "echo I am new; exec sleep 1d"]}
    lab.write("topology.yml", json.dumps(edited))
    lab("up", "-q")

    assert read_lines(process, 1) == ["n1/new | I am new\n"]
    assert interrupt(process).code == 130


def test_following_as_json(crew):
    """Lines of JSON come at once; a document is whole after Ctrl-C."""
    process = crew.start("logs", "-f", "n2/talk", "-o", "jsonl")

    assert [json.loads(line)["text"] for line in read_lines(process, 3)] == ["1", "2", "3"]
    assert interrupt(process).code == 130

    process = crew.start("logs", "-f", "n2/talk", "-o", "json")
    head = read_lines(process, 3)
    found = json.loads("".join([*head, rest(process)]))

    assert [row["text"] for row in found[:3]] == ["1", "2", "3"]


@pytest.mark.parametrize("options", [["-f"], ["-f", "-o", "json"], ["-f", "-o", "jsonl"]])
def test_nobody_reads_any_more(crew, options):
    """As `| head -n 1` does it: it ends, and says nothing."""
    process = crew.start("logs", "n2/talk", *options)
    read_lines(process, 1)
    process.stdout.close()
    process.wait(timeout=PATIENCE)

    assert process.stderr.read() == b""
    assert process.returncode in (141, -signal.SIGPIPE)


def test_nobody_reads_a_long_log(make):
    """One that is larger than all that is between it and us, and does not come any more."""
    lab = make(one("seq 200000", type="oneshot", log={"size": "16M"}))
    process = lab.start("logs", "n1/w")

    assert read_lines(process, 2) == ["1\n", "2\n"]

    process.stdout.close()
    process.wait(timeout=PATIENCE)

    assert process.stderr.read() == b""
    assert lab("logs", "n1/w").out == "".join(f"{number}\n" for number in range(1, 200_001))


def test_following_ends_with_the_lab(make):
    """What can say nothing any more is followed no more."""
    lab = make(one("echo hello; exec sleep 1d"))
    logs, happenings = lab.start("logs", "-f"), lab.start("events", "-f")
    read_lines(logs, 1)
    lab("down", "-q")

    assert finish(logs).code == 0
    assert finish(happenings).code == 0


# -- start, stop, restart, kill ---------------------------------------------------------------------------------------


def test_stop_and_start(crew):
    """Of one, of a node; what is stopped stays so, is drift, and `up` starts it again."""
    assert crew("stop", "n1/db", "n2/talk").out.splitlines() == ["n1/db: stopped", "n2/talk: stopped"]
    assert states(crew) == {"n1/db": "stopped", "n1/web": "ready", "n2/job": "done", "n2/talk": "stopped"}
    assert "~ update  workload:n1/db" in crew("status", "--detailed-exitcode", code=10).out

    crew("stop", "n1")
    assert set(states(crew, "n1").values()) == {"stopped"}

    crew("stop", "n1")
    assert set(crew("start", "n1").out.splitlines()) == {"n1/db: running", "n1/web: ready"}

    crew("up", "-q")
    assert states(crew)["n2/talk"] == "running"


def test_start_leaves_alone_what_is_up_or_done(crew):
    """It is no restart."""
    before = rows(crew)
    crew("start", "n1", "n2")
    after = rows(crew)

    assert {name: row["pid"] for name, row in after.items()} == {name: row["pid"] for name, row in before.items()}
    assert after["n2/job"]["since"] == before["n2/job"]["since"]


def test_restart(crew):
    """Another process; a oneshot runs again."""
    before = rows(crew)
    said = crew("restart", "n1/db", "n2", "-o", "json").json["workloads"]
    after = rows(crew)

    assert {(row["node"], row["name"]) for row in said} == {("n1", "db"), ("n2", "job"), ("n2", "talk")}
    assert after["n1/db"]["pid"] not in (before["n1/db"]["pid"], None)
    assert after["n1/web"]["pid"] == before["n1/web"]["pid"]
    until(lambda: crew("logs", "n2/job").out == "one\ntwo\n" * 2, "it has run again")


def test_the_order_of_dependencies(make):
    """What others come after starts first, and they wait until it is ready; it stops last."""
    lab = make(
        """\
name: crew
nodes:
  n1:
    workloads:
      a: {command: sleep 1d, depends_on: [b]}
      b: {command: [sh, -c, "sleep 0.3; echo here; exec sleep 1d"], ready: {log: here}, depends_on: [c]}
      c: {type: oneshot, command: sleep 0.2}
"""
    )
    watch = lab.start("events", "-f", "n1", "-o", "jsonl")
    until(lambda: _listeners("n1") > 0, "somebody listens")
    lab("stop", "n1")
    lab("restart", "n1")
    events = []
    while not any(row["event"] == "started" and row["name"] == "a" for row in events):
        events.append(json.loads(read_lines(watch, 1)[0]))
    interrupt(watch)
    said = [f"{row['name']} {row['event']}" for row in events if row["event"] in ("started", "ready", "done", "stopped")]

    assert said == ["a stopped", "b stopped", "c started", "c done", "b started", "b ready", "a started"]


def _listeners(node):
    """Count who is connected to a node's init."""
    with open("/proc/net/unix", encoding="utf-8") as file:
        return sum(1 for line in file if line.rstrip().endswith(f"ctl/{node}.sock") and line.split()[5] == "03")


def test_what_comes_after_what_fails(make):
    """It is not started, and the words say after what it comes."""
    text = """\
name: crew
nodes:
  n1:
    workloads:
      a: {command: sleep 1d, depends_on: [b]}
      b: {command: [sh, -c, "test ! -e FLAG"], type: oneshot}
"""
    flag = Path("/tmp") / f"crew-{os.getpid()}"
    lab = make(text.replace("FLAG", str(flag)))
    flag.write_text("")
    try:
        lab("stop", "n1")
        said = lab("restart", "n1", code=7)
    finally:
        flag.unlink()

    assert 'workload "n1/a" was not started' in said.err
    assert "It comes after n1/b, which is not completed." in said.err
    assert states(lab) == {"n1/a": "stopped", "n1/b": "failed"}


def test_many_stop_at_a_time(make):
    """Workloads that take their time do not wait for each other."""
    stubborn = {"command": ["sh", "-c", "trap '' TERM; while sleep 0.1; do :; done"], "grace": "1500ms"}
    workloads = {f"w{number}": stubborn for number in range(40)}
    lab = make(json.dumps({"name": "crew", "nodes": {name: {"workloads": workloads} for name in ("n1", "n2")}}))
    began = time.monotonic()
    lab("stop", "n1", "n2")

    assert time.monotonic() - began < 20
    assert set(states(lab).values()) == {"stopped"}


def test_a_name_that_is_wrong_stops_nothing(crew):
    """All names are looked up before anything is done."""
    crew("stop", "n1/db", "n1/nope", code=9)

    assert states(crew)["n1/db"] == "running"


def test_what_cannot_start(make):
    """Words say why; exit 7."""
    path = Path("/tmp") / f"crew-{os.getpid()}"
    path.write_text("#!/bin/sh\nexec sleep 1d\n")
    path.chmod(0o755)
    lab = make(json.dumps({"name": "crew", "nodes": {"n1": {"workloads": {"w": {"command": [str(path)]}}}}}))
    path.unlink()
    lab("stop", "n1/w")
    said = lab("start", "n1/w", code=7)

    assert 'cannot start workload "n1/w"' in said.err
    assert "was not found" in said.err
    assert lab("start", "n1/w", "-o", "json", code=7).json["workloads"][0]["error"] == 'cannot start workload "n1/w"'


def test_kill(make):
    """A signal, by name or number; KILL if none is named; what policy says of its end then happens."""
    lab = make(
        """\
name: crew
nodes:
  n1:
    workloads:
      hears: {command: [sh, -c, "trap 'echo usr1' USR1; trap 'exit 3' TERM; echo here; while sleep 0.05; do :; done"],
              ready: {log: here}}
      again: {command: sleep 1d, restart: {policy: always, delay: 10ms}}
"""
    )

    assert lab("kill", "n1/hears", "-s", "USR1").out == "n1/hears: sent SIGUSR1\n"
    until(lambda: "usr1\n" in lab("logs", "n1/hears").out, "it heard")

    assert lab("kill", "n1/hears", "--signal", "15").out == "n1/hears: sent SIGTERM\n"
    found = until(lambda: (row := rows(lab)["n1/hears"])["state"] == "failed" and row, "it ended")
    assert (found["exit"], found["signal"]) == (3, None)

    assert lab("kill", "n1/again").out == "n1/again: sent SIGKILL\n"
    until(lambda: rows(lab)["n1/again"]["restarts"] == 1, "it runs again")


def test_kill_what(crew):
    """No signal is exit 3; a workload that does not run is exit 7."""
    assert '"FOO" is not a signal' in crew("kill", "n1/db", "-s", "FOO", code=3).err
    assert "does not run" in crew("kill", "n2/job", code=7).err


# -- wait -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code"), [("sleep 0.5", "0"), ("sleep 0.5; exit 3", "3"), ("sleep 0.5; kill -9 $$", "137")]
)
def test_wait_for_an_exit(make, command, code):
    """It prints the code, at once if it is over already, and is a success."""
    lab = make(one(command))

    assert lab("wait", "n1/w").out == f"{code}\n"
    assert lab("wait", "n1/w", "--timeout", "0").out == f"{code}\n"


def test_wait_for_what_takes_too_long(crew):
    """Exit 124, as timeout(1)."""
    said = crew("wait", "n1/db", "--timeout", "200ms", code=124)

    assert 'workload "n1/db" has not exited within 0.2 s' in said.err
    assert said.out == ""
    assert crew("wait", "n1/db", "--timeout", "0", "-o", "json", code=124).json["workloads"][0]["state"] == "running"


def test_wait_for_what_is_ready(make):
    """From a restart on, until it is; a workload that does not say when counts as ready when it runs."""
    lab = make(one("sleep 0.5; echo here; exec sleep 1d", ready={"log": "here"}))
    lab("kill", "n1/w")
    until(lambda: states(lab) == {"n1/w": "failed"}, "it ended")
    lab("start", "n1/w")

    assert lab("wait", "n1/w", "--for", "ready", "--timeout", "1m").out == "ready\n"


def test_wait_for_what_fails_before_it_is_ready(make):
    """Exit 7, with why and the end of its log."""
    flag = Path("/tmp") / f"crew-{os.getpid()}"
    flag.write_text("")
    lab = make(one(f"test -e {flag} && echo here && exec sleep 1d; sleep 1; echo I cannot; exit 4", ready={"log": "here"}))
    flag.unlink()
    lab("restart", "n1/w")
    said = lab("wait", "n1/w", "--for", "ready", code=7)

    assert 'workload "n1/w" is failed' in said.err
    assert "exited with code 4" in said.err
    assert "| I cannot" in said.err


def test_wait_takes_one_workload(crew):
    """A node is not enough; nor is a timeout that is none."""
    assert "name one workload" in crew("wait", "n1", code=3).err
    assert "--timeout" in crew("wait", "n1/db", "--timeout", "soon", code=3).err
    assert "no workload" in crew("wait", "n1/nope", code=9).err


def test_control_c_while_waiting(crew):
    """It ends us and nothing else."""
    process = crew.start("wait", "n1/db")
    until(lambda: _listeners("n1") > 0, "it waits")
    said = interrupt(process)

    assert said.code == 130
    assert states(crew)["n1/db"] == "running"


# -- events -----------------------------------------------------------------------------------------------------------


def test_last_events(crew):
    """What happened last to each workload, in the order of time."""
    lines = [line.split("  ") for line in crew("events").out.splitlines()]

    assert sorted(line[1:3] for line in lines) == [
        *[["n1/db", "running"], ["n1/web", "ready"], ["n2/job", "done"], ["n2/talk", "running"]],
    ]
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)
    assert {row["event"] for row in crew("events", "n2", "-o", "json").json} == {"done", "running"}


def test_following_events(crew):
    """What happens, as it does, in all nodes or in some."""
    process, other = crew.start("events", "-f", "-o", "jsonl"), crew.start("events", "-f", "n2")
    until(lambda: _listeners("n1") > 0 and _listeners("n2") > 1, "both listen")
    crew("kill", "n1/db", "-s", "KILL")
    found = [json.loads(line) for line in read_lines(process, 2)]
    crew("stop", "n2/talk")

    assert [(row["node"], row["name"], row["event"]) for row in found] == [("n1", "db", "exited"), ("n1", "db", "failed")]
    assert found[0]["signal"] == 9
    assert re.fullmatch(STAMP, found[0]["time"])
    assert re.fullmatch(rf"{STAMP}  n2/talk  exited  killed by SIGTERM\n", read_lines(other, 1)[0])
    assert [interrupt(one).code for one in (process, other)] == [130, 130]


def test_events_of_a_node_that_comes_later(make):
    """It is listened to as soon as it is there; that an init has ended is an event too."""
    lab = make(one("exec sleep 1d"))
    process = lab.start("events", "-f", "-o", "jsonl")
    until(lambda: _listeners("n1") > 0, "it listens")
    edited = json.loads(one("exec sleep 1d"))
    edited["nodes"]["n2"] = {"workloads": {"late": {"command": "sleep 1d"}}}
    lab.write("topology.yml", json.dumps(edited))
    lab("up", "-q")
    until(lambda: _listeners("n2") > 0, "it listens to the new one too")
    lab("stop", "n2/late")
    os.kill(pid_of_init("n1"), signal.SIGKILL)
    found = []
    while not found or found[-1]["event"] != "init ended":
        found.append(json.loads(read_lines(process, 1)[0]))
    interrupt(process)

    assert ("n2", "late", "stopped") in [(row["node"], row["name"], row["event"]) for row in found]
    assert (found[-1]["node"], found[-1]["name"]) == ("n1", "")


# -- freeze and thaw --------------------------------------------------------------------------------------------------


def _last(nsprov):
    return int(nsprov("logs", "n2/talk", "--tail", "1").out)


def test_freeze_and_thaw(crew):
    """Nothing of a frozen node runs but its init; it goes on where it was."""
    until(lambda: "1\n" in crew("logs", "n2/talk").out, "it talks")

    assert crew("freeze", "n2").out == "n2: frozen\n"

    before = _last(crew)
    shown = crew("ps", "n2").out
    time.sleep(0.3)

    assert _last(crew) == before
    assert re.search(r"n2/talk +frozen", shown)
    assert rows(crew)["n2/talk"]["frozen"] is True
    assert re.search(r"n1/db +running", crew("ps").out)

    crew("freeze", "n2")

    assert crew("thaw", "n2").out == "n2: thawed\n"
    until(lambda: _last(crew) > before, "it goes on")


def test_a_frozen_node_is_not_stopped(crew):
    """Its processes would not hear; the words say what to do. SIGKILL they need not hear."""
    crew("freeze", "n2")
    for command in ("stop", "start", "restart"):
        said = crew(command, "n2/talk", code=7)

        assert 'node "n2" is frozen' in said.err
        assert "nsprov thaw n2" in said.err

    crew("kill", "n2/talk")
    until(lambda: states(crew)["n2/talk"] == "failed", "it is killed")
    crew("thaw", "n2")
    crew("start", "n2/talk")


def test_down_of_a_frozen_node(make):
    """It goes as any other."""
    lab = make()
    lab("freeze", "n1", "n2")
    lab("down", "-q")
    lab("audit")


def test_freeze_what(crew):
    """A node that runs nothing of ours cannot be frozen; one that is not there is exit 9."""
    assert "no control group" in crew("freeze", "idle", code=7).err
    assert "no node" in crew("freeze", "n9", "--lab", "crew", code=9).err


# -- status -----------------------------------------------------------------------------------------------------------


def test_status_tells_of_oom_kills(make):
    """How often the kernel has killed what runs in a node; in JSON too, and in `ps`."""
    hungry = one("head -c 200M /dev/zero | tail", restart={"policy": "always", "delay": "1m"})
    lab = make(json.dumps({**json.loads(hungry), "defaults": {"node": {"limits": {"memory": "20M"}}}}))
    until(lambda: rows(lab)["n1/w"]["oom_kills"] > 0, "it is killed")

    assert re.search(r'warning: node "n1" has had \d+ OOM kill', lab("status").err)
    assert lab("status", "-o", "json").json["hosts"]["localhost"]["oom_kills"]["n1"] > 0


def test_commands_have_help(nsprov):
    """Each says what it does."""
    for command in ("ps", "logs", "events", "start", "stop", "restart", "kill", "wait", "freeze", "thaw"):
        assert "Usage:" in nsprov(command, "-h").out
