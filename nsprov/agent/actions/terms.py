"""How an action is to be done; and the commands that it runs for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nsprov.agent.actions import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.agent.actions.processes import Ran

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)
_NO = ("0", "false", "n", "no", "off")


@dataclass(frozen=True)
class Terms:
    """`check` is to change nothing; `heed` raises when the controller has gone."""

    check: bool = False
    diff: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    heed: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, step: Mapping[str, Any], heed: Callable[[], None]) -> Terms:
        """Read them from a step."""
        environment = {str(name): str(value) for name, value in (step.get("environment") or {}).items()}
        return cls(bool(step.get("check")), bool(step.get("diff")), environment, heed)

    def run(self, argv: Sequence[str], stdin: str | None = None, folder: str | None = None) -> Ran:
        """Run a command to its end, and kill all of it when the controller goes.

        Raises:
            OSError: it cannot be started.

        """
        return processes.run(argv, {**os.environ, **self.environment}, self.heed, stdin, folder)

    def filled(self, text: str) -> str:
        """Fill in variables of the environment, as `$A` and `${A}`, and `~`; one that is not there stays as it is."""
        known = {**os.environ, **self.environment}
        return os.path.expanduser(_VARIABLE.sub(lambda found: known.get(found[1] or found[2], found[0]), text))


def truth(given: Any) -> bool:
    """Tell whether an argument says yes; whatever is not a no does."""
    return str(given).lower() not in _NO
