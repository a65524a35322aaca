"""Fixtures of the tests in a virtual machine: one machine for all of them, and nsprov's command line that reaches it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import image
from commandline import CommandLine
from machine import Machine

LAB = "demo"
INVENTORY = "all:\n  hosts:\n    vm: {user: root}\n"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.vm)


@pytest.fixture(scope="session")
def vm(tmp_path_factory):
    """Give a machine with systemd and a kernel of its own, booted when the first test asks for it."""
    if os.geteuid() != 0:
        pytest.skip("the image can be made by root only")
    if not image.path().is_dir():
        pytest.fail("there is no image: run tests/vm/image.py, outside of the sandbox")
    machine = Machine(image.path(), tmp_path_factory.mktemp("vm"))
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()


@pytest.fixture(name="nsprov")
def _nsprov(vm, tmp_path):
    """Run commands on the host `vm`; the lab goes down in the end, and the machine must be as it was."""
    found = CommandLine(tmp_path, "-i", "inventory.yml", "-F", str(vm.ssh_config))
    found.write("inventory.yml", INVENTORY)
    before = look(vm)
    yield found
    found.end()
    found("down", "--lab", LAB, code=None)
    assert look(vm) == before


def look(vm):
    """Give what a lab could leave."""
    command = "find /sys/fs/cgroup -name 'nsprov*'; find /run/netns /run/nsprov /etc/netns; ip -o link | cut -d: -f1-2"
    return vm.run(f"{command}; pgrep -x stray || true", code=None).out
