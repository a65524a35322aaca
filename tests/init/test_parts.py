"""What an init is made of."""

from __future__ import annotations

import ast
import importlib.util

from nsprov.init import PARTS


def imported(name):
    """Give our modules that a module imports when it runs."""
    spec = importlib.util.find_spec(name)
    with open(spec.origin, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("nsprov"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if importlib.util.find_spec(node.module).submodule_search_locations else node.module


def test_all_that_it_imports_is_brought():
    """And nothing else."""
    found, pending = set(), ["nsprov.init.zygote"]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += imported(name)
    packages = {name.rpartition(".")[0] for name in found} | {"nsprov"}

    assert set(PARTS) == found | packages
