"""Runs that die: the controller or an agent, at any moment, by a signal that can or cannot be caught."""

from __future__ import annotations

import os
import re
import signal

import pytest
from controlled import big, demo_fixture, finish, fleet_fixture, read_until, until  # noqa: F401 - fixtures

NODES = 200


@pytest.fixture(name="large")
def _large(fleet):
    """Give the fleet with a lab of many nodes to bring up."""
    fleet.topology(big(NODES))
    return fleet


def in_the_middle(fleet, process, share=20):
    """Wait until an `up` has made some nodes on every host."""

    def made():
        assert process.poll() is None, "it is over already"
        return all(len(fleet.netns(number)) >= share for number in range(3))

    until(made, "some nodes are there")


def agent_of(fleet, number, lab="big"):
    """Give the PID, on the host, of the agent that holds a lab's lock."""
    return int(re.search(r"pid (\d+) on", until(lambda: fleet.lock(number, lab), "the lock is held"))[1])


def test_a_controller_that_is_killed(large):
    """SIGKILL in the middle: each agent sees the end of its channel, goes back by itself, and leaves nothing."""
    process = large.nsprov.start("up")
    in_the_middle(large, process)
    process.kill()
    process.communicate()

    large.nothing_left()


def test_a_controller_that_is_terminated(large):
    """SIGTERM in the middle leaves nothing either."""
    process = large.nsprov.start("up")
    in_the_middle(large, process)
    process.terminate()
    said = finish(process)

    assert said.code in (-signal.SIGTERM, 143)
    large.nothing_left()


@pytest.mark.parametrize("step", ["create netns", "create veth", "create address"])
def test_an_interrupted_controller(large, step):
    """Ctrl-C: exit 130 once every host has gone back."""
    process = large.nsprov.start("up", "-v")
    read_until(process, step)
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)

    assert said.code == 130, said.err
    assert "lab big is as it was before this run" in said.err
    large.nothing_left()


def test_an_interrupted_edit(demo):
    """Ctrl-C while a lab grows: it is what it was, with its record."""
    demo.topology(big(NODES).replace("name: big", "name: demo"))
    process = demo.nsprov.start("up", "-v")
    read_until(process, "create veth")
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)

    assert said.code == 130, said.err
    demo.nsprov("status", "--lab", "demo", "--detailed-exitcode")
    assert [len(demo.netns(number)) for number in range(3)] == [2, 2, 1]


def killed_agent(fleet):
    """Start an `up`, kill lab2's agent with SIGKILL in the middle, and give what the controller said."""
    process = fleet.nsprov.start("up")
    in_the_middle(fleet, process)
    fleet.hosts[1].run(f"kill -9 {agent_of(fleet, 1)}")
    return finish(process)


def test_an_agent_that_is_killed(large):
    """The controller exits 4 and says where; the other hosts go back, and the next `up` reads the journal and converges."""
    said = killed_agent(large)

    assert said.code == 4, said.err
    assert "the agent has gone" in said.err
    assert "--> lab2" in said.err
    assert large.netns(0) + large.netns(2) == []
    again = large.nsprov("up")
    large.nsprov("diff")
    large.nsprov("down")
    assert "an earlier run on lab2 was killed" in again.err


def test_down_after_an_agent_that_was_killed(large):
    """`down` by name reads the journal and leaves nothing; `audit` agrees."""
    killed_agent(large)
    large.nsprov("audit", "--lab", "big", code=7)
    large.nsprov("down", "--lab", "big")
    large.nsprov("audit", "--lab", "big")

    large.nothing_left()


def test_a_connection_that_is_cut(large):
    """When sshd's child dies in the middle, the agent behind it goes back by itself, and so do the other hosts."""
    process = large.nsprov.start("up")
    in_the_middle(large, process)
    large.hosts[1].run("pkill -9 -f '[s]shd.*: lab'")
    said = finish(process)

    assert said.code == 4, said.err
    large.nothing_left()
