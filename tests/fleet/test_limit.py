"""Inventories as Ansible users have them, and `-l`, on real hosts."""

from __future__ import annotations

from controlled import demo_fixture, fleet_fixture  # noqa: F401 - fixtures
from labhosts import PASSWORD


def test_an_inventory_of_ansible(fleet):
    """INI with a range, a script, templates and files of variables reach three hosts as three users."""
    folder = fleet.nsprov.folder
    fleet.inventory("all: {hosts: {lab1: {ansible_host: 10.87.0.99}}}\n")
    fleet.nsprov.write("hosts", "[racks]\nlab[1:2] ansible_host='{{ net }}.{{ inventory_hostname[-1] }}'\n")
    script = fleet.nsprov.write(
        "more", '#!/bin/sh\necho \'{"racks": {"hosts": ["lab3"], "vars": {"net": "10.87.0"}}, "_meta": {"hostvars": {}}}\'\n'
    )
    script.chmod(0o755)
    (folder / "group_vars").mkdir()
    (folder / "host_vars").mkdir()
    fleet.nsprov.write("group_vars/racks.yml", "ansible_user: lab\nansible_become: yes\n")
    fleet.nsprov.write("group_vars/all.yml", 'ansible_user: root\nansible_host: "{{ net }}.3"\n')
    fleet.nsprov.write("host_vars/lab1.yml", "ansible_user: root\n")
    fleet.nsprov.write("host_vars/lab3.yml", f"ansible_user: labpw\nansible_become_pass: {PASSWORD}\n")
    said = fleet.nsprov("ls", "-i", "hosts", "-i", "more", "-o", "json")

    assert said.json == []


def test_a_part_of_a_lab(demo):
    """`-l` looks at some hosts, and acts on some where nothing is cut; who is not meant is not asked."""
    run = demo.nsprov

    assert [row["host"] for row in run("ls", "-l", "lab2:lab3", "-o", "json").json] == ["lab2", "lab3"]
    assert set(run("audit", "-l", "!lab3", "-o", "json", code=7).json["hosts"]) == {"lab1", "lab2"}
    assert set(run("status", "-l", "lab1", "--detailed-exitcode", "-o", "json").json["hosts"]) == {"lab1"}
    assert set(run("down", "-l", "~lab[23]", "-o", "json").json["hosts"]) == {"lab2", "lab3"}
    assert [bool(demo.netns(place)) for place in range(3)] == [True, False, False]
    assert "the limit leaves no host" in run("up", "-l", "localhost", code=9).err
    assert set(run("up", "-l", "lab2,lab3", "-o", "json").json["hosts"]) == {"lab2", "lab3"}
    assert all(demo.netns(place) for place in range(3))
