"""Links between hosts of two kernels, and encrypted ones between two hosts of a kernel that can: over SSH, as a user would.

A command on these hosts takes seconds, most of them to log in: each test has as few as it can.
"""

from __future__ import annotations

import json

import pytest
from commandline import CommandLine
from lan import INVENTORY, plugged

TWO_KERNELS = """\
name: demo
bridges:
  lan: {address: 10.61.1.254/24, host: h1}
nodes:
  a: {host: h1, interfaces: {eth0: {bridge: lan, address: 10.61.1.1/24}, eth1: {address: 10.61.2.1/30}}}
  b: {host: vm, interfaces: {eth0: {bridge: lan, address: 10.61.1.2/24}, eth1: {address: 10.61.2.2/30}}}
links:
  - [a:eth1, b:eth1]
"""

ENCRYPTED = """\
name: demo
bridges:
  lan: {address: 10.61.4.254/24, host: vm, tunnel: wireguard}
nodes:
  a:
    host: vm
    interfaces: {eth0: {bridge: lan, address: 10.61.4.1/24}, eth1: {address: 10.61.5.1/30}, eth2: {address: 10.61.6.1/30}}
  b:
    host: inner
    interfaces: {eth0: {bridge: lan, address: 10.61.4.2/24}, eth1: {address: 10.61.5.2/30}, eth2: {address: 10.61.6.2/30}}
links:
  - {endpoints: [a:eth1, b:eth1], tunnel: wireguard}
  - {endpoints: [a:eth2, b:eth2], tunnel: gre}
"""

# What leaves the machine and its host for any wire while a command runs: whether a word is in it, and to which UDP ports.
CAPTURE = """
import json, socket, subprocess, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
wire.setblocking(False)
done = subprocess.run(sys.argv[2], shell=True, stdout=subprocess.DEVNULL)
seen, ports = False, set()
while True:
    try:
        frame, (link, *_) = wire.recvfrom(65536)
    except BlockingIOError:
        break
    if link not in ("eth0", "eth1", "lan0", "inner0"):
        continue
    seen = seen or sys.argv[1].encode() in frame
    if link == "inner0" and frame[12:14] == bytes([8, 0]) and frame[23] == 17:
        ports.add(int.from_bytes(frame[36:38], "big"))
print(json.dumps([done.returncode, seen, sorted(ports)]))
"""

WORD = "nobodyreadsthis"
LEFT = "ls -A /run/nsprov /run/netns 2>&-; ip -o link | grep -oE 'demo-[^:]*|wg-[^:]*'; ip -6 route | grep unreachable; true"


@pytest.fixture(scope="module")
def lan(vm, tmp_path_factory):
    """Give three hosts on one wire."""
    with plugged(vm, tmp_path_factory.mktemp("lan")) as found:
        yield found


@pytest.fixture(scope="module")
def nsprov(lan, tmp_path_factory):
    """Run commands on the three hosts."""
    found = CommandLine(tmp_path_factory.mktemp("controller"), "--inventory", "inventory.yml", "-F", str(lan.ssh_config))
    found.write("inventory.yml", INVENTORY)
    yield found
    found.end()


def ping(node, address, size, more=""):
    """Write the command that sends a packet of this size from a node, which nobody may cut to pieces."""
    return f"ip netns exec demo-{node} ping -q -c1 -W3 -Mdo {more} -s {size - 28} {address}"


def devices(lan):
    """Give what wg(8) says of the device of each host: its name, private key, public key, port, mark, name, the peer's key."""
    return [said.split() for said in (lan.vm.run("wg show all dump").out, lan.inner("wg show all dump"))]


def kept(lan):
    """Give the private key that each host keeps."""
    command = "cat /run/nsprov/demo/wireguard.json"
    return tuple(json.loads(said)["private"] for said in (lan.vm.run(command).out, lan.inner(command)))


def captured(lan):
    """Say a word from one node to the other; give the exit code, whether the word was on a wire, and what UDP ports were."""
    command = ping("a", "10.61.5.2", 900, f"-p {WORD.encode().hex()}")
    return json.loads(lan.vm.run(f"python3 - {WORD} '{command}'", stdin=CAPTURE).out)


def test_two_kernels(lan, nsprov):
    """A link and a bridge lead from a host of this kernel to one of another, take what fits, and leave nothing."""
    nsprov.write("topology.yml", TWO_KERNELS)
    nsprov("up")
    lan.h1.run(f"{ping('a', '10.61.2.2', 1450)} && ! {ping('a', '10.61.2.2', 1451)}")
    lan.vm.run(f"{ping('b', '10.61.1.1', 1450)} && {ping('b', '10.61.1.254', 1450)}")
    nsprov("down")

    assert lan.vm.run(LEFT).out == ""
    assert lan.h1.run(LEFT) == ""


def test_encrypted(lan, nsprov):
    """Two hosts make a key each, and are told the other's; what nodes say is on no wire, and no private key anywhere else."""
    nsprov.write("topology.yml", ENCRYPTED)
    refused = nsprov("plan", "--out", "saved.plan", code=3)
    untouched = lan.vm.run(LEFT).out
    said = nsprov("up", "--verbose")
    planned = nsprov("plan", "--verbose")
    here, there = devices(lan)
    records = "cat /run/nsprov/demo/manifest.json /proc/[0-9]*/cmdline"
    texts = [refused.out, said.out, said.err, planned.out, lan.inner(records), lan.vm.run(f"{records}; journalctl -o cat").out]
    spoken = captured(lan)

    assert "a plan that makes keys cannot be saved" in refused.err
    assert untouched == ""
    assert "nothing to do" in planned.out
    assert (here[2], there[2]) == (there[6], here[6])
    assert here[1] != there[1]
    assert not [text for text in texts for key in (here[1], there[1]) if key in text]
    assert lan.vm.run("stat -c %a /run/nsprov/demo/wireguard.json").out == "600\n"
    assert lan.vm.run("cat /proc/sys/net/ipv4/conf/all/send_redirects").out == "1\n"
    assert spoken == [0, False, [int(here[3])]]
    lan.vm.run(f"{ping('a', '10.61.5.2', 1370)} && {ping('a', '10.61.4.2', 1370)} && ! {ping('a', '10.61.5.2', 1371)}")
    lan.inner(ping("b", "10.61.6.1", 1458))


def test_a_device_that_is_gone(lan):
    """Without the device that encrypts, nothing is sent at all, though the host has another way for it."""
    lan.vm.run("ip -6 neigh replace fe80::99 lladdr 02:00:00:00:00:99 dev lan0; ip -6 route add fd00::/8 via fe80::99 dev lan0")
    lan.vm.run("ip link del wg-demo")
    code, seen, _ = captured(lan)
    lan.vm.run("ip -6 route del fd00::/8")

    assert (code, seen) == (1, False)


def test_a_host_without_its_key(lan, nsprov):
    """A host that has lost what it had in memory gets another key, and the other is told; nothing is left in the end."""
    before = kept(lan)
    lan.reboot_inner()
    nsprov("up")
    after, (here, there) = kept(lan), devices(lan)

    assert (here[1], there[1]) == after
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert here[6] == there[2]
    lan.inner(ping("b", "10.61.5.1", 1370))
    nsprov("down")
    nsprov("audit", "--lab", "demo")
    assert lan.vm.run(LEFT).out + lan.inner(LEFT) == ""


def test_a_kernel_without_it(lan, nsprov):
    """A host whose kernel has no WireGuard says so, and what to do; nothing is changed on any."""
    lan.h1.run("ip link add probe type wireguard && ip link del probe && touch /tmp/has; true")
    if (lan.h1.root / "tmp/has").exists():
        pytest.skip("the kernel of this machine has WireGuard")
    nsprov.write("topology.yml", ENCRYPTED.replace("host: inner", "host: h1"))
    said = " ".join(nsprov("up", code=1).err.split())

    assert 'has no links of type "wireguard"' in said
    assert "modprobe wireguard" in said
    assert lan.vm.run(LEFT).out + lan.h1.run(LEFT) == ""
