"""The shapes of what a node may be beside its network: isolation, limits and workloads.

A part of the file language of its own, because most topologies do not need it: `spec` asks for it when one does.
"""

from __future__ import annotations

import shlex
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

from pydantic import BeforeValidator

from nsprov.topology.positions import Flaw, shown
from nsprov.topology.scalars import Pending, written
from nsprov.topology.shapes import Flag, Integer, Many, ManyWords, Measure, Published, Short, Spec, Word, trusting

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHELL = frozenset({"&&", "||", "|", "&", ";", ">", ">>", "<", "2>", "2>&1"})
_TEXT = {"type": "string"}
_ANY_WORD = {"type": ["string", "integer"]}
_SCALAR = {"type": ["string", "number", "boolean"]}
_PARTS = (2, 3)


def _user(value: Any) -> Any:
    return {"map": value} if isinstance(value, (str, list)) else value


def _rootfs(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _mount(value: Any) -> Any:
    """Read `source:target` and `source:target:ro`."""
    if not isinstance(value, str) or type(value) is Pending:
        return {"source": "/", "target": "/"} if type(value) is Pending else value
    parts = value.split(":")
    if len(parts) not in _PARTS or not all(parts) or parts[2:] not in ([], ["ro"], ["rw"]):
        raise Flaw(f"{shown(value)} is not a mount", 'write "source:target" or "source:target:ro"')
    return {"source": parts[0], "target": parts[1], "readonly": parts[2:] == ["ro"]}


def _command(value: Any) -> Any:
    """Split a command into words as a shell would, but run none of what a shell would run."""
    if not isinstance(value, str) or type(value) is Pending:
        return [value] if isinstance(value, str) else value
    try:
        words = shlex.split(value)
    except ValueError:
        raise Flaw("a quote in the command is not closed", "close it") from None
    strange = next((word for word in words if word in _SHELL), None)
    if strange is not None:
        hint = 'write [sh, -c, "..."], or a list if the word is meant'
        raise Flaw(f"no shell is there to read {shown(strange)}", hint)
    return words


def _names(value: Any) -> Any:
    """Make a mapping of one name or a list of names: that is all that a list can say."""
    if isinstance(value, str):
        return {value: None}
    if isinstance(value, list):
        strange = next((item for item in value if not isinstance(item, str)), None)
        if strange is not None:
            raise Flaw(f"the name of a workload cannot be {shown(strange)}", 'write "[db, cache]" or "{db: ready}"')
        return dict.fromkeys(value)
    if value is not None and not isinstance(value, dict):
        raise Flaw(f'"depends_on" cannot be {shown(value)}', 'write "[db, cache]" or "{db: ready}"')
    return value


def _restart(value: Any) -> Any:
    if value is not None and not isinstance(value, (str, dict)):
        raise Flaw(f'"restart" cannot be {shown(value)}', 'use "no", "on-failure" or "always"')
    return {"policy": value} if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(written), Published(_SCALAR)]
"""A string, or any other scalar as it is written."""

Command = Annotated[
    Optional[list[Word]],
    BeforeValidator(_command),
    Published({"anyOf": [_TEXT, {"type": "array", "items": _ANY_WORD, "minItems": 1}, {"type": "null"}]}),
]
"""A command's words; one string is split at its blanks, with quotes as in a shell."""


_CONDITION = Annotated[Optional[Literal["started", "ready", "completed"]], trusting("started")]
Dependencies = Annotated[
    Optional[dict[str, _CONDITION]],
    BeforeValidator(_names),
    Published(
        {
            "anyOf": [
                _TEXT,
                {"type": "array", "items": _TEXT},
                {"type": "object", "additionalProperties": {"enum": ["started", "ready", "completed", None]}},
                {"type": "null"},
            ]
        }
    ),
]
"""Names of workloads, each with what must be true of it first; nothing means the usual."""


class AttachSpec(Spec):
    """Whose network namespace the node is, of which nothing else is touched."""

    pid: Optional[Integer] = None
    docker: Optional[str] = None
    podman: Optional[str] = None
    netns: Optional[str] = None


class UserSpec(Spec):
    """The ids of a user namespace: `map` for both, or `uids` and `gids`."""

    map: Many = None
    uids: Many = None
    gids: Many = None
    allow_host_ids: Flag = False


class TimeSpec(Spec):
    """How far the clocks are ahead of the host's."""

    boottime: Optional[Measure] = None
    monotonic: Optional[Measure] = None


class RootfsSpec(Spec):
    """The root that the node sees."""

    path: Optional[str] = None
    writable: Annotated[Literal["overlay", "yes", "no"], trusting("overlay")] = "overlay"


class MountSpec(Spec):
    """A file or directory of the host in the node."""

    source: str
    target: str
    readonly: Flag = False


class IoSpec(Spec):
    """Limits of one block device, by second."""

    rbps: Optional[Measure] = None
    wbps: Optional[Measure] = None
    riops: Optional[Integer] = None
    wiops: Optional[Integer] = None


class LimitsSpec(Spec):
    """What all that runs in the node may use together."""

    cpu: Optional[Measure] = None
    memory: Optional[Measure] = None
    pids: Optional[Integer] = None
    io: Optional[dict[str, IoSpec]] = None
    cpuset: Optional[Word] = None


class RestartSpec(Spec):
    """When a workload that ended is started again, and how long after."""

    policy: str = "on-failure"
    max: Optional[Integer] = None
    delay: Optional[Measure] = None
    max_delay: Optional[Measure] = None
    reset: Optional[Measure] = None


class ReadySpec(Spec):
    """What tells that a workload is ready: one probe, how often it is tried, and how long in all."""

    tcp: Optional[Word] = None
    http: Optional[str] = None
    exec: Command = None
    file: Optional[str] = None
    log: Optional[str] = None
    notify: Optional[Flag] = None
    interval: Optional[Measure] = None
    timeout: Optional[Measure] = None


class HealthSpec(Spec):
    """What tells that a workload is still well: one probe, and what follows when it fails."""

    tcp: Optional[Word] = None
    http: Optional[str] = None
    exec: Command = None
    file: Optional[str] = None
    interval: Optional[Measure] = None
    timeout: Optional[Measure] = None
    retries: Optional[Integer] = None
    start_period: Optional[Measure] = None
    on_failure: Annotated[Optional[Literal["none", "restart", "kill"]], trusting("none")] = None


class LogSpec(Spec):
    """How much of a workload's output is kept."""

    size: Optional[Measure] = None
    keep: Optional[Integer] = None


class WorkloadSpec(Spec):
    """A program that the node runs."""

    command: Command = None
    type: Annotated[Optional[Literal["service", "oneshot"]], trusting("service")] = None
    env: Optional[dict[str, Text]] = None
    env_file: Many = None
    cwd: Optional[str] = None
    user: Optional[Word] = None
    groups: ManyWords = None
    umask: Optional[str] = None
    restart: Annotated[Optional[RestartSpec], BeforeValidator(_restart), Short((_TEXT,))] = None
    rlimits: Optional[dict[str, Word]] = None
    capabilities: Many = None
    no_new_privileges: Optional[Flag] = None
    seccomp: Annotated[Optional[Literal["default", "none"]], trusting("default")] = None
    nice: Optional[Integer] = None
    stop_signal: Optional[Word] = None
    grace: Optional[Measure] = None
    ready: Optional[ReadySpec] = None
    health: Optional[HealthSpec] = None
    depends_on: Dependencies = None
    log: Optional[LogSpec] = None


SHAPES: Mapping[str, Any] = MappingProxyType(
    {
        "attach": AttachSpec,
        "user": Annotated[UserSpec, BeforeValidator(_user), Short((_TEXT, {"type": "array", "items": _TEXT}))],
        "time": TimeSpec,
        "rootfs": Annotated[RootfsSpec, BeforeValidator(_rootfs), Short((_TEXT,))],
        "mounts": list[Annotated[MountSpec, BeforeValidator(_mount), Short((_TEXT,))]],
        "limits": LimitsSpec,
        "workloads": dict[str, Optional[WorkloadSpec]],
        "workload": WorkloadSpec,
    }
)
"""What each key of a node has the shape of; `workload` is that of the defaults."""
