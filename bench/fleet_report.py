"""The tables of the fleet's benchmark, in markdown, from its measurements."""

import json
import os
import platform
import re
import subprocess
import sys
import time

NSPROV_STEPS = ("up", "first contact", "no-op", "down")
FAR = 50
AGAIN = 2  # rounds on many hosts


def machine(options, took):
    """Say what it was measured on and with."""

    def said(*argv):
        try:
            answer = subprocess.run(argv, check=False, capture_output=True, text=True)
        except OSError:
            return ""
        return (answer.stdout + answer.stderr).strip() if answer.returncode == 0 else ""

    def number(text):
        found = re.search(r"\d+(\.\d+)+\w*", text)
        return found[0] if found else "not there"

    about = {"kernel": platform.release(), "cpus": os.cpu_count(), "python": platform.python_version()}
    about["openssh"] = number(said("ssh", "-V"))
    if not options.quick:
        about["ansible-core"] = number(said(str(options.rivals / "ansible-playbook"), "--version"))
        about["pyinfra"] = number(said(str(options.rivals / "pyinfra"), "--version"))
    about.update(load=os.getloadavg(), took=took, date=time.strftime("%Y-%m-%d"))
    return about


class Figures:
    """All measurements that came to an end, and the least of those that belong together."""

    def __init__(self, rows):
        self.rows = [row for row in rows if "error" not in row]

    def of(self, **wanted):
        return [row for row in self.rows if all(row.get(name) == value for name, value in wanted.items())]

    def least(self, what="wall", **wanted):
        values = [what(row) if callable(what) else row[what] for row in self.of(**wanted)]
        return min(values, default=None)

    def values(self, name, **wanted):
        return sorted({row[name] for row in self.of(**wanted)})


def report(rows, about):
    figures = Figures(rows)
    with_what = ", ".join(f"{name} {about[name]}" for name in ("openssh", "ansible-core", "pyinfra") if name in about)
    yield f"Linux {about['kernel']}, {about['cpus']} CPUs, Python {about['python']}, {with_what}, {about['date']}."
    yield f"Seconds of whole processes, the least of {AGAIN} rounds on many hosts, and on one host of:"
    yield ", ".join(f"{name} {count}" for name, count in about["rounds"].items()) + "; in brackets: times nsprov's `up`."
    yield f"Load at the end: {about['load'][0]:.1f}; it took {about['took'] / 60:.0f} minutes."
    yield ""
    for part in (by_distance, by_hosts, by_cost, by_memory, targets):
        yield from part(figures)
    for row in rows:
        if "error" in row:
            yield f"- {row['contender']} failed ({row['title']}, {row['hosts']} hosts, {row['rtt']} ms): {row['error']}"


def header(*cells):
    yield "| " + " | ".join(map(str, cells)) + " |"
    yield "|---" * len(cells) + "|"


def line(*cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def cell(seconds, other=None):
    if seconds is None:
        return "-"
    return f"{seconds:.2f}" + (f" (x{seconds / other:.1f})" if other else "")


def by_distance(figures):
    rtts = figures.values("rtt", title="one")
    if not rtts:
        return
    nodes = figures.values("nodes", title="one")[0]
    yield f"### {nodes} nodes on one host, by round trip time"
    yield ""
    yield from header("", *(f"{rtt} ms" for rtt in rtts), "round trips", "logins", "channels")
    rows = [("nsprov", step) for step in NSPROV_STEPS]
    rows += [(name, "up") for name in dict.fromkeys(row["contender"] for row in figures.of(title="one")) if name != "nsprov"]
    for name, step in rows:
        found = figures.of(title="one", contender=name, step=step)
        if found:
            ours = {rtt: figures.least(title="one", contender="nsprov", step="up", rtt=rtt) for rtt in rtts}
            walls = {rtt: figures.least(title="one", contender=name, step=step, rtt=rtt) for rtt in rtts}
            cells = [cell(walls[rtt], None if (name, step) == ("nsprov", "up") else ours[rtt]) for rtt in rtts]
            counts = [max(max(row[what]) for row in found) for what in ("logins", "channels")]
            yield line(f"{name} {step}" if name == "nsprov" else name, *cells, slope(walls), *counts)
    yield ""


def slope(walls):
    """Give how many round trips the growth of the time amounts to."""
    near, far = min(walls), max(walls)
    if near == far or walls[near] is None or walls[far] is None:
        return "-"
    return f"{(walls[far] - walls[near]) * 1000 / (far - near):.1f}"


def by_hosts(figures):
    hosts = figures.values("hosts", title="spread")
    if not hosts:
        return
    nodes = figures.values("nodes", title="spread")[0]
    yield f"### {nodes} nodes, by number of hosts"
    yield ""
    yield from header("", *(f"{count} hosts" if count > 1 else "1 host" for count in hosts), "channels per host")
    for rtt in figures.values("rtt", title="spread"):
        for name, step in [*(("nsprov", step) for step in NSPROV_STEPS), ("ansible", "up")]:
            wanted = {"title": "spread", "contender": name, "step": step, "rtt": rtt}
            if figures.of(**wanted):
                cells = []
                for count in hosts:
                    ours = figures.least(title="spread", contender="nsprov", step="up", rtt=rtt, hosts=count)
                    cells.append(cell(figures.least(**wanted, hosts=count), None if name == "nsprov" else ours))
                yield line(f"{name} {step}, {rtt} ms", *cells, max(max(row["channels"]) for row in figures.of(**wanted)))
    yield ""


def whole(row):
    return row["cpu"] + row["hosts_cpu"]


def by_cost(figures):
    hosts = figures.values("hosts", title="cpu")
    if not hosts:
        return
    yield "### CPU seconds, 100 nodes"
    yield ""
    yield from header("", *(f"{count} hosts" if count > 1 else "1 host" for count in hosts))
    for step in ("up", "no-op"):
        rows = {count: min(figures.of(title="cpu", step=step, hosts=count), key=whole) for count in hosts}
        yield line(f"{step}: controller", *(f"{row['cpu']:.2f}" for row in rows.values()))
        yield line(f"{step}: hosts, sshd and agent", *(f"{row['hosts_cpu']:.2f}" for row in rows.values()))
        yield line(f"{step}: of that the agents", *(f"{row['agents_cpu']:.2f}" for row in rows.values()))
        yield line(f"{step}: whole / agents", *(f"{whole(row) / row['agents_cpu']:.2f}" for row in rows.values()))
    if len(hosts) > 1:
        low, high = (
            min(figures.of(title="cpu", step="up", hosts=count), key=lambda row: row["cpu"]) for count in (hosts[0], hosts[-1])
        )
        more = (high["cpu"] - low["cpu"]) / (high["hosts"] - low["hosts"]) * 1000
        yield ""
        yield f"Each further host costs the controller {more:.1f} ms of CPU."
    yield ""


def by_memory(figures):
    hosts = figures.values("hosts", title="memory")
    if not hosts:
        return
    yield "### What the controller holds during `up`, 100 nodes"
    yield ""
    yield from header("", *(f"{count} hosts" if count > 1 else "1 host" for count in hosts))
    rows = [figures.of(title="memory", step="up", hosts=count)[0] for count in hosts]
    yield line("largest process, MiB", *(f"{row['max_rss_kib'] / 1024:.1f}" for row in rows))
    yield line("sum of PSS, MiB", *(f"{row['pss_kib'] / 1024:.1f}" for row in rows))
    yield line("threads", *(row["threads"] for row in rows))
    yield line("descriptors", *(row["descriptors"] for row in rows))
    for step in ("first contact", "up"):
        for way in ("up", "down"):
            sent = [figures.of(title="memory", step=step, hosts=count)[0]["wire"] for count in hosts]
            most = [max(wire[way] for wire in wires) / 1024 for wires in sent]
            to = "to" if way == "up" else "from"
            yield line(f"{step}: KiB {to} the busiest host, SSH included", *(f"{kib:.1f}" for kib in most))
    yield ""


def targets(figures):
    rows = []
    channels = [max(row["channels"]) for row in figures.of(contender="nsprov")]
    if channels:
        rows.append(("exec channels per host and run", max(channels), "<=", 1))
    ours = figures.least(title="one", contender="nsprov", step="up", rtt=FAR)
    if ours:
        rows.append((f"seconds of `up`, 20 nodes on a host at {FAR} ms", ours, "<=", 1))
        for rival, times in (("ansible", 20), ("pyinfra", 5)):
            theirs = figures.least(title="one", contender=rival, step="up", rtt=FAR)
            if theirs:
                rows.append((f"{rival} / nsprov, 20 nodes on a host at {FAR} ms", theirs / ours, ">=", times))
    ratio = figures.least(lambda row: whole(row) / row["agents_cpu"], title="cpu", step="up", hosts=32)
    if ratio:
        rows.append(("CPU of all / CPU of the agents, `up` on 32 hosts", ratio, "<=", 2.5))
    if rows:
        yield from header("target", "measured", "wanted", "")
        for what, value, how, limit in rows:
            met = value <= limit if how == "<=" else value >= limit
            yield line(what, f"{value:.2f}".rstrip("0").rstrip("."), f"{how} {limit}", "met" if met else "missed")
        yield ""


def deliver(text, rows, about, options):
    """Write the tables and every single measurement to where they are wanted; give the exit code."""
    if options.output:
        options.output.write_text(text)
    else:
        print(text, end="")
    if options.json:
        options.json.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")
    return 1 if any("error" in row for row in rows) else 0


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        found = json.load(file)
    print("\n".join(report(found["rows"], found["machine"])))
