"""Hosts, links and controllers that fail at any moment: afterwards every host has the old lab or the new one, and `up` heals.

A workload of lab2 is not ready before it is told: until then lab1 and lab3 have done their part, and lab2 is in the middle.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time

import pytest
from controlled import Fleet, finish, frozen, until

LOST = 3
"""Seconds of silence after which a host is lost here; a busy machine must not be taken for a lost one."""

BEFORE = """\
name: demo
nodes:
  a1: {host: lab1}
  b2: {host: lab2}
  c1: {host: lab3}
"""
GATE = """\
name: demo
nodes:
  a1: {host: lab1, sysctls: {net.ipv4.ip_forward: 1}}
  a3: {host: lab1}
  b1:
    host: lab2
    workloads:
      gate: {command: sleep 1d, ready: {exec: [test, -e, /tmp/go], interval: 50ms, timeout: 100s}}
  c1: {host: lab3}
  c3: {host: lab3}
"""


@pytest.fixture(scope="module", name="fleet")
def _fleet(lab, tmp_path_factory):
    """Three hosts with a lab that every fault finds, and that is there again after it; nothing is left in the end."""
    found = Fleet(lab, tmp_path_factory.mktemp("faults"))
    found.topology(BEFORE)
    found.nsprov("up")
    found.old = holds(found)
    yield found
    found.nsprov("down", "--lab", "demo")
    found.nsprov("audit", "--lab", "demo")
    found.check()


@pytest.fixture(name="gate")
def _gate(fleet):
    """Start an `up` that stands still in the middle, and see that the old lab is there again in the end."""
    fleet.hosts[1].run("rm -f /tmp/go")
    fleet.topology(GATE)
    yield lambda *argv, **options: Gate(fleet, *argv, **options)
    fleet.nsprov.end()
    fleet.topology(BEFORE)
    fleet.nsprov("up", "--lock-timeout", "20", "-q")
    back(fleet)


_HOLDS = """
ls /run/netns /run/nsprov/demo/ctl
for name in $(ls /run/netns); do
    ip -n $name -o link | cut -d' ' -f2; ip netns exec $name cat /proc/sys/net/ipv4/ip_forward
done
ps -eo args | grep -E '[p]ython' || true
"""


def holds(fleet):
    """Give what each host has of the lab, and its agents."""
    return {host.name: host.run(_HOLDS) for host in fleet.hosts}


def changed(fleet):
    """Give the hosts that do not have what they had."""
    now = holds(fleet)
    return [name for name, text in fleet.old.items() if now[name] != text]


def back(fleet):
    """Wait until every host has what it had."""
    until(lambda: not changed(fleet), "all hosts have what they had", pause=0.05)


class Gate:
    """An `up` in the middle of its second phase."""

    def __init__(self, fleet, *argv, **options):
        """Start it and wait until it is there."""
        self.fleet = fleet
        self.process = fleet.nsprov.start("up", "--host-timeout", str(LOST), *argv, **options)
        until(self._there, "the run is in the middle")

    def _there(self):
        assert self.process.poll() is None, self.process.communicate()
        waiting = (self.fleet.hosts[1].root / "run/nsprov/demo/ctl/b1.sock").exists()
        return waiting and all(f"demo-{node}" in self.fleet.netns(number) for number, node in ((0, "a3"), (2, "c3")))

    def agent(self, number):
        """Give the PID, on the host, of the agent that holds the lock."""
        return int(self.fleet.lock(number).partition(", pid ")[2].split()[0])

    def open(self):
        """Let lab2 go on."""
        self.fleet.hosts[1].run("touch /tmp/go")

    def signal(self, number):
        """Send the controller a signal."""
        self.process.send_signal(number)

    def end(self):
        """Give what it said."""
        return finish(self.process)


@contextlib.contextmanager
def cut(number):
    """Pull the plug of a host."""
    wire = f"nsp-lab-v{number + 1}"
    subprocess.run(["ip", "link", "set", wire, "down"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "set", wire, "up"], check=True)


def test_a_frozen_host(gate, fleet):
    """It is lost after a while, and the others go back; thawed, it finds itself alone and goes back too."""
    run = gate()
    with frozen(fleet.hosts[1]):
        said = run.end()
        assert changed(fleet) == ["h2"]

    assert said.code == 4, said.err
    assert f"the host has said nothing for {LOST} s" in said.err
    assert "--> lab2" in said.err
    assert "it puts itself back when it notices that nobody waits for it" in said.err
    back(fleet)


def test_a_link_that_is_cut(gate, fleet):
    """No word gets to lab2 or from it: each side finds out by itself, and goes back."""
    run = gate()
    with cut(1):
        said = run.end()
        back(fleet)

    assert said.code == 4, said.err
    assert "--> lab2" in said.err


def test_a_frozen_controller(gate, fleet):
    """Hosts whose controller says nothing go back, the one that has done its part as well; thawed, it says that they have."""
    run = gate()
    run.signal(signal.SIGSTOP)
    back(fleet)
    run.signal(signal.SIGCONT)
    said = run.end()

    assert said.code == 4, said.err


def test_an_agent_that_is_killed_when_it_is_done(gate, fleet):
    """Nobody is left there to go back: the others do, and its journal tells the next run."""
    run = gate()
    fleet.hosts[0].run(f"kill -9 {run.agent(0)}")
    run.open()
    said = run.end()

    assert said.code == 4, said.err
    assert "--> lab1" in said.err
    until(lambda: changed(fleet) == ["h1"], "the others have gone back")


def test_a_controller_that_is_told_to_end(gate, fleet):
    """Every host has gone back when it ends."""
    run = gate()
    run.signal(signal.SIGHUP)
    said = run.end()

    assert said.code == 129, said.err
    assert "lab demo is as it was before this run" in said.err
    assert changed(fleet) == []


def test_no_patience_with_a_frozen_host(gate, fleet):
    """The first Ctrl-C makes all go back; the second one ends the waiting for lab2, and says that nobody knows."""
    run = gate("--host-timeout", "100")
    with frozen(fleet.hosts[1]):
        run.signal(signal.SIGINT)
        until(lambda: "demo-a3" not in fleet.netns(0) and "demo-c3" not in fleet.netns(2), "the others have gone back")
        run.signal(signal.SIGINT)
        said = run.end()

    assert said.code == 6, said.err
    assert "unknown whether it has gone back" in said.err
    assert "--> lab2" in said.err
    back(fleet)


def test_hosts_that_keep_what_they_have(gate, fleet):
    """With --on-disconnect commit what is verified stays; `status` sees hosts of different runs, and `up` mends that."""
    run = gate("--on-disconnect", "commit")
    run.signal(signal.SIGKILL)
    run.process.communicate()
    until(lambda: not any(fleet.lock(number) and locked(fleet, number) for number in range(3)), "nobody holds a lock")

    assert changed(fleet) == ["h1", "h3"]
    said = fleet.nsprov("status", "--lab", "demo", code=7)
    assert "--> lab2" in said.err
    run.open()
    fleet.nsprov("up", "-q")
    fleet.nsprov("status", "--lab", "demo", "--detailed-exitcode")


def locked(fleet, number):
    """Tell whether somebody holds a host's lock of the lab."""
    script = "flock -n /run/nsprov/demo.lock true || echo held"
    return fleet.hosts[number].run(script).strip() == "held"


def test_a_full_disk(fleet, gate):
    """The journal cannot be written on lab3: exit 5, and no host has anything new."""
    lab = "/run/nsprov/demo"
    fleet.hosts[2].run(f"mount -o remount,size=64k {lab}; dd if=/dev/zero of={lab}/x bs=4k 2>/dev/null || true")
    fleet.hosts[1].run("touch /tmp/go")
    said = fleet.nsprov("up", code=5)
    fleet.hosts[2].run(f"rm {lab}/x; mount -o remount,size=25% {lab}")

    assert "No space left on device" in said.err
    assert "--> lab3" in said.err
    back(fleet)


def test_a_changed_host_key(fleet, gate, tmp_path):
    """Exit 4 at once, and no host has anything new."""
    del gate
    config = tmp_path / "config"
    keys = fleet.hosts[0].known_hosts.read_text().splitlines()
    swapped = [f"{line.split()[0]} {' '.join(keys[0].split()[1:])}" for line in keys]
    (tmp_path / "known").write_text("\n".join(swapped) + "\n")
    text = fleet.hosts[0].ssh_config.read_text().replace(str(fleet.hosts[0].known_hosts), str(tmp_path / "known"))
    config.write_text(text)
    said = fleet.nsprov("up", "-F", str(config), code=4)

    assert "--> lab2" in said.err
    assert "lab3" in said.err
    assert changed(fleet) == []


def test_waiting_for_another_run(gate, fleet):
    """With --lock-timeout a run waits for the other one, says for whose, and then does its part."""
    first = gate()
    second = fleet.nsprov.start("up", "--lock-timeout", "60", "-v", env={"USER": "bob"})
    lines = []
    while not lines or "wait for the lock of alice@" not in lines[-1]:
        lines.append(second.stderr.readline().decode())
        assert lines[-1], lines
    first.open()

    assert first.end().code == 0
    said = finish(second)
    assert said.code == 0, said.err
    assert "nothing to do" in said.out


def test_one_of_two_goes_through(fleet, gate):
    """However two runs meet, one of them gets all locks, and the other one is told by whom it was beaten."""
    del gate
    fleet.hosts[1].run("touch /tmp/go")
    runs = [fleet.nsprov.start("up", "-q", env={"USER": user}) for user in ("alice", "bob")]
    codes = sorted(finish(run).code for run in runs)

    assert codes in ([0, 0], [0, 8])


@pytest.mark.parametrize("seed", range(2))
def test_a_kill_at_random(fleet, gate, seed):
    """SIGKILL for the controller or an agent, whenever: `up` heals."""
    del gate
    dice = random.Random(seed)
    fleet.hosts[1].run("touch /tmp/go")
    process = fleet.nsprov.start("up")
    victim = dice.choice(["controller", 0, 1, 2])
    until(lambda: process.poll() is not None or any(fleet.lock(number) for number in range(3)), "it has begun")
    time.sleep(dice.uniform(0, 0.3))
    if victim == "controller":
        process.kill()
    else:
        fleet.hosts[victim].run("pkill -9 -f '[p]ython.* -c' || true")
    process.communicate()
    fleet.nsprov("up", "-q", "--lock-timeout", "20")

    assert fleet.nsprov("diff", "-o", "json").code == 0
