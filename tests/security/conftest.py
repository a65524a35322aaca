"""Fixtures of the security tests: the real command line, and a lab for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from attacked import Lab
from commandline import CommandLine


@pytest.fixture(name="nsprov")
def _nsprov(tmp_path):
    """Run commands; labs that a failed test left up go down."""
    found = CommandLine(tmp_path)
    yield found
    found.end()
    for row in found("ls", "-o", "json").json:
        found("down", "--lab", row["lab"], code=None)


@pytest.fixture(name="lab")
def _lab(nsprov):
    """Give the lab; it goes down in the end, if it is there, and an audit finds nothing of it."""
    found = Lab(nsprov)
    yield found
    if os.path.lexists(found.root):
        found.down()
