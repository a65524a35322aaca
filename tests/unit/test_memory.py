"""What the controller remembers: hints that are kept apart by lab, and that are never an error."""

from __future__ import annotations

import os
import stat

import pytest

from nsprov import memory


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch):
    """Give a place for the state of programs, which is not there yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_labs_are_remembered_each_by_itself(home):
    """What is said of one lab says nothing of another, and no hosts at all is nothing known."""
    memory.remember("one", ["b", "a", "b"])
    memory.remember("two", ["c"])
    memory.remember("one", [])

    assert memory.hosts_of("one") == ()
    assert memory.hosts_of("two") == ("c",)
    assert sorted(path.name for path in (home / "nsprov").iterdir()) == ["lab-two.json"]


def test_failed_hosts_are_those_of_the_last_run(home):
    """A later run takes the place of an earlier one, and one without failures leaves none."""
    memory.remember_failed(["h2", "h1"])
    before = memory.failed()
    memory.remember_failed([])

    assert before == ("h1", "h2")
    assert memory.failed() == ()


def test_nobody_else_may_look(home):
    """The folder and its files are their owner's alone, whatever the umask."""
    before = os.umask(0)
    try:
        memory.remember("one", ["a"])
    finally:
        os.umask(before)

    assert stat.S_IMODE((home / "nsprov").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "nsprov/lab-one.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[1, 2]", '"text"', "\0\xff", "[" * 100_000])
def test_what_is_damaged_says_nothing(home, content):
    """It is read as if it were not there, and the next run writes it anew."""
    memory.remember("one", ["a"])
    (home / "nsprov/lab-one.json").write_text(content, encoding="latin-1")
    damaged = memory.hosts_of("one")
    memory.remember("one", ["b"])

    assert damaged == ()
    assert memory.hosts_of("one") == ("b",)


@pytest.mark.parametrize("lab", ["../one", "", "a/b", "@failed", "A"])
def test_a_name_that_is_no_labs_is_no_file(home, lab):
    """Nothing is read or written for it."""
    memory.remember(lab, ["a"])

    assert memory.hosts_of(lab) == ()
    assert not home.exists()


def test_where_nothing_can_be_written(tmp_path, monkeypatch):
    """A home that is a file, or that is not there at all, is no error."""
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", "/proc/nowhere"):
        monkeypatch.setenv("XDG_STATE_HOME", str(place))
        memory.remember("one", ["a"])
        memory.remember_failed(["a"])

        assert memory.hosts_of("one") == memory.failed() == ()


def test_a_relative_place_is_ignored(tmp_path, monkeypatch):
    """As the specification of XDG_STATE_HOME has it; it is then below the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    memory.remember("one", ["a"])

    assert memory.hosts_of("one") == ("a",)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert (tmp_path / "home/.local/state/nsprov/lab-one.json").exists()


def test_a_folder_that_others_may_write_in_is_not_trusted(home):
    """Neither what is in it nor as a place to write; and a link instead of it is not followed."""
    memory.remember("one", ["a"])
    (home / "nsprov").chmod(0o777)
    loose = memory.hosts_of("one")
    memory.remember("two", ["b"])
    (home / "nsprov").chmod(0o700)
    (home / "nsprov").rename(home / "elsewhere")
    (home / "nsprov").symlink_to(home / "elsewhere")

    assert loose == memory.hosts_of("one") == ()
    assert [path.name for path in (home / "elsewhere").iterdir()] == ["lab-one.json"]


def test_a_link_in_the_place_of_a_file_is_not_followed(home, tmp_path):
    """It is replaced, and what it leads to stays as it is."""
    memory.remember("one", ["a"])
    (tmp_path / "other").write_text('["x"]')
    (home / "nsprov/lab-one.json").unlink()
    (home / "nsprov/lab-one.json").symlink_to(tmp_path / "other")
    through = memory.hosts_of("one")
    memory.remember("one", ["b"])

    assert through == ()
    assert memory.hosts_of("one") == ("b",)
    assert (tmp_path / "other").read_text() == '["x"]'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be in the home of somebody else")
def test_root_leaves_nothing_in_the_home_of_somebody_else(tmp_path, monkeypatch):
    """`sudo` may have kept $HOME: root's files there would stand in its owner's way."""
    os.chown(tmp_path, 65534, 65534)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    memory.remember_failed(["a"])

    assert list(tmp_path.iterdir()) == []
