"""What a playbook can have done on a host, each time it says so: one module for each group of actions.

An action is a function of its arguments and `Terms`; it gives a result in Ansible's words. What it cannot do it says in
`msg`, with `failed`; an OSError, too, is a failed result.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.agent.actions.terms import Terms

    Action = Callable[[Mapping[str, Any], Terms], dict[str, Any]]

_WHERE: Mapping[str, str] = {
    **dict.fromkeys(("command", "shell", "script"), "commands"),
    **dict.fromkeys(("fetch", "slurp", "stat"), "looks"),
    "copy": "content",
    **dict.fromkeys(("audit", "doctor", "labs", "teardown"), "labs"),
    **dict.fromkeys(("package", "service"), "software"),
    **dict.fromkeys(("ping", "wait_for"), "waiting"),
    "setup": "facts",
    "supervise": "crew",
}
"""The module of each action; it is imported when it is first asked for."""


def find(name: str) -> Action:
    """Give an action by its name.

    Raises:
        InputError: there is none.

    """
    if name not in _WHERE:
        raise InputError(Diagnostic(f'the agent has no action "{name}"'))
    found: Action = getattr(import_module(f"nsprov.agent.actions.{_WHERE[name]}"), name)
    return found
