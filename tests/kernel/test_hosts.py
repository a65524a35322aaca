"""Hosts as they come: other mount propagation, CPUs that number namespaces apart, files that are missing or lead nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root
LAB = "t"
FRR = "/etc/frr-nsprov-test/frr.conf"


def lab(node="a", netns="t-a", **files):
    """Give a node with files: path -> content; /etc ones are offered to `ip netns exec` too."""
    paths = files or {"/etc/hostname": f"{node}\n"}
    etc = sorted([path[5:], f"{node}{path}"] for path in paths if path.startswith("/etc/") and "/" not in path[5:])
    rows = [["file", {"owner": node, "path": path, "content": content}] for path, content in paths.items()]
    rows += [
        ["netns", {"node": node, "name": netns, "etc": etc}],
        ["utsns", {"node": node, "hostname": node}],
        ["mntns", {"node": node, "binds": sorted([path, f"{node}{path}"] for path in paths)}],
    ]
    return list(load_state(rows, SCHEMAS).values())


def entered(node, netns, *argv):
    """Give the ways into a node with all its namespaces: `ip netns exec` has the host's name, and none of the pins' files."""
    pins = f"/run/nsprov/{LAB}/ns/{node}"
    return {
        "ip netns exec": ["ip", "netns", "exec", netns, *argv],
        "nsenter": ["nsenter", f"--net=/run/netns/{netns}", f"--mount={pins}/mnt", f"--uts={pins}/uts", *argv],
    }


def said(argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inside(node, *argv):
    return said(entered(node, f"t-{node}", *argv)["nsenter"])


def test_every_way_in_shows_the_same(labs):
    """The hostname, resolv.conf and hosts of a node are the same however it is entered."""
    files = {"/etc/hostname": "a\n", "/etc/resolv.conf": "nameserver 10.0.0.9\n", "/etc/hosts": "10.0.0.1 a\n"}
    labs.up(LAB, *lab(**files))
    for way in entered("a", "t-a", "cat", *files).values():
        assert said(way) == "a\nnameserver 10.0.0.9\n10.0.0.1 a\n"

    assert inside("a", "hostname") == "a\n"
    labs.down(LAB)


def test_sys_shows_the_nodes_links(labs):
    """A node's /sys/class/net has its own links, and its cgroups are the host's."""
    labs.up(LAB, *lab())

    assert inside("a", "ls", "/sys/class/net") == "lo\n"
    assert inside("a", "ls", "/sys/fs/cgroup") == said(["ls", "/sys/fs/cgroup"])
    labs.down(LAB)


def test_pins_are_not_visible_inside(labs):
    """A node sees no pin, neither its own nor another's, so it can neither remove one nor keep one alive."""
    labs.up(LAB, *lab(), *lab("b", "t-b"))
    mounts = inside("a", "cat", "/proc/self/mountinfo")

    assert " nsfs " not in mounts
    assert inside("a", "ls", "-A", "/run/netns", "/run/nsprov") == "/run/netns:\n\n/run/nsprov:\n"
    labs.down(LAB)


def test_what_a_node_mounts_stays_there(labs, host):
    """A mount made in a node does not come out to the host, nor to another node."""
    labs.up(LAB, *lab(), *lab("b", "t-b"))
    inside("a", "mount", "-t", "tmpfs", "nsprov-test", "/mnt")

    assert "nsprov-test" not in said(["cat", "/proc/self/mountinfo"])
    assert "nsprov-test" not in inside("b", "cat", "/proc/self/mountinfo")
    labs.down(LAB)
    host.check()


def test_two_labs_side_by_side(labs):
    """Labs with the same node names do not see each other; each goes alone."""
    first, second = lab(), lab(netns="u-a")
    labs.up(LAB, *first)
    labs.up("u", *second)

    assert labs.plan(LAB, *first).actions() == labs.plan("u", *second).actions() == {}
    labs.down(LAB)
    assert labs.plan("u", *second).actions() == {}
    labs.down("u")


def test_a_lab_of_sixty_nodes(labs, host):
    """Sixty nodes in one go, each with all its namespaces."""
    state = [resource for n in range(60) for resource in lab(f"n{n}", f"t-n{n}")]
    labs.up(LAB, *state)

    assert labs.plan(LAB, *state).actions() == {}
    assert len(os.listdir("/run/netns")) == 60
    assert inside("n59", "hostname") == "n59\n"
    labs.down(LAB)
    host.check()


def test_a_process_that_stays_is_named(labs):
    """Who keeps a node's network alive after `down` is told by pid and name, and the rest is gone."""
    labs.up(LAB, *lab())
    with subprocess.Popen(["ip", "netns", "exec", "t-a", "sleep", "60"]) as sleeper:
        wait_for(lambda: netns_of(sleeper.pid) == os.stat("/run/netns/t-a").st_ino)
        held = labs.up(LAB).held
        sleeper.kill()

    assert held == (f"process {sleeper.pid} (sleep) is in it",)


def test_an_open_descriptor_is_named(labs):
    """Who holds a node's network open by a descriptor is told too."""
    labs.up(LAB, *lab())
    fd = os.open("/run/netns/t-a", os.O_RDONLY)
    held = labs.up(LAB).held
    os.close(fd)

    assert [line for line in held if line.endswith(f"holds it open as /proc/{os.getpid()}/fd/{fd}")] != []


def netns_of(pid):
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def wait_for(condition):
    for _ in range(10_000_000):
        if condition():
            return
        os.sched_yield()
    pytest.fail("it did not happen")


def test_a_file_below_a_directory_that_the_host_lacks(labs):
    """/etc/frr/frr.conf is there in the node, the rest of /etc too, and the host's /etc is as it was."""
    labs.up(LAB, *lab(**{FRR: "router bgp\n", "/etc/hosts": "10.0.0.1 a\n"}))

    assert inside("a", "cat", FRR, "/etc/hosts") == "router bgp\n10.0.0.1 a\n"
    assert inside("a", "ls", "/etc/passwd") == "/etc/passwd\n"
    assert not os.path.exists("/etc/frr-nsprov-test")
    labs.down(LAB)


def test_a_nodes_writes_below_such_a_directory(labs):
    """What a node writes beside such a file stays in the node; what it writes to the file is repaired."""
    state = lab(**{FRR: "router bgp\n"})
    labs.up(LAB, *state)
    inside("a", "touch", "/etc/frr-nsprov-test/vtysh.conf")
    inside("a", "sh", "-c", f"echo changed > {FRR}")

    assert not os.path.exists("/etc/frr-nsprov-test")
    assert labs.up(LAB, *state).actions() == {f"file:a{FRR}": "update"}
    assert inside("a", "cat", FRR) == "router bgp\n"
    labs.down(LAB)


@pytest.fixture
def etc():
    """Give a function that puts something else in the place of a file of /etc; it is put back."""
    saved = {}

    def change(path, target=None):
        saved[path] = f"{path}.saved"
        os.rename(path, saved[path])
        if target:
            os.symlink(target, path)

    yield change
    for path, was in saved.items():
        if os.path.lexists(path):
            os.unlink(path)
        os.rename(was, path)


@pytest.fixture
def complete():
    """Make sure that the files of the next tests are there to be moved away."""
    made = [path for path in ("/etc/hostname", "/etc/resolv.conf") if not os.path.lexists(path)]
    for path in made:
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n")
    yield
    for path in made:
        os.unlink(path)


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("target", [None, "/nowhere/to/be/seen", "../run/systemd/resolve/stub-resolv.conf", "resolv.conf"])
def test_a_resolv_conf_that_leads_nowhere(labs, etc, target):
    """A missing, dangling or circular /etc/resolv.conf of the host does not keep a node from having its own."""
    etc("/etc/resolv.conf", target)
    state = lab(**{"/etc/resolv.conf": "nameserver 10.0.0.9\n"})
    labs.up(LAB, *state)

    assert inside("a", "cat", "/etc/resolv.conf") == "nameserver 10.0.0.9\n"
    assert labs.plan(LAB, *state).actions() == {}
    assert not os.path.exists("/etc/resolv.conf")
    labs.down(LAB)


@pytest.mark.usefixtures("complete")
def test_a_resolv_conf_that_leads_elsewhere(labs, etc):
    """A symbolic link of the host that leads somewhere is followed, and its target is as it was."""
    os.makedirs("/run/elsewhere")
    with open("/run/elsewhere/resolv.conf", "w", encoding="utf-8") as file:
        file.write("host\n")
    etc("/etc/resolv.conf", "/run/elsewhere/resolv.conf")
    labs.up(LAB, *lab(**{"/etc/resolv.conf": "node\n"}))

    assert inside("a", "cat", "/etc/resolv.conf") == "node\n"
    assert said(["cat", "/etc/resolv.conf"]) == "host\n"
    labs.down(LAB)
    os.unlink("/run/elsewhere/resolv.conf")
    os.rmdir("/run/elsewhere")


@pytest.mark.usefixtures("complete")
def test_no_hostname_file(labs, etc):
    """A host without /etc/hostname, as minimal images are."""
    etc("/etc/hostname")
    labs.up(LAB, *lab())

    assert inside("a", "cat", "/etc/hostname") == "a\n"
    assert not os.path.exists("/etc/hostname")
    labs.down(LAB)


def test_a_file_of_the_user_in_etc_netns(labs, host):
    """A file that somebody adds to a node's /etc/netns directory does not keep the lab from going down."""
    labs.up(LAB, *lab())
    with open("/etc/netns/t-a/resolv.conf", "w", encoding="utf-8") as file:
        file.write("nameserver 10.0.0.9\n")
    labs.down(LAB)
    host.check()


WHOLE = """
    import sys
    sys.path[:0] = {paths!r}
    import os, conftest, test_hosts
    labs = conftest.Labs()
    state = [*test_hosts.lab(), *test_hosts.lab("b", "t-b")]
    labs.up("t", *state)
    assert labs.plan("t", *state).actions() == {{}}
    assert test_hosts.inside("a", "hostname") == "a\\n"
    assert " nsfs " not in test_hosts.inside("a", "cat", "/proc/self/mountinfo")
    labs.down("t")
    assert [line for line in open("/proc/self/mountinfo") if "nsprov" in line or " nsfs " in line] == []
    assert not os.path.exists("/run/nsprov") and not os.path.exists("/run/netns")
    print("fine")
"""


def whole_lab():
    """Give the script that takes a lab up and down, for hosts made by unshare(1)."""
    here = os.path.dirname(os.path.abspath(__file__))
    tests = os.path.dirname(here)
    return textwrap.dedent(WHOLE).format(paths=[os.path.dirname(tests), tests, here])


@pytest.mark.parametrize("propagation", ["shared", "private", "slave", "unchanged"])
def test_mount_propagation(run_command, propagation):
    """Whether / is shared, as systemd makes it, or private, as containers have it: pins do not multiply, nothing is left."""
    unshare = ["unshare", "--mount", "--propagation", propagation]

    assert run_command(*unshare, sys.executable, "-c", whole_lab()) == "fine"


@pytest.mark.parametrize("outer", sorted(os.sched_getaffinity(0)))
@pytest.mark.parametrize("inner", sorted(os.sched_getaffinity(0)))
def test_cpus_that_number_namespaces_apart(run_command, outer, inner):
    """Whichever CPU made our own mount namespace and whichever we begin on: pinning works, for all are tried (Linux 6.18).

    The affinity is what it was afterwards.
    """
    cpus = sorted(os.sched_getaffinity(0))
    script = f"import os\nos.sched_setaffinity(0, {{{inner}}})\nos.sched_setaffinity(0, {cpus})\n{whole_lab()}"
    script += f"assert sorted(os.sched_getaffinity(0)) == {cpus}\n"
    made = ["taskset", "-c", str(outer), "unshare", "--mount", "--propagation", "private"]
    everywhere = ["taskset", "-c", ",".join(map(str, cpus))]

    assert run_command(*made, *everywhere, sys.executable, "-c", script) == "fine"
