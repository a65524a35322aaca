"""Every broken file in tests/bad, and exactly what is said about it.

A case is `name.yml` and `name.txt`; `NSPROV_BLESS=1 pytest tests/unit/test_bad_input.py` writes the texts anew.
"""

import os

import pytest

from nsprov.errors import InputError
from nsprov.topology import load

BAD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bad")
CASES = sorted(name[:-4] for name in os.listdir(BAD) if name.endswith(".yml"))


def told(name, monkeypatch):
    """Load a broken file from its own folder, and write down all that is said."""
    monkeypatch.chdir(BAD)
    with pytest.raises(InputError) as caught:
        load(f"{name}.yml")
    return caught.value.diagnostics


def written(diagnostics):
    """Write diagnostics as the expected texts do."""
    lines = []
    for diagnostic in diagnostics:
        lines.append(f"{diagnostic.where}: {diagnostic.summary}")
        lines += [f"  {word}: {text}" for word in ("detail", "hint") if (text := getattr(diagnostic, word))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_says_exactly_this(name, monkeypatch):
    """A broken file gives the diagnostics that are written down for it, in this order."""
    found = written(told(name, monkeypatch))
    path = os.path.join(BAD, f"{name}.txt")
    if os.environ.get("NSPROV_BLESS"):
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(found)
    with open(path, encoding="utf-8") as stream:
        expected = stream.read()

    assert expected == found


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
    texts = {name[:-4] for name in os.listdir(BAD) if name.endswith(".txt")}

    assert texts == set(CASES)
    assert len(CASES) >= 45
