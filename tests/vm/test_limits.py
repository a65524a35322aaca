"""Limits on a host as most are: cgroup version 2 alone, systemd, another kernel; over SSH, as a user would."""

from __future__ import annotations

import json
import os

GROUP = "/sys/fs/cgroup/nsprov.demo/r1"
FULL = 'cpu: 0.25, memory: 48M, pids: 20, io: {/dev/vda: {rbps: 2M}}, cpuset: "1"'

# What a process in the node comes up against, each limit in a process of its own.
TRY = r"""
import json, mmap, os, resource, subprocess, sys, time
os.makedirs(f"{group}/w-test", exist_ok=True)

def tried(work):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with open(f"{group}/w-test/cgroup.procs", "w") as file:
            file.write("0")
        os.write(writer, json.dumps(work()).encode())
        os._exit(0)
    os.close(writer)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with open(reader) as file:
        return json.loads(file.read() or "null") if status == 0 else status

def children():
    for count in range(100):
        try:
            if os.fork() == 0:
                os.closerange(3, 64)  # what tells our end
                time.sleep(600)
        except BlockingIOError:
            return count

def time_used():
    began = time.monotonic()
    while time.monotonic() - began < 2:
        pass
    return time.process_time() / (time.monotonic() - began)

def reading():
    fd = os.open("/dev/vda", os.O_RDONLY | os.O_DIRECT)
    began = time.monotonic()
    done = sum(os.preadv(fd, [mmap.mmap(-1, 1 << 20)], index << 20) for index in range(4))
    return [done, time.monotonic() - began]

found = {
    "memory": tried(lambda: len(bytearray(100 << 20))),
    "children": tried(children),
    "time": tried(time_used),
    "reading": tried(reading),
    "cpus": tried(lambda: sorted(os.sched_getaffinity(0))),
}
with open(f"{group}/cgroup.kill", "w") as file:
    file.write("1")
print(json.dumps(found))
"""


def topology(limits="", more=""):
    """Write a lab of two nodes, the first with limits."""
    return f"name: demo\nnodes:\n  r1: {{host: vm, limits: {{{limits}}}{more}}}\n  r2: {{host: vm, limits: {{pids: 30}}}}\n"


def up(nsprov, text):
    """Bring a lab up; give what was done."""
    nsprov.write("topology.yml", text)
    return nsprov("up", "-o", "json").json["hosts"]["vm"]


def start(vm, child, command):
    """Start a command in the first node."""
    vm.run(f"mkdir {GROUP}/{child}; (echo 0 >{GROUP}/{child}/cgroup.procs; exec {command}) <&- >&- 2>&- &")


def values(vm):
    """Give what the kernel says of the first node's limits."""
    names = ("cpu.max", "memory.max", "pids.max", "io.max", "cpuset.cpus")
    return vm.run(f"cd {GROUP}; for name in {' '.join(names)}; do echo $(cat $name); done").out.splitlines()


def test_the_machine(vm):
    """It is what these tests are about: a kernel of its own, systemd, and version 2 alone, without all controllers on."""
    said = vm.run("uname -r; stat -f -c %T /sys/fs/cgroup; cat /proc/1/comm; cat /sys/fs/cgroup/cgroup.subtree_control").out
    release, kind, first, controllers = said.splitlines()

    assert release != os.uname().release
    assert (kind, first) == ("cgroup2fs", "systemd")
    assert not {"io", "cpuset"} & set(controllers.split())


def test_limits_hold(vm, nsprov):
    """All five are set, what runs in the node keeps to them, and the kills are counted."""
    up(nsprov, topology(FULL))
    assert "nothing to do" in nsprov("plan").out
    assert values(vm) == ["25000 100000", str(48 << 20), "20", "254:0 rbps=2097152 wbps=max riops=max wiops=max", "1"]
    found = json.loads(vm.run("python3 -", stdin=f"group = {GROUP!r}\n{TRY}").out)

    assert found["memory"] == -9
    assert found["children"] == 19
    assert found["time"] < 0.35
    assert found["reading"][0] == 4 << 20
    assert found["reading"][1] > 1.2
    assert found["cpus"] == [1]
    assert "oom_kill 1" in vm.run(f"cat {GROUP}/memory.events").out.splitlines()


def test_limits_change_while_things_run(vm, nsprov):
    """An edit, a limit lifted, and what the kernel rounds: always the same group, and what runs in it goes on."""
    up(nsprov, topology("pids: 20"))
    vm.run("cp /bin/sleep /run/stray")
    start(vm, "w-one", "/run/stray 600")
    before = vm.run(f"stat -c %i {GROUP}; pgrep -x stray").out
    done = up(nsprov, topology('memory: 100000001, cpuset: "0,1", io: {/dev/vda: {riops: 50, wbps: 1M}}'))
    first = values(vm)
    assert "nothing to do" in nsprov("plan").out
    up(nsprov, topology("cpu: 1.5"))
    nsprov.write("topology.yml", topology("pids: 9").replace("limits: {pids: 9}", "namespaces: [net, mnt, uts]"))

    assert {verb: count for verb, count in done["counts"].items() if count} == {"update": 1}
    assert first == ["max 100000", "99999744", "max", "254:0 rbps=max wbps=1048576 riops=50 wiops=max", "0-1"]
    assert values(vm) == ["150000 100000", "max", "max", "", "0-1"]
    assert vm.run(f"stat -c %i {GROUP}; pgrep -x stray").out == before
    nsprov("up")
    assert vm.run(f"ls -d {GROUP} {GROUP[:-1]}2; pgrep -x stray; rm /run/stray", code=0).out == f"{GROUP[:-1]}2\n"


def test_what_a_hand_changes_is_put_back(vm, nsprov):
    """Each limit, and the group itself."""
    up(nsprov, topology(FULL))
    wanted = values(vm)
    writes = {"cpu.max": "max", "memory.max": "max", "pids.max": "7", "io.max": "254:0 rbps=max wiops=5", "cpuset.cpus": "0"}
    vm.run("; ".join(f"echo {value} >{GROUP}/{name}" for name, value in writes.items()))
    done = up(nsprov, topology(FULL))
    assert [change["ref"] for change in done["changes"]] == ["cgroup:r1"]
    assert values(vm) == wanted
    vm.run(f"rmdir {GROUP}")
    nsprov("up")
    assert values(vm) == wanted


def test_systemd_beside_it(vm, nsprov):
    """Neither a reload nor units that come and go take a controller away, for our groups use it."""
    up(nsprov, topology(FULL))
    vm.run("systemctl daemon-reload; systemd-run --wait --quiet -p MemoryMax=64M -p CPUWeight=50 true; systemctl restart ssh")

    assert "nothing to do" in nsprov("plan").out
    assert vm.run("systemctl is-system-running").out == "running\n"


def test_what_the_machine_has_not_is_refused(nsprov):
    """By `plan` already, and by the limit's name."""
    limits = 'cpuset: "7", io: {/dev/sdz: {rbps: 1M}}'
    nsprov.write("topology.yml", topology(limits).replace("r1", "r3"))
    said = " ".join(nsprov("plan", code=1).err.split())

    assert 'Limit "io" of node "r3": "/dev/sdz" is not a disk of this host.' in said
    assert 'Limit "cpuset" of node "r3": there are no CPUs "7": this host has "0-1".' in said


def test_nothing_is_left_of_what_ran(vm, nsprov):
    """`down` ends what forks without end and what is frozen, and an audit finds nothing."""
    up(nsprov, topology("pids: 40, cpu: 0.2"))
    bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"
    vm.run("cp $(readlink -f /usr/bin/python3) /run/stray; cat >/run/bomb", stdin=bomb)
    start(vm, "w-one", "/run/stray /run/bomb")
    start(vm, "w-two", "/run/stray /run/bomb")
    vm.run(f"sleep 1; echo 1 >{GROUP}/w-two/cgroup.freeze")
    assert "cgroup" in nsprov("audit", "--lab", "demo", code=7).out
    nsprov("down", "--lab", "demo")
    nsprov("audit", "--lab", "demo")

    assert vm.run("pgrep -x stray; ls -d /sys/fs/cgroup/nsprov*; rm /run/stray /run/bomb", code=0).out == ""


def test_a_reboot_is_healed(vm, nsprov):
    """A machine that boots again knows nothing of its lab; the next `up` makes all of it."""
    up(nsprov, topology(FULL))
    before = values(vm)
    vm.reboot()
    assert vm.run("ls -d /sys/fs/cgroup/nsprov* /run/nsprov /run/netns", code=None).out == ""
    done = up(nsprov, topology(FULL))

    assert {verb for verb, count in done["counts"].items() if count} == {"create"}
    assert values(vm) == before
