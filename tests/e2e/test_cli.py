"""The commands on this host, as root: what they print where, and every exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading

import jsonschema
import pytest
import yaml
from commandline import PROGRAM, ROOT, finish, until

pytestmark = pytest.mark.root

COMMANDS = ("up", "plan", "diff", "down", "status", "audit", "ls", "validate", "render", "schema", "exec", "shell")
TOPOLOGIES = sorted((ROOT / "topologies").glob("*.yml"))
PAIR = """\
name: pair
nodes:
  n1: {dns: {nameservers: [192.0.2.53]}}
  n2: {}
links:
  - {endpoints: [n1:eth0, n2:eth0], addresses: [10.71.0.1/24, 10.71.0.2/24]}
"""


@pytest.fixture(name="pair")
def _pair(nsprov):
    """Give the command line in a folder with a small lab's file."""
    nsprov.write("topology.yml", PAIR)
    return nsprov


@pytest.fixture(name="lab")
def _lab(pair):
    """Bring the small lab up, and take it down in the end."""
    pair("up")
    yield pair
    pair("down", "--lab", "pair")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(nsprov, command):
    """Every command says what it does and which options it has, with both spellings."""
    said = nsprov(command, "--help")

    assert "Usage:" in said.out
    assert nsprov(command, "-h").out == said.out
    assert said.err == ""


def test_help_of_all(nsprov):
    """Without a command, and with --help, all commands are listed."""
    assert all(command in nsprov("--help").out for command in COMMANDS)


def test_version(nsprov):
    """--version is a line on stdout."""
    assert re.fullmatch(r"nsprov \d+\.\d+\S*\n", nsprov("--version").out)


# -- exit codes -------------------------------------------------------------------------------------------------------


def test_exit_0_when_done_and_when_there_is_nothing_to_do(pair):
    """`up`, `up` again, `plan`, `status`, `down`, `down` again and `audit` are all successes."""
    for command in ("up", "up", "plan", "status", "down", "down", "audit"):
        pair(command)


@pytest.fixture(name="foreign")
def _foreign(run_command):
    """Make a network namespace of somebody else, with a link in it, and remove it in the end."""
    run_command("ip", "netns", "add", "pair-n2")
    run_command("ip", "-n", "pair-n2", "link", "add", "theirs", "type", "bridge")
    yield
    run_command("ip", "netns", "del", "pair-n2")
    run_command("umount", "/run/netns")
    os.rmdir("/run/netns")


@pytest.mark.usefixtures("foreign")
def test_exit_1_when_something_is_in_the_way(pair, run_command):
    """A network namespace of somebody else is a conflict; it and its contents stay."""
    said = pair("up", code=1)

    assert "theirs" in run_command("ip", "-n", "pair-n2", "-o", "link", "show", "theirs")
    assert "--> localhost/netns:n2" in said.err
    assert "help: change that on the host" in said.err


@pytest.mark.parametrize("line", ["up --nope", "nope", "exec", "up a b", "plan -o xml", "up -f 0"])
def test_exit_2_when_the_usage_is_wrong(nsprov, line):
    """An unknown option, command or value, and an argument too few or too many."""
    assert "Usage:" in nsprov(*line.split(), code=2).err


WRONG = {
    "nodes: [a, b]\n": r"wrong.yml:1:\d+",
    "nodes:\n  a: {interfacs: {}}\n": r"wrong.yml:2:7",
    "nodes:\n  a: {routes: [{to: default, via: 10.0.0.1}]}\n": r"wrong.yml:2:\d+",
    "nodes:\n  a: {}\n  a: {}\n": r"wrong.yml:3:3",
    "": r"wrong.yml:1:1",
}


@pytest.mark.parametrize("text", WRONG, ids=["list", "key", "gateway", "twice", "empty"])
@pytest.mark.parametrize("command", ["up", "validate"])
def test_exit_3_when_the_file_is_wrong(nsprov, command, text):
    """Every message has the place, with file, line and column, and a way out; nothing is touched."""
    nsprov.write("wrong.yml", text)
    said = nsprov(command, "wrong.yml", code=3)

    assert re.search(rf"^  --> {WRONG[text]}$", said.err, re.MULTILINE)
    assert "  help: " in said.err
    assert said.out == ""


def test_exit_3_when_there_is_no_file(nsprov):
    """A file that is named and not there, and none named and none here."""
    assert "--> nofile.yml" in nsprov("up", "nofile.yml", code=3).err
    assert "help: name a topology file, or a lab with --lab" in nsprov("up", code=3).err


@pytest.mark.parametrize("damage", ['{"nsprov_plan": 1}', '{"nsprov_plan": 1, "lab": "x", "hosts": []}', '{"nsprov_plan": 1'])
def test_exit_3_when_a_saved_plan_is_damaged(nsprov, damage):
    """A plan that somebody has cut off or edited is wrong input."""
    nsprov.write("saved.json", damage)
    said = nsprov("up", "saved.json", code=3)

    assert "saved.json" in said.err
    assert "  help: " in said.err


def test_exit_4_when_a_host_does_not_answer(pair):
    """No sshd at the address: exit 4 and what to check."""
    pair.write("topology.yml", "name: pair\nnodes: {n1: {host: away}}\n")
    pair.write("inventory.yml", "all: {hosts: {away: {host: 127.0.0.1, port: 2222, user: nobody}}}\n")
    said = pair("up", "-i", "inventory.yml", code=4)

    assert "--> away" in said.err
    assert "  help: check the address and the port" in said.err


def test_exit_5_when_the_kernel_refuses(pair):
    """What was made is put back."""
    pair.write("topology.yml", PAIR.replace("n2: {}", "n2: {sysctls: {net.ipv4.ip_default_ttl: 100000}}"))
    said = pair("up", code=5)
    pair("audit")

    assert "--> localhost/sysctl:n2" in said.err
    assert "lab pair is as it was before this run" in said.err


def test_exit_7_when_a_saved_plan_is_stale(lab, run_command):
    """A host that has moved since `plan --out` refuses the plan."""
    lab.write("topology.yml", PAIR.replace("10.71.0.2/24", "10.71.0.22/24"))
    lab("plan", "--out", "saved.json")
    run_command("ip", "-n", "pair-n1", "addr", "del", "10.71.0.1/24", "dev", "eth0")
    said = lab("up", "saved.json", code=7)

    assert "the host has changed since the plan was saved" in said.err
    assert "help: make a new plan" in said.err


def test_exit_7_when_something_is_left(lab):
    """`audit` of a lab that is up."""
    assert 'network namespace "pair-n1" is there' in lab("audit", code=7).out


def test_exit_7_when_a_process_keeps_a_node(pair):
    """`down` removes the node and warns, with the PID, of the process that lives on in its network namespace."""
    pair("up")
    sleeper = pair.start("exec", "n1", "--", "sleep", "1000")
    until(lambda: "sleep" in _command(sleeper.pid), "the command runs")
    said = pair("down", code=7)
    sleeper.kill()
    sleeper.communicate()
    pair("audit")

    assert "warning: a network namespace is kept alive" in said.err
    assert f"process {sleeper.pid} (sleep) is in it" in said.err


def _command(pid):
    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read()


def test_exit_8_when_another_run_holds_the_lab(pair):
    """The message says who, and since when; the other run ends well."""
    first = pair.start("up")
    until(lambda: os.path.exists("/run/nsprov/pair.lock") and os.path.getsize("/run/nsprov/pair.lock"), "the lock is held")
    first.send_signal(signal.SIGSTOP)
    said = pair("up", code=8, env={"USER": "bob"})
    first.send_signal(signal.SIGCONT)
    done = finish(first)
    pair("down")

    assert done.code == 0
    assert re.search(r"Held by alice@\S+, pid \d+ on \S+, since \d{4}-", said.err)
    assert "  help: wait for it to end" in said.err


@pytest.mark.parametrize("line", ["exec zz -- true", "status --lab nothere", "render zz", "shell zz", "exec --lab zz n1 true"])
def test_exit_9_when_nothing_matches(lab, line):
    """A node, a lab or a host that is not there, and which there are."""
    said = lab(*line.split(), code=9)

    assert "  help: " in said.err


def test_exit_9_when_there_is_no_such_host(pair):
    """A node on a host that no inventory has."""
    pair.write("topology.yml", "name: pair\nnodes: {n1: {host: far}}\n")

    said = pair("up", code=9).err
    assert 'no host is meant by "far"' in said
    assert "topology.yml:2:20" in said


def test_exit_10_when_changes_are_pending(lab):
    """`diff` always, `plan` and `status` when asked to."""
    lab("status", "--detailed-exitcode")
    lab("diff")
    lab.write("topology.yml", PAIR.replace("n2: {}", "n2: {hostname: other}"))
    lab("diff", code=10)
    lab("plan", "--detailed-exitcode", code=10)
    lab("plan")
    lab("status", "--detailed-exitcode")


# -- output -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["plan", "up", "diff", "status", "audit", "ls", "validate", "render", "down"])
def test_json_is_one_document_on_stdout(lab, command):
    """With `-o json` and with NSPROV_OUTPUT stdout is a JSON document and nothing else; progress is not on it."""
    code = 7 if command == "audit" else 0
    said = lab(command, "-o", "json", code=code)
    again = lab(command, code=None, env={"NSPROV_OUTPUT": "json"})

    assert type(said.json) is type(again.json)


def test_jsonl_is_one_document_a_line(pair):
    """`-o jsonl` tells steps as they begin, then changes, then the end."""
    rows = pair("up", "-o", "jsonl").lines
    pair("down")
    events = [row["event"] for row in rows]

    assert sorted(set(events), key=events.index) == ["step", "change", "end"]
    assert tuple(rows[0][key] for key in ("host", "step", "done")) == ("localhost", "create netns", 0)
    assert rows[-1]["ok"] is True


def test_an_error_in_json(pair):
    """With `-o json` a failure is in the document too, with its diagnostics."""
    pair.write("topology.yml", PAIR.replace("n2: {}", "n2: {sysctls: {net.ipv4.ip_default_ttl: 100000}}"))
    said = pair("up", "-o", "json", code=5)
    found = said.json["hosts"]["localhost"]

    assert found["ok"] is False
    assert found["error"] == "StepFailed"
    assert found["diagnostics"][0]["where"].startswith("localhost/sysctl:n2")


def test_results_on_stdout_progress_on_stderr(pair):
    """What became of the lab is on stdout, the phases on the way are on stderr, with -v the steps; -q leaves those out."""
    loud = pair("up")
    pair("down")
    quiet = pair("up", "-q")
    pair("down")

    assert "localhost: apply ok" in loud.err
    assert "localhost: apply" not in loud.out
    assert loud.out == quiet.out
    assert quiet.err == ""


def test_timing(pair):
    """--timing says on stderr where the milliseconds went."""
    said = pair("plan", "--timing")

    assert re.search(r"^timing: \d+ ms in all$", said.err, re.MULTILINE)
    assert re.search(r"^  localhost +observe +\d+\.\d ms$", said.err, re.MULTILINE)


def test_colour_only_where_it_is_wanted(pair):
    """Neither a pipe nor NO_COLOR nor TERM=dumb gets escape sequences; `--color always` does."""
    always = [*PROGRAM, "--color", "always", "plan"]
    coloured = subprocess.run(always, capture_output=True, text=True, check=True, cwd=pair.folder, env=pair.environment)

    assert "\x1b[32m" in coloured.stdout
    assert "\x1b" not in pair("plan", env={"TERM": "xterm"}).out
    assert "\x1b" not in pair("plan", env={"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}).out
    assert "\x1b[32m" in pair("plan", env={"TERM": "xterm", "FORCE_COLOR": "1"}).out


def test_a_reader_that_goes_away(lab):
    """`nsprov render | head -1` ends without a complaint."""
    reader, writer = os.pipe()
    os.close(reader)
    process = lab.start("plan", "-v", stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=60)

    assert process.returncode in (0, 141)
    assert b"Traceback" not in err
    assert b"Exception" not in err


# -- finding files and labs -------------------------------------------------------------------------------------------


def test_the_topology_of_a_parent(pair):
    """Without a name, `topology.yml` here or in the nearest parent is meant."""
    below = pair.folder / "a/b"
    below.mkdir(parents=True)
    pair("up", cwd=below)
    said = pair("diff", cwd=below)
    pair("down", cwd=below)

    assert "lab pair: nothing to do" in said.out


def test_down_when_the_file_is_gone(pair):
    """`down --lab NAME` needs no file, and neither does `down NAME`."""
    for argv in (("--lab", "pair"), ("pair",)):
        pair.write("topology.yml", PAIR)
        pair("up")
        (pair.folder / "topology.yml").unlink()
        pair("down", *argv)
        pair("audit", "--lab", "pair")


def test_down_of_what_is_not_there(nsprov):
    """Somebody else has taken it down already: that is success."""
    assert "nothing of it is there" in nsprov("down", "--lab", "nothere").out


def test_up_of_an_empty_topology(nsprov):
    """A lab without nodes is valid, and leaves nothing."""
    nsprov.write("topology.yml", "name: empty\nnodes: {}\n")
    nsprov("up")
    nsprov("plan", "--detailed-exitcode")
    nsprov("audit")


def test_up_of_what_has_become_empty(lab):
    """When the file's last node goes, `up` removes them all."""
    lab.write("topology.yml", "name: pair\nnodes: {}\n")
    lab("up")
    lab("audit")


def test_a_saved_plan(pair):
    """`up PLAN` does what was planned, and is refused the second time, for then it is done."""
    pair("plan", "--out", "saved.json")
    mode = os.stat(pair.folder / "saved.json").st_mode & 0o777
    pair("up", "saved.json")
    pair("diff")
    pair("up", "saved.json", code=7)
    pair("down")

    assert mode == 0o600


# -- other commands ---------------------------------------------------------------------------------------------------


def test_render(pair):
    """The files that nodes get, all or one node's; they are what a node sees."""
    rows = pair("render", "-o", "json").json
    pair("up")
    seen = pair("exec", "n1", "--", "cat", "/etc/resolv.conf").out
    pair("down")

    resolv = next(row for row in rows if (row["owner"], row["path"]) == ("n1", "/etc/resolv.conf"))
    assert resolv["content"] == seen
    assert "nameserver 192.0.2.53" in seen
    assert "# n1:/etc/hostname" in pair("render", "n1").out
    assert "# n2:/etc/hostname" not in pair("render", "n1").out


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_the_schema_accepts_what_is_shipped(nsprov, path):
    """`schema` is a JSON Schema, and every shipped topology is valid by it and by `validate`."""
    schema = nsprov("schema").json
    jsonschema.validators.validator_for(schema).check_schema(schema)
    jsonschema.validate(json.loads(json.dumps(yaml.safe_load(path.read_text()))), schema)

    assert "is valid" in nsprov("validate", path).out


def test_the_schema_refuses_an_unknown_key(nsprov):
    """Editors see a misspelt key."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"nodes": {"a": {"interfacs": {}}}}, nsprov("schema").json)


def test_ls(lab):
    """The lab with its number of nodes, as text and as JSON."""
    rows = lab("ls", "-o", "json").json

    assert [(row["lab"], row["host"], row["nodes"]) for row in rows] == [("pair", "localhost", 2)]
    assert re.search(r"^pair +localhost +2 +\d{4}-", lab("ls").out, re.MULTILINE)


def test_exec_and_shell(lab):
    """Exit codes, stdin and the node's view, without an agent."""
    assert lab("exec", "n1", "--", "hostname").out == "n1\n"
    lab("exec", "n1", "--", "sh", "-c", "exit 7", code=7)
    lab("exec", "n1", "--", "/etc/passwd", code=126)
    lab("exec", "n1", "--", "no-such-command", code=127)
    assert lab("exec", "n1", "--", "cat", input=b"\x00\xc3\xbf").out == "\x00\xff"
    assert lab("shell", "n2", input=b"hostname; exit 4\n", code=4, env={"SHELL": "/bin/sh"}).out == "n2\n"


def test_two_labs_with_the_same_node_names(nsprov, run_command):
    """Side by side they do not disturb each other, and `down` of one leaves the other as it was."""
    blue, green = ROOT / "topologies/blue.yml", ROOT / "topologies/green.yml"
    nsprov("up", blue)
    nsprov("up", green)
    nsprov("exec", "web1", "--", "true", code=3)
    run_command("ip", "netns", "exec", "blue-web1", "ping", "-c1", "-W2", "10.50.1.20")
    nsprov("down", blue)
    nsprov("audit", blue)
    nsprov("diff", green)
    run_command("ip", "netns", "exec", "green-web1", "ping", "-c1", "-W2", "10.50.2.20")
    nsprov("down", green)
    nsprov("audit", green)


# -- a way back that is not there -------------------------------------------------------------------------------------


class Usurper(threading.Thread):
    """Takes a namespace's name in /run/netns as soon as it is free."""

    def __init__(self, name):
        """Store the path."""
        super().__init__(daemon=True)
        self.path = f"/run/netns/{name}"

    def run(self):
        """Wait for the name to be free, and bind the sandbox's own network namespace there."""
        until(lambda: not os.path.lexists(self.path), "the name is free", pause=0)
        with open(self.path, "x", encoding="utf-8"):
            pass
        subprocess.run(["mount", "--bind", "/proc/self/ns/net", self.path], check=True)

    def leave(self):
        """Give the name back."""
        self.join()
        subprocess.run(["umount", self.path], check=True)
        os.unlink(self.path)


@pytest.fixture(name="usurper")
def _usurper(nsprov):
    """Bring a lab up whose one node's name will be taken as soon as the node is removed."""
    nsprov.write("topology.yml", "name: stuck\nnodes: {old: {}}\n")
    nsprov("up")
    found = Usurper("stuck-old")
    found.start()
    yield found
    found.leave()
    nsprov("down", "--lab", "stuck")
    nsprov("audit", "--lab", "stuck")


@pytest.mark.usefixtures("usurper")
def test_exit_6_when_there_is_no_way_back(nsprov):
    """A step fails, and meanwhile somebody took the name of a node that was removed: what is not back is listed."""
    refused = '  "n[1:60]": {}\n  zz: {sysctls: {net.ipv4.ip_default_ttl: 100000}}\n'
    nsprov.write("topology.yml", f"name: stuck\nnodes:\n{refused}")
    said = nsprov("up", code=6)

    assert "stuck-old" in said.err
    assert "as it was before this run" not in said.err
