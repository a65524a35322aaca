"""The contracts of kinds of links that the kernel of this machine need not have, told where it has them: in the machine."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = ("tests/kinds/gretap", "tests/kinds/wireguard")
PARTS = ("nsprov", "tests/conftest.py", "tests/sandbox.sh", "tests/kinds/test_contract.py", *KINDS)
COMPILED = ".cpython-311."
PYTEST = "python3 -B -W ignore -m pytest -q -c /dev/null --rootdir . --import-mode=importlib -p no:cacheprovider -ra"


def _kept(member):
    """Leave out what other Pythons than the machine's have compiled; what is compiled already spares it seconds."""
    return None if member.name.endswith(".pyc") and COMPILED not in member.name else member


def packed():
    """Pack nsprov and the tests of kinds."""
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w:gz", compresslevel=1) as archive:
        for part in PARTS:
            archive.add(ROOT / part, part, filter=_kept)
    return found.getvalue()


@pytest.fixture(scope="module")
def tree(vm):
    """Put the project into the machine, which is to make no links of its own when it loads the module for GRE."""
    vm.run("echo 2 >/proc/sys/net/core/fb_tunnels_only_for_init_net")
    vm.run("mkdir /root/project; tar -xzC /root/project", stdin=packed())
    yield "/root/project"
    vm.run("rm -r /root/project")


def test_contracts(vm, tree):
    """Each case of these kinds is told, and none is left out."""
    said = vm.run(f"cd {tree}; PYTHONPATH=. tests/sandbox.sh {PYTEST} tests/kinds/test_contract.py::test_contract")

    assert " passed" in said.out
    assert "skipped" not in said.out, said.out
