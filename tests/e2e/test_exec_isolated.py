"""`exec` in nodes with processes, files and ids of their own: what comes in with it, and what comes out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from commandline import PATIENCE, PROGRAM, CommandLine, finish, until
from furnished import Furnished, alive, gone

from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root

PAUSED = """
import os, signal
os.setsid = os.execve = lambda *_: signal.pause()
from nsprov.agent import enter
from nsprov.transport.terminal import Screen
enter.run("t", {"node": "n1", "argv": ["paused"]}, Screen(), terminal=False)
"""
"""A command that is about to be, and stays so, at the first thing that it does in the node."""


@pytest.fixture(name="nsprov")
def _nsprov(tmp_path):
    """Run commands on the lab, whose name is enough."""
    found = CommandLine(tmp_path, "--lab", "t")
    yield found
    found.end()


@pytest.fixture(name="node", params=[False, True], ids=["pid", "user"])
def _node(request, labs, forked, nsprov):
    """Bring a lab up and furnish its node."""
    labs.up("t", *lab())
    found = Furnished("t", "n1", "t-n1", forked, user=request.param)
    yield found
    nsprov.end()
    found.end()
    labs.down("t")


def lab():
    """Give a lab of one node."""
    rows = [
        ["netns", {"node": "n1", "name": "t-n1", "etc": []}],
        ["utsns", {"node": "n1", "hostname": "n1"}],
        ["mntns", {"node": "n1", "binds": []}],
    ]
    return load_state(rows, SCHEMAS).values()


def test_it_is_in_every_namespace(nsprov, node):
    """The command's namespaces are those of the node's own processes, all of them."""
    said = nsprov("exec", "n1", "--", "sh", "-c", "for ns in /proc/self/ns/*; do readlink $ns; done; cat /etc/whose")
    names = [f"/proc/{node.init}/ns/{name}" for name in sorted(os.listdir(f"/proc/{node.init}/ns"))]

    assert [*map(os.readlink, names), "the node"] == said.out.split("\n")[:-1]


CODES = [
    (0, ["true"]),
    (7, ["sh", "-c", "exit 7"]),
    (126, ["/etc/passwd"]),
    (127, ["no-such-command"]),
    (137, ["sh", "-c", "kill -9 $$"]),
    (143, ["sh", "-c", "kill $$"]),
]


def test_exit_codes(nsprov, node):
    """The command's own; as of a shell if there was none, or it died of a signal."""
    for code, argv in CODES:
        nsprov("exec", "n1", "--", *argv, code=code)


def test_ten_megabytes_both_ways(nsprov, node):
    """Stdin and stdout are the command's, binary clean."""
    data = os.urandom(10_000_000)
    process = nsprov.start("exec", "n1", "--", "cat", stdin=subprocess.PIPE)
    out, err = process.communicate(data, timeout=PATIENCE)

    assert (process.returncode, err) == (0, b"")
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(out).hexdigest()


# -- nothing comes in with it -----------------------------------------------------------------------------------------


def test_only_three_descriptors(nsprov, node):
    """What the caller has open is not handed on, even if he does not mind."""
    ours, theirs = socket.socketpair()
    root = os.open("/", os.O_RDONLY)
    fds = (root, theirs.fileno())
    process = nsprov.start("exec", "n1", "--", "ls", "-l", "/proc/self/fd", pass_fds=fds)
    said = finish(process)
    os.close(root)
    ours.close()
    theirs.close()
    found = re.findall(r"(\d+) -> (\S+)", said.out)

    assert [fd for fd, _ in found] == ["0", "1", "2", "3"]
    assert re.fullmatch(r"/proc/\d+/fd", found[3][1])  # that of ls itself


def test_who_is_inside_finds_nothing_open(nsprov, node):
    """While a command is being made, other processes of the node find nothing of the host's in it (CVE-2016-9962)."""
    root = os.open("/", os.O_RDONLY)
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "pass_fds": [root]}
    process = subprocess.Popen([sys.executable, "-c", PAUSED], env=nsprov.environment, **streams)
    os.close(root)
    look = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; readlink $p/root $p/exe $p/cwd; ls -l $p/fd; done 2>&1"

    def looked():
        said = node.inside("sh", "-c", look, stdout=subprocess.PIPE).communicate()[0].decode()
        # The first processes are PID 1 and the look itself.
        return next((part for part in re.split(r"\n(?=\S* -c )", said) if "enter.run" in part), None)

    found = until(looked, "it is there")
    process.kill()
    process.communicate()
    if node.user:
        assert "-> " not in found
        assert "Permission denied" in found
    else:
        assert {"0", "1", "2"} == set(re.findall(r"(\d+) -> ", found))
        assert "/\n" in found


def test_the_environment_is_clean(nsprov, node):
    """Of the caller's there are the terminal's type and the language, and of nsprov's own nothing."""
    canaries = {"CANARY": "1", "LD_LIBRARY_PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1", "LC_TIME": "C", "TERM": "vt100"}
    said = nsprov("exec", "-e", "A=b=c", "-e", "EMPTY=", "n1", "--", "env", env=canaries)
    found = dict(line.split("=", 1) for line in said.out.splitlines())

    assert found == {
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/sh",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TERM": "vt100",
        "LC_TIME": "C",
        "A": "b=c",
        "EMPTY": "",
        **{name: value for name, value in nsprov.environment.items() if name == "LANG"},
    }


def test_capabilities(nsprov, node):
    """Root has what root has in the node, and nothing that could be inherited by name; no groups of the caller's."""
    more = ["setpriv", "--inh-caps", "+net_raw", "--groups", "0,12345", *PROGRAM, "exec", "--lab", "t", "n1", "--"]
    look = ["grep", "-E", "^(CapInh|CapAmb|Groups|Uid|Gid)", "/proc/self/status"]
    said = subprocess.run([*more, *look], env=nsprov.environment, cwd=nsprov.folder, capture_output=True, check=True, text=True)
    found = dict(line.split(":\t", 1) for line in said.stdout.splitlines())

    assert (found["CapInh"], found["CapAmb"]) == ("0000000000000000", "0000000000000000")
    assert (found["Uid"], found["Gid"]) == ("0\t0\t0\t0", "0\t0\t0\t0")
    assert found["Groups"].strip() == ("" if node.user else "0 12345")


# -- where ------------------------------------------------------------------------------------------------------------


PLACES = [
    ([], "/"),
    (["-u", "bob"], "/home/bob"),
    (["-w", "/tmp"], "/tmp"),
    (["-u", "bob", "-w", "/tmp"], "/tmp"),
    (["-u", "7"], "/"),
]
"""With which options a command is where."""

NO_PLACES = (
    *("/proc/self/fd/7", "/proc/self/fd/3", "/proc/self/cwd", "/proc/1/cwd", "/proc/1/root", "/proc", "/proc/self/ns"),
    *("/tmp/way", "/tmp/way/..", "tmp", "", "/nowhere", "/etc/passwd"),
)


def test_the_directory(nsprov, node):
    """The root, or the user's home; or what is asked for."""
    assert [(options, nsprov("exec", *options, "n1", "--", "pwd").out[:-1]) for options, _ in PLACES] == PLACES


def test_directories_that_are_none(nsprov, node):
    """Nothing that leads through /proc, not by a link either, and nothing that is no directory (CVE-2024-21626)."""
    node.inside("ln", "-s", "/proc/self/fd/3", "/tmp/way").wait()
    for where in NO_PLACES:
        said = nsprov("exec", "-w", where, "n1", "--", "pwd", code=3)

        assert f'error: "{where}" is no directory to run a command in' in said.err
        assert "--> -w" in said.err


# -- who --------------------------------------------------------------------------------------------------------------


USERS = {
    "bob": "1000 1000",
    "bob:staff": "1000 50",
    "bob:0": "1000 0",
    "1000": "1000 1000",
    "1000:50": "1000 50",
    "7": "7 7",
    "root": "0 0",
    "0": "0 0",
}
"""Who is who."""

NO_USERS = (
    *("1:", ":1", "+0", "0x0", " 0", "0 ", "4294967295", "4294967296", "root\n", "-1", "00", "", ":"),
    *("alice", "bob:nobody", "root:x:0"),
)


def test_users(nsprov, node):
    """As the node's own files know them; no groups but that one, and only root has capabilities."""
    look = "echo $(id -u) $(id -g); grep -E '^(CapEff|CapPrm|CapInh|CapAmb|Groups|Uid|Gid)' /proc/self/status"
    for user, ids in USERS.items():
        said = nsprov("exec", "-u", user, "n1", "--", "sh", "-c", look)
        found = dict(line.split(":\t", 1) for line in said.out.splitlines()[1:])

        assert ids == said.out.splitlines()[0]
        assert len(set(found["Uid"].split())) == len(set(found["Gid"].split())) == 1
        assert found["Groups"].strip() == ""
        assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
        if user not in ("root", "0"):
            assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == 0


def test_users_that_are_none(nsprov, node):
    """What is not written as a user is not somebody else, and least of all root (CVE-2026-30892)."""
    for user in NO_USERS:
        said = nsprov("exec", "--user", user, "n1", "--", "id", code=3)

        assert said.out == ""
        assert "is nobody in the node" in said.err


def test_a_user_that_the_map_has_not(nsprov, node):
    """In words."""
    if not node.user:
        pytest.skip("all ids are there")
    said = nsprov("exec", "-u", "70000", "n1", "--", "id", code=3)

    assert "uid 70000 and gid 70000 cannot be had in the node" in said.err


def test_a_passwd_that_never_ends(nsprov, node):
    """A file that would keep us waiting is not read; a number needs none."""
    node.inside("sh", "-c", "rm /etc/passwd && mkfifo /etc/passwd").wait()
    nsprov("exec", "-u", "bob", "n1", "--", "id", code=3)

    assert nsprov("exec", "-u", "7", "n1", "--", "id", "-u").out == "7\n"


# -- signals and ends -------------------------------------------------------------------------------------------------


def test_signals_are_passed_on(nsprov, node):
    """What the caller sends to nsprov, the command gets, and its exit code is ours."""
    for name in ("TERM", "HUP", "INT", "QUIT", "USR1", "USR2"):
        script = f"trap 'echo got {name}; exit 42' {name}; echo ready; while :; do sleep 0.05; done"
        process = nsprov.start("exec", "n1", "--", "sh", "-c", script)
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(getattr(signal, f"SIG{name}"))
        said = finish(process)

        assert (42, f"got {name}\n") == (said.code, said.out)


def test_a_signal_that_is_ignored_stays_so(nsprov, node):
    """As of old after nohup(1)."""
    script = "echo ready; sleep 0.5; exit 3"
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = nsprov.start("exec", "n1", "--", "sh", "-c", script, **ignore)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGHUP)

    assert finish(process).code == 3


def test_stop_and_go_on(nsprov, node):
    """Stopping nsprov stops the command."""
    script = "echo ready; while :; do echo x; sleep 0.02; done"
    process = nsprov.start("exec", "n1", "--", "sh", "-c", script)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTSTP)
    until(lambda: _state(process.pid) == "T", "it is stopped")
    os.set_blocking(process.stdout.fileno(), False)
    time.sleep(0.1)
    while process.stdout.read(1 << 16):
        pass
    time.sleep(0.2)

    assert process.stdout.read(1 << 16) is None
    process.send_signal(signal.SIGCONT)
    until(lambda: process.stdout.read(1 << 16), "it goes on")
    process.terminate()

    process.communicate()
    assert process.returncode == 143


def _state(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_it_does_not_outlive_us(nsprov, node):
    """Killed without a word, nsprov leaves no command behind."""
    for pause in (None, 0.3, 0.2, 0.15, 0.12, 0.1, 0.08):
        process = nsprov.start("exec", "n1", "--", "sleep", "98765")
        if pause is None:
            until(lambda: [pid for pid in alive("98765") if _comm(pid) == "sleep"], "it runs")
        else:
            time.sleep(pause)
        process.kill()
        process.wait()

        assert gone("98765", 1)


def test_it_does_not_outlive_us_before_it_begins(nsprov, node):
    """Nor if we are killed when the command is there and the kernel has not been told yet that it dies with us."""
    slow = PAUSED.replace("os.execve = lambda *_: signal.pause()", 'lambda: __import__("time").sleep(1)')
    process = subprocess.Popen([sys.executable, "-c", slow], env=nsprov.environment, stdin=subprocess.DEVNULL)
    until(lambda: len(alive("enter.run")) == 3, "there are we, who leads, and the command")
    process.kill()
    process.wait()

    assert gone("enter.run", 3)


def _comm(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().strip()
    return ""


def test_nsprov_keeps_nothing_of_the_node(nsprov, node):
    """While it attends a command it is in no namespace of the node, and has none open: else it would outlive the node."""
    process = nsprov.start("exec", "n1", "--", "sleep", "65432")
    until(lambda: [pid for pid in alive("65432") if _comm(pid) == "sleep"], "it runs")
    ours = {os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    fds = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")}
    theirs = {os.readlink(f"/proc/{process.pid}/ns/{name}") for name in os.listdir(f"/proc/{process.pid}/ns")}
    process.terminate()

    assert finish(process).code == 143
    assert theirs == ours
    assert {fd for fd in fds if re.match(r"\w+:\[", fd) and not fd.startswith(("pipe", "anon", "socket"))} <= ours


def test_its_init_has_died(nsprov, node):
    """The kernel's answer is "Cannot allocate memory"; ours is not."""
    node.end()
    said = nsprov("exec", "n1", "--", "true", code=5)

    assert 'error: node "n1" cannot be entered' in said.err
    assert "Its init has died" in said.err
    assert "help: " in said.err
    assert "nsprov up" in said.err


def test_a_broken_pin(nsprov, node, run_command):
    """A file that is no namespace any more is not passed over."""
    for kind in ("pid", "mnt", "uts"):
        run_command("umount", "-l", f"{node.pins}/{kind}")
        said = nsprov("exec", "n1", "--", "true", code=5)

        assert "is gone, or is no such namespace" in said.err
        assert kind in said.err


def test_a_stream_that_is_closed(nsprov, node):
    """It is /dev/null, and not what nsprov happens to open next."""
    words = [sys.executable, "-m", "nsprov", "exec", "--lab", "t", "n1", "--", "ls", "-l", "/proc/self/fd"]
    argv = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *words]
    said = subprocess.run(argv, env=nsprov.environment, cwd=nsprov.folder, capture_output=True, check=True)

    assert b"0 -> /dev/null" in said.stdout
