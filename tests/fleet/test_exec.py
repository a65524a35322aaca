"""`exec` and `shell` in a node on another host, through sshd and sudo: bytes, exit codes, terminals."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pexpect
import pytest
from controlled import PATIENCE, PROGRAM, demo_fixture, finish, fleet_fixture, until  # noqa: F401 - fixtures

NODES = ("a1", "b1", "c1")
"""As root, through sudo without a password, through sudo with one."""


@pytest.mark.parametrize("node", NODES)
def test_the_command_runs_in_the_node(demo, node):
    """It has the node's hostname and network, and root's identity, however we came in."""
    said = demo.nsprov("exec", node, "--", "sh", "-c", "hostname; ls /run/netns >/dev/null; id -u; ip -o link | wc -l")

    assert node == said.out.split()[0]
    assert said.out.split()[1] == "0"


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize(
    ("code", "command"), [(0, ["true"]), (7, ["sh", "-c", "exit 7"]), (126, ["/etc/passwd"]), (127, ["no-such-command"])]
)
def test_exit_codes(demo, node, code, command):
    """The command's own code; 126 if it cannot be run and 127 if there is none, as in a shell."""
    said = demo.nsprov("exec", node, "--", *command, code=code)

    assert code in (0, 7) or command[0] in said.err


def test_a_command_that_dies_of_a_signal(demo):
    """128 and the signal's number, as in a shell, or at the least no success."""
    assert demo.nsprov("exec", "a1", "--", "sh", "-c", "kill -9 $$", code=None).code in (137, 255)


@pytest.mark.parametrize("node", NODES)
def test_five_megabytes_both_ways(demo, node):
    """Stdin is piped through, binary clean, and what comes back is the same."""
    data = os.urandom(5_000_000)
    argv = [*PROGRAM, "exec", *demo.nsprov.options, node, "--", "cat"]
    where = {"cwd": demo.nsprov.folder, "env": demo.nsprov.environment}
    done = subprocess.run(argv, input=data, capture_output=True, check=False, timeout=4 * PATIENCE, **where)

    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(data).hexdigest() == hashlib.sha256(done.stdout).hexdigest()


def test_stdin_that_nobody_reads(demo):
    """A command that ends without reading what it is given ends us too, with its code."""
    assert demo.nsprov("exec", "b1", "--", "sh", "-c", "exit 3", code=3, input=os.urandom(5_000_000)).code == 3


@pytest.mark.parametrize("node", NODES)
def test_stdout_and_stderr_stay_apart(demo, node):
    """What the command says on one does not appear on the other, whatever the amount."""
    much = "head -c 300000 /dev/zero | tr '\\0'"
    said = demo.nsprov("exec", node, "--", "sh", "-c", f"{much} o; {much} e >&2")

    assert ({"o"}, 300_000) == (set(said.out), len(said.out))
    assert ({"e"}, 300_000) == (set(said.err), len(said.err))


def test_no_terminal_without_one(demo):
    """`exec` has pipes: `tty` says so."""
    assert demo.nsprov("exec", "a1", "--", "tty", code=1).out == "not a tty\n"


def test_options_of_the_command_are_its_own(demo):
    """What stands after `--` is passed on as it is, spaces and options included."""
    said = demo.nsprov("exec", "b1", "--", "printf", "%s|", "-o", "json", "a  b", "$HOME", "")

    assert said.out == "-o|json|a  b|$HOME||"


def test_a_node_that_is_not_there(demo):
    """Exit 9 with the place to look: by the file, and on the host when the file has it and the host has not."""
    by_file = demo.nsprov("exec", "zz", "--", "true", code=9)
    demo.nsprov("down")
    on_host = demo.nsprov("exec", "b1", "--", "true", code=9)
    demo.nsprov("up")

    assert 'there is no node "zz"' in by_file.err
    assert "help: use a name that the topology has" in by_file.err
    assert 'lab "demo" has no node "b1"' in on_host.err
    assert "--> lab2" in on_host.err


def test_one_exec_channel(demo):
    """The command comes over the channel that started the agent."""
    before = demo.hosts[1].sessions(), demo.hosts[1].logins()
    demo.nsprov("exec", "b1", "--", "true")

    assert (demo.hosts[1].sessions() - before[0], demo.hosts[1].logins() - before[1]) == (1, 1)


def test_nothing_runs_on_when_we_are_killed(demo):
    """A command that reads its stdin sees the end of it when the controller is gone."""
    process = demo.nsprov.start("exec", "b1", "--", "sh", "-c", "echo ready; cat", stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    finish(process)

    until(lambda: demo.hosts[1].run("pgrep -x cat || true") == "", "the command has ended")


@pytest.fixture(name="shell")
def _shell(demo):
    """Open shells in nodes, on a terminal of 40 rows and 110 columns."""
    opened = []

    def open_shell(node):
        argv = [*PROGRAM[1:], "shell", *demo.nsprov.options, node]
        environment = {**demo.nsprov.environment, "SHELL": "/bin/sh", "TERM": "vt100"}
        child = pexpect.spawn(
            PROGRAM[0], argv, cwd=str(demo.nsprov.folder), env=environment, dimensions=(40, 110), timeout=PATIENCE
        )
        opened.append(child)
        child.expect("[#$] ")
        return child

    yield open_shell
    for child in opened:
        child.close(force=True)


@pytest.mark.parametrize("node", NODES)
def test_a_shell_is_on_a_terminal(shell, node):
    """`tty` says a terminal, of our size, in the node; the shell's exit code is ours."""
    child = shell(node)
    child.sendline("tty; stty size; hostname; exit 5")
    child.expect("/dev/pts/[0-9]+\r\n")
    child.expect("40 110\r\n")
    child.expect(f"{node}\r\n")
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 5


def test_control_c_in_a_shell_is_the_commands(shell):
    """The key goes to what runs in the shell, which goes on."""
    child = shell("b1")
    child.sendline("sh -c 'echo st''arted; exec sleep 100'")
    child.expect("started\r\n")
    child.sendintr()
    child.expect("[#$] ")
    child.sendline("echo al''ive; exit")
    child.expect("alive\r\n")
    child.expect(pexpect.EOF)


def test_the_end_of_input_ends_a_shell(shell):
    """Ctrl-D is the end, with exit code 0."""
    child = shell("c1")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 0


def test_a_shell_without_a_terminal(demo):
    """With stdin from a pipe there is no terminal; the shell runs what it reads."""
    said = demo.nsprov("shell", "b1", input=b"hostname\nexit 4\n", code=4, env={"SHELL": "/bin/sh"})

    assert said.out == "b1\n"


def test_a_window_that_changes(demo):
    """The size goes the whole way, and so does the news of another one."""
    script = "trap 'stty size; echo resized; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    argv = [*PROGRAM[1:], "exec", *demo.nsprov.options, "-it", "c1", "--", "sh", "-c", script]
    options = {"cwd": str(demo.nsprov.folder), "env": demo.nsprov.environment, "timeout": PATIENCE}
    child = pexpect.spawn(PROGRAM[0], argv, dimensions=(40, 110), **options)
    child.expect("ready\r\n")
    child.setwinsize(33, 77)
    child.expect("33 77\r\nresized\r\n")
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 0


@pytest.mark.parametrize("node", ["a1", "c1"])
def test_a_command_on_a_terminal(demo, node):
    """Asked for with `-it`; its errors are apart where ours are."""
    argv = [*PROGRAM[1:], "exec", *demo.nsprov.options, "-it", node, "--", "sh", "-c", "tty; stty size; echo err >&2; exit 5"]
    options = {"cwd": str(demo.nsprov.folder), "env": demo.nsprov.environment, "timeout": PATIENCE}
    child = pexpect.spawn(PROGRAM[0], argv, dimensions=(40, 110), **options)
    child.expect("/dev/pts/[0-9]+\r\n40 110\r\nerr\r\n")
    child.expect(pexpect.EOF)
    child.close()
    apart = demo.nsprov("exec", "-t", node, "--", "sh", "-c", "tty; echo err >&2")

    assert child.exitstatus == 5
    assert apart.out.startswith("/dev/pts/")
    assert apart.err == "err\n"


def test_keys_end_it(demo):
    """Ctrl-C is 130, Ctrl-D the end of what it reads."""
    argv = [*PROGRAM[1:], "exec", *demo.nsprov.options, "-it", "b1", "--"]
    options = {"cwd": str(demo.nsprov.folder), "env": demo.nsprov.environment, "timeout": PATIENCE}
    child = pexpect.spawn(PROGRAM[0], [*argv, "sh", "-c", "echo re''ady; exec sleep 100"], **options)
    child.expect("ready")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    other = pexpect.spawn(PROGRAM[0], [*argv, "cat"], **options)
    other.sendline("word")
    other.expect("word\r\nword\r\n")
    other.sendeof()
    other.expect(pexpect.EOF)
    other.close()

    assert (child.exitstatus, other.exitstatus) == (130, 0)


def test_much_is_typed(demo):
    """More than a terminal and a channel hold, while as much comes back."""
    script = "stty raw -echo; echo ready; head -c 3000000 | tr a b; echo done"
    process = demo.nsprov.start("exec", "-t", "b1", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    out, err = process.communicate(b"a" * 3_000_000, timeout=4 * PATIENCE)

    assert (process.returncode, err) == (0, b"")
    assert out == b"b" * 3_000_000 + b"done\n"


def test_a_signal_reaches_it(demo):
    """On a terminal what is sent to nsprov is the command's."""
    script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    process = demo.nsprov.start("exec", "-t", "c1", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\r\n"
    process.terminate()
    said = finish(process)

    assert (said.code, said.out) == (9, "got it\r\n")


@pytest.mark.parametrize("node", ["a1", "c1"])
def test_nothing_runs_on_a_terminal_when_we_are_killed(demo, node):
    """Whether it reads or not."""
    process = demo.nsprov.start("exec", "-it", node, "--", "sh", "-c", "echo ready; exec sleep 86420", stdin=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\r\n"
    process.kill()
    process.wait()
    host = demo.hosts[NODES.index(node)]
    until(lambda: host.run("pgrep -fx 'sleep 86420' || true") == "", "the command has ended")
    process.communicate()


@pytest.mark.parametrize("node", NODES)
def test_who_and_where(demo, node):
    """As on this host: the node's accounts, a directory, variables; and what is refused is refused in words."""
    look = "id -u; pwd; echo $A; grep CapEff /proc/self/status"
    said = demo.nsprov("exec", "-u", "nobody", "-w", "/tmp", "-e", "A=b c", node, "--", "sh", "-c", look)
    refused = demo.nsprov("exec", "-u", "1:", node, "--", "true", code=3)

    assert said.out == "65534\n/tmp\nb c\nCapEff:\t0000000000000000\n"
    assert "'1:' is nobody in the node" in refused.err
    assert f"--> lab{NODES.index(node) + 1}/-u" in refused.err
