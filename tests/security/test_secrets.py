"""A secret of a workload's env_file is in that workload and in the lab's record, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import stat
import threading

import pytest
from attacked import FULL, LAB, OWN
from commandline import PATIENCE

pytestmark = pytest.mark.root
CANARY = "hunter2-of-the-tests"
DEBUG = {"NSPROV_DEBUG": "1"}
FAILING = {"type": "oneshot", "command": "false"}


class Eye(threading.Thread):
    """Looks at what every process shows of itself, again and again."""

    def __init__(self):
        """Begin with nothing seen."""
        super().__init__(daemon=True)
        self.seen = set()
        self.looks = 0
        self.over = threading.Event()

    def run(self):
        """Look until it is over."""
        while not self.over.wait(0.005):
            self.look()

    def look(self):
        """Note who has the secret in the command line or in the environment."""
        self.looks += 1
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for name in ("cmdline", "environ", "comm"):
                with contextlib.suppress(OSError):  # it has ended
                    if CANARY.encode() in read(f"/proc/{pid}/{name}"):
                        self.seen.add((int(pid), name))


@pytest.mark.parametrize("node", [FULL, OWN, {}], ids=["full", "own", "bare"])
def test_a_secret_is_seen_nowhere(lab, tmp_path, node):
    """Not in a command line, in no helper's environment, in no output, plan, log, event or error; records are root's alone."""
    (tmp_path / "env").write_text(f"TOKEN={CANARY}\n")
    given = {"command": ["sleep", "1d"], "env_file": ["env"], "grace": "0s"}
    here = {**node, "workloads": {"w": given}}
    said = []
    eye = Eye()
    eye.start()
    try:
        path = lab.write({"a": here})
        early = (("plan",), ("plan", "-o", "json"), ("render",), ("up",), ("status", "-o", "json"))
        said += [lab.nsprov(*argv, env=DEBUG) for argv in early]
        pids = set(lab.group("a", "w-w"))
        late = (("ps", "-o", "json"), ("logs",), ("events",), ("graph",), ("plan", "--out", "saved"))
        said += [lab.nsprov(*argv, code=None, env=DEBUG) for argv in late]
        (tmp_path / "env").write_text(f"TOKEN={CANARY}-2\n")
        said += [lab.nsprov("plan"), lab.nsprov("plan", "-o", "json"), lab.nsprov("up", env=DEBUG)]
        pids |= set(lab.group("a", "w-w"))
        lab.write({"a": {**node, "workloads": {"w": given, "bad": {**FAILING, "env_file": ["env"]}}}})
        said.append(lab.nsprov("up", code=5, env=DEBUG))
    finally:
        eye.over.set()
        eye.join()
    kept = [name for name in sorted(os.listdir(f"{lab.root}/log/a")) if CANARY.encode() in read(f"{lab.root}/log/a/{name}")]

    assert path.exists()
    assert eye.looks > 10
    assert {name for _, name in eye.seen} == {"environ"}
    assert {pid for pid, _ in eye.seen} & pids
    assert {comm(pid) for pid, _ in eye.seen} <= {"sleep", ""}
    assert [CANARY in one.out + one.err for one in said] == [False] * len(said)
    assert kept == []
    for found in (f"{lab.root}/manifest.json", tmp_path / "saved"):
        if os.path.exists(found) and CANARY.encode() in read(found):
            assert stat.S_IMODE(os.stat(found).st_mode) == 0o600


def read(path):
    """Give what is in a file."""
    with open(path, "rb") as file:
        return file.read()


def comm(pid):
    """Give the name of a process; nothing if it has ended."""
    try:
        return read(f"/proc/{pid}/comm").decode().strip()
    except OSError:
        return ""


def test_a_broken_file_is_not_quoted(lab, tmp_path):
    """What is wrong with a file of variables is said without what is in it."""
    (tmp_path / "env").write_text(f"{CANARY}\n")
    lab.write({"a": {"workloads": {"w": {"command": "true", "env_file": ["env"]}}}})
    out, err = lab.nsprov.start("up", env=DEBUG).communicate(timeout=PATIENCE)

    assert b"Traceback" in err
    assert CANARY.encode() not in out + err
    assert not os.path.exists(f"/run/nsprov/{LAB}")


def test_an_init_does_not_show_them(lab, tmp_path):
    """Nobody in a node with ids of its own looks into its init, which knows the secrets of all workloads."""
    (tmp_path / "env").write_text(f"TOKEN={CANARY}\n")
    lab.up({"a": {**FULL, "workloads": {"w": {"command": ["sleep", "1d"], "env_file": ["env"], "grace": "0s"}}}})
    said = lab.run("a", "sh", "-c", "cat /proc/1/environ /proc/1/mem /proc/1/maps; ls /proc/1/fd/", code=None)

    assert said.out == ""
    assert said.err.count("ermission denied") == 4
