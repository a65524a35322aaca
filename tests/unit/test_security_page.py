"""The page of threats has one row for each, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (C\d+) \| (.*) \|$", PAGE, re.MULTILINE))
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE)))


def test_every_threat_has_a_row():
    """C1 to C46, each with a threat, a control, and a proof or the reason why there is none."""
    assert list(ROWS) == [f"C{number}" for number in range(1, 47)]
    for name, row in ROWS.items():
        threat, control, proof = row.split(" | ")
        assert threat, name
        assert control, name
        assert "tests/" in proof or "not promised" in control, name


@pytest.mark.parametrize("name", NAMED)
def test_named_tests_exist(name):
    """A test that is renamed is renamed here."""
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))

    assert function in {found.name for found in tree.body if isinstance(found, ast.FunctionDef)}
