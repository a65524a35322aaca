"""What comes into a node with a process of ours: no descriptor, no directory, no program that could be written to."""

from __future__ import annotations

import hashlib
import os
import socket
import sys

import pytest
from attacked import SLEEP, both
from commandline import finish, until

pytestmark = pytest.mark.root
NODES = {**both(w=SLEEP), "bare": {"workloads": {"w": SLEEP}}}


def open_files(pid):
    """Give what a process has open, by number."""
    top = f"/proc/{pid}/fd"
    return {int(number): os.readlink(f"{top}/{number}") for number in os.listdir(top)}


def test_what_the_caller_has_open_stays_with_him(lab):
    """A directory of the host and a socket that `up` inherited are in no init and in no workload (CVE-2024-21626)."""
    lab.write(NODES)
    ours, theirs = socket.socketpair()
    root = os.open("/", os.O_RDONLY)
    name = os.readlink(f"/proc/self/fd/{theirs.fileno()}")
    try:
        finish(lab.nsprov.start("up", "-q", pass_fds=(root, theirs.fileno())))
        inits = {node: open_files(lab.init(node)) for node in NODES}
        workloads = {node: open_files(lab.group(node, "w-w")[0]) for node in NODES}
    finally:
        os.close(root)
        ours.close()
        theirs.close()

    for found in inits.values():
        assert name not in found.values()
        assert "/" not in found.values()
        assert not [path for path in found.values() if path.startswith(("/proc", "net:", "mnt:", "user:"))]
    for found in workloads.values():
        assert sorted(found) == [0, 1, 2]
        assert found[0] == "/dev/null"
        assert all(path.startswith("pipe:") for path in (found[1], found[2]))


def test_nobody_is_outside_of_his_root(lab):
    """The root and the working directory of inits and workloads are the node's (CVE-2024-21626)."""
    lab.up(NODES)

    for node in NODES:
        for pid in (lab.init(node), lab.group(node, "w-w")[0]):
            assert os.readlink(f"/proc/{pid}/cwd") == "/"
            root = os.open(f"/proc/{pid}/root", os.O_PATH)
            pinned = lab.run(node, "stat", "-c", "%d:%i", "/").out.strip()
            assert f"{os.fstat(root).st_dev}:{os.fstat(root).st_ino}" == pinned
            os.close(root)


def digest(path):
    """Give a digest of a program."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


WRITE = """
import os, glob
for pid in sorted(glob.glob("/proc/[0-9]*")):
    for how in (os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
        try:
            os.open(pid + "/exe", how)
            print("opened", pid)
        except OSError as problem:
            pass
print("tried")
"""


def test_no_program_of_ours_can_be_written_to(lab):
    """Not by root of a user namespace, nor by a workload with the usual capabilities (CVE-2019-5736)."""
    programs = (os.path.realpath(sys.executable), os.path.realpath("/bin/sleep"))
    before = [digest(path) for path in programs]
    writer = {"type": "oneshot", "command": ["python3", "-c", WRITE]}
    lab.up(both(**{"w": SLEEP, "try": writer}))

    assert lab.log("full/try") == lab.log("own/try") == "tried\n"
    assert lab.run("full", "python3", "-c", WRITE).out == "tried\n"
    assert [digest(path) for path in programs] == before


PEEK = """
import os
for name in ("exe", "cwd", "root", "fd/0", "environ", "maps", "mem"):
    try:
        os.close(os.open(f"/proc/1/{name}", os.O_RDONLY))
        print("opened", name)
    except OSError as problem:
        pass
print("tried")
"""


def test_a_workload_cannot_look_into_the_init(lab):
    """Its init has more capabilities than it has, so the kernel lets it see neither files nor memory (ptrace(2))."""
    peek = {"type": "oneshot", "command": ["python3", "-c", PEEK]}
    lab.up(both(peek=peek))

    assert lab.log("own/peek") == "tried\n"
    assert lab.log("full/peek") == "tried\n"


def test_a_command_dies_with_the_tool(lab):
    """A killed `exec` leaves nothing running in the node."""
    lab.up(NODES)
    for node in NODES:
        process = lab.nsprov.start("exec", node, "--", "sleep", "4711")
        until(lambda node=node: lab.group(node, "exec"), "it runs")
        process.kill()
        process.communicate()
        until(lambda node=node: not lab.group(node, "exec"), "it is gone")
