"""What all tests share: the sandbox check, the leak check, and the way to run the agent's code in a child of its own.

Tests marked `root` only run inside `tests/sandbox.sh`: nothing of theirs may touch the real machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import stat
import subprocess
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyroute2.netlink.rtnl.fibmsg
import pyroute2.netlink.rtnl.ndmsg  # noqa: F401 (here once, and not in each child: see nsprov.kernel.rare)
import pytest

from nsprov import errors
from nsprov.agent.run import Run
from nsprov.kernel import audit
from nsprov.kernel.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.plan.change import Change, Plan
    from nsprov.plan.resource import Ref, Resource

    State = Mapping[Ref, Resource]

PATIENCE = 10.0
"""Seconds that the kernel gets to take down network namespaces; it needs 60 ms when idle."""


# -- the sandbox ------------------------------------------------------------------------------------------------------


def pytest_collection_modifyitems(items):
    """Skip what needs root when we are not; tests on lab hosts and machines come last, for those are there from then on."""
    items.sort(key=lambda item: ("/vm/" in str(item.path), "/fleet/" in str(item.path)))
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_collection_finish(session):
    """Refuse to run a test that needs root on the real machine."""
    if os.geteuid() == 0 and any(item.get_closest_marker("root") for item in session.items):
        problem = outside()
        if problem:
            pytest.exit(f"{problem}: tests marked `root` run in a throw-away host only: tests/sandbox.sh COMMAND...", 4)


def outside() -> str:
    """Say why this is not the sandbox; empty if it is."""
    if os.environ.get("NSPROV_SANDBOX") != os.readlink("/proc/self/ns/net"):
        return "this is not the sandbox's network namespace"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        private = {line.split()[4] for line in mounts}
    if not {"/run", "/etc"} <= private:
        return "/run and /etc are the machine's own"
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        return "the sandbox has other links than lo"
    return "it has a route out" if command("ip", "-j", "route", "show", "table", "all", "default") not in ("", "[]") else ""


def command(*argv: str) -> str:
    """Run a command that must succeed and give what it said."""
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout.strip()


# -- nothing is left --------------------------------------------------------------------------------------------------

_SYSCTLS = ("ipv4/ip_forward", "ipv4/conf/all", "ipv4/conf/default", "ipv4/conf/lo", "ipv6/conf/all", "ipv6/conf/default")


def _tree(top: str) -> dict[str, str]:
    """Give every path below a directory with its type, mode, size and target."""
    found = {}
    for directory, names, files in os.walk(top):
        if directory == "/run/mount":  # umount(8)'s own
            continue
        for name in (*names, *files):
            path = f"{directory}/{name}"
            with contextlib.suppress(OSError):
                about = os.lstat(path)
                target = os.readlink(path) if stat.S_ISLNK(about.st_mode) else ""
                size = about.st_size if stat.S_ISREG(about.st_mode) else ""
                found[path] = f"{oct(about.st_mode)} {size} {target}"
    return found


def _groups() -> dict[str, str]:
    """Give every control group of the sandbox, which has a part of each hierarchy for itself."""
    return {directory: "" for directory, _, _ in os.walk("/sys/fs/cgroup")}


def _processes() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]


def _namespaces() -> dict[str, str]:
    """Give every namespace that a process is in."""
    found = {}
    for pid in _processes():
        with contextlib.suppress(OSError):
            for kind in os.listdir(f"/proc/{pid}/ns"):
                found[os.readlink(f"/proc/{pid}/ns/{kind}")] = ""
    return found


def _descriptors() -> dict[str, str]:
    found: dict[str, str] = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{fd}")
            if not target.endswith("/fd"):  # the listing's own
                found[f"{target} as {fd}"] = ""
    return found


def _sysctls() -> dict[str, str]:
    found = {}
    for name in _SYSCTLS:
        top = f"/proc/sys/net/{name}"
        paths = [f"{top}/{key}" for key in os.listdir(top)] if os.path.isdir(top) else [top]
        for path in paths:
            with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
                found[path] = file.read().strip()
    return found


def _links() -> dict[str, str]:
    """Give the host's links with their attributes and addresses, its routes and its rules, as iproute2 sees them."""
    found = {}
    for row in json.loads(command("ip", "-d", "-j", "addr", "show")):
        data = row.get("linkinfo", {}).get("info_data", {})
        for timer in [key for key in data if key.endswith("_timer")]:
            del data[timer]  # a bridge's timers run
        found[f"link {row['ifname']}"] = json.dumps(row, sort_keys=True)
    for family in ("-4", "-6"):
        for what in (("route", "show", "table", "all"), ("rule", "show")):
            for row in json.loads(command("ip", family, "-j", *what) or "[]"):
                found[f"{what[0]} {family} {json.dumps(row, sort_keys=True)}"] = ""
    return found


def snapshot() -> dict[str, dict[str, str]]:
    """Give everything of this host that a test may not leave changed."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        mounted = {line.strip(): "" for line in mounts}
    return {
        "link": _links(),
        "mount": mounted,
        "/run": _tree("/run"),
        "cgroup": _groups(),
        "/etc/netns": {**_tree("/etc/netns"), "/etc/netns": str(os.path.lexists("/etc/netns"))},
        "namespace": _namespaces(),
        "process": dict.fromkeys(_processes(), ""),
        "descriptor": _descriptors(),
        "sysctl": _sysctls(),
    }


def differences(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[str]:
    """Give one line for each thing that is more, less or different."""
    found = []
    for what, old in before.items():
        new = after[what]
        found.extend(f"{what}: {key} {new[key]} is left" for key in new.keys() - old.keys())
        found.extend(f"{what}: {key} {old[key]} is gone" for key in old.keys() - new.keys())
        found.extend(f"{what}: {key} was {old[key]}, is {new[key]}" for key in old.keys() & new.keys() if old[key] != new[key])
    return sorted(found)


class Host:
    """The sandbox as it was before the test; `check` compares."""

    def __init__(self) -> None:
        """Take the picture."""
        self._before = snapshot()

    def check(self) -> None:
        """Fail if anything is not as it was, once what goes by itself has had the time to go."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = differences(self._before, snapshot())
            if not found:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        self._before = snapshot()
        pytest.fail("the test left the host changed:\n" + "\n".join(found), pytrace=False)


_HOSTS: list[Host] = []


@pytest.fixture(autouse=True)
def host(request):
    """Check before and after each test that needs root that the host is as it was: nothing more, nothing less."""
    if request.node.get_closest_marker("root") is None:
        yield None
        return
    if not _HOSTS:
        _HOSTS.append(Host())
    yield _HOSTS[0]
    _HOSTS[0].check()


# -- the agent's code in a child of its own ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """What one run came to: what was observed, planned, and what was still different in the end."""

    changes: tuple[Change, ...]
    observed: Mapping[Ref, Resource]
    left: tuple[Change, ...] = ()
    interrupted: str = ""
    held: tuple[str, ...] = ()
    plan: Plan | None = field(default=None, repr=False)

    def actions(self) -> dict[str, str]:
        """Give what is done, by ref."""
        return {str(change.ref): change.action for change in self.changes}


def _report(work: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "value", work()
    except errors.NsprovError as problem:
        return "refused", (type(problem).__name__, tuple(problem.diagnostics), getattr(problem, "errno", None))
    except BaseException:  # noqa: BLE001 (the parent shall see whatever it was)
        return "crashed", traceback.format_exc()


def forked(work: Callable[[], Any]) -> Any:
    """Run agent code in a child, where it may enter namespaces and keep descriptors; give or raise what it did.

    The child's death by a signal gives the signal.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with open(writer, "wb") as file:
            pickle.dump(_report(work), file)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status))
    kind, value = pickle.loads(data)
    if kind == "refused":
        name, diagnostics, errno = value
        raise getattr(errors, name)(*diagnostics) if errno is None else errors.KernelError(diagnostics[0], errno)
    assert kind == "value", value
    return value


def _nothing(*_: object) -> None:
    """Take no notice of progress."""


_SCRUB = r"""
for link in $(ip -o link show | cut -d: -f2 | cut -d@ -f1); do [ $link = lo ] || ip link del $link; done
tac /proc/self/mountinfo | cut -d' ' -f5 | grep '^/run/n' | while read -r path; do umount -l "$path"; done
find /sys/fs/cgroup -path '*/nsprov.*' -name cgroup.kill -exec sh -c 'echo 1 >"$0"' {} \;
sleep 0.2
find /sys/fs/cgroup -depth -path '*/nsprov.*' -type d -exec rmdir {} +
rm -rf /run/netns /run/nsprov /etc/netns
"""


class Labs:
    """Brings labs up and down the way the agent does, each run in a child."""

    def __init__(self) -> None:
        """Remember no lab."""
        self.used: set[str] = set()
        self.keys: tuple[bytes, ...] = ()
        """Private keys of WireGuard that each run holds, as if it had made them."""

    def up(self, lab: str, *desired: Resource, progress: Callable[..., None] = _nothing) -> Done:
        """Make the host hold these; fail if it does not afterwards."""
        self.used.add(lab)
        done = forked(lambda: self._converge(lab, desired, progress))
        if isinstance(done, Done):
            assert done.left == ()
        return done

    def down(self, lab: str) -> Done:
        """Take a lab down; fail if an audit finds anything of it."""
        done = self.up(lab)
        assert forked(lambda: audit.audit(lab)) == []
        return done

    def plan(self, lab: str, *desired: Resource) -> Done:
        """Say what would change."""

        def work() -> Done:
            run = self._run(lab, desired)
            run.look()
            return Done(run.plan().changes, dict(run.observed))

        return forked(work)

    def down_all(self) -> None:
        """Take down what tests left up, by force if need be: a failure must not be that of the next test too."""
        left = [lab for lab in self.used if os.path.lexists(f"/run/nsprov/{lab}")]
        for lab in left:
            with contextlib.suppress(errors.NsprovError, AssertionError):
                self.up(lab)
        if any(os.path.lexists(f"/run/nsprov/{lab}") for lab in left):
            subprocess.run(["/bin/sh", "-c", _SCRUB], check=False)

    def _run(self, lab: str, desired: Sequence[Resource]) -> Run:
        run = Run(lab, {resource.ref(): resource for resource in desired})
        for key in self.keys:
            run.kernel.keys.hold(key)
        return run

    def _converge(self, lab: str, desired: Sequence[Resource], progress: Callable[..., None]) -> Done:
        with Lab(lab).locked("test"):
            run = self._run(lab, desired)
            run.look()
            plan = run.plan(with_fingerprint=True)
            run.execute(progress)
            left = run.verify()
            if not left:
                run.commit()
            else:
                run.rollback()
            return Done(plan.changes, dict(run.observed), left, run.interrupted, tuple(run.holders()), plan)


@pytest.fixture(name="labs")
def _labs(host):
    """Give what brings labs up and down; what a failed test left up goes down."""
    assert host is not None, "mark the test `root`"
    labs = Labs()
    yield labs
    labs.down_all()


@pytest.fixture
def run_command():
    """Give the function that runs a command which must succeed."""
    return command


@pytest.fixture(name="forked")
def _forked():
    """Give the function that runs agent code in a child of its own."""
    return forked
