"""Build the archive that travels to a host: the agent and the part of pyroute2 that it imports.

Runs on the controller only.
What belongs in is found by following import statements from the agent's packages, so that there is no list to keep;
`pyroute2/__init__.py` is replaced by an empty one, because the real one imports the whole library.
The same sources give the same bytes, and the host caches what it compiled under their sha256.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import os
import threading
import zipfile
from functools import lru_cache
from typing import TYPE_CHECKING

from nsprov.agent import boot

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOTS = ("nsprov.errors", "nsprov.plan", "nsprov.kernel", "nsprov.init", "nsprov.kinds", "nsprov.agent")
"""The agent: these modules, and all modules of those that are packages."""

CONTROLLER_ONLY = ("nsprov.agent.bundle",)
"""What lives in those packages and stays on the controller."""

_BUILDING = threading.Lock()
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip can hold
_STUBS = {
    "nsprov": '"""The agent\'s part of nsprov."""\n',
    "pyroute2": '"""The part of pyroute2 that nsprov uses; see LICENSE.Apache-2.0 beside this file."""\n',
}


def bundle() -> tuple[bytes, str]:
    """Build the archive once for all threads of this process: its bytes and their sha256."""
    with _BUILDING:
        return _bundle()


@lru_cache(maxsize=1)
def _bundle() -> tuple[bytes, str]:
    """Build the archive, or take the one of an earlier run if no source has changed since."""
    name = f"bundle-{_state_of_sources()}"
    data = boot.load(name)
    if data:
        return data, hashlib.sha256(data).hexdigest()
    data, digest = pack(members())
    boot.store(name, data)
    return data, digest


def pack(files: dict[str, bytes]) -> tuple[bytes, str]:
    """Write `files` into a zip whose bytes depend on nothing else, and give it with its sha256."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # Unix: zipfile would say where it runs
            archive.writestr(entry, files[name])
    data = target.getvalue()
    return data, hashlib.sha256(data).hexdigest()


def members() -> dict[str, bytes]:
    """Read every file of the archive: path in it to content."""
    found: dict[str, bytes] = {}
    pending = [name for root in ROOTS for name in _modules(root)] + list(_STUBS)
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        path = _source(name)
        if name in seen or path is None or name in CONTROLLER_ONLY:
            continue
        seen.add(name)
        content = _STUBS[name].encode() if name in _STUBS else _read(path)
        found[_member(name, path)] = content
        pending += _imports(name, content, is_package=path.endswith("__init__.py"))
    return found | _licences()


def _state_of_sources() -> str:
    """Give a word that changes when a source file is added, removed or written."""
    state = hashlib.sha256()
    for top in filter(None, map(_directory, _STUBS)):
        for path, _, names in sorted(os.walk(top)):
            for name in sorted(names):
                if name.endswith(".py"):
                    found = os.stat(os.path.join(path, name))
                    state.update(f"{path}/{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return state.hexdigest()


def _modules(root: str) -> Iterator[str]:
    """Name `root` and, if it is a package, every module in it."""
    yield root
    path = _source(root)
    if path is None or not path.endswith("__init__.py"):
        return
    for entry in sorted(os.scandir(os.path.dirname(path)), key=lambda entry: entry.name):
        stem, ending = os.path.splitext(entry.name)
        if ending == ".py" and stem != "__init__":
            yield f"{root}.{stem}"
        elif entry.is_dir() and os.path.exists(os.path.join(entry.path, "__init__.py")):
            yield from _modules(f"{root}.{entry.name}")


def _source(name: str) -> str | None:
    """Find the file of a module of ours or of pyroute2; `None` for a name that is no such module."""
    package, *rest = name.split(".")
    top = _directory(package) if package in _STUBS else None
    if top is None:
        return None
    stem = os.path.join(top, *rest)
    for path in (os.path.join(stem, "__init__.py"), f"{stem}.py"):
        if os.path.isfile(path):
            return path
    return None


@lru_cache
def _directory(package: str) -> str | None:
    """Find a package's directory without importing it: importing pyroute2 takes 130 ms."""
    spec = importlib.util.find_spec(package)
    return os.path.dirname(spec.origin) if spec and spec.origin else None


def _member(name: str, path: str) -> str:
    stem = name.replace(".", "/")
    return f"{stem}/__init__.py" if path.endswith("__init__.py") else f"{stem}.py"


def _imports(name: str, content: bytes, *, is_package: bool) -> Iterator[str]:
    """Name the modules that a source imports, their parents included; some of them may be no module."""
    for node in _statements(ast.parse(content)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            base = _absolute(node, name if is_package else name.rpartition(".")[0])
            targets = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for target in targets:
            parts = target.split(".")
            yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


def _statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Give a source's import statements, wherever they stand, except those for the type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield from _statements(node)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _licences() -> dict[str, bytes]:
    """Read pyroute2's licence texts, which its Apache-2.0 side asks to be passed on."""
    from importlib import metadata  # noqa: PLC0415 - takes 20 ms, and is needed only to build

    distribution = metadata.distribution("pyroute2")
    texts = [file for file in distribution.files or () if file.name in ("LICENSE", "LICENSE.Apache-2.0")]
    return {f"pyroute2/{file.name}": _read(str(distribution.locate_file(file))) for file in texts}


def _read(path: str) -> bytes:
    with open(path, "rb") as source:
        return source.read()
