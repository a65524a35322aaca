"""Inventories as Ansible reads them: the real ansible-core, asked in one process, and nsprov must say the same.

The cases are in tests/inventory/like_ansible.yml.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nsprov.cli import inventory as command
from nsprov.errors import NothingMatched
from nsprov.inventory import load_inventory

HERE = Path(__file__).parents[1] / "inventory"
CASES = yaml.safe_load((HERE / "like_ansible.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", name="said")
def _said(tmp_path_factory):
    """Write all inventories, and ask Ansible about them; give the folder and the answer of each."""
    root = tmp_path_factory.mktemp("inventories")
    asked = [written(name, case, root / name) for name, case in CASES.items()]
    (root / "ansible.cfg").touch()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
    }
    done = subprocess.run(
        [sys.executable, HERE / "ansible_says.py"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=root,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return root, json.loads(done.stdout), {}


def written(name, case, folder):
    """Write a case's files, and give it as a question."""
    folder.mkdir()
    for path, text in case["files"].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            (folder / path).chmod(0o755)
    (folder / "empty").mkdir()
    case.setdefault("sources", list(case["files"])[:1])
    return {
        "name": name,
        "folder": str(folder),
        "sources": [source if "," in source else str(folder / source) for source in case["sources"]],
        "beside": str(folder / case.get("beside", "empty")),
        "patterns": case.get("patterns", []),
        "limits": case.get("limits", []),
    }


@pytest.fixture(name="case", params=CASES)
def _case(request, said, monkeypatch):
    """Give what is needed of a case: how it is written, our inventory, Ansible's answer."""
    root, answers, read = said
    name, case = request.param, CASES[request.param]
    monkeypatch.chdir(root / name)
    if name not in read:
        read[name] = load_inventory(case["sources"], case.get("beside", "empty"))
    return case, read[name], answers[name]


def shown(capsys, case, **options):
    """Give what `nsprov inventory` prints."""
    assert command.show(sources=case["sources"], topology=f"{case.get('beside', 'empty')}/none.yml", **options) == 0
    return capsys.readouterr().out


def test_list(case, capsys):
    """`--list`: the same groups with the same children and hosts in the same order, and the same variables of each host."""
    written, ours, theirs = case
    expected = theirs["list"]
    del expected["_meta"]["profile"]

    assert expected["_meta"]["hostvars"] == json.loads(
        json.dumps({name: own for name in ours.hosts if (own := ours.variables[name])})
    )
    if "beside" not in written:
        assert expected == json.loads(shown(capsys, written, everything=True))


def test_host(case):
    """`--host`: the variables of each host, with nothing of Ansible's own."""
    _, ours, theirs = case

    assert theirs["hosts"] == json.loads(json.dumps({name: ours.variables[name] for name in ours.hosts}))


def test_graph(case, capsys):
    """`--graph --vars`: the same text."""
    written, _, theirs = case
    if "beside" not in written:
        assert theirs["graph"] == shown(capsys, written, variables=True).rstrip("\n")


def test_patterns(case):
    """Each pattern means the same hosts in the same order; what means none is an error of ours."""
    written, ours, theirs = case
    arrange = sorted if written.get("any_order") else list
    for pattern, hosts in theirs["patterns"].items():
        try:
            found = arrange(ours.names(pattern))
        except NothingMatched:
            found = []

        assert (pattern, arrange(hosts) if isinstance(hosts, list) else []) == (pattern, found)


def test_limits(case):
    """Each `--limit` leaves the same hosts of all."""
    _, ours, theirs = case
    for limit, hosts in theirs["limits"].items():
        if isinstance(hosts, list):
            assert (limit, hosts) == (limit, list(ours.limited(ours.names("all"), limit)))


def test_there_is_enough_to_compare():
    """Cases are added and not taken away."""
    assert len(CASES) >= 35
    assert sum(len(case.get("patterns", ())) for case in CASES.values()) >= 100
    assert re.fullmatch(r"2\.\d+\..*", __import__("ansible.release").release.__version__)
