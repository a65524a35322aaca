"""What becomes of each host of a run, and how its failure gets there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nsprov import errors
from nsprov.errors import Diagnostic, NsprovError, Unreachable
from nsprov.plan.change import GLYPHS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsprov.plan.change import Plan
    from nsprov.plan.resource import Ref, Resource


@dataclass(frozen=True)
class Progress:
    """A phase begins on a host, gets to a step (`done` of `total` changes being done), or is over: `ended` says how."""

    host: str
    phase: str
    step: str = ""
    done: int = 0
    total: int = 0
    ended: Phase | None = None


@dataclass(frozen=True)
class Phase:
    """How a phase went on a host: when it began by our clock, what it took in seconds, and whether it was well."""

    began: float
    seconds: float
    ok: bool


@dataclass
class Outcome:
    """What became of one host; `plan` is `None` when there were too many changes to list and nobody asked.

    `desired` is what it was to hold. `undone` says why nothing of the plan holds although the host itself did not fail.
    `oom_kills` is of nodes.
    """

    host: str
    desired: Mapping[Ref, Resource] = field(default_factory=dict)
    plan: Plan | None = None
    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(GLYPHS, 0))
    interrupted: str = ""
    undone: str = ""
    held: Sequence[str] = ()
    oom_kills: Mapping[str, int] = field(default_factory=dict)
    error: NsprovError | None = None
    timing: dict[str, float] = field(default_factory=dict)
    phases: dict[str, Phase] = field(default_factory=dict)
    address: str = ""

    @property
    def changed(self) -> bool:
        """Tell whether there is anything to change, or was."""
        return any(self.counts.values())


@contextlib.contextmanager
def into(outcome: Outcome) -> Iterator[None]:
    """Put a host's failure into its outcome."""
    try:
        yield
    except NsprovError as problem:
        outcome.error = problem
    except OSError as problem:
        outcome.error = Unreachable(Diagnostic("the connection was lost", outcome.host, str(problem)))


def raised(message: Mapping[str, Any], host: str) -> NsprovError:
    """Give the error that an agent has told of, as our own, with the host in its diagnostics."""
    kind = getattr(errors, str(message["error"]), NsprovError)
    found = [Diagnostic.from_dict(row) for row in message.get("diagnostics", [])]
    placed = [Diagnostic(d.summary, f"{host}/{d.where}" if d.where else host, d.detail, d.hint, d.excerpt) for d in found]
    if kind is errors.KernelError:
        kind = errors.StepFailed
    problem: NsprovError = kind(*placed)
    return problem
