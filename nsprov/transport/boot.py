"""The one command line that starts an agent: become root, find a Python, run `nsprov.agent.boot` in it.

The same line serves SSH and the local sudo.
It is one physical line without `!`, because the login shell that reads it may be a csh.
Everything that comes from a user is a quoted positional argument of `/bin/sh`, never part of its script.
"""

from __future__ import annotations

import ast
import shlex
from functools import lru_cache
from importlib.resources import files

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
gate=$1 sha=$2 token=$3 boot=$4; shift 4; seen=; \
for p in "$@"; do \
case $p in */*) ;; *) p=$(command -v "$p") || continue;; esac; \
case $p in */shims/*) continue;; esac; \
[ -x "$p" ] || { seen="$seen $p=127"; continue; }; \
"$p" -I -S -c "$gate" "$sha" "$token" "$boot"; rc=$?; \
case $rc in 98|99) seen="$seen $p=$rc";; *) exit $rc;; esac; \
done; echo "$token none$seen"; exit 97"""


def command(digest: str, token: str, *, python: str | None, become: str | None) -> str:
    """Build the command line.

    Args:
        digest: the sha256 of the archive that the controller has.
        token: a random word; the agent's first line of output starts with it, and so does sudo's prompt.
        python: the only interpreter to try, or `None` to look for one.
        become: `None` to stay who one is, "ask" for sudo with a prompt, "never" for sudo that must not ask.

    """
    argv = ["/bin/sh", "-c", _FIND, "nsprov", _one_line(_GATE), digest, token, _one_line(source())]
    argv += [python] if python else _PYTHONS
    if become is not None:
        asking = ["-n"] if become == "never" else ["-S", "-p", prompt(token)]
        argv = ["env", "LC_ALL=C", "LANGUAGE=C", "sudo", *asking, "--", *argv]
    return "exec " + shlex.join(argv)


def prompt(token: str) -> str:
    """Give the text by which sudo asks for the password, and nothing else on the host can."""
    return f"[{token}] "


@lru_cache(maxsize=1)
def source() -> str:
    """Read `nsprov.agent.boot` without its comments and docstrings."""
    tree = ast.parse(files("nsprov.agent").joinpath("boot.py").read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _one_line(text: str) -> str:
    """Write a Python source as one line of Python; `!` becomes an escape for csh's sake."""
    return f"exec({text!r})".replace("!", "\\x21")
