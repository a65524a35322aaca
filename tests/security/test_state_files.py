"""What lies on the host about a lab, and what somebody has put in its place: pins, records, and what `down` removes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess

import pytest
from attacked import FULL, LAB, OWN, SLEEP, Lab, both, resources
from commandline import until

from nsprov.errors import NsprovError

pytestmark = pytest.mark.root
PINS = f"{Lab.root}/ns/a"
TYPES = ("mnt", "uts", "ipc", "user", "cgroup", "time", "pid")
NET = f"/run/netns/{LAB}-a"


def pin(kind):
    """Say where a namespace of the node is pinned."""
    return NET if kind == "net" else f"{PINS}/{kind}"


def fifo(path, _):
    """Put something there that a careless open(2) waits for."""
    os.mkfifo(path)


def file(path, _):
    """Put a plain file there."""
    with open(path, "x", encoding="ascii") as found:
        found.write("net:[4026531840]\n")


def empty(path, _):
    """Put there what a killed run leaves."""
    with open(path, "x", encoding="ascii"):
        pass


def another_type(path, kind):
    """Pin the host's namespace of another type there."""
    empty(path, kind)
    subprocess.run(["mount", "--bind", f"/proc/1/ns/{'uts' if kind != 'uts' else 'ipc'}", path], check=True)


def link(path, kind):
    """Lead to the host's own namespace of that type: whoever followed it would change the host."""
    os.symlink(f"/proc/1/ns/{kind}", path)


@pytest.mark.parametrize("put", [fifo, file, empty, another_type, link])
@pytest.mark.parametrize("kinds", [TYPES, ("net",)], ids=["all but net", "net"])
def test_pins_that_are_none(labs, kinds, put):
    """What is no namespace of that type is no pin: it is seen, nobody waits for it, and `up` makes the node anew."""
    if put is link and kinds == ("net",):
        pytest.skip("/run/netns is shared with others, who may have links there; the node's mark tells whose it is")
    state = resources()
    labs.up(LAB, *state)
    for kind in kinds:
        subprocess.run(["umount", "-l", pin(kind)], check=True)
        os.unlink(pin(kind))
        put(pin(kind), kind)
    before = os.uname().nodename
    if kinds == ("net",) and put in (fifo, file, another_type):
        with pytest.raises(NsprovError):  # it could be somebody else's: it stays
            labs.up(LAB, *state)
        assert os.path.lexists(NET)
        subprocess.run(["umount", "-lq", NET], check=False)
        os.unlink(NET)
    assert {f"{kind}ns:a" for kind in kinds if kind != "pid"} <= {*labs.plan(LAB, *state).actions()}
    labs.up(LAB, *state)

    assert labs.plan(LAB, *state).actions() == {}
    assert os.uname().nodename == before
    labs.down(LAB)


TAMPER = """
for path in /run/nsprov /run/netns /run/nsprov/sec/ns; do
  umount -l $path $path
  rm -rf $path/*
done 2>/dev/null
grep -c nsfs /proc/self/mountinfo
ls -d /run/nsprov/* /run/netns/* 2>/dev/null
"""


def test_who_is_in_a_node_finds_no_pins(lab):
    """Root of the node, with all capabilities that it has, sees no name of a namespace and removes none."""
    tamper = {"type": "oneshot", "capabilities": "all", "seccomp": "none", "restart": "no"}
    tamper["command"] = ["sh", "-c", f"{TAMPER} true"]
    lab.up(both(**{"w": SLEEP, "try": tamper}))

    assert [lab.log(f"{node}/try") for node in ("full", "own")] == ["0\n", "0\n"]
    assert lab.nsprov("plan", "--detailed-exitcode").code == 0
    assert stat.S_IMODE(os.stat(f"{lab.root}/ns").st_mode) == 0o700


def test_proc_of_a_node_is_not_asked(labs):
    """A node hides its /proc/sys below files of its own: what `up` sets and reads is the kernel's (CVE-2019-16884)."""
    key = "net/ipv4/ip_forward"
    labs.up(LAB, *resources(net__ipv4__ip_forward="0"))
    enter = ["nsenter", f"--net={NET}", f"--user={PINS}/user", f"--mount={PINS}/mnt", f"--pid={PINS}/pid"]
    script = f"mount -t tmpfs x /proc/sys && mkdir -p /proc/sys/net/ipv4 && echo 1 > /proc/sys/{key}"
    subprocess.run([*enter, "sh", "-c", script], check=True)
    assert labs.plan(LAB, *resources(net__ipv4__ip_forward="0")).actions() == {}
    labs.up(LAB, *resources(net__ipv4__ip_forward="1"))
    subprocess.run([*enter, "sh", "-c", f"echo 0 > /proc/sys/{key}"], check=True)
    real = subprocess.run(["nsenter", f"--net={NET}", "cat", f"/proc/sys/{key}"], check=True, capture_output=True)

    assert real.stdout == b"1\n"
    assert labs.plan(LAB, *resources(net__ipv4__ip_forward="1")).actions() == {}
    labs.down(LAB)


RECORDS = ("manifest.json", "journal.json", "sysctl.json")


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_nobody_writes(lab, name):
    """A FIFO in place of a record is refused at once, and nobody waits for its other end."""
    lab.up({"a": {}})
    path = f"{lab.root}/{name}"
    if os.path.exists(path):
        os.unlink(path)
    os.mkfifo(path)
    said = lab.nsprov("up", "-q", code=None, timeout=20)
    os.unlink(path)

    assert said.code
    assert "is not trusted" in said.err


def odd(path):
    """Tell whether the mode of a path says nothing: of a link, and of a socket in a directory that is root's alone."""
    mode = os.lstat(path).st_mode
    return stat.S_ISLNK(mode) or stat.S_ISSOCK(mode)


def test_records_are_roots_alone(lab):
    """Records, logs, sockets, pins: others may read none of it, with whatever umask `up` runs."""
    lab.write({"a": {**FULL, "workloads": {"w": SLEEP}}})
    lab.nsprov("up", "-q", umask=0)
    found = {}
    for directory, names, files in os.walk(lab.root):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            found[os.path.relpath(path, lab.root)] = stat.S_IMODE(os.lstat(path).st_mode)

    assert found["manifest.json"] == 0o600
    assert found["ns"] == found["ctl"] == found["log"] == 0o700
    assert [path for path, mode in found.items() if mode & 0o022 and not odd(f"{lab.root}/{path}")] == []
    assert stat.S_IMODE(os.stat(f"{lab.root}.lock").st_mode) == 0o600


def test_a_name_that_somebody_foresaw(lab, tmp_path):
    """A link where a record is first written is not followed: nothing is written to where it leads."""
    lab.up({"a": OWN})
    victim = tmp_path / "victim"
    victim.write_text("mine")
    os.symlink(victim, f"{lab.root}/journal.json.new")
    said = lab.up({"a": {**OWN, "hostname": "b"}}, code=None)
    os.unlink(f"{lab.root}/journal.json.new")

    assert said.code in (1, 5)
    assert "symbolic links" in said.err
    assert victim.read_text() == "mine"


def test_down_removes_nothing_of_the_hosts(lab, tmp_path):
    """Links to the host's files and a bind of them, in the lab's own directories, are removed as what they are."""
    lab.up({"a": {**OWN, "files": {"/etc/motd": {"content": "x"}}, "workloads": {"w": SLEEP}}})
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold").write_text("gold")
    for place in ("files/a", "overlay", "log/a", "etc"):
        os.symlink(treasure, f"{lab.root}/{place}/link")
        os.mkdir(f"{lab.root}/{place}/bound")
        subprocess.run(["mount", "--bind", treasure, f"{lab.root}/{place}/bound"], check=True)
    lab.nsprov("down", "-q")
    for place in ("files/a", "overlay", "log/a", "etc"):
        subprocess.run(["umount", "-lq", f"{lab.root}/{place}/bound"], check=False)

    assert (treasure / "gold").read_text() == "gold"
    assert os.listdir(treasure) == ["gold"]


def test_numbers_in_a_record_are_no_authority(lab):
    """A process that has a number, or a group, that a record could name is not touched: records name nodes only."""
    bystander = subprocess.Popen(["sleep", "4712"], stdin=subprocess.DEVNULL)
    try:
        lab.up({"a": {**OWN, "workloads": {"w": SLEEP}}})
        init = lab.init("a")
        path = f"{lab.root}/manifest.json"
        with open(path, encoding="utf-8") as found:
            record = json.load(found)
        assert f" {init}" not in json.dumps(record)
        for _, fields in record["resources"]:
            fields["pid_of_init"] = bystander.pid
        record["pid"] = record["since"] = bystander.pid
        with open(path, "w", encoding="utf-8") as found:
            json.dump(record, found)
        said = lab.nsprov("down", "--lab", LAB, code=None)
        if said.code:
            assert "pid_of_init" in said.err
            os.unlink(path)
    finally:
        alive = bystander.poll() is None
        bystander.kill()
        bystander.wait()

    assert alive


def test_the_lock_is_free_after_a_killed_run(lab):
    """Inits and workloads have no share in it: who comes next need not wait for them."""
    lab.write({"a": {**FULL, "workloads": {"w": SLEEP, "slow": {"command": ["sleep", "1d"], "ready": {"file": "/run/never"}}}}})
    process = lab.nsprov.start("up", "-q")
    until(lambda: lab.group("a", "w-slow"), "a workload is awaited")
    holders = _holders(f"{lab.root}.lock")
    for pid in (*holders, process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate()

    assert len(holders) == 1
    assert lab.group("a", "init")
    assert lab.group("a", "w-w")
    assert until(lambda: not _holders(f"{lab.root}.lock"), "nobody holds the lock")


def _holders(path):
    """Give the processes that have a file open."""
    about = os.stat(path)
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended
            fds = [os.stat(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
            found += [int(pid)] if any(os.path.samestat(about, other) for other in fds) else []
    return found
