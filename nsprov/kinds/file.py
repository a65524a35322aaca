r"""A rendered file of a node (or of the whole lab), kept below /run/nsprov/LAB and bound into the node.

    nodes:
      r1:
        files:
          /etc/motd: {content: "welcome to r1\\n", mode: "0644"}
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from nsprov.kernel.mounts import SHARED
from nsprov.plan.resource import IDENTITY, LAB_TOKEN, Ref, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nsprov.kernel.machine import Kernel

NAME = "file"
LAB = SHARED.rstrip("/")
"""The `owner` of a file that all nodes of a lab share."""


@dataclass(frozen=True)
class File(Resource):
    """`path` is the path in the node; `owner` is a node or `LAB`; `uid` and `gid` are the host's ids of the node's root."""

    kind: ClassVar[str] = NAME
    owner: str = field(metadata=IDENTITY)
    path: str = field(metadata=IDENTITY)
    content: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0

    def ref(self) -> Ref:
        """Name it after its owner and path."""
        return Ref(NAME, self.source())

    def source(self) -> str:
        """Give its name below the lab's files."""
        return f"{self.owner}{self.path}"

    def provides(self) -> tuple[str, ...]:
        """The mount namespace that binds it needs it."""
        return (f"file:{self.source()}",)

    def dies_with(self) -> tuple[str, ...]:
        """The lab's own file system."""
        return (LAB_TOKEN,)


SCHEMA = File


def observe(kernel: Kernel, known: Mapping[Ref, File]) -> Iterable[File]:
    """Give the known files, and without a record all below the lab's directory."""
    names = (resource.source() for resource in known.values())
    for name in kernel.files.names() if kernel.seen.thorough else names:
        read = kernel.files.read(name)
        if read:
            owner, _, path = name.partition("/")
            yield File(owner=owner, path=f"/{path}", content=read.content, mode=read.mode, uid=read.uid, gid=read.gid)


def obstacles(kernel: Kernel, wants: Sequence[File]) -> Mapping[Ref, str]:
    """Nothing: the files are in the lab's own directory."""
    return {}


def create(kernel: Kernel, wants: Sequence[File]) -> None:
    """Write the files."""
    for want in wants:
        kernel.files.write(want.source(), want.content, want.mode, (want.uid, want.gid))


def update(kernel: Kernel, pairs: Sequence[tuple[File, File]]) -> None:
    """Write the files in place, so that their binds show the new content."""
    create(kernel, [after for _, after in pairs])


def delete(kernel: Kernel, haves: Sequence[File]) -> None:
    """Remove the files."""
    for have in haves:
        kernel.files.remove(have.source())
