"""Keep what workloads say, in files of lines in Kubernetes' CRI format.

    2026-11-22T05:01:02.123456Z stdout F what it said

A line whose tag is P goes on in the next one of the same stream. Nothing here waits: what a disk does not take is
dropped and counted, so that a workload never stops for its log.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time

WORDS = "@init.log"
"""What an init says of itself, beside the logs; no workload can be called so."""

_LONGEST = 16384
"""Bytes without an end of line that are kept back before they are written as a part of one."""


class Log:
    """One workload's files: NAME.log, and NAME.log.1, the one before, up to `keep` of them."""

    def __init__(self, directory: int, name: str) -> None:
        """Store where they are; nothing is opened. `limit` sets how large they get."""
        self.dropped = 0
        self._directory = directory
        self._name = f"{name}.log"
        self._size, self._keep = 1 << 20, 1
        self._fd = -1
        self._used = 0

    def limit(self, size: int, keep: int) -> None:
        """Say how large a file may get, and how many full ones are kept."""
        self._size, self._keep = size, keep

    def write(self, lines: bytes) -> None:
        """Write whole lines, turning to a new file when one is full; what cannot be written is counted."""
        while lines and self._open():
            room = self._size - self._used
            cut = len(lines) if len(lines) <= room else lines.rfind(b"\n", 0, max(room, 0)) + 1
            if not cut and self._used:
                self._turn()
                continue
            cut = cut or lines.index(b"\n") + 1  # a line that is larger than a file
            self._append(lines[:cut])
            lines = lines[cut:]
        self.dropped += len(lines)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._used = -1, 0

    def _append(self, lines: bytes) -> None:
        """Write to the end of the file, or take back what of it did not fit: a torn line would spoil the next one."""
        written = 0
        with contextlib.suppress(OSError):  # there is no space: counted below
            written = os.write(self._fd, lines)
        whole = lines.rfind(b"\n", 0, written) + 1
        if whole < written:
            with contextlib.suppress(OSError):  # the torn line stays
                os.ftruncate(self._fd, self._used + whole)
        self._used += whole
        self.dropped += len(lines) - whole

    def _open(self) -> bool:
        """Tell whether there is a file to write to."""
        if self._fd >= 0:
            return True
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self._name, flags, 0o640, dir_fd=self._directory)
        except OSError:
            return False  # there is no space, or something in its place that is no file: what is said is counted
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            os.close(fd)
            return False
        self._fd, self._used = fd, about.st_size
        return True

    def _turn(self) -> None:
        """Rename each file to the next number, the last one away; the next write makes a new one."""
        if not self._keep:
            with contextlib.suppress(OSError):  # it is gone: so is what was in it
                os.unlink(self._name, dir_fd=self._directory)
        for number in range(self._keep, 0, -1):
            older = self._name if number == 1 else f"{self._name}.{number - 1}"
            with contextlib.suppress(OSError):  # there are not that many yet
                os.rename(older, f"{self._name}.{number}", src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self.close()


class Stream:
    """One of the two outputs of a workload, cut into lines."""

    def __init__(self, log: Log, name: str) -> None:
        """Begin with nothing; `name` is stdout or stderr."""
        self._log = log
        self.name = name
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """Log the lines that are whole now, and a part of one that has become too long to be kept back."""
        data = self._kept + data
        end = data.rfind(b"\n")
        self._kept = data[end + 1 :]
        if end >= 0:
            head = self._head(b"F")
            self._log.write(head + data[:end].replace(b"\n", b"\n" + head) + b"\n")
        if len(self._kept) >= _LONGEST:
            self._log.write(self._head(b"P") + self._kept + b"\n")
            self._kept = b""

    def end(self) -> None:
        """Log what had no end of line."""
        if self._kept:
            self.feed(b"\n")

    def _head(self, tag: bytes) -> bytes:
        return b"%s %s %s " % (stamp(time.time()), self.name.encode(), tag)


def stamp(now: float) -> bytes:
    """Write a time as RFC 3339, in UTC; strftime would read the node's /etc/localtime."""
    whole = int(now)
    return b"%04d-%02d-%02dT%02d:%02d:%02d.%06dZ" % (*time.gmtime(whole)[:6], int((now - whole) * 1000000))
