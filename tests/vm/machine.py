"""A virtual machine with a kernel of its own, and a disk that goes with it; nothing but this machine is reached from it.

QEMU emulates the processor (TCG): the machine is ten times slower than this one, and only its TAP device needs rights here.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from dataclasses import dataclass

ADDRESS = "127.0.0.1"
TAP = "nsp-vm"
"""The other end of the machine's second link, eth1, while the machine is on; both are down."""

PATIENCE = 90.0
"""Seconds until a boot is given up; it takes 13 when nobody else works here."""

ATTEMPTS = 2
"""About one boot in forty hangs where the second processor starts."""

_KERNEL = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off systemd.show_status=0 panic=-1"


@dataclass(frozen=True)
class Ran:
    """What a command in the machine came to."""

    code: int
    out: str
    err: str


class Machine:
    """One machine; `key`, `known_hosts` and `ssh_config` are how its root is reached at `address`, `port`."""

    def __init__(self, image, folder):
        """Give it a disk, which is a copy of the image's, and a port of its own; it is off."""
        self.folder = folder
        self.address, self.port = ADDRESS, _free_port()
        self.key = image / "id"
        self.known_hosts, self.ssh_config = folder / "known_hosts", folder / "ssh_config"
        self._image = image
        self._process = self._master = None
        subprocess.run(["cp", "--sparse=always", image / "root.img", folder / "disk"], check=True)
        self.host_key = (image / "host_key.pub").read_text().rsplit(maxsplit=1)[0]
        self.known_hosts.write_text(f"[{ADDRESS}]:{self.port} {self.host_key}\n")
        self.ssh_config.write_text(
            f"Host vm\n HostName {ADDRESS}\n Port {self.port}\n User root\n"
            f"Host *\n IdentityFile {self.key}\n IdentitiesOnly yes\n BatchMode yes\n"
            f" UserKnownHostsFile {self.known_hosts}\n GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n"
        )

    def start(self):
        """Boot, and wait until all has started; a boot that hangs is begun anew."""
        for _ in range(ATTEMPTS):
            with (self.folder / "qemu.log").open("w") as log:
                argv = _qemu(self._image, self.folder, self.port)
                self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            if self._wait():
                self._connect()
                self.run("systemctl is-system-running --wait")
                return
            self.stop()
        raise AssertionError(f"the machine does not boot:\n{self._last_words()}")

    def _wait(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((ADDRESS, self.port), timeout=5) as connection:
                connection.settimeout(5)
                if connection.recv(4) == b"SSH-":
                    return True
            time.sleep(0.25)
        return False

    def _connect(self):
        """Log in once for all that `run` runs: the key exchange takes the machine a second."""
        quiet = subprocess.DEVNULL
        argv = [*self._ssh(), "-M", "-N", "vm"]
        self._master = subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet)

    def _ssh(self):
        return ["ssh", "-F", str(self.ssh_config), "-S", str(self.folder / "master")]

    def run(self, command, code=0, stdin=""):
        """Run a shell command as root, which must exit with `code`, and give what it said; `stdin` is text or bytes."""
        argv = [*self._ssh(), "vm", command]
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(argv, input=given, capture_output=True, check=False, timeout=4 * PATIENCE)
        ran = Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        assert code is None or ran.code == code, f"{command}: exit {ran.code}\n{ran.out}{ran.err}"
        return ran

    def reboot(self):
        """Boot again, as its own `reboot` does; the disk keeps what was written."""
        self.run("systemctl reboot", code=None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)  # -no-reboot: it ends where it would begin anew
        self.stop()
        self.start()

    def stop(self):
        """Pull the plug."""
        for process in filter(None, (self._master, self._process)):
            process.kill()
            process.wait()
        self._master = None
        (self.folder / "master").unlink(missing_ok=True)

    def _last_words(self):
        logs = (self.folder / name for name in ("qemu.log", "console.log"))
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in logs if path.exists())


def _qemu(image, folder, port):
    """Give the command; without an accelerator said, QEMU may take one that hangs.

    The processor is an old one, for emulating AVX takes longer than doing without: a login 2.3 seconds instead of 1.5.
    """
    network = f"user,id=net,restrict=on,hostfwd=tcp:{ADDRESS}:{port}-:22"
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "q35", "-accel", "tcg,thread=multi"),
        *("-cpu", "Nehalem", "-smp", "2", "-m", "1024", "-display", "none", "-no-reboot"),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd"), "-append", _KERNEL),
        *("-drive", f"file={folder / 'disk'},if=none,id=disk,format=raw,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"),
        *("-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-netdev", f"tap,id=lan,ifname={TAP},script=no,downscript=no", "-device", "virtio-net-pci,netdev=lan,romfile="),
        *("-serial", f"file:{folder / 'console.log'}"),
    ]


def _free_port():
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return probe.getsockname()[1]
