"""Run a command in a node of this host: for a user who is root here, or for a controller over its channel."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import struct
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from nsprov.agent import frames
from nsprov.errors import Diagnostic, InputError
from nsprov.init import passwd
from nsprov.kernel import entering, environment, processes, terminals
from nsprov.kernel.entering import Errand
from nsprov.kernel.environment import Account
from nsprov.kernel.lab import labs
from nsprov.kernel.machine import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nsprov.kernel.entering import Way
    from nsprov.kernel.running import Running


_STREAMS, _STDERR = 3, 2


class Screen(Protocol):
    """The caller's terminal, or what stands for it."""

    def size(self) -> tuple[int, int]:
        """Give its rows and columns."""

    def lent(self, notify: Callable[[int], None], *, raw: bool) -> contextlib.AbstractContextManager[None]:
        """Lend it to a command: pass keys on as they are if `raw`, and give the signals that we get."""


def errand(request: Mapping[str, Any]) -> Errand:
    """Read what is to be run from a request; it is checked where it is used, in the node."""
    return Errand(
        argv=tuple(str(word) for word in request["argv"]),
        user=str(request["user"]) if "user" in request else None,
        directory=str(request["directory"]) if "directory" in request else None,
        variables=_texts(request.get("variables", {})),
        caller=environment.of_caller(_texts(request.get("caller", {}))),
        callers_shell=str(request.get("shell", environment.SHELL)),
    )


def _texts(variables: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in variables.items()}


def run(lab: str, request: Mapping[str, Any], screen: Screen, *, terminal: bool | None) -> int:
    """Run a command in a node of this host, as `run_on` does.

    Raises:
        NothingMatched: the lab has no such node on this host.

    """
    return run_on(_way(lab, request), errand(request), screen, terminal=terminal)


def run_on(way: Way, wanted: Errand, screen: Screen, *, terminal: bool | None) -> int:
    """Run a command on a new terminal, or if that is not said, where we are on one ourselves; give its exit code.

    Without need for another process this one becomes the command, and does not come back.
    """
    ours = {fd for fd in range(_STREAMS) if os.isatty(fd)}
    if terminal is None:
        terminal = {0, 1} <= ours
    if not terminal and not ours and not way.to_processes and terminals.leave():
        _become(way, wanted)
    from nsprov.kernel import starting  # noqa: PLC0415 - for start-up: mostly it is not needed

    size = screen.size() if terminal else None
    streams = starting.Streams(size, apart=_STDERR not in ours, piped=() if terminal else tuple(sorted(ours)))
    running = starting.start(way, wanted, streams, _identified)
    way.last()

    def take(data: bytes) -> None:
        if data:
            running.feed(data)
        elif 0 in ours:
            running.hang_up()  # in raw mode the end of input is a key, so this is the end of our own terminal
        else:
            running.end_input()

    with screen.lent(lambda number: _notice(running, screen, number), raw=terminal):
        return running.attend(0 if terminal or 0 in ours else None, take)


def _notice(running: Running, screen: Screen, number: int) -> None:
    """Pass on a signal that we got; on a terminal of its own a command goes on while we are stopped."""
    if number == signal.SIGWINCH:
        running.resize(*screen.size())
    elif number == signal.SIGTSTP and not running.terminal:
        running.signal(signal.SIGSTOP)  # to SIGTSTP a session is deaf in which nobody could let it go on (setpgid(2))
    elif number != signal.SIGTSTP:
        running.signal(number)


def serve(lab: str, request: Mapping[str, Any], reply: Callable[[], None]) -> NoReturn:
    """Run a command in a node of this host, as `serve_on` does.

    Raises:
        NothingMatched: the lab has no such node on this host.

    """
    serve_on(_way(lab, request), request, reply)


def serve_on(way: Way, request: Mapping[str, Any], reply: Callable[[], None]) -> NoReturn:
    """Run a command on the descriptors that a conversation went over until now, and exit as it does.

    `reply` is called once it is certain that there will be a command. A controller that asks for a terminal sends frames.
    """
    wanted, size = errand(request), request.get("terminal")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the agent ignores it, a command must not inherit that
    if size is None and not way.to_processes:
        _become(way, wanted, reply)
    from nsprov.kernel import starting  # noqa: PLC0415 - for start-up, as above

    streams = starting.Streams(size and (int(size[0]), int(size[1])), apart=bool(request.get("apart")))
    running = starting.start(way, wanted, streams, _identified)
    way.last()
    reply()
    os._exit(running.attend(None if size is None else 0, _framed(running)))


def _way(lab: str, request: Mapping[str, Any]) -> Way:
    with _limits_kept():
        return entering.way(Kernel(lab), str(request["node"]))


def _framed(running: Running) -> Callable[[bytes], None]:
    """Give what understands a controller's frames."""
    reader = frames.Reader()

    def take(piece: bytes) -> None:
        try:
            for kind, payload in reader.take(piece):
                _obey(running, kind, payload)
        except (InputError, struct.error, ValueError):
            piece = b""
        if not piece:  # whoever is there speaks no language of ours, or is gone
            running.hang_up()

    return take


def _obey(running: Running, kind: bytes, payload: bytes) -> None:
    if kind == frames.DATA:
        running.feed(payload)
    elif kind == frames.RESIZE:
        running.resize(*frames.size(payload))
    elif kind == frames.SIGNAL:
        running.signal(signal.Signals(payload[0]))
    elif kind == frames.END:
        running.end_input()


def _become(way: Way, wanted: Errand, reply: Callable[[], None] = lambda: None) -> NoReturn:
    """Enter the node and become the command."""
    arrival = entering.enter(way)
    program = entering.settle(arrival, wanted, entering.account(arrival, wanted, _identified))
    reply()
    processes.become(program)


def _identified(user: str) -> Account:
    """Find an account in the node's own files; InputError if there is none."""
    try:
        return Account(*passwd.resolve(user))
    except (LookupError, ValueError, OSError) as problem:
        words = f"{problem.strerror}: {problem.filename}" if isinstance(problem, OSError) and problem.strerror else problem
        raise InputError(Diagnostic(f"{user!r} is nobody in the node", "-u", f"{words}.")) from problem


@contextlib.contextmanager
def _limits_kept() -> Iterator[None]:
    """Let a command have the limit of open files that we were given, although we take more for ourselves."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def labs_with(node: str) -> list[str]:
    """Give the labs on this host that have a node of that name."""
    with _limits_kept():
        return [lab for lab in labs() if node in Kernel(lab).discover()]
