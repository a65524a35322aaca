"""Make a message of a task: what a host gets to do, with the content of files and templates in it."""

from __future__ import annotations

import base64
import os
import stat
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.kinds import SCHEMAS
from nsprov.playbook import modules
from nsprov.playbook.model import RAW
from nsprov.playbook.running import resources
from nsprov.render.filters import to_bool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.playbook.running.record import Result

Step = dict[str, Any]

LARGEST = 64 << 20
"""How many bytes one task may send to a host."""



def step(module: str, args: Mapping[str, Any], lab: str, find: Callable[[str, str], str], fill: Callable[[str], str]) -> Step:
    """Give what a host is to do for a task; the arguments are filled in, `find` finds a file and `fill` a template.

    Raises:
        InputError: an argument is wrong, or a file is not there or too large.

    """
    if module in SCHEMAS:
        return {"resource": resources.resource(module, args, lab)}
    maker = {"script": _script, "copy": _copy, "template": _template}.get(module)
    if maker is not None:
        return maker(args, find, fill)
    if module in modules.FREE:
        return {"action": module, "args": _command(args)}
    return {"action": module, "args": dict(args)}


def _command(args: Mapping[str, Any]) -> dict[str, Any]:
    found = {("cmd" if key == RAW else key): value for key, value in args.items()}
    if not found.get("cmd") and not found.get("argv"):
        raise InputError(Diagnostic("there is no command to run", hint="write it behind the module's name"))
    if "argv" in found:
        found["argv"] = [str(word) for word in found["argv"]]
    return found


def _script(args: Mapping[str, Any], find: Callable[[str, str], str], _fill: Callable[[str], str]) -> Step:
    given = _command(args)
    name, _, rest = str(given.pop("cmd")).partition(" ")
    return {"action": "script", "args": {**given, "content": _encoded(find("files", name)), "name": name, "rest": rest}}


def _copy(args: Mapping[str, Any], find: Callable[[str, str], str], _fill: Callable[[str], str]) -> Step:
    given = dict(args)
    if "content" in given:
        content = given.pop("content")
        text = content if isinstance(content, str) else _json(content)
        return {"action": "copy", "args": {**given, "content": base64.b64encode(text.encode()).decode()}}
    if "src" not in given:
        raise InputError(Diagnostic('"copy" needs "src" or "content"', hint="say what to copy"))
    if to_bool(given.get("remote_src", False)):
        return {"action": "copy", "args": given}
    name = str(given.pop("src"))
    path = find("files", name)
    if os.path.isdir(path):
        return {
            "action": "copy",
            "args": {**given, "tree": _tree(path), "name": "" if name.endswith("/") else os.path.basename(path)},
        }
    if given.get("mode") == "preserve":
        given["mode"] = f"{stat.S_IMODE(os.stat(path).st_mode):04o}"
    return {"action": "copy", "args": {**given, "content": _encoded(path), "name": os.path.basename(path)}}


def _template(args: Mapping[str, Any], find: Callable[[str, str], str], fill: Callable[[str], str]) -> Step:
    given = dict(args)
    name = str(given.pop("src"))
    text = fill(find("templates", name))
    content = base64.b64encode(text.encode()).decode()
    return {"action": "copy", "args": {**given, "content": content, "name": os.path.basename(name)}}


def _tree(folder: str) -> list[dict[str, Any]]:
    """Give what is in a folder, parents first; a file has its content."""
    found: list[dict[str, Any]] = []
    for here, folders, files in os.walk(folder):
        folders.sort()
        for name in [*folders, *sorted(files)]:
            path = os.path.join(here, name)
            row: dict[str, Any] = {"path": os.path.relpath(path, folder), "mode": stat.S_IMODE(os.stat(path).st_mode)}
            found.append(row if name in folders else {**row, "content": _encoded(path)})
    if sum(len(row.get("content", "")) for row in found) > LARGEST:
        raise InputError(Diagnostic("the folder is too large to send", folder, hint="pack it, or fetch it from the host"))
    return found


def _encoded(path: str) -> str:
    try:
        if os.path.getsize(path) > LARGEST:
            raise InputError(Diagnostic("the file is too large to send", path, hint="fetch it from the host, as with curl"))
        with open(path, "rb") as file:
            return base64.b64encode(file.read()).decode()
    except OSError as problem:
        raise InputError(Diagnostic("the file cannot be read", path, f"{problem.strerror}.")) from problem


def _json(value: Any) -> str:
    import json  # noqa: PLC0415 - start-up time: content is a text nearly always

    return json.dumps(value)


def fetched(args: Mapping[str, Any], host: str, folder: str, result: Result) -> Result:
    """Write down what a host has given of a file, and say whether that was news."""
    if "content" not in result or result.get("failed"):
        return result
    content = base64.b64decode(result.pop("content"))
    source, dest = str(args["src"]), os.path.join(folder, str(args["dest"]))
    if to_bool(args.get("flat", False)):
        path = os.path.join(dest, os.path.basename(source)) if str(args["dest"]).endswith("/") else dest
    else:
        # Below a folder of the host's own, and nowhere else: the source is a path of the host's.
        path = os.path.join(dest, host, os.path.normpath("/" + source).lstrip("/"))
    try:
        with open(path, "rb") as file:
            same = file.read() == content
    except OSError:
        same = False
    if not same:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    return {**result, "changed": not same, "dest": path}
