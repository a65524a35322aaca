"""The example of docs/playbooks.md does what the page says that it does."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from commandline import PROGRAM, ROOT, CommandLine

pytestmark = pytest.mark.root
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_example_says_what_it_says(tmp_path):
    """The output is the page's, letter for letter; again it changes nothing, and its lab goes by its name."""
    (_, book), (_, said) = _FENCE.findall((ROOT / "docs" / "playbooks.md").read_text(encoding="utf-8"))[:2]
    (tmp_path / "pair.yml").write_text(book)
    program = tmp_path / "bin" / "nsprov"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    nsprov = CommandLine(tmp_path)
    nsprov.environment["PATH"] = f"{program.parent}:{nsprov.environment['PATH']}"
    first, again = nsprov("play", "pair.yml"), nsprov("play", "pair.yml")
    nsprov("down", "--lab", "pair")

    assert said.removeprefix("$ nsprov play pair.yml\n") == first.out
    assert "ok=5     changed=0" in again.out
