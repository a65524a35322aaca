"""Examine hosts: what each can do for labs, what that means, and what to do about it; nothing is changed anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from nsprov import inquiry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nsprov import transport
    from nsprov.fleet import Options, Outcome

OK, LIMITED, MISSING, UNKNOWN = "ok", "limited", "missing", "unknown"
"""How a thing is; `unknown` is what nobody could find out, which is no fault of the host's."""

_EARLY = 1.0
"""Seconds that a host's clock may be off."""


class Meaning(NamedTuple):
    """What a thing is for and what to do where it is not; `required`: `always`, for labs on `several` hosts, or never."""

    purpose: str
    advice: str = ""
    required: str = ""


_MODULES = "kernel-modules-extra (Fedora, RHEL), linux-modules-extra-$(uname -r) (Ubuntu)"
_MEANINGS: Mapping[str, Meaning] = {
    "python": Meaning("the agent", "install Python 3.9 or newer", "always"),
    "kernel": Meaning("all labs", "use Linux 5.8 or newer", "always"),
    "privileges": Meaning(
        "making namespaces, links, mounts and control groups",
        "become root: `become: true` for the host, or `sudo nsprov` on this one; a container has to be privileged",
        "always",
    ),
    "namespaces": Meaning("nodes, and `namespaces`", "use a kernel that is built with all CONFIG_*_NS", "always"),
    "namespace limits": Meaning("large labs", "raise them: sysctl -w user.max_net_namespaces=100000, and so on", "always"),
    "veth": Meaning("links of nodes on one host", f"modprobe veth; if there is none: {_MODULES}", "always"),
    "bridge": Meaning("`bridges`", f"modprobe bridge; if there is none: {_MODULES}", "always"),
    "vxlan": Meaning("links between hosts", f"modprobe vxlan; if there is none: {_MODULES}, or set `tunnel: gre`", "several"),
    "gretap": Meaning("links between hosts with `tunnel: gre`", f"modprobe ip_gre; if there is none: {_MODULES}"),
    "wireguard": Meaning("links between hosts with `tunnel: wireguard`", f"modprobe wireguard; if there is none: {_MODULES}"),
    "overlay": Meaning("`rootfs` that is copied when it is written", "modprobe overlay, or set `writable: false`"),
    "mounts": Meaning("`rootfs`, `mounts` and user namespaces", "use Linux 5.12 or newer; in a container, its seccomp filter"),
    "cgroups": Meaning(
        "`limits` and `nsprov freeze`", "mount what is not there, or boot with systemd.unified_cgroup_hierarchy=1"
    ),
    "seccomp": Meaning("the filter of workloads", "use a kernel that is built with CONFIG_SECCOMP_FILTER"),
    "pidfd": Meaning("`attach`", "use a Python of 3.9 or newer that was built on Linux 5.3 or newer"),
    "open files": Meaning("large labs: one descriptor per namespace", "raise the hard limit: LimitNOFILE=, limits.conf(5)"),
    "hard limits": Meaning("`rlimits` of workloads above the host's own", "allow it to the container that the host is"),
    "network limits": Meaning("many nodes on one network", "sysctl -w net.ipv4.neigh.default.gc_thresh3=16384"),
    "/run": Meaning("names and records of labs", "make room there, or mount a tmpfs", "always"),
    "agent cache": Meaning("fast starts: the agent is sent each time", "make room there, or let its owner write it"),
    "memory": Meaning("about 100 KiB for each node, and the workloads", "add memory, or take labs down"),
    "tool": Meaning("people and workloads; nsprov needs none"),
    "underlay": Meaning("links between hosts", "add a route, or set `nsprov_underlay` for the host", "several"),
    "clock": Meaning("times of logs and events of several hosts side by side", "run chrony or systemd-timesyncd"),
    "connection": Meaning("the conversation with the agent"),
}


@dataclass(frozen=True)
class Check:
    """One thing on one host, how it is, and what that means."""

    name: str
    state: str
    what: str
    purpose: str
    advice: str
    required: bool

    @property
    def bad(self) -> bool:
        """Tell whether it is not as it could be; tools are only told of."""
        return self.state in (LIMITED, MISSING) and not self.name.startswith("tool ")

    @property
    def lacking(self) -> bool:
        """Tell whether there is no lab without it, and it is not there."""
        return self.state == MISSING and self.required


@dataclass(frozen=True)
class Examined:
    """One host: what was found, or in `outcome` why nothing was."""

    host: str
    checks: Sequence[Check]
    outcome: Outcome

    def state(self) -> str:
        """Say in a word how the host is."""
        if self.outcome.error is not None:
            return "unreachable"
        if any(check.lacking for check in self.checks):
            return MISSING
        return LIMITED if any(check.bad for check in self.checks) else OK

    def check(self, name: str) -> str:
        """Give what was found of one thing, empty if nothing was."""
        return next((check.what for check in self.checks if check.name == name), "")


def examine(
    hosts: Sequence[transport.Host], underlays: Mapping[str, str], lacking: Mapping[str, str], options: Options
) -> list[Examined]:
    """Ask every host; `underlays` are the addresses by which hosts reach each other, and `lacking` says why one has none."""
    several = len(hosts) > 1
    found = inquiry.ask("doctor", "", hosts, options, {host.name: {"remotes": _others(host.name, underlays)} for host in hosts})
    examined = []
    for outcome in found.outcomes:
        rows: list[tuple[str, str, str]] = []
        if outcome.host in found.replies:
            reply, facts = found.replies[outcome.host], found.facts[outcome.host]
            rows = [*_told(reply, facts), *_asked(reply, facts, outcome)]
            rows += [("underlay", MISSING, lacking[outcome.host])] if several and outcome.host in lacking else []
        examined.append(Examined(outcome.host, [_meant(*row, several=several) for row in rows], outcome))
    return examined


def _others(host: str, underlays: Mapping[str, str]) -> list[str]:
    return sorted({underlay for name, underlay in underlays.items() if name != host and underlay})


def _told(reply: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Give what the agent says, with who we were before sudo in it."""
    for name, state, what in reply["checks"]:
        if name == "privileges" and reply["groups"] and state == MISSING:
            yield name, state, f"{what}, of the group {', '.join(reply['groups'])}: sudo is allowed, probably"
        else:
            yield name, state, what
    for warning in facts.get("warnings", ()):
        yield "connection", LIMITED, str(warning)


def _asked(reply: Mapping[str, Any], facts: Mapping[str, Any], outcome: Outcome) -> Iterator[tuple[str, str, str]]:
    """Give what shows only from here: how long the way is, and how the clocks differ (as NTP finds it, RFC 5905)."""
    came, went = reply["clock"]
    phase = outcome.phases["doctor"]
    trip = max(0.0, phase.seconds - (went - came))
    yield "connection", OK, _connection(facts, trip)
    offset = ((came - phase.began) + (went - (phase.began + phase.seconds))) / 2
    state = LIMITED if abs(offset) > _EARLY + trip else OK
    yield "clock", state, f"{offset * 1000:+.1f} ms, give or take {trip * 500:.1f}"


def _connection(facts: Mapping[str, Any], trip: float) -> str:
    agent = f"agent {'started' if facts['cached'] else 'sent and started'} in {facts['boot_ms']:.0f} ms"
    channels = facts["exec_channels"]
    if not channels:
        return f"this host, {agent}"
    counted = f"{channels} exec channel{'s' if channels > 1 else ''}"
    return f"round trip {trip * 1000:.1f} ms, login in {facts['connect_ms']:.0f} ms, {agent}, {counted}"


def _meant(name: str, state: str, what: str, *, several: bool) -> Check:
    meaning = _MEANINGS["tool" if name.startswith("tool ") else name]
    required = meaning.required == "always" or (meaning.required == "several" and several)
    return Check(name, state, what, meaning.purpose, meaning.advice, required)
