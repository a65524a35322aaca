#!/usr/bin/env python3
"""Count what a command costs in SSH: connections and channels per host, read from the logs of the sshds it talks to.

    bench/ssh.py --log lab1=/tmp/lab1/sshd.log --log lab2=/tmp/lab2/sshd.log -- nsprov -i hosts.yml up star.yml

Each sshd must run with `LogLevel VERBOSE`: "Starting session:" is then one line per exec, shell or sftp channel.
Only what the command itself adds to the logs is counted. Exit status: that of the command.
"""

import argparse
import json
import re
import subprocess
import sys
import time

COUNTED = {
    "connections": re.compile(r"Accepted \w+ for "),
    "exec channels": re.compile(r"Starting session: command "),
    "other channels": re.compile(r"Starting session: (?!command )"),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", action="append", required=True, metavar="HOST=FILE", help="once per host")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    options.logs = dict(entry.split("=", 1) for entry in options.log)
    return options


def lengths(logs):
    sizes = {}
    for host, path in logs.items():
        with open(path, "rb") as file:
            sizes[host] = file.seek(0, 2)
    return sizes


def count(path, start):
    with open(path, "rb") as file:
        file.seek(start)
        added = file.read().decode(errors="replace")
    return {what: len(pattern.findall(added)) for what, pattern in COUNTED.items()}


def main():
    options = arguments()
    before = lengths(options.logs)
    start = time.perf_counter()
    status = subprocess.run(options.command, check=False, stdout=sys.stderr).returncode
    wall = time.perf_counter() - start
    time.sleep(0.2)  # the last line may be on its way
    hosts = {host: count(path, before[host]) for host, path in options.logs.items()}
    if options.json:
        print(json.dumps({"command": options.command, "status": status, "wall": wall, "hosts": hosts}))
        return status
    print(f"{wall:.3f} s, exit status {status}\n")
    print("| host | " + " | ".join(COUNTED) + " |")
    print("|---|" + "---|" * len(COUNTED))
    for host, counts in hosts.items():
        print(f"| {host} | " + " | ".join(str(number) for number in counts.values()) + " |")
    return status


if __name__ == "__main__":
    sys.exit(main())
