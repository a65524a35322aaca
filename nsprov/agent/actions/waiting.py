"""`ping`, and `wait_for`: a port, a path, a pattern in either, or only time."""

from __future__ import annotations

import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.agent.actions.terms import Terms

    Args = Mapping[str, Any]
    Result = dict[str, Any]

_TIMEOUT = 300
_LOOK_UP = 0.2
"""Seconds between two looks at whether the controller is still there."""

_GONE = ("stopped", "absent", "drained")
_STATES = ("started", "present", *_GONE)
_MOST = 1 << 20
"""How much of a file or of what a port says is searched."""


def ping(args: Args, _terms: Terms) -> Result:
    """Say that we are here."""
    if args.get("data") == "crash":
        return {"changed": False, "failed": True, "msg": "boom"}
    return {"changed": False, "ping": args.get("data", "pong")}


def wait_for(args: Args, terms: Terms) -> Result:
    """Wait until something is there, or gone; with nothing to wait for, wait."""
    if terms.check:
        return {"changed": False, "skipped": True, "msg": "remote module (wait_for) does not support check mode"}
    began = time.monotonic()
    timeout, pause = float(args.get("timeout", _TIMEOUT)), float(args.get("sleep", 1))
    state = str(args.get("state", "started"))
    if state not in _STATES:
        return {"changed": False, "failed": True, "msg": f"wait_for cannot wait for {state}: use one of {', '.join(_STATES)}"}
    gone = state in _GONE
    there = _test(args, terms)
    _sleep(float(args.get("delay", 0)), terms)
    while True:
        passed = time.monotonic() - began
        if there is not None and there() is not gone:
            return {**_about(args, state), "elapsed": int(passed)}
        if passed >= timeout:
            break
        _sleep(min(pause, timeout - passed), terms)
    if there is None:
        return {**_about(args, state), "elapsed": int(timeout)}
    message = str(args.get("msg") or f"Timeout when waiting {'to stop' if gone else 'for'} {_subject(args)}")
    return {"changed": False, "failed": True, "elapsed": int(time.monotonic() - began), "msg": message}


def _subject(args: Args) -> str:
    subject = str(args["path"]) if "path" in args else f"{args.get('host', '127.0.0.1')}:{args['port']}"
    return f"search string {args['search_regex']} in {subject}" if args.get("search_regex") else subject


def _about(args: Args, state: str) -> Result:
    path = args.get("path")
    if path is not None and os.path.exists(str(path)):
        state = "directory" if os.path.isdir(str(path)) else "file"
    return {"changed": False, "state": state, "path": path, "port": args.get("port")}


def _sleep(seconds: float, terms: Terms) -> None:
    """Sleep, and look up now and then."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK_UP))
        terms.heed()


def _test(args: Args, terms: Terms) -> Callable[[], bool] | None:
    wanted = None if args.get("search_regex") is None else re.compile(str(args["search_regex"]).encode(), re.MULTILINE)
    if "path" in args:
        path = os.path.expanduser(str(args["path"]))
        return lambda: _in_file(path, wanted)
    if "port" in args:
        host, port = str(args.get("host", "127.0.0.1")), int(args["port"])
        patience = float(args.get("connect_timeout", 5))
        return lambda: _at_port(host, port, patience, wanted, terms)
    return None


def _in_file(path: str, wanted: re.Pattern[bytes] | None) -> bool:
    if wanted is None:
        return os.path.exists(path)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return wanted.search(file.read(_MOST) or b"") is not None
    except OSError:
        return False


def _at_port(host: str, port: int, patience: float, wanted: re.Pattern[bytes] | None, terms: Terms) -> bool:
    """Tell whether something listens there, and says what is wanted within so many seconds."""
    deadline = time.monotonic() + patience
    try:
        connection = socket.create_connection((host, port), patience)
    except OSError:
        return False
    with connection:
        said = b""
        while wanted is not None and wanted.search(said) is None:
            left = deadline - time.monotonic()
            if left <= 0 or len(said) > _MOST:
                return False
            connection.settimeout(min(left, _LOOK_UP))
            terms.heed()
            try:
                data = connection.recv(4096)
            except socket.timeout:
                continue
            except OSError:
                return False
            if not data:
                return False
            said += data
        return True
