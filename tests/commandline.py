"""The real command line as a subprocess, and waiting for what it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROGRAM = (sys.executable, "-m", "nsprov")
ROOT = Path(__file__).parents[1]
PATIENCE = 30.0
"""Seconds that anything may take; only a failing test ever waits so long."""


@dataclass(frozen=True)
class Said:
    """What a run came to."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """Read the whole of stdout as one JSON document."""
        return json.loads(self.out)

    @property
    def lines(self):
        """Read each line of stdout as a JSON document."""
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """Runs nsprov in a folder, with an environment that has nothing of the user's."""

    def __init__(self, folder, *options, home=None):
        """Store the folder and the options that every command gets."""
        self.folder = Path(folder)
        self.options = options
        names = ("PATH", "LANG", "NSPROV_SANDBOX", "COVERAGE_PROCESS_START")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        self.environment = {**kept, "HOME": str(home or folder), "PYTHONPATH": str(ROOT), "TERM": "dumb", "USER": "alice"}
        self._running = []

    def __call__(self, command, *argv, code=0, cwd=None, env=None, **options):
        """Run a command, which must exit with `code`, and give what it said; a traceback is always a failure."""
        full = [*PROGRAM, command, *self.options, *map(str, argv)]
        environment = {**self.environment, **(env or {})}
        options = {"stdin": subprocess.DEVNULL, "timeout": 4 * PATIENCE, **options}
        if "input" in options:
            del options["stdin"]
        done = subprocess.run(full, capture_output=True, check=False, cwd=cwd or self.folder, env=environment, **options)
        said = Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        told = f"{' '.join(full)}: exit {said.code}\n{said.out[-1500:]}{said.err[-3000:]}"
        assert "Traceback" not in said.err, told
        assert code is None or code == said.code, told
        return said

    def start(self, command, *argv, env=None, **options):
        """Start a command in a process group of its own and give its Popen, all pipes open."""
        pipe = subprocess.PIPE
        options = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, "cwd": self.folder, **options}
        argv = [*PROGRAM, command, *self.options, *map(str, argv)]
        environment = {**self.environment, **(env or {})}
        # Unbuffered: what a line that is read takes along, `communicate` would never see.
        process = subprocess.Popen(argv, env=environment, process_group=0, bufsize=0, **options)
        self._running.append(process)
        return process

    def write(self, name, text):
        """Write a file into the folder and give its path."""
        path = self.folder / name
        path.write_text(text)
        return path

    def end(self):
        """Kill what still runs."""
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def finish(process):
    """Wait for a started command and give what it said."""
    out, err = process.communicate(timeout=4 * PATIENCE)
    said = Said(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    assert "Traceback" not in said.err, said.err
    return said


def read_until(process, text):
    """Read a started command's stderr until a line has `text`; fail if it ends before."""
    seen = []
    for line in iter(process.stderr.readline, b""):
        seen.append(line.decode())
        if text in seen[-1]:
            return seen
    raise AssertionError(f'it ended without saying "{text}": {"".join(seen)}')


def until(condition, what, pause=0.005):
    """Wait for a condition and give what it came to."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(pause)
    return found
