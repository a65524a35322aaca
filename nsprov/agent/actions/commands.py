"""`command`, `shell` and `script`: they run each time, unless `creates` or `removes` say that there is no need."""

from __future__ import annotations

import base64
import datetime as dt
import glob
import os
import shlex
import tempfile
from typing import TYPE_CHECKING, Any

from nsprov.agent.actions.terms import truth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.agent.actions.terms import Terms

    Result = dict[str, Any]

_SHELL = "/bin/sh"
_NOT_FOUND = 2
"""What Ansible gives as exit code of a program that is not there (ENOENT)."""


def command(args: Mapping[str, Any], terms: Terms) -> Result:
    """Run a program, without a shell; variables in its arguments are those of the environment."""
    given = [str(word) for word in args.get("argv") or shlex.split(str(args["cmd"]))]
    return _run([terms.filled(word) for word in given], given, args, terms)


def shell(args: Mapping[str, Any], terms: Terms) -> Result:
    """Run a line of shell."""
    line = str(args.get("cmd") or shlex.join(map(str, args.get("argv", ()))))
    return _run([str(args.get("executable", _SHELL)), "-c", line], line, args, terms)


def script(args: Mapping[str, Any], terms: Terms) -> Result:
    """Run a script of the controller's; it is a file on the host as long as it runs."""
    name = str(args["name"])
    given = {**args, "stdin": None, "strip_empty_ends": False}  # as Ansible has it
    if terms.check or _needless(args, terms) is not None:
        return _run([name], name, given, terms)
    with tempfile.TemporaryDirectory(prefix="nsprov-") as folder:
        path = os.path.join(folder, os.path.basename(name))
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700), "wb") as file:
            file.write(base64.b64decode(args["content"]))
        before = shlex.split(str(args.get("executable") or ""))
        return _run([*before, path, *shlex.split(str(args.get("rest") or ""))], name, given, terms)


def _run(argv: Sequence[str], shown: Any, args: Mapping[str, Any], terms: Terms) -> Result:
    known = _needless(args, terms) or (_unknown(certain=_conditional(args)) if terms.check else None)
    if known is not None:
        return {**known, "cmd": shown}
    began = dt.datetime.now()  # noqa: DTZ005 - the host's own time, as Ansible gives it
    stdin = args.get("stdin")
    if stdin is not None:
        stdin = f"{stdin}\n" if truth(args.get("stdin_add_newline", True)) else str(stdin)
    try:
        ran = terms.run(argv, stdin, _folder(args, terms) or None)
    except OSError as problem:
        word = os.fsdecode(problem.filename or argv[0])
        message = f"{word}: {problem.strerror}"
        return {"changed": False, "failed": True, "rc": _NOT_FOUND, "cmd": shown, "stdout": "", "stderr": "", "msg": message}
    ended = dt.datetime.now()  # noqa: DTZ005 - as above
    strip = truth(args.get("strip_empty_ends", True))
    result: Result = {
        "changed": True,
        "cmd": shown,
        "rc": ran.code,
        "stdout": ran.out.rstrip("\r\n") if strip else ran.out,
        "stderr": ran.err.rstrip("\r\n") if strip else ran.err,
        "start": str(began),
        "end": str(ended),
        "delta": str(ended - began),
        "msg": "",
    }
    return {**result, "failed": True, "msg": "non-zero return code"} if ran.code else result


def _conditional(args: Mapping[str, Any]) -> bool:
    return bool(args.get("creates") or args.get("removes"))


def _folder(args: Mapping[str, Any], terms: Terms) -> str:
    return terms.filled(str(args.get("chdir") or ""))


def _needless(args: Mapping[str, Any], terms: Terms) -> Result | None:
    """Give the result of what need not run; both are patterns of paths, as in Ansible."""
    found: Result = {"changed": False, "rc": 0, "stderr": ""}
    for word, there in (("creates", True), ("removes", False)):
        if not args.get(word):
            continue
        pattern = os.path.join(_folder(args, terms), terms.filled(str(args[word])))
        if bool(glob.glob(pattern)) is there:
            why = f"{args[word]} exists" if there else f"{args[word]} does not exist"
            subject = f"'{args[word]}' exists" if there else f"'{args[word]}' does not exist"
            return {**found, "stdout": f"skipped, since {why}", "msg": f"Did not run command since {subject}"}
    return None


def _unknown(*, certain: bool) -> Result:
    """Give the result of a check of what would run: with `creates` or `removes` it is a change, else nobody knows."""
    found: Result = {"changed": certain, "rc": 0, "stdout": "", "stderr": ""}
    return {**found, **({} if certain else {"skipped": True}), "msg": "Command would have run if not in check mode"}
