"""The archive that travels: the same bytes each time, all that the agent imports, and nothing else."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nsprov.agent import bundle

PYENV = Path.home() / ".pyenv" / "versions"
PYTHONS = [
    sys.executable,
    *(str(path) for version in ("3.9", "3.10", "3.12", "3.13") for path in PYENV.glob(f"{version}.*/bin/python3")),
]

IMPORT_ALL = """
import sys, zipfile
standard = set(sys.builtin_module_names) | getattr(sys, "stdlib_module_names", set())
path = sys.argv[1]
sys.path.insert(0, path)
import nsprov.agent.engine
for name in zipfile.ZipFile(path).namelist():
    if name.endswith(".py") and name.startswith("nsprov/"):
        __import__(name[:-3].replace("/", ".").replace(".__init__", ""))
foreign = set()
for name, module in sys.modules.items():
    file = getattr(module, "__file__", None) or ""
    if "site-packages" in file or (name.startswith(("nsprov", "pyroute2")) and not file.startswith(path)):
        foreign.add(name)
print(sorted(foreign))
"""


@pytest.fixture(scope="module")
def files():
    return bundle.members()


def test_the_same_sources_give_the_same_bytes(files):
    """Neither time, order nor file modes get in."""
    data, digest = bundle.pack(files)
    again, _ = bundle.pack(dict(sorted(files.items(), reverse=True)))

    assert data == again
    assert digest == hashlib.sha256(data).hexdigest()


def test_another_process_gives_the_same_bytes():
    """No hash seed gets in either."""
    code = "from nsprov.agent import bundle; print(bundle.pack(bundle.members())[1])"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert digests == {bundle.pack(bundle.members())[1]}


def test_what_is_in_it(files):
    """The agent's packages, the part of pyroute2 that they need with its licence, nothing of the controller."""
    assert {"nsprov/__init__.py", "nsprov/errors.py", "nsprov/agent/engine.py", "nsprov/agent/protocol.py"} <= set(files)
    assert not [name for name in files if name.startswith(("nsprov/transport", "nsprov/cli", "nsprov/topology"))]
    assert "nsprov/agent/bundle.py" not in files
    assert ("pyroute2/__init__.py" in files) == ("pyroute2/LICENSE.Apache-2.0" in files)
    assert {name.split("/")[0] for name in files} <= {"nsprov", "pyroute2"}


def test_it_is_small(files):
    """It must not cost a second on a slow line."""
    assert len(bundle.pack(files)[0]) < 350_000


def test_the_members_are_ordinary_files(files):
    """Whoever unpacks it gets readable files with a fixed date."""
    entries = zipfile.ZipFile(io.BytesIO(bundle.pack(files)[0])).infolist()

    assert [entry.filename for entry in entries] == sorted(files)
    assert {(entry.date_time, entry.external_attr >> 16) for entry in entries} == {((1980, 1, 1, 0, 0, 0), 0o644)}


@pytest.mark.parametrize("python", PYTHONS)
def test_it_imports_everywhere(tmp_path, files, python):
    """Every module of it imports with nothing but a standard library, from Python 3.9 on."""
    path = tmp_path / "agent.zip"
    path.write_bytes(bundle.pack(files)[0])
    done = subprocess.run([python, "-I", "-S", "-c", IMPORT_ALL, path], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_imports_for_the_type_checker_stay_here():
    """Only what runs travels."""
    source = (
        b"import typing\nif typing.TYPE_CHECKING:\n    import nsprov.cli\ntry:\n    from . import x\nexcept ImportError: pass\n"
    )

    assert list(bundle._imports("nsprov.plan.y", source, is_package=False)) == [  # noqa: SLF001
        "typing", "nsprov", "nsprov.plan", "nsprov", "nsprov.plan", "nsprov.plan.x",
    ]  # fmt: skip
