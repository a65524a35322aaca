"""The virtual machine's disk: Debian 12 with systemd, sshd, Python and a kernel of its own; made once and kept.

`python tests/vm/image.py` makes it, as root and with a mirror in reach; `scripts/test` does so before it enters the sandbox,
from which nothing can be fetched. What is made is kept in ~/.cache/nsprov-tests until this file changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = "bookworm"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nsprov-tests"
NEEDED = ("mmdebstrap", "mke2fs", "ssh-keygen", "qemu-system-x86_64")
PACKAGES = (
    *("systemd-sysv", "dbus", "udev", "kmod", "procps", "linux-image-cloud-amd64", "busybox-static", "cpio"),
    *("openssh-server", "python3", "iproute2", "iputils-ping", "nftables", "sudo"),
    *("python3-pytest", "python3-yaml", "python3-pyroute2", "wireguard-tools"),  # for kinds that only its kernel knows
)
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng")

_SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
MaxStartups 100
MaxSessions 100
"""

_MASKED = (
    *("systemd-udev-trigger.service", "systemd-timesyncd.service", "systemd-networkd.service", "e2scrub_reap.service"),
    *("getty@tty1.service", "serial-getty@ttyS0.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer", "dpkg-db-backup.timer"),
)

# The disk and the network are there when systemd starts, which then waits for no device: this halves the time to boot.
_INIT = """\
#!/bin/sh
mount -t devtmpfs dev /dev
mount -t proc proc /proc
while read module; do insmod /modules/$module; done </modules/order
n=0
while [ ! -b /dev/vda ] && [ $n -lt 1000 ]; do sleep 0.01; n=$((n + 1)); done
mount -t ext4 -o noatime /dev/vda /new
mount --move /dev /new/dev
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
umount /proc
exec switch_root /new /lib/systemd/systemd
"""

_PACK = r"""
set -eu
cd "$1"
shift
mkdir bin dev proc new modules
cp /bin/busybox bin/
for name in sh ip mount umount insmod sleep switch_root [; do ln -s busybox bin/$name; done
version=$(ls /lib/modules)
for module; do modprobe -S "$version" -D "$module"; done | while read -r verb path _; do
  [ "$verb" = insmod ] && [ ! -e modules/"${path##*/}" ] || continue
  cp "$path" modules/
  echo "${path##*/}" >>modules/order
done
find . -print0 | cpio --null --create --format newc --quiet | gzip -1 >/initrd
"""


def path():
    """Say where the image is, or would be."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    return CACHE / f"vm-{SUITE}-{recipe}"


def build():
    """Make the image, unless it is there; give its directory."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path().is_dir():
            for old in CACHE.glob("vm-*"):
                shutil.rmtree(old)
            _build(path())
    return path()


def _build(target):
    """Make it in a directory beside, so that half an image is none."""
    with contextlib.ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="new-", dir=CACHE))
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        work.chmod(0o755)
        root, made = work / "root", work / "made"
        made.mkdir()
        _bootstrap(root)
        for name in ("id", "host_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "nsprov-test", "-f", made / name)
        _configure(root, made)
        _initrd(root)
        for name, source in (("vmlinuz", next(root.glob("boot/vmlinuz-*"))), ("initrd", root / "initrd")):
            shutil.copy(source, made / name)
        shutil.rmtree(root / "boot")
        with (made / "root.img").open("w") as image:
            image.truncate(2 << 30)
        _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, made / "root.img")
        made.rename(target)


def _bootstrap(root):
    """Install Debian into a directory."""
    without = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    options = ["--mode=root", "--variant=minbase", "--skip=check/empty", "--dpkgopt=force-unsafe-io", *without]
    include = f"--include={','.join(PACKAGES)}"
    # INITRD: initramfs-tools makes no initial file system then; ours is smaller (its kernel hook says so).
    environment = {**os.environ, "INITRD": "No"}
    _run("mmdebstrap", *options, "--aptopt=Acquire::Languages none", include, SUITE, root, env=environment)


def _configure(root, made):
    """Let root in by key, give the machine its address, and leave out what only takes time."""
    files = {
        "etc/hostname": "vm\n",
        "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 vm\n",
        "etc/fstab": "",
        "etc/ssh/sshd_config.d/tests.conf": _SSHD,
        "root/.ssh/authorized_keys": (made / "id.pub").read_text(),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "root/.ssh").chmod(0o700)
    for key in root.glob("etc/ssh/ssh_host_*"):
        key.unlink()
    shutil.move(made / "host_key", root / "etc/ssh/ssh_host_ed25519_key")
    _run("chroot", root, "systemctl", "--quiet", "enable", "ssh")
    _run("chroot", root, "systemctl", "--quiet", "set-default", "multi-user.target")
    _run("chroot", root, "systemctl", "--quiet", "mask", *_MASKED)


def _initrd(root):
    """Pack what finds the disk."""
    work = root / "tmp/initrd"
    work.mkdir()
    (work / "init").write_text(_INIT)
    (work / "init").chmod(0o755)
    _run("chroot", root, "/bin/sh", "-c", _PACK, "pack", "/tmp/initrd", *MODULES)
    shutil.rmtree(work)


def _run(*argv, **options):
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **options}
    done = subprocess.run(list(map(str, argv)), check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stderr[-3000:]}")


if __name__ == "__main__":
    absent = [name for name in NEEDED if not shutil.which(name)]
    if absent:
        sys.exit(f"not installed: {', '.join(absent)}; run scripts/setup as root")
    if os.geteuid() != 0:
        sys.exit("the image of the virtual machine can be made by root only")
    print(build())
