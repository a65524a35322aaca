"""A controller of three lab hosts: its inventory as a user writes one, its folder, and how the hosts looked before."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import pytest
from commandline import PATIENCE, PROGRAM, CommandLine, finish, read_until, until
from labhosts import PASSWORD

__all__ = [
    "EDITED",
    "INVENTORY",
    "LAB",
    "PATIENCE",
    "PROGRAM",
    "CommandLine",
    "Fleet",
    "big",
    "demo_fixture",
    "finish",
    "fleet_fixture",
    "frozen",
    "read_until",
    "until",
]

INVENTORY = f"""\
all:
  hosts:
    lab1:
      host: 10.87.0.1
      user: root
    lab2:
      host: 10.87.0.2
      user: lab
      become: true
    lab3:
      ansible_host: 10.87.0.3
      ansible_user: labpw
      ansible_become: true
      ansible_become_password: {PASSWORD}
"""

LAB = """\
name: demo
bridges:
  br1: {address: 10.61.1.1/24, host: lab1}
nodes:
  a1: {host: lab1, interfaces: {eth0: {bridge: br1, address: 10.61.1.11/24}}}
  a2: {host: lab1, interfaces: {eth0: {bridge: br1, address: 10.61.1.12/24}}}
  b1: {host: lab2}
  b2: {host: lab2}
  c1: {host: lab3, sysctls: {net.ipv4.ip_forward: 1}}
links:
  - {endpoints: [b1:eth0, b2:eth0], addresses: [10.61.2.1/24, 10.61.2.2/24]}
"""

EDITED = LAB.replace("10.61.2.2/24", "10.61.2.22/24").replace("  b1:", "  b3: {host: lab2}\n  b1:")

# A carrier comes up by and by, so neither states nor what depends on them is looked at.
_LOOK = r"""
ip -o link | sed 's/<.*> / /; s/ state [A-Z]* / /'
ip -o addr show scope global; ip route | sed 's/ linkdown//'; cat /proc/self/mountinfo
find /run/netns /run/nsprov /etc/netns -printf '%p %l\n' 2>/dev/null
ps -eo args | grep -E '[n]sprov|[p]ython' || true
"""


def looks(pid=None):
    """Give every line that describes a host's network, mounts, files and agents; without a PID, of the controller."""
    enter = [] if pid is None else ["nsenter", "-t", str(pid), "-a"]
    look = _LOOK if pid is not None else _LOOK.replace("ps -eo", "true")
    done = subprocess.run([*enter, "/bin/sh", "-c", look], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return set(done.stdout.splitlines())


@contextlib.contextmanager
def frozen(host):
    """Stop every process of a host."""
    inside = os.readlink(f"/proc/{host.pid}/ns/pid")
    found = [int(name) for name in os.listdir("/proc") if name.isdigit() and _namespace(name) == inside]
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):  # it was not to be stopped from dying
                os.kill(pid, signal.SIGCONT)


def _namespace(pid):
    """Give the PID namespace of a process, if it still is there."""
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(f"/proc/{pid}/ns/pid")
    return None


class Fleet:
    """Three hosts, the controller's command line, and what must be as it was in the end."""

    def __init__(self, hosts, folder):
        """Write the inventory and look at every host."""
        self.hosts = hosts
        self.nsprov = CommandLine(folder, "--inventory", "inventory.yml", "-F", str(hosts[0].ssh_config))
        self.inventory(INVENTORY)
        self.topology(LAB)
        self.before = self.look()

    def inventory(self, text):
        """Write the inventory."""
        self.nsprov.write("inventory.yml", text)

    def topology(self, text, name="topology.yml"):
        """Write the topology."""
        self.nsprov.write(name, text)

    def look(self):
        """Give what describes each host, and the controller."""
        return {"controller": looks(), **{host.name: looks(host.pid) for host in self.hosts}}

    def changed_hosts(self, before=None):
        """Give the names of hosts that are not as they were."""
        before, now = before or self.before, self.look()
        return sorted(name for name, lines in now.items() if lines != before[name])

    def same_as(self, before):
        """Wait until every host is as it was; the kernel takes namespaces down by and by."""
        deadline = time.monotonic() + PATIENCE
        while self.changed_hosts(before):
            if time.monotonic() > deadline:
                now = self.look()
                raise AssertionError("\n".join(f"{n}: {line}" for n in now for line in sorted(now[n] ^ before[n])))
            time.sleep(0.02)

    def nothing_left(self):
        """Wait until every host is as it was before the test."""
        self.same_as(self.before)

    def netns(self, host):
        """Give the names of a host's network namespaces."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(self.hosts[host].root / "run/netns"))
        return []

    def lock(self, host, lab="demo"):
        """Give what a host's lock file of a lab says; nothing if there is none."""
        with contextlib.suppress(FileNotFoundError):
            return (self.hosts[host].root / f"run/nsprov/{lab}.lock").read_text()
        return ""

    def check(self):
        """End what runs, fail if anything is left, and remove that, so that the next test begins with nothing."""
        self.nsprov.end()
        try:
            self.nothing_left()
        finally:
            if self.changed_hosts():
                self._remove()

    def _remove(self):
        self.inventory(INVENTORY)
        for lab in ("demo", "big"):
            self.nsprov("down", "--lab", lab, code=None)
        for host in self.hosts:
            host.run("umount -q /run/netns/*; rm -f /run/netns/*; umount -q /run/netns; rmdir /run/netns; true")


def big(count, per_host=3):
    """Write a lab of `count` nodes with an interface each, spread over `per_host` hosts."""
    lines = ["name: big", "bridges:"]
    hosts = range(1, per_host + 1)
    lines += [f"  big{host}: {{address: 10.62.{host}.1/24, host: lab{host}}}" for host in hosts]
    lines.append("nodes:")
    for host in hosts:
        share = count // per_host + (1 if host <= count % per_host else 0)
        address = f'"10.62.{host}.{{{{ index + 10 }}}}/24"'
        lines.append(f'  "n{host}x[1:{share}]":')
        lines.append(f"    {{host: lab{host}, interfaces: {{eth0: {{bridge: big{host}, address: {address}}}}}}}")
    return "\n".join(lines) + "\n"


@pytest.fixture(name="fleet")
def fleet_fixture(lab, tmp_path):
    """Give the fleet, and fail if a test leaves anything on a host or here."""
    found = Fleet(lab, tmp_path)
    yield found
    found.check()


@pytest.fixture(name="demo")
def demo_fixture(fleet):
    """Bring the lab up, and take it down in the end."""
    fleet.nsprov("up")
    yield fleet
    fleet.nsprov("down", "--lab", "demo")
