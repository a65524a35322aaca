"""Logs of workloads: the last lines, since when, one stream, read on while they are written and turned, several by time."""

from __future__ import annotations

import os
import random

import pytest

from nsprov.kernel import logbook
from nsprov.kernel.logbook import Choice, Line, Log


class Writer:
    """Writes a log and turns it, as the init of a node does."""

    def __init__(self, folder, name="web", keep=2):
        self.path = str(folder / f"{name}.log")
        self.keep = keep
        self.count = 0

    def say(self, text, stream="stdout", tag="F", time=None):
        """Write one line; its time counts the lines if none is given."""
        self.count += 1
        self.write(f"{time or stamp(self.count)} {stream} {tag} {text}\n")

    def write(self, text):
        with open(self.path, "ab") as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    def turn(self):
        """Rename each file to the next number, dropping the last, and begin a new one."""
        for number in range(self.keep, 0, -1):
            older = f"{self.path}.{number - 1}" if number > 1 else self.path
            if os.path.exists(older):
                os.replace(older, f"{self.path}.{number}")
        self.write("")


def stamp(number):
    """Give the time of a line."""
    return f"2026-11-22T05:{number // 60:02}:{number % 60:02}.000000Z"


@pytest.fixture(name="writer")
def _writer(tmp_path):
    return Writer(tmp_path)


def texts(lines):
    return [line.text for line in lines]


def said(log):
    """Give what a log has to say by now."""
    return texts(log.read())


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"2026-11-22T05:01:02.123456Z stdout F hi", Line("2026-11-22T05:01:02.123456Z", "stdout", False, "hi")),
        (b"2026-11-22T05:01:02.123456Z stderr P  two  ", Line("2026-11-22T05:01:02.123456Z", "stderr", True, " two  ")),
        (b"2026-11-22T05:01:02.123456Z stdout F ", Line("2026-11-22T05:01:02.123456Z", "stdout", False, "")),
        (b"t stdout F \xff\x1b[2J", Line("t", "stdout", False, "�\x1b[2J")),
        (b"no such format", Line("", "", False, "no such format")),
        (b"a b X c", Line("", "", False, "a b X c")),
        (b"", Line("", "", False, "")),
    ],
)
def test_a_line(data, line):
    """A line has a time, a stream, a tag and a text that may be anything; what is not like that is all text."""
    assert logbook.parse(data) == line


def test_bytes_that_are_no_text_survive():
    """Who asks for it gets every byte back."""
    line = logbook.parse(b"t stdout F \xff\x00\xc3", "surrogateescape")

    assert line.text.encode(errors="surrogateescape") == b"\xff\x00\xc3"


def test_there_is_no_log(tmp_path):
    """What never said anything has no lines."""
    assert logbook.tail(str(tmp_path / "web.log"), 5) == []
    assert said(Log(str(tmp_path / "web.log"), Choice())) == []


def test_a_link_is_no_log(tmp_path, writer):
    """A link in the place of a log is not followed."""
    writer.say("secret")
    os.symlink(writer.path, tmp_path / "evil.log")

    assert logbook.tail(str(tmp_path / "evil.log"), 5) == []


@pytest.mark.parametrize("count", [0, 1, 3, 7, 10, 11, 50])
def test_the_last_lines(writer, count):
    """They are taken from the files before the last turn too, in order."""
    lines = [str(number) for number in range(1, 11)]
    for text in lines:
        writer.say(text)
        if text in ("4", "8"):
            writer.turn()

    assert texts(logbook.tail(writer.path, count)) == (lines[-count:] if count else [])


def test_the_last_lines_after_a_turn(writer):
    """A file that has just been turned is empty, and the one before it has the last lines."""
    writer.say("one")
    writer.turn()

    assert texts(logbook.tail(writer.path, 1)) == ["one"]


def test_the_last_lines_across_blocks(writer):
    """Lines may be longer than what is read at once, or end just there."""
    block = logbook.BLOCK
    head = len(stamp(1)) + len(" stdout F \n")
    lines = ["a" * (block - head), "b", "c" * (3 * block), "", "d" * (block - head - 1), "e"]
    for text in lines:
        writer.say(text)

    for count in range(1, len(lines) + 1):
        assert texts(logbook.tail(writer.path, count)) == lines[-count:]


def test_a_long_line_counts_once(writer):
    """Its pieces are one line."""
    writer.say("before")
    for tag, text in (("P", "one "), ("P", "two "), ("F", "three")):
        writer.say(text, tag=tag)
    writer.say("after")

    assert texts(logbook.tail(writer.path, 2)) == ["one ", "two ", "three", "after"]


def test_a_long_line_that_goes_on_counts_once(writer):
    """It is the last line although its end is still to come."""
    writer.say("before")
    writer.say("one ", tag="P")
    writer.say("two ", tag="P")

    assert texts(logbook.tail(writer.path, 1)) == ["one ", "two "]
    assert logbook.tail(writer.path, 0) == []


def test_since(writer):
    """Lines from a time on, that one included, in whichever file they are."""
    for number in range(1, 10):
        writer.say(str(number))
        if number == 6:
            writer.turn()

    assert said(Log(writer.path, Choice(since=stamp(5)))) == ["5", "6", "7", "8", "9"]
    assert said(Log(writer.path, Choice(since=stamp(5), tail=2))) == ["8", "9"]
    assert said(Log(writer.path, Choice(since=stamp(8), tail=5))) == ["8", "9"]
    assert said(Log(writer.path, Choice(since=stamp(10)))) == []


def test_one_stream(writer):
    """The other stream's lines are not counted either."""
    for number in range(1, 9):
        writer.say(str(number), stream="stderr" if number % 2 else "stdout")

    assert said(Log(writer.path, Choice(stream="stdout"))) == ["2", "4", "6", "8"]
    assert said(Log(writer.path, Choice(stream="stderr", tail=2))) == ["5", "7"]


def test_what_is_no_line_is_as_old_as_the_line_before(writer):
    """So that it stands where it was written."""
    writer.say("one")
    writer.write("torn\n")
    writer.say("two")

    assert [(line.time, line.text) for line in Log(writer.path, Choice()).read()] == [
        (stamp(1), "one"),
        (stamp(1), "torn"),
        (stamp(2), "two"),
    ]


# -- reading on -------------------------------------------------------------------------------------------------------


def test_reading_on(writer):
    """Each look gives what is new, once."""
    log = Log(writer.path, Choice())
    writer.say("one")

    assert said(log) == ["one"]
    assert said(log) == []

    writer.say("two")
    writer.say("three")

    assert said(log) == ["two", "three"]


@pytest.mark.parametrize("choice", [Choice(), Choice(tail=0), Choice(tail=5)])
def test_a_log_that_begins_later(writer, choice):
    """What is written after the first look is new, whatever was to be shown of what was there."""
    log = Log(writer.path, choice)

    assert said(log) == []

    for text in "abcdefgh":
        writer.say(text)

    assert said(log) == list("abcdefgh")


@pytest.mark.parametrize("count", [0, 2])
def test_reading_on_after_the_last_lines(writer, count):
    """The first look gives the last lines, the next ones all that follow."""
    for text in "abcd":
        writer.say(text)
    log = Log(writer.path, Choice(tail=count))

    assert said(log) == list("abcd")[4 - count :]

    writer.say("e")
    writer.turn()
    writer.say("f")

    assert said(log) == ["e", "f"]


def test_half_a_line_waits(writer):
    """A line is given when all of it is there."""
    log = Log(writer.path, Choice())
    writer.write(f"{stamp(1)} stdout F ha")

    assert said(log) == []
    assert said(Log(writer.path, Choice(tail=3))) == []

    writer.write("lf\n")

    assert said(log) == ["half"]


def test_half_a_line_before_the_last_ones(writer):
    """Reading on begins where the half line does."""
    writer.say("one")
    writer.write(f"{stamp(2)} stdout F ha")
    log = Log(writer.path, Choice(tail=1))

    assert said(log) == ["one"]

    writer.write("lf\n")

    assert said(log) == ["half"]


def test_a_turn_between_two_looks(writer):
    """The end of the old file comes first."""
    log = Log(writer.path, Choice())
    writer.say("one")
    assert said(log) == ["one"]

    writer.say("two")
    writer.turn()
    assert said(log) == ["two"]

    writer.say("three")
    assert said(log) == ["three"]


def test_two_turns_between_two_looks(writer):
    """The file is known by its inode, however many turns away."""
    log = Log(writer.path, Choice())
    writer.say("one")
    assert said(log) == ["one"]

    for text in ("two", "three", "four"):
        writer.say(text)
        if text != "four":
            writer.turn()
    assert said(log) == ["two", "three", "four"]


def test_more_turns_than_files_are_kept(writer):
    """What is lost is lost; what is there is given, once."""
    log = Log(writer.path, Choice())
    writer.say("one")
    assert said(log) == ["one"]

    keeper = os.open(writer.path, os.O_RDONLY)  # its inode number is not given to another file meanwhile
    for text in ("two", "three", "four", "five"):
        writer.say(text)
        writer.turn()
    assert said(log) == ["four", "five"]
    os.close(keeper)


def test_while_it_is_being_turned(writer):
    """The old name is gone, the new file not yet there."""
    log = Log(writer.path, Choice())
    writer.say("one")
    assert said(log) == ["one"]

    writer.say("two")
    os.replace(writer.path, f"{writer.path}.1")
    assert said(Log(writer.path, Choice())) == ["one", "two"]
    assert said(log) == []

    writer.say("three")
    assert said(log) == ["two", "three"]


def test_an_emptied_log(writer):
    """Who empties a log by hand is followed."""
    log = Log(writer.path, Choice())
    writer.say("a long first line")
    assert said(log) == ["a long first line"]

    os.truncate(writer.path, 0)
    assert said(log) == []
    writer.say("new")
    assert said(log) == ["new"]


def test_no_file_stays_open(writer):
    """Between two looks nothing holds the lab's file system, not even after one that was broken off."""
    before = os.listdir("/proc/self/fd")
    for number in range(5):
        writer.say(str(number))
        writer.turn()
    log = Log(writer.path, Choice())
    lines = log.read()
    next(lines)
    lines.close()
    said(log)

    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_or_told_twice(tmp_path, seed):
    """Whatever the moments of writing, turning and looking are, as long as enough files are kept."""
    chance = random.Random(seed)
    writer = Writer(tmp_path, keep=50)
    log = Log(writer.path, Choice())
    told, count = [], 0
    for _ in range(200):
        act = chance.random()
        if act < 0.6:
            count += 1
            writer.say(str(count))
        elif act < 0.75:
            writer.turn()
        else:
            told += said(log)
    told += said(log)

    assert told == [str(number) for number in range(1, count + 1)]


# -- several logs -----------------------------------------------------------------------------------------------------


def test_several_logs_by_time(tmp_path):
    """Their lines stand in the order in which they were said, those of one moment in the order of the logs."""
    web, db = Writer(tmp_path, "web"), Writer(tmp_path, "db")
    for writer, number in ((web, 1), (db, 2), (db, 3), (web, 4), (web, 5), (db, 5), (db, 6)):
        writer.say(str(number), time=stamp(number))
    web.turn()
    logs = {"web": Log(web.path, Choice()), "db": Log(db.path, Choice())}

    assert [(name, line.text) for name, line in logbook.merged(logs)] == [
        *[("web", "1"), ("db", "2"), ("db", "3"), ("web", "4"), ("web", "5"), ("db", "5"), ("db", "6")],
    ]

    db.say("7", time=stamp(7))

    assert [(name, line.text) for name, line in logbook.merged(logs)] == [("db", "7")]
