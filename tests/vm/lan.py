"""Hosts of three sorts on one wire: a namespace of this machine, the virtual machine, and a namespace in that.

They are 10.88.0.1, .50 and .51; the kernels of the first and of the others are two. The last is called `inner`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "fleet"))

import labhosts
from machine import TAP

NETWORK, BRIDGE = "10.88.0", "nsp-vmlan0"
VM, INNER = f"{NETWORK}.50", f"{NETWORK}.51"

INVENTORY = f"""\
all:
  hosts:
    h1: {{ansible_host: {NETWORK}.1, ansible_user: root, nsprov_underlay: {NETWORK}.1}}
    vm: {{ansible_user: root, nsprov_underlay: {VM}}}
    inner: {{ansible_host: {INNER}, ansible_user: root, nsprov_underlay: {INNER}}}
"""

_WIRE = f"""
ip link add lan0 type bridge
ip link set eth1 master lan0 up
ip addr add {VM}/24 dev lan0
ip link set lan0 up
"""

# The other host in the machine: a unit, so that stopping it is pulling its plug, and what it keeps in memory is gone.
_PLUG = r"""
ip link add inner0 type veth peer name inner1
ip link set inner0 master lan0 up
cat >/root/inner
systemd-run --quiet --unit inner --property Delegate=yes \
  unshare --net --mount --uts --ipc --cgroup --propagation private sh /root/inner
n=0
until (echo >/dev/tcp/10.88.0.51/22) 2>&-; do n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done
"""

_PULL = "systemctl stop inner; ip link del inner0 2>&-; true"

_INNER = f"""
set -eu
hostname inner
nsenter -t 1 -n ip link set inner1 netns $$
ip link set inner1 name eth0
ip addr add {INNER}/24 dev eth0
ip link set eth0 up
ip link set lo up
mount -t tmpfs tmpfs /media
mkdir /media/up /media/work /media/root
mount -t overlay inner -o lowerdir=/,upperdir=/media/up,workdir=/media/work /media/root
cd /media/root
mount --rbind /dev dev
mount -t sysfs -o nosuid,nodev,noexec sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mkdir run/sshd run/lock
mount -t tmpfs -o mode=1777 tmp tmp
pivot_root . mnt
exec unshare --pid --fork --kill-child sh -c 'mount -t proc -o nosuid,nodev,noexec proc /proc; umount -l /mnt
  exec /usr/sbin/sshd -D -e'
"""


class Lan:
    """The wire: `vm` is the machine, `h1` a lab host, and all three can be reached with `ssh_config`."""

    def __init__(self, vm, h1, folder):
        """Write how to reach them."""
        self.vm, self.h1 = vm, h1
        self.ssh_config = folder / "lan_config"
        with vm.known_hosts.open("a") as known:
            known.write(f"{INNER} {vm.host_key}\n")
        there = f"Host {h1.address}\n IdentityFile {h1.key}\n UserKnownHostsFile {h1.known_hosts}\n"
        self.ssh_config.write_text(there + vm.ssh_config.read_text())

    def reboot_inner(self):
        """Pull the plug of the host in the machine, and put it in again."""
        self.vm.run(_PULL)
        self.vm.run(f"bash -c '{_PLUG}'", stdin=_INNER)

    def inner(self, command):
        """Run a command on the host in the machine, and give what it said."""
        enter = "nsenter -a -t $(pgrep -P $(systemctl show -P MainPID inner)) sh -c"
        return self.vm.run(f"{enter} {_quoted(command)}").out


def _quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


@contextlib.contextmanager
def plugged(vm, folder):
    """Put three hosts on one wire."""
    with labhosts.lab_hosts(1, NETWORK, BRIDGE) as (h1,):
        for words in (("master", BRIDGE), ("up",)):
            subprocess.run(["ip", "link", "set", TAP, *words], check=True)
        vm.run(_WIRE)
        found = Lan(vm, h1, folder)
        try:
            found.reboot_inner()
            yield found
        finally:
            vm.run(f"{_PULL}; ip link del lan0; ip link set eth1 down; rm /root/inner", code=None)
