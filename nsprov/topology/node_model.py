"""What a node may be beside its network: the part of the model that most topologies do not need."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_CAPABILITIES = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE"),
    *("NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
"""What a workload keeps that does not say otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UserMap:
    """Ids of a user namespace: rows of (inside, outside, count), sorted; none at all means that they are allocated."""

    uids: tuple[tuple[int, int, int], ...] = ()
    gids: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeOffsets:
    """How far the clocks of a time namespace are ahead of the host's, in seconds."""

    boottime: int = 0
    monotonic: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rootfs:
    """The root that a node sees: the word `host`, or an absolute path of a directory on its host."""

    path: str
    writable: str = "overlay"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A file or directory of the host, at an absolute path there, that a node sees at `target`."""

    source: str
    target: str
    readonly: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What all that runs in a node may use together: thousandths of a CPU, bytes, processes; 0 and "" are no limit.

    `io` holds (device, "rbps|wbps|riops|wiops", value), sorted.
    """

    cpu: int = 0
    memory: int = 0
    pids: int = 0
    io: tuple[tuple[str, str, int], ...] = ()
    cpuset: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A program that a node runs; times are milliseconds, sizes bytes, and what has no order is sorted.

    `ready` and `health` are rows: the probe first, then every option of it. `after` holds ("node/name", condition).
    """

    name: str
    command: tuple[str, ...]
    type: str = "service"
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cwd: str = "/"
    user: str = "0"
    groups: tuple[str, ...] = ()
    umask: int = 0o022
    restart: str = "no"
    restart_max: int = 0
    backoff: int = 1000
    backoff_max: int = 60000
    reset: int = 10000
    rlimits: tuple[tuple[str, int, int], ...] = ()
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    no_new_privileges: bool = True
    seccomp: str = "default"
    nice: int = 0
    stop_signal: str = "TERM"
    grace: int = 10000
    ready: tuple[tuple[str, str], ...] = ()
    health: tuple[tuple[str, str], ...] = ()
    after: tuple[tuple[str, str], ...] = ()
    log_size: int = 1048576
    log_keep: int = 1
