"""Ctrl-C and SIGTERM at any moment of an `up`: an exit code that says so, and nothing is left."""

from __future__ import annotations

import os
import signal
import time

import pytest
from commandline import finish, read_until, until

pytestmark = pytest.mark.root

LARGE = """\
name: large
bridges:
  large0: {address: 10.72.0.1/16}
nodes:
  "n[1:100]":
    sysctls: {net.ipv4.ip_forward: 1}
    interfaces: {eth0: {bridge: large0, address: "10.72.1.{{ index }}/16"}}
    routes: [{to: default, via: 10.72.0.1}]
"""


@pytest.fixture(name="large")
def _large(nsprov):
    """Give the command line in a folder with a lab of 100 nodes."""
    nsprov.write("topology.yml", LARGE)
    return nsprov


@pytest.mark.parametrize("kind", ["netns", "file", "veth", "mntns", "address", "route"])
def test_control_c_during_a_step(large, kind):
    """Exit 130 once everything is put back; the words say so."""
    process = large.start("up", "-v")
    read_until(process, f"create {kind} ")
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)
    large("audit")

    assert said.code == 130, said.err
    assert "lab large is as it was before this run" in said.err


@pytest.mark.parametrize("share", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
def test_control_c_at_any_time(large, share):
    """Whatever the moment, exit 0 means that everything is there, and who is told that nothing was changed finds nothing."""
    process = large.start("up", "-q")
    until(lambda: os.path.exists("/run/nsprov/large.lock") or process.poll() is not None, "it has begun")
    time.sleep(0.06 * (share - 1))  # the moment is arbitrary and the outcome must not depend on it
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)
    if said.code == 0:
        large("diff")
    elif "nothing was changed" in said.err or "is as it was" in said.err:
        large("audit")
    large("down")

    assert said.code in (0, 130), said.err


def test_control_c_while_it_reports(large):
    """When everything is done and only the telling is left, nobody is told that nothing was changed."""
    process = large.start("up", "-v", "-q", "-o", "json")  # more than a pipe holds, and nobody reads it
    until(lambda: _committed() and _sleeps_in_write(process.pid), "it writes")
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)
    large("diff")
    large("down")

    assert "nothing was changed" not in said.err


def _committed():
    return os.path.exists("/run/nsprov/large/manifest.json") and not os.path.exists("/run/nsprov/large/journal.json")


def _sleeps_in_write(pid):
    with open(f"/proc/{pid}/syscall", encoding="utf-8") as file:
        return file.read().startswith(("1 0x1 ", "64 0x1 "))  # write(1, ...) on x86-64, and on arm64


def test_control_c_twice(large):
    """Somebody who is impatient presses it again: nobody waits for it any more, and still everything is put back."""
    process = large.start("up", "-v")
    read_until(process, "create veth")
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    said = finish(process)

    assert said.code in (6, 130, -signal.SIGINT), said.err
    assert (said.code == 6) == ("unknown whether it has gone back" in said.err)
    until(lambda: large("audit", code=None).code == 0, "nothing is left")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_other_ends(large, number):
    """A controller that is killed leaves an agent that goes back by itself."""
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)  # who runs the tests under nohup(1) hands an ignored SIGHUP on
    process = large.start("up", "-v")
    read_until(process, "create veth")
    process.send_signal(number)
    said = finish(process)

    assert said.code in (-number, 128 + number)
    until(lambda: large("audit", code=None).code == 0, "nothing is left")


def test_control_c_in_an_edit(large):
    """The lab is what it was, and its record says so."""
    large.write("topology.yml", LARGE.replace("n[1:100]", "n[1:3]"))
    large("up")
    large.write("topology.yml", LARGE.replace("net.ipv4.ip_forward: 1", "net.ipv4.ip_forward: 0"))
    process = large.start("up", "-v")
    read_until(process, "create veth")
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)
    large("status", "--lab", "large", "--detailed-exitcode")
    large.write("topology.yml", LARGE.replace("n[1:100]", "n[1:3]"))
    large("diff")
    large("down")

    assert said.code == 130, said.err


def test_control_c_in_a_down(large):
    """A `down` that is interrupted says so or is done; the next one leaves nothing."""
    large("up", "-q")
    process = large.start("down", "-v")
    read_until(process, "delete")
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)
    large("down", "--lab", "large")
    large("audit")

    assert said.code in (0, 130), said.err
