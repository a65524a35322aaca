"""Ask the init of a node, from the agent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, KernelError
from nsprov.init.protocol import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Message = Mapping[str, Any]

_AT_ONCE = 1 << 16
_QUEUE = 0.005
_LONGEST_PATH = 107  # of a Unix socket: sun_path, and a zero byte


def ask(path: str, message: Message, fds: Sequence[int] = (), timeout: float = 5.0) -> dict[str, Any]:
    """Ask the init that listens at `path`, handing over descriptors, and give its answer within `timeout` seconds.

    Raises:
        KernelError: nobody listens there, or it says no, or nothing.

    """
    with contextlib.ExitStack() as stack:
        return _answer(path, _asked(stack, path, message, fds, timeout), time.monotonic() + timeout)


def ask_all(paths: Sequence[str], message: Message, timeout: float = 60.0) -> list[dict[str, Any]]:
    """Ask many inits the same at a time, and give their answers; `{"error": words}` is that of one that has none."""
    return ask_each([(path, message) for path in paths], timeout)


def ask_each(requests: Sequence[tuple[str, Message]], timeout: float = 60.0) -> list[dict[str, Any]]:
    """Ask inits at a time, each `(path, message)` over a connection of its own, and give their answers as `ask_all` does."""
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        asked = [(path, _asked_or_not(stack, path, message, deadline)) for path, message in requests]
        return [_answer_or_words(path, one, deadline) for path, one in asked]


def stream(path: str, message: Message, timeout: float | None = None) -> Iterator[dict[str, Any]]:
    """Ask for what has no end, and give each line of it, until the init is gone or `timeout` seconds bring none.

    Raises:
        KernelError: nobody listens there, or it says no.

    """
    with contextlib.ExitStack() as stack:
        connection = _asked(stack, path, message, (), timeout)
        kept = _answer_line(path, connection)
        while True:
            line, end, rest = kept.partition(b"\n")
            if end:
                kept = rest
                yield json.loads(line)
                continue
            try:
                more = connection.recv(_AT_ONCE)
            except (socket.timeout, ConnectionError):
                return
            if not more:
                return
            kept += more


def subscribe(path: str, message: Message, timeout: float = 5.0) -> tuple[socket.socket, bytes]:
    """Ask for what has no end, and give the connection that it comes over and what has come already; the caller closes it.

    Raises:
        KernelError: nobody listens there, or it says no.

    """
    with contextlib.ExitStack() as stack:
        connection = _asked(stack, path, message, (), timeout)
        kept = _answer_line(path, connection)
        stack.pop_all()
    return connection, kept


def _asked(
    stack: contextlib.ExitStack, path: str, message: Message, fds: Sequence[int], timeout: float | None
) -> socket.socket:
    """Connect and send a request."""
    connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    connection.settimeout(timeout)
    line = encode(message)
    try:
        with _reachable(path) as short:
            _connect(connection, short, timeout)
        with contextlib.suppress(BrokenPipeError):  # it has answered before it had heard it all
            connection.sendall(line[socket.send_fds(connection, [line], list(fds)) :])
    except OSError as problem:
        raise _unreachable(path, problem) from problem
    return connection


def _connect(connection: socket.socket, path: str, timeout: float | None) -> None:
    """Connect, and wait while more others do than can queue: a socket with a timeout is told EAGAIN at once."""
    deadline = time.monotonic() + (timeout or 0)
    while True:
        number = connection.connect_ex(path)
        if number == 0:
            return
        if number != errno.EAGAIN or time.monotonic() > deadline:
            raise OSError(number, os.strerror(number))
        time.sleep(_QUEUE)


def _asked_or_not(
    stack: contextlib.ExitStack, path: str, message: Message, deadline: float
) -> socket.socket | KernelError:
    try:
        return _asked(stack, path, message, (), max(0.01, deadline - time.monotonic()))
    except KernelError as problem:
        return problem


def _answer(path: str, connection: socket.socket, deadline: float) -> dict[str, Any]:
    """Read one line."""
    parts: list[bytes] = []
    try:
        while not (parts and parts[-1].endswith(b"\n")):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            parts.append(connection.recv(_AT_ONCE))
            if not parts[-1]:
                raise ConnectionResetError(errno.ECONNRESET, "it has ended")
    except OSError as problem:
        raise _unreachable(path, problem) from problem
    return _checked(path, b"".join(parts))


def _answer_line(path: str, connection: socket.socket) -> bytes:
    """Read the first line of a stream, and give what came behind it."""
    data = b""
    while b"\n" not in data:
        try:
            more = connection.recv(_AT_ONCE)
        except OSError as problem:
            raise _unreachable(path, problem) from problem
        if not more:
            raise _unreachable(path, ConnectionResetError(errno.ECONNRESET, "it has ended"))
        data += more
    line, _, rest = data.partition(b"\n")
    _checked(path, line)
    return rest


def _answer_or_words(path: str, asked: socket.socket | KernelError, deadline: float) -> dict[str, Any]:
    try:
        if isinstance(asked, KernelError):
            raise asked
        return _answer(path, asked, deadline)
    except KernelError as problem:
        found = problem.diagnostics[0]
        return {"error": f"{found.summary}: {found.detail}" if found.detail else found.summary}


def _checked(path: str, line: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(line)
    except ValueError as problem:
        raise _unreachable(path, OSError(errno.EPROTO, "what it says is not understood")) from problem
    if "error" in reply:
        words = str(reply["error"])
        raise KernelError(Diagnostic(f"the init of a node says no: {words}", _node(path)), errno.EINVAL)
    return dict(reply)


def _unreachable(path: str, problem: OSError) -> KernelError:
    number = problem.errno or errno.ETIMEDOUT  # a timeout of ours has none
    hint = "see @init.log in the directory of the node's logs, then run `nsprov up` again"
    return KernelError(Diagnostic("the init of a node does not answer", _node(path), f"{os.strerror(number)}.", hint), number)


def _node(path: str) -> str:
    return os.path.basename(path).partition(".sock")[0]


@contextlib.contextmanager
def _reachable(path: str) -> Iterator[str]:
    """Give a path that fits into an address: a long one goes by a descriptor of its directory."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield path
        return
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)
