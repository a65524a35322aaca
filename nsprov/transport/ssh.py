"""Reach a host over SSH with Fabric: one connection, one exec channel; the only importer of fabric.

Fabric's own habits that are replaced here: it checks no host key, does not set TCP_NODELAY (40 ms a round trip on a
LAN), reads only a part of ssh_config, and feeds stdin at 100 bytes a second.
"""

from __future__ import annotations

import logging
import random
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fabric
import paramiko

from nsprov.agent import bundle
from nsprov.errors import Diagnostic, Unreachable
from nsprov.transport import conversation, failures, hostkeys, sshconfig
from nsprov.transport.channel import WINDOW, ChannelWire
from nsprov.transport.sshauth import Keys

if TYPE_CHECKING:
    from nsprov.transport.conversation import Archive
    from nsprov.transport.session import Host, Options, Session
    from nsprov.transport.sshconfig import Target

_KEEPALIVE = 15  # seconds between keepalive messages
_GIVE_UP = 60_000  # milliseconds that sent bytes may stay without an answer before the kernel drops the connection
_MAX_JUMPS = 8


@dataclass
class Link:
    """Everything that stands between us and one host, to be closed together."""

    host: str
    options: Options
    closing: ExitStack = field(default_factory=ExitStack)
    warnings: list[str] = field(default_factory=list)


def connect(host: Host, options: Options, archive: Archive = bundle.bundle) -> Session:
    """Reach the host over SSH and start the agent of `archive` there."""
    began = time.monotonic()
    log = logging.getLogger("paramiko")
    if not log.handlers:
        log.addHandler(logging.NullHandler())  # it logs tracebacks of what we say in our words
    link = Link(host.name, options)
    with ExitStack() as undo:
        undo.callback(link.closing.close)
        connection = _dial(link, sshconfig.target(host, options), depth=0)
        connected = time.monotonic()
        session = conversation.open_session(host, lambda command: _run(link, connection, command), archive)
        undo.pop_all()
    session.facts = {
        **session.facts,
        "connect_ms": round((connected - began) * 1000, 1),
        "exec_channels": 1,
        "warnings": tuple(link.warnings),
    }
    return session


def _run(link: Link, connection: fabric.Connection, command: str) -> ChannelWire:
    """Run the command on the one channel of this run."""
    try:
        channel = connection.transport.open_session(window_size=WINDOW, timeout=link.options.connect_timeout)
        channel.exec_command(command)
    except (paramiko.SSHException, OSError, EOFError) as problem:
        raise _unreachable(link, "the host runs no command for us", str(problem)) from problem
    return ChannelWire(channel, link.closing.close)


def _dial(link: Link, target: Target, depth: int) -> fabric.Connection:
    """Open a connection, through its jump hosts if it has some."""
    verifier = hostkeys.Verifier(
        files=target.known_hosts,
        checking=target.checking,
        hashed=target.hash_known_hosts,
        writable=target.known_hosts[0] if target.known_hosts else None,
    )
    link.warnings += target.warnings
    keys = Keys(target)
    kwargs: dict[str, Any] = {
        "auth_strategy": keys,
        "transport_factory": _transport_factory(verifier, target),
        "timeout": link.options.connect_timeout,
        "banner_timeout": link.options.connect_timeout,
        "auth_timeout": max(link.options.connect_timeout, 30),  # PAM modules may take their time
        "channel_timeout": link.options.connect_timeout,
    }
    gateway = None
    if target.proxy_jump:
        gateway = _gateway(link, target.proxy_jump, depth)
    elif target.proxy_command:
        kwargs["sock"] = _proxy(link, target)
    connection = fabric.Connection(
        target.hostname,
        user=target.user,
        port=target.port,
        gateway=gateway if gateway is not None else False,
        connect_kwargs=kwargs,
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
    )
    connection.client.set_missing_host_key_policy(_Policy(link, target, verifier))
    link.closing.callback(connection.close)
    _open(link, connection, target, keys)
    return connection


def _open(link: Link, connection: fabric.Connection, target: Target, keys: Keys) -> None:
    """Connect, verify the host key, authenticate; every failure in our words."""
    where = f"{target.user}@{hostkeys.written(target.hostname, target.port)}"
    try:
        _patiently(link, connection, target)
    except paramiko.AuthenticationException as problem:
        raise _unauthenticated(link, where, keys) from problem
    except paramiko.ssh_exception.NoValidConnectionsError as problem:
        reasons = "; ".join(sorted({str(error) for error in problem.errors.values()}))
        hint = "check the address and the port, and that sshd runs"
        raise _unreachable(link, f"{where} does not answer", reasons, hint) from problem
    except TimeoutError as problem:
        hint = "check the address, or give it more time with --timeout"
        raise _unreachable(link, f"{where} did not answer in {link.options.connect_timeout:g} s", "", hint) from problem
    except socket.gaierror as problem:
        hint = "correct the address in the inventory, or name it in ~/.ssh/config"
        raise _unreachable(link, f'the name "{target.hostname}" is not known', problem.strerror or "", hint) from problem
    except (paramiko.SSHException, OSError, EOFError) as problem:
        raise _unreachable(link, f"{where} could not be reached", str(problem)) from problem
    finally:
        keys.close()


def _patiently(link: Link, connection: fabric.Connection, target: Target) -> None:
    """Connect, and try again for a while when sshd drops us before its first word: so it sheds load (MaxStartups)."""
    deadline = time.monotonic() + link.options.connect_timeout
    while not _tried(connection, last=bool(target.proxy_command) or time.monotonic() > deadline):
        connection.close()
        time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - so that many do not come back at once


def _tried(connection: fabric.Connection, *, last: bool) -> bool:
    try:
        connection.open()
    except (paramiko.SSHException, ConnectionResetError, EOFError) as problem:
        if last or not _shed(problem):
            raise
        return False
    return True


def _shed(problem: Exception) -> bool:
    """Tell whether the connection ended before sshd's first word; paramiko leaves the reason in the context."""
    if isinstance(problem, paramiko.SSHException):
        return "protocol banner" in str(problem) and not isinstance(problem.__context__, TimeoutError)
    return True


def _unauthenticated(link: Link, where: str, keys: Keys) -> Unreachable:
    offered = f"offered {', '.join(keys.offered)}" if keys.offered else "no key to offer"
    detail = "; ".join([offered, *keys.passed_over])
    hint = "put the public key into the host's ~/.ssh/authorized_keys"
    if any("is encrypted" in text for text in keys.passed_over):
        hint = "load the encrypted key into an agent: ssh-add"
    return _unreachable(link, f"{where} accepts none of our keys", detail, hint)


def _gateway(link: Link, jumps: str, depth: int) -> fabric.Connection:
    """Open the connection to the last of a comma-separated list of jump hosts."""
    if depth >= _MAX_JUMPS:
        raise _unreachable(link, "the jump hosts lead in a circle", jumps)
    *before, last = jumps.split(",")
    target = sshconfig.hop(link.host, last, link.options)
    if before:
        target = sshconfig.through(target, ",".join(before))
    return _dial(link, target, depth + 1)


def _proxy(link: Link, target: Target) -> socket.socket:
    """Start the ProxyCommand with a socket for its stdin and stdout: paramiko's own pipe spins at the end of it."""
    assert target.proxy_command is not None
    ours, theirs = socket.socketpair()
    command = "exec " + sshconfig.expand(target.proxy_command, target)
    with theirs:
        end = theirs.fileno()
        # the user's own command from ~/.ssh/config, which OpenSSH runs in a shell as well
        argv = ["/bin/sh", "-c", command]
        process = subprocess.Popen(argv, stdin=end, stdout=end, stderr=subprocess.DEVNULL, process_group=0)  # noqa: S603
    link.closing.callback(process.wait)
    link.closing.callback(process.terminate)
    link.closing.callback(ours.close)
    return ours


def _transport_factory(verifier: hostkeys.Verifier, target: Target) -> Any:
    """Make paramiko's transports with our socket options, asking first for the types of key that we know."""

    def transport(sock: Any, **kwargs: Any) -> paramiko.Transport:
        if isinstance(sock, socket.socket) and sock.family != socket.AF_UNIX:
            sock = _EagerSocket.of(sock)
        made = paramiko.Transport(sock, **kwargs)
        made.set_keepalive(_KEEPALIVE)
        security = made.get_security_options()
        known = hostkeys.known_types(verifier.entries(), target.key_name, target.key_port)
        first = [name for name in known if name in security.key_types]
        security.key_types = [*first, *(name for name in security.key_types if name not in first)]
        return made

    return transport


class _EagerSocket(socket.socket):
    """A TCP socket that delays nothing: neither what it sends nor, after sshd's Nagle, what it acknowledges."""

    @classmethod
    def of(cls, sock: socket.socket) -> _EagerSocket:
        """Take over a connected socket."""
        timeout = sock.gettimeout()
        made = cls(fileno=sock.detach())
        made.settimeout(timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GIVE_UP)
        return made

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive, and acknowledge at once: sshd's second message after the login waits 40 ms for it otherwise."""
        data = super().recv(size, flags)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # tcp(7): not permanent
        return data


class _Policy(paramiko.MissingHostKeyPolicy):
    """Our verifier in the place where paramiko asks about unknown keys: to it, every key is one."""

    def __init__(self, link: Link, target: Target, verifier: hostkeys.Verifier) -> None:
        self.link = link
        self.target = target
        self.verifier = verifier

    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        """Refuse, by raising Unreachable, a key that is not to be trusted; nobody has authenticated yet."""
        offer = hostkeys.Offer(self.target.key_name, self.target.key_port, key.get_name(), key.asbytes())
        remark = self.verifier.verify(self.link.host, offer)
        self.link.warnings += [remark] if remark else []


def _unreachable(link: Link, summary: str, detail: str, hint: str = "") -> Unreachable:
    return Unreachable(Diagnostic(summary=summary, where=link.host, detail=failures.last_lines(detail), hint=hint))
