"""Places found and made by descriptor, and directories removed without leaving them: on a tree made for it."""

from __future__ import annotations

import os
import threading

import pytest

from nsprov.errors import KernelError
from nsprov.kernel import libc
from nsprov.kernel.beneath import Beneath, clear

pytestmark = pytest.mark.root


@pytest.fixture
def top(tmp_path):
    """Give a directory on a file system of its own, with links out of it."""
    path = tmp_path / "top"
    path.mkdir()
    libc.mount("nsprov-test", str(path), "tmpfs")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("outside\n")
    (path / "here").mkdir()
    (path / "up").symlink_to("..")
    (path / "out").symlink_to(tmp_path / "outside")
    (path / "link").symlink_to(tmp_path / "outside/file")
    (path / "file").write_text("")
    os.mkfifo(path / "fifo")
    yield path
    while libc.is_mount(str(path)):
        libc.umount(str(path))


@pytest.fixture
def place(top):
    """Give the tree below it, where things may be made."""
    root = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield Beneath("a", root, {os.stat(top).st_dev}, (1, 2))
    os.close(root)


def found(place, path, *, directory):
    fd = place.place(path, directory=directory)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("path", "directory"), [("/here", True), ("/file", False), ("/new", False), ("/a/b/c", True), ("/here/new/x", False)]
)
def test_what_is_there_or_may_be_made(place, top, path, directory):
    """A place is found, or made for the owner, with what leads there."""
    before = os.path.exists(f"{top}{path}")

    assert found(place, path, directory=directory) == f"{top}{path}"
    assert before or (os.stat(f"{top}{path}").st_uid, os.stat(f"{top}{path}").st_gid) == (1, 2)


@pytest.mark.parametrize("path", ["/out", "/out/file", "/up/outside", "/up", "/here/../out", "/here/./x", "", "/", "//x", "x"])
def test_what_leads_out(place, path):
    """No link is followed, the last one neither, and no name but a plain one is taken."""
    with pytest.raises(KernelError):
        place.place(path, directory=True)


@pytest.mark.parametrize(("path", "directory"), [("/file", True), ("/file/x", False), ("/here", False), ("/fifo", False)])
def test_what_does_not_fit(place, path, directory):
    """A directory is mounted over a directory, a file over a file."""
    with pytest.raises(KernelError) as caught:
        place.place(path, directory=directory)

    assert "is not a" in caught.value.diagnostics[0].summary


def test_a_link_becomes_a_file(place, top, tmp_path):
    """On a file system of the node's own a link in place of a file is replaced; elsewhere it is refused."""
    place.own.clear()
    with pytest.raises(KernelError):
        place.place("/link", directory=False)
    assert os.path.islink(top / "link")
    place.own.add(os.stat(top).st_dev)

    assert found(place, "/link", directory=False) == str(top / "link")
    assert not os.path.islink(top / "link")
    assert (tmp_path / "outside/file").read_text() == "outside\n"


def test_nothing_is_made_elsewhere(place, top):
    """Where the file system is not the node's own, what is missing is missing."""
    libc.mount("nsprov-test", str(top / "here"), "tmpfs")
    for path, directory in (("/here/x", True), ("/here/x/y", False), ("/here/x", False)):
        with pytest.raises(KernelError) as caught:
            place.place(path, directory=directory)

        assert caught.value.diagnostics[0].summary.startswith("the node has no ")
    assert os.listdir(top / "here") == []


def test_the_places_mode(place, top):
    """What is made can be passed by everybody in the node, whatever the umask of who runs nsprov."""
    mask = os.umask(0o077)
    try:
        found(place, "/deep/file", directory=False)
    finally:
        os.umask(mask)

    assert (os.stat(top / "deep").st_mode & 0o777, os.stat(top / "deep/file").st_mode & 0o777) == (0o755, 0o644)


def end(place):
    """Say where a walk has ended, or why it could not go on."""
    try:
        return found(place, "/flip/x", directory=True)
    except KernelError as problem:
        return problem.diagnostics[0].summary


def test_a_name_that_changes(place, top, tmp_path):
    """While somebody flips a directory and a link, a walk ends in the tree or in words, never elsewhere."""
    place.own.clear()
    for name in (top / "flip", tmp_path / "outside"):
        (name / "x").mkdir(parents=True)
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            os.rename(top / "flip", top / "was")
            os.symlink(tmp_path / "outside", top / "flip")
            os.unlink(top / "flip")
            os.rename(top / "was", top / "flip")

    flipper = threading.Thread(target=flip)
    flipper.start()
    ends = set()
    try:
        for _ in range(3000):
            ends.add(end(place))
    finally:
        stop.set()
        flipper.join()

    assert {one for one in ends if str(tmp_path / "outside") in one} == set()
    assert '"/flip" is a symbolic link' in ends, "nothing changed while it was looked at: the test proves nothing"


# -- removing ---------------------------------------------------------------------------------------------------------


def test_clear(top):
    """A tree goes with all that is in it; one that is not there is gone already."""
    (top / "here/a/b").mkdir(parents=True)
    (top / "here/a/file").write_text("x")
    clear(str(top / "here"))
    clear(str(top / "here"))

    assert not os.path.lexists(top / "here")


def test_clear_follows_no_link(top, tmp_path):
    """Links are removed, and what they lead to is as it was."""
    (top / "here/out").symlink_to(tmp_path / "outside")
    (top / "here/root").symlink_to("/")
    clear(str(top / "here"))

    assert not os.path.lexists(top / "here")
    assert (tmp_path / "outside/file").read_text() == "outside\n"


def test_clear_of_a_link(top, tmp_path):
    """A link in place of the directory is not followed."""
    with pytest.raises(OSError, match="out"):
        clear(str(top / "out"))
    assert (tmp_path / "outside/file").exists()


@pytest.mark.parametrize("same", [True, False])
def test_clear_enters_no_mount(top, tmp_path, same):
    """What is bound below is as it was, of another file system or of the same; the rest goes."""
    source = top / "source" if same else tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep/file").write_text("kept\n")
    for name in ("dir", "gone"):
        (top / "here" / name).mkdir()
    (top / "here/file").write_text("")
    libc.mount(str(source), str(top / "here/dir"), None, libc.MS_BIND)
    libc.mount(str(source / "deep/file"), str(top / "here/file"), None, libc.MS_BIND)
    clear(str(top / "here"))

    assert (source / "deep/file").read_text() == "kept\n"
    assert sorted(os.listdir(top / "here")) == ["dir", "file"]


def test_clear_of_a_deep_tree(top):
    """A tree that is deeper than any stack or path does no harm."""
    here = os.open(top / "here", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    clear(str(top / "here"))
