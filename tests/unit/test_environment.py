"""What a command in a node finds in its environment."""

from __future__ import annotations

from nsprov.kernel import environment
from nsprov.kernel.environment import Account

BOB = Account(1000, 1000, name="bob", home="/home/bob", shell="/bin/dash")


def test_clean():
    """Nothing but what is known of the account, and what the caller has for a terminal and a language."""
    caller = {"TERM": "vt100", "LC_ALL": "C", "LANG": "de_DE", "SECRET": "x", "LD_PRELOAD": "x", "TERMINFO": "/x"}

    assert environment.clean(caller, BOB) == {
        "PATH": environment.PATH,
        "HOME": "/home/bob",
        "USER": "bob",
        "LOGNAME": "bob",
        "SHELL": "/bin/dash",
        "TERM": "vt100",
        "LC_ALL": "C",
        "LANG": "de_DE",
    }


def test_an_account_without_a_name():
    """It has a number."""
    assert environment.clean({}, Account(7, 7))["USER"] == "7"


def test_inherited():
    """What changes how programs load goes, and what nsprov has set; the language is the caller's and not that of the way."""
    ours = {"A": "b", "LD_PRELOAD": "x", "PYTHONPATH": "x", "NSPROV_DEBUG": "1", "LC_ALL": "C", "HOME": "/root", "TERM": "dumb"}

    assert environment.inherited(ours, {"LANG": "de_DE"}, None) == {"A": "b", "HOME": "/root", "TERM": "dumb", "LANG": "de_DE"}
    assert environment.inherited(ours, {}, BOB)["HOME"] == "/home/bob"
