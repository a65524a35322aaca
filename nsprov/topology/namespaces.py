"""A node's namespaces: which types there are, what each needs, and what a key of the node needs."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from nsprov.topology.model import NAMESPACE_TYPES
from nsprov.topology.positions import Path, Problems, closest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsprov.topology import spec as language

USUAL = frozenset({"net", "mnt", "uts"})
_EVERYTHING = "all"

NEEDED: Mapping[str, str] = MappingProxyType({"user": "user", "time": "time", "rootfs": "mnt", "mounts": "mnt"})
"""Keys of a node, and the namespace without which they mean nothing."""

_ON_MNT: Mapping[str, str] = MappingProxyType(
    {
        "pid": "The node needs a /proc of its own, which shows its processes.",
        "user": "What is mounted in the node must belong to its own ids.",
        "cgroup": "The node needs a /sys/fs/cgroup of its own, which shows its groups.",
    }
)
_MORE = frozenset({*NEEDED, "limits", "workloads", "attach"})
"""The keys that most topologies do not have."""

_WITH_SETTINGS = frozenset({"user", "time"})


def has_more(spec: language.NodeSpec, types: frozenset[str]) -> bool:
    """Tell whether a node of these namespace types has anything that most have not."""
    return not (_MORE.isdisjoint(spec.model_fields_set) and _WITH_SETTINGS.isdisjoint(types))


def read_namespaces(spec: language.NodeSpec, path: Path, problems: Problems) -> frozenset[str]:
    """Read the namespace types; what a key needs is there by itself only if the node names no types."""
    given = spec.namespaces
    if spec.attach is not None:
        return frozenset({"net"})
    if given is None:
        return USUAL if _MORE.isdisjoint(spec.model_fields_set) else USUAL | {needed for _, needed in _needs(spec)}
    if given == [_EVERYTHING]:
        return frozenset(NAMESPACE_TYPES)
    for place, word in enumerate(given):
        _check(word, given, (*path, "namespaces", place), problems)
    if "net" not in given:
        problems.add((*path, "namespaces"), 'a node needs the "net" namespace', 'add "net"')
    for key, needed in _needs(spec):
        if needed not in given:
            hint = f'add "{needed}" to "namespaces"'
            problems.add((*path, key), f'"{key}" needs the "{needed}" namespace', hint, key=True)
    return frozenset(given) & frozenset(NAMESPACE_TYPES)


def _needs(spec: language.NodeSpec) -> Iterator[tuple[str, str]]:
    return ((key, needed) for key, needed in NEEDED.items() if getattr(spec, key) is not None)


def _check(word: str, given: Sequence[str], path: Path, problems: Problems) -> None:
    if word == _EVERYTHING:
        problems.add(path, '"all" stands alone', 'write "namespaces: all"')
    elif word not in NAMESPACE_TYPES:
        hint = closest(word, NAMESPACE_TYPES) or "use one of: " + ", ".join(NAMESPACE_TYPES)
        problems.add(path, f"there is no namespace type {shown(word)}", hint)
    elif word in _ON_MNT and "mnt" not in given:
        problems.add(path, f'namespace "{word}" needs the "mnt" namespace', 'add "mnt"', _ON_MNT[word])
