"""What nsprov says when it cannot do a thing: one diagnostic type and one exception tree.

    NsprovError                 exit 1
    ├── InputError              exit 3    the file, the inventory or a template is wrong
    ├── Conflict                exit 1    something that is not ours stands in the way
    ├── Unreachable             exit 4    a host could not be reached or entered
    ├── KernelError             exit 5    the kernel refused one operation
    ├── StepFailed              exit 5    a step failed, this run's changes were rolled back
    ├── RollbackIncomplete      exit 6    a step failed and something of it is left
    ├── Difference              exit 7    verification, a test or an audit found a difference
    │   └── StalePlan           exit 7    the host moved since the plan was saved
    ├── Locked                  exit 8    another run holds the lab
    ├── NothingMatched          exit 9    a pattern, a node name or a host name matched nothing
    └── Interrupted             exit 130  Ctrl-C, changes rolled back
        └── Terminated          exit 143  SIGTERM, changes rolled back
            └── HungUp          exit 129  SIGHUP, changes rolled back

This module is part of the agent: standard library only, Python 3.9 and newer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Diagnostic:
    """One problem: what could not be done, where, why, and what to do.

    `where` is `file:line:col` or `host/kind:name`; `excerpt` is the source line with a caret below it.
    """

    summary: str
    where: str = ""
    detail: str = ""
    hint: str = ""
    excerpt: str = ""

    def as_dict(self) -> dict[str, str]:
        """Give the fields that say something, for JSON."""
        return {key: value for key, value in vars(self).items() if value}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Diagnostic:
        """Read a diagnostic that crossed a wire; unknown fields are ignored."""
        names = ("summary", "where", "detail", "hint", "excerpt")
        return cls(**{name: str(fields[name]) for name in names if name in fields})


class NsprovError(Exception):
    """The root: carries diagnostics and the exit code that a shell sees."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *diagnostics: Diagnostic) -> None:
        """Store the diagnostics; the first one is the message."""
        super().__init__(diagnostics[0].summary if diagnostics else "")
        self.diagnostics: Sequence[Diagnostic] = diagnostics


class InputError(NsprovError):
    """The user's input is wrong; nothing was changed."""

    exit_code = 3


class Conflict(NsprovError):
    """An object of that name exists and does not bear our mark; it was not touched."""


class Unreachable(NsprovError):
    """A host could not be reached or entered: SSH, host key, sudo, Python."""

    exit_code = 4


class KernelError(NsprovError):
    """The kernel refused one operation."""

    exit_code = 5

    def __init__(self, diagnostic: Diagnostic, errno: int) -> None:
        """Store what was refused and the errno."""
        super().__init__(diagnostic)
        self.errno = errno


class StepFailed(NsprovError):
    """A step failed; everything that this run had changed was put back."""

    exit_code = 5


class RollbackIncomplete(NsprovError):
    """A step failed and the way back failed too; the diagnostics list what is left."""

    exit_code = 6


class Difference(NsprovError):
    """What was observed is not what was asked for."""

    exit_code = 7


class StalePlan(Difference):
    """The host is not as it was when the plan was saved."""


class Locked(NsprovError):
    """Another run holds the lab's lock."""

    exit_code = 8


class NothingMatched(NsprovError):
    """A name or a pattern matched nothing."""

    exit_code = 9


class Interrupted(NsprovError):
    """The user interrupted the run; what it had changed was put back."""

    exit_code = 130


class Terminated(Interrupted):
    """The controller was told to end by a signal; what it had changed was put back."""

    exit_code = 143


class HungUp(Terminated):
    """The controller's terminal has gone; what it had changed was put back."""

    exit_code = 129
