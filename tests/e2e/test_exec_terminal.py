"""`exec` and `shell` on a terminal: what runs in a node gets a new one of the node's, and ours is as before afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pexpect
import pytest
from commandline import PATIENCE, PROGRAM, CommandLine, until
from furnished import Furnished, alive, gone

from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root

INJECT = """
import fcntl, os, termios
for path in (0, 1, 2, "/dev/tty"):
    try:
        fd = path if isinstance(path, int) else os.open(path, os.O_RDWR)
        fcntl.ioctl(fd, termios.TIOCSTI, b"X")
        print("injected")
    except OSError as problem:
        print(problem.strerror)
"""
"""A program that types for whoever reads its terminal, or tries to (ioctl_tty(2))."""


@pytest.fixture(name="nsprov")
def _nsprov(tmp_path):
    """Run commands on the lab, whose name is enough."""
    found = CommandLine(tmp_path, "--lab", "t")
    yield found
    found.end()


@pytest.fixture(name="node", params=["plain", "pid", "user"])
def _node(request, labs, forked, nsprov):
    """Bring a lab up and furnish its node, or leave it as most nodes are."""
    rows = [
        ["netns", {"node": "n1", "name": "t-n1", "etc": []}],
        ["utsns", {"node": "n1", "hostname": "n1"}],
        ["mntns", {"node": "n1", "binds": []}],
    ]
    labs.up("t", *load_state(rows, SCHEMAS).values())
    found = None if request.param == "plain" else Furnished("t", "n1", "t-n1", forked, user=request.param == "user")
    yield request.param
    nsprov.end()
    if found:
        found.end()
    labs.down("t")


@pytest.fixture(name="spawn")
def _spawn(nsprov, node):
    """Start programs on a terminal of 40 rows and 110 columns."""
    opened = []

    def spawn(*argv):
        environment = {**nsprov.environment, "SHELL": "/bin/sh", "TERM": "vt100", "PS1": "caller$ "}
        options = {"env": environment, "cwd": str(nsprov.folder), "dimensions": (40, 110), "timeout": PATIENCE}
        child = pexpect.spawn(argv[0], list(argv[1:]), **options)
        opened.append(child)
        return child

    yield spawn
    for child in opened:
        child.close(force=True)


@pytest.fixture(name="run")
def _run(spawn):
    """Start `nsprov COMMAND` on a terminal."""
    return lambda command, *argv: spawn(*PROGRAM, command, "--lab", "t", *argv)


@pytest.fixture(name="caller")
def _caller(spawn):
    """Give a shell on a terminal, as a user has one."""
    child = spawn("/bin/bash", "--norc", "--noprofile")
    child.expect_exact("caller$ ")
    return child


def ask(caller, line):
    """Have the caller's shell run a line, and give what was said until it asks again."""
    caller.sendline(line)
    caller.expect_exact("\n")  # its echo
    caller.expect_exact("caller$ ")
    return caller.before.decode()


def line(*argv):
    """Write a command line of ours for a shell."""
    return f"{' '.join(PROGRAM)} exec --lab t {' '.join(argv)}"


def ended(child):
    """Wait for a program's end and give its exit code."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def test_a_terminal_of_its_own(run, node):
    """It is one of the node's, of our size, also when nobody asked for it; what ends it is told."""
    for options in (["-it"], ["-t"], []):
        child = run("exec", *options, "n1", "--", "sh", "-c", "tty; stty size; test -t 2 && echo all; exit 5")
        child.expect("/dev/pts/[0-9]+\r\n")
        name = child.after.strip()
        child.expect("40 110\r\nall\r\n")

        assert ended(child) == 5
        assert node == "plain" or name == b"/dev/pts/0"


def test_without_one(run, nsprov):
    """Who wants none has none, and neither has who is on none."""
    child = run("exec", "-T", "n1", "--", "sh", "-c", "tty; cat </dev/tty; echo out; echo err >&2; echo end")
    child.expect("not a tty\r\n")
    child.expect("/dev/tty")
    child.expect("out\r\nerr\r\nend\r\n")

    assert ended(child) == 0
    assert nsprov("exec", "n1", "--", "tty", code=1).out == "not a tty\n"


def test_the_window_changes(run):
    """The command sees the new size, and is told."""
    script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    child = run("exec", "-it", "n1", "--", "sh", "-c", script)
    child.expect("ready")
    child.setwinsize(33, 77)
    child.expect("33 77\r\n")

    assert ended(child) == 0


def test_keys(run):
    """Ctrl-C ends what runs there, Ctrl-D its input."""
    child = run("exec", "-it", "n1", "--", "sh", "-c", "echo ready; exec sleep 100")
    child.expect("ready")
    child.sendintr()
    assert ended(child) == 130

    child = run("exec", "-it", "n1", "--", "cat")
    child.sendline("word")
    child.expect("word\r\nword\r\n")
    child.sendeof()
    assert ended(child) == 0


def test_a_shell(run):
    """It has job control: Ctrl-C is for what runs in it."""
    child = run("shell", "n1")
    child.expect("[#$] ")
    child.sendline("sh -c 'echo st''arted; exec sleep 100'")
    child.expect("started\r\n")
    child.sendintr()
    child.expect("[#$] ")
    child.sendline("hostname; exit 6")
    child.expect("\n")

    assert ended(child) == 6


def test_much_is_typed(nsprov, node):
    """More than a terminal holds, to a program that says as much meanwhile."""
    script = "stty raw -echo; echo ready; head -c 3000000 | tr a b; echo done"
    process = nsprov.start("exec", "-it", "n1", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    out, err = process.communicate(b"a" * 3_000_000, timeout=PATIENCE)

    assert (process.returncode, err) == (0, b"")
    assert out == b"b" * 3_000_000 + b"done\n"


@pytest.mark.parametrize("user", [[], ["-u", "1000"]], ids=["root", "another"])
def test_nobody_types_for_the_caller(caller, user):
    """What a program in a node puts into its terminal's input, the caller never reads (CVE-2017-5226)."""
    program = f"/usr/bin/python3 -c '{INJECT}'"
    files = "</dev/null >said 2>&1"
    for options, redirection in ((["-it"], ""), ([], ""), (["-T"], ""), (["-T"], "</dev/null"), ([], files), (["-T"], files)):
        words = line(*options, *user, "n1", "--", program)
        said = ask(caller, f"{words} {redirection}; read -t 0.3 -n 1 x; echo read: $x.")

        assert "read: ." in said, (options, redirection)
        assert redirection == files or "injected" in said or "Operation not permitted" in said or "Inappropriate ioctl" in said


def test_typing_for_the_caller_is_possible(caller):
    """With the caller's terminal at hand it would work: the test above can fail."""
    if Path("/proc/sys/dev/tty/legacy_tiocsti").read_text() == "0\n":
        pytest.skip("this kernel lets nobody")
    assert "read: X." in ask(caller, f"/usr/bin/python3 -c '{INJECT}'; read -t 0.3 -n 1 x; echo read: $x.")


def test_the_callers_terminal_is_as_it_was(caller):
    """However it ends: by itself, by a signal, by an error of ours, stopped and gone on."""
    before = ask(caller, "stty -g").splitlines()[0]
    for how in (
        line("-it", "n1", "--", "true"),
        line("-it", "n1", "--", "sh", "-c", "'kill -9 $$'"),
        line("-it", "-u", "nobody-at-all", "n1", "--", "true"),
        line("-it", "n1", "--", "no-such-command"),
        f"{line('-it', 'n1', '--', 'sleep', '54321')} & sleep 1; fg",
    ):
        if how.endswith("fg"):
            caller.sendline(how)
            until(lambda: alive("54321"), "it runs")
            time.sleep(1.5)
            caller.sendintr()
            caller.expect_exact("caller$ ")
        else:
            ask(caller, how)
        assert before in ask(caller, "stty -g"), how


def test_signals_on_a_terminal(run):
    """TERM is passed on; the end is as told by the command."""
    script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    child = run("exec", "-it", "n1", "--", "sh", "-c", script)
    child.expect("ready")
    child.kill(signal.SIGTERM)
    child.expect("got it")

    assert ended(child) == 9


def test_stopped_and_gone_on(caller):
    """While we are stopped the terminal is the shell's; then it is the command's again."""
    before = ask(caller, "stty -g").splitlines()[0]
    caller.sendline(line("-it", "n1", "--", "sh", "-c", "'echo re''ady; exec cat'"))
    caller.expect("ready")
    pids = [pid for pid in alive("exec\0--lab") if _parent(pid) == caller.pid]
    os.kill(pids[0], signal.SIGTSTP)
    caller.expect_exact("caller$ ")
    assert before in ask(caller, "stty -g")

    caller.sendline("fg")
    caller.expect("--lab t")
    time.sleep(0.3)
    caller.sendline("word")
    caller.expect("word\r\nword\r\n")
    caller.sendeof()
    caller.expect_exact("caller$ ")
    assert before in ask(caller, "stty -g")


def _parent(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return int(file.read().rpartition(")")[2].split()[1])
    return 0


def test_it_does_not_outlive_us(run):
    """Killed without a word, or left by its terminal, nsprov leaves nothing behind."""
    for end in (lambda child: child.kill(signal.SIGKILL), lambda child: child.close(force=False)):
        child = run("exec", "-it", "n1", "--", "sh", "-c", "echo ready; sleep 76543")
        child.expect("ready")
        end(child)

        assert gone("sleep\x0076543", 2)
        assert gone("76543", 2)
        child.close(force=True)


def test_stderr_apart(caller, nsprov):
    """Who sends errors elsewhere finds them there."""
    said = ask(caller, line("n1", "--", "sh", "-c", "'tty; echo err >&2; test -t 2 || echo apart'") + " 2>errors")

    assert "/dev/pts/" in said
    assert "apart" in said
    assert (nsprov.folder / "errors").read_text() == "err\n"


def test_some_streams_are_terminals(caller):
    """The others are what they are, and none is the caller's terminal."""
    look = "'readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2'"
    said = ask(caller, line("n1", "--", "sh", "-c", look) + " | cat")

    assert said.count("pipe:[") == 3
    assert "word" in ask(caller, "echo word | " + line("n1", "--", "cat"))


def test_a_terminal_for_who_has_none(nsprov, node):
    """Input from a pipe ends as a key would end it, and does not cut what is open."""
    said = nsprov("exec", "-t", "n1", "--", "sh", "-c", "stty size; cat", input=b"one\ntwo")

    assert said.out.replace("24 80\r\n", "") == "one\r\ntwoone\r\ntwo"  # its echo, and what is read
    assert "24 80\r\n" in said.out


def test_output_that_nobody_wants(nsprov, node):
    """Somebody who closes the pipe ends the command."""
    process = nsprov.start("exec", "-t", "n1", "--", "yes")
    assert process.stdout.readline() == b"y\r\n"
    process.stdout.close()

    assert process.wait(PATIENCE) == 129
    process.stderr.close()


def test_what_stays_behind(run):
    """The end of the command is the end, though something in the background holds the terminal."""
    child = run("exec", "-it", "n1", "--", "sh", "-c", "trap '' HUP; sleep 2 & echo over; exit 3")
    child.expect("over")
    began = time.monotonic()

    assert ended(child) == 3
    assert time.monotonic() - began < 1.5
    until(lambda: not alive("sleep\x002"), "it has ended")


def test_no_terminals_in_the_node(nsprov, node, run_command):
    """In words."""
    if node == "plain":
        pytest.skip("it has the host's")
    enter = ["nsenter", "--mount=/run/nsprov/t/ns/n1/mnt", *([] if node == "pid" else ["--user=/run/nsprov/t/ns/n1/user"])]
    subprocess.run([*enter, "sh", "-c", "umount /dev/pts; rm /dev/ptmx"], check=True)
    said = nsprov("exec", "-t", "n1", "--", "true", code=5)

    assert "the node has no terminals" in said.err
