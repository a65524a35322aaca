"""What nodes see of files: namespaces that change what is mounted, mounts of the user, root file systems of their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
import threading

import pytest

from nsprov.errors import Conflict, KernelError
from nsprov.kernel import libc
from nsprov.kernel.machine import Kernel
from nsprov.kernel.mounts import Sight
from nsprov.kernel.views import View
from nsprov.kinds import SCHEMAS
from nsprov.plan.change import load_state

pytestmark = pytest.mark.root
LAB = "t"
PINS = f"/run/nsprov/{LAB}/ns/a"
FIRST = 1900000000
MAP = [[0, FIRST, 65536]]
EVERY = ("cgroup", "ipc", "pid", "user")
APPLETS = ("sh", "cat", "chroot", "echo", "id", "ls", "mkdir", "mount", "ps", "rm", "stat", "touch", "umount", "wc")


class Node:
    """One node of one lab."""

    def __init__(self, labs):
        """Remember who brings labs up."""
        self.labs = labs
        self.spaces = ()

    def state(self, files=None, spaces=(), **fields):
        """Give the resources: `files` are path -> content, other fields are those of the mount namespace."""
        files = {"/etc/hosts": "10.0.0.1 a\n"} if files is None else files
        user = "user" in spaces
        owner = {"uid": FIRST, "gid": FIRST} if user else {}
        rows = [["netns", {"node": "a", "name": "t-a", "user": user}]]
        rows += [["file", {"owner": "a", "path": path, "content": text, **owner}] for path, text in files.items()]
        rows += [["userns", {"node": "a", "uids": MAP, "gids": MAP}]] if user else []
        rows += [["ipcns", {"node": "a", "user": user}]] if "ipc" in spaces else []
        rows += [["cgroup", {"node": "a"}]] if {"cgroup", "pid"} & {*spaces} else []
        rows += [["cgroupns", {"node": "a", "user": user}]] if "cgroup" in spaces else []
        inner = sorted({"net", *spaces} - {"pid"})
        rows += [["init", {"node": "a", "spaces": inner, "pid": True}]] if "pid" in spaces else []
        binds = sorted([path, f"a{path}"] for path in files)
        rows.append(["mntns", {"node": "a", "binds": binds, "spaces": sorted(spaces), **fields}])
        return list(load_state(rows, SCHEMAS).values())

    def up(self, files=None, spaces=(), **fields):
        """Bring the node up, or change it, and check that nothing is left to do; give the actions."""
        state = self.state(files, spaces, **fields)
        self.spaces = spaces
        actions = self.labs.up(LAB, *state).actions()
        assert self.labs.plan(LAB, *state).actions() == {}
        return actions

    def argv(self, *argv):
        """Give the way into the node with all its namespaces."""
        pins = [f"--{kind}={PINS}/{kind}" for kind in self.spaces]
        return ["nsenter", "--net=/run/netns/t-a", f"--mount={PINS}/mnt", *pins, "--", *argv]

    def run(self, script):
        """Run a script in the node: what it says, and its exit code if that is not 0."""
        argv = self.argv("sh", "-c", script)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        return done.stdout + done.stderr + (f"({done.returncode})" if done.returncode else "")

    def refused(self, **fields):
        """Bring up what cannot be, see that nothing is left of the mount namespace, and give the words."""
        self.spaces = fields.get("spaces", ())
        with pytest.raises((KernelError, Conflict)) as caught:
            self.labs.up(LAB, *self.state(**fields))
        assert not os.path.ismount(f"{PINS}/mnt")
        found = caught.value.diagnostics[0]
        return f"{found.summary}. {found.detail} {found.hint}"

    def down(self):
        """Take the lab down."""
        self.labs.down(LAB)


@pytest.fixture
def node(labs):
    """Give a node; it goes down afterwards."""
    node = Node(labs)
    yield node
    node.down()


@pytest.fixture
def tree(tmp_path):
    """Give a small root file system, made on the spot of busybox alone."""
    top = tmp_path / "root"
    for name in ("bin", "etc", "proc", "sys", "dev", "run", "tmp", "data"):
        (top / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), top / "bin/busybox")
    for applet in APPLETS:
        (top / "bin" / applet).symlink_to("busybox")
    (top / "etc/hosts").write_text("old\n")
    (top / "etc/secret").write_text("its root's\n")
    (top / "etc/secret").chmod(0o600)
    top.chmod(0o755)
    tmp_path.chmod(0o755)
    return top


def digest(top):
    """Give a digest of all names, modes, owners and contents below a directory."""
    found = hashlib.sha256()
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted([*names, *files]):
            path = os.path.join(directory, name)
            about = os.lstat(path)
            found.update(f"{path} {about.st_mode} {about.st_uid} {about.st_gid} {about.st_nlink} {about.st_mtime_ns}".encode())
            if stat.S_ISREG(about.st_mode):
                with open(path, "rb") as file:
                    found.update(file.read())
            elif stat.S_ISLNK(about.st_mode):
                found.update(os.readlink(path).encode())
    return found.hexdigest()


# -- the host's view, with namespaces of the node ---------------------------------------------------------------------


def test_proc_of_its_own(node):
    """A node with a pid namespace sees its own processes, and no trace of the host's."""
    node.up(spaces=("pid",))

    assert int(node.run("ls /proc | grep -c '^[0-9]'")) <= 4  # init, sh, ls, grep
    assert node.run("readlink /proc/1/ns/pid") == node.run("readlink /proc/self/ns/pid")
    assert node.run("cat /etc/hosts") == "10.0.0.1 a\n"
    assert node.run("ls /run/nsprov /run/netns") == "/run/netns:\n\n/run/nsprov:\n"


SPY = """
    import os
    known = set(os.listdir("/proc"))
    seen = set()
    print("up", flush=True)
    while True:
        try:
            os.stat("/tmp/nsprov-test-stop")
            break
        except OSError:
            pass
        for pid in set(os.listdir("/proc")) - known:
            try:
                for name in ("root", "cwd", *(f"fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd"))):
                    path = f"/proc/{pid}/{name}"
                    listed = os.path.isdir(path) and os.listdir(path)
                    seen.add((name.split("/")[0], os.readlink(path).split(":")[0], str(listed)))
            except OSError:
                pass
    for one in seen:
        print(*one, sep="|")
"""


def test_no_process_with_the_hosts_files_is_in_the_node(node):
    """While a namespace is made, nothing that is in the node's pid namespace has a descriptor or a root of the host."""
    node.up(spaces=("pid",))
    argv = node.argv(sys.executable, "-c", textwrap.dedent(SPY))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as watcher:
        assert watcher.stdout.readline() == "up\n"
        for n in range(12):
            node.up(spaces=("pid",), mounts=[["/usr", "/mnt", bool(n % 2)]])
        with open("/tmp/nsprov-test-stop", "x", encoding="ascii"):
            pass
        seen = {tuple(line.split("|")) for line in watcher.stdout.read().splitlines()}
    os.unlink("/tmp/nsprov-test-stop")

    assert {one[0] for one in seen} == {"root", "cwd", "fd"}, "nobody was seen: the test proves nothing"
    assert {one for one in seen if one[0] != "fd"} <= {("root", "/", "[]"), ("cwd", "/", "[]")}
    assert {one[1] for one in seen if one[0] == "fd"} <= {"socket", "/", "anon_inode"}
    # The one directory that it may have open is what it is there for.
    listed = {one[2] for one in seen if one[0] == "fd"} - {"False", "[]"}
    assert all("'thread-self'" in one and len(re.findall(r"'\d+'", one)) <= 5 for one in listed)


def test_shared_memory_and_queues_of_its_own(node):
    """A node with an IPC namespace has its own /dev/shm, and its own /dev/mqueue where there is a place for one."""
    with open("/dev/shm/nsprov-test", "w", encoding="ascii"):
        pass
    try:
        node.up(spaces=("ipc",))

        assert node.run("ls /dev/shm") == ""
        assert node.run("touch /dev/shm/x && ls /dev/shm") == "x\n"
        assert not os.path.exists("/dev/shm/x")
        node.up(spaces=("ipc",), rootfs="host")
        assert node.run("touch /dev/mqueue/q && ls /dev/mqueue") == "q\n"
        queues = subprocess.getoutput("mkdir /run/q && mount -t mqueue q /run/q && ls /run/q; umount /run/q; rmdir /run/q")
        assert queues == ""
    finally:
        os.unlink("/dev/shm/nsprov-test")


def test_control_groups_of_its_own(node):
    """A node with a cgroup namespace sees its own group as the root, where the host has version 2, and nothing else."""
    node.up(spaces=("cgroup",))
    where = version_2()
    own = os.stat(f"{where}/nsprov.{LAB}/a").st_ino

    assert node.run(f"stat -c %i {where}") == f"{own}\n"
    assert " cgroup cgroup " not in node.run("cat /proc/self/mountinfo")


def version_2():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return next(line.split()[4] for line in file if " - cgroup2 " in line)


def test_control_groups_of_the_host(node):
    """Any other node sees the host's, as before."""
    node.up(rootfs="host")

    assert node.run("ls /sys/fs/cgroup").split() == sorted(os.listdir("/sys/fs/cgroup"))


def test_sys_shows_the_nodes_links(node):
    """A fresh /sys is that of the node's network, however it came to be."""
    for fields in ({"spaces": ("ipc",)}, {"rootfs": "host"}, {"spaces": ("user",)}):
        node.up(**fields)

        assert node.run("ls /sys/class/net") == "lo\n"


def test_a_node_of_its_own_user(node):
    """In the host's view root of a user namespace can read what others can, changes nothing, and unmounts nothing."""
    node.up(spaces=("user",), files={"/etc/hosts": "10.0.0.1 a\n", "/etc/nsprov-none/x.conf": "x\n"})

    assert node.run("cat /etc/hosts /etc/nsprov-none/x.conf") == "10.0.0.1 a\nx\n"
    assert "Permission denied" in node.run("touch /usr/nsprov-test")
    assert node.run("umount /sys").startswith("umount: /sys: ")
    assert "sysfs" in node.run("grep ' /sys ' /proc/self/mountinfo")
    assert "permission denied" in node.run("mount -o remount,rw,bind /sys")
    assert not os.path.exists("/etc/nsprov-none")


def test_the_namespace_is_the_nodes(node):
    """A mount namespace of a node with a user namespace belongs to that: its root may mount there."""
    node.up(spaces=("user",))
    with open(f"{PINS}/mnt", encoding="ascii") as pin, open(f"{PINS}/user", encoding="ascii") as user:
        owner = libc.owner(pin.fileno())
        try:
            assert os.fstat(owner).st_ino == os.fstat(user.fileno()).st_ino
        finally:
            os.close(owner)
    assert node.run("mount -t tmpfs x /mnt && stat -f -c %T /mnt") == "tmpfs\n"


def test_init_that_has_ended(node, forked):
    """A pid namespace whose init has ended cannot have a /proc: that is said in words."""
    node.labs.up(LAB, *(resource for resource in node.state() if resource.kind != "mntns"))
    os.makedirs(PINS)
    with open(f"{PINS}/pid", "x", encoding="ascii"):
        pass
    subprocess.run(["unshare", "--fork", f"--pid={PINS}/pid", "true"], check=True)

    def work():
        kernel = Kernel(LAB)
        kernel.namespaces.names = {"a": "t-a"}
        kernel.mounts.create({"a": Sight({}, View(spaces=("pid",)))})

    with pytest.raises(KernelError) as caught:
        forked(work)

    assert caught.value.diagnostics[0].summary == 'the init of node "a" has ended'


# -- a copy-on-write of the host --------------------------------------------------------------------------------------

WRITES = "for d in /etc /usr /var /srv /root; do echo x > $d/nsprov-test || exit 1; done; rm /etc/passwd; mkdir /nsprov-test"


@pytest.mark.parametrize("spaces", [(), ("user",), EVERY])
def test_a_copy_of_the_host(node, spaces):
    """Whatever a node with `rootfs: host` writes or removes, the host is as it was; another node sees none of it."""
    places = [f"{top}/nsprov-test" for top in ("/etc", "/usr", "/var", "/srv", "/root", "")]
    node.up(rootfs="host", spaces=spaces)

    assert node.run(WRITES) == ""
    assert node.run("cat /usr/nsprov-test; ls -d /nsprov-test; ls /etc/passwd 2>&1 | wc -l") == "x\n/nsprov-test\n1\n"
    assert [path for path in places if os.path.lexists(path)] == []
    assert os.path.exists("/etc/passwd")


@pytest.mark.parametrize("spaces", [(), EVERY])
def test_what_a_root_has(node, spaces):
    """A root file system has a /proc, /sys, /dev, /tmp and /run of its own, and is complete enough for a terminal."""
    node.up(rootfs="host", spaces=spaces)

    assert node.run("echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c") == "4\n4\n"
    assert node.run("ls -A /tmp /run /dev/shm") == "/dev/shm:\n\n/run:\n\n/tmp:\n"
    assert node.run("stat -c '%a %u' /tmp /run /dev /dev/shm") == "1777 0\n755 0\n755 0\n1777 0\n"
    assert node.run("ls -A /dev/pts") == "ptmx\n"
    assert node.run("python3 -c 'import os; a, b = os.openpty(); print(os.ttyname(b), os.stat(b).st_gid)'") == "/dev/pts/0 5\n"
    names = "fd full mqueue net null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert node.run("ls /dev").split() == names.split()
    if not spaces:  # a pipe of the host's root is not to be opened by the root of a user namespace
        assert node.run("echo through > /dev/stdout") == "through\n"


def test_root_in_a_copy_of_the_host(node):
    """In a user namespace what is root's on the host is root's inside, where the file system can show that (ext4 can)."""
    node.up(rootfs="host", spaces=("user",))

    assert node.run("stat -c '%u %g' / /etc/passwd /usr/bin /proc/1") == "0 0\n0 0\n0 0\n65534 65534\n"
    assert node.run("chown 1:1 /usr/bin/env && stat -c %u /usr/bin/env && chmod 4755 /usr/bin/env") == "1\n"
    about = os.stat("/usr/bin/env")
    assert (about.st_uid, stat.S_IMODE(about.st_mode)) == (0, 0o755)


def test_other_file_systems_of_the_host(node, tmp_path):
    """A file system that is mounted elsewhere is in the node too: as a copy, and read-only where it is so on the host."""
    os.makedirs("/srv/nsprov rw")
    os.makedirs("/srv/nsprov-ro")
    libc.mount("nsprov-test", "/srv/nsprov rw", "tmpfs")
    libc.mount("nsprov-test", "/srv/nsprov-ro", "tmpfs", libc.MS_RDONLY)
    try:
        node.up(rootfs="host")

        assert node.run("cd /srv/nsprov*rw && echo x > file && cat file && cd / && umount /srv/nsprov*rw") == "x\n"
        assert "Read-only file system" in node.run("touch /srv/nsprov-ro/file")
        assert os.listdir("/srv/nsprov rw") == []
        node.down()
    finally:
        for path in ("/srv/nsprov rw", "/srv/nsprov-ro"):
            libc.umount(path)
            os.rmdir(path)


def test_writes_live_as_long_as_the_namespace(node):
    """An edit of the node's files keeps what the node has written; an edit of its view does not."""
    node.up(rootfs="host")
    node.run("echo x > /etc/nsprov-test")

    assert node.up({"/etc/hosts": "2\n", "/etc/nsprov-none/x": "x\n"}, rootfs="host")["mntns:a"] == "update"
    assert node.run("cat /etc/nsprov-test /etc/hosts /etc/nsprov-none/x") == "x\n2\nx\n"
    assert node.up({}, rootfs="host")["mntns:a"] == "update"
    assert node.run("cat /etc/nsprov-none/x; cat /etc/hosts") == subprocess.getoutput("cat /etc/hosts") + "\n"
    assert node.up({}, rootfs="host", mounts=[["/usr", "/mnt", True]])["mntns:a"] == "replace"
    assert "No such file" in node.run("cat /etc/nsprov-test")


def test_a_link_in_place_of_a_file(node):
    """A /etc/resolv.conf that leads to /run, where nothing is in the node, is replaced in the node's copy only."""
    os.rename("/etc/resolv.conf", "/etc/resolv.conf.saved")
    os.symlink("../run/nowhere/resolv.conf", "/etc/resolv.conf")
    try:
        node.up({"/etc/resolv.conf": "nameserver 10.0.0.9\n"}, rootfs="host")

        assert node.run("cat /etc/resolv.conf") == "nameserver 10.0.0.9\n"
        assert os.readlink("/etc/resolv.conf") == "../run/nowhere/resolv.conf"
    finally:
        os.rename("/etc/resolv.conf.saved", "/etc/resolv.conf")


def test_a_lab_in_a_node(node):
    """A node with `rootfs: host` is host enough for a lab of its own, with a node that has `rootfs: host` again."""
    node.up(rootfs="host", spaces=("ipc", "pid"))
    here = os.path.dirname(os.path.abspath(__file__))
    tests = os.path.dirname(here)
    script = f"""
        import os, sys
        sys.path[:0] = {[os.path.dirname(tests), tests, here]!r}
        import conftest, test_views
        test_views.LAB, test_views.PINS = "inner", "/run/nsprov/inner/ns/a"
        inner = test_views.Node(conftest.Labs())
        inner.up(rootfs="host")
        assert inner.run(test_views.WRITES) == ""
        assert inner.run("cat /etc/hosts") == "10.0.0.1 a\\n"
        inner.down()
        print(os.path.exists("/etc/passwd"), os.path.exists("/etc/nsprov-test"))
    """
    path = "/tmp/nsprov-test-inner.py"
    argv = node.argv("sh", "-c", f"cat > {path} && {sys.executable} {path}")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, input=textwrap.dedent(script))

    assert done.stderr == ""
    assert done.stdout == "True False\n"
    assert not os.path.exists("/etc/nsprov-test")


def test_a_file_system_that_cannot_show_other_ids(node, tree, tmp_path):
    """Where files cannot be root's inside, they are nobody's, and the rest is as elsewhere."""
    for name in ("all", "tmpfs"):
        (tmp_path / name).mkdir()
    libc.mount("nsprov-test", str(tmp_path / "tmpfs"), "tmpfs")
    for name in ("upper", "work"):
        (tmp_path / "tmpfs" / name).mkdir()
    options = f"lowerdir={tree},upperdir={tmp_path}/tmpfs/upper,workdir={tmp_path}/tmpfs/work"
    libc.mount("nsprov-test", str(tmp_path / "all"), "overlay", 0, options)
    try:
        for writable in ("overlay", "no"):
            node.up(rootfs=str(tmp_path / "all"), writable=writable, spaces=("user",))

            assert node.run("stat -c %u /bin/busybox; cat /etc/hosts") == "65534\n10.0.0.1 a\n"
        node.up(rootfs=str(tmp_path / "all"), spaces=("user",))
        assert node.run("stat -c %u /; touch /x") == "0\n"
        node.down()
    finally:
        for name in ("all", "tmpfs"):
            libc.umount(str(tmp_path / name))


def test_overlays_that_are_too_deep(node, tmp_path):
    """The kernel stacks two overlays and no more: a third is refused in words."""
    tops = [tmp_path / name for name in ("one", "two")]
    lower = "/usr"
    try:
        for top in tops:
            for name in ("all", "tmpfs"):
                (top / name).mkdir(parents=True)
            libc.mount("nsprov-test", str(top / "tmpfs"), "tmpfs")
            for name in ("upper", "work"):
                (top / "tmpfs" / name).mkdir()
            options = f"lowerdir={lower},upperdir={top}/tmpfs/upper,workdir={top}/tmpfs/work"
            libc.mount("nsprov-test", str(top / "all"), "overlay", 0, options)
            lower = str(top / "all")
        words = node.refused(rootfs=lower)
    finally:
        for top in reversed(tops):
            for name in ("all", "tmpfs"):
                with contextlib.suppress(OSError):
                    libc.umount(str(top / name))

    assert "The kernel stacks two overlays and no more" in words


# -- a directory ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spaces", [(), ("user",), EVERY])
def test_an_overlay_of_a_directory(node, tree, spaces):
    """Nothing of what a node writes reaches the directory; missing places to mount over are made in the copy."""
    shutil.rmtree(tree / "proc")
    shutil.rmtree(tree / "etc")
    before = digest(tree)
    node.up({"/etc/hosts": "new\n", "/opt/deep/down/x": "x\n"}, rootfs=str(tree), spaces=spaces)

    assert node.run("cat /etc/hosts /opt/deep/down/x; cat /proc/mounts | grep -c proc") == "new\nx\n1\n"
    assert node.run("touch /x /bin/y && rm /bin/ps && ls -d /x /bin/y") == "/bin/y\n/x\n"
    assert node.run("ls -d /home /usr /work").endswith("(1)")
    node.down()
    assert digest(tree) == before


@pytest.mark.parametrize("spaces", [(), ("user",)])
def test_a_writable_directory(node, tree, spaces):
    """`writable: yes` is the directory itself: what root writes there is root's on the disk, in a user namespace too."""
    node.up(rootfs=str(tree), writable="yes", spaces=spaces)

    assert node.run("echo x > /data/x && cat /etc/hosts /etc/secret") == "10.0.0.1 a\nits root's\n"
    assert (tree / "etc/hosts").read_text() == "old\n"
    assert ((tree / "data/x").read_text(), (tree / "data/x").stat().st_uid) == ("x\n", 0)


@pytest.mark.parametrize("spaces", [(), ("user",), EVERY])
def test_a_read_only_directory(node, tree, spaces):
    """`writable: no` is read-only, what is mounted below it too; /tmp and /run are not."""
    libc.mount("nsprov-test", str(tree / "data"), "tmpfs", 0, "mode=0777")
    try:
        node.up(rootfs=str(tree), writable="no", spaces=spaces)

        assert "Read-only file system" in node.run("touch /x")
        assert "Read-only file system" in node.run("touch /data/x")
        assert node.run("touch /tmp/x /run/x && cat /etc/hosts") == "10.0.0.1 a\n"
        node.down()
    finally:
        libc.umount(str(tree / "data"))


def test_read_only_stays_read_only(node, tree):
    """Root of a user namespace can neither remount what is read-only, nor unmount it, nor what hides something."""
    (tree / "data/host").mkdir()
    node.up(rootfs=str(tree), writable="no", spaces=("user",), mounts=[["/usr", "/data/host", True]])

    assert "denied" in node.run("mount -o remount,rw,bind /")
    assert "denied" in node.run("mount -o remount,rw,bind /data/host")
    assert "denied" in node.run("mount -o remount,suid,ro,bind /data/host")
    for path in ("/data/host", "/proc", "/sys", "/dev"):
        node.run(f"umount -l {path}")
        assert f" {path} " in node.run("cat /proc/self/mountinfo")


@pytest.mark.parametrize("writable", ["yes", "no"])
def test_nothing_is_made_in_a_directory_of_the_user(node, tree, writable):
    """Without a place to mount over, a directory that is no copy is refused in words, and is as it was."""
    (tree / "proc").rmdir()
    (tree / "sys").rmdir()
    before = digest(tree)
    words = node.refused(rootfs=str(tree), writable=writable)

    assert "It has no directory /proc, /sys" in words
    assert digest(tree) == before


@pytest.mark.parametrize("writable", ["yes", "no"])
def test_no_file_is_made_in_a_directory_of_the_user(node, tree, writable):
    """Neither is a file to bind one of the lab's over, nor a directory for a mount."""
    before = digest(tree)

    assert 'no file "/etc/resolv.conf"' in node.refused(rootfs=str(tree), writable=writable, files={"/etc/resolv.conf": "x\n"})
    words = node.refused(rootfs=str(tree), writable=writable, mounts=[["/usr", "/data/x", True]])
    assert 'no directory "/data/x"' in words
    assert "make an empty directory" in words
    assert digest(tree) == before


def test_no_such_directory(node, tmp_path):
    """A root file system that is not there is found when it is planned; so is the source of a mount."""
    assert "nowhere" in node.refused(rootfs=str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    assert "file" in node.refused(rootfs=str(tmp_path / "file"))
    assert "nowhere" in node.refused(mounts=[[str(tmp_path / "nowhere"), "/mnt", True]])


# -- mounts of the user -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"rootfs": "host"}, {"spaces": ("user",)}, {"rootfs": "host", "spaces": EVERY}])
def test_mounts(node, tmp_path, fields):
    """Directories and files of the host are in the node, read-only where asked, never with devices or set-user-id."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
        (tmp_path / name / "file").write_text(f"{name}\n")
    tmp_path.chmod(0o755)
    rows = [
        [str(tmp_path / "two"), "/mnt/nsprov-a/b", True],
        [str(tmp_path / "one"), "/mnt/nsprov-a", False],
        [str(tmp_path / "two/file"), "/mnt/nsprov-file", True],
    ]
    (tmp_path / "one/b").mkdir()
    node.up(mounts=rows, **fields)

    assert node.run("cat /mnt/nsprov-a/file /mnt/nsprov-a/b/file /mnt/nsprov-file") == "one\ntwo\ntwo\n"
    assert node.run("echo x > /mnt/nsprov-a/new && cat /mnt/nsprov-a/new") == "x\n"
    assert (tmp_path / "one/new").read_text() == "x\n"
    assert "Read-only" in node.run("touch /mnt/nsprov-a/b/new")
    assert "Read-only" in node.run("echo x > /mnt/nsprov-file")
    flags = [line.split()[5] for line in node.run("grep ' /mnt/nsprov' /proc/self/mountinfo").splitlines()]
    assert len(flags) == 3
    assert all("nosuid,nodev" in one for one in flags)
    assert not os.path.exists("/mnt/nsprov-a")


def test_what_is_mounted_below_a_source(node, tmp_path):
    """A source comes with what is mounted below it, read-only all the way down."""
    (tmp_path / "a/b").mkdir(parents=True)
    libc.mount("nsprov-test", str(tmp_path / "a/b"), "tmpfs")
    try:
        (tmp_path / "a/b/file").write_text("below\n")
        node.up(rootfs="host", mounts=[[str(tmp_path / "a"), "/mnt", True]])

        assert node.run("cat /mnt/b/file") == "below\n"
        assert "Read-only" in node.run("touch /mnt/b/x")
        node.down()
    finally:
        libc.umount(str(tmp_path / "a/b"))


def test_no_pin_comes_with_a_source(node):
    """A node that is given the whole of /run gets no pin with it, neither of its own nor of another's namespaces."""
    node.up(rootfs="host", mounts=[["/run", "/mnt", True]])

    assert " nsfs " not in node.run("cat /proc/self/mountinfo")
    assert node.run("ls /mnt/nsprov/t") == ""
    assert "Read-only" in node.run("rm -f /mnt/netns/t-a")
    assert "t-a" in os.listdir("/run/netns")


@pytest.mark.parametrize("fields", [{}, {"rootfs": "host"}])
def test_what_the_host_mounts_later(node, tmp_path, fields):
    """What the host mounts below a source later does not come into the node, where it would not be read-only."""
    top = tmp_path / "a"
    (top / "b").mkdir(parents=True)
    libc.mount("nsprov-test", str(top), "tmpfs")
    libc.mount(None, str(top), None, libc.MS_SHARED)
    (top / "b").mkdir()
    try:
        node.up(mounts=[[str(top), "/mnt", True]], **fields)
        libc.mount("nsprov-test", str(top / "b"), "tmpfs")

        assert "Read-only" in node.run("touch /mnt/b/x")
        node.down()
    finally:
        libc.umount(str(top / "b"))
        libc.umount(str(top))


ODD = "a:b,upperdir=\\etc x"


def test_names_that_mean_something_to_mount(node, tree, tmp_path):
    """Paths are no options: colons, commas, backslashes and spaces in them are only that (C16 of the design)."""
    odd = tmp_path / ODD
    tree.rename(odd)
    (tmp_path / "source,ro:").mkdir()
    rows = [[str(tmp_path / "source,ro:"), "/data/x,y: z", False]]
    for writable in ("overlay", "no"):
        (odd / "data/x,y: z").mkdir(exist_ok=True)
        node.up(rootfs=str(odd), writable=writable, mounts=rows)

        assert node.run("cat /etc/secret; touch '/data/x,y: z/file'") == "its root's\n"
    assert os.listdir(tmp_path / "source,ro:") == ["file"]


@pytest.mark.parametrize("source", ["/", "/run", "/var/run", "/run/netns"])
def test_no_pin_can_be_removed(node, source):
    """Where names of namespaces are, no node may write: an unlinked name takes its mount along, wherever that is."""
    node.labs.up(LAB, *(resource for resource in node.state() if resource.kind != "mntns"))
    assert "remove the names" in node.refused(rootfs="host", mounts=[[source, "/mnt", False]])
    assert "remove the names" in node.refused(rootfs=source, writable="yes")


def test_no_place_in_the_hosts_own_root(node):
    """In the host's view nothing is made in /, which is the host's; the words say what helps."""
    words = node.refused(mounts=[["/usr", "/nsprov-none/usr", True]])

    assert "The host has no directory /nsprov-none" in words
    assert "`rootfs: host`" in words
    assert not os.path.exists("/nsprov-none")


# -- what is hostile --------------------------------------------------------------------------------------------------


def test_no_way_out_by_chroot(node):
    """The double chroot(2) that leads out of a chroot ends at the node's own root: nothing is above it any more."""
    node.up(rootfs="host")
    escape = """
        import os
        os.makedirs("/tmp/e", exist_ok=True)
        top = os.open("/", os.O_RDONLY)
        os.chroot("/tmp/e")
        os.fchdir(top)
        for _ in range(99):
            os.chdir("..")
        os.chroot(".")
        print(sorted(os.listdir("/run")), os.path.exists("/run/nsprov"), os.path.exists("/tmp/e"))
    """
    script = textwrap.dedent(escape)
    argv = node.argv("python3", "-c", script)
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    assert said == "[] False True\n"


def outside(tmp_path):
    """Make a place that links in a root file system lead to."""
    place = tmp_path / "outside"
    for name in ("proc", "sys", "dev", "etc", "pts"):
        (place / name).mkdir(parents=True)
    (place / "etc/resolv.conf").write_text("host\n")
    (place / "null").write_text("")
    return place


LINKS = {
    "proc": "{out}/proc",
    "sys": "../../outside/sys",
    "dev": "{out}/dev",
    "run": "{out}",
    "tmp": "/../../../../..{out}",
    "etc": "{out}/etc",
}


@pytest.mark.parametrize("writable", ["overlay", "yes", "no"])
@pytest.mark.parametrize("name", LINKS)
def test_links_to_the_host_are_not_followed(node, tree, tmp_path, name, writable):
    """A directory of the root file system that is a link to the host's files is refused, and the host is as it was."""
    out = outside(tmp_path)
    shutil.rmtree(tree / name)
    (tree / name).symlink_to(LINKS[name].format(out=out))
    before = digest(tmp_path)
    words = node.refused(rootfs=str(tree), writable=writable)

    assert "is a symbolic link" in words or f"no directory /{name}" in words
    assert digest(tmp_path) == before


@pytest.mark.parametrize("name", ["etc/resolv.conf", "data/file"])
def test_links_in_place_of_files(node, tree, tmp_path, name):
    """A file that is a link to one of the host's is replaced in a copy, refused elsewhere, and never written through."""
    out = outside(tmp_path)
    (tree / name).symlink_to(out / "etc/resolv.conf")
    before = digest(tmp_path)
    node.up({f"/{name}": "node\n"}, rootfs=str(tree))

    assert node.run(f"cat /{name}") == "node\n"
    assert "is a symbolic link" in Node(node.labs).refused_again(f"/{name}", str(tree))
    assert digest(tmp_path) == before


def refused_again(self, path, rootfs):
    """Take the lab down, and give the words for what cannot come up in its place."""
    self.down()
    return self.refused(rootfs=rootfs, writable="yes", files={path: "node\n"})


Node.refused_again = refused_again


def test_links_that_replace_devices(node, tree, tmp_path):
    """The devices of a node are the host's, whatever the root file system has in their place."""
    out = outside(tmp_path)
    shutil.rmtree(tree / "dev")
    (tree / "dev").mkdir()
    (tree / "dev/null").symlink_to(out / "null")
    (tree / "dev/pts").symlink_to(out / "pts")
    (tree / "dev/ptmx").symlink_to(out / "null")
    before = digest(tmp_path)
    node.up(rootfs=str(tree))

    assert node.run("echo x > /dev/null; stat -c '%F %t:%T' /dev/null") == "character special file 1:3\n"
    assert node.run("ls /dev/pts") == "ptmx\n"
    node.down()
    assert digest(tmp_path) == before


@pytest.mark.parametrize("target", ["/../../etc/x", "/a/../../b", "/mnt/./x", "relative", "/", "/mnt//x", "/mnt/.."])
@pytest.mark.parametrize("rootfs", ["host", ""])
def test_targets_that_lead_up(node, target, rootfs):
    """A target is a plain path: nothing in it leads up, so nothing is made outside of the node."""
    words = node.refused(rootfs=rootfs, mounts=[["/usr", target, True]])

    assert "no path to mount at" in words or "no place for" in words
    assert not os.path.exists("/etc/x")
    assert not os.path.exists("/b")


@pytest.mark.parametrize("rounds", [30])
def test_a_target_that_changes_while_it_is_mounted_over(node, tree, tmp_path, rounds):
    """Somebody flips a directory and a link to the host while mounts go through it: the host's is never reached."""
    out = outside(tmp_path)
    (out / "x").mkdir()
    (tree / "data/x").mkdir()
    (tree / "link").symlink_to(out)
    before = digest(out)
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            os.rename(tree / "data", tree / "was")
            os.rename(tree / "link", tree / "data")
            os.rename(tree / "data", tree / "link")
            os.rename(tree / "was", tree / "data")

    flipper = threading.Thread(target=flip)
    flipper.start()
    came = 0
    try:
        for n in range(rounds):
            state = node.state(rootfs=str(tree), writable="yes", mounts=[["/usr", "/data/x", bool(n % 2)]])
            with contextlib.suppress(KernelError, Conflict, OSError):
                node.labs.up(LAB, *state)
                came += 1
            with open("/proc/self/mountinfo", encoding="utf-8") as file:
                assert str(out) not in file.read()
    finally:
        stop.set()
        flipper.join()
    node.down()

    assert digest(out) == before
    print(f"{came} of {rounds} came up")


def test_files_of_a_hostile_root(node, tree, tmp_path):
    """What a node does to its own files before an edit does not lead the edit out of the node."""
    out = outside(tmp_path)
    before = digest(out)
    node.up({"/etc/hosts": "1\n"}, rootfs=str(tree))
    node.run(f"umount /etc/hosts; rm -r /etc; mkdir /data/{out.name}; ln -s {out}/etc /etc; ln -s /proc/1/root /data/root")
    with pytest.raises(KernelError) as caught:
        node.labs.up(LAB, *node.state({"/etc/hosts": "2\n", "/etc/new": "3\n"}, rootfs=str(tree)))

    assert "symbolic link" in caught.value.diagnostics[0].summary
    node.down()
    assert digest(out) == before


# -- what is known of it ----------------------------------------------------------------------------------------------


def test_the_record_tells(node):
    """What the view of a namespace is, is read beside its pin, and believed of that namespace only."""
    node.up(rootfs="host", mounts=[["/usr", "/mnt", True]], spaces=("ipc",))
    with open(f"{PINS}/mnt.json", encoding="utf-8") as file:
        content = json.load(file)
    about = os.stat(f"{PINS}/mnt.json")

    assert (content["rootfs"], content["mounts"], content["spaces"]) == ("host", [["/usr", "/mnt", True]], ["ipc"])
    assert (about.st_uid, stat.S_IMODE(about.st_mode)) == (0, 0o600)


DAMAGE = {
    # Since Linux 6.18 it depends on the processor whether it can be pinned: see `Mounts._create_pinned`.
    "another namespace": "umount {pins}/mnt; for cpu in $(seq 0 $(($(nproc --all) - 1))); do "
    "taskset -c $cpu unshare --mount={pins}/mnt --propagation private true 2>/dev/null && exit; done; exit 1",
    "no record": "rm {pins}/mnt.json",
    "no JSON": "echo x > {pins}/mnt.json",
    "another record": 'echo \'{{"id": 1}}\' > {pins}/mnt.json',
    "of others": "chmod 666 {pins}/mnt.json",
    "a link": "mv {pins}/mnt.json {pins}/x && ln -s x {pins}/mnt.json",
    "of other types": "sed -i s/overlay/7/ {pins}/mnt.json",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_not_believed(node, run_command, how):
    """A namespace that is not the one that the record is about, or whose record is damaged, is replaced."""
    node.up(rootfs="host")
    run_command("sh", "-c", DAMAGE[how].format(pins=PINS))

    assert node.up(rootfs="host")["mntns:a"] in ("replace", "create")
    assert node.run("echo x > /etc/nsprov-test && cat /etc/nsprov-test") == "x\n"
    assert not os.path.exists("/etc/nsprov-test")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{PINS}/x")


def test_a_record_without_its_namespace(node):
    """What a killed run wrote down before it could pin is not taken for what is pinned there later."""
    node.up(rootfs="host")
    record = f"{PINS}/mnt.json"
    with open(record, "rb") as file:
        content = file.read()
    node.up()
    with open(record, "xb") as file:
        file.write(content)
    os.chmod(record, 0o600)

    assert node.up()["mntns:a"] == "replace"
    assert not os.path.exists(record)


def test_back_to_the_hosts_view(node):
    """A node whose root file system is taken from the file has the host's view again, and no record is left."""
    node.up(rootfs="host")

    assert node.up()["mntns:a"] == "replace"
    assert not os.path.exists(f"{PINS}/mnt.json")
    assert node.run("cat /etc/hosts; ls -d /run/nsprov") == "10.0.0.1 a\n/run/nsprov\n"


def test_nothing_is_left_on_the_host(node):
    """What nodes write is nowhere on the host: it has no directory there, and goes with the namespace."""
    node.up(rootfs="host", spaces=("user",))
    node.run("head -c 1000000 /dev/zero > /var/nsprov-test")

    assert not os.path.exists(f"/run/nsprov/{LAB}/overlay/a")
    assert "overlay" not in mounted()


def mounted():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return [line.partition(" - ")[2].split()[0] for line in file if "nsprov" in line]


WHOLE = """
    import sys
    sys.path[:0] = {paths!r}
    import conftest, test_views
    node = test_views.Node(conftest.Labs())
    for fields in ({{"rootfs": "host"}}, {{"rootfs": "host", "spaces": ("ipc", "user")}}, {{"spaces": ("ipc", "user")}}):
        node.up(**fields, mounts=[["/usr", "/mnt", True]])
        assert node.run("cat /etc/hosts; ls /mnt/bin/env; ls /sys/class/net") == "10.0.0.1 a\\n/mnt/bin/env\\nlo\\n"
        assert " nsfs " not in node.run("cat /proc/self/mountinfo")
    node.run("mount -t tmpfs nsprov-inside /opt")
    table = open("/proc/self/mountinfo").read()
    assert "nsprov-inside" not in table and " overlay nsprov" not in table
    node.down()
    print("fine")
"""


@pytest.mark.parametrize("propagation", ["shared", "private", "slave"])
def test_mount_propagation(run_command, propagation):
    """Whether / is shared, as systemd makes it, or private, as containers have it: nothing comes out of a node."""
    here = os.path.dirname(os.path.abspath(__file__))
    tests = os.path.dirname(here)
    script = textwrap.dedent(WHOLE).format(paths=[os.path.dirname(tests), tests, here])

    assert run_command("unshare", "--mount", "--propagation", propagation, sys.executable, "-c", script) == "fine"


@pytest.mark.parametrize("outer", sorted(os.sched_getaffinity(0)))
def test_cpus_that_number_namespaces_apart(run_command, outer):
    """A namespace with a view of its own is made again on another CPU too, where it cannot be pinned (Linux 6.18)."""
    here = os.path.dirname(os.path.abspath(__file__))
    tests = os.path.dirname(here)
    script = textwrap.dedent(WHOLE).format(paths=[os.path.dirname(tests), tests, here])
    cpus = sorted(os.sched_getaffinity(0))
    inner = next((cpu for cpu in cpus if cpu != outer), outer)
    script = f"import os\nos.sched_setaffinity(0, {{{inner}}})\nos.sched_setaffinity(0, {cpus})\n{script}"
    made = ["taskset", "-c", str(outer), "unshare", "--mount", "--propagation", "private"]
    everywhere = ["taskset", "-c", ",".join(map(str, cpus))]

    assert run_command(*made, *everywhere, sys.executable, "-c", script) == "fine"


def test_an_overlay_that_was_left(node):
    """A directory that a killed run left for an overlay is not taken for one: nothing is written to the host's own."""
    node.up()
    os.makedirs(f"/run/nsprov/{LAB}/overlay/a/etc/upper")
    assert not re.search("mnt", " ".join(node.labs.plan(LAB, *node.state()).actions()))
    libc.umount(f"{PINS}/mnt")
    node.up({"/etc/nsprov-none/x": "x\n"})

    assert node.run("cat /etc/nsprov-none/x") == "x\n"
    assert not os.path.exists("/etc/nsprov-none")
