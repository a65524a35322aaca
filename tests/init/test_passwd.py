"""Users and groups: what is a number, what is a name, and what is refused (CVE-2026-30892)."""

from __future__ import annotations

import os

import pytest

from nsprov.init import passwd

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
broken
list:x:+38:38::/:
www:x:33:34:web:/var/www:
odd:x:40:40::relative:/bin/sh
"""
GROUP = "root:x:0:\nweb:x:44:www\nbad:x:0x1:\n"


@pytest.fixture(name="etc")
def _etc(tmp_path):
    (tmp_path / "passwd").write_text(PASSWD)
    (tmp_path / "group").write_text(GROUP)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("user", "who"),
    [
        ("0", (0, 0, "root", "/root", "/bin/bash")),
        ("root", (0, 0, "root", "/root", "/bin/bash")),
        ("33", (33, 34, "www", "/var/www", "/bin/sh")),
        ("www", (33, 34, "www", "/var/www", "/bin/sh")),
        ("www:web", (33, 44, "www", "/var/www", "/bin/sh")),
        ("www:7", (33, 7, "www", "/var/www", "/bin/sh")),
        ("odd", (40, 40, "odd", "/", "/bin/sh")),
        ("1", (1, 1, "", "/", "/bin/sh")),
        ("1:2", (1, 2, "", "/", "/bin/sh")),
        ("4294967294", (4294967294, 4294967294, "", "/", "/bin/sh")),
    ],
)
def test_who_it_is(etc, user, who):
    """Numbers need no entry, names do; the group is that of the entry unless it is said."""
    uid, gid, name, home, shell = who

    assert passwd.resolve(user, (), etc) == (uid, gid, (), name, home, shell)


@pytest.mark.parametrize(
    "user",
    [
        *("", ":", "1:", ":1", "+0", "-0", "0x0", " 0", "0 ", "00", "01", "1e3", "1_0", "0b1", "root\n", "root ", "\u0660"),
        *("4294967295", "4294967296", "99999999999999999999", "1:2:3", "root:root:"),
        *("a b", "a/b", "../x", ".x", "-u", "$", "é"),
        "a" * 65,
    ],
)
def test_what_is_refused(etc, user):
    """Nothing is made root, or anybody, of what is neither a number nor a name."""
    with pytest.raises(ValueError, match=r"id|name"):
        passwd.resolve(user, (), etc)


@pytest.mark.parametrize("user", ["nobody", "broken", "list", "www:nogroup", "www:bad"])
def test_who_is_not_there(etc, user):
    """A name that has no line, or no line that is right, is nobody's."""
    with pytest.raises(LookupError, match="there is no"):
        passwd.resolve(user, (), etc)


def test_groups_are_those_that_are_named(etc):
    """The members in /etc/group add nothing."""
    assert passwd.resolve("www", (), etc).groups == ()
    assert passwd.resolve("www", ("web", "5"), etc).groups == (44, 5)


def test_files_are_read_safely(tmp_path, etc):
    """No link is followed, no pipe is waited for, no memory is filled; a number needs none of them."""
    path = tmp_path / "passwd"
    path.unlink()
    large = b"x" * 2**21
    for make in (lambda: path.symlink_to("group"), lambda: os.mkfifo(path), path.mkdir, lambda: path.write_bytes(large)):
        make()
        with pytest.raises(OSError, match=r"passwd|symbolic"):
            passwd.resolve("root", (), etc)

        assert passwd.resolve("5", (), etc).uid == 5
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError):
        passwd.resolve("root", (), etc)
