"""Every broken playbook in tests/playbook/broken, and exactly what is said about it; nothing has been run by then.

A case is `name.yml` and `name.txt`; `NSPROV_BLESS=1 pytest tests/unit/test_bad_playbooks.py` writes the texts anew.
What a case imports is in `parts`.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from diagnostics import expected, written

from nsprov.errors import InputError
from nsprov.playbook.reading import load

BROKEN = Path(__file__).parents[1] / "playbook" / "broken"
CASES = sorted(path.stem for path in BROKEN.glob("*.yml"))


def told(name, monkeypatch):
    """Read a broken playbook from its own folder, and give all that is said."""
    monkeypatch.chdir(BROKEN)
    with pytest.raises(InputError) as caught:
        load(f"{name}.yml")
    return caught.value.diagnostics


@pytest.mark.parametrize("name", CASES)
def test_says_exactly_this(name, monkeypatch):
    """A broken playbook gives the diagnostics that are written down for it, all at once and in this order."""
    found = written(told(name, monkeypatch))

    assert expected(BROKEN / f"{name}.txt", found) == found


@pytest.mark.parametrize("name", CASES)
def test_keeps_to_the_form(name, monkeypatch):
    """A diagnostic has a short summary without a full stop, a position in some file, a hint, and a caret at that position."""
    for diagnostic in told(name, monkeypatch):
        assert 0 < len(diagnostic.summary) <= 60, diagnostic
        assert not diagnostic.summary.endswith("."), diagnostic
        assert diagnostic.hint, diagnostic
        assert Path(BROKEN, diagnostic.where.split(":")[0]).is_file(), diagnostic
        if diagnostic.excerpt:
            column = int(diagnostic.where.split(":")[2])

            assert column == len(diagnostic.excerpt.split("\n")[1]), diagnostic


def test_no_text_without_a_playbook():
    """Every expected text belongs to a broken playbook, and there are plenty of both."""
    assert {path.stem for path in BROKEN.glob("*.txt")} == set(CASES)
    assert len(CASES) >= 40
