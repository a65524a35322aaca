"""The one command line that starts an agent: become root, find a Python, run `nsprov.agent.boot` in it.

The same line serves SSH and the local sudo.
It is one physical line without `!` and backslashes, because the login shell that reads it may be a csh or a fish.
Everything that comes from a user is a quoted positional argument of `/bin/sh`, never part of its script.
"""

from __future__ import annotations

import ast
import base64
import shlex
import threading
import zlib
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsprov.transport.become import Become

_READING = threading.Lock()

TOO_OLD, NO_CTYPES = 98, 99
"""Exit codes by which a Python says that it is older than 3.9, or that it lacks ctypes."""

_PYTHONS = ("/usr/libexec/platform-python", "/usr/bin/python3", *(f"python3.{minor}" for minor in range(14, 8, -1)), "python3")

_GATE = f"""\
import sys
sys.version_info < (3, 9) and sys.exit({TOO_OLD})
try: import ctypes
except ImportError: sys.exit({NO_CTYPES})
exec(sys.argv[3])
main(*sys.argv[1:3])
"""

# A Python that is missing, too old or lacks ctypes exits before it reads stdin, so the next one can be tried.
# pyenv's shims are shell scripts that take 100 ms and may lead nowhere.
_FIND = """\
gate=$1 first=$2 second=$3 main=$4; shift 4; seen=; \
for p in "$@"; do \
case $p in */*) ;; *) p=$(command -v "$p") || continue;; esac; \
case $p in */shims/*) continue;; esac; \
[ -x "$p" ] || { seen="$seen $p=127"; continue; }; \
"$p" -I -S -c "$gate" "$first" "$second" "$main"; rc=$?; \
case $rc in 98|99) seen="$seen $p=$rc";; *) exit $rc;; esac; \
done; echo "$0 none$seen"; exit 97"""


def command(digest: str, token: str, *, python: str | None, become: Become | None) -> str:
    """Build the command line.

    Args:
        digest: the sha256 of the archive that the controller has.
        token: a random word; the agent's first line of output starts with it, and so does sudo's prompt.
        python: the only interpreter to try, or `None` to look for one.
        become: `None` to stay who one is.

    """
    argv = _found("boot.py", (digest, token), token, python)
    if become is not None:
        argv = become.wrapped(argv, token)
        if become.on_terminal:
            answers = "yes" if become.method == "doas" and become.password else ""
            argv = _found("ontty.py", ("exec " + shlex.join(argv), answers), token, python)
    return "exec " + shlex.join(argv)


def _found(module: str, arguments: tuple[str, str], token: str, python: str | None) -> list[str]:
    """Give the command line that looks for a Python and runs a module of the agent's in it."""
    argv = ["/bin/sh", "-c", _FIND, token, _one_line(_GATE), *arguments, _one_line(source(module))]
    return argv + ([python] if python else list(_PYTHONS))


def source(module: str = "boot.py") -> str:
    """Read a module of `nsprov.agent` without its comments and docstrings, once for all threads: it takes 8 ms."""
    with _READING:
        return _source(module)


@lru_cache(maxsize=2)
def _source(module: str) -> str:
    tree = ast.parse(files("nsprov.agent").joinpath(module).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _one_line(text: str) -> str:
    """Write a Python source as one line of Python that means the same to every shell and every Python.

    It has no `!`, which csh would replace, and no backslash, which fish heeds between quotes.
    """
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return f'import binascii, zlib; exec(zlib.decompress(binascii.a2b_base64("{packed}")))'
