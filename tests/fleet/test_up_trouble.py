"""When one host of three cannot: all or nothing, an exit code, and words that say where and what to do."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from controlled import EDITED, INVENTORY, LAB, demo_fixture, finish, fleet_fixture, until  # noqa: F401 - fixtures
from labhosts import PASSWORD

REFUSED = EDITED.replace("net.ipv4.ip_forward: 1", "net.ipv4.ip_forward: 1, net.ipv4.ip_default_ttl: 100000")
PASSWORD_LINE = f"      ansible_become_password: {PASSWORD}\n"


def test_what_one_kernel_refuses_happens_nowhere(fleet):
    """A sysctl that lab3's kernel does not take: exit 5, and no host has anything."""
    fleet.topology(REFUSED)
    said = fleet.nsprov("up", code=5)

    assert "net.ipv4.ip_default_ttl" in said.err
    assert "--> lab3/" in said.err
    assert "lab demo is as it was before this run" in said.err
    fleet.nothing_left()


def test_what_one_kernel_refuses_is_put_back_everywhere(demo):
    """The same in an edit: every host goes back to the lab that was there, which is as its file says."""
    before = demo.look()
    demo.topology(REFUSED)
    demo.nsprov("up", code=5)

    demo.topology(LAB)
    said = demo.nsprov("diff")
    assert "on lab1, lab2, lab3: nothing to do" in said.out
    assert demo.netns(1) == ["demo-b1", "demo-b2"]
    assert before["controller"] == demo.look()["controller"]


def test_a_foreign_namespace_is_never_touched(fleet):
    """A network namespace of that name which is not ours: exit 1, and no host is changed."""
    fleet.hosts[2].run("ip netns add demo-c1")
    with_foreign = fleet.look()
    said = fleet.nsprov("up", code=1)
    left = fleet.changed_hosts(with_foreign)
    fleet.hosts[2].run("ip netns del demo-c1; umount /run/netns; rmdir /run/netns")

    assert left == []
    assert '"netns:c1" cannot be made on this host' in said.err
    assert "created" not in said.out
    assert "--> lab3/netns:c1" in said.err
    assert "help: change that on the host" in said.err


@pytest.mark.parametrize("command", ["up", "plan", "down"])
def test_a_host_that_does_not_answer(fleet, command):
    """One port where no sshd listens: exit 4, and nothing happens anywhere."""
    fleet.inventory(INVENTORY.replace("host: 10.87.0.2", "host: 10.87.0.2\n      port: 2222"))
    said = fleet.nsprov(command, code=4)

    assert fleet.changed_hosts() == []
    assert "lab@[10.87.0.2]:2222 does not answer" in said.err
    assert "help: check the address and the port, and that sshd runs" in said.err


def test_a_host_whose_sshd_has_stopped(fleet):
    """A host that accepts and says nothing any more: exit 4, within the time for it, and nothing happens anywhere."""
    os.kill(fleet.hosts[1].pid, signal.SIGSTOP)
    try:
        said = fleet.nsprov("up", code=4)
    finally:
        os.kill(fleet.hosts[1].pid, signal.SIGCONT)

    assert "--> lab2" in said.err
    until(lambda: not fleet.changed_hosts(), "no host is changed")


def test_down_with_a_host_away(demo):
    """`down` takes nothing down while one host cannot be reached, and says which."""
    before = demo.look()
    demo.inventory(INVENTORY.replace("host: 10.87.0.2", "host: 10.87.0.2\n      port: 2222"))
    said = demo.nsprov("down", code=4)
    demo.inventory(INVENTORY)

    assert demo.changed_hosts(before) == []
    assert "--> lab2" in said.err


def test_a_wrong_password(fleet):
    """Sudo refuses: exit 4 with a hint, the password nowhere in what is said, and nothing happens anywhere."""
    fleet.inventory(INVENTORY.replace(PASSWORD, "hunter2x"))
    said = fleet.nsprov("up", code=4, env={"NSPROV_OUTPUT": "json"})

    assert fleet.changed_hosts() == []
    assert "sudo did not accept the password" in said.err
    assert "help: check the password given with --ask-become-pass (-K)" in said.err
    assert "hunter2x" not in said.out + said.err


def test_no_password_where_sudo_wants_one(fleet):
    """Sudo asks and nobody gave a password: exit 4 and what to do about it."""
    fleet.inventory(INVENTORY.replace(PASSWORD_LINE, ""))
    said = fleet.nsprov("up", code=4)

    assert fleet.changed_hosts() == []
    assert "sudo asks for a password" in said.err
    assert "help: give it with --ask-become-pass (-K)" in said.err


def test_an_unknown_host(fleet):
    """A node on a host that the inventory does not have: exit 9 and the closest name."""
    fleet.topology(LAB.replace("host: lab3", "host: lba3"))
    said = fleet.nsprov("up", code=9)

    assert 'no host is meant by "lba3"' in said.err
    assert "lab3" in said.err.partition("help:")[2]


class Watch(threading.Thread):
    """Reads the command lines and environments of processes, here and on the hosts, until told to stop."""

    def __init__(self, secret):
        """Store what nobody may show."""
        super().__init__(daemon=True)
        self.secret = secret.encode()
        self.found = set()
        self.seen = set()
        self.over = threading.Event()

    def run(self):
        """Look again and again; the hosts' processes are in this PID namespace's /proc as well."""
        while not self.over.is_set():
            for name in os.listdir("/proc"):
                if name.isdigit():
                    self._look(Path("/proc", name))
            self.over.wait(0.01)  # sudo lives for as long as its agent does

    def _look(self, path):
        for name in ("cmdline", "environ"):
            try:
                text = (path / name).read_bytes()
            except OSError:
                continue  # it has ended
            self.seen.add(text[:200])
            if self.secret in text:
                self.found.add(f"{path}/{name}: {text!r}")

    def stop(self):
        """End, and give where the secret was seen."""
        self.over.set()
        self.join()
        return self.found


def test_the_password_is_seen_nowhere(fleet):
    """No process's arguments or environment, no output, no log and no file on a host has sudo's password."""
    watch = Watch(PASSWORD)
    watch.start()
    said = [fleet.nsprov("up", "-v", "--timing"), fleet.nsprov("status", "--lab", "demo", "-o", "json"), fleet.nsprov("down")]
    found = watch.stop()

    assert set() == found
    assert any(b"sudo" in text for text in watch.seen), "the watch saw sudo run"
    assert all(PASSWORD not in one.out + one.err for one in said)
    for host in fleet.hosts:
        grep = (
            f"grep -rl '{PASSWORD[:-1]}[{PASSWORD[-1]}]' /run /tmp /var/cache/nsprov /var/log /home/labpw 2>/dev/null || true"
        )
        assert host.run(grep) == ""


def test_two_controllers_at_once(fleet):
    """While one run holds the lab's lock another gets exit 8 and the holder's name, and disturbs nothing."""
    first = fleet.nsprov.start("up")
    until(lambda: all(fleet.lock(number) for number in range(3)), "the first run holds the locks")
    first.send_signal(signal.SIGSTOP)
    said = fleet.nsprov("up", code=8, env={"USER": "bob"})
    first.send_signal(signal.SIGCONT)
    done = finish(first)
    fleet.nsprov("diff")
    fleet.nsprov("down")

    assert done.code == 0
    assert 'lab "demo" is locked by another run' in said.err
    assert "Held by alice@" in said.err
    assert "help: wait for it to end, or stop it" in said.err


def test_the_lock_of_a_killed_run_holds_nobody_up(fleet):
    """The lock dies with its holder: after SIGKILL the next run takes it."""
    first = fleet.nsprov.start("up")
    until(lambda: all(fleet.lock(number) for number in range(3)), "the first run holds the locks")
    first.kill()
    first.communicate()
    until(lambda: fleet.nsprov("up", code=None).code == 0, "the lab can be brought up")
    fleet.nsprov("down")
