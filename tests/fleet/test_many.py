"""One lab on 32 hosts: one exec channel for each and run, all back when one dies, and nothing left."""

from __future__ import annotations

import shutil

import pytest
from controlled import CommandLine, finish, until
from labhosts import lab_hosts

HOSTS = 32
NETWORK = "10.88.0"
LAB = f"name: many\nnodes:\n  'n[1:{HOSTS}]': {{host: 'm{{{{ index }}}}', sysctls: {{net.ipv4.ip_forward: 1}}}}\n"
EDITED = f"""\
{LAB}
  'x[1:{HOSTS}]': {{host: 'm{{{{ index }}}}'}}
  late: {{host: m7, workloads: {{gate: {{command: sleep 1d, ready: {{exec: [test, -e, /tmp/go], timeout: 100s}}}}}}}}
"""


@pytest.fixture(scope="module")
def many(lab, tmp_path_factory):
    """Thirty-two hosts, and a command line whose inventory has them."""
    del lab  # it says whether there can be any
    with lab_hosts(HOSTS, NETWORK, "nsp-many0") as hosts:
        folder = tmp_path_factory.mktemp("many")
        nsprov = CommandLine(folder, "--inventory", "inventory.yml", "-F", str(hosts[0].ssh_config))
        lines = [f"    m{number}: {{ansible_host: {host.address}}}" for number, host in enumerate(hosts, 1)]
        nsprov.write("inventory.yml", "all:\n  vars: {ansible_user: root}\n  hosts:\n" + "\n".join(lines) + "\n")
        nsprov.write("topology.yml", LAB)
        nsprov("ls", "-l", "m1")  # what the agent is compiled to, for all of them: they are of one machine
        for host in hosts[1:]:
            shutil.copytree(hosts[0].root / "var/cache/nsprov", host.root / "var/cache/nsprov")
        yield hosts, nsprov
        nsprov.end()


def names(host):
    """Give a host's network namespaces."""
    path = host.root / "run/netns"
    return {entry.name for entry in path.iterdir()} if path.is_dir() else set()


def test_a_lab_on_many_hosts(many):
    """From the first `up` to the audit."""
    hosts, nsprov = many
    before = [host.sessions() for host in hosts]
    nsprov("up", "-q")
    assert [host.sessions() - was for host, was in zip(hosts, before, strict=True)] == [1] * HOSTS
    assert all(names(host) == {f"many-n{number}"} for number, host in enumerate(hosts, 1))
    assert "nothing to do" in nsprov("up", "-q").out
    assert [host.sessions() - was for host, was in zip(hosts, before, strict=True)] == [2] * HOSTS

    nsprov.write("topology.yml", EDITED)
    process = nsprov.start("up", "-q")
    until(lambda: all(f"many-x{number}" in names(host) for number, host in enumerate(hosts, 1)), "all hosts have begun")
    until((hosts[6].root / "run/nsprov/many/ctl/late.sock").exists, "the seventh is in the middle")
    agent = (hosts[6].root / "run/nsprov/many.lock").read_text().partition(", pid ")[2].split()[0]
    hosts[6].run(f"kill -9 {agent}")
    said = finish(process)
    assert said.code == 4, said.err
    assert "--> m7" in said.err
    assert all(names(host) == {f"many-n{number}"} for number, host in enumerate(hosts, 1) if number != 7)

    nsprov("down", "--lab", "many", "-q")
    nsprov("audit", "--lab", "many", "-l", "m5:m6:m7")
    assert not any(map(names, hosts))
