"""Workloads that mean harm: bombs, loops, and processes that do not want to end."""

from __future__ import annotations

import contextlib
import os
import time

import pytest

pytestmark = pytest.mark.root
VERSION_2 = next((p for p in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if os.path.exists(f"{p}/cgroup.procs")), "")


@pytest.fixture(name="groups")
def _groups(request):
    """Give the path of a control group of the second version, and what opens its files; nothing of it is left."""
    if not VERSION_2:
        pytest.skip("there is no hierarchy of version 2")
    path = f"{VERSION_2}/nsprov-test-{os.getpid()}"
    os.mkdir(path)
    fds = []

    def opened(*names):
        fds.extend(os.open(f"{path}/{name}", os.O_RDWR if name == "cgroup.procs" else os.O_WRONLY) for name in names)
        return fds[-len(names) :]

    yield path, opened
    with open(f"{path}/cgroup.kill", "w", encoding="ascii") as file:
        file.write("1")
    for fd in fds:
        os.close(fd)
    deadline = time.monotonic() + 5
    while os.path.isdir(path) and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            os.rmdir(path)
    assert not os.path.isdir(path)


def members(path):
    with open(f"{path}/cgroup.procs", encoding="ascii") as file:
        return file.read().split()


RUNAWAY = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in range(5):
    if os.fork() == 0:
        os.setsid()
        os.fork() and os._exit(0)
        break
time.sleep(1000)
"""
"""A daemon of the old school: nothing of it is in the session or below the process that was started."""


@pytest.mark.parametrize("names", [["cgroup.procs"], ["cgroup.procs", "cgroup.kill"]])
@pytest.mark.parametrize("fixture", ["node", "subreaper"])
def test_nothing_leaves_its_group(request, groups, eventually, fixture, names):
    """It joins the group before it is anything, and what has left its session ends with it too."""
    node = request.getfixturevalue(fixture)
    path, opened = groups
    spec = {"fds": opened(*names), "kill": len(names) == 2, "grace": 50, "restart": "always", "backoff": 10}
    node.set("w", "/usr/bin/python3", "-c", RUNAWAY, **spec)
    eventually(lambda: len(members(path)) == 6)
    node.ask("kill", "w", signal="KILL")
    node.until("w", lambda status: status["restarts"] == 1)
    eventually(lambda: len(members(path)) == 6)
    node.ask("stop", "w")

    assert members(path) == []
    node.ask("start", "w")
    eventually(lambda: len(members(path)) == 6)
    node.ask("remove", "w")
    assert members(path) == []


def test_probes_are_in_the_group(node, groups, eventually):
    """What they use is the workload's."""
    path, opened = groups
    node.set("w", "sleep", "1000", fds=opened("cgroup.procs"), ready=[["exec", '["sleep", "1000"]']])

    eventually(lambda: len(members(path)) == 2)


def test_a_group_that_is_gone(node, groups):
    """It says so; it does not run outside of it."""
    path, opened = groups
    fds = opened("cgroup.procs")
    os.rmdir(path)
    node.set("w", "sleep 1000", fds=fds)
    status = node.wait("w")
    os.mkdir(path)

    assert (status["state"], status["exit"]) == ("failed", 125)
    assert status["reason"] == "cannot join its control group: No such device"


def test_the_group_of_the_init_is_nobodys_own(node, groups):
    """Groups that the init is in too are joined, and not emptied."""
    path, opened = groups
    with open(f"{path}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(node.pid))
    node.set("w", "sleep 1000", fds=opened("cgroup.procs"))
    node.wait("w", "ready")
    node.ask("stop", "w")

    assert node.alive()
    assert members(path) == [str(node.pid)]


def test_a_fork_bomb(node):
    """Its user's limit holds it; the init goes on, and ends it."""
    bomb = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
    node.set("w", "/usr/bin/python3", "-c", bomb, user="54321", rlimits=[["nproc", 40, 40]], grace=50)
    node.wait("w", "ready")
    time.sleep(0.5)
    assert node.alive()
    assert node.said("other", "/bin/echo", "still here") == "still here"
    node.ask("stop", "w")

    assert node.alive()


def test_a_crash_loop_costs_little(node):
    """It is slowed down, and holds up nobody."""
    node.set("w", "exit 1 ", restart="always", backoff=50, backoff_max=100)
    node.set("v", "no-such", restart="on-failure", backoff=50, backoff_max=100)
    time.sleep(1)
    counts = [node.status(name)["restarts"] for name in ("w", "v")]

    assert all(4 <= count <= 20 for count in counts), counts
    assert node.alive()


def test_no_room_for_another_process(node):
    """A start that the kernel has no room for is tried again, without an end."""
    path = f"{node.path}.pids"
    top = "/sys/fs/cgroup/pids"
    group = f"{top}/nsprov-test-{os.getpid()}"
    if not os.path.isdir(top):
        pytest.skip("there is no hierarchy of pids of version 1")
    os.mkdir(group)
    try:
        write(f"{group}/cgroup.procs", node.pid)
        write(f"{group}/pids.max", 1)
        status = node.set("w", f"touch {path}; sleep 1000")
        assert status["state"] == "backoff"
        assert "cannot be started now: Resource temporarily unavailable" in status["reason"]
        assert node.alive()
        write(f"{group}/pids.max", "max")
        assert node.wait("w", "ready")["restarts"] == 0
    finally:
        node.end()
        deadline = time.monotonic() + 5
        while os.path.isdir(group) and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                os.rmdir(group)


def write(path, value):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))


def test_no_descriptors_left(node):
    """An init that can open nothing more answers again when it can."""
    import resource  # noqa: PLC0415

    before = len(os.listdir(f"/proc/{node.pid}/fd"))
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (before, 20000))
    with contextlib.suppress(Exception):
        node.ask("hello", patience=0.5)
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (1024, 20000))

    assert node.ask("hello")["ok"]


def test_init_is_not_killed_by_who_is_in_its_namespace(node):
    """Root, with every capability."""
    node.said("w", "kill -9 1; kill -15 1; kill -11 1; true", capabilities=["all"], seccomp="none", no_new_privileges=False)

    assert node.alive()
