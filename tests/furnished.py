"""A node with namespaces, files and processes of its own, made by hand: what `exec` has to enter, whoever makes it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

from commandline import PATIENCE, until

BASE = 100_000
"""What root of the node's user namespace is on the host."""

_FILES = r"""
set -e
root=$1
mount -t tmpfs -o mode=0755 node "$root"
cd "$root"
mkdir -p proc dev tmp root etc .old home/bob
for name in bin lib lib32 lib64 sbin usr; do
  [ ! -L "/$name" ] || ln -s "$(readlink "/$name")" "$name"
  [ -L "/$name" ] || [ ! -d "/$name" ] || { mkdir "$name"; mount --rbind "/$name" "$name"; }
done
cat >etc/passwd <<X
root:x:0:0:root:/root:/bin/sh
bob:x:1000:1000:Bob:/home/bob:/bin/sh
X
printf 'root:x:0:\nbob:x:1000:\nstaff:x:50:bob\n' >etc/group
echo the node >etc/whose
chown 1000:1000 home/bob
mount -t proc proc proc
mount -t tmpfs -o mode=0755 dev dev
mkdir dev/pts
for name in null zero; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
: >dev/tty; mount --bind /dev/tty dev/tty
pivot_root . .old
umount -l /.old
rmdir /.old
exec 0</dev/null
touch /tmp/ready
trap '' CHLD # so that the kernel reaps
exec sleep 100000
"""

_KINDS = {"user": "--user", "cgroup": "--cgroup", "ipc": "--ipc", "uts": "--uts", "net": "--net", "time": "--time"}


class Furnished:
    """A node of a lab that is up, given a pid and a mount namespace, and with `user` all others too, below that."""

    def __init__(self, lab, node, netns, run, *, user):
        """Make them and pin them; `run` runs agent code in a child."""
        self.pins = f"/run/nsprov/{lab}/ns/{node}"
        self.user = user
        if user:
            run(lambda: _make(lab, node))
        kinds = ("user", "cgroup", "ipc", "uts", "time") if user else ("uts",)
        enter = [f"{_KINDS[kind]}={self.pins}/{kind}" for kind in kinds]
        ids = ["--setuid=0", "--setgid=0"] if user else []
        self._argv = ["nsenter", f"--net=/run/netns/{netns}", *enter, *ids]
        self._argv += ["unshare", "--pid", "--mount", "--fork", "--kill-child"]
        for cpu in sorted(os.sched_getaffinity(0)):
            self._start(cpu)
            if self._pinned():
                return
            self.end()
        raise AssertionError("the mount namespace could not be pinned")

    def _start(self, cpu):
        top = "/run/node-root"
        os.makedirs(top, exist_ok=True)
        argv = ["taskset", "-c", str(cpu), *self._argv, "/bin/sh", "-c", _FILES, "sh", top]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        self.init = until(lambda: children(self._process.pid), "the node's first process")[0]
        until(lambda: os.path.exists(f"/proc/{self.init}/root/tmp/ready"), "its files")

    def _pinned(self):
        for kind in ("pid", "mnt"):
            path = f"{self.pins}/{kind}"
            subprocess.run(["umount", "-lq", path], check=False, stderr=subprocess.DEVNULL)
            with open(path, "a", encoding="ascii"):
                pass
            # A mount namespace can be pinned only from one with a lower number, and each CPU numbers its own (Linux 6.18).
            done = subprocess.run(["mount", "--bind", f"/proc/{self.init}/ns/{kind}", path], check=False, capture_output=True)
            if done.returncode:
                return False
        return True

    def inside(self, *argv, **options):
        """Start a process in the node by other means than ours."""
        enter = ["nsenter", f"--target={self.init}", "--all", *(["--setuid=0", "--setgid=0"] if self.user else [])]
        return subprocess.Popen([*enter, *argv], **{"stdin": subprocess.DEVNULL, **options})

    def end(self):
        """Kill the node's first process, and with it all others."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            os.rmdir("/run/node-root")


def children(pid):
    """Give the children of a process."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(name))
    return found


def alive(word):
    """Give the processes, zombies aside, that have a word in their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                if word.encode() in file.read():
                    found.append(int(name))
    return found


def gone(word, seconds):
    """Tell whether such processes are gone within some seconds."""
    deadline = time.monotonic() + min(seconds, PATIENCE)
    while alive(word):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _make(lab, node):
    """Make and pin what nsprov can make: a user namespace, and others that belong to it."""
    from nsprov.kernel import births  # noqa: PLC0415 - in the child
    from nsprov.kernel.machine import Kernel  # noqa: PLC0415 - as above

    namespaces = Kernel(lab).namespaces
    rows = [(0, BASE, 65_536)]
    births.make_user(namespaces, node, rows, rows)
    for kind in ("uts", "ipc", "cgroup", "time"):
        namespaces.unpin(node, kind)
        births.make(namespaces, node, kind, user=True)
