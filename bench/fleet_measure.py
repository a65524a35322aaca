"""Run one command to its end and give what it took: wall time, CPU of it and its children, and memory if asked."""

import contextlib
import os
import re
import sys
import threading
import time
from pathlib import Path

from fleet_field import Wrong

_PSS = re.compile(r"^Pss:\s+(\d+)", re.MULTILINE)
_THREADS = re.compile(r"^Threads:\s+(\d+)", re.MULTILINE)


def prepare_environment(folder, tree):
    """Give the commands a home of their own, and the nsprov of this tree unless another is meant."""
    (folder / "home").mkdir()
    os.environ.update(HOME=str(folder / "home"), LC_ALL="C.UTF-8", NO_COLOR="1", ANSIBLE_NOCOLOR="1")
    os.environ["XDG_STATE_HOME"] = str(folder / "home" / "state")
    os.environ.setdefault("PYTHONPATH", str(tree))
    os.chdir(folder / "home")  # `python -m` looks for modules here first
    for name in ("SSH_AUTH_SOCK", "ANSIBLE_CONFIG", "ANSIBLE_INVENTORY", "NSPROV_INVENTORY", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)


def measured(argv, environment, log, *, sample=False):
    """Run it; what it says is only of interest when it fails."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
    start = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, {**os.environ, **environment}, file_actions=actions)
    sampler = Sampler(pid) if sample else None
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    os.close(said)
    os.close(null)
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise Wrong(f"{' '.join(argv)} ended with {code}:\n{Path(log).read_text(errors='replace')[-3000:]}")
    took = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "max_rss_kib": usage.ru_maxrss}
    return {**took, **(sampler.ended() if sampler else {})}


class Sampler(threading.Thread):
    """Looks at a process and its descendants again and again, and keeps the most that it sees."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.most = {"pss_kib": 0, "threads": 0, "descriptors": 0, "processes": 0}
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.005):
            family = [self.pid, *descendants(self.pid)]
            now = {"pss_kib": sum(map(pss, family)), "processes": len(family)}
            with contextlib.suppress(OSError, TypeError):  # it has ended meanwhile
                now["threads"] = int(_THREADS.search(Path(f"/proc/{self.pid}/status").read_text())[1])
                now["descriptors"] = len(os.listdir(f"/proc/{self.pid}/fd"))
            self.most = {name: max(value, now.get(name, 0)) for name, value in self.most.items()}

    def ended(self):
        self.over.set()
        self.join()
        return self.most


def descendants(pid):
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def pss(pid):
    try:
        return int(_PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())[1])
    except (OSError, TypeError):  # it has ended meanwhile
        return 0


if __name__ == "__main__":
    print(measured(sys.argv[1:], {}, "/dev/null", sample=True))
