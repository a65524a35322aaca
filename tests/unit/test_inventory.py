"""The inventory: Ansible's words and ours, groups and variables, secrets that stay secret."""

import pytest

from nsprov.errors import InputError, NothingMatched
from nsprov.inventory import Host, Secret, load_inventory

TEXT = """
all:
  vars: {ansible_user: root, region: eu}
  hosts:
    lab1: {ansible_host: 10.0.0.1, ansible_port: 2222, ansible_become: true, ansible_become_password: hunter2}
  children:
    west:
      vars: {user: admin}
      hosts:
        lab2: {python: /usr/bin/python3, private_key: ~/.ssh/id, region: us}
        lab3:
"""


@pytest.fixture
def inventory(tmp_path):
    """Give a function that loads an inventory from text."""

    def make(text):
        path = tmp_path / "hosts.yml"
        path.write_text(text, encoding="utf-8")
        return load_inventory(str(path))

    return make


def test_no_inventory():
    """Without an inventory there is this machine, and nothing is connected to."""
    found = load_inventory(None)

    assert (Host(name="localhost", address="localhost", connection="local"),) == found.select("all")


def test_hosts(inventory):
    """Hosts have their own values, their groups' under them, in Ansible's words or the short ones."""
    found = inventory(TEXT)
    one, two = found.host("lab1"), found.host("lab2")

    assert (one.address, one.port, one.user, one.become, one.connection) == ("10.0.0.1", 2222, "root", True, "ssh")
    assert (
        two.address,
        two.port,
        two.user,
        two.python,
        two.private_key,
    ) == ("lab2", None, "admin", "/usr/bin/python3", "~/.ssh/id")
    assert (one.variables["region"], two.variables["region"]) == ("eu", "us")


def test_select(inventory):
    """A pattern is a host, a group, `all`, or a shell pattern."""
    found = inventory(TEXT)

    assert [host.name for host in found.select("all")] == ["lab1", "lab2", "lab3"]
    assert [host.name for host in found.select("west")] == ["lab2", "lab3"]
    assert [host.name for host in found.select("lab3")] == ["lab3"]
    assert [host.name for host in found.select("lab*")] == ["lab1", "lab2", "lab3"]
    assert found.select("localhost")[0].connection == "local"


@pytest.mark.parametrize(("pattern", "hint"), [("lab9", 'use "lab3"'), ("wets", 'use "west"'), ("x*", "")])
def test_nothing_matched(inventory, pattern, hint):
    """What matches nothing is said so, with the nearest name."""
    with pytest.raises(NothingMatched) as caught:
        inventory(TEXT).select(pattern)

    assert hint in caught.value.diagnostics[0].hint
    assert caught.value.diagnostics[0].hint


def test_secrets(inventory):
    """A password is shown nowhere, and is not among the variables."""
    host = inventory(TEXT).host("lab1")

    assert "hunter2" not in f"{host!r}{host}{host.become_password}"
    assert host.become_password.reveal() == "hunter2"
    assert Secret("hunter2") == host.become_password
    assert "hunter2" not in str(host.variables)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a", [":1:1: an inventory must be a mapping"]),
        ("all: {host: {}}", [':1:7: unknown key "host"']),
        ("all: {hosts: [a]}", [':1:14: "hosts" must be a mapping']),
        ("all: {hosts: {a: {ansible_port: x}}}", [':1:33: "ansible_port" must be a whole number, not "x"']),
        ("all: {hosts: {a: {ansible_connection: winrm}}}", [':1:39: connection "winrm" is not supported']),
    ],
)
def test_wrong_inventories(inventory, text, expected):
    """What is wrong in an inventory is said with its line and column, and a way out."""
    with pytest.raises(InputError) as caught:
        inventory(text)
    found = caught.value.diagnostics

    assert expected == [f":{one.where.partition('.yml:')[2]}: {one.summary}" for one in found]
    assert all(one.hint for one in found)
