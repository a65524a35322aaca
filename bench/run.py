#!/usr/bin/env python3
"""Benchmark nsprov against its rivals on a star of N nodes; README.md beside this file says what is fair."""

import argparse
import contextlib
import ctypes
import fcntl
import json
import operator
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

from contenders import HERE, contenders

SANDBOX = ["unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "--propagation", "private"]
CLONE_NEWNS, NS_GET_MNTNS_ID = 0x20000, 0x8008B705
SLOW_AT = 500  # slow contenders run once there, and not above
NAMES = list(contenders(1, [], ""))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10,100,500,1000", help="nodes of the star (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s; medians are shown")
    parser.add_argument("--only", default=",".join(NAMES), help="contenders (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="slow contenders at every size and in every round")
    parser.add_argument("--nsprov", default=f"{sys.executable} -m nsprov", help="the command (default: %(default)s)")
    parser.add_argument("--settle", type=float, default=1.0, help="seconds of rest after a step at 250 nodes or more")
    parser.add_argument("--memory", action="store_true", help="one more round that samples memory, and is not timed")
    parser.add_argument("--json", metavar="FILE", help="every single measurement")
    options = parser.parse_args()
    options.sizes = [int(size) for size in options.sizes.split(",")]
    options.only = options.only.split(",")
    unknown = sorted(set(options.only) - set(NAMES))
    if unknown:
        parser.error(f"unknown contender {', '.join(unknown)}; known: {', '.join(NAMES)}")
    if os.geteuid():
        parser.error("needs root")
    return options


def lowest_cpu():
    """Return the CPU that hands out the lowest namespace ids.

    Since Linux 6.18 ids come in batches per CPU, and a mount namespace can be pinned only from one with a lower id
    (mnt_ns_loop() in fs/namespace.c). The machine's own has the lowest of all; so has a sandbox that is made on this CPU.
    """
    libc, ids = ctypes.CDLL(None, use_errno=True), {}
    for cpu in sorted(os.sched_getaffinity(0)):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.sched_setaffinity(0, {cpu})
            answer = bytearray(8)
            if libc.unshare(CLONE_NEWNS) == 0:
                with contextlib.suppress(OSError):  # a kernel before 6.11: any CPU is as good as another
                    fcntl.ioctl(os.open("/proc/self/ns/mnt", os.O_RDONLY), NS_GET_MNTNS_ID, answer)
            os.write(writer, answer)
            os._exit(0)
        ids[cpu] = int.from_bytes(os.read(reader, 8), sys.byteorder)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    return min(ids, key=ids.get)


def compile_star(directory):
    star = os.path.join(directory, "star")
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", star, os.path.join(HERE, "star.c")], check=True)
    return star


# ---- measuring ----


def one_run(name, size, options, star, *, memory=False):
    spec = {
        "contender": name,
        "size": size,
        "nsprov": shlex.split(options.nsprov),
        "star": star,
        "settle": min(options.settle, options.settle * size / 250),
        "memory": memory,
        "cpus": sorted(os.sched_getaffinity(0)),
    }
    command = ["taskset", "-c", str(lowest_cpu()), *SANDBOX, sys.executable, os.path.join(HERE, "sandbox.py"), json.dumps(spec)]
    finished = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    subprocess.run([star, "barrier"], check=True)  # what the sandbox left to the kernel must not slow the next one
    outcome = json.loads(finished.stdout) if finished.stdout else {"error": f"the sandbox ended with {finished.returncode}"}
    return {"contender": name, "size": size, **outcome}


def takes_part(name, size, turn, options):
    slow = contenders(size, [], "")[name].slow and not options.all
    return not slow or size < SLOW_AT or (size == SLOW_AT and turn == 0)


def all_runs(options, star):
    """Yield every run: one small one of each contender that does not count, then the rounds, alternating."""
    broken = set()
    for name in options.only:
        outcome = one_run(name, 2, options, star)
        if "error" in outcome:
            broken.add(name)
            yield {**outcome, "round": "warm-up"}
    willing = [name for name in options.only if name not in broken]
    for size in options.sizes:
        for turn in range(options.rounds):
            for name in willing:
                if takes_part(name, size, turn, options):
                    yield {**one_run(name, size, options, star), "round": turn}
        if options.memory:
            for name in willing:
                if takes_part(name, size, 0, options):
                    yield {**one_run(name, size, options, star, memory=True), "round": "memory"}


def show_progress(outcome):
    took = outcome.get("error") or "  ".join(f"{step} {took['wall']:.3f}" for step, took in outcome["steps"].items())
    print(f"{outcome['contender']} {outcome['size']} [{outcome['round']}]: {took}", file=sys.stderr)


def machine():
    def said(*argv):
        answer = subprocess.run(argv, check=False, capture_output=True, text=True)
        return answer.stdout.strip() if answer.returncode == 0 else None

    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "iproute2": said("ip", "-V"),
        "mininet": said("dpkg-query", "-W", "-f", "${Version}", "mininet"),
        "gcc": said("gcc", "-dumpfullversion"),
        "load": os.getloadavg(),
        "date": time.strftime("%Y-%m-%d"),
    }


# ---- reporting ----


class Figures:
    """The walls of all rounds that count, by contender, size and step."""

    def __init__(self, outcomes):
        self.walls, self.samples = {}, {}
        for outcome in outcomes:
            for step, took in outcome.get("steps", {}).items():
                key = outcome["contender"], outcome["size"], step
                if outcome["round"] == "memory":
                    self.samples[key] = took["peak_pss_kib"]
                else:
                    self.walls.setdefault(key, {})[outcome["round"]] = took

    def median(self, *key, field="wall"):
        rounds = [took[field] for took in self.walls.get(key, {}).values() if field in took]
        return statistics.median(rounds) if rounds else None

    def ratio(self, key, other):
        """Return the median of the ratios round by round, or the ratio of medians where the rounds differ."""
        ours, theirs = self.walls.get(key), self.walls.get(other)
        if not ours or not theirs:
            return None
        if ours.keys() == theirs.keys():
            return statistics.median(took["wall"] / theirs[turn]["wall"] for turn, took in ours.items())
        return self.median(*key) / self.median(*other)


def table(figures, names, sizes, step, subject="nsprov"):
    """Seconds, and in brackets how many times the subject's seconds that is."""
    rows = []
    for name in names:
        cells = []
        for size in sizes:
            seconds = figures.median(name, size, step)
            ratio = figures.ratio((name, size, step), (subject, size, step))
            times = "" if ratio is None or name == subject else f" (x{ratio:.2f})"
            cells.append("-" if seconds is None else f"{seconds:.3f}{times}")
        if set(cells) != {"-"}:
            rows.append(f"| {name} | " + " | ".join(cells) + " |")
    if rows:
        yield f"| {step} | " + " | ".join(str(size) for size in sizes) + " |"
        yield "|---|" + "---|" * len(sizes)
        yield from rows
        yield ""


def memory_table(figures, names, sizes):
    yield "| MiB: largest process / sum of PSS | " + " | ".join(str(size) for size in sizes) + " |"
    yield "|---|" + "---|" * len(sizes)
    for name in names:
        for step in ("up", "no-op"):
            cells = []
            for size in sizes:
                largest = figures.median(name, size, step, field="max_rss_kib")
                total = figures.samples.get((name, size, step))
                cells.append(" / ".join("-" if kib is None else f"{kib / 1024:.1f}" for kib in (largest, total)))
            if set(cells) != {"- / -"}:
                yield f"| {name} {step} | " + " | ".join(cells) + " |"
    yield ""


def targets(figures):
    """Yield (what, the measured ratio or None, how it must compare, the limit)."""
    for ours, floor in (("nsprov", "c"), ("nsprov-full", "c-full")):
        up = ours, 500, "up"
        for rival, how, limit in (
            ("shell", operator.ge, 12),
            ("batch-move", operator.gt, 1),
            ("batch-inplace", operator.gt, 1),
            ("mininet", operator.ge, 6),
        ):
            yield f"{ours}: up of 500, times faster than {rival}", figures.ratio((rival, 500, "up"), up), how, limit
        yield f"{ours}: up of 500 over that of {floor}", figures.ratio(up, (floor, 500, "up")), operator.le, 3
        yield f"{ours}: second up of 500 over the first", figures.ratio((ours, 500, "no-op"), up), operator.lt, 0.4
        growth = figures.ratio((ours, 1000, "up"), (ours, 100, "up"))
        yield f"{ours}: up per node, 1000 over 100", growth and growth / 10, operator.le, 1.5


def target_table(figures):
    signs = {operator.ge: ">=", operator.gt: ">", operator.le: "<=", operator.lt: "<"}
    yield "| target | limit | measured | |"
    yield "|---|---|---|---|"
    for what, figure, how, limit in targets(figures):
        measured = "- | not measured" if figure is None else f"{figure:.2f} | {'pass' if how(figure, limit) else 'FAIL'}"
        yield f"| {what} | {signs[how]} {limit} | {measured} |"
    yield ""


def report(outcomes, options, about):
    figures = Figures(outcomes)
    names, sizes = options.only, options.sizes
    yield f"Linux {about['kernel']}, {about['cpus']} CPUs, Python {about['python']}, {about['iproute2']}, {about['date']};"
    yield f"median seconds of {options.rounds} alternating rounds, whole processes; in brackets: times nsprov's."
    yield ""
    for step in ("up", "no-op", "edit", "down"):
        yield from table(figures, names, sizes, step)
    yield from memory_table(figures, names, sizes)
    yield from target_table(figures)
    for outcome in outcomes:
        if "error" in outcome:
            yield f"- {outcome['contender']} failed at {outcome['size']} (round {outcome['round']}): {outcome['error']}"


def main():
    options = arguments()
    about, outcomes = machine(), []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for outcome in all_runs(options, compile_star(directory)):
            show_progress(outcome)
            outcomes.append(outcome)
    print("\n".join(report(outcomes, options, about)))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"machine": about, "runs": outcomes}, file, indent=1)
    return 1 if any("error" in outcome for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
