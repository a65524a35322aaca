"""What workloads say: kept in bounds, in order, and never in their way."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

pytestmark = pytest.mark.root


def test_streams_and_parts(node):
    """Both streams, long lines in parts, the last line without an end; nothing is written to by anybody else."""
    node.said("w", "echo one; echo two >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf end")
    rows = [line.split(" ", 3)[1:] for line in node.log("w")]
    text = "".join(text for stream, _, text in rows if stream == "stdout")

    assert ["stderr", "F", "two"] in rows
    assert text == "one" + "x" * 40000 + "end"
    assert [tag for stream, tag, _ in rows if stream == "stdout"].count("P") >= 1
    assert os.stat(f"{node.logs}/w.log").st_mode & 0o7777 == 0o640


def test_turning(node):
    """By size, as many as are kept."""
    node.said("w", "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done", log_size=8192, log_keep=2)
    names = sorted(name for name in os.listdir(node.logs) if name.startswith("w.log"))

    assert names == ["w.log", "w.log.1", "w.log.2"]
    assert all(os.path.getsize(f"{node.logs}/{name}") <= 8192 for name in names)
    assert node.log("w")[-1].endswith(" line 1999")
    assert node.status("w")["dropped"] == 0


def test_a_flood(node, memory):
    """100 MB: the files stay small, the init answers, its memory does not grow."""
    before = memory(node.pid)
    node.set("w", "yes 0123456789012345678901234567890123456789 | head -c 100000000; echo; echo over", log_size=65536)
    slowest = 0.0
    while node.status("w")["state"] in ("starting", "running"):
        began = time.monotonic()
        node.ask("hello")
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.02)

    assert node.log("w")[-1].endswith(" over")
    assert sum(os.path.getsize(f"{node.logs}/{name}") for name in os.listdir(node.logs)) <= 2 * 65536
    assert slowest < 1
    assert memory(node.pid) < before + 2000


def test_a_full_disk(small):
    """What does not fit is counted; the workload goes on; when there is room, whole lines follow whole lines."""
    node = small
    with open(f"{node.logs}/ballast", "wb") as file:
        file.write(bytes(40000))
    script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; touch {0}; read x < {1}; echo late"
    flag, fifo = f"{node.path}.flag", f"{node.path}.fifo"
    os.mkfifo(fifo)
    node.set("w", script.format(flag, fifo), type="oneshot")
    node.until("w", lambda status: os.path.exists(flag) and status["dropped"] > 0)
    os.unlink(f"{node.logs}/ballast")
    with open(fifo, "w", encoding="ascii") as file:
        file.write("\n")
    status = node.wait("w")
    lines = node.log("w")

    assert status["state"] == "done"
    assert all(len(line.split(" ")) in (4, 5) for line in lines), lines
    assert lines[0].endswith(" line 0")
    assert lines[-1].endswith(" late")
    assert status["dropped"] > 30000


def test_a_secret_is_in_no_log_of_the_init(node):
    """Nor in a command line; a workload's own words are its own."""
    node.set("w", "sleep 1000", secrets=[["TOKEN", "hunter2"]])
    node.set("v", "no-such", secrets=[["TOKEN", "hunter2"]])
    node.wait("v")
    everything = subprocess.run(["grep", "-r", "hunter2", node.logs], capture_output=True, check=False).stdout
    lines = subprocess.run(["sh", "-c", "cat /proc/[0-9]*/cmdline"], capture_output=True, check=False).stdout

    assert everything == b""
    assert b"hunter2" not in lines
