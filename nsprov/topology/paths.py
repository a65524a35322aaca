"""Paths that a topology names on a node's host, and inside a node."""

from __future__ import annotations

import os
import posixpath
import re

from nsprov.topology.model import LOCALHOST
from nsprov.topology.positions import Flaw, shown

_STRANGE = re.compile(r"[\x00-\x1f\x7f]")


def inside(text: str) -> str:
    """Read an absolute path in a node; a slash at its end is left out.

    Raises:
        Flaw: it is relative, or not plain.

    """
    bare = text.rstrip("/") or text[:1]
    if _STRANGE.search(text):
        raise Flaw(f"{shown(text)} is not a path", "remove its control characters")
    if not bare.startswith("/") or bare.startswith("//") or posixpath.normpath(bare) != bare:
        fixed = posixpath.normpath("/" + text.lstrip("/"))
        raise Flaw(f"{shown(text)} is not an absolute, plain path", f'use "{fixed}"')
    return bare


def on_host(text: str, host: str, topology: str) -> str:
    """Read a path on a node's host; on the host of the topology file it may begin at that file's directory.

    Raises:
        Flaw: it is relative and the host another one, or it is not plain.

    """
    if text.startswith("/"):
        return inside(text)
    if not text or _STRANGE.search(text):
        raise Flaw(f"{shown(text)} is not a path", "name a file or a directory")
    if text.startswith("~"):
        raise Flaw(f"{shown(text)} begins with a tilde", "write the whole path", "Only a shell knows what it means.")
    if host != LOCALHOST:
        hint = f'write where it is on "{host}", beginning with a slash'
        raise Flaw(f"{shown(text)} is not an absolute path", hint, "The topology file is on another host.")
    return os.path.abspath(os.path.join(os.path.dirname(topology), text))
