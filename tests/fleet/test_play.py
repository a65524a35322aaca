"""Playbooks on three hosts with a real sshd: what happens, in order, for one exec channel per host, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import time

import pytest
from controlled import INVENTORY, Fleet, finish, frozen, until
from labhosts import PYTHONS

HOSTS = ("lab1", "lab2", "lab3")
LOGINS = {"lab1": "root", "lab2": "lab", "lab3": "labpw"}
"""Root, one who becomes root without a password, one with."""

FLEET = INVENTORY
if PYTHONS["3.9"]:
    FLEET = INVENTORY.replace("user: root\n", f"user: root\n      python: {PYTHONS['3.9']}\n")
DOWN = INVENTORY.replace("10.87.0.2", "10.87.0.2\n      port: 9")


class Players(Fleet):
    """Three hosts, and playbooks for them."""

    def play(self, text, *argv, code=0):
        """Carry out a playbook, and give its results by task and host, and its recap."""
        self.nsprov.write("site.yml", text)
        return Played(self.nsprov("play", "site.yml", "-o", "json", *argv, code=code))

    def begin(self, text, *argv):
        """Start to carry out a playbook, and wait until all hosts sleep."""
        self.nsprov.write("site.yml", text)
        process = self.nsprov.start("play", "site.yml", *argv)
        until(lambda: all(self.sleeps(host) for host in self.hosts), "they sleep", pause=0.02)
        return process

    @staticmethod
    def sleeps(host):
        return host.run("pgrep -fx 'sleep 86430' || true").split()

    def none_sleeps(self):
        until(lambda: not any(self.sleeps(host) for host in self.hosts), "nobody sleeps any more", pause=0.02)

    def sessions(self):
        return [host.sessions() for host in self.hosts]


class Played:
    """What a run came to."""

    def __init__(self, said):
        """Sort its results."""
        self.said = said
        self.stats = said.json["stats"]
        self.tasks = {}
        for play in said.json["plays"]:
            for task in play["tasks"]:  # hosts that come to a task at other times are told of at other times
                self.tasks.setdefault(task["task"], {}).update(task["hosts"])

    def status(self, task):
        """Say of each host how a task went."""
        words = ("unreachable", "failed", "skipped", "changed")
        return {host: next((w for w in words if result.get(w)), "ok") for host, result in self.tasks.get(task, {}).items()}

    def every(self, task, key):
        """Give one thing of each host's result."""
        return {host: result.get(key) for host, result in self.tasks[task].items()}


@pytest.fixture(scope="module", name="players")
def _players(lab, tmp_path_factory):
    """Give the hosts to all tests; nothing may be left on them in the end."""
    found = Players(lab, tmp_path_factory.mktemp("play"))
    found.inventory(FLEET)
    for name, text in {"hello.sh": "#!/bin/sh\nhostname; echo $1\n", "data": "\0\xff"}.items():
        found.nsprov.write(name, text)
    found.nsprov.write("motd.j2", "{{ inventory_hostname }} of {{ ansible_play_hosts | length }}\n")
    yield found
    found.check()


TWENTY = """\
- hosts: all
  gather_facts: true
  tasks:
    - {name: who, command: id -un, register: who}
    - {name: login, command: id -un, become: false, register: login}
    - {name: home, shell: echo $HOME; pwd, become: false}
    - {name: other, command: id -un, become_user: daemon, become: true}
    - {name: own, copy: {dest: "/tmp/own-{{ inventory_hostname }}", content: x}, become: false}
    - {name: owner, command: "stat -c %U /tmp/own-{{ inventory_hostname }}"}
    - {name: env, shell: 'echo "$GREETING"', environment: {GREETING: "a  {{ inventory_hostname }}"}}
    - {name: conditional, command: hostname, when: login.stdout == 'lab', notify: told}
    - {name: loop, command: "echo {{ item }}", loop: "{{ who.stdout_lines + ['b'] }}", register: loop}
    - {name: until, shell: "echo >> /tmp/tries; wc -l < /tmp/tries", register: tries, until: tries.stdout | int > 1, delay: 0}
    - {name: once, command: hostname, run_once: true, register: once}
    - {name: delegated, command: hostname, delegate_to: lab2}
    - {name: group, group_by: {key: "of_{{ login.stdout }}"}}
    - {name: facts, debug: {msg: "{{ ansible_hostname }} {{ ansible_python_version.split('.')[:2] | join('.') }}"}}
    - {name: others, debug: {msg: "{{ hostvars['lab3'].login.stdout }} {{ once.stdout }}"}}
    - {name: background, shell: "sleep 0.5 & echo on"}
    - {name: clean, command: rm -f /tmp/tries /tmp/own-lab1 /tmp/own-lab2 /tmp/own-lab3, notify: [told, told]}
  handlers:
    - {name: told, command: hostname}
- hosts: of_lab
  tasks:
    - {name: grouped, command: "echo {{ loop.results | length }} {{ hostvars['lab1'].who.stdout }}"}
"""


def test_twenty_tasks(players):
    """One exec channel for each host, whatever is asked of earlier results; everyone is who he is to be."""
    before = players.sessions()
    played = players.play(TWENTY)
    asked = [now - then for now, then in zip(players.sessions(), before, strict=True)]

    assert asked == [1, 1, 1]
    assert dict.fromkeys(HOSTS, "root") == played.every("who", "stdout")
    assert LOGINS == played.every("login", "stdout") == played.every("owner", "stdout")
    assert played.every("home", "stdout")["lab3"] == "/home/labpw\n/home/labpw"
    assert dict.fromkeys(HOSTS, "daemon") == played.every("other", "stdout")
    assert {host: f"a  {host}" for host in HOSTS} == played.every("env", "stdout")
    assert played.status("conditional") == {"lab1": "skipped", "lab2": "changed", "lab3": "skipped"}
    assert [[row["stdout"] for row in rows] for rows in played.every("loop", "results").values()] == [["root", "b"]] * 3
    assert dict.fromkeys(HOSTS, 2) == played.every("until", "attempts")
    assert played.every("once", "stdout") == {"lab1": "h1"}
    assert dict.fromkeys(HOSTS, "h2") == played.every("delegated", "stdout")
    assert dict.fromkeys(HOSTS, "labpw h1") == played.every("others", "msg")
    assert played.every("told", "stdout") == {"lab1": "h1", "lab2": "h2", "lab3": "h3"}
    assert played.every("grouped", "stdout") == {"lab2": "2 root"}
    if PYTHONS["3.9"]:
        assert played.every("facts", "msg")["lab1"] == "h1 3.9"


FILES = """\
- hosts: all
  lab: parts
  tasks:
    - {name: template, template: {src: motd.j2, dest: /tmp/motd, mode: "0640"}}
    - {name: copy, copy: {src: data, dest: /tmp/into/, owner: daemon}}
    - {name: node, netns: {name: a}}
    - {name: bridge, bridge: {name: br9}}
    - {name: link, veth: {node: a, ifname: eth0, peer_ifname: a-eth0, peer_master: br9, state: up}}
    - {name: address, address: {node: a, dev: eth0, address: 10.9.0.2/24}}
    - {name: script, script: hello.sh you, args: {creates: /tmp/never}}
    - {name: route, route: {node: a, to: default, via: 10.9.0.1, dev: eth0}}
    - {name: look, command: ip -n a route, check_mode: false, when: not ansible_check_mode}
    - {name: workload, workload: {node: a, name: w, command: sleep 86431}}
    - {name: fetch, fetch: {src: /tmp/into/data, dest: fetched/}, when: not ansible_check_mode}
"""
UNDO = """\
- hosts: all
  lab: parts
  tasks:
    - {name: node, netns: {name: a, state: absent}}
    - {name: bridge, bridge: {name: br9, state: absent}}
    - {name: files, command: rm -r /tmp/motd /tmp/into}
"""


def test_a_check_and_the_run(players):
    """They say the same of files and resources, a check changes nothing, and again nothing is news."""
    before = players.look()
    checked = players.play(FILES, "--check", "--diff")
    untouched = players.changed_hosts(before), players.hosts[0].run("ls /tmp")
    ran, again = players.play(FILES, "--diff"), players.play(FILES)
    mode = players.hosts[1].run("stat -c '%a %U' /tmp/motd /tmp/into/data")
    rechecked = players.play(FILES, "--check")
    fetched = (players.nsprov.folder / "fetched/lab3/tmp/into/data").read_bytes()
    undone = players.play(UNDO)

    assert (untouched[0], "motd" in untouched[1]) == ([], False)
    for task in ("template", "copy", "node", "bridge", "link", "address", "route", "workload"):
        assert dict.fromkeys(HOSTS, "changed") == checked.status(task) == ran.status(task), task
        assert dict.fromkeys(HOSTS, "ok") == again.status(task) == rechecked.status(task), task
    assert checked.every("template", "diff") == ran.every("template", "diff")
    assert ran.every("template", "diff")["lab2"]["after"] == "lab2 of 3\n"
    assert ran.every("script", "stdout")["lab3"] == "h3\nyou\n"
    assert "default via 10.9.0.1" in ran.every("look", "stdout")["lab1"]
    assert ("640 root\n644 daemon\n", "\0\xff".encode()) == (mode, fetched)
    assert dict.fromkeys(HOSTS, "changed") == undone.status("bridge")
    players.same_as(before)
    assert "nothing" in players.nsprov("audit", "--lab", "parts").out


def test_a_task_that_fails_on_one_host(players):
    """The others go on; what has failed can be done again, alone."""
    text = "- hosts: all\n  tasks:\n    - {name: fail, shell: test $(hostname) != h2}\n    - {name: after, command: 'true'}\n"
    played = players.play(text, code=5)
    again = players.play(text, "--limit", "@failed", code=5)

    assert played.status("fail") == {"lab1": "changed", "lab2": "failed", "lab3": "changed"}
    assert sorted(played.tasks["after"]) == ["lab1", "lab3"]
    assert again.status("fail") == {"lab2": "failed"}


FATAL = """\
- hosts: all
  {terms}
  tasks:
    - {{name: first, shell: test $(hostname) != {guilty}}}
    - {{name: second, command: 'true'}}
"""


@pytest.mark.parametrize(
    ("terms", "guilty", "first", "second"),
    [
        ("any_errors_fatal: true", "h2", ["lab1", "lab2", "lab3"], []),
        ("max_fail_percentage: 30", "h2", ["lab1", "lab2", "lab3"], []),
        ("max_fail_percentage: 34", "h2", ["lab1", "lab2", "lab3"], ["lab1", "lab3"]),
        ("serial: 1", "h1", ["lab1"], []),
        ("serial: [1, 100%]", "h3", ["lab1", "lab2", "lab3"], ["lab1", "lab2"]),
        ("strategy: free", "h3", ["lab1", "lab2", "lab3"], ["lab1", "lab2"]),
    ],
)
def test_when_it_ends_for_all(players, terms, guilty, first, second):
    """At the first failure, at too many, or with a whole batch of hosts."""
    played = players.play(FATAL.format(terms=terms, guilty=guilty), code=5)

    assert (first, second) == (sorted(played.tasks["first"]), sorted(played.tasks.get("second", ())))


def test_a_host_that_is_down(players):
    """The others go on, unless an unreachable host is fatal; it is what has failed last."""
    players.inventory(DOWN)
    try:
        played = players.play(FATAL.format(terms="gather_facts: false", guilty="none"), code=4)
        fatal = players.play(FATAL.format(terms="any_errors_fatal: true", guilty="none"), code=4)
    finally:
        players.inventory(FLEET)
    again = players.play(FATAL.format(terms="gather_facts: false", guilty="none"), "--limit", "@failed")

    assert (sorted(played.tasks["second"]), played.stats["lab2"]["unreachable"]) == (["lab1", "lab3"], 1)
    assert "first" not in fatal.tasks
    assert sorted(again.tasks["second"]) == ["lab1", "lab2", "lab3"] or sorted(again.tasks["second"]) == ["lab2"]


LONG = """\
- hosts: all
  tasks:
    - {name: long, shell: trap '' HUP; sleep 86430; true}
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_controller_that_ends(players, ending):
    """With Ctrl-C it says so; however it ends, what it has started on the hosts ends too."""
    process = players.begin(LONG)
    os.killpg(process.pid, ending)
    players.none_sleeps()
    said = finish(process)

    assert (130 if ending == signal.SIGINT else -signal.SIGKILL) == said.code


def test_a_host_that_freezes(players):
    """It is lost when it has given no sign of life for long enough, and the others are waited for; it ends by itself."""
    process = players.begin(LONG.replace("sleep 86430; true", "sleep 86430; exit 0"), "-o", "json", "--host-timeout", "2")
    with frozen(players.hosts[1]):
        time.sleep(2.5)  # that is how long it takes to be lost
        for host in (players.hosts[0], players.hosts[2]):
            host.run("pkill -fx 'sleep 86430'")
        played = Played(finish(process))
    players.none_sleeps()

    assert played.said.code == 4
    assert played.status("long") == {"lab1": "changed", "lab3": "changed"}
    assert played.stats["lab2"]["unreachable"] == 1
