"""The shipped topologies with workloads, each with the real programs: they come up, do their work, and leave nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from commandline import PATIENCE, ROOT

pytestmark = pytest.mark.root


def until(what, ask, patience=PATIENCE):
    """Ask again and again until it is so."""
    deadline = time.monotonic() + patience
    while not (found := ask()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


@pytest.fixture(name="lab")
def _lab(nsprov, tmp_path):
    """Bring shipped topologies up in a copy of their folder; in the end they go, with proof."""
    folder = tmp_path / "topologies"
    shutil.copytree(ROOT / "topologies", folder)
    used = []

    def up(name):
        used.append(name)
        path = folder / f"{name}.yml"
        nsprov("up", path)
        return path

    yield up
    for name in used:
        nsprov("down", "--lab", name)
        assert "nothing is left" in nsprov("audit", "--lab", name).out


@pytest.fixture(name="busybox")
def _busybox(tmp_path):
    """Build a root of busybox alone, beside the copied topologies, as the file's comment tells."""
    program = shutil.which("busybox")
    assert program, "busybox-static is missing: scripts/setup installs it"

    def build():
        binaries = tmp_path / "topologies/rootfs/bin"
        binaries.mkdir(parents=True)
        shutil.copy(program, binaries)
        subprocess.run(["chroot", binaries.parent, "/bin/busybox", "--install", "-s", "/bin"], check=True)
        return binaries.parent

    return build


def run(nsprov, path, node, *argv, code=0):
    """Run a command in a node and give what it said."""
    return nsprov("exec", "--topology", path, node, "--", *argv, code=code).out.strip()


def states(nsprov, path):
    """Give the state of each workload."""
    rows = nsprov("ps", "-t", path, "-o", "json").json["workloads"]
    return {f"{row['node']}/{row['name']}": row for row in rows}


def test_the_tutorials_container(nsprov, lab, busybox):
    """A UTS name, PID 1, an own /proc, a busybox root, mapped ids, a clock of its own, a NIC: all of it in one file."""
    root = busybox()
    before = sorted(str(found.relative_to(root)) for found in root.rglob("*"))
    path = lab("container")

    assert run(nsprov, path, "box", "hostname") == "box"
    assert run(nsprov, path, "box", "id", "-u") == "0"
    assert run(nsprov, path, "box", "cat", "/proc/1/comm") == "nsprov-init"
    assert int(run(nsprov, path, "box", "cat", "/proc/self/uid_map").split()[1]) >= 0x7000_0000
    assert float(run(nsprov, path, "box", "cat", "/proc/uptime").split()[0]) >= 86400
    assert "eth0" in run(nsprov, path, "box", "ls", "/sys/class/net")
    assert run(nsprov, path, "box", "ls", "/").split() == ["bin", "dev", "etc", "proc", "run", "sys", "tmp"]
    assert "nameserver 8.8.8.8" in run(nsprov, path, "box", "cat", "/etc/resolv.conf")
    assert run(nsprov, path, "box", "wget", "-qO-", "http://127.0.0.1/hostname") == "box"
    run(nsprov, path, "box", "touch", "/bin/new")
    assert sorted(str(found.relative_to(root)) for found in root.rglob("*")) == before
    assert nsprov("plan", path, "--detailed-exitcode").code == 0


def test_a_supervised_service(nsprov, lab):
    """It serves by name, is restarted when it dies and when it hangs, and its log says what it did."""
    path = lab("service")
    first = states(nsprov, path)["server/web"]

    assert first["state"] == "ready"
    assert states(nsprov, path)["client/check"]["state"] == "done"
    assert "it works" in nsprov("logs", "-t", path, "client/check").out
    nsprov("kill", "-t", path, "server/web", "-s", "KILL")
    again = until("it is restarted", lambda: (row := states(nsprov, path)["server/web"])["state"] == "ready" and row)
    assert (again["restarts"], again["pid"] == first["pid"]) == (1, False)
    os.kill(again["pid"], signal.SIGSTOP)
    hung = until("its health check restarts it", lambda: (row := states(nsprov, path)["server/web"])["restarts"] > 1 and row)
    assert hung["pid"] != again["pid"]
    until("it is healthy", lambda: states(nsprov, path)["server/web"]["health"] == "healthy")
    assert "GET / HTTP/1" in nsprov("logs", "-t", path, "server/web").out
    assert nsprov("plan", path, "--detailed-exitcode").code == 0


def test_names_from_dnsmasq(nsprov, lab):
    """Clients reach nginx by a name that only dnsmasq knows."""
    path = lab("names")

    assert nsprov("logs", "-t", path, "client1/fetch").out.strip().endswith("hello from nginx")
    got = run(nsprov, path, "client2", "curl", "-s", "--noproxy", "*", "http://web.lab/")
    assert got == "hello from nginx"
    assert run(nsprov, path, "client1", "getent", "hosts", "web.lab").split()[0] == "10.60.0.3"


def test_a_fabric_of_routers(nsprov, lab):
    """OSPF and BGP converge, hosts reach each other over both spines, and over the other one when a link is cut."""
    path = lab("frr")

    def ping(*more):
        argv = ("ping", "-c1", "-W1", *more)
        done = nsprov("exec", "--topology", path, "h1", "--", *argv, code=None)
        return done.code == 0

    until("h1 reaches h3", lambda: ping("192.168.3.2"), 60)
    until("h1 reaches h2", lambda: ping("192.168.2.2"), 60)
    summary = json.loads(run(nsprov, path, "l1", "vtysh", "-c", "show ip bgp summary json"))
    peers = summary["ipv4Unicast"]["peers"]
    assert {peer: row["state"] for peer, row in peers.items()} == {"10.255.0.1": "Established", "10.255.0.2": "Established"}
    run(nsprov, path, "l1", "ip", "link", "set", "up1", "down")
    until("h1 reaches h3 over the other spine", lambda: ping("192.168.3.2"), 60)
    nsprov("up", path)
    assert nsprov("plan", path, "--detailed-exitcode").code == 0
