"""Every broken file in tests/bad, and exactly what is said about it.

A case is `name.yml` and `name.txt`; `NSPROV_BLESS=1 pytest tests/unit/test_bad_input.py` writes the texts anew.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from diagnostics import expected, written

from nsprov.errors import InputError
from nsprov.topology import load

BAD = Path(__file__).parents[1] / "bad"
CASES = sorted(path.stem for path in BAD.glob("*.yml"))


def told(name, monkeypatch):
    """Load a broken file from its own folder, and write down all that is said."""
    monkeypatch.chdir(BAD)
    with pytest.raises(InputError) as caught:
        load(f"{name}.yml")
    return caught.value.diagnostics


@pytest.mark.parametrize("name", CASES)
def test_says_exactly_this(name, monkeypatch):
    """A broken file gives the diagnostics that are written down for it, in this order."""
    found = written(told(name, monkeypatch))

    assert expected(BAD / f"{name}.txt", found) == found


@pytest.mark.parametrize("name", CASES)
def test_keeps_to_the_form(name, monkeypatch):
    """A diagnostic has a short summary without a full stop, a position, a hint, and a caret at that position."""
    for diagnostic in told(name, monkeypatch):
        assert 0 < len(diagnostic.summary) <= 60, diagnostic
        assert not diagnostic.summary.endswith("."), diagnostic
        assert not diagnostic.summary[0].isupper() or diagnostic.summary.startswith(("MAC", "IPv6")), diagnostic
        assert diagnostic.hint, diagnostic
        assert diagnostic.where.startswith(f"{name}.yml:"), diagnostic
        if diagnostic.excerpt:
            column = int(diagnostic.where.split(":")[2])

            assert column == len(diagnostic.excerpt.split("\n")[1]), diagnostic


def test_no_text_without_a_file():
    """Every expected text belongs to a broken file, and there are plenty of both."""
    texts = {path.stem for path in BAD.glob("*.txt")}

    assert texts == set(CASES)
    assert len(CASES) >= 45
