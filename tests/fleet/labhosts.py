"""Lab hosts for the tests: namespaces with an overlay of this machine's root and an own sshd, at 10.87.0.N.

Runs inside the sandbox of `run` below, which has no way out: no default route, and killing it removes everything.
Users: root and lab (sudo without a password) by key, labpw (sudo with the password s3cret) by key.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

NETWORK = "10.87.0"
BRIDGE = "nsp-lab0"
PASSWORD = "s3cret"
PYTHONS = {
    version: next(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python3"), shutil.which(f"python{version}"))
    for version in ("3.9", "3.13")
}
"""The oldest Python that an agent runs on and a new one, where this machine has them."""
NEEDED = (
    *("sshd", "ssh", "ssh-keygen", "sudo", "doas", "tcsh", "fish"),
    *("ip", "unshare", "taskset", "openssl", "mount", "pivot_root"),
)

_SSHD = """\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
LogLevel VERBOSE
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/keys/%u
"""

# PID 1 of a host.  The overlay must not lie on the file system of / (ELOOP), hence the tmpfs.
_INIT = r"""
set -eu
n=$1 base=$2 address=$3; d=$base/h$n
taskset -pc 0-$(($(nproc --all)-1)) $$ >/dev/null
hostname h$n
mount -t overlay h$n -o lowerdir=$base/layer:/,upperdir=$d/up,workdir=$d/wk $d/root
cd $d/root
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o mode=755 cg sys/fs/cgroup 2>/dev/null &&
  mkdir sys/fs/cgroup/unified && mount -t cgroup2 cg2 sys/fs/cgroup/unified || true
mount --rbind /dev dev
mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=755 run run; mkdir -p run/sshd run/lock; mount -t tmpfs -o mode=1777 tmp tmp
rm -rf var/cache/nsprov
pivot_root . mnt; cd /; umount -l /mnt
ip link set lo up
until [ -e /sys/class/net/eth0 ]; do sleep 0.005; done
ip addr add $address/24 dev eth0; ip link set eth0 up
exec /usr/sbin/sshd -D -e 2>/run/sshd.log </dev/null
"""


@dataclass(frozen=True)
class LabHost:
    """One host: `pid` is its PID 1, seen from here; `root` is its file system, seen from here."""

    name: str
    address: str
    port: int
    pid: int
    log_path: Path
    key: Path
    known_hosts: Path
    ssh_config: Path

    @property
    def root(self):
        return Path(f"/proc/{self.pid}/root")

    def sessions(self):
        """Count the exec channels that sshd has started."""
        return self.log_path.read_text().count("Starting session")

    def logins(self):
        """Count the authentications that sshd has accepted."""
        return self.log_path.read_text().count("Accepted publickey")

    def run(self, command, user="root"):
        """Run a shell command on the host, without SSH, and give its output."""
        argv = ["nsenter", "-t", str(self.pid), "-a", "su", user, "-s", "/bin/sh", "-c", command]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{self.name}: {command}: {done.stderr}"
        return done.stdout


def missing():
    """Say what stands in the way of lab hosts here; empty when nothing does."""
    absent = [name for name in NEEDED if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    if absent:
        packages = "openssh-server openssh-client sudo opendoas tcsh fish iproute2 util-linux openssl"
        return f"not installed: {', '.join(absent)} ({packages})"
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    if any(line.split()[1] == "00000000" for line in routes) or len(socket.if_nameindex()) > 2:
        return (
            "not in a sandbox: unshare -n -m -p -f --kill-child --mount-proc --propagation private "
            "sh -c 'ip link set lo up; exec python -m pytest tests/fleet'"
        )
    return ""


@contextlib.contextmanager
def lab_hosts(count, network=NETWORK, bridge=BRIDGE):
    """Start `count` hosts, give them when their sshd listens, and remove everything at the end."""
    with contextlib.ExitStack() as stack:
        base = _base(stack)
        _run("ip", "link", "add", bridge, "type", "bridge")
        stack.callback(_run, "ip", "link", "del", bridge)
        _run("ip", "addr", "add", f"{network}.254/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        cpu = low_cpu()
        hosts = [_spawn(stack, base, number, cpu, network, bridge) for number in range(1, count + 1)]
        for host in hosts:
            _wait_for_sshd(host)
        yield hosts


@contextlib.contextmanager
def another_sshd(host, text):
    """Start a second sshd on a host, with its own configuration, and give the path of its log."""
    folder = Path(tempfile.mkdtemp(prefix="sshd-", dir=host.root / "run"))
    inside = f"/run/{folder.name}"
    common = "HostKey /etc/ssh/ssh_host_ed25519_key\nAuthorizedKeysFile /etc/ssh/keys/%u\nUseDNS no\nLogLevel VERBOSE\n"
    (folder / "config").write_text(f"PidFile {inside}/pid\n{common}{text}\n")
    host.run(f"/usr/sbin/sshd -f {inside}/config -E {inside}/log")
    for _ in range(2000):
        if (folder / "pid").exists() and (pid := (folder / "pid").read_text().strip()):  # written when it listens
            break
        time.sleep(0.005)
    else:
        raise AssertionError(f"{host.name}: {(folder / 'log').read_text()}")
    try:
        yield folder / "log"
    finally:
        host.run(f"kill {pid}; rm -r {inside}")


def low_cpu():
    """Find the CPU whose new mount namespaces get the lowest ids.

    Since 6.18 ids come in batches per CPU, and a mount namespace can be pinned only in one of a lower id.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    best = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.sched_setaffinity(0, {cpu})
            number = bytearray(8)
            if libc.unshare(0x20000) == 0:
                fcntl.ioctl(os.open("/proc/self/ns/mnt", os.O_RDONLY), 0x8008B705, number)  # NS_GET_MNTNS_ID
            os.write(writer, number)
            os._exit(0)
        os.wait()
        best[cpu] = int.from_bytes(os.read(reader, 8), "little")
        os.close(reader)
        os.close(writer)
    return min(best, key=best.get)


def _run(*argv, **options):
    return subprocess.run(argv, check=True, capture_output=True, text=True, **options).stdout


def _base(stack):
    """Make the tmpfs with the client's key and the layer of users and settings that all hosts share."""
    base = Path(tempfile.mkdtemp(prefix="nsprov-lab-"))
    stack.callback(base.rmdir)
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "nsprov-lab", str(base))
    stack.callback(_run, "umount", "-l", str(base))
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(base / "id"))
    layer = base / "layer"
    homes = {"root": (0, "root"), "home/lab": (2001, "lab"), "home/labpw": (2002, "labpw")}
    for home, (uid, _) in homes.items():
        ssh = layer / home / ".ssh"
        ssh.mkdir(parents=True)
        shutil.copy(base / "id.pub", ssh / "authorized_keys")
        for name in (".bashrc", ".profile"):
            (layer / home / name).touch()  # this machine's own starts pyenv: 100 ms a command
        (layer / home).chmod(0o700)
        for path in (layer / home, *(layer / home).rglob("*")):
            os.chown(path, uid, uid)
    _accounts(layer)
    (base / "known_hosts").touch()
    (base / "ssh_config").write_text(
        f"IdentityFile {base}/id\nIdentitiesOnly yes\nUserKnownHostsFile {base}/known_hosts\n"
        "GlobalKnownHostsFile none\nStrictHostKeyChecking yes\nUser root\n"
    )
    return base


def _accounts(layer):
    for directory in ("etc/ssh", "etc/sudoers.d"):
        (layer / directory).mkdir(parents=True)
    hashed = _run("openssl", "passwd", "-6", PASSWORD).strip()
    lines = {
        "passwd": "lab:x:2001:2001::/home/lab:/bin/bash\nlabpw:x:2002:2002::/home/labpw:/bin/bash\n",
        "group": "lab:x:2001:\nlabpw:x:2002:\n",
        "shadow": f"lab:*:19000:0:99999:7:::\nlabpw:{hashed}:19000:0:99999:7:::\n",
        "gshadow": "",
    }
    for name, more in lines.items():
        shutil.copy2(f"/etc/{name}", layer / "etc" / name)
        with (layer / "etc" / name).open("a") as target:
            target.write(more)
    (layer / "etc/ssh/sshd_config").write_text(_SSHD)
    (layer / "etc/ssh/keys").mkdir()
    for user in ("root", "lab", "labpw"):
        shutil.copy(layer.parent / "id.pub", layer / "etc/ssh/keys" / user)  # for hosts whose home is not there
    for user, rule in (("lab", "NOPASSWD:ALL"), ("labpw", "ALL")):
        path = layer / "etc/sudoers.d" / user
        path.write_text(f"{user} ALL=(ALL:ALL) {rule}\n")
        path.chmod(0o440)


def _spawn(stack, base, number, cpu, network, bridge):
    """Start one host and plug it into the bridge."""
    home, name, address = base / f"h{number}", f"h{number}", f"{network}.{number}"
    port = f"{bridge[:-1]}-v{number}"
    for part in ("up/etc/ssh", "wk", "root"):
        (home / part).mkdir(parents=True)
    host_key = home / "up/etc/ssh/ssh_host_ed25519_key"
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(host_key))
    (home / "up/etc/hostname").write_text(f"{name}\n")
    (home / "up/etc/hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
    with (base / "known_hosts").open("a") as target:
        target.write(f"{address} {host_key.with_suffix('.pub').read_text().rsplit(maxsplit=1)[0]}\n")
    flags = ["--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child", "--propagation", "private"]
    argv = ["taskset", "-c", str(cpu), "unshare", *flags, "/bin/sh", "-c", _INIT, "init", str(number), str(base), address]
    enter = ["/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"', str(_cgroup(stack, f"{base.name}-{name}") / "cgroup.procs")]
    errors = (base / f"{name}.log").open("w")
    process = subprocess.Popen(enter + argv, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    errors.close()
    stack.callback(process.wait)
    stack.callback(process.kill)
    pid = _child(process.pid)
    _run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    stack.callback(_run, "ip", "link", "del", port)  # at once: the kernel takes its namespace down by and by
    _run("ip", "link", "set", port, "master", bridge, "up")
    log = Path(f"/proc/{pid}/root/run/sshd.log")
    return LabHost(name, address, 22, pid, log, base / "id", base / "known_hosts", base / "ssh_config")


def _cgroup(stack, name):
    """Make a cgroup for one host."""
    unified = Path("/sys/fs/cgroup/unified")
    path = (unified if unified.is_dir() else Path("/sys/fs/cgroup")) / name
    path.mkdir()

    def remove():
        for _ in range(200):  # the last of the host's processes leave it a moment after their PID 1
            with contextlib.suppress(OSError):
                for child in sorted(path.rglob("*"), reverse=True):
                    if child.is_dir():
                        child.rmdir()
                return path.rmdir()
            time.sleep(0.01)
        return None

    stack.callback(remove)
    return path


def _child(parent):
    """Wait until unshare has forked into its namespaces, and give the child's PID."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    ours = os.readlink("/proc/self/ns/net")
    for _ in range(2000):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(children.read_text().split()[0])
            if os.readlink(f"/proc/{pid}/ns/net") != ours:
                return pid
        time.sleep(0.002)
    raise AssertionError("the host's PID 1 did not start")


def _wait_for_sshd(host):
    for _ in range(2000):
        with contextlib.suppress(OSError):
            if "Server listening" in host.log_path.read_text():
                return
        time.sleep(0.005)
    raise AssertionError(f"{host.name}: sshd did not start: {(host.key.parent / (host.name + '.log')).read_text()}")
