"""The first code that runs on a host: get the agent, from the cache or from the controller, and start it.

This file's text is an argument of the host's `python3 -I -S -c` (see `nsprov.transport.boot`), so it is short and
imports nothing of ours.
Compiled modules are cached in one file, a checksum followed by marshalled code, in a directory that only its owner
can write; what is not ours, is writable by others or is damaged is not used.
Without a place to write, the agent runs from memory.
"""

from __future__ import annotations

import json
import marshal
import os
import stat
import sys
import time
import zlib
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    Table = dict[str, tuple[bool, bytes]]


KEEP = 30 * 86400
"""How long an agent stays in the cache, in seconds; one that is needed again is sent again."""


class Modules:
    """Import from a table of compiled modules: name to (is it a package, marshalled code)."""

    def __init__(self, table: Table) -> None:
        """Store the table."""
        self.table = table

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Claim the modules that are in the table."""
        if name not in self.table:
            return None
        return ModuleSpec(name, self, origin="nsprov agent", is_package=self.table[name][0])  # type: ignore[arg-type]  # duck-typed

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave it to the import system to make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        exec(self.get_code(module.__name__), vars(module))  # noqa: S102 - as in main

    def get_code(self, name: str) -> Any:
        """Give a module's code, for us and for who starts another interpreter with it."""
        return marshal.loads(self.table[name][1])  # noqa: S302 - as in main


def main(digest: str, token: str) -> None:
    """Say hello, take the archive if it is not cached, and serve the controller until it closes."""
    name = "-".join((digest, str(sys.implementation.cache_tag), hex(sys.hexversion)))
    data = load(name)
    hello = {"python": sys.version.split()[0], "executable": sys.executable, "uid": os.getuid(), "have": bool(data)}
    os.write(1, f"{token} ok {json.dumps(hello)}\n".encode())
    if not data:
        data = marshal.dumps(compiled(receive(digest)))
        store(name, data)
    sys.meta_path.insert(0, Modules(marshal.loads(data)))  # noqa: S302 - `load` lets only our own files through
    from nsprov.agent.engine import serve  # noqa: PLC0415 - it can be imported only now
    from nsprov.agent.protocol import LineChannel  # noqa: PLC0415

    serve(LineChannel(0, 1))


def directory() -> str:
    """Make the cache directory, or check that nobody else can have put something there; OSError if not so."""
    base = "/var/cache" if os.geteuid() == 0 else os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.path.isabs(base):
        raise OSError(base)
    os.makedirs(base, 0o700, exist_ok=True)
    for part in ("nsprov", "agents"):
        base = os.path.join(base, part)
        try:
            os.mkdir(base, 0o700)
        except FileExistsError:
            private(os.lstat(base), stat.S_IFDIR)
    return base


def private(found: os.stat_result, kind: int) -> None:
    """Refuse, with OSError, what is of another kind, not ours, or writable by others."""
    if stat.S_IFMT(found.st_mode) != kind or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError


def load(name: str) -> bytes:
    """Read a file of the cache; nothing when it is not there or not to be trusted."""
    try:
        with open(os.open(os.path.join(directory(), name), os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
            private(os.fstat(source.fileno()), stat.S_IFREG)
            check, data = source.read(4), source.read()
    except OSError:
        return b""
    return data if zlib.crc32(data).to_bytes(4, "big") == check else b""


def store(name: str, data: bytes) -> None:
    """Keep a file for the next run, if there is a place to write, and drop those of last month."""
    try:
        path = os.path.join(directory(), name)
        temporary = f"{path}.{os.getpid()}"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(zlib.crc32(data).to_bytes(4, "big") + data)
        os.rename(temporary, path)
        for entry in os.scandir(os.path.dirname(path)):
            if entry.stat().st_mtime < time.time() - KEEP:
                os.unlink(entry.path)
    except OSError:
        pass  # read-only, full or not ours: this run works from memory, the next one asks again


def receive(digest: str) -> bytes:
    """Read the archive, its size in 12 digits before it, and not a byte more; exits when it is damaged."""
    import hashlib  # noqa: PLC0415 - it takes 5 ms, and with a cached agent is not needed

    data = exactly(int(exactly(12)))
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit("nsprov: the agent arrived damaged")
    return data


def exactly(size: int) -> bytes:
    """Read `size` bytes from the controller; exits when it closes before."""
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            sys.exit("nsprov: the controller closed the connection")
        data += more
    return data


def compiled(data: bytes) -> Table:
    """Compile every module of the archive."""
    import io  # noqa: PLC0415 - needed once per host and version
    import zipfile  # noqa: PLC0415

    table: Table = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for path in archive.namelist():
            stem, ending = os.path.splitext(path)
            if ending == ".py":
                package = stem.endswith("/__init__")
                code: Any = compile(archive.read(path), path, "exec", dont_inherit=True)
                table[(stem[: -len("/__init__")] if package else stem).replace("/", ".")] = (package, marshal.dumps(code))
    return table
