"""The census of namespaces, against a real kernel: who is in them, what pins and what else keeps them, whose they are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from nsprov.errors import Conflict, InputError, KernelError, NothingMatched
from nsprov.kernel import lab, libc, particulars, pins, subjects, survey
from nsprov.kernel.lab import PINS, RUN
from nsprov.kernel.namespaces import NETNS, TYPES, Namespaces
from nsprov.kernel.namespaces import unpin as detach
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root
LAB = "t"
NAMES = {kind: f"/proc/self/ns/{kind}" for kind in TYPES}


class Children:
    """Processes that do something, say that they have, and wait to be killed."""

    def __init__(self):
        self.pids = set()

    def start(self, work):
        """Run `work` in a child and give its pid when it is done; the child lives on with what it gave."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            signal.alarm(300)
            try:
                _kept = work()
                os.write(writer, b"k")
                os.close(writer)
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        os.close(writer)
        self.pids.add(pid)
        assert os.read(reader, 1) == b"k"
        os.close(reader)
        return pid

    def inside(self, *kinds):
        """Give a process in new namespaces; of pid and time only its children are in them."""
        return self.start(lambda: [libc.unshare(TYPES[kind]) for kind in kinds])

    def kill(self, pid):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.pids.discard(pid)


@pytest.fixture(name="children")
def _children(host):
    found = Children()
    yield found
    for pid in list(found.pids):
        found.kill(pid)


@pytest.fixture(name="directory")
def _directory(host, tmp_path):
    """Give a private mount that a test may pin on; what it leaves there goes."""
    libc.mount("test", str(tmp_path), "tmpfs")
    libc.mount(None, str(tmp_path), None, libc.MS_PRIVATE)
    yield tmp_path
    subprocess.run(["umount", "-R", "-l", str(tmp_path)], check=True)


def bind(source, path):
    """Pin as the tutorial does: `mount --bind`."""
    path.touch()
    libc.mount(source, str(path), None, libc.MS_BIND)
    return os.stat(path).st_ino


def inode(pid, kind):
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


@pytest.fixture(name="taken")
def _taken(forked):
    """Give the function that takes a census, as rows by inode number."""

    def work():
        with survey.taken(Namespaces(PINS)) as census:
            rows = {}
            for one in census.found.values():
                holders = [(holder.how, holder.pid, holder.what) for holder in one.holders]
                rows[one.inode] = {**vars(one), "holders": holders, "deleted": one.deleted}
            return rows, [vars(one) for one in survey.broken(census)], census.unreadable

    return lambda: forked(work)


@pytest.fixture(name="rows")
def _rows(taken):
    return lambda: taken()[0]


def test_it_finds_what_lsns_finds(children, rows):
    """The namespaces that processes are in, and the first process of each, are those of lsns."""
    pid = children.inside("uts", "ipc", "net", "mnt", "cgroup", "user")
    done = subprocess.run(["lsns", "-J", "-o", "NS,TYPE,NPROCS,PID"], capture_output=True, text=True, check=True)
    expected = {(int(row["ns"]), row["type"]): row for row in json.loads(done.stdout)["namespaces"]}
    found = {(one["inode"], one["kind"]): one for one in rows().values() if one["processes"]}

    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert found[key]["processes"][0] == int(row["pid"])
    assert [one["processes"] for one in found.values()].count([pid]) == 6


def test_its_own_are_never_missing(rows):
    """What this process is in is found whatever else there is."""
    found = rows()

    for path in NAMES.values():
        assert os.getpid() in found[os.stat(path).st_ino]["processes"]


def test_a_pin_that_nobody_is_in(children, directory, rows):
    """No process, so lsns does not see it; it has its pin, a number, and who owns it."""
    pid = children.inside("uts")
    number = bind(f"/proc/{pid}/ns/uts", directory / "a file")
    children.kill(pid)
    found = rows()[number]

    assert found["kind"] == "uts"
    assert found["processes"] == []
    assert found["pins"] == [str(directory / "a file")]
    assert found["owner"] == os.stat("/proc/self/ns/user").st_ino
    assert not found["deleted"]


def test_numbers_are_not_used_again(children, rows):
    """An inode number is given away again, the number of the kernel never is (Linux 6.18)."""
    seen = []
    for _ in range(3):
        pid = children.inside("uts")
        seen.append(rows()[inode(pid, "uts")]["number"])
        children.kill(pid)
    if None in seen:
        pytest.skip("this kernel has no NS_GET_ID")

    assert len(set(seen)) == 3


def unpinned(pid, directory, kind="net"):
    """Pin a process's namespace, and give its inode number and how to take the pin away again."""
    path = directory / kind
    return bind(f"/proc/{pid}/ns/{kind}", path), lambda: detach(str(path))


def test_held_by_a_descriptor(children, directory, rows):
    """A descriptor that was opened through a pin has a name that does not tell what it is."""
    first = children.inside("net")
    number, unpin = unpinned(first, directory)
    holder = children.start(lambda: os.open(directory / "net", os.O_RDONLY))
    children.kill(first)
    unpin()
    found = rows()[number]

    assert [(how, pid) for how, pid, _ in found["holders"]] == [("descriptor", holder)]
    assert found["deleted"]


def test_held_by_a_descriptor_of_proc(children, rows):
    """A descriptor that was opened through /proc says what it is."""
    first = children.inside("ipc")
    number = inode(first, "ipc")
    holder = children.start(lambda: os.open(f"/proc/{first}/ns/ipc", os.O_RDONLY))
    children.kill(first)
    found = rows()[number]

    assert (found["kind"], [(how, pid) for how, pid, _ in found["holders"]]) == ("ipc", [("descriptor", holder)])


def socket_elsewhere():
    """Make a socket in a new network namespace and come home."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    libc.unshare(libc.CLONE_NEWNET)
    number = os.stat("/proc/self/ns/net").st_ino
    made = socket.socket()
    libc.setns(home, libc.CLONE_NEWNET)
    os.close(home)
    return made, number


def test_held_by_a_socket(children, rows):
    """A socket keeps the network that it was made in, and nothing in /proc says so."""
    before = set(rows())
    holder = children.start(socket_elsewhere)
    new = [one for number, one in rows().items() if number not in before]

    assert len(new) == 1
    assert new[0]["kind"] == "net"
    assert [(how, pid) for how, pid, _ in new[0]["holders"]] == [("socket", holder)]
    assert new[0]["deleted"]


def test_the_sockets_of_a_network_do_not_hold_it_for_its_own_processes(children, rows):
    """A process that is in a network is not listed again for each of its sockets."""
    pid = children.start(lambda: (libc.unshare(libc.CLONE_NEWNET), socket.socket()))

    assert rows()[inode(pid, "net")]["holders"] == []


def test_held_by_a_tap(children, rows):
    """An open /dev/net/tun belongs to a network too."""

    def work():
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        libc.unshare(libc.CLONE_NEWNET)
        made = os.open("/dev/net/tun", os.O_RDWR)
        libc.setns(home, libc.CLONE_NEWNET)
        return made

    if not os.path.exists("/dev/net/tun"):
        pytest.skip("this kernel has no tun")
    before = set(rows())
    holder = children.start(work)
    new = [one for number, one in rows().items() if number not in before]

    assert [[(how, pid) for how, pid, _ in one["holders"]] for one in new] == [[("socket", holder)]]


def test_held_by_a_thread(children, rows):
    """A thread may be elsewhere than its process; what /proc/PID/ns shows is where the first one is."""

    def work():
        ready = threading.Event()

        def elsewhere():
            libc.unshare(libc.CLONE_NEWUTS)
            ready.set()
            threading.Event().wait()

        threading.Thread(target=elsewhere, daemon=True).start()
        ready.wait()

    before = set(rows())
    holder = children.start(work)
    new = [one for number, one in rows().items() if number not in before]

    assert [(one["kind"], [(how, pid) for how, pid, _ in one["holders"]]) for one in new] == [("uts", [("thread", holder)])]


def test_held_for_children(children, rows):
    """Who has unshared its time is not in the new namespace, its children will be."""
    before = set(rows())
    holder = children.inside("time")
    new = [one for number, one in rows().items() if number not in before]

    assert [(one["kind"], one["processes"], one["holders"]) for one in new] == [("time", [], [("children", holder, "")])]


def number(path):
    """Give a namespace's number, by which the kernel tells which of two mount namespaces is the older one."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return libc.namespace_id(fd) or 0
    finally:
        os.close(fd)


def copied_mounts():
    """Be in a new mount namespace that can be pinned: Linux 6.18 numbers them by CPU, and a pin must have a higher number."""
    ours = number("/proc/self/ns/mnt")
    for cpu in sorted(os.sched_getaffinity(0)):
        os.sched_setaffinity(0, {cpu})
        libc.unshare(libc.CLONE_NEWNS)
        if number("/proc/self/ns/mnt") > ours:
            break
    libc.mount(None, "/", None, libc.MS_REC | libc.MS_PRIVATE)


def test_held_by_a_mount_of_another_process(children, directory, rows):
    """A mount table that was copied has the pins too; unmounting ours leaves those."""
    first = children.inside("net")
    number, _ = unpinned(first, directory)
    holder = children.start(copied_mounts)
    children.kill(first)
    assert rows()[number]["pins"] == [str(directory / "net")]
    libc.umount(str(directory / "net"))
    found = rows()[number]

    assert (found["pins"], found["holders"]) == ([], [("mount", holder, str(directory / "net"))])
    assert found["number"] == rows()[number]["number"]
    assert found["deleted"]


def test_held_by_a_mount_that_only_a_pin_keeps(children, directory, rows):
    """A mount table may be pinned, with no process in it: whoever looks has to go there."""
    first = children.inside("net")
    number, _ = unpinned(first, directory)
    copier = children.start(copied_mounts)
    table = bind(f"/proc/{copier}/ns/mnt", directory / "mnt")
    for pid in (first, copier):
        children.kill(pid)
    libc.umount(str(directory / "net"))
    before = os.getcwd(), os.stat("/").st_ino
    found = rows()[number]

    assert (found["kind"], found["pins"]) == ("net", [])
    assert found["holders"] == [("mount", 0, f"{directory / 'net'} in mnt:[{table}]")]
    assert found["owner"] == os.stat("/proc/self/ns/user").st_ino
    assert (os.getcwd(), os.stat("/").st_ino) == before


def test_a_user_namespace_that_only_owns(children, directory, rows):
    """A user namespace lives on for what belongs to it, and is found by that."""
    first = children.inside("user", "uts")
    owner = inode(first, "user")
    number, _ = unpinned(first, directory, "uts")
    children.kill(first)
    found = rows()

    assert found[number]["owner"] == owner
    assert (found[owner]["kind"], found[owner]["processes"]) == ("user", [])
    assert found[owner]["holders"] == [("namespace", 0, f"uts:[{number}]")]
    assert found[owner]["parent"] == os.stat("/proc/self/ns/user").st_ino


def test_processes_that_end_meanwhile(children, rows):
    """Thousands of short lives do not disturb it."""
    stop = threading.Event()

    def burn():
        while not stop.is_set():
            subprocess.run(["unshare", "--uts", "true"], check=True)

    threads = [threading.Thread(target=burn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            assert rows()[os.stat("/proc/self/ns/uts").st_ino]["processes"]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_processes_that_may_not_be_looked_into(children, forked):
    """Who has capabilities that we have not is counted, and passed over."""
    pid = children.inside("uts")
    ptrace, time_ = 1 << 19, 1 << 25

    def work():
        libc.set_capabilities(libc.capabilities() & ~ptrace & ~time_)
        with survey.taken(Namespaces(PINS)) as census:
            return census.unreadable, [one.processes for one in census.found.values()]

    unreadable, processes = forked(work)

    assert unreadable >= 2
    assert not any(pid in some for some in processes)
    with pytest.raises(KernelError, match="can't be looked into"):
        forked(lambda: (libc.set_capabilities(libc.capabilities() & ~ptrace & ~time_), subjects.of_process(pid, ["uts"])))


# -- labs -------------------------------------------------------------------------------------------------------------


def node(name="a"):
    rows = [["netns", {"node": name, "name": f"t-{name}", "etc": []}], ["utsns", {"node": name, "hostname": name}]]
    return list(load_state(rows, SCHEMAS).values())


def test_which_lab_and_node(labs, rows):
    """A network bears the mark of its lab; the others are known by where they are pinned."""
    labs.up(LAB, *node())
    found = {(one["kind"], one["lab"], one["node"], *one["pins"]) for one in rows().values() if one["lab"]}

    assert found == {
        ("net", LAB, "a", f"{NETNS}/t-a"),
        ("uts", LAB, "a", f"{RUN}/{LAB}/ns/a/uts"),
    }
    labs.down(LAB)


def test_a_deleted_network_of_a_lab(labs, children, rows):
    """A process in a node that is gone keeps its network, and that still says whose it was."""
    labs.up(LAB, *node())
    pin = f"{NETNS}/t-a"
    holder = children.start(lambda: libc.setns(os.open(pin, os.O_RDONLY), libc.CLONE_NEWNET))
    number = os.stat(pin).st_ino
    labs.up(LAB)
    found = rows()[number]

    assert (found["lab"], found["node"], found["pins"], found["processes"]) == (LAB, "a", [], [holder])
    assert found["deleted"]
    children.kill(holder)


def test_pins_that_are_broken(labs, taken):
    """A pin of another type than its name says, and an empty file in its place, are not passed over."""
    labs.up(LAB, *node("a"), *node("b"))
    other, empty = f"{RUN}/{LAB}/ns/a/uts", f"{RUN}/{LAB}/ns/b/uts"
    for path in (other, empty, f"{NETNS}/t-b"):
        libc.umount(path)
    libc.mount("/proc/self/ns/ipc", other, None, libc.MS_BIND)
    found = {(row["path"], row["kind"], row["lab"], row["node"], row["why"]) for row in taken()[1]}

    assert found == {
        (other, "uts", LAB, "a", "a ipc namespace is pinned there"),
        (empty, "uts", LAB, "b", "nothing is pinned there"),
        (f"{NETNS}/t-b", "net", "", "", "nothing is pinned there"),
    }
    libc.umount(other)
    labs.down(LAB)


# -- processes that end -----------------------------------------------------------------------------------------------


def again(pid, work=signal.pause):
    """Start a process that gets the number of one that has ended (/proc/sys/kernel/ns_last_pid)."""
    with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
        file.write(str(pid - 1))
    found = os.fork()
    if found == 0:
        work()
        os._exit(0)
    return found


@pytest.mark.parametrize("by_pidfd", [True, False], ids=["pidfd", "directory"])
def test_another_process_of_the_same_number(children, by_pidfd):
    """What was taken hold of is never taken for the process that has its number now."""
    pid = children.inside("uts")
    with subjects.held(pid) as found:
        process = found if by_pidfd else subjects.Process(found.directory, None)
        os.close(process.namespace("uts"))
        children.kill(pid)
        other = again(pid)
        children.pids.add(other)
        if other != pid:
            pytest.skip("another process was faster")

        with pytest.raises(OSError, match="No such process"):
            process.namespace("uts")


def test_no_such_process(children):
    """A number that is nobody's, and one of a process that has ended and was not waited for, match nothing."""
    pid = children.start(lambda: None)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(NothingMatched, match=str(pid)):
        subjects.of_process(pid, ["uts"])
    with pytest.raises(NothingMatched, match="4194305"):
        subjects.of_process(4194305, ["uts"])


def test_a_thread_is_a_subject_too():
    """A thread has a number, and namespaces of its own; no pidfd leads to it."""
    ready, done = threading.Event(), threading.Event()
    known = []

    def elsewhere():
        libc.unshare(libc.CLONE_NEWUTS)
        known.append((threading.get_native_id(), os.stat("/proc/thread-self/ns/uts").st_ino))
        ready.set()
        done.wait()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    ready.wait()
    try:
        found = subjects.of_process(known[0][0], ["uts"])["uts"]
        assert os.fstat(found).st_ino == known[0][1] != os.stat("/proc/self/ns/uts").st_ino
        os.close(found)
    finally:
        done.set()
        thread.join()


# -- pins -------------------------------------------------------------------------------------------------------------


def everything():
    """Be in a new namespace of every type, and give a child in those of pid and time, which are the children's."""
    libc.unshare(TYPES["user"])
    copied_mounts()
    for kind in ("uts", "ipc", "net", "cgroup", "time", "pid"):
        libc.unshare(TYPES[kind])
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        signal.pause()
    return child


def made(children, *kinds):
    """Start a process in new namespaces and open them."""
    return opened(children.inside(*kinds), *kinds)


def opened(pid, *kinds):
    return subjects.of_process(pid, kinds or tuple(TYPES))


def close(found):
    for fd in found.values():
        os.close(fd)


def still_pinned(name):
    found = pins.open_pinned(name)
    close({kind: fd for kind, fd in found.items() if fd is not None})
    return bool(found) and None not in found.values()


def test_every_type_is_pinned_and_outlives_its_process(children):
    """All eight, of one process, are the same before and after it has died; then nothing of them is left."""
    parent = children.start(everything)
    with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
        child = int(file.read())
    found = opened(child)
    numbers = {kind: os.fstat(fd).st_ino for kind, fd in found.items()}
    try:
        made = pins.pin(found, "keep")
    finally:
        close(found)
        os.kill(child, signal.SIGKILL)
        children.kill(parent)

    assert {kind: os.stat(path).st_ino for kind, path in made.items()} == numbers
    assert made == {kind: f"{NETNS}/keep" if kind == "net" else f"{PINS}/keep/{kind}" for kind in TYPES}
    assert not set(numbers.values()) & {os.stat(path).st_ino for path in NAMES.values()}
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["keep"]
    assert pins.unpin("keep") == made
    assert not os.path.exists(RUN)
    assert not os.path.exists(NETNS)


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".", ".x", "a b", "-a", "42", "a\n", "ä", "a" * 65, "a/../../b", "/etc/x", "a$b"]
)
def test_names_that_are_none(children, name):
    """A name becomes part of a path: whatever is not plain is refused before anything is touched."""
    found = made(children, "uts")
    with pytest.raises(InputError, match="no name for a pin"):
        pins.pin(found, name)
    with pytest.raises(NothingMatched):
        pins.unpin(name)
    close(found)

    assert not os.path.exists(RUN)


def test_a_name_that_is_taken(children):
    """What is pinned stays; another type may have the same name."""
    first, second = made(children, "uts", "ipc"), made(children, "uts")
    pins.pin({"uts": first["uts"]}, "keep")
    number = os.stat(f"{PINS}/keep/uts").st_ino
    with pytest.raises(Conflict, match=r'"keep" has a pin of the type "uts" already'):
        pins.pin(second, "keep")

    assert os.stat(f"{PINS}/keep/uts").st_ino == number
    pins.pin({"ipc": first["ipc"]}, "keep")
    assert pins.unpin("keep", ["uts"]) == {"uts": f"{PINS}/keep/uts"}
    assert pins.names() == ["keep"]
    assert pins.unpin("keep") == {"ipc": f"{PINS}/keep/ipc"}
    close(first)
    close(second)


def test_all_or_nothing(children):
    """Our own mount namespace can't be pinned: what was pinned before it is given up again."""
    found = {**made(children, "uts", "net"), "mnt": os.open("/proc/self/ns/mnt", os.O_RDONLY)}
    with pytest.raises(KernelError, match='"mnt"') as refusal:
        pins.pin(found, "keep")
    close(found)

    assert "younger" in refusal.value.diagnostics[0].detail
    assert not os.path.exists(RUN)
    assert not os.path.exists(NETNS)


@pytest.fixture
def _no_netns(host):
    """Remove the directory that `ip netns add` makes and leaves."""
    yield
    libc.umount(NETNS)
    os.rmdir(NETNS)


@pytest.mark.usefixtures("_no_netns")
def test_a_network_that_is_not_ours(children, run_command):
    """A name that `ip netns` has made is neither pinned over nor given up."""
    run_command("ip", "netns", "add", "theirs")
    found = made(children, "net")
    with pytest.raises(Conflict, match='"theirs" exists'):
        pins.pin(found, "theirs")
    with pytest.raises(NothingMatched, match="theirs"):
        pins.unpin("theirs")
    close(found)

    assert run_command("ip", "netns", "list") == "theirs"
    run_command("ip", "netns", "del", "theirs")


@pytest.mark.usefixtures("_no_netns")
def test_a_network_that_is_not_ours_any_more(children, run_command):
    """Who deletes our pin and makes another of its name keeps that; we forget ours."""
    found = made(children, "net", "uts")
    pins.pin(found, "keep")
    run_command("ip", "netns", "del", "keep")
    run_command("ip", "netns", "add", "keep")
    with pytest.raises(Conflict, match="not ours"):
        pins.unpin("keep")
    close(found)

    assert run_command("ip", "netns", "list") == "keep"
    assert pins.names() == []
    run_command("ip", "netns", "del", "keep")
    with pytest.raises(NothingMatched):
        pins.unpin("keep")


def test_a_pin_that_was_taken_away(children, run_command):
    """What somebody has unmounted or deleted already is given up all the same, and its name is free."""
    found = made(children, "net", "uts")
    pins.pin(found, "keep")
    run_command("ip", "netns", "del", "keep")
    run_command("umount", f"{PINS}/keep/uts")

    assert pins.open_pinned("keep") == {"uts": None, "net": None}
    pins.pin(found, "keep")
    assert still_pinned("keep")
    close(found)
    pins.unpin("keep")


def test_pins_and_labs_live_side_by_side(labs, children):
    """A lab that goes down leaves pins, and a pin that goes leaves labs; the last one takes our directory with it."""
    found = made(children, "uts", "net")
    pins.pin(found, "keep")
    labs.up(LAB, *node())
    assert lab.labs() == [LAB]
    labs.down(LAB)
    assert still_pinned("keep")
    labs.up(LAB, *node())
    pins.unpin("keep")
    assert os.listdir(NETNS) == ["t-a"]
    labs.down(LAB)
    close(found)

    assert not os.path.exists(RUN)
    assert not os.path.exists(NETNS)


def test_nodes_do_not_see_pins(labs, children):
    """A node can't take a pin away: our directory is hidden in it."""
    found = made(children, "uts")
    pins.pin(found, "keep")
    rows = [*node(), *load_state([["mntns", {"node": "a", "binds": []}]], SCHEMAS).values()]
    labs.up(LAB, *rows)
    inside = ["nsenter", f"--mount={RUN}/{LAB}/ns/a/mnt", "ls", "-A", RUN]
    assert subprocess.run(inside, capture_output=True, text=True, check=True).stdout == ""
    labs.down(LAB)
    pins.unpin("keep")
    close(found)


def test_what_a_reboot_leaves(children):
    """Where /run is on a disk, the empty files of pins are there after a reboot: the next use removes them."""
    os.makedirs(f"{PINS}/old", 0o700)
    for kind in ("uts", "net"):
        open(f"{PINS}/old/{kind}", "w", encoding="ascii").close()
    os.utime(PINS, (0, 0))
    found = made(children, "uts")
    pins.pin(found, "keep")
    close(found)

    assert pins.names() == ["keep"]
    pins.unpin("keep")


def test_pins_of_another_mount_namespace(children, forked):
    """Who has the same /run, but not what is mounted in it, must not remove files that are pins elsewhere."""
    apart = children.start(copied_mounts)
    found = made(children, "uts")
    pins.pin(found, "keep")
    table = os.open(f"/proc/{apart}/ns/mnt", os.O_RDONLY)

    def work():
        libc.setns(table, libc.CLONE_NEWNS)
        assert not libc.is_mount(RUN)
        with lab.run_directory():
            return libc.is_mount(RUN)

    assert forked(work)
    assert still_pinned("keep")
    os.close(table)
    close(found)
    pins.unpin("keep")


def test_a_process_that_dies_while_it_is_pinned(children):
    """Whenever it dies, all of it is pinned or nothing is."""
    came_to = set()
    for round_ in range(60):
        pid = children.inside("uts", "ipc", "net")
        numbers = {kind: inode(pid, kind) for kind in ("uts", "ipc", "net")}
        killer = threading.Timer(round_ * 0.00002, os.kill, (pid, signal.SIGKILL))
        killer.start()
        with contextlib.ExitStack() as stack:
            try:
                found = subjects.of_process(pid, ("uts", "ipc", "net"))
                stack.callback(close, found)
                made = pins.pin(found, "keep")
                assert {kind: os.stat(path).st_ino for kind, path in made.items()} == numbers
                pins.unpin("keep")
                came_to.add("pinned")
            except NothingMatched:
                came_to.add("gone")
        killer.join()
        os.waitpid(pid, 0)
        children.pids.discard(pid)
        assert not os.path.exists(RUN)

    assert came_to <= {"pinned", "gone"}
    assert "pinned" in came_to


# -- inside -----------------------------------------------------------------------------------------------------------


def look(forked, pid, kind):
    """Look into a process's namespace, from a process of one thread."""

    def work():
        found = opened(pid, kind)
        own = os.stat(f"/proc/self/ns/{kind}").st_ino == os.fstat(found[kind]).st_ino
        return particulars.inside(Namespaces(PINS), kind, found[kind], own=own)

    return forked(work)


def test_what_is_inside(children, forked):
    """The host name, the maps and the clocks, of our own namespaces and of others."""

    def work():
        libc.unshare(libc.CLONE_NEWUTS)
        socket.sethostname("inner")
        libc.unshare(libc.CLONE_NEWUSER)

    pid = children.start(work)
    with open(f"/proc/{pid}/uid_map", "w", encoding="ascii") as file:
        file.write("0 100000 5\n7 200000 1\n")
    assert look(forked, pid, "uts") == {"hostname": "inner"}
    maps = look(forked, pid, "user")
    assert [list(row) for row in maps["uid_map"]] == [[0, 100000, 5], [7, 200000, 1]]
    assert list(maps["gid_map"]) == []
    assert look(forked, os.getpid(), "user")["uid_map"] == [[0, 0, 4294967295]]
    assert look(forked, os.getpid(), "time") == {"offsets": {"monotonic": 0.0, "boottime": 0.0}}
    assert look(forked, pid, "ipc") == {}


def test_the_clocks(children, forked):
    """The offsets of a time namespace, to the nanosecond."""
    command = ["unshare", "--time", "--boottime", "86400", "--monotonic", "-5", "--fork", "sleep", "100"]
    process = subprocess.Popen(command)
    try:
        while not (found := _child(process.pid)):
            time.sleep(0.01)
        assert look(forked, found, "time") == {"offsets": {"monotonic": -5.0, "boottime": 86400.0}}
    finally:
        os.kill(found, signal.SIGKILL)
        process.wait()


def _child(pid):
    """Give a process's child once it has become another program."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        words = file.read().split()
    if not words:
        return 0
    with open(f"/proc/{words[0]}/comm", encoding="ascii") as file:
        return int(words[0]) if file.read() == "sleep\n" else 0


def test_what_it_means(children):
    """The same, different, and of those that lie in each other which one is outside."""
    inner, other = made(children, "user", "uts"), made(children, "uts")
    own = opened(os.getpid(), "user", "uts")

    assert particulars.meaning("uts", own["uts"], own["uts"], ("a", "b")) == particulars.SAME["uts"]
    assert particulars.meaning("uts", inner["uts"], other["uts"], ("a", "b")) == particulars.DIFFERENT["uts"]
    assert particulars.meaning("user", own["user"], inner["user"], ("a", "b")).startswith("a is above b")
    assert particulars.meaning("user", inner["user"], own["user"], ("a", "b")).startswith("b is above a")
    for found in (inner, other, own):
        close(found)
