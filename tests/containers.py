"""Real containers for tests: an image made on the spot of busybox, podman, dockerd and runc as Debian has them.

Everything is below one folder and on mounts of its own, which go when it ends; no network, no registry.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

BUSYBOX = "/bin/busybox"
FOREVER = ("sleep", "100000")
PATIENCE = 30.0
LIMITS = ("nofile=1024:4096", "nproc=1024:4096")
"""What a machine without CAP_SYS_RESOURCE lets a container have; the engines' own limits are higher."""


def said(*argv, stdin=None):
    """Run a command that must succeed and give what it said."""
    given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(list(map(str, argv)), capture_output=True, check=False, **given)
    assert done.returncode == 0, f"{argv}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode().strip()


def make_root(folder):
    """Make a root directory with a shell, and give its path."""
    root = Path(folder) / "root"
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for name in ("sh", "sleep", "ip", "ping", "cat"):
        (root / "bin" / name).symlink_to("busybox")
    return root


class Engine:
    """What docker and podman have in common."""

    name = ""
    at_once = ("-f",)

    def __init__(self, folder):
        """Begin: what the engine leaves is known from here on."""
        self.folder = Path(folder)
        self.ending = contextlib.ExitStack()
        for place in (self.folder, "/dev/shm"):  # podman's locks are in the latter
            said("mount", "-t", "tmpfs", "containers", place)
            self.ending.callback(said, "umount", "-R", place)  # docker pins the host's network below
        before = set(os.listdir("/run"))
        self.ending.callback(lambda: [shutil.rmtree(f"/run/{name}") for name in set(os.listdir("/run")) - before])
        self.ending.callback(_remove_groups, _groups())
        self.begin()
        said(self.name, "import", "-", "box:1", stdin=subprocess.check_output(["tar", "-C", make_root(self.folder), "-c", "."]))

    def begin(self):
        """Make the engine ready."""
        raise NotImplementedError

    def run(self, name, *options):
        """Start a container with a network of its own, and give the pid of its first process."""
        said(self.name, "run", "-d", "--name", name, "--network", "none", "--cap-add", "NET_RAW", *options, "box:1", *FOREVER)
        self.ending.callback(said, self.name, "rm", *self.at_once, name)
        return self.pid(name)

    def pid(self, name):
        """Give the pid of a container's first process, 0 when it does not run."""
        return int(said(self.name, "container", "inspect", "-f", "{{.State.Pid}}", name))

    def kill(self, name):
        """Kill a container as the kernel would, and wait until the engine knows."""
        os.kill(self.pid(name), signal.SIGKILL)
        wait(lambda: self.pid(name) == 0)

    def restart(self, name):
        """Start a container anew and give its pid."""
        said(self.name, "restart", "-t", "0", name)
        return self.pid(name)

    def do(self, *argv):
        """Do anything else with the engine."""
        return said(self.name, *argv)

    def end(self):
        """Leave nothing."""
        self.ending.close()


class Podman(Engine):
    """Podman, told by the sandbox's own /etc what this machine can do."""

    name = "podman"
    at_once = ("-f", "-t", "0")

    def begin(self):
        """Write its configuration."""
        Path("/etc/containers").mkdir(exist_ok=True)
        Path("/etc/containers/storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/graph"\nrunroot = "{self.folder}/run"\n'
        )
        Path("/etc/containers/containers.conf").write_text(
            f"[containers]\ndefault_ulimits = {json.dumps(LIMITS)}\n"
            f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\ntmp_dir = "{self.folder}/tmp"\n'
        )


class Docker(Engine):
    """A dockerd of our own at the usual place, which touches nothing of the host's network."""

    name = "docker"

    def begin(self):
        """Start the daemon and wait until it answers."""
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT)
        self.ending.callback(os.close, log)
        options = [
            *("-H", "unix:///run/docker.sock", "--data-root", self.folder / "data", "--exec-root", self.folder / "exec"),
            *("--pidfile", self.folder / "pid", "--exec-opt", "native.cgroupdriver=cgroupfs", "-s", "vfs", "--bridge=none"),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false"),
            *(f"--default-ulimit={limit}" for limit in LIMITS),
        ]
        daemon = subprocess.Popen(["dockerd", *map(str, options)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.ending.callback(_terminate, daemon)
        wait(lambda: subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0)


class Runc:
    """Runc, with a bundle made by hand."""

    def __init__(self, folder):
        """Write the bundle."""
        self.folder = Path(folder)
        self.ending = contextlib.ExitStack()
        self.ending.callback(_remove_groups, _groups())
        root = make_root(folder)
        said("runc", "spec", "--bundle", folder)
        config = json.loads((self.folder / "config.json").read_text())
        config["process"].update(terminal=False, args=FOREVER, rlimits=[])
        config["root"] = {"path": str(root), "readonly": True}
        (self.folder / "config.json").write_text(json.dumps(config))

    def run(self, name):
        """Start a container and give the pid of its first process."""
        with open(self.folder / "log", "wb") as log:
            argv = ["runc", "--root", self.folder / "state", "run", "--bundle", self.folder, "--detach", name]
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
        self.ending.callback(said, "runc", "--root", self.folder / "state", "delete", "--force", name)
        return json.loads(said("runc", "--root", self.folder / "state", "state", name))["pid"]

    def end(self):
        """Leave nothing."""
        self.ending.close()


def wait(condition):
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


def _terminate(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def _groups():
    return {directory for directory, _, _ in os.walk("/sys/fs/cgroup")}


def _remove_groups(before):
    """Remove the control groups that an engine leaves, the deepest first, once the last process has left them."""

    def gone():
        for path in sorted(_groups() - before, reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        return not _groups() - before

    wait(gone)
