"""The controller's side of a conversation with `nsprov.agent.boot`, over any wire.

It waits for a random word, so whatever a shell prints before that is noise; it answers sudo's prompt, and only that;
it sends the agent when the host does not have it.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, Unreachable
from nsprov.transport import boot, failures
from nsprov.transport.become import Become
from nsprov.transport.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nsprov.transport.relay import Wire
    from nsprov.transport.session import Host
    from nsprov.transport.terminal import Screen

BOOT_TIMEOUT = 60.0
"""How long, in seconds, a host may take from the command line to the agent's first word."""

Archive = Callable[[], tuple[bytes, str]]
"""What builds the agent: its bytes and their sha256."""

_TAIL = 16 * 1024  # bytes of stderr that are kept


class WireSession:
    """A session over a wire, after the boot."""

    def __init__(self, host: str, wire: Wire) -> None:
        """Store the wire; `open_session` gives a session that is ready."""
        self.host = host
        self.facts: Mapping[str, Any] = {}
        self.wire = wire
        self._errors = b""
        self._chunks: list[bytes] = []
        self._lines: list[bytes] = []

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; Unreachable when the agent has gone."""
        try:
            self.wire.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        except BrokenPipeError as problem:
            raise self.lost("the agent has gone") from problem

    def receive(self, patience: float | None = None) -> dict[str, Any] | None:
        """Wait for the next message; `None` when the agent has closed, TimeoutError when nothing at all came so long."""
        while not self._lines:
            if self.wire.ended():
                return None
            if not self.take(patience) and patience is not None and not self.wire.ended():
                raise TimeoutError
        try:
            message = json.loads(self._lines.pop(0))
        except ValueError as problem:
            raise self.lost("the agent said what is no message", str(problem)) from problem
        if not isinstance(message, dict):
            raise self.lost("the agent said what is no message")
        return message

    def last_words(self) -> str:
        """Give the last lines that the agent wrote to its stderr."""
        return failures.last_lines(self._errors.decode(errors="replace"))

    def end_input(self) -> None:
        """Say that nothing more will be asked."""
        self.wire.end_input()

    def close(self, *, wait: bool = True) -> None:
        """End the conversation; the agent puts back what was not committed, and exits, for which we `wait` or not."""
        if wait:
            self.wire.close()
        else:
            self.wire.drop()

    def relay(self, source: int, out: int, err: int) -> int:
        """Join the command that the agent has become to three descriptors of ours; give its exit code, 255 if it has none."""
        return Relay(self.wire, (out, err)).copy(self._said(), source)

    def show(self, screen: Screen) -> int:
        """Join the terminal that the agent has made for a command to our own; give its exit code, 255 if it has none."""
        return Relay(self.wire, (1, 2)).show(self._said(), screen)

    def _said(self) -> tuple[bytes, bytes]:
        """Give what the command has said already, behind the agent's last word."""
        return b"".join([*(line + b"\n" for line in self._lines), *self._chunks]), self._errors

    def lost(self, summary: str, detail: str = "") -> Unreachable:
        """Make the error that says why the conversation cannot go on."""
        return Unreachable(Diagnostic(summary=summary, where=self.host, detail=detail or self.last_words()))

    def take(self, timeout: float | None) -> bool:
        """Take in what arrives next; tell whether something did."""
        out, errors = self.wire.read(timeout)
        self._errors += errors
        head, *rest = out.split(b"\n")
        self._chunks.append(head)
        for line in rest:
            self._lines.append(b"".join(self._chunks))
            self._chunks = [line]
        if not self._lines:  # behind the reply that starts a command, every byte is the command's own
            self._errors = self._errors[-_TAIL:]
        return bool(out or errors)

    def line(self) -> bytes | None:
        """Give the next line, if there is one already."""
        return self._lines.pop(0) if self._lines else None

    def errors(self) -> bytes:
        """Give the end of what came on stderr."""
        return self._errors

    def forget_errors(self) -> None:
        """Drop what came on stderr until now: noise of the login shell, and sudo's prompt."""
        self._errors = b""


def open_session(host: Host, start: Callable[[str], Wire], archive: Archive) -> WireSession:
    """Run the boot on a wire that `start` makes of a command line, and give the session.

    Raises:
        Unreachable: no Python, no sudo, a wrong password, or whatever the host said instead.

    """
    become = Become(host.become_method, host.become_password is not None) if host.become else None
    try:
        return _opened(host, start, archive, become)
    except failures.NeedsTerminal as problem:
        if become is None or become.on_terminal:
            raise Unreachable(*problem.diagnostics) from problem
    try:
        return _opened(host, start, archive, replace(become, terminal=True))
    except failures.NeedsTerminal as problem:
        raise Unreachable(*problem.diagnostics) from problem


def _opened(host: Host, start: Callable[[str], Wire], archive: Archive, become: Become | None) -> WireSession:
    began = time.monotonic()
    data, digest = archive()
    token = secrets.token_hex(16)
    session = WireSession(host.name, start(boot.command(digest, token, python=host.python, become=become)))
    try:
        hello = _hello(session, host, token, become)
        if not hello["have"]:
            session.wire.write(b"%012d" % len(data) + data)
    except BrokenPipeError as problem:
        text = session.errors().decode(errors="replace")
        raise failures.explain(host.name, session.wire.close(), text, become) from problem
    except BaseException:
        session.wire.close()
        raise
    session.facts = {
        "boot_ms": round((time.monotonic() - began) * 1000, 1),
        "cached": hello["have"],
        "python": hello["python"],
        "executable": hello["executable"],
        "uid": hello["uid"],
        "exec_channels": 2 if become and become.terminal else 1,
    }
    return session


def _hello(session: WireSession, host: Host, token: str, become: Become | None) -> dict[str, Any]:
    """Wait for the boot's first word, answering the question for a password on the way."""
    deadline = time.monotonic() + BOOT_TIMEOUT
    asked = 0
    noise: list[bytes] = []
    while True:
        while (line := session.line()) is not None:
            _, mark, rest = line.partition(token.encode() + b" ")
            if mark:
                session.forget_errors()
                return _greeting(host, rest.decode(errors="replace"), session)
            noise.append(line)
        if become is not None and become.asked(session.errors(), token) > asked:
            asked += 1
            _answer(session, host, become, asked)
        if session.wire.ended():
            code = session.wire.close()
            text = b"\n".join([session.errors(), *noise[-3:]]).decode(errors="replace").replace(token, "")
            raise failures.explain(host.name, code, text, become)
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise session.lost(f"the host said nothing for {BOOT_TIMEOUT:.0f} s")
        session.take(remaining)


def _answer(session: WireSession, host: Host, become: Become, asked: int) -> None:
    """Give the password to the first question; another one means that it was wrong."""
    if host.become_password is None:
        raise failures.no_password(host.name, become)
    if asked > 1:
        raise failures.wrong_password(host.name, become)
    session.wire.write(host.become_password.reveal().encode() + b"\n")


def _greeting(host: Host, text: str, session: WireSession) -> dict[str, Any]:
    """Read the boot's first line: `ok {...}`, or `none` and the Pythons that would not do."""
    kind, _, rest = text.partition(" ")
    if kind != "ok":
        raise failures.no_python(host.name, rest.split(), host.python)
    try:
        hello = json.loads(rest)
    except ValueError as problem:
        raise session.lost("the agent's first word is not understood", text) from problem
    return {name: hello[name] for name in ("have", "python", "executable", "uid")}
