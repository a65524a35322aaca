"""What a user sees of a run over three hosts: the live display on a real terminal, the table, failures, who failed last."""

from __future__ import annotations

import sys

import pexpect
import pytest
from controlled import INVENTORY, PATIENCE, PROGRAM, big, fleet_fixture  # noqa: F401 - a fixture
from screen import Screen

NODES = 60


def on_a_terminal(fleet, command, *argv, columns=80, rows=24, **environment):
    """Start a command on a terminal of its own."""
    where = {"cwd": str(fleet.nsprov.folder), "env": {**fleet.nsprov.environment, "TERM": "xterm", **environment}}
    full = [*PROGRAM[1:], command, *fleet.nsprov.options, *argv]
    return pexpect.spawn(sys.executable, full, dimensions=(rows, columns), encoding="utf-8", timeout=PATIENCE, **where)


def finished(child, columns=80):
    """Wait for a command's end and give its exit code, and the screen as it then is."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, Screen(columns).feed(child.text + child.before)


def until_it_shows(child, text):
    """Wait until something is drawn."""
    child.expect(text)
    child.text = child.before + child.after


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (60, 3)])
def test_the_display_is_drawn_in_place_and_taken_away(fleet, columns, rows):
    """Hosts at work, never higher or wider than the terminal; in the end only the results are on it."""
    fleet.topology(big(NODES))
    child = on_a_terminal(fleet, "up", columns=columns, rows=rows)
    until_it_shows(child, r"of 3 hosts done")
    code, screen = finished(child, columns)
    fleet.nsprov("down", "--lab", "big")

    assert code == 0, screen.rows
    assert any(rows - 1 >= len(picture) > 0 and " of 3 hosts done" in picture[-1] for picture in screen.pictures)
    assert all(len(picture) <= rows - 1 for picture in screen.pictures[:-1] if "lab big" not in "".join(picture))
    assert [row[: len("lab big on labN: ")] for row in screen.shown()[:-1]] == [f"lab big on lab{n}: " for n in (1, 2, 3)]
    assert screen.shown()[-1].startswith("all 3 hosts are ok")


def test_control_c_leaves_a_clean_terminal(fleet):
    """What was drawn is gone, "^C" too; what is said then is whole, and nothing is left on the hosts."""
    fleet.topology(big(4 * NODES))
    child = on_a_terminal(fleet, "up")
    until_it_shows(child, r"create ")
    child.sendintr()
    code, screen = finished(child)

    assert code == 130, screen.rows
    assert not [row for row in screen.shown() if "at work" in row or "^C" in row or "#" in row]
    assert any("lab big is as it was before this run" in row for row in screen.shown())
    fleet.nothing_left()


def test_what_failed_is_in_a_table_and_remembered(fleet):
    """One host of three cannot be entered: none is begun, the table says so, `@failed` is that one, and no other run's."""
    fleet.inventory(INVENTORY.replace("ansible_become_password: ", "ansible_become_password: not-"))
    said = fleet.nsprov("up", code=4)
    table = [line.split() for line in said.err.splitlines() if line.startswith(("HOST ", "lab1 ", "lab2 ", "lab3 "))]
    json = fleet.nsprov("up", "-o", "json", code=4).json["hosts"]
    chosen = fleet.nsprov("doctor", "@failed", "-o", "json", code=4).json["hosts"]
    limited = fleet.nsprov("ls", "--limit", "@failed", code=4)
    fleet.inventory(INVENTORY)
    fleet.nsprov("ls")
    nobody = fleet.nsprov("ls", "--limit", "@failed", code=9)

    assert table[0] == ["HOST", "CONNECT", "RESULT"]
    assert [(row[0], row[-1]) for row in table[1:]] == [("lab1", "begun"), ("lab2", "begun"), ("lab3", "failed")]
    assert table[3] == ["lab3", "failed", "failed"]
    assert "`nsprov doctor @failed` looks at the hosts that failed" in said.err
    assert [json[host]["result"] for host in ("lab1", "lab2", "lab3")] == ["not begun", "not begun", "failed"]
    assert json["lab3"]["phases"]["connect"]["ok"] is False
    assert list(chosen) == ["lab3"]
    assert "lab3" in limited.err
    assert "lab1" not in limited.err
    assert "@failed" in nobody.err


def test_a_failure_of_many_hosts_is_said_once(fleet):
    """Two hosts without sshd are one message that names both."""
    text = INVENTORY.replace("      user: lab\n      become: true\n", "      user: root\n")
    for address in ("10.87.0.1", "10.87.0.2"):
        text = text.replace(f"{address}\n", f"{address}\n      port: 2222\n")
    fleet.inventory(text)
    said = fleet.nsprov("up", code=4)

    assert said.err.count("error: ") == 1
    assert "  --> lab1, lab2\n" in said.err


def test_lines_where_there_is_no_terminal(fleet):
    """A line per host and phase; JSON lines have the steps too; -q has nothing."""
    plain = fleet.nsprov("up").err.splitlines()
    quiet = fleet.nsprov("up", "-q").err
    fleet.nsprov("down", "--progress", "json")
    phases = [line.split(" (")[0] for line in plain if " ok (" in line]

    assert quiet == ""
    assert {f"lab{n}: {phase} ok" for n in (1, 2, 3) for phase in ("connect", "prepare", "apply", "commit")} <= set(phases)
    assert len(phases) == len(set(phases)), "each once"


def test_timing_is_of_every_host(fleet):
    """`--timing` says where the time went on each, and gives the table."""
    said = fleet.nsprov("plan", "--timing").err

    assert all(f"  lab{number}         observe" in said for number in (1, 2, 3))
    assert "HOST  CONNECT  " in said
