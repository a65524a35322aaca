"""How to become root on a host: the command lines of sudo, su and doas, and how each asks for a password.

A password is written only to a prompt, and one prompt is answered: a password that nobody asks for would be the agent's
first line, and a second prompt says that the first answer was wrong.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

METHODS = ("sudo", "su", "doas")
"""The programs that are known."""

_CLEAN = ("env", "LC_ALL=C", "LANGUAGE=C")  # their prompts and complaints in words that we know
_QUESTION = re.compile(rb"(?i)password[^\n:]*:[ ]?\Z")
_MARK = 'echo "$0 begins" >&2; exec "$@"'


@dataclass(frozen=True)
class Become:
    """A way to become root; `password` tells whether there is one to give, `terminal` that one has to be made for it."""

    method: str
    password: bool
    terminal: bool = False

    @property
    def on_terminal(self) -> bool:
        """Tell whether it is run on a terminal of its own: doas asks only there."""
        return self.terminal or (self.method == "doas" and self.password)

    def wrapped(self, argv: list[str], token: str) -> list[str]:
        """Give the command line that runs `argv` as root.

        su and doas ask in their own words, so they say before that they begin: what came earlier is no prompt.
        """
        if self.method == "sudo":
            asking = ["-S", "-p", prompt(token)] if self.password else ["-n"]
            return [*_CLEAN, "sudo", *asking, "--", *argv]
        if self.method == "su":
            inner = [*_CLEAN, "su", "-s", "/bin/sh", "-c", "exec " + shlex.join(argv), "root"]
        else:
            inner = [*_CLEAN, "doas", *([] if self.password else ["-n"]), "--", *argv]
        return ["/bin/sh", "-c", _MARK, token, *inner]

    def asked(self, said: bytes, token: str) -> int:
        """Count the prompts in what has come on stderr."""
        if self.method == "sudo":
            return said.count(prompt(token).encode())
        _, begun, after = said.partition(token.encode() + b" begins\n")
        return len(_QUESTION.findall(after)) if begun else 0


def prompt(token: str) -> str:
    """Give the text by which sudo asks for the password, and nothing else on the host can."""
    return f"[{token}] "
