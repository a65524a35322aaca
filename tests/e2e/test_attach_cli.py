"""`attach` and `detach`, and attached nodes in topologies, on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import ExitStack

import pytest

from nsprov.kernel import audit

pytestmark = pytest.mark.root


@pytest.fixture(name="process")
def _process():
    """Start a process with a network of its own, in which it has an interface; it ends with the test."""
    with ExitStack() as stack:
        found = subprocess.Popen(["unshare", "--net", "sleep", "100000"], stdin=subprocess.DEVNULL)
        stack.callback(found.wait)
        stack.callback(found.kill)
        here = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{found.pid}/ns/net") == here:
            time.sleep(0.002)
        inside(found, "link", "add", "eth0", "type", "veth", "peer", "name", "far")
        yield found


@pytest.fixture(name="bridge")
def _bridge(run_command):
    """Give a bridge of the host's that is nobody's."""
    run_command("ip", "link", "add", "ours0", "address", "02:00:00:00:00:0a", "type", "bridge")
    run_command("ip", "link", "set", "ours0", "mtu", "1400")
    run_command("ip", "link", "set", "ours0", "up")
    run_command("ip", "address", "add", "10.1.0.1/24", "dev", "ours0")
    yield "ours0"
    run_command("ip", "link", "del", "ours0")


def inside(process, *argv):
    done = subprocess.run(["nsenter", "-t", str(process.pid), "-n", "ip", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def picture(process):
    return [inside(process, "-d", "-j", what) for what in ("link", "address", "route", "rule")]


def test_a_name(nsprov, process, forked, run_command):
    """A process's network gets a name, once, and loses it again."""
    before = picture(process)
    first = nsprov("attach", process.pid, "--name", "web")
    again = nsprov("attach", f"pid:{process.pid}", "--name", "web", "-o", "json")

    assert first.out == f"pid:{process.pid} is attached as web\n"
    assert again.json == {"attached": [vars_of("attachment", process)], "changed": False}
    assert run_command("ip", "netns", "list").split()[0] == "web"
    theirs = os.readlink(f"/proc/{process.pid}/ns/net")
    assert run_command("ip", "netns", "exec", "web", "readlink", "/proc/self/ns/net") == theirs
    assert picture(process) == before
    assert ["@web", "localhost", "1"] in [line.split()[:3] for line in nsprov("ls").out.splitlines()]
    assert nsprov("exec", "web", "--", "ls", "/sys/class/net").out.split() == ["eth0", "far", "lo"]
    assert nsprov("detach", "web").out == f"web is detached from pid:{process.pid}\n"
    assert picture(process) == before
    assert forked(lambda: audit.audit("@web")) == []


def vars_of(kind, process):
    return {"kind": kind, "node": "web", "name": "web", "source": f"pid:{process.pid}", "current": True}


def test_an_interface(nsprov, process, bridge, run_command):
    """An interface is put in, on a bridge that is there, with its MTU and addresses, and taken out again."""
    before = picture(process), run_command("ip", "-j", "link", "show", "dev", bridge)
    options = ["--name", "web", "--bridge", bridge, "--address", "10.1.0.2/24", "--address", "2001:db8::2/64"]
    said = nsprov("attach", process.pid, *options)
    (link,) = json.loads(inside(process, "-j", "address", "show", "dev", "eth1"))

    assert said.out == f"pid:{process.pid} is attached as web, with eth1 on {bridge}\n"
    assert (link["mtu"], link["operstate"]) == (1400, "UP")
    assert {f"{row['local']}/{row['prefixlen']}" for row in link["addr_info"]} >= {"10.1.0.2/24", "2001:db8::2/64"}
    assert "0% packet loss" in run_command("ping", "-c1", "-W5", "10.1.0.2")
    nsprov("detach", "web")
    assert (picture(process), run_command("ip", "-j", "link", "show", "dev", bridge)) == before


def test_all_or_nothing(nsprov, process, bridge):
    """When the interface cannot be had, there is no name either, and the network is as it was."""
    before = picture(process)
    wanted = ("attach", process.pid, "--name", "web", "--bridge")
    taken = nsprov(*wanted, bridge, "--interface", "eth0", code=1)
    inside(process, "address", "add", "10.1.0.9/16", "dev", "eth0")
    overlapping = nsprov(*wanted, bridge, "--address", "10.1.0.2/24", code=1)
    inside(process, "address", "del", "10.1.0.9/16", "dev", "eth0")

    assert 'A link "eth0" exists in node "web"' in taken.err
    assert "overlaps 10.1.0.0/24" in overlapping.err
    assert 'there is no bridge "absent"' in nsprov(*wanted, "absent", code=9).err
    assert '"lo" is no bridge' in nsprov(*wanted, "lo", code=3).err
    assert '"x/y" is no name for an interface' in nsprov(*wanted, bridge, "--interface", "x/y", code=3).err
    assert '"10.1.0.2" has no prefix length' in nsprov(*wanted, bridge, "--address", "10.1.0.2", code=3).err
    assert '"ten/8" is no address' in nsprov(*wanted, bridge, "--address", "ten/8", code=3).err
    assert "is not as asked" in nsprov(*wanted, bridge, "--interface", "a.b", "--address", "0.0.0.0/0", code=7).err
    assert picture(process) == before
    assert [name for name in ("/run/netns", "/run/nsprov") if os.path.lexists(name)] == []


def test_wrong_use(nsprov, process):
    """What does not make sense is said before anything is done."""
    lonely = nsprov("attach", process.pid, "--name", "web", "--address", "10.0.0.1/24", code=3)
    assert "an interface needs a bridge" in lonely.err
    assert "'../x' is no name for a network" in nsprov("attach", process.pid, "--name", "../x", code=3).err
    assert "'host' is no name for a network" in nsprov("attach", process.pid, "--name", "host", code=3).err
    assert "There is no process 4194300." in nsprov("attach", "4194300", "--name", "web", code=1).err
    assert "does not say whose network is meant" in nsprov("attach", "web", "--name", "web", code=1).err
    assert "is that of the host" in nsprov("attach", os.getpid(), "--name", "web", code=1).err
    assert 'nothing is attached as "web"' in nsprov("detach", "web", code=9).err
    assert not os.path.lexists("/run/nsprov")


def test_a_name_that_is_taken(nsprov, process, run_command):
    """A name of somebody else's is left alone, by attach and by detach; one of ours is not given twice."""
    run_command("ip", "netns", "add", "web")
    assert 'A network namespace "web" exists' in nsprov("attach", process.pid, "--name", "web", code=1).err
    assert 'nothing is attached as "web"' in nsprov("detach", "web", code=9).err
    assert os.path.exists("/run/netns/web")
    run_command("ip", "netns", "del", "web")
    nsprov("attach", process.pid, "--name", "web")
    twice = nsprov("attach", f"netns:/proc/{process.pid}/ns/net", "--name", "web", code=1)

    assert '"web" is attached already, and not like this' in twice.err
    assert f"It leads to pid:{process.pid}." in twice.err
    nsprov("detach", "web")
    run_command("umount", "/run/netns")
    os.rmdir("/run/netns")


def test_after_the_process(nsprov, process, bridge, run_command):
    """A name outlives the process, and detach takes it away with what was put in."""
    nsprov("attach", process.pid, "--name", "web", "--bridge", bridge)
    process.kill()
    process.wait()

    assert "eth1" in run_command("ip", "-n", "web", "link")
    assert nsprov("detach", "web").code == 0
    assert "web" not in run_command("ip", "link")


def test_what_a_hand_has_taken(nsprov, process, bridge, run_command):
    """Attached again, it is repaired; detached, it leaves nothing though its name is gone."""
    before = picture(process)
    options = [process.pid, "--name", "web", "--bridge", bridge, "--address", "10.1.0.2/24"]
    nsprov("attach", *options)
    run_command("ip", "netns", "del", "web")
    nsprov("attach", *options)
    assert "0% packet loss" in run_command("ping", "-c1", "-W5", "10.1.0.2")
    run_command("ip", "netns", "del", "web")
    nsprov("detach", "web")

    assert picture(process) == before


def test_no_lab_can_be_meant(nsprov, process):
    """What `attach` has made is touched by `detach` alone: its name is none of a lab."""
    nsprov("attach", process.pid, "--name", "web")

    assert nsprov("down", "--lab", "@web", code=3)
    assert nsprov("status", "--lab", "@web", code=None).code in (1, 3)
    assert os.path.exists("/run/netns/web")
    nsprov("detach", "web")


TOPOLOGY = """
name: t
prefix: t-
bridges: {br0: {address: 10.1.0.1/24}}
nodes:
  web:
    attach: {pid: PID}
    interfaces: {eth1: {bridge: br0, addresses: [10.1.0.2/24]}}
    routes: [{to: 10.9.0.0/16, via: 10.1.0.3}]
  n:
    interfaces: {eth0: {bridge: br0, addresses: [10.1.0.3/24]}}
links:
  - {endpoints: ["n:eth1", "web:eth2"], addresses: [[10.2.0.1/24], [10.2.0.2/24]]}
"""


@pytest.mark.parametrize("way", ["by its file", "by its name"])
def test_a_topology(nsprov, process, run_command, way):
    """A process is a node like others: up, second plan, status, repair, exec, down; and it is none that dies."""
    before = picture(process)
    path = nsprov.write("topology.yml", TOPOLOGY.replace("PID", str(process.pid)))
    nsprov("up", path)
    assert nsprov("diff", path).out.strip().endswith("no changes") or nsprov("plan", "--detailed-exitcode", path, code=0)
    assert "0% packet loss" in nsprov("exec", "web", "--", "ping", "-c1", "-W5", "10.1.0.3").out
    assert "0% packet loss" in nsprov("exec", "n", "--", "ping", "-c1", "-W5", "web").out
    run_command("ip", "-n", "t-web", "link", "del", "eth1")
    nsprov("status", "--lab", "t", "--detailed-exitcode", code=10)
    nsprov("up", path)
    nsprov("plan", "--detailed-exitcode", path, code=0)
    nsprov("audit", path, code=7)
    nsprov("down", *((path,) if way == "by its file" else ("--lab", "t")))

    assert nsprov("audit", "--lab", "t").out == "lab t on localhost: nothing is left\n"
    assert picture(process) == before
    assert process.poll() is None


def test_a_node_of_a_process_that_has_gone(nsprov, process):
    """The plan says in words that there is nothing to attach to; down needs no process."""
    path = nsprov.write("topology.yml", TOPOLOGY.replace("PID", str(process.pid)))
    nsprov("up", path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    assert f"There is no process {process.pid}." in nsprov("plan", path, code=1).err
    assert f"There is no process {process.pid}." in nsprov("up", path, code=1).err
    nsprov("down", "--lab", "t")
    assert nsprov("audit", "--lab", "t").code == 0
