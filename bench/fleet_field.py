"""Where the fleet's benchmark is run: the tests' lab hosts, each behind a proxy for every distance, and what is counted there.

Only inside tests/sandbox.sh, from which no packet gets out.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "fleet"))

import labhosts  # noqa: E402 - from where the tests are

PATIENCE = 60
STARTED = re.compile(r"Starting session: (command|shell|subsystem)")
ACCEPTED = re.compile(r"Accepted \w+ for ")

# What any of the contenders has made, and what it keeps for its next run; then wait until the kernel has cleared it away.
_RESET = r"""
for name in $(ls /run/netns 2>/dev/null); do ip netns del "$name"; done
for link in $(ls /sys/class/net); do case $link in lo|eth0) ;; *) ip link del "$link" 2>/dev/null;; esac; done
tries=0
while [ "$(ls /sys/class/net | tr -d '\n')" != eth0lo ]; do
  tries=$((tries + 1)); [ $tries -lt 3000 ] || { ls /sys/class/net /run/netns >&2; exit 1; }; sleep 0.02
done
"""
_COLD = "rm -rf /var/cache/nsprov\n"

# The interpreter, with what it and its children have used written down. bash's `time` is exact to the millisecond.
_METER = """\
#!/bin/bash
TIMEFORMAT='%U %S'
{ time /usr/bin/python3 "$@" 2>&3; } 3>&2 2>>/run/bench-cpu
"""
METER = "/run/bench-python"


class Wrong(Exception):
    """What should be there is not."""


def address(number, rtt):
    """Give the address under which a host is reached at a distance of `rtt` milliseconds."""
    return f"127.{rtt + 1}.0.{number}"


class Field:
    """The hosts, numbered from 1, and counters of what reaches them."""

    def __init__(self, hosts, folder):
        self.hosts = hosts
        self.folder = folder
        self.ssh_config = hosts[0].ssh_config
        self.key = hosts[0].key
        self.known_hosts = hosts[0].known_hosts
        self.proxy_log = folder / "proxy.log"

    def each(self, count, work):
        """Do something with each of the first `count` hosts, several at a time."""
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(work, self.hosts[:count]))

    def reset(self, count, *, cold=False):
        """Clear the hosts of all labs, and if `cold` of what nsprov or Ansible keep there."""
        self.each(count, lambda host: host.run(_RESET + (_COLD if cold else "")))

    def verify(self, plan):
        """Check each host: all its namespaces, and its last one reaches the bridge and the first node."""

        def one(host):
            share = plan[int(host.name[1:]) - 1]
            names = sorted(os.listdir(host.root / "run/netns"))
            expect(f"namespaces on {host.name}", sorted(node.name for node in share.nodes), names)
            first, last = share.nodes[0], share.nodes[-1]
            for target in (share.gateway, first.address):
                host.run(f"for try in 1 2 3 4 5; do ip netns exec {last.name} ping -nqc1 -W1 {target} && exit; done; exit 1")
            route = host.run(f"ip -n {last.name} route show default")
            expect(f"default route of {last.name}", ["via", share.gateway, "dev", "eth0"], route.split()[1:5])

        self.each(len(plan), one)

    def verify_empty(self, count):
        """Check that `down` left no namespace; devices go a moment later."""

        def one(host):
            path = host.root / "run/netns"
            expect(f"namespaces on {host.name}", [], sorted(os.listdir(path)) if path.is_dir() else [])

        self.each(count, one)

    def counters(self, count):
        """Give what has been counted until now; subtract two of these."""
        return [Counted.of(host) for host in self.hosts[:count]]

    def meter(self, count):
        """Put an interpreter that writes down what it uses onto the hosts."""
        for host in self.hosts[:count]:
            path = host.root / METER.lstrip("/")
            path.write_text(_METER)
            path.chmod(0o755)

    def metered(self, count):
        """Give the CPU seconds that the metered interpreters have used since the last call."""
        total = 0.0
        for host in self.hosts[:count]:
            path = host.root / "run/bench-cpu"
            lines = [re.fullmatch(r"([\d.]+) ([\d.]+)", line) for line in path.read_text().splitlines()]
            total += sum(float(found[1]) + float(found[2]) for found in lines if found)
            path.unlink()
        return total

    def wire(self, since, rtt):
        """Give what the proxies have seen of connections at this distance that began after `since`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            rows = [json.loads(line) for line in self.proxy_log.read_text().splitlines()]
            found = [row for row in rows if row["began"] >= since and row["at"].startswith(f"127.{rtt + 1}.0.")]
            if found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)


class Counted:
    """Logins and channels of a host by its sshd's log, and its CPU seconds by its control group."""

    def __init__(self, logins, channels, cpu):
        self.logins, self.channels, self.cpu = logins, channels, cpu

    @classmethod
    def of(cls, host):
        text = host.log_path.read_text()
        return cls(len(ACCEPTED.findall(text)), len(STARTED.findall(text)), cpu_of(host))

    def since(self, before):
        return Counted(self.logins - before.logins, self.channels - before.channels, self.cpu - before.cpu)


def cpu_of(host):
    """Give the CPU seconds of all that ever ran on a host: version 2 counts them without any controller."""
    line = next(line for line in Path(f"/proc/{host.pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    unified = Path("/sys/fs/cgroup/unified")
    group = (unified if unified.is_dir() else Path("/sys/fs/cgroup")) / line[3:].lstrip("/")
    return int(re.search(r"^usage_usec (\d+)", (group / "cpu.stat").read_text(), re.MULTILINE)[1]) / 1e6


def expect(what, wanted, seen):
    if wanted != seen:
        raise Wrong(f"{what}: expected {wanted!r}, found {seen!r}")


@contextlib.contextmanager
def field(count, rtts, folder, *, trace=False):
    """Start the hosts and the proxies, and remove both."""
    reason = labhosts.missing()
    if reason:
        raise Wrong(reason)
    with labhosts.lab_hosts(count) as hosts:
        found = Field(hosts, folder)
        lines = []
        for host in hosts:
            _, key = next(line for line in known(found) if line[0] == host.address)
            number = int(host.name[1:])
            lines += [f"{address(number, rtt)} {key}\n" for rtt in rtts]
        with found.known_hosts.open("a") as file:
            file.writelines(lines)
        places = [f"{address(int(host.name[1:]), rtt)}:22={host.address}:{host.port}@{rtt}" for host in hosts for rtt in rtts]
        argv = [sys.executable, str(HERE / "proxy.py"), "--log", str(found.proxy_log), *(["--trace"] * trace), *places]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as proxy:
            expect("first word of the proxy", "ready\n", proxy.stdout.readline())
            try:
                yield found
            finally:
                proxy.terminate()


def known(found):
    return [line.split(" ", 1) for line in found.known_hosts.read_text().splitlines()]
