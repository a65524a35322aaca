#!/usr/bin/env python3
"""Measure nsprov over SSH beside Ansible and pyinfra: against the round trip time, the number of hosts, in CPU and memory.

    bench/fleet.py --all --output fleet.md     all of it; about ten minutes
    bench/fleet.py --quick                     one host, nsprov alone: does the benchmark still work?

README.md beside this file says what is measured, what with, and what is fair.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fleet_field
import fleet_report
import fleet_rivals
from fleet_field import Wrong
from fleet_measure import measured, prepare_environment

HERE = Path(__file__).resolve().parent
SANDBOX = HERE.parent / "tests" / "sandbox.sh"
ANSIBLE_HOSTS = 8  # it takes a minute there already

ROUNDS = {"ansible": 1, "pyinfra": 1, "ansible-script": 2, "pyinfra-script": 2}  # of those that take long


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Contenders that do one thing one after the other, so many times."""

    title: str
    contenders: tuple[str, ...]
    nodes: int
    hosts: int
    rtt: int
    rounds: int


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="everything")
    which.add_argument("--quick", action="store_true", help="nsprov on one host, once")
    which.add_argument("--one", action="store_true", help="20 nodes on one host, by distance")
    which.add_argument("--spread", action="store_true", help="100 nodes on 1, 2, 8 and 32 hosts")
    which.add_argument("--cost", action="store_true", help="CPU and memory on 1, 8 and 32 hosts")
    parser.add_argument("--rounds", type=int, default=5, help="of nsprov and ssh (default: %(default)s); the least is shown")
    parser.add_argument("--rtts", default="0,2,20,50", help="milliseconds (default: %(default)s)")
    parser.add_argument("--hosts", default="1,2,8,32", help="for --spread (default: %(default)s)")
    parser.add_argument("--only", default=",".join(fleet_rivals.NAMES), help="contenders (default: %(default)s)")
    parser.add_argument("--nsprov", default=f"{sys.executable} -m nsprov", help="the command (default: %(default)s)")
    parser.add_argument("--rivals", type=Path, default=HERE / ".venv" / "bin", help="where ansible-playbook and pyinfra are")
    parser.add_argument(
        "--output", type=lambda text: Path(text).resolve(), metavar="FILE", help="the tables; standard output without it"
    )
    parser.add_argument("--json", type=lambda text: Path(text).resolve(), metavar="FILE", help="every single measurement")
    parser.add_argument("--trace", action="store_true", help="with --json: every piece that went over the wire")
    options = parser.parse_args()
    options.only = options.only.split(",")
    options.rtts = [int(rtt) for rtt in options.rtts.split(",")]
    options.hosts = [int(count) for count in options.hosts.split(",")]
    unknown = sorted(set(options.only) - set(fleet_rivals.NAMES))
    if unknown:
        parser.error(f"unknown contender {', '.join(unknown)}; known: {', '.join(fleet_rivals.NAMES)}")
    if os.geteuid():
        parser.error("needs root")
    for name, program in (("ansible", "ansible-playbook"), ("pyinfra", "pyinfra")):
        wanted = not options.quick and not options.cost and any(other.startswith(name) for other in options.only)
        if wanted and not (options.rivals / program).exists():
            parser.error(f"no {program} in {options.rivals}: see README.md beside this file, or leave {name} out of --only")
    return options


def scenarios(options):
    """Give what is to be measured, in order."""
    if options.quick:
        return [Scenario("one", ("nsprov",), 3, 1, 2, 1)]
    found = []
    takes = {count: [name for name in options.only if ROUNDS.get(name, options.rounds) == count] for count in (1, 2)}
    takes[options.rounds] = [name for name in options.only if ROUNDS.get(name, options.rounds) == options.rounds]
    if options.all or options.one:
        for rtt in options.rtts:
            found += [Scenario("one", tuple(names), 20, 1, rtt, rounds) for rounds, names in takes.items()]
    if options.all or options.spread:
        far = [rtt for rtt in (0, 50) if rtt in options.rtts]
        found += [
            Scenario("spread", ("nsprov",), 100, hosts, rtt, fleet_report.AGAIN) for hosts in options.hosts for rtt in far
        ]
        ansible = "ansible" in options.only and ANSIBLE_HOSTS in options.hosts
        found += [Scenario("spread", ("ansible",), 100, ANSIBLE_HOSTS, rtt, 1) for rtt in far if ansible]
    if options.all or options.cost:
        found += [Scenario("cpu", ("nsprov-metered",), 100, hosts, 0, fleet_report.AGAIN) for hosts in (1, 8, 32)]
        found += [Scenario("memory", ("nsprov",), 100, hosts, 0, 1) for hosts in (1, 8, 32)]
    return [scenario for scenario in found if scenario.contenders]


# ---- running ----


def run(scenario, field, options):
    """Yield a row for each step of each contender and round."""
    shares = fleet_rivals.plan(scenario.nodes, scenario.hosts)
    for turn in range(scenario.rounds):
        for name in scenario.contenders:
            cold = turn == 0 or scenario.title == "one"
            contender = fleet_rivals.contender(name, field, shares, scenario.rtt, options, cold=cold)
            about = {"title": scenario.title, "contender": name, "nodes": scenario.nodes, "hosts": scenario.hosts}
            about.update(rtt=scenario.rtt, round=turn)
            field.reset(scenario.hosts)
            try:
                for step in contender.steps:
                    yield {**about, "step": step.name, **one_step(step, contender, field, shares, scenario)}
            except (Wrong, AssertionError, subprocess.SubprocessError) as problem:
                yield {**about, "error": str(problem)}
            finally:
                if contender.after:
                    subprocess.run(contender.after, check=False, env={**os.environ, **contender.environment})


def one_step(step, contender, field, shares, scenario):
    hosts = len(shares)
    if step.cold:
        field.reset(hosts, cold=True)
        if scenario.title == "cpu":
            field.meter(hosts)
    before = field.counters(hosts)
    since = time.monotonic()
    took = measured(step.argv, contender.environment, field.folder / "said.log", sample=scenario.title == "memory")
    wire = field.wire(since, scenario.rtt) if "nsprov" in step.argv else []
    after = [now.since(then) for now, then in zip(field.counters(hosts), before, strict=True)]
    if step.leaves == "up":
        field.verify(shares)
    else:
        field.verify_empty(hosts)
    took["logins"] = [counted.logins for counted in after]
    took["channels"] = [counted.channels for counted in after]
    took["hosts_cpu"] = sum(counted.cpu for counted in after)
    if scenario.title == "cpu":
        took["agents_cpu"] = field.metered(hosts)
    took["wire"] = wire
    return took


def show_progress(row):
    what = f"{row['title']}: {row['contender']}, {row['nodes']} nodes on {row['hosts']}, {row['rtt']} ms [{row['round']}]"
    took = row.get("error") or f"{row['step']} {row['wall']:.3f} s"
    print(f"{what}: {took}", file=sys.stderr)


def inside(options):
    """Measure, in the sandbox."""
    rows = []
    wanted = scenarios(options)
    folder = Path(tempfile.mkdtemp(prefix="nsprov-bench-", dir="/run"))
    prepare_environment(folder, HERE.parent)
    began = time.monotonic()
    rtts = sorted({scenario.rtt for scenario in wanted})
    with fleet_field.field(max(s.hosts for s in wanted), rtts, folder, trace=options.trace) as field:
        for scenario in wanted:
            for row in run(scenario, field, options):
                show_progress(row)
                rows.append(row)
    about = fleet_report.machine(options, time.monotonic() - began)
    about["rounds"] = {name: ROUNDS.get(name, options.rounds) for name in options.only}
    text = "\n".join(fleet_report.report(rows, about)) + "\n"
    return fleet_report.deliver(text, rows, about, options)


def main():
    options = arguments()
    if os.environ.get("NSPROV_BENCH_INSIDE"):
        return inside(options)
    argv = [str(SANDBOX), sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
    return subprocess.run(argv, check=False, env={**os.environ, "NSPROV_BENCH_INSIDE": "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
