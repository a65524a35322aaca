"""Run a command to its end: what is kept of its output is bounded, and all of it is ended when the controller goes.

Who leaves something running in the background ends when the command itself does: what that says later is not heard, and as
its pipe is gone then, it had better say it elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from subprocess import Popen

MOST = 8 << 20
"""How many bytes of a command's output are kept, of its stdout and of its stderr."""

_LOOK_UP = 0.2
"""Seconds between two looks at whether the controller is still there, and of silence after the end of a command."""

_DREGS = 2.0
"""Seconds that are listened, at most, to what a command has left running and does not stop talking."""

_GRACE = 1.0
"""Seconds that a command gets to end by itself when it is to end."""


@dataclass(frozen=True)
class Ran:
    """What a command came to; what was more than is kept is counted."""

    code: int
    out: str
    err: str


def run(
    argv: Sequence[str], environment: Mapping[str, str], heed: Callable[[], None], stdin: str | None, folder: str | None
) -> Ran:
    """Run a command in a session of its own; all of that is killed if `heed` raises.

    Raises:
        OSError: it cannot be started.

    """
    import subprocess  # noqa: PLC0415 - for start-up: it takes 5 ms, and a run on a lab has no need of it

    process = subprocess.Popen(  # noqa: S603 - the user's own command, as an argv
        [os.fsencode(word) for word in argv],
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
        start_new_session=True,
        preexec_fn=_heed_signals,  # noqa: PLW1509 - this process has one thread
    )
    pipes = _Pipes(process, "" if stdin is None else stdin)
    try:
        _attend(process, pipes, heed)
    except BaseException:
        _end(process)
        raise
    finally:
        pipes.close()
    out, err = pipes.kept
    return Ran(process.returncode, out.text(), err.text())


def _heed_signals() -> None:
    """Let a command die of Ctrl-C, which the agent ignores; what Python ignores it sets back itself (restore_signals)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _attend(process: Popen[bytes], pipes: _Pipes, heed: Callable[[], None]) -> None:
    """Take what a command says until it has ended, and what it has said before that."""
    import subprocess  # noqa: PLC0415 - as above

    over = 0.0
    while True:
        if process.poll() is not None:
            over = over or time.monotonic()
        if pipes.open:
            moved = pipes.pump(_LOOK_UP)
        else:
            moved = False
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_UP)
                return
        if over and (not moved or time.monotonic() - over > _DREGS):
            return
        heed()


def _end(process: Popen[bytes]) -> None:
    """End a command with all that it has started and that has not taken a session of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _GRACE
        for pid in _members(process.pid):
            with contextlib.suppress(OSError):  # gone by now, or not ours: a command may be another user's, through sudo
                os.kill(pid, number)
        while any(_members(process.pid)) and time.monotonic() < deadline:
            process.poll()
            time.sleep(0.01)
    process.poll()


def _members(session: int) -> Iterator[int]:
    """Give the processes of a session (proc_pid_stat(5)), but for those that are only waited for."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                state, _, _, found = file.read().rpartition(b")")[2].split()[:4]
                if int(found) == session and state != b"Z":
                    yield int(name)


@dataclass
class _Kept:
    """The beginning of what comes from a pipe."""

    data: bytearray = field(default_factory=bytearray)
    more: int = 0

    def take(self, data: bytes) -> None:
        room = max(0, MOST - len(self.data))
        self.data += data[:room]
        self.more += len(data[room:])

    def text(self) -> str:
        text = self.data.decode(errors="replace")
        return f"{text}\n... and {self.more} bytes more" if self.more else text


class _Pipes:
    """The pipes to a command and from it."""

    def __init__(self, process: Popen[bytes], stdin: str) -> None:
        """Begin with all of them open."""
        self.kept = (_Kept(), _Kept())
        self._given = memoryview(stdin.encode(errors="surrogateescape"))
        self._selector = selectors.DefaultSelector()
        for pipe, kept in zip((process.stdout, process.stderr), self.kept):
            self._add(pipe, selectors.EVENT_READ, kept)
        if process.stdin:
            self._add(process.stdin, selectors.EVENT_WRITE, None)

    def _add(self, pipe: IO[bytes] | None, event: int, kept: _Kept | None) -> None:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        self._selector.register(pipe, event, kept)

    @property
    def open(self) -> bool:
        """Tell whether any is left."""
        return bool(self._selector.get_map())

    def pump(self, patience: float) -> bool:
        """Read and write what there is, for so long at most; tell whether there was anything."""
        ready = self._selector.select(patience)
        for key, _ in ready:
            pipe: Any = key.fileobj
            if not (self._read(key.fd, key.data) if key.data is not None else self._write(key.fd)):
                self._selector.unregister(pipe)
                pipe.close()
        return bool(ready)

    @staticmethod
    def _read(descriptor: int, kept: _Kept) -> bool:
        data = os.read(descriptor, 1 << 18)
        kept.take(data)
        return bool(data)

    def _write(self, descriptor: int) -> bool:
        try:
            self._given = self._given[os.write(descriptor, self._given[: 1 << 16]) :]
        except BrokenPipeError:
            return False
        return bool(self._given)

    def close(self) -> None:
        """Close those that are left."""
        for key in list(self._selector.get_map().values()):
            pipe: Any = key.fileobj
            self._selector.unregister(pipe)
            pipe.close()
        self._selector.close()
