"""Reach a host over SSH with Fabric: one connection, one exec channel; the only importer of fabric.

Fabric's own habits that are replaced here: it checks no host key, does not set TCP_NODELAY (40 ms a round trip on a
LAN), reads only a part of ssh_config, and feeds stdin at 100 bytes a second.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fabric
import paramiko

from nsprov.agent import bundle
from nsprov.errors import Diagnostic, Unreachable
from nsprov.transport import certificates, conversation, failures, hostkeys, sshconfig, sshwire
from nsprov.transport.channel import WINDOW, ChannelWire
from nsprov.transport.routes import Routes
from nsprov.transport.sshauth import Login

if TYPE_CHECKING:
    from nsprov.transport.conversation import Archive
    from nsprov.transport.session import Host, Options, Password, Session
    from nsprov.transport.sshconfig import Target

_ASKED_ALONE = 4
"""How often a jump host is asked for a channel when it is not said why there is none."""

_PAUSE = 0.05  # seconds before the second try; each pause is up to twice the one before
_LONGEST_PAUSE = 2.0
_PROHIBITED = 1
"""SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254, 5.1)."""


@dataclass
class Link:
    """Everything that stands between us and one server, to be closed together."""

    host: str
    routes: Routes
    closing: ExitStack = field(default_factory=ExitStack)
    warnings: list[str] = field(default_factory=list)
    transport: paramiko.Transport | None = None
    in_use: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        """Close the connection and what it goes through, but for jump hosts that others share."""
        self.closing.close()

    def hang_up(self) -> None:
        """Close it when its session ends; before there is one, another command may be tried."""
        if self.in_use:
            self.close()


def connect(host: Host, options: Options, archive: Archive = bundle.bundle, routes: Routes | None = None) -> Session:
    """Reach the host over SSH and start the agent of `archive` there; `routes` are shared with other hosts, if given."""
    began = time.monotonic()
    log = logging.getLogger("paramiko")
    if not log.handlers:
        log.addHandler(logging.NullHandler())  # it logs tracebacks of what we say in our words
    link = Link(host.name, routes or Routes(options))
    with ExitStack() as undo:
        undo.callback(link.close)
        if routes is None:
            link.closing.callback(link.routes.close)
        _dial(link, link.routes.target(host), host.password)
        connected = time.monotonic()
        session = conversation.open_session(host, lambda command: _run(link, command), archive)
        undo.pop_all()
    link.in_use = True
    session.facts = {
        **session.facts,
        "connect_ms": round((connected - began) * 1000, 1),
        "warnings": tuple(link.warnings),
    }
    return session


def _run(link: Link, command: str) -> ChannelWire:
    """Run the command on the one channel of this run."""
    assert link.transport is not None
    try:
        channel = link.transport.open_session(window_size=WINDOW)
        channel.exec_command(command)
    except (paramiko.SSHException, OSError, EOFError) as problem:
        raise _unreachable(link, "the host runs no command for us", str(problem)) from problem
    return ChannelWire(channel, link.hang_up)


def _dial(link: Link, target: Target, password: Password | None = None) -> None:
    """Open a connection, through its jump hosts if it has some."""
    verifier = hostkeys.Verifier(
        files=target.known_hosts,
        checking=target.checking,
        hashed=target.hash_known_hosts,
        writable=target.known_hosts[0] if target.known_hosts else None,
        revoked=target.revoked,
    )
    link.warnings += target.warnings
    login = Login(target, link.routes.keyring, password)
    kwargs: dict[str, Any] = {
        "auth_strategy": login,
        "transport_factory": sshwire.factory(verifier, target),
        "timeout": target.timeout,
        "banner_timeout": target.timeout,
        "auth_timeout": max(target.timeout, 30),  # PAM modules may take their time
        "channel_timeout": target.timeout,
    }
    through = _through(link, target) if target.proxy_jump else None
    if target.proxy_command and not target.proxy_jump:
        kwargs["sock"] = _proxy(link, target)
    connection = fabric.Connection(
        target.hostname,
        user=target.user,
        port=target.port,
        gateway=False,
        connect_kwargs=kwargs,
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),  # its own: a connection writes into it
    )
    connection.client.set_missing_host_key_policy(_Policy(link, target, verifier))
    link.closing.callback(connection.client.close)
    _open(link, connection, login, through)
    link.transport = connection.transport


def _open(link: Link, connection: fabric.Connection, login: Login, through: Link | None) -> None:
    """Connect, verify the host key, authenticate; every failure in our words."""
    target = login.target
    try:
        _patiently(link, connection, login, through)
    except paramiko.AuthenticationException as problem:
        raise _unauthenticated(link, login) from problem
    except paramiko.ssh_exception.NoValidConnectionsError as problem:
        reasons = "; ".join(sorted({str(error) for error in problem.errors.values()}))
        hint = "check the address and the port, and that sshd runs"
        raise _unreachable(link, f"{target.where} does not answer", reasons, hint) from problem
    except TimeoutError as problem:
        hint = "check the address, or give it more time with --timeout"
        raise _unreachable(link, f"{target.where} did not answer in {target.timeout:g} s", "", hint) from problem
    except socket.gaierror as problem:
        hint = "correct the address in the inventory, or name it in ~/.ssh/config"
        raise _unreachable(link, f'the name "{target.hostname}" is not known', problem.strerror or "", hint) from problem
    except (paramiko.SSHException, OSError, EOFError) as problem:
        raise _unreachable(link, f"{target.where} could not be reached", str(problem)) from problem
    finally:
        login.close()


def _patiently(link: Link, connection: fabric.Connection, login: Login, through: Link | None) -> None:
    """Connect, and try again for a while when sshd drops us before its first word: so it sheds load (MaxStartups).

    What ends after we have begun to say who we are is not tried again.
    """
    deadline = time.monotonic() + login.target.timeout
    pause = _PAUSE
    while True:
        if through is not None:
            connection.connect_kwargs["sock"] = _tunnel(link, login.target, through)
        try:
            connection.open()
        except (paramiko.SSHException, ConnectionResetError, EOFError) as problem:
            late = login.target.proxy_command or login.begun or time.monotonic() > deadline
            if late or not _shed(problem):
                raise
        else:
            return
        connection.client.close()
        time.sleep(random.uniform(_PAUSE, pause))  # noqa: S311 - so that many do not come back at once
        pause = min(2 * pause, _LONGEST_PAUSE)


def _shed(problem: Exception) -> bool:
    """Tell whether the connection ended before sshd's first word; paramiko leaves the reason in the context."""
    if isinstance(problem, paramiko.SSHException):
        return "protocol banner" in str(problem) and not isinstance(problem.__context__, TimeoutError)
    return True


def _unauthenticated(link: Link, login: Login) -> Unreachable:
    """Say what was tried, and what else the server would take."""
    where = login.target.where
    offered = f"offered {', '.join(login.offered)}" if login.offered else "no key to offer"
    detail = "; ".join([offered, *login.passed_over])
    if login.late:
        return _unreachable(link, f"{where} takes too long to authenticate us", detail)
    if login.questions:
        asked = ", ".join(f'"{text}"' for text in dict.fromkeys(login.questions))
        return _unreachable(link, f"{where} asks for more than a password", f"it asks {asked}", "use a key")
    if login.wrong:
        hint = "check the password given with --ask-pass (-k) or in the inventory"
        return _unreachable(link, f"{where} did not accept the password", detail, hint)
    if login.left:
        hint = "give it with --ask-pass (-k), or as ansible_password" if login.password is None else ""
        return _unreachable(link, f"{where} wants {' or '.join(login.left)} as well", detail, hint)
    if login.password is not None and login.methods and "password" not in login.methods:
        return _unreachable(link, f"{where} takes no password", f"it takes {', '.join(login.methods)}; {detail}", "use a key")
    hint = "put the public key into the host's ~/.ssh/authorized_keys, or give a password with --ask-pass (-k)"
    if any("is encrypted" in text for text in login.passed_over):
        hint = "load the encrypted key into an agent (ssh-add), or name it with --private-key on a terminal to be asked"
    return _unreachable(link, f"{where} accepts none of our keys", detail, hint)


def _through(link: Link, target: Target) -> Link:
    """Give the connection to the last jump host before a target, which all that lie behind it share."""
    assert target.proxy_jump is not None
    jumps = target.proxy_jump
    if link.routes.circular(link.host, target):
        raise _unreachable(link, "the jump hosts lead in a circle", jumps)

    def dialled() -> Link:
        with ExitStack() as undo:
            made = Link(link.host, link.routes)
            undo.callback(made.close)
            _dial(made, link.routes.hop(link.host, jumps))
            undo.pop_all()
        return made

    found: Link = link.routes.gateway(jumps, link.host, dialled)
    link.warnings += found.warnings
    return found


def _tunnel(link: Link, target: Target, through: Link) -> paramiko.Channel:
    """Open a way through a jump host."""
    where = (target.hostname, target.port)
    with contextlib.suppress(_Unexplained):
        return _opened(link, target, through, where)
    for _ in range(_ASKED_ALONE):  # paramiko may have given the reason to another thread, which failed at the same time
        with through.turn, contextlib.suppress(_Unexplained):
            return _opened(link, target, through, where)
    raise _no_tunnel(link, target, paramiko.SSHException("no channel could be opened"))


class _Unexplained(Exception):
    """A channel was refused, and nobody knows why."""


def _opened(link: Link, target: Target, through: Link, where: tuple[str, int]) -> paramiko.Channel:
    assert through.transport is not None
    try:
        return through.transport.open_channel("direct-tcpip", where, ("", 0))
    except paramiko.ChannelException as problem:
        raise _no_tunnel(link, target, problem) from problem
    except (paramiko.SSHException, OSError, EOFError) as problem:
        if not through.transport.is_active():
            raise _no_tunnel(link, target, problem) from problem
        raise _Unexplained from problem


def _no_tunnel(link: Link, target: Target, problem: Exception) -> Unreachable:
    summary = f"the jump host does not reach {hostkeys.written(target.hostname, target.port)}"
    hint, why = "check the address, as the jump host sees it", str(problem)
    if isinstance(problem, paramiko.ChannelException):
        why = problem.text
        if problem.code == _PROHIBITED:
            hint, why = "let its sshd forward: AllowTcpForwarding yes", "it is not allowed to"
    return _unreachable(link, summary, f"{target.proxy_jump}: {why}", hint)


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


class _Policy(paramiko.MissingHostKeyPolicy):
    """Our verifier in the place where paramiko asks about unknown keys: to it, every key is one."""

    def __init__(self, link: Link, target: Target, verifier: hostkeys.Verifier) -> None:
        self.link = link
        self.target = target
        self.verifier = verifier

    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        """Refuse, by raising Unreachable, a key that is not to be trusted; nobody has authenticated yet."""
        shown = key.public_blob
        certificate = certificates.parse(shown.key_blob) if shown is not None else None
        offer = hostkeys.Offer(self.target.key_name, self.target.key_port, key.get_name(), key.asbytes(), certificate)
        remark = self.verifier.verify(self.link.host, offer)
        self.link.warnings += [remark] if remark else []


def _unreachable(link: Link, summary: str, detail: str, hint: str = "") -> Unreachable:
    return Unreachable(Diagnostic(summary=summary, where=link.host, detail=failures.last_lines(detail), hint=hint))
