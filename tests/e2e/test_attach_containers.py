"""Containers as nodes: runc's by process id, podman's and docker's by name, started anew, and left as they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

import containers

pytestmark = pytest.mark.root

TOPOLOGY = """
name: t
prefix: t-
bridges: {br0: {address: 10.1.0.1/24}}
nodes:
  web:
    attach: {ENGINE: web}
    interfaces: {eth1: {bridge: br0, addresses: [10.1.0.2/24, "2001:db8::2/64"]}}
    routes: [{to: 10.9.0.0/16, via: 10.1.0.1}]
  n:
    interfaces: {eth0: {bridge: br0, addresses: [10.1.0.3/24]}}
"""
LOOKS = ("link", "address", "route show table all", "-6 route show table all", "rule", "-6 rule")


@pytest.fixture(name="engine", params=[containers.Podman, containers.Docker], ids=["podman", "docker"])
def _engine(request, tmp_path_factory, host):
    """Give a running container engine, which leaves nothing."""
    found = request.param(tmp_path_factory.mktemp("engine"))
    yield found
    found.end()


@pytest.fixture(name="topology")
def _topology(engine, nsprov):
    """Write a topology with a node that is the container `web`."""
    return nsprov.write("topology.yml", TOPOLOGY.replace("ENGINE", engine.name))


def picture(pid):
    """Give what is in the network of a process, to the byte."""
    argv = ["nsenter", "-t", str(pid), "-n", "ip", "-d", "-j"]
    return [subprocess.run([*argv, *look.split()], capture_output=True, check=True).stdout for look in LOOKS]


def began(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def furnish(pid):
    """Give a container what an engine's own network would: an interface with an address and a default route."""
    script = """
    echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
    ip link add eth0 type veth peer name far; ip link set eth0 up; ip link set far up; ip link set lo up
    ip address add 10.88.0.2/16 dev eth0; ip route add default via 10.88.0.1
    """
    subprocess.run(["nsenter", "-t", str(pid), "-n", "sh", "-e", "-c", script], check=True)


def test_a_container(engine, topology, nsprov, run_command):
    """Up, traffic both ways, an empty second plan, status, down: the container runs on and is as it was."""
    pid = engine.run("web")
    furnish(pid)
    before, birth = picture(pid), began(pid)
    nsprov("up", topology)

    assert nsprov("plan", "--detailed-exitcode", topology).code == 0
    assert nsprov("status", "--detailed-exitcode", "--lab", "t").code == 0
    assert "0% packet loss" in nsprov("exec", "n", "--", "ping", "-c1", "-W5", "web").out
    assert "0% packet loss" in engine.do("exec", "web", "ping", "-c1", "-W5", "10.1.0.3")
    assert "t-web" in run_command("ip", "netns", "list").split()
    assert "10.88.0.2/16" in run_command("ip", "-n", "t-web", "-br", "address")
    nsprov("down", "--lab", "t")
    assert nsprov("audit", "--lab", "t").code == 0
    assert (picture(pid), began(pid), engine.pid("web")) == (before, birth, pid)


def test_it_is_started_anew(engine, topology, nsprov):
    """A container that was started anew has drifted, and one run makes everything in its new network."""
    engine.run("web")
    nsprov("up", topology)
    before = picture(engine.restart("web"))
    drifted = nsprov("status", "--lab", "t", "--detailed-exitcode", "-v", code=10)
    nsprov("up", topology)

    assert "attachment:web" in drifted.out
    assert nsprov("plan", "--detailed-exitcode", topology).code == 0
    assert "0% packet loss" in engine.do("exec", "web", "ping", "-c1", "-W5", "10.1.0.3")
    nsprov("down", topology)
    assert picture(engine.pid("web")) == before


def test_it_does_not_run(engine, topology, nsprov):
    """Without the container, or while it does not run, a plan says so in words; down needs none of it."""
    absent = nsprov("plan", topology, code=1)
    engine.run("web")
    nsprov("up", topology)
    engine.kill("web")
    killed = [nsprov(*command, code=1).err for command in (("plan", topology), ("up", topology), ("status", "--lab", "t"))]

    assert f'There is no container "web" in {engine.name}.' in absent.err
    assert all('Container "web" is not running.' in words for words in killed)
    nsprov("down", "--lab", "t")
    assert nsprov("audit", "--lab", "t").code == 0


def test_it_is_killed_after_the_plan(engine, topology, nsprov):
    """A saved plan for a container that was killed since is refused, and nothing is left of it."""
    engine.run("web")
    nsprov("plan", topology, "--out", "saved")
    os.kill(engine.pid("web"), signal.SIGKILL)
    refused = nsprov("up", "saved", code=1)

    assert 'Container "web" is not running.' in refused.err
    assert not os.path.lexists("/run/nsprov")


def test_it_takes_the_whole_network_of_the_host(engine, topology, nsprov):
    """A container in the host's network is none to attach."""
    engine.do("run", "-d", "--name", "web", "--network", "host", "box:1", *containers.FOREVER)
    refused = nsprov("up", topology, code=1)
    engine.do("rm", *engine.at_once, "web")

    assert f"The network of {engine.name} web is that of the host." in refused.err


def test_its_default_route_stays(engine, topology, nsprov):
    """A default route of ours is refused where the container has one."""
    pid = engine.run("web")
    furnish(pid)
    topology.write_text(topology.read_text().replace("10.9.0.0/16, via", "default, via"))
    refused = nsprov("up", topology, code=1)

    assert 'Node "web" has a route to 0.0.0.0/0 via 10.88.0.1 already, which is not of this lab.' in refused.err


def test_by_id_and_by_hand(engine, nsprov, run_command):
    """`attach` takes a container's id as well, or how that begins."""
    pid = engine.run("web")
    identifier = engine.do("container", "inspect", "-f", "{{.Id}}", "web")
    for name in (identifier, identifier[:12], "web"):
        nsprov("attach", f"{engine.name}:{name}", "--name", "x")
        assert str(pid) in run_command("ip", "netns", "pids", "x").split()
        nsprov("detach", "x")


def test_engines_that_are_not_there(nsprov, run_command):
    """An engine that does not answer is said to be the reason, in its own words, and down does not need it."""
    path = nsprov.write("topology.yml", TOPOLOGY.replace("ENGINE", "docker"))
    refused = nsprov("plan", path, code=1)

    assert "docker says: " in refused.err
    assert "Is the docker daemon running?" in refused.err


def test_runc(tmp_path, host, nsprov, run_command):
    """A container of any other runtime is attached by its first process."""
    runc = containers.Runc(tmp_path)
    pid = runc.run("web")
    furnish(pid)
    before = picture(pid)
    path = nsprov.write("topology.yml", TOPOLOGY.replace("ENGINE: web", f"pid: {pid}"))
    nsprov("up", path)

    assert nsprov("plan", "--detailed-exitcode", path).code == 0
    assert "0% packet loss" in nsprov("exec", "n", "--", "ping", "-c1", "-W5", "web").out
    assert "10.1.0.2/24" in run_command("runc", "--root", tmp_path / "state", "exec", "web", "ip", "address", "show", "eth1")
    nsprov("down", "--lab", "t")
    assert picture(pid) == before
    runc.end()
