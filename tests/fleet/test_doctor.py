"""`nsprov doctor` on hosts with a real sshd: what it finds, that it changes nothing, and who cannot be entered."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from controlled import INVENTORY, PROGRAM, fleet_fixture  # noqa: F401 - a fixture

NOWHERE = """\
    lab4:
      host: 10.87.0.3
      port: 2222
      user: root
"""


def checks(row):
    """Give what was looked at on a host by its name."""
    return {check["name"]: check for check in row["checks"]}


def test_it_looks_at_every_host_and_changes_none(fleet):
    """One login and one command on each; what is not as it could be is said once, with the hosts."""
    before = [(host.logins(), host.sessions()) for host in fleet.hosts]
    said = fleet.nsprov("doctor")
    used = [(h.logins() - was[0], h.sessions() - was[1]) for h, was in zip(fleet.hosts, before, strict=True)]

    assert used == [(1, 1)] * 3
    assert fleet.changed_hosts() == []
    assert [line.split()[0] for line in said.out.splitlines()[:4]] == ["HOST", "lab1", "lab2", "lab3"]
    assert said.out.count("limited: cgroups on lab1, lab2, lab3: ") == 1
    assert said.err.count("doctor ok") == 3


def test_what_it_finds(fleet):
    """Python, root however it became that, links between hosts, the way to the others, both clocks: as JSON."""
    hosts = fleet.nsprov("doctor", "lab2", "-o", "json").json["hosts"]
    found = checks(hosts["lab2"])
    every = fleet.nsprov("doctor", "-o", "json").json["hosts"]

    assert list(hosts) == ["lab2"]
    assert all(found[name]["state"] == "ok" for name in ("python", "kernel", "veth", "bridge", "vxlan", "/run", "clock"))
    assert found["privileges"]["what"].startswith("root")
    assert "1 exec channel" in found["connection"]["what"]
    assert "underlay" not in found, "there is no other host to reach"
    assert [checks(row)["underlay"]["what"] for row in every.values()] == [
        f"10.87.0.{number} by eth0, MTU 1500, to 2 hosts" for number in (1, 2, 3)
    ]


def test_who_cannot_be_entered_hides_nobody(fleet):
    """A host without Python and one that is not there are told of beside the others; `@failed` is then those two."""
    lame = INVENTORY.replace("    lab2:\n", "    lab2:\n      python: /usr/bin/no-python\n")
    fleet.inventory(lame + NOWHERE)
    said = fleet.nsprov("doctor", code=4)
    again = fleet.nsprov("doctor", "@failed", "-o", "json", code=4)
    fleet.inventory(INVENTORY + NOWHERE.replace("      port: 2222\n", ""))
    mended = fleet.nsprov("doctor", "@failed", "-o", "json")
    nobody = fleet.nsprov("doctor", "@failed", code=9)
    rows = {line.split()[0]: line.split()[1:] for line in said.out.splitlines()[1:5]}

    assert [rows[f"lab{number}"][0] == "unreachable" for number in (1, 2, 3, 4)] == [False, True, False, True]
    assert "no usable Python on the host" in " ".join(rows["lab2"])
    assert '"/usr/bin/no-python" is not there' in said.err
    assert list(again.json["hosts"]) == ["lab2", "lab4"]
    assert [row["state"] for row in mended.json["hosts"].values()].count("unreachable") == 0
    assert "no host failed in the last run" in nobody.err


def test_a_host_on_which_we_are_not_root(fleet):
    """What is missing, what for, and what to do: exit 7; nothing that only root could find out is called missing."""
    fleet.inventory(INVENTORY.replace("      become: true\n", ""))
    said = fleet.nsprov("doctor", "lab2", code=7)
    row = fleet.nsprov("doctor", "lab2", "-o", "json", code=7).json["hosts"]["lab2"]

    assert "missing: privileges: uid 2001" in said.out
    assert "for: making namespaces" in said.out
    assert "help: become root" in said.out
    assert row["state"] == "missing"
    assert [name for name, check in checks(row).items() if check["state"] == "missing" and check["required"]] == [
        "privileges",
        "/run",
    ]


def test_who_is_not_root_on_this_machine(tmp_path):
    """Without sudo and without an inventory: what root is needed for, exit 7, and no host is asked."""
    ordinary = ["unshare", "--user", "--map-user=1000", *PROGRAM, "doctor", "-o", "json"]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(ordinary, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
    row = json.loads(done.stdout)["hosts"]["localhost"]

    assert done.returncode == 7
    assert [check["name"] for check in row["checks"] if check["state"] == "missing" and check["required"]][:1] == ["privileges"]
    assert checks(row)["mounts"]["state"] == "unknown"


def test_a_lost_host_hides_nothing_of_the_others(fleet):
    """Commands that look show what there is to see, and exit 4, or 7 where they found something."""
    fleet.nsprov("up")
    fleet.inventory(INVENTORY + NOWHERE)
    commands = {"ls": 4, "status": 4, "ps": 4, "audit": 7}
    said = {
        name: fleet.nsprov(name, *(["--lab", "demo"] if name != "ls" else []), code=code) for name, code in commands.items()
    }
    fleet.inventory(INVENTORY)
    fleet.nsprov("down")

    assert [name for name, one in said.items() if "root@[10.87.0.3]:2222 does not answer" not in one.err] == []
    assert [name for name, one in said.items() if "lab1" not in one.out or "lab3" not in one.out] == ["ps"], (
        "it has no workloads"
    )
    assert "lab demo on lab1, lab2, lab3: nothing to do" in said["status"].out
