"""Read what workloads have said: files of lines in Kubernetes' CRI format, the newest file without a number.

    2026-11-22T05:01:02.123456Z stdout F what it said

A line whose tag is P goes on in the next one of the same stream. A file that is full is renamed to `.1`, that one to
`.2`, and so on; who reads on knows a file by its inode. No file stays open between two looks: the lab may go meanwhile.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BLOCK = 1 << 16
"""How many bytes are read at once."""


class Line(NamedTuple):
    """One line: when (RFC 3339, in UTC), on which stream, whether it goes on, and the text."""

    time: str
    stream: str
    partial: bool
    text: str


@dataclass(frozen=True)
class Choice:
    """Which lines of a log are wanted: of one stream, from `since` on, and of what is there already the last `tail`.

    `since` is a time as it stands in the lines. `errors` says what becomes of bytes that are no UTF-8 (codecs).
    """

    tail: int | None = None
    since: str = ""
    stream: str = ""
    errors: str = "replace"

    def takes(self, line: Line) -> bool:
        """Tell whether a line is one of them."""
        return line.time >= self.since and self.stream in ("", line.stream)


class Log:
    """The log of one workload, read on from where the last look ended."""

    def __init__(self, path: str, choice: Choice) -> None:
        """Store what is wanted; nothing is read."""
        self._path = path
        self._choice = choice
        self._begun = False
        self._inode = 0
        self._offset = 0

    def read(self) -> Iterator[Line]:
        """Give what has been written since the last look, whole lines only; the first one gives what was there before."""
        first, self._begun = not self._begun, True
        if not self._changed():
            return
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(file) for file in _files(self._path, self._inode)]
            if first and self._choice.tail is not None:
                yield from self._last(files, self._choice.tail)
                return
            for file in files:
                self._turn_to(file)
                lines = self._rest(file, whole=file is files[-1])
                yield from filter(self._choice.takes, lines)

    def _changed(self) -> bool:
        try:
            about = os.lstat(self._path)
        except OSError:
            return self._inode == 0  # there is none yet, or it is being turned just now
        return (about.st_ino, about.st_size) != (self._inode, self._offset)

    def _turn_to(self, file: BinaryIO) -> None:
        """Go to where reading goes on: the beginning of another file, or of one that was emptied."""
        about = os.fstat(file.fileno())
        if about.st_ino != self._inode or about.st_size < self._offset:
            self._inode, self._offset = about.st_ino, 0

    def _rest(self, file: BinaryIO, *, whole: bool) -> Iterator[Line]:
        """Read from the current place to the end; with `whole`, what is not yet written to its end waits."""
        time = ""
        file.seek(self._offset)
        for data in file:
            if whole and not data.endswith(b"\n"):
                return
            self._offset += len(data)
            line = parse(data.rstrip(b"\n"), self._choice.errors)
            time = line.time or time
            yield line if line.time else line._replace(time=time)

    def _last(self, files: list[BinaryIO], count: int) -> Iterator[Line]:
        """Give the last lines, the pieces of a long one counted as one, and go to the end."""
        found: list[Line] = []
        left = count
        if files:
            self._turn_to(files[-1])
            self._offset = _end(files[-1])
        for data in itertools.chain.from_iterable(_backwards(file, whole=file is files[-1]) for file in reversed(files)):
            line = parse(data, self._choice.errors)
            if line.time and line.time < self._choice.since:
                break
            if self._choice.takes(line):
                left -= not (line.partial and found)
                if left < 0:
                    break
                found.append(line)
        return reversed(found)


def parse(line: bytes, errors: str = "replace") -> Line:
    """Read a line; one that is not in the format is all text."""
    words = line.decode(errors=errors).split(" ", 3)
    if len(words) < 4 or words[2] not in ("F", "P"):  # noqa: PLR2004 - time, stream, tag, text
        return Line("", "", False, line.decode(errors=errors))
    return Line(words[0], words[1], words[2] == "P", words[3])


def tail(path: str, count: int) -> list[Line]:
    """Give the last lines of a log, those of the files before the last turn included; nothing if there is no log."""
    return list(Log(path, Choice(tail=count)).read())


def merged(logs: Mapping[str, Log]) -> Iterator[tuple[str, Line]]:
    """Give what several logs have to give now, each line with its log's name, in the order of time."""
    streams = (zip(itertools.repeat(name), log.read()) for name, log in logs.items())
    return heapq.merge(*streams, key=lambda pair: pair[1].time)


def _files(path: str, known: int) -> list[BinaryIO]:
    """Open a log's files, the oldest first, from the one with inode `known` on, and all of them if that one is gone."""
    found: dict[int, BinaryIO] = {}
    for number in itertools.count():
        try:
            fd = os.open(f"{path}.{number}" if number else path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            if number:
                break
            continue  # it is being turned just now: the newest is `.1`
        inode = os.fstat(fd).st_ino
        if inode in found:
            os.close(fd)  # it was turned while we looked
            continue
        found[inode] = open(fd, "rb")  # noqa: SIM115 - the caller closes them
        if inode == known:
            break
    return list(reversed(list(found.values())))


def _end(file: BinaryIO) -> int:
    """Say where the last whole line of a file ends."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _backwards(file: BinaryIO, *, whole: bool) -> Iterator[bytes]:
    """Give the lines of a file, the last one first; with `whole`, not one that is not yet written to its end."""
    end = _end(file) if whole else file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    end -= file.read(1) == b"\n"
    begun = b""
    while end > 0:
        start = max(0, end - BLOCK)
        file.seek(start)
        head, *lines = (file.read(end - start) + begun).split(b"\n")
        yield from reversed(lines)
        begun, end = head, start
    yield begun
