"""Who takes part in the fleet's benchmark: the files that each is given, and the commands of its steps.

All make the same: on each host a bridge br0 with an address, and nodes that are network namespaces with lo and eth0 up,
an address on the bridge's network and a default route by the bridge.
"""

import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from fleet_field import METER, Field, address

PREFIX = 24


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    port: str


@dataclass(frozen=True)
class Share:
    """What one host gets."""

    number: int
    gateway: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Step:
    """One command, timed; `cold` clears what the tool keeps on the hosts before it."""

    name: str
    argv: list[str]
    cold: bool = False
    leaves: str = "up"  # or "nothing"


@dataclass(frozen=True)
class Contender:
    steps: list[Step]
    environment: dict[str, str] = field(default_factory=dict)
    after: list[str] = field(default_factory=list)  # untimed


@dataclass(frozen=True)
class Task:
    """What is to be made, at what distance, and where the files for it go."""

    folder: Path
    field: Field
    shares: list[Share]
    rtt: int


def plan(nodes, hosts):
    """Spread nodes over hosts, as evenly as it goes."""
    shares = []
    for number in range(1, hosts + 1):
        count = nodes // hosts + (number <= nodes % hosts)
        made = tuple(Node(f"n{number}x{i}", f"10.64.{number}.{i + 10}", f"p{number}x{i}") for i in range(1, count + 1))
        shares.append(Share(number, f"10.64.{number}.1", made))
    return shares


# ---- nsprov ----


def topology(shares):
    lines = ["name: bench", 'prefix: ""', "defaults: {node: {namespaces: [net]}}", "bridges:"]
    for share in shares:
        network = f"address: {share.gateway}/{PREFIX}, stp: false"
        lines.append(f"  br{share.number}: {{host: lab{share.number}, {network}}}")
    lines.append("nodes:")
    for share in shares:
        where = f'"10.64.{share.number}.{{{{ index + 10 }}}}/{PREFIX}"'
        lines += [
            f'  "n{share.number}x[1:{len(share.nodes)}]":',
            f"    host: lab{share.number}",
            f"    interfaces: {{eth0: {{bridge: br{share.number}, address: {where}}}}}",
            f"    routes: [{{to: default, via: {share.gateway}}}]",
        ]
    return "\n".join(lines) + "\n"


def inventory(shares, rtt, **more):
    """Write an inventory that nsprov and Ansible both read; JSON is YAML."""
    hosts = {}
    for share in shares:
        hosts[f"lab{share.number}"] = {
            "ansible_host": address(share.number, rtt),
            "ansible_user": "root",
            "gateway": share.gateway,
            "nodes": [vars(node) for node in share.nodes],
            "script": script(share),
            **more,
        }
    return json.dumps({"all": {"hosts": hosts}})


def nsprov(task, command, *, cold, metered):
    interpreter = {"ansible_python_interpreter": METER} if metered else {}
    write(task.folder / "lab.yml", topology(task.shares))
    write(task.folder / "hosts.yml", inventory(task.shares, task.rtt, **interpreter))
    options = ["-i", str(task.folder / "hosts.yml"), "-F", str(task.field.ssh_config)]
    lab = str(task.folder / "lab.yml")
    up, down = [*command, "up", lab, *options], [*command, "down", lab, *options]
    gone = Step("down", down, leaves="nothing")
    first = [Step("first contact", up, cold=True), gone] if cold else []
    return Contender([*first, Step("up", up), Step("no-op", up), gone])


# ---- Ansible ----

_PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Make the bridge
      ansible.builtin.command: ip link add br0 type bridge
      args: {creates: /sys/class/net/br0}
    - name: Give the bridge its address
      ansible.builtin.command: ip addr replace {{ gateway }}/24 dev br0
    - name: Bring the bridge up
      ansible.builtin.command: ip link set br0 up
    - name: Make the namespaces
      ansible.builtin.command: ip netns add {{ item.name }}
      args: {creates: "/run/netns/{{ item.name }}"}
      loop: "{{ nodes }}"
    - name: Make the links
      ansible.builtin.command: ip link add {{ item.port }} type veth peer name eth0 netns {{ item.name }}
      args: {creates: "/sys/class/net/{{ item.port }}"}
      loop: "{{ nodes }}"
    - name: Put the ports on the bridge
      ansible.builtin.command: ip link set {{ item.port }} master br0 up
      loop: "{{ nodes }}"
    - name: Bring lo up
      ansible.builtin.command: ip -n {{ item.name }} link set lo up
      loop: "{{ nodes }}"
    - name: Give the addresses
      ansible.builtin.command: ip -n {{ item.name }} addr replace {{ item.address }}/24 dev eth0
      loop: "{{ nodes }}"
    - name: Bring eth0 up
      ansible.builtin.command: ip -n {{ item.name }} link set eth0 up
      loop: "{{ nodes }}"
    - name: Set the default routes
      ansible.builtin.command: ip -n {{ item.name }} route replace default via {{ gateway }}
      loop: "{{ nodes }}"
"""

_SCRIPT_PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Wire the host
      ansible.builtin.shell: "{{ script }}"
"""

CONFIG = """\
[defaults]
forks = {forks}
interpreter_python = /usr/bin/python3
[connection]
pipelining = true
[ssh_connection]
ssh_args = -F {ssh_config} -o ControlMaster=auto -o ControlPersist=60s
control_path_dir = {folder}/cp
"""


def ansible(task, rivals, *, whole):
    write(task.folder / "hosts.yml", inventory(task.shares, task.rtt))
    write(task.folder / "up.yml", _SCRIPT_PLAYBOOK if whole else _PLAYBOOK)
    write(
        task.folder / "ansible.cfg",
        CONFIG.format(forks=max(5, len(task.shares)), ssh_config=task.field.ssh_config, folder=task.folder),
    )
    argv = [str(rivals / "ansible-playbook"), "-i", str(task.folder / "hosts.yml"), str(task.folder / "up.yml")]
    masters = (
        f"for s in {task.folder}/cp/*; do ssh -F {task.field.ssh_config} -o ControlPath=$s -O exit x; done 2>/dev/null; true"
    )
    environment = {"ANSIBLE_CONFIG": str(task.folder / "ansible.cfg"), "ANSIBLE_HOME": str(task.folder / "ansible")}
    return Contender([Step("up", argv)], environment, ["/bin/sh", "-c", masters])


# ---- pyinfra ----

_DEPLOY = """\
from pyinfra import host
from pyinfra.operations import server

server.shell(
    name="Bridge",
    commands=[
        "ip link add br0 type bridge",
        f"ip addr replace {host.data.gateway}/24 dev br0",
        "ip link set br0 up",
    ],
)
for node in host.data.nodes:
    name, port = node["name"], node["port"]
    server.shell(
        name=f"Node {name}",
        commands=[
            f"ip netns add {name}",
            f"ip link add {port} type veth peer name eth0 netns {name}",
            f"ip link set {port} master br0 up",
            f"ip -n {name} link set lo up",
            f"ip -n {name} addr replace {node['address']}/24 dev eth0",
            f"ip -n {name} link set eth0 up",
            f"ip -n {name} route replace default via {host.data.gateway}",
        ],
    )
"""


def pyinfra(task, rivals, *, whole):
    rows = []
    for share in task.shares:
        data = {
            "ssh_hostname": address(share.number, task.rtt),
            "ssh_user": "root",
            "ssh_key": str(task.field.key),
            "ssh_known_hosts_file": str(task.field.known_hosts),
            "ssh_strict_host_key_checking": "yes",
            "gateway": share.gateway,
            "nodes": [vars(node) for node in share.nodes],
            "script": script(share),
        }
        rows.append((f"lab{share.number}", data))
    write(task.folder / "inventory.py", f"labs = {rows!r}\n")
    deploy = _DEPLOY
    if whole:
        deploy = (
            "from pyinfra import host\nfrom pyinfra.operations import server\n\nserver.shell(commands=[host.data.script])\n"
        )
    write(task.folder / "deploy.py", deploy)
    argv = [str(rivals / "pyinfra"), "-y", str(task.folder / "inventory.py"), str(task.folder / "deploy.py")]
    return Contender([Step("up", argv)])


# ---- ssh and a script ----


def script(share):
    """Write the whole work of one host as a shell script."""
    lines = ["set -e", "ip link add br0 type bridge", f"ip addr add {share.gateway}/{PREFIX} dev br0", "ip link set br0 up"]
    for node in share.nodes:
        inside = f"ip -n {node.name}"
        lines += [
            f"ip netns add {node.name}",
            f"ip link add {node.port} type veth peer name eth0 netns {node.name}",
            f"ip link set {node.port} master br0 up",
            f"{inside} link set lo up",
            f"{inside} addr add {node.address}/{PREFIX} dev eth0",
            f"{inside} link set eth0 up",
            f"{inside} route add default via {share.gateway}",
        ]
    return "\n".join(lines) + "\n"


def ssh(task):
    lines = []
    for share in task.shares:
        path = task.folder / f"lab{share.number}.sh"
        write(path, script(share))
        lines.append(f"ssh -F {task.field.ssh_config} {address(share.number, task.rtt)} sh <{shlex.quote(str(path))} &")
    write(task.folder / "up.sh", "\n".join([*lines, "for job in $(jobs -p); do wait $job || exit 1; done"]) + "\n")
    return Contender([Step("up", ["bash", str(task.folder / "up.sh")])])


def contender(name, field, shares, rtt, options, *, cold):
    """Write the files of a contender and give its steps; only nsprov keeps something on hosts, which `cold` clears once."""
    folder = field.folder / f"{name}-{len(shares)}-{rtt}"
    os.makedirs(folder, exist_ok=True)
    task = Task(folder, field, shares, rtt)
    tool, _, variant = name.partition("-")
    if tool == "nsprov":
        return nsprov(task, shlex.split(options.nsprov), cold=cold, metered=variant == "metered")
    if tool == "ansible":
        return ansible(task, options.rivals, whole=variant == "script")
    if tool == "pyinfra":
        return pyinfra(task, options.rivals, whole=variant == "script")
    return ssh(task)


NAMES = ("nsprov", "ansible", "ansible-script", "pyinfra", "pyinfra-script", "ssh")


def write(path, text):
    Path(path).write_text(text)
