"""What a workload and root of a node can do to the host: no more than is said in docs/security.md."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest
from attacked import FULL, OWN, SLEEP, Lab

pytestmark = pytest.mark.root
BOTH = {"full": FULL, "own": OWN}


def try_in_both(lab, script, **fields):
    """Run a script of Python as a workload of each node, and give what they said."""
    job = {"type": "oneshot", "command": ["python3", "-c", script], **fields}
    lab.up({name: {**node, "workloads": {"try": job}} for name, node in BOTH.items()})
    return {name: lab.log(f"{name}/try").split() for name in BOTH}


STATUS = """
import re
rows = dict(line.split(":", 1) for line in open("/proc/self/status"))
for name in ("CapInh", "CapAmb", "CapBnd", "CapEff", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"):
    print(name + "=" + ",".join(rows[name].split()))
"""


def test_what_a_workload_keeps(lab):
    """Nothing that is inherited by name, the usual capabilities, no groups, no way to gain more, a filter."""
    said = try_in_both(lab, STATUS)

    assert said["full"] == said["own"]
    found = dict(word.split("=") for word in said["own"])
    assert found["CapInh"] == found["CapAmb"] == "0" * 16
    assert found["CapBnd"] == found["CapEff"] == "00000000a80435fb"
    assert (found["NoNewPrivs"], found["Seccomp"], found["Groups"]) == ("1", "2", "")
    assert found["Uid"] == found["Gid"] == "0,0,0,0"


CALLS = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def tried(number, *args):
    ctypes.set_errno(0)
    libc.syscall(number, *args)
    print(errno.errorcode.get(ctypes.get_errno(), "allowed"), flush=True)
for number in (165, 308, 166, 175, 169, 227, 321, 246, 304):  # mount ... open_by_handle_at, with nothing that could work
    tried(number, 0, 0, 0, 0, 0)
tried(272, 0x10000000)  # unshare(CLONE_NEWUSER)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
def test_calls_that_a_workload_does_not_need(lab):
    """They are refused, in a node with and without a user namespace."""
    said = try_in_both(lab, CALLS)

    assert said == {"full": ["EPERM"] * 10, "own": ["EPERM"] * 10}


DEVICES = """
import os, stat
for name, kind, number in (("disk", stat.S_IFBLK, (8, 0)), ("mem", stat.S_IFCHR, (1, 1)), ("kmsg", stat.S_IFCHR, (1, 11))):
    for top in ("/tmp", "/root", "/dev", "/run"):
        path = f"{top}/{name}"
        try:
            os.mknod(path, 0o600 | kind, os.makedev(*number))
            os.open(path, os.O_RDONLY)
            print("opened", path)
        except OSError:
            pass
print(*sorted(os.listdir("/dev")))
"""


def test_no_device_of_the_host(lab):
    """/dev has the harmless ones, and those that somebody makes cannot be opened."""
    harmless = {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero"}
    harmless |= {"stdin", "stdout", "stderr"}
    said = try_in_both(lab, DEVICES)
    made = {"disk", "mem", "kmsg"}

    assert set(said["full"]) - {"net", "fuse"} <= harmless
    assert set(said["own"]) - {"net", "fuse"} <= harmless | made


SOCKETS = """
import socket, os
for name in ("/run/nsprov-test.sock", "/run/docker.sock", "\\0nsprov-test"):
    try:
        socket.socket(socket.AF_UNIX).connect(name)
        print("connected")
    except OSError:
        pass
print(len(os.listdir("/run")), len(os.listdir("/tmp")))
"""


def test_sockets_of_the_host(lab):
    """Neither what the host's services listen at in /run, nor names without a file, can be reached."""
    listeners = []
    for name in ("/run/nsprov-test.sock", "/run/docker.sock", "\0nsprov-test"):
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(name)
        listeners[-1].listen()
    try:
        said = try_in_both(lab, SOCKETS)
    finally:
        for one in listeners:
            one.close()
        os.unlink("/run/nsprov-test.sock")
        os.unlink("/run/docker.sock")

    assert "connected" not in said["full"] + said["own"]


HOST = """
import os
for path in ("/etc/passwd", "/usr/bin/env", "/etc/shadow", "/root/nsprov-test"):
    try:
        with open(path, "a") as file:
            file.write("nsprov-test")
    except OSError:
        pass
for path in ("/proc/sys/vm/swappiness", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger",
             "/sys/kernel/mm/ksm/run", "/sys/kernel/uevent_helper"):
    try:
        os.close(os.open(path, os.O_WRONLY))  # no more: this is the machine that the test runs on
        print("opened", path)
    except OSError:
        pass
print("tried")
"""


def test_files_and_settings_of_the_host(lab):
    """Writes to files stay in the node; what the whole kernel has once is not written by root of a user namespace."""
    watched = ("/etc/passwd", "/usr/bin/env", "/etc/shadow")
    before = [read(path) for path in watched]
    said = try_in_both(lab, HOST)

    assert said["full"] == ["tried"]
    assert [read(path) for path in watched] == before
    assert not os.path.exists("/root/nsprov-test")


def read(path):
    """Give what is in a file."""
    with open(path, "rb") as file:
        return file.read()


def test_nodes_have_ids_of_their_own(lab):
    """No two nodes share an id of the host, and root of none is the host's."""
    lab.up({"a": {**FULL, "workloads": {"w": SLEEP}}, "b": {**FULL, "workloads": {"w": SLEEP}}, "c": {"user": {"map": "auto"}}})
    ranges = []
    for node in "abc":
        _, outside, count = lab.run(node, "cat", "/proc/self/uid_map").out.split()
        ranges.append((int(outside), int(outside) + int(count)))
    ranges.sort()

    assert ranges[0][0] >= 100_000
    assert all(before[1] <= after[0] for before, after in zip(ranges, ranges[1:]))
    for node in "ab":
        for pid in (lab.init(node), *lab.group(node, "w-w")):
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                (uids,) = (line.split()[1:] for line in file if line.startswith("Uid:"))
            assert any(first <= int(uid) < end for first, end in ranges for uid in set(uids))


def test_the_hosts_ids_are_refused(lab):
    """Root of a node is root of the host only for who says so."""
    lab.write({"a": {"user": {"map": ["0:0:65536"]}}})

    assert "allow_host_ids" in lab.nsprov("up", code=3).err


EVIL = """#!/bin/sh
echo "$0 $*" >> {0}/ran
exit 1
"""


def test_programs_of_the_callers_are_not_run(lab, tmp_path):
    """`ip`, `mount` and others that come first in PATH are not asked; an init has nothing of the caller's environment."""
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("ip", "mount", "umount", "nsenter", "unshare", "sysctl", "nft", "iptables", "python3", "sh", "true", "docker"):
        (evil / name).write_text(EVIL.format(evil))
        (evil / name).chmod(0o755)
    bad = {"PATH": f"{evil}:{os.environ['PATH']}", "CANARY": "1", **dict.fromkeys(("BASH_ENV", "ENV"), f"{evil}/sh")}
    lab.write({"a": {**FULL, "workloads": {"w": SLEEP}}, "b": {"workloads": {"w": SLEEP}}})
    lab.nsprov("up", "-q", env=bad)
    for node in "ab":
        for pid in (lab.init(node), *lab.group(node, "w-w")):
            assert b"evil" not in read(f"/proc/{pid}/environ")
            assert b"CANARY" not in read(f"/proc/{pid}/environ")
    lab.nsprov("plan", "--detailed-exitcode", env=bad)
    lab.nsprov("exec", "a", "--", "id", env=bad)
    lab.nsprov("down", "-q", env=bad)

    assert not (evil / "ran").exists()
    assert not os.path.exists(Lab.root)


def test_nothing_of_the_hosts_firewall(lab):
    """Its rules are as they were while the lab is up, and after it: there are none of ours."""
    rules = ["nft", "list", "ruleset"]

    def listed():
        try:
            return subprocess.run(rules, check=False, capture_output=True).stdout
        except FileNotFoundError:
            return b""

    before = listed()
    bridges = {"br-sec": {"address": "10.78.0.1/24"}}
    lab.up({"a": {**FULL, "interfaces": {"eth0": {"bridge": "br-sec", "address": "10.78.0.2/24"}}}}, bridges=bridges)

    assert listed() == before
    assert read("/proc/sys/net/ipv4/ip_forward").strip() in (b"0", b"1")
    lab.down()
    assert listed() == before


def test_stop_signals_its_own_processes_only(lab):
    """What `stop` ends is in the workload's own group: others of the same name, session or user live on."""
    bystander = subprocess.Popen(["sleep", "1d"], stdin=subprocess.DEVNULL)
    try:
        lab.up({"a": {**OWN, "workloads": {"w": SLEEP, "v": SLEEP}}, "b": {"workloads": {"w": SLEEP}}})
        others = {name: lab.group(*name) for name in (("a", "w-v"), ("b", "w-w"))}
        lab.nsprov("stop", "a/w")
        lab.nsprov("kill", "b/w", "-s", "CONT")

        assert not lab.group("a", "w-w")
        assert {name: lab.group(*name) for name in others} == others
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
