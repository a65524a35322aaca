"""Where the compiled agent is kept on a host, and when what lies there is not used."""

from __future__ import annotations

import pytest

CACHE = "/var/cache/nsprov/agents"


def test_the_cache_is_private(reach, machine):
    """Root's copy lies in /var/cache, a user's in the user's home, each for its owner only."""
    reach()
    reach(user="lab")

    assert machine.run(f"stat -c '%a %u' {CACHE} {CACHE}/*").split("\n")[:2] == ["700 0", "600 0"]
    assert machine.run("stat -c '%a %U' /home/lab/.cache/nsprov/agents") == "700 lab\n"


@pytest.mark.parametrize(
    "harm",
    [
        f"chmod 777 {CACHE}",
        f"chown lab {CACHE}",
        f"mv {CACHE} /tmp/agents; ln -s /tmp/agents {CACHE}",
        f"chmod 666 {CACHE}/*",
        f"chown lab {CACHE}/*",
        f"for f in {CACHE}/*; do mv $f /tmp/stolen; ln -s /tmp/stolen $f; done",
        f"for f in {CACHE}/*; do truncate -s 1000 $f; done",
        f"for f in {CACHE}/*; do truncate -s 0 $f; done",
        f"for f in {CACHE}/*; do printf x | dd of=$f bs=1 seek=200 conv=notrunc 2>/dev/null; done",
    ],
    ids=["writable dir", "foreign dir", "symlink dir", "writable file", "foreign file", "symlink", "cut", "empty", "damaged"],
)
def test_a_cache_that_is_not_to_be_trusted(reach, machine, harm):
    """What others could have written, or what is damaged, is never run: the agent is sent again."""
    reach()
    assert reach().facts["cached"] is True
    machine.run(harm)

    session = reach()
    assert session.facts["cached"] is False
    session.send({"text": "abc"})
    assert session.receive()["size"] == 3


def test_a_damaged_cache_is_repaired(reach, machine):
    """The next run has a good copy again."""
    reach()
    machine.run(f"for f in {CACHE}/*; do truncate -s 1000 $f; done")
    reach()

    assert reach().facts["cached"] is True


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("mount -t tmpfs -o ro none /home/lab", "umount -l /home/lab"),
        ("chown root:root /home/lab; chmod 755 /home/lab", "chown lab:lab /home/lab"),
        ("mount -t tmpfs -o mode=777,size=4k none /home/lab", "umount -l /home/lab"),
        ("sed -i s,/home/lab:,/nonexistent:, /etc/passwd", "sed -i s,/nonexistent:,/home/lab:, /etc/passwd"),
    ],
    ids=["read-only", "not writable", "full", "no home"],
)
def test_a_host_without_room(reach, machine, before, after):
    """Without a place to write, the agent runs from memory."""
    machine.run(before)
    try:
        for _ in range(2):
            session = reach(user="lab")
            session.send({"text": "abc"})
            assert session.receive()["size"] == 3
            assert session.facts["cached"] is False
    finally:
        machine.run(after)


def test_a_noexec_home(reach, machine):
    """Python reads the agent, nothing executes it."""
    machine.run("mount -t tmpfs -o noexec,mode=755 none /var/cache")
    try:
        assert [reach().facts["cached"] for _ in range(2)] == [False, True]
    finally:
        machine.run("umount -l /var/cache")
