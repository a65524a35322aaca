"""How a workload starts: its environment, its directory, its ids, its limits, and what it is not given."""

from __future__ import annotations

import os
import socket
import time

import pytest

from nsprov.kernel import libc

pytestmark = pytest.mark.root
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def failed(node, name, *command, **spec):
    """Give why a workload could not start, and the code that this counts as."""
    node.set(name, *command, **spec)
    status = node.wait(name)
    assert status["state"] == "failed", status
    return status["exit"], status["reason"]


def status_of_process(node, **spec):
    """Give the fields of a workload's /proc/self/status."""
    text = node.said("status", "/bin/cat", "/proc/self/status", **spec)
    return {line.split(":")[0]: line.split(":")[1].split() for line in text.splitlines()}


def test_environment(node):
    """A login's and nothing of the agent's; what is given comes last, and secrets are not in the command line."""
    text = node.said("plain", "/usr/bin/env")
    expected = {f"PATH={PATH}", "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/bash", f"HOSTNAME={os.uname().nodename}"}

    assert set(text.splitlines()) == expected
    given = {"env": [["A", "x y\n'"], ["HOME", "/x"]], "secrets": [["TOKEN", "hunter2"]]}
    text = node.said("given", "/usr/bin/env", "-0", **given)
    assert {"A=x y\n'", "HOME=/x", "TOKEN=hunter2"} <= set(text.split("\0"))
    text = node.said("nobody", "/usr/bin/env", user="12345")
    assert set(text.splitlines()) == {f"PATH={PATH}", "HOME=/", "SHELL=/bin/sh", f"HOSTNAME={os.uname().nodename}"}


def test_nothing_is_inherited(node):
    """Three descriptors, a session of its own, signals as they come, no terminal."""
    script = "ls -l /proc/self/fd | wc -l; readlink /proc/self/fd/0; cut -d' ' -f7 /proc/self/stat; cat < /dev/tty; true"
    text = node.said("fds", script)
    lines = text.splitlines()

    assert lines[:3] == ["5", "/dev/null", "0"]  # a total, 0, 1, 2 and what ls opens
    assert "No such device" in lines[3]
    found = status_of_process(node)
    assert found["NSsid"] == found["NSpgid"] == found["NSpid"]
    assert found["SigBlk"] == ["0" * 16]
    assert int(found["SigIgn"][0], 16) & ~0x180000000 == 0  # two of the C library's own: posix_spawn ignores them


def test_an_init_holds_what_it_needs(node):
    """No descriptor of the agent's, of the zygote's or of another node's."""
    node.ask("hello")
    time.sleep(0.05)
    links = [os.readlink(f"/proc/{node.pid}/fd/{fd}") for fd in sorted(os.listdir(f"/proc/{node.pid}/fd"), key=int)]

    assert links[:3] == ["/dev/null", "/dev/null", f"{node.logs}/@init.log"]
    assert sorted(link.partition(":")[0] for link in links[3:]) == sorted(["anon_inode", "socket", node.logs])


def test_confinement(node):
    """Root has what is listed and can gain no more."""
    found = status_of_process(node, capabilities=["NET_RAW", "CHOWN"])

    assert found["CapInh"] == found["CapAmb"] == ["0" * 16]
    assert found["CapBnd"] == found["CapPrm"] == found["CapEff"] == ["0000000000002001"]
    assert (found["NoNewPrivs"], found["Seccomp"], found["Groups"]) == (["1"], ["2"], [])
    assert found["Uid"] == found["Gid"] == ["0"] * 4


def test_no_confinement(node):
    """All of it can be left off, and `all` is all that the node has."""
    found = status_of_process(node, capabilities=["all"], no_new_privileges=False, seccomp="none")
    with open("/proc/self/status", encoding="ascii") as file:
        ours = dict(line.split(":\t") for line in file)

    assert found["CapBnd"][0] == ours["CapPrm"].strip()
    assert (found["NoNewPrivs"], found["Seccomp"]) == (["0"], ["0"])


def test_a_filter_without_no_new_privileges(node):
    """It is installed while that is still allowed, and set-user-id programs still work."""
    found = status_of_process(node, no_new_privileges=False)

    assert (found["NoNewPrivs"], found["Seccomp"]) == (["0"], ["2"])


def test_another_user(node):
    """Numbers and names; groups are those that are listed; the capabilities that are only not taken away are not given."""
    found = status_of_process(node, user="nobody:7", groups=["daemon", "44"])

    assert found["Uid"] == ["65534"] * 4
    assert found["Gid"] == ["7"] * 4
    assert found["Groups"] == ["1", "44"]
    assert found["CapPrm"] == found["CapEff"] == found["CapAmb"] == found["CapInh"] == ["0" * 16]
    assert status_of_process(node, user="12345")["Gid"] == ["12345"] * 4


def test_another_user_keeps_what_is_listed(node):
    """By the ambient set, over execve(2): it may bind port 80."""
    bind = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 80)); print('bound')"

    assert node.said("web", "/usr/bin/python3", "-c", bind, user="nobody", capabilities=["NET_BIND_SERVICE"]) == "bound"
    found = status_of_process(node, user="nobody", capabilities=["NET_BIND_SERVICE"])
    assert found["CapPrm"] == found["CapEff"] == found["CapAmb"] == found["CapBnd"] == ["0000000000000400"]
    node.set("plain", "/usr/bin/python3", "-c", bind, user="nobody")
    assert node.wait("plain")["exit"] == 1


def test_output_can_be_opened_anew(node):
    """By who is not root, too: /dev/stdout is the pipe's own file."""
    assert node.said("out", "echo one > /dev/stdout; echo two > /proc/self/fd/2", user="nobody") == "one\ntwo"


def test_nobody_of_that_name(node):
    """It is said, and nothing runs as somebody else."""
    for number, (user, words) in enumerate([("nosuch", 'no user "nosuch"'), ("0:nosuch", 'no group "nosuch"')]):
        code, reason = failed(node, f"x{number}", "id", user=user)

        assert (code, words in reason) == (125, True)


def test_missing_capabilities(node):
    """What the node itself lacks is refused if it is asked for by name."""
    with open("/proc/self/status", encoding="ascii") as file:
        ours = int(dict(line.split(":\t") for line in file)["CapPrm"], 16)
    if ours >> 24 & 1:
        pytest.skip("this host lacks no capability")
    code, reason = failed(node, "x", "id", capabilities=["SYS_RESOURCE"])

    assert code == 125
    assert "the node itself lacks SYS_RESOURCE" in reason


def test_the_filter_holds(node):
    """No typing on terminals, no new namespaces, no mounts; a thread and a child are nothing special."""
    program = (
        "import ctypes, errno, fcntl, os, threading\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def tried(what, result): print(what, errno.errorcode[ctypes.get_errno()] if result else 'done')\n"
        "ours, theirs = os.openpty()\n"
        "try: fcntl.ioctl(theirs, 0x5412, b'x')\n"
        "except OSError as problem: print('type', errno.errorcode[problem.errno])\n"
        "tried('unshare', libc.unshare(0x10000000))\n"
        "tried('mount', libc.mount(None, None, None, 0, None))\n"
        "tried('keyctl', libc.syscall(250, 0, -3, 0) < 0)\n"
        "threading.Thread(target=print, args=('thread',)).start()\n"
        "os.fork() or os._exit(0)\n"
        "print(os.wait()[1])\n"
    )
    text = node.said("x", "/usr/bin/python3", "-c", program)

    assert text.splitlines() == ["type EPERM", "unshare EPERM", "mount EPERM", "keyctl EPERM", "thread", "0"]


def test_rlimits_umask_and_priority(node):
    """As they are asked for; a hard limit above ours is refused."""
    script = "ulimit -n; ulimit -Hn; ulimit -c; umask; nice"

    assert node.said("x", script, rlimits=[["nofile", 100, 200], ["core", 0, 0]], umask=0o027, nice=5).split() == [
        "100", "200", "0", "0027", "5",
    ]  # fmt: skip
    code, reason = failed(node, "y", "id", rlimits=[["nofile", 100, 1 << 40]])
    assert code == 125
    assert "nofile" in reason


def test_directories(node, tmp_path):
    """It starts where it shall; not where it may not, nor where there is nothing, nor anywhere in /proc."""
    tmp_path.chmod(0o755)
    (tmp_path / "link").symlink_to("/proc/self/fd")
    shut = tmp_path / "shut"
    shut.mkdir(0o700)

    assert node.said("x", "/bin/pwd", cwd="/usr/lib") == "/usr/lib"
    assert node.said("shut", "/bin/pwd", cwd=str(shut)) == str(shut)
    cases = [
        ("/nonexistent", "0", "No such file"),
        ("/etc/passwd", "0", "Not a directory"),
        (str(shut), "nobody", "Permission denied"),
        ("/proc/self/fd/0", "0", "/proc"),
        ("/proc/1/cwd", "0", "/proc"),
        ("//proc/self", "0", "/proc"),
        ("/usr/../proc/self/root", "0", "/proc"),
        (str(tmp_path / "link"), "0", "/proc"),
    ]
    for number, (cwd, user, words) in enumerate(cases):
        code, reason = failed(node, f"bad{number}", "id", cwd=cwd, user=user)
        assert code == 125
        assert words in reason, (cwd, reason)


def test_commands_that_cannot_be(node, tmp_path):
    """127 if there is none, 126 if it cannot be run, and why."""
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    data = tmp_path / "data"
    data.write_text("no program")
    data.chmod(0o755)
    plain = tmp_path / "plain"
    plain.write_text("no program")
    cases = [
        (["no-such-command"], 127, '"no-such-command" was not found'),
        (["/no/such/command"], 127, '"/no/such/command" was not found'),
        ([str(script)], 127, "not what it is to be run by"),
        ([str(data)], 126, "Exec format error"),
        ([str(plain)], 126, "Permission denied"),
        (["/etc"], 126, "Permission denied"),
        (["true", "x" * 200000], 126, "Argument list too long"),
    ]
    for number, (command, code, words) in enumerate(cases):
        found, reason = failed(node, f"bad{number}", *command)
        assert (found, words in reason) == (code, True), (command, found, reason)


def test_the_search_in_path(node, tmp_path):
    """The first that can be run, as a shell does it; the workload's own PATH is what counts."""
    tmp_path.chmod(0o755)
    found, other = "#!/bin/sh\necho found", "#!/bin/sh\necho other"
    for directory, mode, text in (("a", 0o644, other), ("b", 0o755, found), ("c", 0o755, other)):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "prog").write_text(text)
        (tmp_path / directory / "prog").chmod(mode)
    path = ":".join(str(tmp_path / directory) for directory in ("nowhere", "b", "c"))

    assert node.said("x", "prog", env=[["PATH", path]]) == "found"
    node.set("y", "prog", env=[["PATH", str(tmp_path / "a")]])
    assert node.wait("y")["exit"] == 126


def test_a_joiner_cannot_be_looked_into(node, tmp_path):
    """The init, and what is to become a workload, are closed to workloads without CAP_SYS_PTRACE (CVE-2024-21626)."""
    text = node.said("x", f"(cd /proc/{node.pid}; ls -l fd/3; ls -l cwd; cat environ; ls fd/3/) 2>&1; echo end")

    assert text.splitlines()[-1] == "end"
    assert text.count("Permission denied") == 4


def test_root_moves_the_init(node):
    """A mount namespace that is made later is where workloads start from then on."""
    held = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        held[1].close()
        libc.unshare(libc.CLONE_NEWNS)
        libc.mount(None, "/", None, libc.MS_PRIVATE | libc.MS_REC)
        libc.mount("t", "/mnt", "tmpfs", 0, None)
        os.mkdir("/mnt/inside")
        held[0].send(b"1")
        held[0].recv(1)
        os._exit(0)
    held[0].close()
    held[1].recv(1)
    fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    node.ask("root", fds=[fd])
    os.close(fd)
    held[1].close()
    os.waitpid(pid, 0)

    assert node.said("x", "/bin/ls", "/mnt") == "inside"
    with pytest.raises(Exception, match="one mount namespace"):
        node.ask("root")
