"""What the options of `nsprov play` do: which tasks are taken, what is listed, where variables come from, how it is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

sys.path.append(str(Path(__file__).parents[1]))

from commandline import CommandLine

SITE = """
- hosts: box
  name: first
  tags: [play]
  vars: {a: of the play}
  tasks:
    - {name: one, debug: {msg: "{{ a }}"}, tags: [x, y]}
    - {name: two, command: "echo {{ a }}", register: out}
    - {name: three, debug: {msg: "{{ out.stdout }}"}, tags: never}
    - import_tasks: more.yml
      tags: z
    - include_tasks: later.yml
      tags: [always]
- import_playbook: second.yml
"""
FILES = {
    "site.yml": SITE,
    "more.yml": "- {name: four, debug: {msg: more}, tags: [w]}\n- block: [{name: five, debug: {msg: in a block}}]\n",
    "later.yml": "- {name: six, debug: {msg: later}, tags: [v]}\n",
    "second.yml": "- {hosts: all, name: second, tasks: [{name: seven, debug: {msg: '{{ b | default(7) }}'}}]}\n",
    "hosts.yml": "all: {hosts: {box: {ansible_connection: local}}}\n",
    "vars.yml": "a: of a file\nb: [1, 2]\n",
    "vars.json": '{"a": "of JSON", "b": {"c": true}}',
    "list.yml": "- a\n",
    "password": "secret\n",
    "topology.yml": "nodes: {n1: {sysctls: {net.ipv4.ip_forward: '{{ forward }}'}}}\n",
}


@pytest.fixture(scope="module")
def nsprov(tmp_path_factory):
    """Give a command line in a folder with a playbook."""
    folder = tmp_path_factory.mktemp("options")
    sealed = VaultLib([("default", VaultSecret(b"secret"))]).encrypt("a: of a vault\nforward: 1\n").decode()
    for name, text in {**FILES, "sealed.yml": sealed}.items():
        (folder / name).write_text(text)
    return CommandLine(folder)


def play(nsprov, *argv, **terms):
    """Play the playbook."""
    return nsprov("play", "site.yml", "-i", "hosts.yml", *argv, **terms)


def done(said):
    """Give the names of the tasks that were taken, and what they said."""
    return {line["task"]: line["result"].get("msg") for line in said.lines if line["event"] == "result"}


def test_a_playbook_is_only_read(nsprov):
    """`--syntax-check` reads all that is imported, and needs no host."""
    assert nsprov("play", "site.yml", "--syntax-check").out == "site.yml is valid: 2 play(s)\n"
    assert "the file does not exist" in nsprov("play", "gone.yml", "--syntax-check", code=3).err


def test_lists(nsprov):
    """Tasks, tags and hosts are listed with what is imported, as far as they are selected; nothing is done."""
    assert play(nsprov, "--list-tasks").out == (
        "playbook: site.yml\n\n  play #1 (box): first  TAGS: [play]\n    tasks:\n"
        "      one  TAGS: [play, x, y]\n      two  TAGS: [play]\n      four  TAGS: [play, w, z]\n"
        "      five  TAGS: [play, z]\n      include_tasks  TAGS: [always, play]\n"
        "\n  play #2 (all): second  TAGS: []\n    tasks:\n      seven  TAGS: []\n"
    )
    assert "TASK TAGS: [always, play, w, z]" in play(nsprov, "--list-tags", "--skip-tags", "x", "-t", "w").out
    assert "hosts (1):\n      box" in play(nsprov, "--list-hosts").out


@pytest.mark.root
@pytest.mark.parametrize(
    ("argv", "taken"),
    [
        ((), "one two four five include_tasks six seven"),
        (("--tags", "x"), "one include_tasks"),
        (("--tags", "untagged"), "include_tasks seven"),
        (("-t", "z", "-t", "v", "--skip-tags", "w"), "five include_tasks six"),
        (("--tags", "tagged", "--skip-tags", "always,y"), "two four five"),
        (("--start-at-task", "fiv?"), "five include_tasks six seven"),
    ],
    ids=" ".join,
)
def test_which_tasks_are_taken(nsprov, argv, taken):
    """Tags and the place to start at decide, as in Ansible; what is included has its own tags only."""
    assert list(done(play(nsprov, "-o", "jsonl", *argv))) == taken.split()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--tags", "zz"), 'error: no task has the tag "zz"\n  --> --tags'),
        (("--skip-tags", "vv,ww"), 'error: no task has the tag "vv"\n  --> --skip-tags\n  help: use "v"'),
        (("--start-at-task", "fuor"), 'error: no task is called "fuor"\n  --> --start-at-task\n  help: use "four"'),
    ],
    ids=["tags", "skip", "start"],
)
def test_what_is_not_there_is_said(nsprov, argv, told):
    """A tag or a task that does not exist is no reason to do nothing, or everything, in silence."""
    assert told in play(nsprov, *argv, code=9).err


@pytest.mark.root
def test_step(nsprov):
    """Each task is asked for once what came before it has been shown; who says `c` is asked no more."""
    said = play(nsprov, "--step", input=b"n\ny\nc\n")

    assert said.err.count("Perform task:") == 3
    assert "TASK [one]" not in said.out
    assert [word in said.out for word in ("TASK [two]", "TASK [four]", "TASK [six]", "TASK [seven]")] == [True] * 4


@pytest.mark.root
@pytest.mark.parametrize(
    ("argv", "one", "seven"),
    [
        (("-e", "@vars.yml"), "of a file", [1, 2]),
        (("-e", "@vars.json"), "of JSON", {"c": True}),
        (("-e", "@vars.yml", "-e", "a=nearer"), "nearer", [1, 2]),
        (("-e", "@sealed.yml", "--vault-password-file", "password"), "***", 7),
    ],
    ids=["yaml", "json", "both", "vault"],
)
def test_variables_of_files(nsprov, argv, one, seven):
    """Files of variables are YAML, JSON, or either of them encrypted; the last one counts."""
    found = done(play(nsprov, "-o", "jsonl", "--tags", "x,untagged", *argv))

    assert (found["one"], found["seven"]) == (one, seven)


def test_variables_of_files_for_topologies(nsprov):
    """A topology takes the same files; one that is no mapping is refused at its place."""
    assert nsprov("validate", "topology.yml", "-e", "@sealed.yml", "--vault-password-file", "password").code == 0
    assert 'variable "forward" is undefined' in nsprov("validate", "topology.yml", "-e", "@vars.yml", code=3).err
    assert "list.yml:1:1" in nsprov("validate", "topology.yml", "-e", "@list.yml", code=3).err
    assert "the file does not exist" in nsprov("validate", "topology.yml", "-e", "@gone.yml", code=3).err


@pytest.mark.root
def test_junit_and_lines(nsprov):
    """JUnit's XML has a suite for the host and a case for each task; lines of JSON come one for each event."""
    suite = ET.fromstring(play(nsprov, "-o", "junit").out).find("testsuite")
    lines = play(nsprov, "-o", "jsonl").lines

    assert suite.attrib == {"name": "box", "tests": "7", "failures": "0", "errors": "0", "skipped": "0"}
    assert suite.find("testcase").attrib == {"name": "one", "classname": "first", "file": "site.yml", "line": "7"}
    assert suite[2].findtext("system-out") == "of the play"
    assert [line["event"] for line in lines] == ["play", *["result"] * 6, "play", "result", "end"]
    assert lines[-1]["stats"]["box"]["ok"] == 7
    assert json.loads(play(nsprov, "-o", "json").out)["stats"] == lines[-1]["stats"]


def test_no_playbook_is_named(nsprov):
    """There is no playbook by default."""
    assert "no playbook is named" in nsprov("play", code=3).err
