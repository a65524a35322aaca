"""`nsprov ns`: list, show, compare, pin and enter namespaces, by the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pexpect
import pytest
from commandline import PATIENCE, PROGRAM, finish, until

from nsprov.kernel import libc

pytestmark = pytest.mark.root
KINDS = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]
PAIR = """\
name: pair
bridges: {br0: {}}
nodes:
  "r[1:2]": {interfaces: {eth0: {bridge: br0, address: "10.7.0.{{ index + 1 }}/24"}}}
"""


@pytest.fixture(name="pair")
def _pair(nsprov):
    nsprov.write("topology.yml", PAIR)
    nsprov("up", "-q")
    yield nsprov
    nsprov("down", "-q")


@pytest.fixture(name="isolated")
def _isolated():
    """Give a process that is alone in eight namespaces of its own, with host name `inner` and shifted clocks."""
    for cpu in sorted(os.sched_getaffinity(0)):
        process, found = _start(cpu)
        # Linux 6.18 numbers namespaces by CPU, and pins of mount namespaces only what has a higher number than ours.
        if _number(found) >= _number(os.getpid()):
            break
        _end(process, found)
    yield found
    _end(process, found)


def _start(cpu):
    words = "hostname inner; echo ready; exec sleep 1000"
    options = ["-mnuipfC", "--user", "--map-root-user", "--time", "--boottime", "500", "--kill-child", "--mount-proc"]
    argv = ["taskset", "-c", str(cpu), "unshare", *options, "sh", "-c", words]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        return process, int(file.read())


def _number(pid):
    with open(f"/proc/{pid}/ns/mnt", "rb") as file:
        return libc.namespace_id(file.fileno()) or 0


def _end(process, found):
    process.kill()
    process.communicate()
    until(lambda: not os.path.exists(f"/proc/{found}"), "it is gone")


def inodes(pid):
    return {kind: os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in KINDS}


# -- ls ---------------------------------------------------------------------------------------------------------------


def test_ls_in_text(pair, isolated):
    """A row for each namespace, with who is in it, whose it is and what pins it."""
    rows = [line.split() for line in pair("ns", "ls").out.splitlines()]
    assert rows[0] == ["NS", "TYPE", "NPROCS", "PID", "USER", "COMMAND", "LAB/NODE", "PINS"]
    assert [str(os.stat("/run/netns/pair-r1").st_ino), "net", "0", "-", "-", "-", "pair/r1", "/run/netns/pair-r1"] in rows
    assert [str(inodes(isolated)["pid"]), "pid", "1", str(isolated), "root", "sleep", "1000", "-"] in rows


def test_ls_for_programs(pair, isolated, run_command):
    """The same as a document and as lines; and with lsns, of namespaces that somebody is in."""
    document = pair("ns", "ls", "-o", "json").json
    lines = pair("ns", "ls", "-o", "jsonl").lines
    listed = json.loads(run_command("lsns", "-J", "-o", "NS"))["namespaces"]

    assert document["host"] == "localhost"
    assert {row["ns"] for row in document["namespaces"]} == {row["ns"] for row in lines if row["event"] == "namespace"}
    assert {row["ns"] for row in document["namespaces"] if row["nprocs"]} == {int(row["ns"]) for row in listed}
    assert lines[-1] == {"event": "end", "host": "localhost", "unreadable": 0}


def test_ls_of_a_type_and_a_lab(pair):
    """--type and --lab choose."""
    rows = pair("ns", "ls", "--type", "net", "--type", "uts", "--lab", "pair", "-o", "json").json["namespaces"]

    assert sorted((row["type"], row["node"]) for row in rows) == [("net", "r1"), ("net", "r2"), ("uts", "r1"), ("uts", "r2")]


def test_ls_of_what_is_deleted(pair, isolated):
    """What has lost its name is listed with what keeps it."""
    pair("ns", "pin", isolated, "kept", "--type", "uts")
    path = "/run/nsprov/.pins/kept/uts"
    with open(path, "rb") as file:
        holder = subprocess.Popen(["sleep", "1000"], stdin=file)
    os.kill(isolated, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{isolated}"), "it is gone")
    said = pair("ns", "unpin", "kept")
    rows = pair("ns", "ls", "--deleted").out.splitlines()[1:]
    holder.kill()
    holder.wait()

    assert f"process {holder.pid} holds it open as descriptor 0 (sleep)" in said.out
    assert any(f"deleted; process {holder.pid} holds it open as descriptor 0 (sleep)" in row for row in rows)
    assert pair("ns", "ls", "--deleted").out.splitlines()[1:] == []


def test_ls_says_what_is_broken(pair):
    """An empty file where a node's pin should be is told with the node it belongs to."""
    path = "/run/nsprov/pair/ns/r1/uts"
    libc.umount(path)
    said = pair("ns", "ls")
    found = pair("ns", "ls", "-o", "json").json["broken"]

    assert f"broken: {path}, the uts pin of pair/r1: nothing is pinned there\n" in said.out
    assert found == [{"path": path, "kind": "uts", "lab": "pair", "node": "r1", "why": "nothing is pinned there"}]


def test_what_comes_from_the_system_does_not_steer_the_terminal(nsprov):
    """A process may give itself any command line."""
    name = "a\x1b[31mb\nc"
    process = subprocess.Popen(["unshare", "--uts", "bash", "-c", 'exec -a "$0" sleep 1000', name])
    try:
        until(lambda: _command_line(process.pid).startswith(name), "it has its name")
        said = nsprov("ns", "ls", "--type", "uts").out
        rows = nsprov("ns", "ls", "--type", "uts", "-o", "json").json["namespaces"]
    finally:
        process.kill()
        process.wait()

    assert "\x1b" not in said
    assert len(said.splitlines()) == 3
    assert f"{name} 1000" in [row["command"] for row in rows]


def _command_line(pid):
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
        return file.read()


# -- show and same ----------------------------------------------------------------------------------------------------


def test_show_a_process(nsprov, isolated):
    """All eight, with numbers, owners, who is in them, and what they are like inside."""
    rows = {row["type"]: row for row in nsprov("ns", "show", isolated, "-o", "json").json["namespaces"]}
    said = nsprov("ns", "show", isolated).out

    assert {kind: row["ns"] for kind, row in rows.items()} == inodes(isolated)
    assert {row["owner"] for kind, row in rows.items() if kind != "user"} == {rows["user"]["ns"]}
    assert rows["user"]["owner"] == rows["user"]["parent"] == inodes("self")["user"]
    assert rows["uts"]["hostname"] == "inner"
    assert rows["user"]["uid_map"] == rows["user"]["gid_map"] == [[0, 0, 1]]
    assert rows["time"]["offsets"] == {"monotonic": 0, "boottime": 500}
    assert [one["pid"] for one in rows["pid"]["processes"]] == [isolated]
    assert {one["command"] for one in rows["pid"]["processes"]} == {"sleep 1000"}
    for words in ("hostname: inner", "boottime +500 s", "0 is 0 outside, 1 in all", f"process {isolated}  root  sleep 1000"):
        assert words in said


def test_show_a_node_a_path_and_lab_node(pair):
    """A node has its pins and shares the rest with the host; a path is one namespace, a directory several."""
    by_name = pair("ns", "show", "r1", "-o", "json").json
    rows = {row["type"]: row for row in by_name["namespaces"]}
    by_path = pair("ns", "show", "/run/netns/pair-r1", "-o", "json").json["namespaces"]
    directory = pair("ns", "show", "/run/nsprov/pair/ns/r1", "-o", "json").json["namespaces"]

    assert by_name["subject"] == {"name": "pair/r1", "what": "node", "lab": "pair", "node": "r1"}
    assert [kind for kind in KINDS if not rows[kind]["shared"]] == ["mnt", "net", "uts"]
    assert rows["ipc"]["own"]
    assert (rows["net"]["lab"], rows["net"]["node"], rows["net"]["pins"]) == ("pair", "r1", ["/run/netns/pair-r1"])
    assert rows["uts"]["hostname"] == "r1"
    assert [(row["type"], row["ns"]) for row in by_path] == [("net", rows["net"]["ns"])]
    assert [row["type"] for row in directory] == ["mnt", "uts"]
    assert pair("ns", "show", "pair/r1", "-o", "json").json["subject"] == by_name["subject"]
    assert pair("ns", "show", "--lab", "pair", "r1", "-o", "json").json["subject"] == by_name["subject"]


def test_same(pair, isolated):
    """Exit 7 if anything differs, 0 if nothing does; each type is explained."""
    nodes = pair("ns", "same", "r1", "r2", code=7)
    found = pair("ns", "same", "r1", "r2", "-o", "json", code=7).json
    same = {row["type"]: row["same"] for row in found["types"]}

    assert same == {kind: kind not in ("mnt", "net", "uts") for kind in KINDS}
    assert all(row["meaning"] for row in found["types"])
    assert nodes.out.splitlines()[0].split() == ["TYPE", "SAME", "pair/r1", "pair/r2", "WHICH", "MEANS"]
    assert pair("ns", "same", "r1", "r2", "--type", "ipc", "--type", "user").code == 0
    assert pair("ns", "same", "r1", "/run/netns/pair-r1").code == 0
    assert pair("ns", "same", os.getpid(), os.getpid()).code == 0
    assert f"{os.getpid()} sees the processes of {isolated}" in pair("ns", "same", os.getpid(), isolated, code=7).out


REFUSED = [
    (["show", "nothing-of-the-kind"], 9, "is no node, pin or network namespace"),
    (["show", "pair/r9"], 9, "is no node"),
    (["show", "4194304"], 9, "there is no process 4194304"),
    (["show", "/etc/hostname"], 3, '"/etc/hostname" is no namespace'),
    (["show", "/dev/null"], 3, '"/dev/null" is no namespace'),
    (["show", "/etc"], 3, '"/etc" is no namespace'),
    (["show", "/no/such/file"], 9, "No such file"),
    (["show", ""], 9, "is no node"),
    (["show", "/proc/self/ns/net", "--type", "nothing"], 2, "nothing"),
    (["same", "/proc/self/ns/net", "/proc/self/ns/uts"], 3, "no type in common"),
    (["pin", "0", "x"], 2, "0"),
    (["pin", "self", "x"], 2, "self"),
    (["pin", "1", "../x"], 3, "no name for a pin"),
    (["pin", "1", "a b"], 3, "no name for a pin"),
    (["pin", "4194304", "x"], 9, "there is no process"),
    (["pin", str(os.getpid()), "x"], 3, "is in the namespaces of this host"),
    (["unpin", "x"], 9, "was not pinned"),
    (["enter", "nothing-of-the-kind", "--", "true"], 9, "is no node"),
    (["enter", "/proc/self/ns/net", "--type", "uts", "--", "true"], 3, 'no "uts" namespace'),
]


@pytest.mark.parametrize(("line", "code", "words"), REFUSED, ids=[" ".join(line) for line, _, _ in REFUSED])
def test_what_is_refused(nsprov, line, code, words):
    """With the exit code that says what kind of problem it is, and with words."""
    assert words in nsprov("ns", *line, code=code).err


def test_a_name_that_means_two_things(pair, isolated):
    """A pin and a node of the same name are told apart by saying more."""
    pair("ns", "pin", isolated, "r1", "--type", "uts")
    said = pair("ns", "show", "r1", code=3, cwd="/")
    assert "say which: pair/r1, /run/nsprov/.pins/r1" in said.err
    assert pair("ns", "show", "/run/nsprov/.pins/r1", "-o", "json").json["namespaces"][0]["hostname"] == "inner"
    assert pair("ns", "show", "pair/r1", "--type", "uts", "-o", "json").json["namespaces"][0]["hostname"] == "r1"
    pair("ns", "unpin", "r1")


def test_a_pin_of_a_lab_is_not_ours_to_unpin(pair):
    """Only what `ns pin` has made is given up."""
    assert "was not pinned" in pair("ns", "unpin", "pair-r1", code=9).err
    assert "exists" in pair("ns", "pin", os.getpid(), "pair-r1", "--type", "net", code=1).err
    assert os.path.exists("/run/netns/pair-r1")


# -- pin and unpin ----------------------------------------------------------------------------------------------------


def test_pin_and_unpin(nsprov, isolated):
    """What is pinned outlives its process, and is given up whole or by type; who holds it is told."""
    numbers = inodes(isolated)
    made = nsprov("ns", "pin", isolated, "kept", "-o", "json").json["pins"]
    assert {kind: os.stat(path).st_ino for kind, path in made.items()} == numbers
    again = nsprov("ns", "pin", isolated, "kept", code=1)
    one = nsprov("ns", "unpin", "kept", "--type", "ipc")
    os.kill(isolated, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{isolated}"), "it is gone")
    rows = nsprov("ns", "show", "kept", "-o", "json").json["namespaces"]
    rest = nsprov("ns", "unpin", "kept")

    assert sorted(made) == KINDS
    assert 'error: "kept" has a pin of the type "cgroup" already' in again.err
    assert f"ipc:[{numbers['ipc']}] lives on: process" in one.out
    assert f"process {isolated} (sleep) is in it" in one.out
    assert {row["type"]: row["ns"] for row in rows} == {kind: numbers[kind] for kind in KINDS if kind != "ipc"}
    assert rest.out.splitlines()[0] == "unpinned kept: cgroup, mnt, net, pid, time, user, uts"
    assert not os.path.exists("/run/nsprov")


def test_a_pin_is_a_name_of_ip_netns(nsprov, isolated, run_command):
    """`ip netns exec` works with it, and `ip netns delete` is as good as `ns unpin`."""
    nsprov("ns", "pin", isolated, "kept", "--type", "net")
    assert run_command("ip", "netns", "identify", isolated) == "kept"
    run_command("ip", "netns", "delete", "kept")
    nsprov("ns", "unpin", "kept")

    assert not os.path.exists("/run/netns")


# -- enter ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "command"), [(0, ["true"]), (7, ["sh", "-c", "exit 7"]), (126, ["/etc/passwd"]), (127, ["no-such-command"])]
)
def test_exit_codes(pair, isolated, code, command):
    """The command's own, as the node's and as the process's, of which a child is in the namespace of processes."""
    for subject in ("r1", isolated):
        assert pair("ns", "enter", subject, "--", *command, code=code).code == code


def test_enter_a_process(nsprov, isolated):
    """All eight are entered: the command sees what the process sees, as its root."""
    said = nsprov("ns", "enter", isolated, "--", "sh", "-c", "hostname; id -u; ip -o link | wc -l; ps -A -o comm= | sort")
    assert said.out.split() == ["inner", "0", "1", "ps", "sh", "sleep", "sort"]


def test_enter_a_pin(nsprov, isolated):
    """What is pinned is entered, and of it what --type says; what an option of the command is stays one."""
    nsprov("ns", "pin", isolated, "kept", "--type", "uts", "--type", "user")
    assert nsprov("ns", "enter", "kept", "hostname").out == "inner\n"
    said = nsprov("ns", "enter", "kept", "--type", "user", "--", "sh", "-c", 'hostname; echo "$@"', "x", "--type", "net")
    assert said.out.split() != ["inner", "--type", "net"]
    assert said.out.split()[1:] == ["--type", "net"]
    nsprov("ns", "unpin", "kept")


def test_enter_what_is_dead(nsprov, isolated):
    """A pid namespace whose first process has ended takes no other: that is said in words."""
    nsprov("ns", "pin", isolated, "kept")
    os.kill(isolated, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{isolated}"), "it is gone")
    said = nsprov("ns", "enter", "kept", "--", "true", code=5)
    assert nsprov("ns", "enter", "kept", "--type", "uts", "--", "hostname").out == "inner\n"
    nsprov("ns", "unpin", "kept")

    assert "init has died" in said.err


def test_a_signal_ends_the_command_too(nsprov, isolated):
    """What waits for a command in a pid namespace passes the end on to it."""
    process = nsprov.start("ns", "enter", isolated, "--", "sh", "-c", "echo ready; exec sleep 99")
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)

    assert finish(process).code == 128 + signal.SIGTERM
    rows = nsprov("ns", "show", isolated, "--type", "pid", "-o", "json").json["namespaces"]
    assert [one["pid"] for one in rows[0]["processes"]] == [isolated]


def test_a_shell_on_a_terminal(nsprov, isolated):
    """Without a command it is a shell, on a terminal where we are on one."""
    environment = {**nsprov.environment, "SHELL": "/bin/sh", "PS1": "# "}
    argv = [*PROGRAM[1:], "ns", "enter", str(isolated), "--type", "uts"]
    child = pexpect.spawn(PROGRAM[0], argv, cwd=str(nsprov.folder), env=environment, timeout=PATIENCE)
    child.expect("[#$] ")
    child.sendline("hostname; tty; exit 5")
    child.expect("inner\r\n/dev/")
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 5


@pytest.mark.parametrize("command", ["ls", "show", "same", "pin", "unpin", "enter"])
def test_help(nsprov, command):
    """Each command says what it is for."""
    assert "Usage: " in nsprov("ns", command, "--help").out
