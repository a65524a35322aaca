"""Playbooks do what they do in ansible-core: the same results of the same tasks, and the same variables, fragment by fragment.

Each fragment of `fragments.yml` is a playbook on a host of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
FRAGMENTS = yaml.safe_load((HERE / "fragments.yml").read_text())
COMPARED = ("msg", "stdout", "rc", "skipped", "ping", "ansible_facts")
"""What is compared of a result, besides what it is called."""

OTHER_WORDS = {"failures": "failed"}

pytestmark = pytest.mark.root


def name(number):
    return f"case{number:02}.lab"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Give the results of both by host: a list of (task, status, what is compared)."""
    folder = tmp_path_factory.mktemp("playbook")
    for part in ("vars", "templates", "files", "more.yml"):
        (shutil.copytree if (HERE / part).is_dir() else shutil.copy)(HERE / part, folder / part)
    for number, fragment in enumerate(FRAGMENTS):
        play = {"hosts": name(number), "gather_facts": False, **fragment}
        play.pop("only", None)
        (folder / f"{number}.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    hosts = {name(number): {} for number in range(len(FRAGMENTS))}
    group = {"hosts": hosts, "vars": {"of_group": "{{ of_all }}-group"}}
    variables = {"ansible_connection": "local", "of_all": "all", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"vars": variables, "children": {"cases": group}}}
    (folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
    playbooks = [f"{number}.yml" for number in range(len(FRAGMENTS))]
    return ours(folder, playbooks), ansibles(folder, playbooks)


def run(folder, argv, **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, env={**clean, **environment})
    try:
        return json.loads(done.stdout)
    except ValueError:
        pytest.fail(f"{argv[0]}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def ours(folder, playbooks):
    rows, counts = {}, {}
    for one in run(folder, [sys.executable, str(HERE / "many.py"), "nsprov", "inventory.yml", *playbooks]).values():
        for play in one["plays"]:
            for task in play["tasks"]:
                for host, result in task["hosts"].items():
                    rows.setdefault(host, []).append((task["task"], *looked_at(result)))
        counts.update(one["stats"])
    return rows, counts


def ansibles(folder, playbooks):
    settings = {"ANSIBLE_STDOUT_CALLBACK": "collect", "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback")}
    settings |= {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_HOME": str(folder), "ANSIBLE_PIPELINING": "true"}
    settings["LC_ALL"] = "C.UTF-8"  # it insists on UTF-8
    rows, counts = {}, {}
    found = run(folder, [sys.executable, str(HERE / "many.py"), "ansible", "inventory.yml", *playbooks], **settings)
    for one in filter(None, found.values()):
        for host, task, result in one["rows"]:
            rows.setdefault(host, []).append((task, *looked_at(result)))
        for host, words in one["stats"].items():
            counts[host] = {OTHER_WORDS.get(word, word): number for word, number in words.items()}
    return rows, counts


def looked_at(result):
    """Give what is compared; what went wrong is said in words of one's own, unless the user has given them."""
    status = next((word for word in ("unreachable", "failed", "skipped", "changed") if result.get(word)), "ok")
    shown = {key: result[key] for key in COMPARED if result.get(key) not in (None, "")}
    if status == "failed" and "assertion" not in result and not str(result.get("msg", "")).startswith("no "):
        shown.pop("msg", None)
    return status, shown


def rows_of(run, host):
    """Give a host's rows without those that only say that more tasks, or none, follow."""
    return [row for row in run.get(host, []) if row[0] not in ("include_tasks", "meta") or row[1] == "failed"]


@pytest.mark.parametrize("number", range(len(FRAGMENTS)), ids=[fragment["name"] for fragment in FRAGMENTS])
def test_a_fragment_does_what_it_does_in_ansible(runs, number):
    (found, counts), (expected, expected_counts) = runs
    host = name(number)

    assert rows_of(found, host) == rows_of(expected, host)
    assert counts[host] == expected_counts[host]
