"""Control groups on this kernel: limits hold, nodes freeze, die and leave nothing, and hosts that cannot say so in words."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nsprov import errors
from nsprov.agent.run import Run
from nsprov.kernel import audit, libc, limits
from nsprov.kernel.cgroups import Cgroups, kill_each, members
from nsprov.kernel.limits import Limits
from nsprov.kinds import BY_NAME, SCHEMAS
from nsprov.plan.resource import decode

pytestmark = pytest.mark.root
LAB = "t"
ROOT = Path(__file__).parents[2]
PATIENCE = 10.0
MIB = 1 << 20
BOMB = [sys.executable, "-I", "-S", "-c", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"]
SPIN = ["sh", "-c", "while :; do :; done"]
BREEDER = ["sh", "-c", "while :; do sleep 0.001 & wait $!; done"]
MOUNTS = sorted({line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup" in line})


def until(condition, what="it"):
    """Wait for what comes by itself, soon."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.005)


def busy(pid):
    """Give the CPU time that a process has used, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Node:
    """A node's groups, and processes in them."""

    def __init__(self, cgroups, name):
        """Store which."""
        self.cgroups = cgroups
        self.name = name
        self.started = []

    def limit(self, **wanted):
        """Set these limits and no others."""
        limits.write(self.cgroups, self.name, Limits(**wanted))
        assert limits.read(self.cgroups, self.name, Limits(**wanted)) == Limits(**wanted)

    def start(self, *argv, child="w-one", **options):
        """Start a command that joins before it runs."""
        fds = self.cgroups.descriptors(self.name, child)

        def join():
            for fd in fds:
                os.write(fd, b"0")

        quiet = subprocess.DEVNULL
        options = {"stdin": quiet, "stdout": quiet, "stderr": quiet, **options}
        process = subprocess.Popen(argv, preexec_fn=join, start_new_session=True, **options)  # noqa: PLW1509 (one thread)
        for fd in fds:
            os.close(fd)
        self.started.append(process)
        return process

    def run(self, *argv, **options):
        """Run a command in the node to its end."""
        process = self.start(*argv, stdout=subprocess.PIPE, text=True, **options)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    def python(self, source):
        """Run Python in the node."""
        return self.run(sys.executable, "-I", "-S", "-c", source)


@pytest.fixture
def cgroups(host):
    """Give a lab's groups; what a failed test left goes."""
    assert host is not None
    found = Cgroups(LAB)
    yield found
    for name in found.nodes():
        found.remove(name)


@pytest.fixture
def node(cgroups):
    """Give a node with its group."""
    cgroups.create("a")
    found = Node(cgroups, "a")
    yield found
    cgroups.remove("a")
    for process in found.started:
        process.wait()


# -- limits hold ------------------------------------------------------------------------------------------------------


def test_memory(node):
    """Who needs more than there is is killed, alone, and the kill is counted."""
    node.limit(memory=48 * MIB)
    other = node.start("sleep", "60", child="init")
    code, _ = node.python(f"x = bytearray({100 * MIB})")

    assert code == -signal.SIGKILL
    assert limits.oom_kills(node.cgroups, "a") == 1
    assert other.poll() is None
    assert node.python(f"x = bytearray({8 * MIB})")[0] == 0


def test_processes(node):
    """There are no more processes than allowed, workloads and init together."""
    node.limit(pids=4)
    for _ in range(3):
        node.start("sleep", "60", child="init")
    code, out = node.python("import os\ntry: os.fork()\nexcept BlockingIOError: print('no')")

    assert (code, out) == (0, "no\n")


def test_time(node):
    """Two who would use a CPU each get the share together."""
    node.limit(cpu=300)
    spinners = [node.start(*SPIN, child=f"w-{n}") for n in range(2)]
    began, before = time.monotonic(), sum(busy(one.pid) for one in spinners)
    time.sleep(1.5)
    used = (sum(busy(one.pid) for one in spinners) - before) / os.sysconf("SC_CLK_TCK")

    assert used / (time.monotonic() - began) == pytest.approx(0.3, abs=0.12)


def test_cpus(node):
    """What runs in the node runs on its CPUs only, from the moment on that it is limited."""
    sleeper = node.start("sleep", "60")
    last = max(os.sched_getaffinity(0))
    node.limit(cpuset=str(last))

    assert os.sched_getaffinity(sleeper.pid) == {last}
    assert node.python("import os; print(os.sched_getaffinity(0))")[1] == f"{{{last}}}\n"
    node.limit()
    assert os.sched_getaffinity(sleeper.pid) == os.sched_getaffinity(0)


def disk_of(path):
    """Give the disk that a file lies on."""
    about = os.stat(path).st_dev
    device = Path(f"/sys/dev/block/{os.major(about)}:{os.minor(about)}").resolve()
    whole = device.parent if (device / "partition").exists() else device
    return "/dev/" + dict(line.split("=") for line in (whole / "uevent").read_text().splitlines())["DEVNAME"]


def test_disks(node, tmp_path):
    """Who reads past the cache is slowed down."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(4 * MIB))
    read = f"import mmap, os\nfd = os.open('{path}', os.O_RDONLY | os.O_DIRECT)\n"
    read += f"assert [os.readv(fd, [mmap.mmap(-1, {MIB})]) for _ in range(4)] == [{MIB}] * 4"
    took = []
    for rows in (((disk_of(path), "rbps", 2 * MIB),), ()):
        node.limit(io=rows)
        began = time.monotonic()
        assert node.python(read) == (0, "")
        took.append(time.monotonic() - began)

    assert took[0] > 1.2
    assert took[1] < 1.0


def test_a_limit_comes_to_what_runs_already(node):
    """A limit is on all that is in the node, those who are being born too."""
    for n in range(5):
        node.start(*BREEDER, child=f"w-{n}")
    node.limit(pids=12, memory=64 * MIB)
    for name in ("pids", "memory"):
        group = node.cgroups.tree.group("a", controller=name)
        outside = set(members(node.cgroups.tree.group("a"))) - set(members(group))
        assert [pid for pid in outside if pid in members(node.cgroups.tree.group("a"))] == []
    fork = "import os\nfor _ in range(20):\n  try: os.fork() or os._exit(0)\n  except OSError: print('no'); break"
    code, out = node.python(fork)

    assert (code, out) == (0, "no\n")


def test_a_limit_that_is_escaped_from_is_drift(labs, run_command):
    """A process that somebody moves out of a limit shows as a limit that is gone, and is put back."""
    node, cgroups = _node(pids=9), Cgroups(LAB)
    labs.up(LAB, *node)
    if cgroups.tree.version("pids") == 2:
        labs.down(LAB)
        return  # there the group that tracks is the group that limits
    with Node(cgroups, "a").start("sleep", "60") as sleeper:
        (Path(cgroups.tree.root("pids")) / "cgroup.procs").write_text(f"{sleeper.pid}")
        assert labs.up(LAB, *node).actions() == {"cgroup:a": "update"}

        assert sleeper.pid in members(cgroups.tree.group("a", controller="pids"))
        assert labs.plan(LAB, *node).actions() == {}
        labs.down(LAB)


def test_a_group_whose_maker_was_killed_is_finished(node):
    """In version 1 a new cpuset has no CPU, and nobody can join it: that shows, and is mended even if none is wanted now."""
    if node.cgroups.tree.version("cpuset") == 2:
        return
    group = Path(node.cgroups.tree.group("a", controller="cpuset"))
    group.mkdir(parents=True)

    assert limits.read(node.cgroups, "a") != limits.NONE
    node.limit()
    assert node.run("cat", "/proc/self/cpuset") == (0, f"/nsprov.{LAB}/a\n")


# -- going ------------------------------------------------------------------------------------------------------------


def test_all_that_runs_dies_with_the_node(node):
    """Who forks without end, who lives in groups of his own below, and who is frozen: none is left, nor any group."""
    node.limit(pids=200, memory=256 * MIB)
    node.start(*BOMB)
    until(lambda: len(node.cgroups.processes("a")) > 50, "a bomb")
    below = Path(node.cgroups.tree.group("a", "w-two")) / "deep" / "er"
    node.start("sleep", "60", child="w-two")
    below.mkdir(parents=True)
    (below / "cgroup.procs").write_text(f"{node.started[-1].pid}")
    (below.parent / "cgroup.freeze").write_text("1")
    node.start("sleep", "60", child="w-three")
    node.cgroups.freeze("a")
    node.cgroups.remove("a")

    assert [process.wait() for process in node.started] == [-signal.SIGKILL] * 3
    assert node.cgroups.tree.tops() == []
    assert node.cgroups.nodes() == []


def test_what_is_absent_is_removed(cgroups):
    """Removing, killing and thawing what is not there is done already; another node's group stays."""
    cgroups.create("b")
    for _ in range(2):
        cgroups.remove("a")
        cgroups.kill("a")
        cgroups.kill("b", "w-none")
        cgroups.thaw("a")

    assert (cgroups.nodes(), cgroups.exists("a"), cgroups.processes("a")) == (["b"], False, [])


def test_one_workload_is_killed_alone(node):
    """Its neighbour lives."""
    one, two = node.start(*SPIN), node.start(*SPIN, child="w-two")
    node.cgroups.kill("a", "w-one")

    assert one.wait(PATIENCE) == -signal.SIGKILL
    assert two.poll() is None


def test_killing_one_by_one(node):
    """Where the kernel has no way to kill a group, each of its processes is."""
    node.limit(pids=60)
    node.start(*BOMB)
    until(lambda: len(node.cgroups.processes("a")) > 20, "a bomb")
    group = node.cgroups.tree.group("a")
    until(lambda: kill_each(group) or not members(group), "nobody left")


def test_processes_of_elsewhere_are_not_ours(node):
    """Whom our pid namespace does not know has no number here: 0, which kill(2) would take for ourselves."""
    sleeper = node.start("sleep", "60")
    group = node.cgroups.tree.group("a")
    source = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from nsprov.kernel.cgroups import *\n"
    source += f"print(open('{group}/w-one/cgroup.procs').read().split(), members('{group}')); kill_each('{group}')"
    argv = ["unshare", "--pid", "--fork", sys.executable, "-c", source]

    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "['0'] []\n"
    assert sleeper.poll() is None


def test_who_does_not_die_is_named(node):
    """A process that stays is told by number and name, and the group stays with it."""
    frozen = node.start("sleep", "60")
    freezer = Path("/sys/fs/cgroup/freezer")
    if not freezer.is_dir():
        return  # only a freezer of version 1 keeps a process from dying (cgroup-v1/freezer-subsystem.rst)
    jail = freezer / "jail"
    jail.mkdir()
    try:
        (jail / "cgroup.procs").write_text(f"{frozen.pid}")
        (jail / "freezer.state").write_text("FROZEN")
        with pytest.raises(errors.KernelError, match="cannot be removed") as caught:
            Cgroups(LAB, patience=0.05).remove("a")
        assert f"Process {frozen.pid} (sleep) is in it" in caught.value.diagnostics[0].detail
        assert node.cgroups.exists("a")
    finally:
        (jail / "freezer.state").write_text("THAWED")
        frozen.wait(PATIENCE)
        jail.rmdir()


# -- freezing and joining ---------------------------------------------------------------------------------------------


def test_freezing(node):
    """What runs stops, and goes on; init does neither."""
    init, one = node.start(*SPIN, child="init"), node.start(*SPIN)
    assert not node.cgroups.frozen("a")
    node.cgroups.freeze("a")
    before, alive = busy(one.pid), busy(init.pid)
    until(lambda: busy(init.pid) > alive + 10, "init runs")

    assert node.cgroups.frozen("a")
    assert busy(one.pid) == before
    node.cgroups.thaw("a")
    assert not node.cgroups.frozen("a")
    until(lambda: busy(one.pid) > before, "it goes on")


def test_joining(node, forked):
    """A process that joins is in the child of the node's group, and in the node's group of each limit."""
    node.limit(pids=20, cpuset="0")

    def work():
        node.cgroups.join("a", "exec")
        return Path("/proc/self/cgroup").read_text()

    own = forked(work)
    assert f":/nsprov.{LAB}/a/exec\n" in own
    assert own.count(f":/nsprov.{LAB}/a") == len({node.cgroups.tree.group("a", controller=c) for c in ("", "pids", "cpuset")})


def test_joining_needs_nothing_but_the_descriptors(node):
    """Who has given up all rights joins through them, for the kernel asks who opened them."""
    node.limit(pids=20)
    fds = node.cgroups.descriptors("a", "w-one")
    pid = os.fork()
    if pid == 0:
        os.setgid(65534)
        os.setuid(65534)
        for fd in fds:
            os.write(fd, b"0")
        os._exit(0 if "/nsprov.t/a" in Path("/proc/self/cgroup").read_text() else 1)
    for fd in fds:
        os.close(fd)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_joining_a_node_without_a_group(cgroups):
    """There is nothing to join, and nothing is made."""
    with pytest.raises(errors.KernelError, match="refused to make"):
        cgroups.join("a", "exec")

    assert cgroups.nodes() == []


def test_a_cgroup_namespace_made_on_a_visit(node, forked):
    """It has the node's groups as its roots, and who made it is back where he was."""
    node.limit(pids=20)

    def work():
        before = Path("/proc/self/cgroup").read_text()
        with node.cgroups.visiting("a"):
            libc.unshare(libc.CLONE_NEWCGROUP)
        node.cgroups.join("a")
        return before, Path("/proc/self/cgroup").read_text()

    before, inside = forked(work)
    legacy = {f":{name}:/" for name in ("pids",) if node.cgroups.tree.version(name) == 1}
    assert {line.partition(":")[2] for line in inside.splitlines()} >= {":/"} | {line[1:] for line in legacy}
    assert members(node.cgroups.tree.group("a")) == []
    assert before == Path("/proc/self/cgroup").read_text()


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".", "..", "../b", "a/b", "/", "a\nb", "-a", ".a"])
def test_names_do_not_lead_elsewhere(cgroups, name):
    """A name is one directory below the lab's, whoever lets it get this far."""
    for work in (cgroups.create, cgroups.remove, cgroups.kill, lambda one: cgroups.descriptors("a", f"{one}/..")):
        with pytest.raises(errors.InputError, match="no name of a cgroup"):
            work(name)
    with pytest.raises(errors.InputError):
        Cgroups(f"x/../{name}").create("a")
    for top in cgroups.tree.tops():
        os.rmdir(top)


# -- the kind on hosts as they come -----------------------------------------------------------------------------------


def _node(**fields):
    """Give a node with a group."""
    return [decode(SCHEMAS["netns"], {"node": "a", "name": "t-a"}), decode(SCHEMAS["cgroup"], {"node": "a", **fields})]


def refusal(forked, prepare=lambda: None, **fields):
    """Plan a node on a host that was changed, for this plan alone; give what is said."""

    def work():
        libc.unshare(libc.CLONE_NEWNS)
        libc.mount(None, "/", None, libc.MS_PRIVATE | libc.MS_REC)
        prepare()
        run = Run(LAB, {resource.ref(): resource for resource in _node(**fields)})
        run.look()
        run.plan()

    with pytest.raises(errors.Conflict) as caught:
        forked(work)
    assert [one.where for one in caught.value.diagnostics] == ["cgroup:a"]
    return caught.value.diagnostics[0].detail


def hide(*controllers):
    """Unmount the hierarchies of these controllers; for all of them, everything."""
    for path in reversed(MOUNTS):
        if not controllers or os.path.basename(path) in controllers:
            libc.umount(path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cpu": 9}, 'Limit "cpu" of node "a": 0.009 of a CPU is less than 0.01.'),
        ({"memory": 4095}, 'Limit "memory" of node "a": 4095 bytes are less than a page, which has'),
        ({"pids": 1 << 23}, 'Limit "pids" of node "a": 8388608 is not a number from 1 to 4194304.'),
        ({"cpuset": "4000"}, 'Limit "cpuset" of node "a": there are no CPUs "4000": this host has "'),
        ({"cpuset": "all"}, 'Limit "cpuset" of node "a": "all" is not a list of CPUs such as "0-2,5".'),
        ({"io": [["/dev/nosuch", "rbps", 9]]}, 'Limit "io" of node "a": "/dev/nosuch" is not a disk of this host.'),
        ({"io": [["/dev/null", "rbps", 9]]}, 'Limit "io" of node "a": "/dev/null" is not a disk of this host.'),
        ({"io": [["/dev/loop0", "speed", 9]]}, '"/dev/loop0" cannot be limited in "speed", but in rbps, wbps, riops, wiops.'),
        ({"io": [["/dev/loop0", "riops", 1]]}, '"/dev/loop0" cannot have a "riops" of 1: from 2 to 4294967294 is possible.'),
        (
            {"io": [["/dev/loop0", "rbps", 9], ["/dev/./loop0", "rbps", 9]]},
            'Limit "io" of node "a": /dev/loop0, /dev/./loop0 are the same disk.',
        ),
    ],
)
def test_what_no_host_takes(forked, fields, said):
    """A value that the kernel would refuse, or would take for another one, is refused before."""
    assert said in refusal(forked, **fields)


def test_every_flaw_is_told_at_once(forked):
    """Two limits that cannot be set are one obstacle with two sentences."""
    said = refusal(forked, cpu=1, pids=1 << 30)

    assert said.count('of node "a": ') == 2


def test_a_host_without_groups(forked):
    """A node that needs a group is refused where there is none to be had, with limits or without."""
    for fields in ({}, {"memory": MIB}):
        assert refusal(forked, hide, **fields) == (
            'Node "a" needs a control group: this host has no cgroup v2 hierarchy that we may write to.'
        )


def test_a_host_with_groups_that_are_read_only(forked):
    """As in many a container."""

    def prepare():
        for path in MOUNTS:
            libc.mount(None, path, None, libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY)

    assert "that we may write to." in refusal(forked, prepare)


def test_a_host_without_a_controller(forked):
    """The limit is named, and the others are not."""
    if "/sys/fs/cgroup/memory" not in MOUNTS:
        pytest.skip("version 2 alone has all controllers or none")
    said = refusal(forked, lambda: hide("memory"), memory=MIB, pids=9)

    assert said.startswith('Limit "memory" of node "a": this host has no memory controller')
    assert "pids" not in said


def test_a_node_named_like_a_file_of_the_kernel(cgroups, forked):
    """Such a group cannot be made, so it is not tried."""

    def work(name):
        run = Run(LAB, {})
        return dict(BY_NAME["cgroup"].obstacles(run.kernel, [decode(SCHEMAS["cgroup"], {"node": name})]))

    for name in ("memory.max", "cgroup.procs", "tasks", "cpu.stat", "io.latency"):
        (why,) = forked(lambda name=name: work(name)).values()
        assert "the kernel has files of such names" in why
    assert forked(lambda: work("r1.memory")) == {}
    assert cgroups.nodes() == []


def test_a_limit_that_the_kernel_refuses(labs):
    """An edit that cannot be made is told by its name, and what was before is put back."""
    labs.up(LAB, *_node(pids=9))
    with pytest.raises(errors.KernelError, match='limit "io" of node "a" cannot be set') as caught:
        labs.up(LAB, *_node(pids=8, io=[["/dev/nosuch", "rbps", 4096]]))

    assert "/dev/nosuch" in caught.value.diagnostics[0].detail
    labs.up(LAB, *_node(pids=9))
    labs.down(LAB)


def test_without_a_record(labs):
    """A lab whose file system is lost is found by the names of its groups, in whatever hierarchy."""
    labs.up(LAB, *_node(pids=9, memory=64 * MIB))
    with Node(Cgroups(LAB), "a").start("sleep", "60") as sleeper:
        subprocess.run(["umount", "-l", "/run/nsprov/t"], check=True)

        assert labs.plan(LAB).actions() == {"netns:a": "delete", "cgroup:a": "delete"}
        labs.down(LAB)
        assert sleeper.wait() == -signal.SIGKILL


def test_half_a_group_is_found_too(labs, cgroups):
    """What a hand has left in one hierarchy goes with the lab."""
    labs.up(LAB, *_node(pids=9))
    os.rmdir(cgroups.tree.group("a"))
    labs.down(LAB)

    assert cgroups.nodes() == []


def test_an_audit_names_groups(labs, forked):
    """It tells every group, and who is in it."""
    labs.up(LAB, *_node(pids=9))
    with Node(Cgroups(LAB), "a").start("sleep", "60") as sleeper:
        found = {one.summary: one.detail for one in forked(lambda: audit.audit(LAB))}
        group = Cgroups(LAB).tree.group("a")

        assert found[f'cgroup "{group}" is there'] == f"In it: process {sleeper.pid} (sleep)."
        assert f'cgroup "{os.path.dirname(group)}" is there' in found
        labs.down(LAB)


def test_two_labs(labs):
    """Labs do not see each other's groups, nor end what runs there."""
    labs.up(LAB, *_node(pids=9))
    other = [decode(SCHEMAS["cgroup"], {"node": "a", "pids": 5})]
    labs.up("u", *other)
    with Node(Cgroups("u"), "a").start("sleep", "60") as sleeper:
        labs.down(LAB)

        assert sleeper.poll() is None
        assert labs.plan("u", *other).actions() == {}
        labs.down("u")


# -- the sandbox of these tests ---------------------------------------------------------------------------------------


def groups():
    """Give all groups."""
    return {directory for path in MOUNTS for directory, _, _ in os.walk(path)}


def test_the_sandbox_has_groups_of_its_own():
    """Inside, its part of each hierarchy is all there is; nothing is left of it, and its exit code is the command's."""
    before = groups()
    tell = "import json, os, sys; print(json.dumps([d for p in sys.argv[1:] for d, _, _ in os.walk(p)]))"
    leave = "os.mkdir(sys.argv[1] + '/left'); sys.exit(7)"
    argv = [ROOT / "tests" / "sandbox.sh", sys.executable, "-c", f"{tell}; {leave}", *MOUNTS]
    done = subprocess.run(argv, capture_output=True, check=False)

    assert done.returncode == 7
    assert {os.path.basename(path) for path in json.loads(done.stdout) if path not in MOUNTS} == {"outside", "sandbox"}
    until(lambda: groups() == before, "nothing left")


def test_the_sandbox_dies_whole():
    """When it is killed, so is what runs in it, and its groups go."""
    before = groups()
    with subprocess.Popen([ROOT / "tests" / "sandbox.sh", "sleep", "1234"], stdout=subprocess.PIPE) as sandbox:
        mine = next(iter(MOUNTS)) + f"/nsprov-sandbox-{sandbox.pid}"
        until(lambda: any("sleep" in _name(pid) for pid in members(mine)), "it runs")
        sandbox.kill()
    until(lambda: groups() == before, "nothing left")


def _name(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""
