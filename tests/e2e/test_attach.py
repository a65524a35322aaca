"""Living processes as nodes: named, joined, repaired and left again, and nothing else of them touched."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from nsprov.agent.run import Run
from nsprov.errors import Conflict, KernelError
from nsprov.kinds import SCHEMAS
from nsprov.plan.resource import decode

pytestmark = pytest.mark.root
LAB = "t"


def a(kind, **fields):
    """Make a resource."""
    return decode(SCHEMAS[kind], fields)


def attachment(source, node="w"):
    return a("attachment", node=node, name=f"t-{node}", source=source)


def nic(node="w", device="eth1", address="10.1.0.2/24", host="t-w-eth1"):
    """Give an interface on the bridge br0, with an address."""
    yield a("veth", node=node, ifname=device, peer_node="", peer_ifname=host, peer_master="br0", state="up", peer_state="up")
    yield a("address", node=node, dev=device, address=address)


def bridge(name="br0"):
    yield a("bridge", node="", name=name, mac=None, mtu=None, stp=None)
    yield a("address", node="", dev=name, address="10.1.0.1/24")


def joined(pid):
    """Give the whole: a process on a bridge, with routes, a rule and a neighbour."""
    return [
        attachment(f"pid:{pid}"),
        *bridge(),
        *nic(),
        a("route", node="w", to="0.0.0.0/0", via="10.1.0.1", dev="eth1"),
        a("route", node="w", to="10.9.0.0/16", type="blackhole", table=100),
        a("rule", node="w", family=4, priority=100, table=100),
        a("neighbour", node="w", dev="eth1", address="10.1.0.77", lladdr="02:00:00:00:00:77"),
    ]


def inside(pid, *argv):
    """Run a command in the network of a process."""
    done = subprocess.run(["nsenter", "-t", str(pid), "-n", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


LOOKS = (
    *(("-d", "link"), ("-d", "addr"), ("-4", "route", "show", "table", "all"), ("-6", "route", "show", "table", "all")),
    *(("-4", "rule"), ("-6", "rule"), ("neigh", "show", "nud", "all")),
)


def picture(pid):
    """Give all that is in the network of a process, to the byte, and its sysctls."""
    found = {" ".join(look): inside(pid, "ip", "-j", *look) for look in LOOKS}
    found["sysctl"] = inside(pid, "sh", "-c", "cd /proc/sys/net/ipv4/conf && grep -r . . && cat ../ip_forward")
    return found


def without(rows, device):
    """Give what does not belong to a device."""
    return [row for row in json.loads(rows) if device not in (row.get("ifname"), row.get("dev"))]


@pytest.fixture(name="living")
def _living():
    """Start processes with a network of their own, which has an interface and a route; they end with the test."""
    with ExitStack() as stack:

        def start(*, furnished=True, number=None):
            process = spawn(number)
            stack.callback(process.wait)
            stack.callback(process.kill)
            if furnished:
                inside(process.pid, "sh", "-e", "-c", FURNISH)
            return process

        yield start


FURNISH = """
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
ip link add eth0 address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02
ip link set eth0 up; ip link set far up
ip address add 10.7.0.2/24 dev eth0
ip -6 address add 2001:db8::2/64 dev eth0 nodad
ip route add 10.8.0.0/16 via 10.7.0.1
ip rule add priority 100 table 50
ip neigh add 10.7.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent
until [ "$(ip -o link show | grep -c 'state UP')" = 2 ]; do sleep 0.01; done  # linkwatch is in no hurry
"""


def spawn(number=None):
    """Start a process with a network of its own, with a certain process id if wanted."""
    for _ in range(100):
        if number is not None:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(number - 1))
        process = subprocess.Popen(["unshare", "--net", "sleep", "100000"], stdin=subprocess.DEVNULL)
        if number in (None, process.pid):
            break
        process.kill()
        process.wait()
    assert number in (None, process.pid)
    here = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{process.pid}/ns/net") == here:
        time.sleep(0.002)
    return process


def end(process):
    process.kill()
    process.wait()


# -- a process --------------------------------------------------------------------------------------------------------


def test_nothing_else_is_touched(labs, living, run_command):
    """Up adds what is asked for and nothing more; down leaves every byte as it was, and the process alive."""
    process = living()
    before = picture(process.pid)
    labs.up(LAB, *joined(process.pid))

    assert labs.plan(LAB, *joined(process.pid)).actions() == {}
    assert "0% packet loss" in run_command("ping", "-c1", "-W5", "10.1.0.2")
    during = picture(process.pid)
    for look in ("-d link", "-d addr", "neigh show nud all", "-6 route show table all"):
        assert without(during[look], "eth1") == json.loads(before[look])
    left = [row for row in without(during["-4 route show table all"], "eth1") if row.get("protocol") != "110"]
    assert left == json.loads(before["-4 route show table all"])
    labs.down(LAB)
    assert picture(process.pid) == before
    assert process.poll() is None


def test_ip_netns_knows_it(labs, living, run_command):
    """The name is one that iproute2 lists, enters and identifies, and what it leads to is the process's network."""
    process = living()
    labs.up(LAB, *joined(process.pid))
    inode = os.stat(f"/proc/{process.pid}/ns/net").st_ino

    assert run_command("ip", "netns", "list").split()[0] == "t-w"
    assert run_command("ip", "netns", "identify", process.pid) == "t-w"
    assert str(process.pid) in run_command("ip", "netns", "pids", "t-w").split()
    assert run_command("ip", "netns", "exec", "t-w", "stat", "-Lc%i", "/proc/self/ns/net") == str(inode)
    assert run_command("ip", "-n", "t-w", "-br", "address", "show", "dev", "eth1").split()[2] == "10.1.0.2/24"
    assert os.readlink("/run/netns/t-w") == f"/run/nsprov/{LAB}/ns/w/net"
    labs.down(LAB)


def test_everything_is_repaired(labs, living, run_command):
    """What somebody takes from us, in the process's network or on the host, one run brings back."""
    process = living()
    before = picture(process.pid)
    labs.up(LAB, *joined(process.pid))
    for damage in (
        ("ip", "-n", "t-w", "link", "del", "eth1"),
        ("ip", "-n", "t-w", "address", "del", "10.1.0.2/24", "dev", "eth1"),
        ("ip", "-n", "t-w", "route", "del", "default"),
        ("ip", "-n", "t-w", "route", "del", "blackhole", "10.9.0.0/16", "table", "100"),
        ("ip", "-n", "t-w", "rule", "del", "priority", "100", "table", "100"),
        ("ip", "-n", "t-w", "link", "set", "eth1", "down"),
        ("ip", "link", "set", "t-w-eth1", "nomaster"),
        ("ip", "link", "del", "br0"),
        ("ip", "netns", "del", "t-w"),
    ):
        run_command(*damage)
        assert labs.plan(LAB, *joined(process.pid)).actions(), damage
        labs.up(LAB, *joined(process.pid))
        assert labs.plan(LAB, *joined(process.pid)).actions() == {}, damage
        assert "0% packet loss" in run_command("ping", "-c1", "-W5", "10.1.0.2"), damage
    labs.down(LAB)
    assert picture(process.pid) == before


def test_without_its_name_everything_is_still_found(labs, living, run_command):
    """Down takes everything out of the network although the name that led there is gone."""
    process = living()
    before = picture(process.pid)
    labs.up(LAB, *joined(process.pid))
    run_command("ip", "netns", "del", "t-w")
    labs.down(LAB)

    assert picture(process.pid) == before


def test_without_a_record(labs, living):
    """Down by name alone finds the node by where its name leads, and its links by their marks; routes over them go too."""
    process = living()
    before = picture(process.pid)
    labs.up(LAB, attachment(f"pid:{process.pid}"), *bridge(), *nic(), *joined(process.pid)[5:6])
    for name in ("manifest.json", "attached.json"):
        os.unlink(f"/run/nsprov/{LAB}/{name}")
    labs.down(LAB)

    assert picture(process.pid) == before


def test_the_lab_is_lost(labs, living, run_command):
    """Down leaves nothing even when the lab's own file system was unmounted, and the pin with it."""
    process = living()
    before = picture(process.pid)
    labs.up(LAB, attachment(f"pid:{process.pid}"), *bridge(), *nic())
    run_command("umount", "-l", f"/run/nsprov/{LAB}")
    labs.down(LAB)

    assert picture(process.pid) == before


def test_it_leaves_a_lab_that_stays(labs, living):
    """Taken from the topology, a node leaves the process as it was and the rest of the lab in place."""
    one, two = living(), living(furnished=False)
    before = picture(one.pid)
    rest = [attachment(f"pid:{two.pid}", "v"), *bridge(), *nic("v", "eth1", "10.1.0.3/24", "t-v-eth1")]
    labs.up(LAB, *joined(one.pid), *(r for r in rest if "br0" not in str(r.ref())))
    labs.up(LAB, *rest)

    assert picture(one.pid) == before
    assert not os.path.lexists("/run/netns/t-w")
    assert labs.plan(LAB, *rest).actions() == {}
    labs.down(LAB)


def test_joined_to_a_node_and_to_another_process(labs, living):
    """A link goes between two processes, and between one and a node of the lab; each end goes with the lab."""
    one, two = living(), living(furnished=False)
    before = picture(one.pid), picture(two.pid)
    ends = {"state": "up", "peer_state": "up"}
    state = [
        attachment(f"pid:{one.pid}", "v"),
        attachment(f"pid:{two.pid}"),
        a("netns", node="n", name="t-n"),
        a("veth", node="v", ifname="to-w", peer_node="w", peer_ifname="to-v", **ends),
        a("veth", node="n", ifname="to-w", peer_node="w", peer_ifname="to-n", **ends),
        a("address", node="v", dev="to-w", address="10.2.0.1/24"),
        a("address", node="w", dev="to-v", address="10.2.0.2/24"),
        a("address", node="n", dev="to-w", address="10.3.0.1/24"),
        a("address", node="w", dev="to-n", address="10.3.0.2/24"),
    ]
    labs.up(LAB, *state)

    assert "0% packet loss" in inside(one.pid, "ping", "-c1", "-W5", "10.2.0.2")
    assert "0% packet loss" in inside(two.pid, "ping", "-c1", "-W5", "10.3.0.1")
    assert labs.plan(LAB, *state).actions() == {}
    labs.down(LAB)
    assert (picture(one.pid), picture(two.pid)) == before


def test_two_labs_in_one_network(labs, living):
    """Each lab sees and takes what is its own, though both use the same marks of protocol."""
    process = living()
    before = picture(process.pid)
    other = [
        a("attachment", node="x", name="u-x", source=f"pid:{process.pid}"),
        a("bridge", node="", name="br1", mac=None, mtu=None, stp=None),
        a("veth", node="x", ifname="eth2", peer_node="", peer_ifname="u-x", peer_master="br1", state="up", peer_state="up"),
        a("address", node="x", dev="eth2", address="10.4.0.2/24"),
        a("route", node="x", to="10.5.0.0/16", via="10.4.0.1", dev="eth2"),
    ]
    labs.up(LAB, *joined(process.pid))
    labs.up("u", *other)
    for lab, state in ((LAB, joined(process.pid)), ("u", other)):
        assert labs.plan(lab, *state).actions() == {}
        assert {str(ref) for ref in labs.plan(lab, *state).observed} == {str(resource.ref()) for resource in state}
    labs.down(LAB)

    assert labs.plan("u", *other).actions() == {}
    labs.down("u")
    assert picture(process.pid) == before


def test_a_node_becomes_a_process_and_back(labs, living):
    """A node of the lab's own gives way to a process under the same name, and takes its place again."""
    process = living()
    before = picture(process.pid)
    own = [a("netns", node="w", name="t-w"), *bridge(), *nic()]
    theirs = [attachment(f"pid:{process.pid}"), *bridge(), *nic()]
    for state in (own, theirs, own, theirs):
        labs.up(LAB, *state)
        assert labs.plan(LAB, *state).actions() == {}
    labs.up(LAB, *own)

    assert picture(process.pid) == before
    labs.down(LAB)


# -- what is in the way -----------------------------------------------------------------------------------------------


def refused(labs, *state):
    """Give in which words a plan is refused."""
    with pytest.raises(Conflict) as caught:
        labs.plan(LAB, *state)
    return {found.where: found.detail for found in caught.value.diagnostics}


def test_what_the_process_has_is_in_the_way(labs, living):
    """Its own interface, subnet and default route are found before anything is done, and said in words."""
    process = living()
    inside(process.pid, "ip", "route", "add", "default", "via", "10.7.0.1", "metric", "100")
    state = [
        attachment(f"pid:{process.pid}"),
        *bridge(),
        *nic(device="eth0"),
        a("address", node="w", dev="eth0", address="10.7.0.3/16"),
        a("route", node="w", to="0.0.0.0/0", via="10.1.0.1", dev="eth0"),
        a("route", node="w", to="::/0", via="fe80::1", dev="eth0", metric=1024),
    ]

    assert refused(labs, *state) == {
        "veth:w/eth0": 'A link "eth0" exists in node "w" and does not bear the mark of this lab.',
        "address:w/eth0/10.7.0.3/16": 'Link eth0 of node "w" has an address in 10.7.0.0/24, which overlaps 10.7.0.0/16.',
        "route:w/0.0.0.0/0": 'Node "w" has a route to 0.0.0.0/0 via 10.7.0.1 already, which is not of this lab.',
    }
    assert not os.path.lexists("/run/nsprov")


def test_a_route_of_less_weight_is_not_in_the_way(labs, living):
    """A default route that is only taken when the process's own is gone takes nothing from it."""
    process = living()
    inside(process.pid, "ip", "route", "add", "default", "via", "10.7.0.1", "metric", "100")
    before = picture(process.pid)
    labs.up(
        LAB,
        attachment(f"pid:{process.pid}"),
        *bridge(),
        *nic(),
        a("route", node="w", to="0.0.0.0/0", via="10.1.0.1", dev="eth1", metric=200),
    )

    assert "via 10.7.0.1" in inside(process.pid, "ip", "route", "get", "192.0.2.1")
    labs.down(LAB)
    assert picture(process.pid) == before


def test_whose_network_is_not_its_own(labs, living):
    """A process in the host's network is none to attach, nor is one that is in another node."""
    process = living()
    shared = [attachment(f"pid:{process.pid}"), attachment(f"netns:/proc/{process.pid}/ns/net", "v")]

    assert refused(labs, attachment(f"pid:{os.getpid()}")) == {
        "attachment:w": f"The network of pid {os.getpid()} is that of the host."
    }
    assert refused(labs, *shared) == {
        "attachment:v": f'The network of netns /proc/{process.pid}/ns/net is that of node "w".',
        "attachment:w": f'The network of pid {process.pid} is that of node "v".',
    }
    labs.up(LAB, a("netns", node="n", name="t-n"))
    assert refused(labs, a("netns", node="n", name="t-n"), attachment("netns:/run/netns/t-n")) == {
        "attachment:w": 'The network of netns /run/netns/t-n is that of node "n".'
    }
    labs.down(LAB)


def test_the_name_is_taken(labs, living, run_command):
    """A namespace of that name, or a link somebody has made, is left alone."""
    process = living(furnished=False)
    words = 'A network namespace "t-w" exists at /run/netns/t-w and is not of this lab.'
    run_command("ip", "netns", "add", "t-w")
    assert refused(labs, attachment(f"pid:{process.pid}")) == {"attachment:w": words}
    run_command("ip", "netns", "del", "t-w")
    for target in (f"/proc/{process.pid}/ns/net", "/nowhere", "/etc/hostname", "/run/nsprov/u/ns/w/net"):
        os.symlink(target, "/run/netns/t-w")
        assert refused(labs, attachment(f"pid:{process.pid}")) == {"attachment:w": words}
        assert os.readlink("/run/netns/t-w") == target
        os.unlink("/run/netns/t-w")
    run_command("umount", "/run/netns")
    os.rmdir("/run/netns")


def test_another_one_links_to_a_node(labs, run_command):
    """A link that somebody makes to a node's network is no node, and does not confuse the lab."""
    state = [a("netns", node="n", name="t-n")]
    labs.up(LAB, *state)
    for name in ("a-first", "z-last"):
        os.symlink("t-n", f"/run/netns/{name}")
    os.unlink(f"/run/nsprov/{LAB}/manifest.json")

    assert labs.plan(LAB, *state).actions() == {}
    done = labs.up(LAB)
    assert [str(change.ref) for change in done.changes] == ["netns:n"]
    for name in ("a-first", "z-last"):
        os.unlink(f"/run/netns/{name}")
    run_command("umount", "/run/netns")
    os.rmdir("/run/netns")


# -- when it ends -----------------------------------------------------------------------------------------------------


def test_the_process_ends(labs, living):
    """Without its process a plan says so; the lab goes down all the same, and with it the network."""
    process = living()
    state = joined(process.pid)
    labs.up(LAB, *state)
    end(process)

    assert refused(labs, *state)["attachment:w"] == f"There is no process {process.pid}."
    labs.down(LAB)


def test_another_process_has_the_number(labs, living):
    """The number of a process that has ended means nobody else, whoever has got it since."""
    process = living()
    state = joined(process.pid)
    labs.up(LAB, *state)
    end(process)
    other = living(number=process.pid)
    before = picture(other.pid)

    assert refused(labs, *state) == {
        "attachment:w": f"Another process has the number {process.pid} by now: it began later than the one that was attached."
    }
    labs.down(LAB)
    assert picture(other.pid) == before
    labs.up(LAB, *state)
    labs.down(LAB)


def interrupted(state, disturb):
    """Plan, disturb, act, and go back; give in which words it failed and what could not be put back."""
    run = Run(LAB, {resource.ref(): resource for resource in state})
    with run.kernel.lab.locked("test"):
        run.look()
        run.plan()
        disturb()
        try:
            run.execute(lambda *_: None)
        except KernelError as problem:
            return problem.diagnostics[0].detail, run.rollback()
    return "", ()


def killed(pid):
    """Kill a process, and wait until it is dead: a signal takes its time."""
    watch = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([watch], [], [], 30)[0]
    os.close(watch)


def test_the_process_ends_between_plan_and_act(forked, living):
    """The run fails in words, before anything but the attempt was made, and leaves nothing."""
    process = living(furnished=False)
    words, left = forked(lambda: interrupted(joined(process.pid), lambda: killed(process.pid)))

    assert (words, left) == (f"Process {process.pid} has ended.", ())


def test_the_number_changes_hands_between_plan_and_act(forked):
    """The run fails rather than attach a process that nobody has seen in the plan."""

    def work():
        # All in the child: a number is free when its process has been waited for.
        others = [spawn()]
        number = others[0].pid

        def disturb():
            end(others[0])
            others.append(spawn(number))

        found = interrupted(joined(number), disturb)
        end(others[1])
        return number, found

    number, (words, left) = forked(work)

    assert (words, left) == (f"Process {number} is not what it was when this was planned.", ())


def test_a_run_that_fails_later_goes_back(labs, living, forked):
    """A step that fails takes the whole back: the process is left as it was found."""
    process = living()
    before = picture(process.pid)
    state = [*joined(process.pid), a("route", node="w", to="10.20.0.0/16", via="10.99.0.1", dev="eth1")]
    words, left = forked(lambda: interrupted(state, lambda: None))

    assert words
    assert left == ()
    assert picture(process.pid) == before


def test_a_run_is_killed(labs, living):
    """Wherever a run is killed, the next one finds what it left: up ends it, down takes it out."""
    process = living()
    before = picture(process.pid)
    state = joined(process.pid)
    for finish in (lambda: labs.up(LAB, *state), lambda: None):
        for step in range(8):
            seen = []

            def die(name, _done, _total, seen=seen, step=step):
                seen.append(name)
                if len(seen) > step:
                    os.kill(os.getpid(), signal.SIGKILL)

            labs.up(LAB, *state, progress=die)
            finish()
            labs.down(LAB)
            assert picture(process.pid) == before


def test_nothing_brings_the_old_network_back(labs, living, forked, run_command):
    """A run that finds the owner with another network, and fails then, leaves nothing of the node: the old one is gone."""
    run_command("mkdir", "/run/c")
    Path("/run/c/net").touch()
    run_command("unshare", "--net=/run/c/net", "true")
    state = [attachment("netns:/run/c/net"), *bridge(), *nic()]
    labs.up(LAB, *state)
    run_command("sh", "-c", "umount /run/c/net; unshare --net=/run/c/net true")
    wrong = [*state, a("route", node="w", to="10.20.0.0/16", via="10.99.0.1", dev="eth1")]
    words, left = forked(lambda: interrupted(wrong, lambda: None))

    assert words
    assert left == ()
    assert not os.path.lexists("/run/netns/t-w")
    labs.up(LAB, *state)
    assert labs.plan(LAB, *state).actions() == {}
    labs.down(LAB)
    run_command("umount", "/run/c/net")
    run_command("rm", "-r", "/run/c")
