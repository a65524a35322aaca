"""The environment of a command in a node: what the caller has, or in a node with files or ids of its own, a clean one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL = "/bin/sh"

_LOCALE = ("LANG", "LANGUAGE", "LC_")
_OWN = frozenset({"NSPROV_COLOR", "NSPROV_DEBUG"})
"""What nsprov sets for itself."""


class Account(NamedTuple):
    """Who runs a command, as the node knows him."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    name: str = ""
    home: str = "/"
    shell: str = SHELL


def of_caller(variables: Mapping[str, str]) -> dict[str, str]:
    """Give what of the caller's environment is about his terminal and his language: that holds in every node."""
    return {name: value for name, value in variables.items() if name == "TERM" or name.startswith(_LOCALE)}


def clean(caller: Mapping[str, str], account: Account) -> dict[str, str]:
    """Give the environment of an account, and of the caller only his terminal and his language."""
    return {"PATH": PATH, **of_caller(caller), **_of_account(account)}


def inherited(variables: Mapping[str, str], caller: Mapping[str, str], account: Account | None) -> dict[str, str]:
    """Give the environment that we have ourselves, without what would change how programs load, and our own.

    Its language is ours to set on the way through sudo, so the caller's takes its place.
    """
    kept = {
        name: value
        for name, value in variables.items()
        if not name.startswith(("LD_", "PYTHON", *_LOCALE)) and name not in _OWN
    }
    return {**kept, **of_caller(caller), **(_of_account(account) if account else {})}


def _of_account(account: Account) -> dict[str, str]:
    name = account.name or str(account.uid)
    return {"HOME": account.home, "USER": name, "LOGNAME": name, "SHELL": account.shell}
