"""`nsprov ns` on another host, through sshd and sudo: its namespaces, pins on it, commands in them."""

from __future__ import annotations

import pexpect
import pytest
from controlled import PATIENCE, PROGRAM, demo_fixture, fleet_fixture  # noqa: F401 - fixtures

HOSTS = ("lab1", "lab2", "lab3")
"""As root, through sudo without a password, through sudo with one."""


def ns(demo, verb, *argv, **options):
    """Run one of the commands; the fleet's options come after its name, with the inventory by its full path."""
    folder = demo.nsprov.folder
    _, _, *others = demo.nsprov.options
    line = type(demo.nsprov)(folder)
    return line("ns", verb, "-i", folder / "inventory.yml", *others, *argv, **options)


@pytest.mark.parametrize("name", HOSTS)
def test_ls_there(demo, name):
    """The nodes of that host are listed, and not those of others."""
    reply = ns(demo, "ls", "--host", name, "-o", "json").json
    nodes = {row["node"] for row in reply["namespaces"] if row["lab"] == "demo"}

    assert reply["host"] == name
    assert nodes == {"lab1": {"a1", "a2"}, "lab2": {"b1", "b2"}, "lab3": {"c1"}}[name]


def test_a_node_is_found_by_the_topology(demo):
    """The file knows on which host a node lives; two nodes of different hosts can't be compared."""
    assert ns(demo, "show", "b1", "-o", "json").json["host"] == "lab2"
    assert ns(demo, "same", "b1", "b2", code=7).out.startswith("TYPE")
    assert "different hosts" in ns(demo, "same", "a1", "b1", code=3).err


def test_a_node_is_found_by_its_lab(demo):
    """Without the file, the hosts of the inventory are asked one after the other."""
    assert ns(demo, "show", "--lab", "demo", "c1", "-o", "json", cwd="/").json["host"] == "lab3"
    assert "no node" in ns(demo, "show", "--lab", "demo", "zz", cwd="/", code=9).err


@pytest.mark.parametrize("name", HOSTS)
def test_pin_there(demo, name):
    """A process of that host is pinned on it, entered, and given up."""
    host = demo.hosts[HOSTS.index(name)]
    pid = int(host.run("unshare --uts sh -c 'hostname elsewhere; sleep 1000 >/dev/null 2>&1 & echo $!'"))
    made = ns(demo, "pin", pid, "kept", "--host", name, "-o", "json").json
    host.run(f"kill {pid}")
    script = "hostname; id -u; cat; exit 7"
    said = ns(demo, "enter", "kept", "--host", name, "--", "sh", "-c", script, code=7, input=b"in")
    ns(demo, "unpin", "kept", "--host", name)

    assert made["pins"] == {"uts": "/run/nsprov/.pins/kept/uts"}
    assert said.out.split() == ["elsewhere", "0", "in"]
    assert "was not pinned" in ns(demo, "unpin", "kept", "--host", name, code=9).err


def test_a_shell_there(demo):
    """Without a command it is a shell on a terminal, and its exit code is ours."""
    environment = {**demo.nsprov.environment, "SHELL": "/bin/sh", "TERM": "vt100"}
    argv = [*PROGRAM[1:], "ns", "enter", *demo.nsprov.options, "b1", "--type", "uts"]
    child = pexpect.spawn(PROGRAM[0], argv, cwd=str(demo.nsprov.folder), env=environment, timeout=PATIENCE)
    child.expect("[#$] ")
    child.sendline("hostname; tty; exit 5")
    child.expect("b1\r\n/dev/pts/")
    child.expect(pexpect.EOF)
    child.close()

    assert child.exitstatus == 5
