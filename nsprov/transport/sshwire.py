"""paramiko's transport as we want it: a socket that delays nothing, host keys asked for in the right order, few cycles."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import paramiko

from nsprov.errors import Diagnostic, Unreachable
from nsprov.transport import certificates, hostkeys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nsprov.transport.hostkeys import Entry, Verifier
    from nsprov.transport.sshconfig import Target

_KEEPALIVE = 15  # seconds between keepalive messages
_GIVE_UP = 60_000  # milliseconds that sent bytes may stay without an answer before the kernel drops the connection
_OPTIONS = {"kexalgorithms": "kex", "ciphers": "ciphers", "macs": "digests"}
"""What ssh_config calls a list of algorithms, and paramiko."""

_CHEAP = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""Ciphers that need no MAC beside them: paramiko compares MACs byte by byte in Python, a fifth of a connection's cycles."""


class Transport(paramiko.Transport):
    """A transport that asks for host certificates before plain keys, or not at all; paramiko always asks for them last."""

    _active_check_timeout = 1.0
    """How often, in seconds, an idle thread wakes up; paramiko's 0.1 costs a tenth of a processor for a hundred hosts."""

    wanted: tuple[str, ...] = ()
    """The types of host keys to ask for, in order."""

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """Give the types of host keys in the order in which we want them."""
        return self.wanted or tuple(super().preferred_keys)


def factory(verifier: Verifier, target: Target) -> Callable[..., paramiko.Transport]:
    """Give what makes transports to a server; it raises Unreachable when the ssh_config leaves nothing that we know."""

    def transport(sock: Any, **kwargs: Any) -> paramiko.Transport:
        if isinstance(sock, socket.socket) and sock.family != socket.AF_UNIX:
            sock = _EagerSocket.of(sock, target)
        with contextlib.ExitStack() as undo:
            undo.callback(sock.close)
            made = Transport(sock, **kwargs)
            made.set_keepalive(target.alive_interval or _KEEPALIVE)
            _choose(made, verifier.entries(), target)
            undo.pop_all()
        return made

    return transport


def _choose(made: Transport, entries: Sequence[Entry], target: Target) -> None:
    """Say which algorithms a transport may use, and in which order."""
    security = made.get_security_options()
    security.ciphers = [*_CHEAP, *(name for name in security.ciphers if name not in _CHEAP)]
    for key, option in _OPTIONS.items():
        setattr(security, option, _allowed(target, key, getattr(security, option)))
    known = hostkeys.known_types(entries, target.key_name, target.key_port)
    types = [name for name in made.preferred_keys if not name.endswith(certificates.SUFFIX)]
    types = [*(name for name in known if name in types), *(name for name in types if name not in known)]
    certified = bool(hostkeys.authorities(entries, target.key_name, target.key_port))
    names = [name + certificates.SUFFIX for name in types] if certified else []
    made.wanted = tuple(_allowed(target, "hostkeyalgorithms", [*names, *types]))


def _allowed(target: Target, key: str, known: Sequence[str]) -> list[str]:
    """Give those of the algorithms we know that the ssh_config allows."""
    allowed = target.algorithms.get(key)
    found = [name for name in known if allowed is None or name in allowed]
    if not found:
        hint = f"allow one of {', '.join(known)}"
        raise Unreachable(Diagnostic(f"nothing of {key} in the ssh_config is known here", target.where, hint=hint))
    return found


class _EagerSocket(socket.socket):
    """A TCP socket that delays nothing: neither what it sends nor, after sshd's Nagle, what it acknowledges."""

    @classmethod
    def of(cls, sock: socket.socket, target: Target) -> _EagerSocket:
        """Take over a connected socket."""
        timeout = sock.gettimeout()
        made = cls(fileno=sock.detach())
        made.settimeout(timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        patience = target.alive_interval * target.alive_count * 1000 or _GIVE_UP
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
        return made

    def close(self) -> None:
        """End the connection, which wakes the thread that waits for data: to let go of the descriptor does not."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        super().close()

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive, and acknowledge at once: sshd's second message after the login waits 40 ms for it otherwise."""
        data = super().recv(size, flags)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # tcp(7): not permanent
        return data
