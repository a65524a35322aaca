"""Secrets from the user: typed on the terminal, each once, or read from a file."""

from __future__ import annotations

import contextlib
import getpass
import os
import subprocess
import sys
from functools import lru_cache

from nsprov.errors import Diagnostic, InputError


def on_terminal() -> bool:
    """Tell whether there is somebody to ask: what stdin is does not matter."""
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return False


@lru_cache
def once(prompt: str, option: str, otherwise: str) -> str:
    """Ask for a secret that `option` promised; the same question is not asked again.

    Raises:
        InputError: there is nobody to ask; the hint says what to do `otherwise`.

    """
    if not on_terminal():
        raise InputError(Diagnostic("there is no terminal to ask for a password", option, hint=otherwise))
    return ask(prompt)


def ask(prompt: str) -> str:
    """Ask on the terminal, which does not show the answer; the end of input is an empty one."""
    try:
        return getpass.getpass(prompt)
    except EOFError:
        return ""


@lru_cache
def from_file(path: str, option: str) -> str:
    """Read the first line of a file, of stdin if it is "-", or of what it says if it is a program, as Ansible does.

    Raises:
        InputError: there is no such file, or nothing in it.

    """
    try:
        if path == "-":
            text = sys.stdin.readline()
        elif os.access(path, os.X_OK) and os.path.isfile(path):
            done = subprocess.run([os.path.abspath(path)], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - the user's
            text = done.stdout
        else:
            with open(path, encoding="utf-8") as file:
                text = file.readline()
    except (OSError, ValueError) as problem:
        raise InputError(Diagnostic("the password file cannot be read", option, str(problem))) from problem
    except subprocess.CalledProcessError as problem:
        detail = f'"{path}" ended with exit code {problem.returncode}'
        raise InputError(Diagnostic("the password program failed", option, detail)) from problem
    found = text.splitlines()[0] if text else ""
    if not found:
        raise InputError(Diagnostic("the password file is empty", option, hint="write the password into its first line"))
    return found
