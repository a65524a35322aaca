"""The benchmarks of the fleet and of playbooks still run; how long anything takes is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def test_the_quick_benchmark_runs_and_counts_one_channel_a_run(tmp_path):
    """One host behind the delay proxy: every step is checked on the host, and costs one login and one exec channel."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    found = tmp_path / "found.json"
    argv = [sys.executable, str(BENCH / "fleet.py"), "--quick", "--json", str(found)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(found.read_text())["rows"]
    assert [row["step"] for row in rows] == ["first contact", "down", "up", "no-op", "down"]
    assert [(row["logins"], row["channels"]) for row in rows] == [([1], [1])] * 5
    assert min(row["wire"][0]["turns"] for row in rows) > 2, "not everything went through the proxy"
    assert "| exec channels per host and run | 1 | <= 1 | met |" in done.stdout


def test_the_quick_benchmark_of_playbooks_runs_and_counts_one_channel_a_run(tmp_path):
    """20 tasks on one host behind the delay proxy: their work is checked on the host, and costs one exec channel a run."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    found = tmp_path / "found.json"
    argv = [sys.executable, str(BENCH / "play.py"), "--quick", "--json", str(found)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)

    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(found.read_text())["rows"]
    assert [row["step"] for row in rows] == ["first contact", "play", "again"]
    assert [(row["logins"], row["channels"]) for row in rows] == [([1], [1])] * 3
    assert "| exec channels per host and run | 1 | <= 1 | met |" in done.stdout
