"""A resource is a frozen value that says what must hold; a `Ref` names it within one lab on one host.

Kinds subclass `Resource`, one file each.
Ordering and cascades work on *tokens*, plain strings such as `netns:r1` or `link:r1/eth0`:
a resource provides tokens, needs tokens, and stands on tokens.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST = ""
"""The `node` of a resource that lives on the host itself and in no node."""

IDENTITY = {"role": "identity"}
"""Metadata of a field that is part of the name: another value is another resource."""

REPLACE = {"role": "replace"}
"""Metadata of a field that the kernel cannot change in place: the resource is deleted and created."""

SECRET = {"role": "secret"}
"""Metadata of a field that nobody is shown: a plan says that it changes, and not from what to what."""

LAB_TOKEN = "lab"  # noqa: S105 - a token of this module, and no secret
"""What provides it is the lab's own file system, which goes when nothing is desired any more."""


class Ref(NamedTuple):
    """The name of a resource: its kind and its name within the lab, on one host."""

    kind: str
    name: str

    def __str__(self) -> str:
        """Write it as `kind:name`."""
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Read `kind:name` back; the name may contain colons (IPv6)."""
        kind, _, name = text.partition(":")
        return cls(kind, name)


class Resource:
    """The base of every kind's dataclass; `None` in a field means "not managed"."""

    kind: ClassVar[str]

    def ref(self) -> Ref:
        """Name this resource."""
        raise NotImplementedError

    def provides(self) -> tuple[str, ...]:
        """Give the tokens that exist once this resource does."""
        return ()

    def needs(self) -> tuple[str, ...]:
        """Give the tokens that must exist before this resource can."""
        return ()

    def stands_on(self) -> tuple[str, ...]:
        """Give the needed tokens whose loss takes this resource with it (an address falls with its link)."""
        return ()

    def loses(self, after: Any) -> tuple[str, ...]:  # noqa: ARG002 (most lose nothing, whatever they become)
        """Give the tokens of which an update in place to `after`, of the same kind, takes along what stands on them."""
        return ()

    def dies_with(self) -> tuple[str, ...]:
        """Give the tokens whose loss, of all of them, makes the kernel delete this by itself."""
        return self.stands_on()

    def kills(self) -> tuple[str, ...]:
        """Give the tokens that the kernel takes back when this is deleted, with what dies with them; most have no choice."""
        return self.provides()

    def restorable(self) -> bool:
        """Tell whether this, as observed, could be made again: the remainder of a thing that is gone could not."""
        return True

    def watches(self) -> tuple[tuple[str, str, str | int], ...]:
        """Say what must be read to observe this: `(node, "link", name)`, `(node, "address" or "route", IP version)`."""
        return ()

    def pinned_network(self) -> tuple[str, str] | None:
        """Give the node and the name below /run/netns, if this pins a node's network namespace."""
        return None


def place(node: str) -> str:
    """Write a node for use in a name: the host itself is `host`."""
    return node or "host"


def schema(cls: type[Resource]) -> Mapping[str, Field[Any]]:
    """Give a kind's fields by name."""
    return _schema(cast("Any", cls))


@cache
def _schema(cls: Any) -> Mapping[str, Field[Any]]:
    return {field.name: field for field in fields(cls)}


def comparable(cls: type[Resource]) -> tuple[tuple[str, bool], ...]:
    """Give the fields that a diff compares, each with whether a change of it replaces the resource."""
    return _comparable(cast("Any", cls))


@cache
def _comparable(cls: Any) -> tuple[tuple[str, bool], ...]:
    roles = [(name, field.metadata.get("role")) for name, field in _schema(cls).items()]
    return tuple((name, role == "replace") for name, role in roles if role != "identity")


def secrets(resource: Resource | None) -> frozenset[str]:
    """Give the names of the secret fields that a resource has."""
    return frozenset() if resource is None else _secrets(cast("Any", type(resource)))


@cache
def _secrets(cls: Any) -> frozenset[str]:
    return frozenset(name for name, field in _schema(cls).items() if field.metadata.get("role") == "secret")


def encode(resource: Resource) -> dict[str, Any]:
    """Give the fields that are managed, as JSON values; tuples become lists on the wire."""
    return {name: value for name, value in vars(resource).items() if value is not None}


_ATOMS: Mapping[str, type] = {"str": str, "int": int, "bool": bool}


@cache
def _accepts(annotation: str) -> tuple[frozenset[type], bool]:
    """Give the exact JSON types that a field's annotation allows, and whether it is a tuple."""
    options = [option.strip() for option in annotation.split("|")]
    types = {_ATOMS[option] for option in options if option in _ATOMS}
    if "None" in options:
        types.add(type(None))
    return frozenset(types), any(option.startswith("tuple[") for option in options)


@cache
def _row(annotation: str) -> list[type] | type:
    """Give the types in one row of a field that is a tuple of rows, `tuple[tuple[str, int], ...]`, or of single values."""
    words = annotation.rpartition("tuple[")[2].partition("]")[0].split(", ")
    return _ATOMS[words[0]] if words[1:] == ["..."] else [_ATOMS[word] for word in words]


def _rows(value: Sequence[Any], row: list[type] | type) -> tuple[Any, ...] | None:
    """Make tuples of lists; `None` if something in them is not of these types."""
    if not isinstance(row, list):
        return tuple(value) if all(type(item) is row for item in value) else None
    fitting = all(isinstance(item, (list, tuple)) and [*map(type, item)] == row for item in value)
    return tuple(map(tuple, value)) if fitting else None


def decode(cls: type[Resource], given: Mapping[str, Any]) -> Resource:
    """Build a resource from what crossed the wire or lay on disk, trusting nothing.

    Raises:
        InputError: an unknown or missing field, or a value of another type.

    """
    known = schema(cls)
    clean: dict[str, Any] = {}
    for name, value in given.items():
        field = known.get(name)
        if field is None:
            raise _malformed(cls, name, "is not a field of this kind")
        types, is_tuple = _accepts(str(field.type))
        rows = _rows(value, _row(str(field.type))) if is_tuple and isinstance(value, (list, tuple)) else None
        if rows is not None:
            clean[name] = rows
        elif type(value) in types:
            clean[name] = value
        else:
            raise _malformed(cls, name, f"cannot be {value!r}")
    for name, field in known.items():
        if name not in clean and field.default is MISSING:
            raise _malformed(cls, name, "is missing")
    return cls(**clean)


def _malformed(cls: type[Resource], name: str, why: str) -> InputError:
    return InputError(
        Diagnostic(
            summary=f'{cls.kind}: field "{name}" {why}',
            detail="The state that was sent to the agent, or that lies in the lab's manifest, is not one it understands.",
            hint="use the same nsprov version on both sides; if a manifest is damaged, run `nsprov down`",
        )
    )
