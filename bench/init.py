#!/usr/bin/env python3
"""Measure what many inits cost, each with one workload: bench/init.py [COUNT] [SECONDS]

Needs root; everything happens in namespaces of its own, which are gone afterwards.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from nsprov.init import client
from nsprov.init.spawn import Birth, Zygote

FIELDS = ("Rss", "Pss", "Pss_Anon", "Pss_File", "Private_Dirty", "Private_Clean")


def memory(pid):
    """Give what a process has, in kB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        words = [line.split() for line in file]
    return {word[0][:-1]: int(word[1]) for word in words if word[0][:-1] in FIELDS}


def start(directory, count):
    """Start inits, in one zygote; give their sockets and their pids."""
    logs = f"{directory}/log"
    os.mkdir(logs)
    paths, pids = [f"{directory}/{number}.sock" for number in range(count)], []
    with Zygote() as zygote:
        for path in paths:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path)
                listener.listen(8)
                zygote.ask(Birth("n", listener.detach(), os.open(logs, os.O_RDONLY), [], {}, True))
            _, pid, space = zygote.born()
            os.close(space)
            pids.append(pid)
    return paths, pids


def report(what, pids):
    """Print the mean of each figure, and the largest share."""
    rows = [memory(pid) for pid in pids]
    means = "  ".join(f"{field} {sum(row[field] for row in rows) / len(rows):.0f}" for field in FIELDS)
    print(f"{what:12} {means}  largest Pss {max(row['Pss'] for row in rows)} kB", flush=True)


def main(count, seconds):
    """Measure, one line for each state."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.monotonic()
        paths, pids = start(directory, count)
        print(f"{count} inits in {time.monotonic() - began:.2f} s")
        report("alone", pids)
        began = time.monotonic()
        spec = {"node": "n", "name": "web", "command": ["sleep", "1000"], "restart": "always"}
        for path in paths:
            client.ask(path, {"verb": "set", "name": "web", "spec": spec}, timeout=60)
        for path in paths:
            client.ask(path, {"verb": "wait", "name": "web", "for": "ready", "timeout": 60}, timeout=90)
        print(f"{count} workloads in {time.monotonic() - began:.2f} s")
        report("one workload", pids)
        time.sleep(seconds)
        began = time.monotonic()
        for path in paths:
            client.ask(path, {"verb": "hello"}, timeout=60)
        print(f"{count} hellos in {time.monotonic() - began:.2f} s")
        report("later", pids)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    if "--inside" not in sys.argv:
        inside = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        sys.exit(subprocess.run([*inside, sys.executable, __file__, "--inside", *sys.argv[1:]], check=False).returncode)
    given = [int(word) for word in sys.argv[1:] if word != "--inside"]
    main(*(given + [200, 2][len(given) :]))
