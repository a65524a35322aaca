"""One contender, one star, once: run by run.py as the first process of fresh namespaces.

The sandbox has no way out of the machine, its own /run, /sys, /etc (an overlay) and /etc/netns (a tmpfs).
The result is one JSON object on standard output.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time

from contenders import HERE, WORK, contenders, topology

PATIENCE = 120  # seconds that a kernel may take to become clean
NSFS_MOUNT = re.compile(r"^\S+ \S+ \S+ (?:/?)(\w+):\[(\d+)\] .* - nsfs ", re.MULTILINE)


class BenchError(Exception):
    """What should be there is not, or the other way round."""


def run(*argv):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def prepare(spec):
    run("mount", "-t", "tmpfs", "-o", "mode=755", "bench", "/run")
    for name in ("upper", "work", "home"):
        os.makedirs(f"{WORK}/{name}")
    run("mount", "-t", "overlay", "-o", f"lowerdir=/etc,upperdir={WORK}/upper,workdir={WORK}/work", "bench", "/etc")
    os.makedirs("/etc/netns", exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "bench", "/etc/netns")
    run("mount", "-t", "sysfs", "bench", "/sys")
    run("ip", "link", "set", "lo", "up")
    os.environ.update(HOME=f"{WORK}/home", NO_COLOR="1", LC_ALL="C.UTF-8")
    os.environ.setdefault("PYTHONPATH", os.path.dirname(HERE))  # the nsprov beside this benchmark
    full = spec["contender"].endswith("-full")
    for name, edited in (("star", False), ("edited", True)):
        with open(f"{WORK}/{name}.yml", "w") as file:
            file.write(topology(spec["size"], full=full, edited=edited))


# ---- what is there ----


def links():
    return sorted(name for name in os.listdir("/sys/class/net") if name != "bonding_masters")


def pins():
    with open("/proc/self/mountinfo") as file:
        found = {}
        for kind, inode in NSFS_MOUNT.findall(file.read()):
            found.setdefault(kind, set()).add(inode)
    return found


def processes():
    alive = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    state = file.read().rpartition(")")[2].split()[0]
            except OSError:  # it has ended meanwhile
                continue
            if state not in "ZX":
                alive.append(int(entry))
    return alive


def listed(directory):
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def expect(what, wanted, seen):
    if wanted != seen:
        raise BenchError(f"{what}: expected {wanted!r}, found {seen!r}")


def ping(namespace, target):
    command = ["nsenter", f"--net={namespace}", "ping", "-n", "-c1", "-W2", target]
    for _ in range(3):
        answer = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if answer.returncode == 0:
            return
    raise BenchError(f"{' '.join(command)}: {answer.stdout}{answer.stderr}")


def forwarding_ports():
    count = 0
    for port in os.listdir("/sys/class/net/br0/brif"):
        with open(f"/sys/class/net/br0/brif/{port}/state") as file:
            count += file.read().strip() == "3"
    return count


def verify_up(contender, size, pids, last_address):
    """Check that all ports forward, that every namespace is pinned, and that first and last node reach the bridge."""
    end = time.monotonic() + 10  # a carrier is noticed by a work item of the kernel (link watch), up to a second later
    while time.monotonic() < end and forwarding_ports() != size:
        time.sleep(0.02)
    expect("ports of br0", size, len(os.listdir("/sys/class/net/br0/brif")))
    expect("forwarding ports of br0", size, forwarding_ports())
    with open("/sys/class/net/br0/bridge/stp_state") as file:
        expect("stp_state", "0", file.read().strip())
    names = [f"h{number}" for number in range(1, size + 1)]
    if contender.pins:
        expect("names in /run/netns", sorted(names), listed("/run/netns"))
        found = pins()
        for kind in contender.pins:
            expect(f"pinned {kind} namespaces", size, len(found.get(kind, ())))
        for name in names:
            with open(f"/etc/netns/{name}/resolv.conf") as file:
                expect(f"nameserver of {name}", True, "nameserver 10.64.0.1" in file.read())
        paths = [f"/run/netns/{names[0]}", f"/run/netns/{names[-1]}"]
    else:
        expect("nodes", size, len(set(pids)))
        paths = [f"/proc/{pids[0]}/ns/net", f"/proc/{pids[-1]}/ns/net"]
    for path in paths:
        command = ["nsenter", f"--net={path}", "ip", "-4", "route", "show", "default"]
        route = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        expect(f"default route in {path}", ["via", "10.64.0.1", "dev", "eth0"], route[1:5])
        ping(path, "10.64.0.1")
    command = ["nsenter", f"--net={paths[-1]}", "ip", "-4", "-o", "addr", "show", "dev", "eth0"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    expect("address of the last node", True, f" {last_address} " in shown)
    ping(paths[0], last_address.partition("/")[0])


def await_clean():
    """Wait until no link but lo, no pin, no name and no process is left."""
    end = time.monotonic() + PATIENCE
    while True:
        left = (links(), pins(), listed("/run/netns"), listed("/etc/netns"), processes())
        if left == (["lo"], {}, [], [], []):
            return
        if time.monotonic() > end:
            raise BenchError(f"left after down (links, pins, /run/netns, /etc/netns, processes): {str(left)[:1000]}")
        time.sleep(0.001)


# ---- the steps ----


def proportional_set_size(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return int(re.search(r"^Pss:\s+(\d+)", file.read(), re.MULTILINE)[1])
    except (OSError, TypeError):  # it has ended meanwhile
        return 0


class MemorySampler(threading.Thread):
    """Adds up the proportional set size of all processes of the sandbox but this one, again and again."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.002):
            self.peak = max(self.peak, sum(map(proportional_set_size, processes())))


def timed(step, argv, *, clean):
    """Run one command to its end; return what it took."""
    log = os.open(f"{WORK}/{step}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    start = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    if clean and status == 0:
        await_clean()
    wall = time.perf_counter() - start
    os.close(log)
    if status:
        with open(f"{WORK}/{step}.log") as file:
            raise BenchError(f"{' '.join(argv)} ended with {os.waitstatus_to_exitcode(status)}:\n{file.read()[-2000:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "max_rss_kib": usage.ru_maxrss}


class Resident:
    """A contender that stays: up ends with its first line, down with its end."""

    def __init__(self, argv):
        start = time.perf_counter()
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().split()
        self.up = {"wall": time.perf_counter() - start}
        if line[:1] != ["up"]:
            raise BenchError(f"{' '.join(argv)} ended with {self.process.wait()}")
        self.pids = [int(pid) for pid in line[1:]]

    def down(self):
        start = time.perf_counter()
        self.process.stdin.close()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        await_clean()
        wall = time.perf_counter() - start
        expect("exit status", 0, self.process.returncode)
        self.up["max_rss_kib"] = usage.ru_maxrss
        return {"wall": wall}


def measure(spec):
    size = spec["size"]
    contender = contenders(size, spec["nsprov"], spec["star"])[spec["contender"]]
    steps, resident = {}, None
    for step, argv in contender.steps.items():
        sampler = MemorySampler() if spec["memory"] else None
        if sampler:
            sampler.start()
        if step == "down":
            start = time.perf_counter()
            steps[step] = resident.down() if resident else timed(step, argv, clean=True)
            run(spec["star"], "barrier")
            steps[step]["drained"] = time.perf_counter() - start
        elif contender.resident:
            resident = Resident(argv)
            steps[step] = resident.up
        else:
            steps[step] = timed(step, argv, clean=False)
        if sampler:
            sampler.ended.set()
            sampler.join()
            steps[step]["peak_pss_kib"] = sampler.peak
        if step != "down":
            last = 0xFFC8 if step == "edit" else size + 1
            verify_up(contender, size, resident.pids if resident else (), f"10.64.{last >> 8}.{last & 255}/16")
            time.sleep(spec["settle"])
    return steps


def main():
    spec = json.loads(sys.argv[1])
    os.sched_setaffinity(0, spec["cpus"])
    try:
        prepare(spec)
        outcome = {"steps": measure(spec)}
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        outcome = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
