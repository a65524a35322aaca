"""Reach this host: a forked agent when we are root, else the same boot as over SSH, through sudo."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from nsprov.agent.protocol import LineChannel
from nsprov.errors import Diagnostic, Unreachable
from nsprov.transport import conversation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.transport.session import Host, Session
    from nsprov.transport.terminal import Screen

_CLOSING = 30.0  # seconds that an agent may take to roll back and exit


def connect(host: Host) -> Session:
    """Start an agent on this host."""
    if os.geteuid() == 0 and threading.active_count() == 1:
        return ForkSession(host.name)
    from nsprov.agent import bundle  # noqa: PLC0415 - not needed by root

    return through_pipes(host, bundle.bundle)


def through_pipes(host: Host, archive: conversation.Archive) -> Session:
    """Start the agent of `archive` by the same command line as over SSH."""
    session = conversation.open_session(host, PipeWire, archive)
    session.facts = {**session.facts, "connect_ms": 0.0, "exec_channels": 0, "warnings": ()}
    return session


class ForkSession:
    """A session with a child of this process, over a socket pair."""

    def __init__(self, host: str) -> None:
        """Fork the agent."""
        began = time.monotonic()
        self.host = host
        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            _become_agent(theirs.fileno())
        theirs.close()
        self._socket = ours
        self._channel = LineChannel(ours.fileno(), ours.fileno())
        self.facts: Mapping[str, Any] = {
            "connect_ms": 0.0,
            "boot_ms": round((time.monotonic() - began) * 1000, 1),
            "cached": True,
            "python": ".".join(map(str, sys.version_info[:3])),
            "exec_channels": 0,
            "warnings": (),
        }

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; Unreachable when the agent has gone."""
        try:
            self._channel.send(message)
        except BrokenPipeError as problem:
            raise Unreachable(Diagnostic(summary="the agent has gone", where=self.host)) from problem

    def receive(self, patience: float | None = None) -> dict[str, Any] | None:
        """Wait for the next message; `None` when the agent has closed, TimeoutError when nothing at all came so long."""
        return self._channel.receive(patience)

    def relay(self, source: int, out: int, err: int) -> int:
        """Refuse: root enters a node by itself, and needs no agent for it."""
        raise NotImplementedError

    def show(self, screen: Screen) -> int:
        """Refuse, as above."""
        raise NotImplementedError

    def last_words(self) -> str:
        """Give nothing: the agent's stderr is ours."""
        return ""

    def end_input(self) -> None:
        """Say that nothing more will be asked."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self, *, wait: bool = True) -> None:
        """End the conversation; the agent puts back what was not committed, and exits, for which we `wait` or not."""
        if self._pid:
            self._socket.close()
            if wait:
                os.waitpid(self._pid, 0)
            self._pid = 0


def _become_agent(channel: int) -> NoReturn:
    """Serve the controller in this new child, in its own session, holding nothing of the controller's."""
    code = 1
    try:
        os.setsid()  # Ctrl-C is the controller's to handle: it closes the channel when it wants a rollback
        os.dup2(channel, 3)
        os.closerange(4, 1 << 20)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.close(nothing)
        from nsprov.agent.engine import serve  # noqa: PLC0415 - only the child needs it

        serve(LineChannel(3, 3))
        code = 0
    except BaseException:  # noqa: BLE001 - a forked child must not return into the controller's code
        traceback.print_exc()
    finally:
        os._exit(code)


class PipeWire:
    """A command on this host, over pipes."""

    def __init__(self, command: str) -> None:
        """Start the command in its own process group, so that Ctrl-C reaches the controller only."""
        pipe = subprocess.PIPE
        argv = ["/bin/sh", "-c", command]  # built by nsprov.transport.boot, which quotes
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0)  # noqa: S603
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin, self._stdout, self._stderr = self._process.stdin, self._process.stdout, self._process.stderr
        os.set_blocking(self._stdin.fileno(), False)
        self._open = {self._stdout.fileno(): 0, self._stderr.fileno(): 1}
        self._held = [bytearray(), bytearray()]
        self._ended: list[int] = []

    def read(self, timeout: float | None) -> tuple[bytes, bytes]:
        """Wait for what comes next on stdout and stderr; both empty at the timeout or the end."""
        if not any(self._held):
            self._wait(timeout, writing=False)
        out, errors = map(bytes, self._held)
        self._held = [bytearray(), bytearray()]
        return out, errors

    def write(self, data: bytes) -> None:
        """Write everything, taking in what arrives meanwhile; BrokenPipeError when the command has gone."""
        view = memoryview(data)
        while view:
            if self._wait(None, writing=True):
                view = view[os.write(self._stdin.fileno(), view[: 1 << 20]) :]

    def ended(self) -> bool:
        """Tell whether nothing can come any more."""
        return not self._open and not any(self._held)

    def descriptors(self) -> Sequence[int]:
        """Give stdout and stderr."""
        return tuple(self._open)

    def closed(self) -> Sequence[int]:
        """Give those that have ended since the last call, once each."""
        ended, self._ended = self._ended, []
        return ended

    def end_input(self) -> None:
        """Close its stdin and nothing else."""
        self._stdin.close()

    def close(self) -> int | None:
        """Close its stdin, wait for its end, and give its exit code if there was one."""
        if not self._stdin.closed:
            self._stdin.close()
        deadline = time.monotonic() + _CLOSING
        while self._open and (remaining := deadline - time.monotonic()) > 0:
            self._wait(remaining, writing=False)
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic()) + 1)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self._stdout.close()
            self._stderr.close()
            self._open.clear()

    def drop(self) -> None:
        """Let go of its pipes; it becomes init's child when we end."""
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()
        self._open.clear()
        self._process.returncode = -signal.SIGHUP  # nobody waits for it any more, and subprocess need not warn of that

    def _wait(self, timeout: float | None, *, writing: bool) -> bool:
        """Take in what has arrived; tell whether stdin takes bytes."""
        poll = select.poll()
        for descriptor in self._open:
            poll.register(descriptor, select.POLLIN)
        if writing:
            poll.register(self._stdin.fileno(), select.POLLOUT)
        ready = False
        for descriptor, _ in poll.poll(None if timeout is None else timeout * 1000):
            if descriptor not in self._open:
                ready = True
                continue
            data = os.read(descriptor, 1 << 20)
            self._held[self._open[descriptor]] += data
            if not data:
                del self._open[descriptor]
                self._ended.append(descriptor)
        return ready
