"""`exec` and `shell` in nodes as most are, with the host's files: it is nsprov itself that becomes the command."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest
from commandline import PROGRAM, CommandLine, finish, until

from nsprov.kernel.cgroups import Cgroups
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root

PLAIN = (
    ["netns", {"node": "n1", "name": "t-n1", "etc": []}],
    ["utsns", {"node": "n1", "hostname": "n1"}],
    ["mntns", {"node": "n1", "binds": []}],
)


@pytest.fixture(name="nsprov")
def _nsprov(tmp_path):
    """Run commands on the lab, whose name is enough."""
    found = CommandLine(tmp_path, "--lab", "t")
    yield found
    found.end()


@pytest.fixture(name="up")
def _up(labs, nsprov):
    """Bring a lab up, of a plain node or of other resources."""

    def up(*rows):
        labs.up("t", *load_state(rows or PLAIN, SCHEMAS).values())

    yield up
    nsprov.end()
    labs.down("t")


def test_it_becomes_the_command(nsprov, up):
    """There is no process between the caller and the command."""
    up()
    process = nsprov.start("exec", "n1", "--", "sleep", "1000")
    until(lambda: _comm(process.pid) == "sleep", "it runs")
    process.send_signal(signal.SIGTERM)

    assert process.wait() == -signal.SIGTERM
    process.communicate()


def _comm(pid):
    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().strip()


def test_what_it_inherits(nsprov, up):
    """The caller's directory and environment, but for what changes how programs load and what nsprov has set itself."""
    up()
    canaries = {"CANARY": "1", "LD_LIBRARY_PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1", "NSPROV_COLOR": "never"}
    said = nsprov("exec", "-e", "A=b", "n1", "--", "env", env=canaries)
    found = dict(line.split("=", 1) for line in said.out.splitlines())
    kept = {name: value for name, value in nsprov.environment.items() if name != "PYTHONPATH"}

    assert found == {**kept, "CANARY": "1", "A": "b"}
    assert nsprov("exec", "n1", "--", "pwd").out == f"{nsprov.folder}\n"
    assert nsprov("exec", "-w", "/etc", "n1", "--", "pwd").out == "/etc\n"


def test_a_directory_that_is_gone(nsprov, up):
    """The command is at the root."""
    up()
    folder = nsprov.folder / "gone"
    folder.mkdir()
    words = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *PROGRAM, "exec", "--lab", "t", "n1", "--", "pwd"]
    environment = {**nsprov.environment, "NSPROV_INVENTORY": ""}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL)

    assert (done.returncode, done.stdout) == (0, b"/\n"), done.stderr


def test_limits_and_signals_are_the_callers(nsprov, up):
    """Nsprov takes more descriptors for itself, and ignores signals; a command gets what there was before."""
    up()

    def narrow():
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 1024))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    look = "ulimit -Sn; ulimit -Hn; grep SigIgn /proc/self/status"
    process = nsprov.start("exec", "n1", "--", "sh", "-c", look, preexec_fn=narrow)

    assert finish(process).out == "512\n1024\nSigIgn:\t0000000000000001\n"


def test_only_three_descriptors(nsprov, up):
    """What the caller has open is not handed on."""
    up()
    root = os.open("/", os.O_RDONLY)
    process = nsprov.start("exec", "n1", "--", "ls", "/proc/self/fd", pass_fds=[root])
    os.close(root)

    assert finish(process).out.split() == ["0", "1", "2", "3"]  # the last one is the listing's own


def test_users(nsprov, up):
    """As the host's files know them, for they are the node's too; with their home, and without rights."""
    up()
    look = "id; echo $HOME $USER $LOGNAME; pwd; grep CapEff /proc/self/status"
    said = nsprov("exec", "-u", "nobody", "-w", "/tmp", "n1", "--", "sh", "-c", look, env={"PATH": "/root:/usr/bin:/bin"}).out

    assert said.startswith("uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n")
    assert said.endswith(" nobody nobody\n/tmp\nCapEff:\t0000000000000000\n")


def test_arguments_are_passed_as_they_are(nsprov, up):
    """Options after the node are the command's; bytes that are no text are nobody's business."""
    up()
    odd = os.fsdecode(b"\xff\xfe")
    said = nsprov("exec", "n1", "printf", "%s|", "-t", "a  b", "$HOME", "", "--", odd, env={"X": odd})
    process = nsprov.start("exec", "n1", "--", "printf", "%s", odd)
    out, _ = process.communicate()

    assert said.out.startswith("-t|a  b|$HOME||--|")
    assert out == b"\xff\xfe"


@pytest.mark.parametrize("pair", ["A", "=b", ""])
def test_what_is_no_variable(nsprov, up, pair):
    """It is refused before anything is done."""
    up()

    assert f'"{pair}" sets no variable' in nsprov("exec", "-e", pair, "n1", "--", "true", code=3).err


def test_a_shell(nsprov, up):
    """It is the caller's, if this host has it, else /bin/sh."""
    up()

    assert nsprov("shell", "n1", input=b"echo $0\n", env={"SHELL": "/bin/bash"}).out == "/bin/bash\n"
    assert nsprov("shell", "n1", input=b"echo $0\n", env={"SHELL": "/no/such/shell"}).out == "/bin/sh\n"


def test_clocks(nsprov, up):
    """A time namespace holds without another process."""
    up(*PLAIN[:1], ["timens", {"node": "n1", "boottime": 86_400_000}])

    assert float(nsprov("exec", "n1", "--", "cat", "/proc/uptime").out.split()[0]) > 86_400_000


OWNED = (
    ["userns", {"node": "n1", "uids": [[0, 100000, 1000]], "gids": [[0, 200000, 1000]]}],
    ["netns", {"node": "n1", "name": "t-n1", "etc": [], "user": True}],
    ["utsns", {"node": "n1", "hostname": "n1", "user": True}],
    ["mntns", {"node": "n1", "binds": []}],
)
"""A node whose root is nobody on the host."""


def test_root_of_a_user_namespace(nsprov, up):
    """Only in the node is it root: no id, no group and no variable of the host's comes in."""
    up(*OWNED)
    look = "id -u; id -g; id -G; cat /proc/self/uid_map; cat /etc/shadow; echo $CANARY"
    said = nsprov("exec", "n1", "--", "sh", "-c", look, env={"CANARY": "x"})

    assert said.out.split() == ["0", "0", "0", "0", "100000", "1000"]
    assert "Permission denied" in said.err


def test_a_pin_that_is_not_there(nsprov, up, run_command):
    """Who is owned by a user namespace is not entered as root of the host."""
    up(*OWNED)
    pin = "/run/nsprov/t/ns/n1/user"
    run_command("umount", "-l", pin)
    os.unlink(pin)
    said = nsprov("exec", "n1", "--", "id", code=5)

    assert said.out == ""
    assert 'error: node "n1" cannot be entered' in said.err
    assert "its user namespace is gone" in said.err


def test_a_pin_that_the_record_has(nsprov, up, run_command):
    """Where the kernel cannot tell what is missing, the record can."""
    up(*PLAIN, ["ipcns", {"node": "n1"}], ["timens", {"node": "n1", "boottime": 1000}])
    pin = "/run/nsprov/t/ns/n1/ipc"
    run_command("umount", "-l", pin)
    os.unlink(pin)

    assert "its ipc namespace is gone" in nsprov("exec", "n1", "--", "id", code=5).err


ROOTED = (*PLAIN[:2], ["mntns", {"node": "n1", "binds": [], "rootfs": "host"}])
"""A node with files of its own that sees the host's processes: there /proc/self is whoever enters."""

WAYS_OUT = [*(f"/proc/self/fd/{fd}" for fd in range(3, 20)), "/proc/self/cwd", "/proc/self/root", "/proc/1/root"]


def test_directories_that_lead_out(nsprov, up):
    """Nothing that we have open on the way is a way out (CVE-2024-21626), whether the caller names it or the node."""
    up(*ROOTED)
    lines = "".join(f"u{uid}:x:{uid}:{uid}::{home}:/bin/sh\n" for uid, home in enumerate(WAYS_OUT, 2000))
    nsprov("exec", "n1", "--", "sh", "-c", 'printf %s "$0" >>/etc/passwd; echo the node >/whose', lines)
    for uid, way in enumerate(WAYS_OUT, 2000):
        said = nsprov("exec", "-w", way, "n1", "--", "pwd", code=3)

        assert "is no directory to run a command in" in said.err
        assert nsprov("exec", "-u", f"u{uid}", "n1", "--", "sh", "-c", "pwd; cat whose").out == "/\nthe node\n", way


@pytest.fixture(name="group")
def _group():
    """Give the lab's control groups."""
    cgroups = Cgroups("t")
    if not cgroups.tree.writable():
        pytest.skip("there are no control groups to be had")
    return cgroups


def test_the_control_group(nsprov, group, up):
    """The command is in the node's."""
    up()
    group.create("n1")
    said = nsprov("exec", "n1", "--", "cat", "/proc/self/cgroup")

    group.remove("n1")

    assert any(line.endswith("/nsprov.t/n1/exec") for line in said.out.splitlines())


def test_a_frozen_node(nsprov, group, up):
    """It is refused, for nothing would ever come of it."""
    up()
    group.create("n1")
    sleeper = nsprov.start("exec", "n1", "--", "sleep", "1000")
    until(lambda: _comm(sleeper.pid) == "sleep", "it runs")
    group.freeze("n1")
    said = nsprov("exec", "n1", "--", "true", code=1)
    group.thaw("n1")
    sleeper.kill()
    sleeper.communicate()
    group.remove("n1")

    assert 'node "n1" is frozen' in said.err


ON_TERMINAL = """
import os, pty, sys
if not pty.fork()[0]:
    os.execv("/bin/sh", ["sh", "-c", sys.argv[1]])
os.wait()
"""


def test_our_terminal_is_given_up(nsprov, up):
    """Whoever is in the caller's session could type for him (ioctl_tty(2)): the command has no terminal to open."""
    up()
    words = " ".join([*PROGRAM, "exec", "--lab", "t", "n1", "--", "cat", "/dev/tty"])
    for line in (f"{words} </dev/null >said 2>&1; :", f"exec {words} </dev/null >said 2>&1"):  # the latter leads a session
        subprocess.run([sys.executable, "-c", ON_TERMINAL, line], env=nsprov.environment, cwd=nsprov.folder, check=True)

        assert "No such device or address" in (nsprov.folder / "said").read_text()
