"""What is wrong with the Jinja of a playbook, as far as that can be seen before anything runs: said where it stands."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nsprov.render.native import Expressions
from nsprov.texts import SecretText, Unsafe

if TYPE_CHECKING:
    from collections.abc import Callable

    from nsprov.errors import Diagnostic
    from nsprov.topology.positions import Path, Problems


class Grammar:
    """Checks the syntax of templates, and the names of their filters and tests."""

    def __init__(self) -> None:
        """Know what a run knows."""
        self._flaw: Callable[[str], Diagnostic | None] = lru_cache(maxsize=4096)(Expressions().flaw)

    def templates(self, problems: Problems, given: Any, path: Path) -> None:
        """Check every template in a value."""
        if isinstance(given, dict):
            for key, item in given.items():
                self.templates(problems, item, (*path, key))
        elif isinstance(given, list):
            for index, item in enumerate(given):
                self.templates(problems, item, (*path, index))
        elif isinstance(given, str) and not isinstance(given, Unsafe):
            self._check(problems, given, given, path)

    def conditions(self, problems: Problems, given: Any, path: Path) -> None:
        """Check conditions, which are expressions without braces."""
        for index, one in enumerate(given if isinstance(given, list) else [given]):
            here = (*path, index) if isinstance(given, list) else path
            if isinstance(one, str) and ("{{" in one or "{%" in one):
                problems.add(here, "a condition is written without braces", "remove the braces: it is Jinja already")
            elif isinstance(one, str):
                self._check(problems, one, "{{ " + one + " }}", here)
            elif not isinstance(one, (bool, type(None))):
                problems.add(here, "a condition must be an expression", "write it as a text")

    def _check(self, problems: Problems, given: str, template: str, path: Path) -> None:
        flaw = self._flaw(template)
        if flaw is not None:
            detail = "" if isinstance(given, SecretText) else flaw.detail
            problems.add(path, flaw.summary, flaw.hint, detail)
