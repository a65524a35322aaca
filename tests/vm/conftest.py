"""Fixtures of the tests in a virtual machine: one machine for all of them, and nsprov's command line that reaches it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import image
from commandline import CommandLine
from machine import Machine

LAB = "demo"
INVENTORY = "all:\n  hosts:\n    vm: {user: root}\n"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.vm)
            item.add_marker(pytest.mark.timeout(900))  # it may have to boot, on a machine that has other things to do


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
        (machine.folder / "disk").unlink()  # pytest would keep it, three times


@pytest.fixture(name="nsprov", scope="module")
def _nsprov(vm, tmp_path_factory):
    """Run commands on the host `vm`; each test begins with its own `up`, whatever there is.

    In the end the lab goes down, and the machine must be as it was.
    """
    found = CommandLine(tmp_path_factory.mktemp("controller"), "-i", "inventory.yml", "-F", str(vm.ssh_config))
    found.write("inventory.yml", INVENTORY)
    before = look(vm)
    yield found
    found.end()
    found("down", "--lab", LAB, code=None)
    assert look(vm) == before


def look(vm):
    """Give what a lab could leave; not /etc/netns itself, of which nobody knows after a reboot that it was made by us."""
    paths = "/run/netns /run/nsprov $(find /etc/netns -mindepth 1) $(find /sys/fs/cgroup -name 'nsprov*')"
    return vm.run(f"ls -d {paths}; ip -o link | cut -d: -f1-2; pgrep -x stray || true", code=None).out
