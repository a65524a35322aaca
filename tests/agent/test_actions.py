"""What a playbook's actions do on a host: real files, real processes, and the truth about both."""

from __future__ import annotations

import base64
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from steps import Talk

from nsprov.agent import actions
from nsprov.agent.actions import attributes, processes
from nsprov.agent.actions.terms import Terms

root = pytest.mark.root


SLEEP = "sleep 86412"
LINES = [SLEEP, f"trap '' TERM; {SLEEP}; true", f"set -m; {SLEEP} & wait", f"exec >&- 2>&-; {SLEEP}"]


class Gone(Exception):
    """The controller has."""


def do(action, _terms=None, /, **args):
    """Have an action done."""
    return actions.find(action)(args, _terms or Terms())


def text(content):
    """Write a file's content as it crosses the wire."""
    return base64.b64encode(content if isinstance(content, bytes) else content.encode()).decode()


def put(dest, content, _terms=None, /, **args):
    """Copy a content to a file."""
    return do("copy", _terms, dest=str(dest), content=text(content), **args)


def mode(path):
    """Give a file's mode."""
    return stat.S_IMODE(path.stat().st_mode)


def gone(pattern):
    """Wait until no process has such a command line."""
    deadline = time.monotonic() + 30
    while subprocess.run(["pgrep", "-fx", pattern], capture_output=True, check=False).returncode == 0:
        assert time.monotonic() < deadline, f"still there: {pattern}"
        time.sleep(0.01)


@pytest.fixture(name="talk")
def _talk():
    """Give a conversation that is over in the end."""
    found = Talk()
    yield found
    found.session.close()


def test_a_command_is_no_shell(tmp_path):
    """Its words are as they are written, but for variables and ~ in front; in a folder, with input."""
    terms = Terms(environment={"A": "b c"})
    result = do("command", terms, cmd="printf '%s|' $A ${A}d '$B;' *", chdir=str(tmp_path))

    assert (result["changed"], result["rc"], result["stdout"]) == (True, 0, "b c|b cd|$B;|*|")
    assert do("command", cmd="cat", stdin="in")["stdout"] == "in"
    assert do("command", argv=["pwd"], chdir=str(tmp_path))["stdout"] == str(tmp_path)
    assert do("command", terms, argv=["sh", "-c", "echo $A"])["cmd"] == ["sh", "-c", "echo $A"]


def test_a_command_that_fails():
    """Its code, what it said, and that there is no such program or folder."""
    failed = do("shell", cmd="echo out; echo err >&2; exit 3")
    nowhere = do("command", argv=["no-such-program"])
    astray = do("command", argv=["true"], chdir="/no/such/folder")

    assert tuple(failed[k] for k in ("failed", "rc", "stdout", "stderr", "msg")) == (
        True,
        3,
        "out",
        "err",
        "non-zero return code",
    )
    assert tuple(nowhere[k] for k in ("failed", "rc", "msg")) == (True, 2, "no-such-program: No such file or directory")
    assert "/no/such/folder" in astray["msg"]


@pytest.mark.parametrize("name", ["command", "shell", "script"])
def test_a_command_that_need_not_run(tmp_path, name):
    """`creates` and `removes` are patterns, below `chdir`."""
    (tmp_path / "file-1").touch()
    args = {"cmd": "touch ran", "name": "x", "content": text("#!/bin/sh\ntouch ran\n"), "chdir": str(tmp_path)}
    there = do(name, **args, creates="file-*")
    absent = do(name, **args, removes="other")
    would = do(name, Terms(check=True), **args, removes="file-1")
    unknown = do(name, Terms(check=True), **args)

    assert (there["changed"], there["stdout"]) == (False, "skipped, since file-* exists")
    assert (absent["changed"], absent["stdout"]) == (False, "skipped, since other does not exist")
    assert (would["changed"], would.get("skipped")) == (True, None)
    assert (unknown["changed"], unknown["skipped"], unknown["rc"]) == (False, True, 0)
    assert not (tmp_path / "ran").exists()


def test_what_a_command_inherits():
    """It dies of SIGINT and SIGPIPE, which the agent ignores, leads a session of its own, and has no input."""
    look = "grep -E 'Sig(Ign|Blk)' /proc/self/status; ps -o sid= -p $$; echo $$; cat; ls -l /proc/self/fd | wc -l"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        said = do("shell", cmd=look)["stdout"].split()
    finally:
        signal.signal(signal.SIGINT, before)

    assert {"0000000000000000"} == {said[1], said[3]}
    assert said[4] == said[5]


def test_much_output(monkeypatch):
    """What is kept is bounded, and what was more is counted; both ways at once, nothing waits for anything."""
    monkeypatch.setattr(processes, "MOST", 1000)
    result = do("shell", cmd="head -c 3000000 /dev/zero | tr '\\0' x; head -c 1500 /dev/zero | tr '\\0' y >&2")
    both = do("command", argv=["tee", "/dev/stderr"], stdin="z" * 3_000_000)

    assert result["stdout"] == "x" * 1000 + "\n... and 2999000 bytes more"
    assert result["stderr"] == "y" * 1000 + "\n... and 500 bytes more"
    assert both["stdout"] == "z" * 1000 + "\n... and 2999001 bytes more"


def test_input_that_nobody_reads():
    """A command that ends without reading what it is given is none that has failed."""
    assert do("command", argv=["true"], stdin="x" * 3_000_000)["rc"] == 0


def test_bytes_that_are_no_text():
    """They are shown as what they are not, and lose nothing else."""
    assert do("command", argv=["printf", r"a\377b"])["stdout"] == "a\ufffdb"


def test_what_stays_in_the_background():
    """A command is over when it ends, whoever still has its pipes; that lives on."""
    try:
        result = do("shell", cmd="echo one; sleep 86411 & echo two")
        talker = do("shell", cmd="(while :; do echo x || exit; done) & echo two >&2")

        assert result["stdout"] == "one\ntwo"
        assert talker["stderr"] == "two"
        assert subprocess.run(["pkill", "-fx", "sleep 86411"], check=False).returncode == 0
    finally:
        subprocess.run(["pkill", "-fx", "sleep 86411"], check=False)


def test_a_command_that_closes_its_output():
    """It is not over before it ends."""
    assert do("shell", cmd="exec >&- 2>&-; sleep 0.3; exit 4")["rc"] == 4


@pytest.mark.parametrize("line", LINES)
def test_nothing_is_left_when_the_controller_goes(line):
    """All of a command's session is ended, what does not want to and groups of their own included."""
    times = iter([None, None])

    def heed():
        if (
            next(times, Gone) is Gone
            and subprocess.run(["pgrep", "-fx", "sleep 86412"], capture_output=True, check=False).stdout
        ):
            raise Gone

    with pytest.raises(Gone):
        do("shell", Terms(heed=heed), cmd=line)

    gone("sleep 86412")


def test_a_script(tmp_path):
    """It runs with its arguments, is nobody else's to read, and is gone afterwards."""
    body = '#!/bin/sh\nstat -c %a $0; echo $0 "$@"\n'
    said = do("script", name="sub/hello.sh", content=text(body), rest="a 'b c'", chdir=str(tmp_path))["stdout"].splitlines()
    other = do("script", name="x", content=text("print(6 * 7)"), executable=sys.executable)

    assert said[0] == "700"
    assert said[1].endswith("/hello.sh a b c")
    assert not Path(said[1].split()[0]).exists()
    assert other["stdout"] == "42\n"


def test_copy_says_what_it_does(tmp_path):
    """New, the same, another content, another mode; in check mode the same words, and nothing done."""
    path = tmp_path / "file"
    check = Terms(check=True, diff=True)
    for content, args in (
        ("one\n", {}),
        ("two\n", {}),
        ("two\n", {"mode": "0600"}),
        ("two\n", {"mode": "u+x,g=r"}),
        ("two\n", {}),
    ):
        before = (path.read_text(), mode(path)) if path.exists() else None
        said = put(path, content, check, **args)
        after = (path.read_text(), mode(path)) if path.exists() else None
        real = put(path, content, Terms(diff=True), **args)

        assert before == after
        assert (said["changed"], said.get("diff")) == (real["changed"], real.get("diff"))
        assert path.read_text() == content
        assert put(path, content, **args)["changed"] is False
    assert mode(path) == 0o740


def test_a_diff(tmp_path):
    """Both texts; what is long or no text is only counted."""
    path = tmp_path / "file"
    new = put(path, "one\n", Terms(diff=True))["diff"]
    other = put(path, b"\xff\xfe", Terms(diff=True))["diff"]
    large = put(path, "x" * 200_000, Terms(diff=True))["diff"]

    assert (new["before"], new["after"]) == ("", "one\n")
    assert (other["before"], other["after"]) == ("one\n", "(2 bytes that are no text)\n")
    assert "too much to show" in large["after"]


def test_copy_into_folders(tmp_path):
    """Into one that is there, and into one that is made; a missing parent is a failure."""
    put(tmp_path, "one", name="a")
    put(f"{tmp_path}/new/er/", "two", name="b", directory_mode="0700")
    would = put(f"{tmp_path}/not/", "two", Terms(check=True), name="b")
    missing = put(tmp_path / "no/file", "x")

    assert ((tmp_path / "a").read_text(), (tmp_path / "new/er/b").read_text()) == ("one", "two")
    assert (mode(tmp_path / "new"), mode(tmp_path / "new/er")) == (0o700, 0o700)
    assert (would["changed"], (tmp_path / "not").exists()) == (True, False)
    assert (True, f"Destination directory {tmp_path}/no does not exist") == (missing["failed"], missing["msg"])
    assert put(tmp_path, "x")["msg"] == "can not use content with a dir as dest"


def test_copy_does_not_follow_a_link(tmp_path):
    """A link in a file's place gives way to the file; who wants its target says so. What is no file stays."""
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_text("mine")
    link.symlink_to(target)
    os.mkfifo(pipe)
    followed = put(link, "two", follow=True)
    still = link.is_symlink(), target.read_text()
    replaced = put(link, "two")

    assert (followed["changed"], still) == (True, (True, "two"))
    assert (replaced["changed"], link.is_symlink(), target.read_text()) == (True, False, "two")
    assert put(pipe, "x")["msg"] == f"{pipe} is there and is no regular file"
    assert do("fetch", src=str(pipe), dest="x")["msg"] == f"{pipe} is no regular file"


def test_copy_on_conditions(tmp_path):
    """Not over what is there; with a copy of it; not what a command refuses."""
    path = tmp_path / "file"
    path.write_text("one")
    path.chmod(0o600)
    unforced = put(path, "two", force=False)
    invalid = put(path, "two", validate="grep -q one %s")
    backed = put(path, "two", backup=True, validate="grep -q two %s")
    backup = Path(backed["backup_file"])

    assert unforced["changed"] is False
    assert (invalid["failed"], invalid["changed"]) == (True, False)
    assert "failed to validate: rc:1" in invalid["msg"]
    assert (path.read_text(), backup.read_text(), mode(path), mode(backup)) == ("two", "one", 0o600, 0o600)


def test_a_tree(tmp_path):
    """All files and folders of it, and what is the same stays."""
    rows = [{"path": "d", "mode": 0o755}, {"path": "d/x", "mode": 0o700, "content": text("x")}]
    args = {"dest": f"{tmp_path}/to", "tree": rows, "name": "tree", "mode": "preserve"}
    would, first, second = do("copy", Terms(check=True), **args), do("copy", **args), do("copy", **args)

    assert [would["changed"], first["changed"], second["changed"]] == [True, True, False]
    assert ((tmp_path / "to/tree/d/x").read_text(), mode(tmp_path / "to/tree/d/x")) == ("x", 0o700)


def test_copy_on_the_host(tmp_path):
    """From one place of it to another, with the mode, whatever the size."""
    source, dest = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(3_000_000))
    source.chmod(0o640)
    first = do("copy", src=str(source), dest=str(dest), mode="preserve")

    assert (first["changed"], mode(dest), source.read_bytes() == dest.read_bytes()) == (True, 0o640, True)
    assert do("copy", src=str(source), dest=str(dest), mode="preserve")["changed"] is False
    assert do("copy", src="/no/file", dest=str(dest))["msg"] == "Source /no/file not found"


@root
def test_a_disk_that_is_full(tmp_path, talk):
    """The old file is there, whole, and nothing beside it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "full", tmp_path], check=True)
    try:
        put(tmp_path / "file", "old")
        step = {"action": "copy", "args": {"dest": f"{tmp_path}/file", "content": text("x" * 300_000)}}
        (result,) = talk.play(step)

        assert (result["failed"], os.listdir(tmp_path), (tmp_path / "file").read_text()) == (True, ["file"], "old")
        assert result["msg"] == "copy: No space left on device"
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@root
def test_owners(tmp_path):
    """By name or number; a replaced file keeps its own."""
    path = tmp_path / "file"
    put(path, "one", owner="nobody", group="daemon", mode=0o4755)
    put(path, "two")
    found = path.stat()

    assert (pwd.getpwnam("nobody").pw_uid, 1, 0o4755) == (found.st_uid, found.st_gid, mode(path))
    assert put(path, "two", owner="0", group=0)["changed"]
    assert put(path, "x", owner="no-such-user")["msg"] == "failed to look up user no-such-user"
    assert path.read_text() == "two"


@pytest.mark.parametrize(
    ("given", "now", "wanted"),
    [
        *(("0644", 0, 0o644), ("644", 0, 0o644), ("7", 0, 7), (0o1777, 0, 0o1777), ("u=rw,go=", 0o777, 0o600)),
        *(("a+X", 0o600, 0o600), ("a+X", 0o700, 0o711), ("+x", 0o644, 0o755), ("g-w,o-rwx", 0o777, 0o750)),
        *(("u+s", 0o755, 0o4755), ("+t", 0o777, 0o1777)),
    ],
)
def test_modes(given, now, wanted):
    """As chmod(1) has them."""
    assert wanted == attributes.mode(given, now, is_folder=False)


def test_files_that_are_read(tmp_path):
    """`fetch`, `slurp` and `stat` say what is there, and what is not; what /proc has, too, and a pipe waits for nobody."""
    path = tmp_path / "file"
    path.write_bytes(b"\x00\xff")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nothing")
    about = do("stat", path=str(path))["stat"]
    link = do("stat", path=str(tmp_path / "link"))["stat"]

    assert do("fetch", src=str(path), dest="x")["content"] == text(b"\x00\xff")
    assert base64.b64decode(do("slurp", src="/proc/sys/kernel/ostype")["content"]) == b"Linux\n"
    assert "does not exist" in do("fetch", src="/no/file", dest="x")["msg"]
    assert do("fetch", src="/no/file", dest="x", fail_on_missing="no").get("failed") is None
    assert do("slurp", src="/no/file")["failed"]
    assert (about["exists"], about["size"], about["isreg"], about["islnk"]) == (True, 2, True, False)
    assert (True, "file", str(path)) == (link["islnk"], link["lnk_target"], link["lnk_source"])
    assert do("stat", path=str(tmp_path / "dangling"))["stat"]["exists"]
    assert do("stat", path=str(tmp_path / "dangling"), follow=True)["stat"] == {"exists": False}


def test_waiting_for_files(tmp_path):
    """Until one is there, or gone, or has a word in it; or not any longer."""
    path = tmp_path / "file"
    timer = threading.Timer(0.1, path.write_text, ["first\nready 1\n"])
    timer.start()
    found = do("wait_for", path=str(path), search_regex="^ready [0-9]", sleep=0.05, timeout=30)
    timer.join()

    assert (found["changed"], found.get("failed")) == (False, None)
    assert do("wait_for", path=str(tmp_path / "other"), state="absent")["elapsed"] == 0
    assert do("wait_for", path=str(path), state="absent", timeout=0)["msg"] == f"Timeout when waiting to stop {path}"
    assert do("wait_for", path="/no/file", timeout=0, msg="never came")["msg"] == "never came"
    assert "cannot wait for up" in do("wait_for", path="/x", state="up")["msg"]


def test_waiting_for_ports():
    """Until something listens, and says what it is to say; a port that only trickles does not hold us up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet():
            for _ in range(2):
                with server.accept()[0] as connection:
                    connection.sendall(b"220 hello\n")

        thread = threading.Thread(target=greet)
        thread.start()
        assert do("wait_for", port=port)["state"] == "started"
        assert do("wait_for", port=port, search_regex="hel+o", connect_timeout=30).get("failed") is None
        thread.join()
        said = do("wait_for", port=port, search_regex="no", connect_timeout=0.2, timeout=0)["msg"]
    assert said == f"Timeout when waiting for search string no in 127.0.0.1:{port}"
    assert do("wait_for", port=port, state="stopped")["state"] == "stopped"


def test_waiting_ends_with_the_controller():
    """Wherever it waits."""

    def heed():
        raise Gone

    with socket.create_server(("127.0.0.1", 0)) as server:
        for args in ({"timeout": 100}, {"path": "/no/file"}, {"port": server.getsockname()[1], "search_regex": "x"}):
            with pytest.raises(Gone):
                do("wait_for", Terms(heed=heed), **args)


def test_facts():
    """Those that playbooks ask for are there, and of their types."""
    facts = do("setup")["ansible_facts"]
    names = ("hostname", "fqdn", "kernel", "distribution", "os_family", "pkg_mgr", "architecture", "user_id", "service_mgr")

    assert all(isinstance(facts[f"ansible_{name}"], str) and facts[f"ansible_{name}"] for name in names)
    assert os.uname().release == facts["ansible_kernel"]
    assert facts["ansible_memtotal_mb"] > 0
    assert "lo" in facts["ansible_interfaces"]


def test_a_host_without_a_tool(monkeypatch):
    """No package manager and no systemd: said in words."""
    monkeypatch.setenv("PATH", "/nowhere")

    assert "the host has none of apt-get, dnf, apk" in do("package", name="x")["msg"]
    if not os.path.isdir("/run/systemd/system"):
        assert "systemd does not run on this host" in do("service", name="x", state="started")["msg"]


@root
def test_what_cannot_be_done_is_a_result(talk):
    """Bad arguments, too: the conversation goes on."""
    steps = [
        {"action": "dance", "args": {}, "ignore": True},
        {"action": "command", "args": {"cmd": "echo 'open"}, "ignore": True},
        {"action": "command", "args": {"argv": ["echo", "\0"]}, "ignore": True},
        {"action": "wait_for", "args": {"timeout": "soon"}, "ignore": True},
        {"action": "wait_for", "args": {"path": "/x", "search_regex": "("}, "ignore": True},
        {"action": "copy", "args": {"dest": "/proc/x", "content": ""}, "ignore": True},
        {"action": "copy", "args": {"dest": "/tmp/x", "content": "", "mode": "rwx"}, "ignore": True},
        {"action": "ping", "args": {}, "user": "no-such-user", "ignore": True},
        {"action": "ping", "args": {"data": "crash"}},
        {"action": "ping", "args": {}},
    ]
    results = talk.play(*steps)
    words = ["no action", "No closing quotation", "null byte", "soon", "unterminated", "copy:", "symbolic", "no user", "boom"]

    assert len(words) == len(results)
    assert all(result["failed"] and word in result["msg"] for word, result in zip(words, results, strict=True))


@root
def test_the_turns_of_a_loop(talk):
    """All are done when one fails, and nothing after them."""
    results = talk.play(
        {"action": "command", "args": {"argv": ["false"]}, "group": 1},
        {"action": "command", "args": {"argv": ["true"]}, "group": 1},
        {"action": "ping", "args": {}, "group": 2},
    )

    assert [result["rc"] for result in results] == [1, 0]


@root
def test_as_another_user(talk, tmp_path):
    """Commands, files and what is read are his, and his home is at hand; a root's agent stays root's."""
    tmp_path.chmod(0o777)
    for folder in [*tmp_path.parents][:3]:
        folder.chmod(folder.stat().st_mode | 0o711)
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    who, code = {"user": "nobody"}, text("#!/bin/sh\nid -un\n")
    results = talk.play(
        {"action": "shell", "args": {"cmd": "id -un; echo $HOME $USER; id -G; grep CapEff /proc/self/status"}, **who},
        {"action": "copy", "args": {"dest": f"{tmp_path}/his", "content": text("x")}, **who},
        {"action": "fetch", "args": {"src": str(secret), "dest": "x"}, **who, "ignore": True},
        {"action": "script", "args": {"name": "x", "content": code}, **who},
        {"action": "command", "args": {"argv": ["id", "-un"]}, "user": "root"},
        {"action": "command", "args": {"argv": ["id", "-un"]}, "user": ""},
    )
    account = pwd.getpwnam("nobody")

    assert ["nobody", account.pw_dir, "nobody"] == results[0]["stdout"].split()[:3]
    assert str(account.pw_gid) == results[0]["stdout"].split()[3]
    assert results[0]["stdout"].endswith("0000000000000000")
    assert (account.pw_uid, True) == ((tmp_path / "his").stat().st_uid, results[1]["changed"])
    assert results[2]["msg"] == f"fetch: {secret}: Permission denied"
    assert [result["stdout"] for result in results[3:]] == ["nobody\n", "root", "root"]


@root
@pytest.mark.parametrize("who", [{}, {"user": "nobody"}])
def test_a_controller_that_goes(talk, who):
    """What it has asked for ends with it, whoever does it."""
    talk.send({"action": "shell", "args": {"cmd": "sleep 86413; true"}, **who})
    while subprocess.run(["pgrep", "-fx", "sleep 86413"], capture_output=True, check=False).returncode:
        time.sleep(0.01)
    talk.session.close()

    gone("sleep 86413")
