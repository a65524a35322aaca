"""Fixtures of the end-to-end tests: the command line as root in a folder of its own, in the sandbox."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from commandline import CommandLine


@pytest.fixture(name="nsprov")
def _nsprov(tmp_path):
    """Run commands; labs that a failed test left up go down."""
    found = CommandLine(tmp_path)
    yield found
    found.end()
    for row in found("ls", "-o", "json").json:
        found("down", "--lab", row["lab"], code=None)
