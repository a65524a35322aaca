"""The README's tour, every line of it, in one root shell, as a reader would paste it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_TOUR = re.compile(r"<!-- tour -->(.*)<!-- /tour -->", re.DOTALL)
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXITS = re.compile(r"^(.*\S)\s+# exits (\d+)$", re.MULTILINE)

pytestmark = pytest.mark.root


def script(text):
    """Make a shell script of a part of the tour that stops at the first line whose exit code is not the one expected."""
    lines = "\n".join(_BLOCK.findall(text))
    return "set -exuo pipefail\n" + _EXITS.sub(r"code=0; \1 || code=$?; test $code = \2", lines)


@pytest.fixture
def paste(tmp_path):
    """Paste a script into a shell in a copy of what the tour uses; it must end well. Gives what it wrote."""
    shutil.copytree(ROOT / "topologies", tmp_path / "topologies")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/nsprov"
    # ssh finds its configuration by the user's entry in passwd, not by $HOME: hence -F, which the tour does not show.
    command.write_text(f'#!/bin/sh\nname=$1; shift\nexec {sys.executable} -m nsprov "$name" $OPTIONS "$@"\n')
    command.chmod(0o755)

    def paste(text, options=""):
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        environment = {"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
        environment["OPTIONS"] = options
        argv, nothing = ["bash", "-c", text], subprocess.DEVNULL
        done = subprocess.run(argv, cwd=tmp_path, env=environment, stdin=nothing, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return paste


def parts():
    """Give the two parts of the tour: on this host, and over SSH."""
    return _TOUR.search((ROOT / "README.md").read_text(encoding="utf-8"))[1].split("### Over SSH")


def test_the_tour(paste, tmp_path):
    """Each line exits as it says, and it ends with nothing left, of files neither."""
    said = paste(script(parts()[0]))

    assert "lab tutorial: nothing to do, everything is as asked" in said
    assert said.rstrip().endswith("LAB  HOST  NODES  SINCE")
    assert "lab tutorial on localhost: nothing is left" in said
    # What failed is remembered, for `--limit @failed`.
    assert sorted({path.name for path in tmp_path.iterdir()} - {".local"}) == ["bin", "topologies"]


@pytest.mark.fleet
def test_the_tour_over_ssh(paste):
    """The same over SSH, to hosts that have the addresses and users of the README's inventory."""
    place = importlib.util.spec_from_file_location("labhosts", ROOT / "tests/fleet/labhosts.py")
    labhosts = importlib.util.module_from_spec(place)
    sys.modules["labhosts"] = labhosts
    place.loader.exec_module(labhosts)
    with labhosts.lab_hosts(2) as hosts:
        said = paste(script(parts()[1]), f"--ssh-config={hosts[0].ssh_config}")

    assert "lab two on lab1, lab2: nothing to do, everything is as asked" in said
    assert "lab two on lab2: nothing is left" in said


def test_the_output_in_the_tour_is_real(paste):
    """Every line of output in the README's first part occurs in the real one, but for what differs from run to run."""
    said = paste(script(parts()[0]).replace("set -ex", "exec 2>&1; set -e"))
    plain = {_varying(line) for line in said.splitlines()}
    shown = re.findall(r"^```text\n(.*?)^```$", parts()[0], re.MULTILINE | re.DOTALL)
    lines = [line for block in shown for line in block.splitlines() if not line.startswith("...") and line.strip() != "..."]

    assert [line for line in lines if _varying(line) not in plain and "-> ..." not in line] == []


def _varying(line):
    line = re.sub(r"time=[0-9.]+ ms|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|[0-9a-f]{32}|eth0@if\d+|(?<=ready)\s+\d+|\b\d+s\b", "", line)
    return " ".join(line.split())
