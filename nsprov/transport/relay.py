"""Join a command that runs on a host, behind a wire, to descriptors of ours: as it is, or as a terminal."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING, Protocol

from nsprov.agent import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nsprov.transport.terminal import Screen


class Wire(Protocol):
    """A running command: bytes in, two streams of bytes out."""

    def read(self, timeout: float | None) -> tuple[bytes, bytes]:
        """Wait for what comes next on stdout and stderr; both empty at the timeout or the end."""

    def write(self, data: bytes) -> None:
        """Write everything, taking in what arrives meanwhile; BrokenPipeError when the command has gone."""

    def ended(self) -> bool:
        """Tell whether nothing can come any more."""

    def descriptors(self) -> Sequence[int]:
        """Give the descriptors that become readable when something comes."""

    def closed(self) -> Sequence[int]:
        """Give those of them that have ended since the last call, once each."""

    def end_input(self) -> None:
        """Close its stdin and nothing else."""

    def close(self) -> int | None:
        """Close its stdin, wait for its end, and give its exit code if there was one."""

    def drop(self) -> None:
        """Let go of it, whatever it does from now on."""


class Relay:
    """The way between a command and two descriptors of ours, for what it says on stdout and stderr."""

    def __init__(self, wire: Wire, ends: tuple[int, int]) -> None:
        """Store both sides."""
        self._wire = wire
        self._ends = ends
        self._typed = os.isatty(0)  # of a terminal that is gone nobody can tell any more that it was one

    def copy(self, said: tuple[bytes, bytes], source: int) -> int:
        """Pass input on and show what is said, what has been `said` first; give its exit code, 255 if it has none."""
        return self._join(said, {source: self._feed})

    def show(self, said: tuple[bytes, bytes], screen: Screen) -> int:
        """Do the same in frames, with our own terminal and the signals that we get."""
        heard, told = os.pipe()
        try:
            with screen.lent(lambda number: _write_all(told, bytes([number])), raw=True):
                return self._join(said, {0: self._type, heard: lambda numbers: self._tell(screen, numbers)})
        finally:
            os.close(heard)
            os.close(told)

    def _join(self, said: tuple[bytes, bytes], sources: Mapping[int, Callable[[bytes], bool]]) -> int:
        """Give what comes from each source to its function until that says it was the end; show what the command says."""
        self._show(said)
        poll = select.poll()
        for descriptor in (*sources, *self._wire.descriptors()):
            poll.register(descriptor, select.POLLIN)
        while not self._wire.ended():
            for descriptor, _ in poll.poll():
                if descriptor in sources and not sources[descriptor](_read(descriptor)):
                    poll.unregister(descriptor)
            self._show(self._wire.read(0))
            for descriptor in self._wire.closed():
                poll.unregister(descriptor)
        code = self._wire.close()
        return 255 if code is None else code

    def _show(self, said: tuple[bytes, bytes]) -> None:
        for end, data in zip(self._ends, said, strict=True):
            _write_all(end, data)

    def _feed(self, data: bytes) -> bool:
        """Pass input on, or its end; tell whether there may be more."""
        try:
            if data:
                self._wire.write(data)
            else:
                self._wire.end_input()
        except BrokenPipeError:
            return False  # the command does not read any more; what it says is still of interest
        return bool(data)

    def _type(self, data: bytes) -> bool:
        """Pass on what was typed; our own terminal has no end but being gone, and then the agent is to hang up."""
        if data:
            return self._feed(frames.data(data))
        self._feed(b"" if self._typed else frames.end())
        return False

    def _tell(self, screen: Screen, numbers: bytes) -> bool:
        """Pass on what signals have told us."""
        for number in numbers:
            if number == signal.SIGWINCH:
                self._feed(frames.resize(*screen.size()))
            elif number not in (signal.SIGTSTP, signal.SIGCONT):
                self._feed(frames.signal(number))
        return True


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # a terminal that is gone
        return b""


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
