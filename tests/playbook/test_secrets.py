"""What Ansible Vault has encrypted reaches the hosts and is shown nowhere: every way in, every way out, really run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

pytestmark = pytest.mark.root
PASSWORD = "of-the-vault"
LIBRARY = VaultLib([("default", VaultSecret(PASSWORD.encode()))])

IN_PLAY, IN_FILE, INCLUDED, IN_GROUP, OF_HOST, EXTRA, WHOLE = WAYS_IN = (
    *("in-a-play-1f", "in-a-file-2e", "included-3d", "of-a-group-4c", "of-a-host-5b", "on-the-command-line-6a"),
    "first line of a key\nsecond line of a key",
)
NUMBER = 7730001
UNLOGGED = "said-by-a-host-99"
SEEN = [*WAYS_IN[:-1], *WAYS_IN[-1].splitlines(), str(NUMBER), UNLOGGED]
MADE = [text for word in WAYS_IN[:-1] for text in (word.upper(), b64encode(word.encode()).decode(), word[::-1])]
"""What filters make of them."""

PLAYBOOK = """
- hosts: box
  vars:
    in_play: !vault |
{in_play}
    everything: "{{{{ in_play }}}} {{{{ in_file }}}} {{{{ included }}}} {{{{ of_group }}}} {{{{ of_host }}}} {{{{ extra }}}}"
  vars_files: [secrets.yml]
  tasks:
    - include_vars: included.yml
    - copy: {{content: "{{{{ everything }}}} {{{{ number }}}} {{{{ whole }}}}", dest: "{{{{ playbook_dir }}}}/got"}}
    - template: {{src: t.j2, dest: "{{{{ playbook_dir }}}}/filled"}}
    - shell: |
        printf '%s' "$SECRET"; printf '%s' "$SECRET" >&2
        for process in /proc/[0-9]*; do tr '\\\\0' ' ' <$process/cmdline >>{folder}/argv; done 2>/dev/null
        true
      environment: {{SECRET: "{{{{ everything }}}}"}}
      register: out
    - debug: {{msg: "{{{{ out.stdout }}}}"}}
    - debug: {{var: everything}}
    - debug: {{msg: "{{{{ item | upper }}}} {{{{ item | b64encode }}}} {{{{ item | reverse }}}}"}}
      loop:
        - "{{{{ in_play }}}}"
        - "{{{{ in_file }}}}"
        - "{{{{ included }}}}"
        - "{{{{ of_group }}}}"
        - "{{{{ of_host }}}}"
        - "{{{{ extra }}}}"
    - debug: {{msg: [{{a: "{{{{ everything | split(' ') }}}}"}}, "{{{{ number }}}}", "{{{{ whole }}}}"]}}
    - set_fact: {{kept: "{{{{ everything | to_json }}}}"}}
    - name: a word of {{{{ in_play }}}}
      debug: {{var: kept}}
    - assert: {{that: in_play == in_file, fail_msg: "{{{{ in_play }}}} is not {{{{ in_file }}}}"}}
      ignore_errors: true
    - command: cat {folder}/got
    - command: nsprov-no-such-program {{{{ in_play }}}}
      ignore_errors: true
    - command: printf '%s\\n' {unlogged}
      no_log: true
      loop: [1, 2]
    - debug: {{msg: "{{{{ everything }}}} {{{{ nowhere }}}}"}}
      ignore_errors: true
    - command: "true"
      when: in_play
"""


def sealed(text, indent=0):
    """Have Ansible itself encrypt a text."""
    lines = LIBRARY.encrypt(text).decode().splitlines()
    return "\n".join(" " * indent + line for line in lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a playbook with an inventory, in which something is encrypted wherever it can be."""
    found = tmp_path_factory.mktemp("secrets")
    texts = {
        "password": PASSWORD,
        "site.yml": PLAYBOOK.format(in_play=sealed(IN_PLAY, 6), folder=found, unlogged=UNLOGGED),
        "secrets.yml": sealed(f"in_file: {IN_FILE}\nnumber: {NUMBER}\nwhole: |\n  " + WHOLE.replace("\n", "\n  ")),
        "included.yml": f"included: !vault |\n{sealed(INCLUDED, 2)}\n",
        "extra.yml": sealed(json.dumps({"extra": EXTRA})),
        "t.j2": "{{ everything }}\n{% for one in [in_play] %}{{ one }}{% endfor %}\n",
        "hosts.yml": "all:\n  hosts:\n    box:\n      ansible_connection: local\n      ansible_become_password: !vault |\n"
        f"{sealed(OF_HOST, 8)}\n",
        "group_vars/all.yml": sealed(f"of_group: {IN_GROUP}\n"),
        "host_vars/box.yml": f"of_host: !vault |\n{sealed(OF_HOST, 2)}\n",
    }
    for name, text in texts.items():
        (found / name).parent.mkdir(exist_ok=True)
        (found / name).write_text(text + "\n")
    return found


def play(folder, *argv, **environment):
    """Play it, and give all that was said, however it was."""
    book = [] if any(word.endswith(".yml") for word in argv) else ["site.yml"]
    given = (*book, "-i", "hosts.yml", "--vault-password-file", "password", "-e", "@extra.yml")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    return subprocess.run(
        [sys.executable, "-m", "nsprov", "play", *given, *argv],
        cwd=folder, capture_output=True, text=True, check=False, env={**clean, **environment}, timeout=60,
    )  # fmt: skip


WAYS_OUT = [(), ("-v",), ("-v", "--diff", "--check"), ("--diff",), ("-o", "json"), ("-o", "jsonl", "--diff"), ("-o", "junit")]


@pytest.mark.parametrize("argv", WAYS_OUT, ids=" ".join)
def test_nothing_secret_is_said(folder, argv):
    """Whatever way it comes in and goes out: there are stars, and nothing of it; the hosts have got it."""
    for name in ("got", "filled", "argv"):
        (folder / name).unlink(missing_ok=True)
    done = play(folder, *argv, NSPROV_DEBUG="1")
    said = done.stdout + done.stderr

    assert "a condition must be true or false" in said, said
    assert "***" in said
    assert [word for word in (*SEEN, *MADE, PASSWORD) if word in said] == []
    if "--check" not in argv:
        assert (folder / "got").read_text() == " ".join(
            [IN_PLAY, IN_FILE, INCLUDED, IN_GROUP, OF_HOST, EXTRA, str(NUMBER), WHOLE]
        )
        assert IN_PLAY in (folder / "filled").read_text()
        assert "nsprov" in (folder / "argv").read_text()
        assert [word for word in (*SEEN, PASSWORD) if word in (folder / "argv").read_text()] == []


def test_the_reports_can_be_read(folder):
    """With stars in them they are JSON and XML as ever; no_log says so in Ansible's words."""
    found = json.loads(play(folder, "-o", "json").stdout)
    suite = ET.fromstring(play(folder, "-o", "junit").stdout).find("testsuite")
    results = [task["hosts"]["box"] for task in found["plays"][0]["tasks"]]
    censored = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"

    assert [result for result in results if result.get("censored")] == [{"censored": censored, "changed": True}]
    assert suite.get("name") == "box"
    assert int(suite.get("tests")) == len(suite.findall("testcase")) == len(results)
    assert suite.get("failures") == "1"


def test_what_a_host_says_is_no_template(folder):
    """A host that prints braces does not get our variables filled in for it: not by register, loop, facts or handlers."""
    tasks = [
        {"shell": "printf '%s%s%s' '{' '{ in_play }' '}'", "register": "out"},
        {
            "copy": {"content": "{{ out.stdout }} {{ also }}", "dest": str(folder / "told")},
            "vars": {"also": "{{ out.stdout }}"},
        },
        {"set_fact": {"fact": "{{ out.stdout }}"}},
        {"shell": "echo '{{ fact }} {{ item }}' >>" + str(folder / "told"), "loop": "{{ out.stdout_lines }}"},
        {"debug": {"msg": "{{ fact }} {{ out }}"}, "when": "out.stdout == fact"},
    ]
    (folder / "told.yml").write_text(json.dumps([{"hosts": "box", "vars": {"in_play": "filled in"}, "tasks": tasks}]))
    done = play(folder, "told.yml")

    assert "{ in_play }" in done.stdout
    assert "filled in" not in done.stdout + (folder / "told").read_text()
    assert (folder / "told").read_text().count("in_play }") == 4


def test_nothing_of_it_is_kept(folder):
    """No record of ours has anything of it, on the controller or on the host."""
    play(folder, XDG_STATE_HOME=str(folder / "state"))
    kept = [path for top in (folder / "state", Path("/run/nsprov")) for path in top.rglob("*") if path.is_file()]

    assert [path for path in kept if any(word in path.read_text(errors="replace") for word in SEEN)] == []


@pytest.mark.parametrize(
    ("argv", "summary"),
    [
        (("--vault-password-file", "t.j2"), "no vault password fits the encrypted text"),
        ((), "the text is encrypted and no password is given"),
    ],
    ids=["wrong", "none"],
)
def test_without_the_password(folder, argv, summary):
    """It is said before anything runs, at the place of the first that is encrypted, and what is encrypted stays so."""
    done = subprocess.run(
        [sys.executable, "-m", "nsprov", "play", "site.yml", "-i", "hosts.yml", *argv],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 3
    assert summary in done.stderr
    assert "site.yml:4:14" in done.stderr
    assert [word for word in SEEN if word in done.stdout + done.stderr] == []
