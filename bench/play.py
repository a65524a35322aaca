#!/usr/bin/env python3
"""Measure a playbook of 20 tasks, near and far: nsprov and Ansible with the same file, pyinfra with the same work.

    bench/play.py --all --output play.md       all of it; less than five minutes on a quiet machine
    bench/play.py --quick                      one host, nsprov alone: does the benchmark still work?

README.md beside this file says what is measured, what with, and what is fair.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fleet_field
import fleet_report
import fleet_rivals
from fleet_field import Wrong, address
from fleet_measure import measured, prepare_environment
from fleet_rivals import Step, write

HERE = Path(__file__).resolve().parent
SANDBOX = HERE.parent / "tests" / "sandbox.sh"
NAMES = ("nsprov", "ansible", "pyinfra")
FAR = 50
TARGET = 20
FOLDER = "/root/bench"

PLAYBOOK = """\
- hosts: all
  gather_facts: false
  vars: {folder: /root/bench, port: 8080}
  tasks:
    - {name: Folder, command: "mkdir -p {{ folder }}", args: {creates: "{{ folder }}"}}
    - {name: Kernel, command: uname -r, register: kernel, changed_when: false}
    - {name: Name, command: hostname, register: name, changed_when: false}
    - {name: User, command: id -u, register: user, changed_when: false}
    - {name: Root, assert: {that: user.stdout == "0", quiet: true}}
    - {name: Greeting, copy: {content: "hello\\n", dest: "{{ folder }}/greeting", mode: "0644"}}
    - {name: Secret, copy: {content: "s3cret\\n", dest: "{{ folder }}/secret", mode: "0600"}}
    - {name: Settings, template: {src: settings.j2, dest: "{{ folder }}/settings", mode: "0644"}}
    - {name: What runs, copy: {content: "{{ name.stdout }} {{ kernel.stdout }}\\n", dest: "{{ folder }}/about", mode: "0644"}}
    - {name: Log, shell: "date >> {{ folder }}/log"}
    - {name: Environment, shell: "echo $COLOUR > {{ folder }}/colour", environment: {COLOUR: blue}}
    - {name: Look, stat: {path: "{{ folder }}/greeting"}, register: greeting}
    - {name: It is there, assert: {that: greeting.stat.exists, quiet: true}}
    - {name: Wait, wait_for: {path: "{{ folder }}/settings", timeout: 5}}
    - {name: Forwarding, command: sysctl -n net.ipv4.ip_forward, register: forwarding, changed_when: false}
    - {name: Router, copy: {content: "yes\\n", dest: "{{ folder }}/router", mode: "0644"}, when: forwarding.stdout == "1"}
    - {name: Links, command: ip -o link, register: links, changed_when: false}
    - {name: Count, copy: {content: "{{ links.stdout_lines | length }} links\\n", dest: "{{ folder }}/links", mode: "0644"}}
    - {name: Temporary, command: "touch {{ folder }}/temporary"}
    - {name: Away, command: "rm {{ folder }}/temporary", args: {removes: "{{ folder }}/temporary"}}
"""

SETTINGS = """\
port = {{ port }}
words = {% for word in ["one", "two", "three"] %}{{ word }}:{{ loop.index }} {% endfor %}
"""

DEPLOY = """\
from io import StringIO

from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.facts.server import Command
from pyinfra.operations import files, server

folder = "/root/bench"
files.directory(name="Folder", path=folder)
kernel = host.get_fact(Command, "uname -r")
name = host.get_fact(Command, "hostname")
assert host.get_fact(Command, "id -u") == "0"
files.put(name="Greeting", src=StringIO("hello\\n"), dest=f"{folder}/greeting", mode="644")
files.put(name="Secret", src=StringIO("s3cret\\n"), dest=f"{folder}/secret", mode="600")
files.template(name="Settings", src="settings.j2", dest=f"{folder}/settings", mode="644", port=8080)
files.put(name="What runs", src=StringIO(f"{name} {kernel}\\n"), dest=f"{folder}/about", mode="644")
server.shell(name="Log", commands=[f"date >> {folder}/log"])
server.shell(name="Environment", commands=[f"echo $COLOUR > {folder}/colour"], _env={"COLOUR": "blue"})
server.shell(name="Look", commands=[f"test -e {folder}/greeting"])
server.shell(name="Wait", commands=[f"for try in 1 2 3 4 5; do test -e {folder}/settings && exit; sleep 1; done; exit 1"])
if host.get_fact(Command, "sysctl -n net.ipv4.ip_forward") == "1":
    files.put(name="Router", src=StringIO("yes\\n"), dest=f"{folder}/router", mode="644")
links = len(host.get_fact(Command, "ip -o link").splitlines())
files.put(name="Count", src=StringIO(f"{links} links\\n"), dest=f"{folder}/links", mode="644")
server.shell(name="Temporary", commands=[f"touch {folder}/temporary"])
server.shell(name="Away", commands=[f"rm -f {folder}/temporary"])
"""

LEAVES = {
    "greeting": "hello\n",
    "secret": "s3cret\n",
    "settings": "port = 8080\nwords = one:1 two:2 three:3\n",
    "colour": "blue\n",
    "links": "2 links\n",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="everything")
    which.add_argument("--quick", action="store_true", help="nsprov on one host, once")
    parser.add_argument(
        "--rounds", type=int, default=5, help="of nsprov (default: %(default)s), rivals get one; the least is shown"
    )
    parser.add_argument("--rtts", default=f"0,{FAR}", help="milliseconds (default: %(default)s)")
    parser.add_argument("--hosts", default="1,8", help="how many (default: %(default)s)")
    parser.add_argument("--only", default=",".join(NAMES), help="contenders (default: %(default)s)")
    parser.add_argument("--nsprov", default=f"{sys.executable} -m nsprov", help="the command (default: %(default)s)")
    parser.add_argument("--rivals", type=Path, default=HERE / ".venv" / "bin", help="where ansible-playbook and pyinfra are")
    parser.add_argument(
        "--output", type=lambda text: Path(text).resolve(), metavar="FILE", help="the tables; else standard output"
    )
    parser.add_argument("--json", type=lambda text: Path(text).resolve(), metavar="FILE", help="every single measurement")
    options = parser.parse_args()
    options.only = ["nsprov"] if options.quick else options.only.split(",")
    options.rounds = 1 if options.quick else options.rounds
    options.rtts = [2] if options.quick else [int(rtt) for rtt in options.rtts.split(",")]
    options.hosts = [1] if options.quick else [int(count) for count in options.hosts.split(",")]
    if os.geteuid():
        parser.error("needs root")
    for name, program in (("ansible", "ansible-playbook"), ("pyinfra", "pyinfra")):
        if name in options.only and not (options.rivals / program).exists():
            parser.error(f"no {program} in {options.rivals}: see README.md beside this file, or leave {name} out of --only")
    return options


# ---- who takes part ----


def contender(name, field, count, rtt, options):
    """Write the files of a contender; give its steps, its environment and what is to be done afterwards."""
    folder = field.folder / f"play-{name}-{count}-{rtt}"
    os.makedirs(folder / "cp", exist_ok=True)
    write(folder / "settings.j2", SETTINGS)
    if name == "pyinfra":
        return pyinfra(folder, field, count, rtt, options), {}, []
    write(folder / "site.yml", PLAYBOOK)
    rows = {f"lab{n}": {"ansible_host": address(n, rtt), "ansible_user": "root"} for n in range(1, count + 1)}
    write(folder / "hosts.yml", json.dumps({"all": {"hosts": rows}}))
    given = ["-i", str(folder / "hosts.yml"), str(folder / "site.yml")]
    if name == "nsprov":
        argv = [*options.nsprov.split(), "play", *given, "-F", str(field.ssh_config)]
        return [Step("first contact", argv, cold=True), Step("play", argv), Step("again", argv)], {}, []
    config = fleet_rivals.CONFIG.format(forks=max(5, count), ssh_config=field.ssh_config, folder=folder)
    write(folder / "ansible.cfg", config)
    sockets = f"for s in {folder}/cp/*; do ssh -F {field.ssh_config} -o ControlPath=$s -O exit x; done 2>/dev/null; true"
    environment = {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "ansible")}
    return [Step("play", [str(options.rivals / "ansible-playbook"), *given])], environment, ["/bin/sh", "-c", sockets]


def pyinfra(folder, field, count, rtt, options):
    rows = []
    for number in range(1, count + 1):
        data = {"ssh_hostname": address(number, rtt), "ssh_user": "root", "ssh_key": str(field.key)}
        data.update(ssh_known_hosts_file=str(field.known_hosts), ssh_strict_host_key_checking="yes")
        rows.append((f"lab{number}", data))
    write(folder / "inventory.py", f"labs = {rows!r}\n")
    write(folder / "deploy.py", DEPLOY)
    # It looks for what a deploy names in the current directory.
    line = f"cd {folder} && exec {options.rivals / 'pyinfra'} -y inventory.py deploy.py"
    return [Step("play", ["/bin/sh", "-c", line])]


# ---- measuring ----


def reset(field, count, *, cold):
    cache = " /var/cache/nsprov" if cold else ""
    field.each(count, lambda host: host.run(f"rm -rf {FOLDER}{cache}"))


def verify(field, count):
    """Check on each host what all have to leave there."""

    def one(host):
        folder = host.root / FOLDER.lstrip("/")
        for name, text in {**LEAVES, "about": f"{host.name} {os.uname().release}\n"}.items():
            # How a template ends is for each to decide.
            found = (folder / name).read_text().split() if (folder / name).exists() else None
            fleet_field.expect(f"{name} on {host.name}", text.split(), found)
        fleet_field.expect(f"mode of secret on {host.name}", 0o600, (folder / "secret").stat().st_mode & 0o777)
        fleet_field.expect(f"temporary on {host.name}", False, (folder / "temporary").exists())

    field.each(count, one)


def one_step(step, environment, field, count, rtt):
    if step.name != "again":
        reset(field, count, cold=step.cold)
    before, since = field.counters(count), time.monotonic()
    took = measured(step.argv, environment, field.folder / "said.log")
    took["turns"] = max(wire["turns"] for wire in field.wire(since, rtt))
    after = [now.since(then) for now, then in zip(field.counters(count), before, strict=True)]
    verify(field, count)
    took.update(logins=[one.logins for one in after], channels=[one.channels for one in after])
    return {**took, "hosts_cpu": sum(one.cpu for one in after)}


def measure(field, options):
    """Yield a row for each step of each contender, in every round and place."""
    for count, rtt, name in [(count, rtt, name) for count in options.hosts for rtt in options.rtts for name in options.only]:
        for turn in range(options.rounds if name == "nsprov" else 1):
            steps, environment, after = contender(name, field, count, rtt, options)
            about = {"contender": name, "hosts": count, "rtt": rtt, "round": turn}
            try:
                for step in steps if turn == 0 else steps[1:]:
                    yield {**about, "step": step.name, **one_step(step, environment, field, count, rtt)}
            except (Wrong, AssertionError, subprocess.SubprocessError) as problem:
                yield {**about, "error": str(problem)}
            finally:
                if after:
                    subprocess.run(after, check=False, env={**os.environ, **environment})


# ---- reporting ----


def report(rows, about, options):
    figures = fleet_report.Figures(rows)
    versions = ", ".join(f"{name} {about[name]}" for name in ("openssh", "ansible-core", "pyinfra") if name in about)
    yield f"Linux {about['kernel']}, {about['cpus']} CPUs, Python {about['python']}, {versions}, {about['date']}."
    yield f"Load at the end: {about['load'][0]:.1f}; it took {about['took'] / 60:.1f} minutes."
    yield ""
    yield "### 20 tasks"
    yield ""
    yield from fleet_report.header("hosts", "ms", "who", "s", "times nsprov", "CPU s", "CPU s of hosts", "channels", "logins")
    for count, rtt in [(count, rtt) for count in options.hosts for rtt in options.rtts]:
        ours = figures.least(contender="nsprov", step="play", hosts=count, rtt=rtt)
        for name, step in [
            ("nsprov", "play"),
            ("nsprov", "again"),
            ("nsprov", "first contact"),
            ("ansible", "play"),
            ("pyinfra", "play"),
        ]:
            found = figures.of(contender=name, step=step, hosts=count, rtt=rtt)
            if found:
                row = min(found, key=lambda one: one["wall"])
                ratio = f"{row['wall'] / ours:.1f}" if ours and name != "nsprov" else ""
                cells = [f"{row['wall']:.2f}", ratio, f"{row['cpu']:.2f}", f"{row['hosts_cpu']:.2f}"]
                yield fleet_report.line(count, rtt, f"{name}: {step}", *cells, max(row["channels"]), max(row["logins"]))
    yield ""
    yield from fleet_report.header("target", "measured", "wanted", "")
    channels = max((max(row["channels"]) for row in figures.of(contender="nsprov")), default=0)
    yield fleet_report.line("exec channels per host and run", channels, "<= 1", "met" if channels <= 1 else "missed")
    for count in options.hosts:
        ours = figures.least(contender="nsprov", step="play", hosts=count, rtt=FAR)
        theirs = figures.least(contender="ansible", step="play", hosts=count, rtt=FAR)
        if ours and theirs:
            met = "met" if theirs / ours >= TARGET else "missed"
            yield fleet_report.line(f"ansible / nsprov on {count} at {FAR} ms", f"{theirs / ours:.1f}", f">= {TARGET}", met)
    for row in rows:
        if "error" in row:
            yield f"- {row['contender']} failed ({row['hosts']} hosts, {row['rtt']} ms): {row['error']}"


def inside(options):
    """Measure, in the sandbox."""
    rows = []
    folder = Path(tempfile.mkdtemp(prefix="nsprov-bench-", dir="/run"))
    prepare_environment(folder, HERE.parent)
    began = time.monotonic()
    with fleet_field.field(max(options.hosts), options.rtts, folder) as field:
        for row in measure(field, options):
            place = f"{row['contender']}, {row['hosts']} hosts, {row['rtt']} ms [{row['round']}]"
            print(f"{place}: {row.get('error') or '{step} {wall:.3f} s'.format(**row)}", file=sys.stderr)
            rows.append(row)
    about = fleet_report.machine(options, time.monotonic() - began)
    text = "\n".join(report(rows, about, options)) + "\n"
    return fleet_report.deliver(text, rows, about, options)


def main():
    options = arguments()
    if os.environ.get("NSPROV_BENCH_INSIDE"):
        return inside(options)
    argv = [str(SANDBOX), sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
    return subprocess.run(argv, check=False, env={**os.environ, "NSPROV_BENCH_INSIDE": "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
