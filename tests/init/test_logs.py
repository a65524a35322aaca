"""Log files: lines in CRI format, turned by size, never waited for."""

from __future__ import annotations

import os
import re
import stat
import time

import pytest

from nsprov.init.logs import Log, Stream, stamp

LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (stdout|stderr) ([FP]) (.*)")


@pytest.fixture(name="directory")
def _directory(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    yield tmp_path, fd
    os.close(fd)


def rows(path):
    return [LINE.fullmatch(line).groups() for line in path.read_bytes().splitlines()]


def test_stamps():
    """UTC, with microseconds; strptime of the same is the same."""
    assert stamp(0.25) == b"1970-01-01T00:00:00.250000Z"
    assert stamp(1795327262.999999) == b"2026-11-22T06:01:02.999999Z"


def test_lines(directory):
    """Whole lines at once; pieces when they are whole; the last one at the end."""
    path, fd = directory
    log = Log(fd, "web")
    out, err = Stream(log, "stdout"), Stream(log, "stderr")
    out.feed(b"one\ntw")
    err.feed(b"bad\n")
    out.feed(b"o\n\n")
    out.feed(b"no end")

    assert rows(path / "web.log") == [
        (b"stdout", b"F", b"one"), (b"stderr", b"F", b"bad"), (b"stdout", b"F", b"two"), (b"stdout", b"F", b""),
    ]  # fmt: skip
    out.end()
    err.end()
    assert rows(path / "web.log")[4:] == [(b"stdout", b"F", b"no end")]
    assert stat.S_IMODE((path / "web.log").stat().st_mode) == 0o640
    log.close()


def test_long_lines(directory):
    """They are written in parts, so that a line without an end fills no memory."""
    path, fd = directory
    log = Log(fd, "web")
    out = Stream(log, "stdout")
    for _ in range(10):
        out.feed(b"x" * 4000)
    out.feed(b"y\nz\n")
    found = rows(path / "web.log")

    assert [tag for _, tag, _ in found] == [b"P", b"P", b"F", b"F"]
    assert b"".join(text for _, _, text in found[:3]) == b"x" * 40000 + b"y"
    assert found[3][2] == b"z"
    log.close()


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_turning(directory, keep):
    """No file is larger than it may be, no line is in two, and what is kept is the newest."""
    path, fd = directory
    log = Log(fd, "web")
    log.limit(5000, keep)
    out = Stream(log, "stdout")
    for number in range(1000):
        out.feed(b"line %d\n" % number)
    names = ["web.log", *(f"web.log.{number}" for number in range(1, keep + 1))]
    texts = [int(text.split()[1]) for name in reversed(names) for _, _, text in rows(path / name)]

    assert sorted(os.listdir(path)) == names
    assert all((path / name).stat().st_size <= 5000 for name in names)
    assert texts == list(range(1000 - len(texts), 1000))
    assert log.dropped == 0
    log.close()


def test_going_on(directory):
    """What is there already counts, and is added to."""
    path, fd = directory
    (path / "web.log").write_bytes(b"x" * 4990 + b"\n")
    log = Log(fd, "web")
    log.limit(5000, 1)
    Stream(log, "stdout").feed(b"more\n")

    assert (path / "web.log.1").stat().st_size == 4991
    assert len(rows(path / "web.log")) == 1
    log.close()


def test_one_piece_that_is_larger_than_all_files(directory):
    """The end of it is what is kept."""
    path, fd = directory
    log = Log(fd, "web")
    log.limit(4096, 1)
    Stream(log, "stdout").feed(b"".join(b"%d\n" % number for number in range(2000)))

    assert rows(path / "web.log")[-1][2] == b"1999"
    assert (path / "web.log.1").stat().st_size <= 4096
    log.close()


@pytest.mark.parametrize("make", [lambda p: p.symlink_to("/etc/passwd"), os.mkfifo, lambda p: p.mkdir()])
def test_something_else_in_its_place(directory, make):
    """Nothing is written through a link, and no pipe is waited for: it is counted as lost."""
    path, fd = directory
    make(path / "web.log")
    log = Log(fd, "web")
    began = time.monotonic()
    Stream(log, "stdout").feed(b"text\n")

    assert log.dropped == len(b"2026-11-22T05:01:02.123456Z stdout F text\n")
    assert time.monotonic() - began < 1
    log.close()
