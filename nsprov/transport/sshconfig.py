"""What ~/.ssh/config says of a host, asked of OpenSSH itself: `ssh -G` knows Include, Match and every default.

Without an ssh binary, paramiko's reader has to do, and a warning says what it does not know.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nsprov.errors import Diagnostic, InputError, Unreachable
from nsprov.transport import hostkeys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nsprov.transport.session import Host, HostKeyChecking, Options

_NONE = ("none", "")
_CHECKING: dict[str, HostKeyChecking] = {"accept-new": "accept-new", "off": "no", "false": "no", "no": "no"}
_DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
TIMEOUT = 10.0
"""How long, in seconds, a server may take to answer, if nobody says otherwise."""

METHODS = ("publickey", "password", "keyboard-interactive")
"""The ways to authenticate that we know."""

_SWITCHES = dict(zip(("pubkeyauthentication", "passwordauthentication", "kbdinteractiveauthentication"), METHODS, strict=True))
_ALGORITHMS = ("hostkeyalgorithms", "kexalgorithms", "ciphers", "macs")


@dataclass(frozen=True)
class Target:
    """How to reach one SSH server: everything that the configuration decides."""

    hostname: str
    port: int
    user: str
    key_name: str
    checking: HostKeyChecking
    known_hosts: tuple[str, ...]
    identities: tuple[str, ...]
    identities_only: bool = False
    agent: str | None = None
    proxy_jump: str | None = None
    proxy_command: str | None = None
    hash_known_hosts: bool = False
    revoked: str | None = None
    certificates: tuple[str, ...] = ()
    methods: tuple[str, ...] = METHODS
    timeout: float = TIMEOUT
    alive_interval: int = 0
    alive_count: int = 3
    algorithms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = field(default=())

    @property
    def where(self) -> str:
        """Name the server and who we are there."""
        return f"{self.user}@{hostkeys.written(self.hostname, self.port)}"

    @property
    def key_port(self) -> int:
        """Give the port under which the host key is known: an alias stands alone."""
        return hostkeys.DEFAULT_PORT if self.key_name != self.hostname else self.port


def target(host: Host, options: Options) -> Target:
    """Ask OpenSSH's configuration how to reach `host`."""
    # an inventory's default of 22 must not hide the Port of ~/.ssh/config
    port = None if host.port == hostkeys.DEFAULT_PORT else host.port
    extra = [*_flag("-p", port), *_flag("-l", host.user), *_flag("-i", host.private_key)]
    return resolve(host.name, host.address, extra, options)


def hop(name: str, spec: str, options: Options) -> Target:
    """Ask OpenSSH's configuration how to reach a jump host, written as `[user@]host[:port]` or `ssh://...`."""
    user, _, rest = spec.removeprefix("ssh://").rpartition("@")
    address, port = rest, ""
    if rest.startswith("["):
        address, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") == 1:
        address, _, port = rest.partition(":")
    return resolve(name, address, [*_flag("-p", port or None), *_flag("-l", user or None)], options)


def resolve(name: str, address: str, extra: list[str], options: Options) -> Target:
    """Ask OpenSSH's configuration of one address; `extra` are options of ssh."""
    if address.startswith("-"):
        raise InputError(Diagnostic(summary=f'"{address}" is no address of a host', where=name))
    if options.ssh_config is not None and not os.path.isfile(options.ssh_config):
        raise InputError(Diagnostic(summary=f'there is no ssh_config file "{options.ssh_config}"', where=name))
    binary = shutil.which("ssh")
    if binary:
        said = _ask(name, [binary, "-G", *_flag("-F", options.ssh_config), *extra, "--", address])
    else:
        said = _read(address, extra, options)
    found = _target(said, address)
    if options.host_key_checking is not None:
        found = replace(found, checking=options.host_key_checking)
    if options.connect_timeout is not None:
        found = replace(found, timeout=options.connect_timeout)
    if not binary:
        warning = "there is no ssh binary: Match exec and other parts of ssh_config are not known"
        found = replace(found, warnings=(warning,))
    return found


def _flag(flag: str, value: object) -> list[str]:
    return [] if value is None else [flag, str(value)]


def _ask(name: str, argv: list[str]) -> dict[str, list[str]]:
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    if done.returncode:
        detail = done.stderr.strip()
        raise Unreachable(Diagnostic(summary="ssh does not accept its configuration", where=name, detail=detail))
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value)
    return said


def _read(address: str, extra: list[str], options: Options) -> dict[str, list[str]]:
    """Read the configuration without OpenSSH."""
    from paramiko import SSHConfig  # noqa: PLC0415 - needed only on a controller without ssh

    merged: dict[str, list[str]] = {}
    paths = [options.ssh_config] if options.ssh_config else ["~/.ssh/config", "/etc/ssh/ssh_config"]
    for path in map(os.path.expanduser, paths):
        if os.path.isfile(path):
            for key, value in SSHConfig.from_path(path).lookup(address).items():
                merged.setdefault(key, value if isinstance(value, list) else [str(value)])
    names = {"-p": "port", "-l": "user", "-i": "identityfile"}
    return merged | {names[flag]: [value] for flag, value in zip(extra[::2], extra[1::2], strict=True)}


def _target(said: dict[str, list[str]], address: str) -> Target:
    def one(key: str, default: str = "") -> str:
        return said.get(key, [default])[0]

    def files(key: str, default: str) -> tuple[str, ...]:
        return tuple(os.path.expanduser(path) for path in one(key, default).split() if path != "none")

    hostname = one("hostname", address)
    user, port = one("user") or getpass.getuser(), one("port", "22")
    tokens = {"%h": hostname, "%p": port, "%r": user, "%n": address, "%u": getpass.getuser(), "%d": os.path.expanduser("~")}

    def path(text: str) -> str:
        return os.path.expanduser(_filled(text, tokens))

    def paths(key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        return tuple(path(text) for text in said.get(key, default) if text not in _NONE)

    agent, revoked = one("identityagent"), one("revokedhostkeys")
    jump, command = one("proxyjump"), one("proxycommand")
    return Target(
        hostname=hostname,
        port=int(port),
        user=user,
        key_name=one("hostkeyalias") or hostname,
        checking=_CHECKING.get(one("stricthostkeychecking", "ask"), "yes"),
        known_hosts=files("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
        + files("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"),
        identities=paths("identityfile", _DEFAULT_KEYS),
        identities_only=one("identitiesonly") == "yes",
        agent=os.path.expandvars(path(agent)) if agent and agent != "SSH_AUTH_SOCK" else None,
        proxy_jump=None if jump in _NONE else jump,
        proxy_command=None if command in _NONE else command,
        hash_known_hosts=one("hashknownhosts") == "yes",
        revoked=path(revoked) if revoked not in _NONE else None,
        certificates=paths("certificatefile"),
        methods=tuple(method for switch, method in _SWITCHES.items() if one(switch) not in ("no", "false")),
        timeout=float(one("connecttimeout")) if one("connecttimeout").isdecimal() else TIMEOUT,
        alive_interval=_whole(one("serveraliveinterval"), 0),
        alive_count=_whole(one("serveralivecountmax"), 3),
        algorithms={key: tuple(one(key).split(",")) for key in _ALGORITHMS if one(key)},
    )


def _whole(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def through(found: Target, jumps: str) -> Target:
    """Give the target as it is reached through other jump hosts, whatever its own configuration says."""
    return replace(found, proxy_jump=jumps, proxy_command=None)


def expand(command: str, found: Target) -> str:
    """Put a ProxyCommand's tokens in; what is no token of ours is left as it is."""
    return _filled(command, {"%h": found.hostname, "%p": str(found.port), "%r": found.user, "%n": found.hostname})


def _filled(text: str, tokens: Mapping[str, str]) -> str:
    return re.sub("%[a-zA-Z%]", lambda token: "%" if token[0] == "%%" else tokens.get(token[0], token[0]), text)
