"""Every broken inventory in tests/inventory/bad, and exactly what is said about it.

A case is a file and the same name with `.txt` added; `NSPROV_BLESS=1 pytest tests/unit/test_inventory_bad.py` writes
those anew.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from diagnostics import expected, written

from nsprov.errors import InputError
from nsprov.inventory import load_inventory

BAD = Path(__file__).parents[1] / "inventory" / "bad"
CASES = sorted(path.name for path in BAD.iterdir() if path.suffix != ".txt")


@pytest.mark.parametrize("name", CASES)
def test_says_exactly_this(name, monkeypatch):
    """A broken inventory gives the diagnostics that are written down for it, in this order and in our form."""
    monkeypatch.chdir(BAD)
    with pytest.raises(InputError) as caught:
        load_inventory([name])
    found = written(caught.value.diagnostics)

    assert expected(BAD / f"{name}.txt", found) == found
    for diagnostic in caught.value.diagnostics:
        assert 0 < len(diagnostic.summary) <= 60, diagnostic
        assert diagnostic.hint, diagnostic
        assert diagnostic.where.startswith(name), diagnostic
        if diagnostic.excerpt:
            assert int(diagnostic.where.split(":")[2]) == len(diagnostic.excerpt.split("\n")[1]), diagnostic


def test_no_text_without_a_file():
    """Every expected text belongs to a broken inventory, and there are plenty of both."""
    assert {path.name.removesuffix(".txt") for path in BAD.glob("*.txt")} == set(CASES)
    assert len(CASES) >= 25
