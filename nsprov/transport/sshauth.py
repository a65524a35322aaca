"""Which keys to offer to an SSH server, in OpenSSH's order; no password and no passphrase is ever asked for here.

An encrypted key is used through an agent that holds it: its public half says which of the agent's keys it is.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import paramiko
from paramiko.auth_strategy import AuthSource, AuthStrategy, InMemoryPrivateKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nsprov.transport.sshconfig import Target

TRIES = 6
"""How many keys sshd lets a client try by default (MaxAuthTries); more would look like an attack."""


class Keys(AuthStrategy):
    """The keys for one server: what ~/.ssh/config names, then what the agent has."""

    def __init__(self, target: Target) -> None:
        """Store whom to authenticate to."""
        super().__init__(ssh_config=paramiko.SSHConfig())
        self.target = target
        self.passed_over: list[str] = []
        self.offered: list[str] = []
        self._agent: paramiko.Agent | None = None

    def get_sources(self) -> Iterator[AuthSource]:
        """Give the keys one by one; a key that cannot be read is noted and passed over."""
        self._agent = _agent(self.target.agent)
        agent = {key.asbytes(): key for key in self._agent.get_keys()} if self._agent else {}
        for path in self.target.identities:
            for public in (path, path + ".pub"):
                held = agent.pop(_public_half(public), None)
                if held is not None:
                    yield self._offer(f"{path} (agent)", held)
            key = self._from_file(path)
            if key is not None:
                yield self._offer(path, key)
        if not self.target.identities_only:
            for held in agent.values():
                yield self._offer(f"{held.comment or held.get_name()} (agent)", held)

    def close(self) -> None:
        """Let go of the agent."""
        if self._agent is not None:
            self._agent.close()

    def _offer(self, name: str, key: paramiko.PKey) -> AuthSource:
        if len(self.offered) == TRIES:
            raise paramiko.AuthenticationException("too many keys")
        self.offered.append(name)
        return InMemoryPrivateKey(self.target.user, key)

    def _from_file(self, path: str) -> paramiko.PKey | None:
        if not os.path.isfile(path) or path.endswith(".pub"):
            return None
        try:
            return paramiko.PKey.from_path(path)
        except (ValueError, TypeError, OSError, paramiko.SSHException) as problem:
            # TypeError is how cryptography says that a key is encrypted
            reason = "is encrypted" if isinstance(problem, (TypeError, paramiko.PasswordRequiredException)) else str(problem)
            self.passed_over.append(f'"{path}" {reason}')
            return None


def _public_half(path: str) -> bytes:
    """Read a public key's blob; empty when the file holds none."""
    try:
        with open(path, encoding="utf-8") as source:
            return paramiko.Message(_decode(source.read(1 << 16).split()[1])).asbytes()
    except (OSError, ValueError, IndexError):
        return b""  # an identity often has no .pub file, and need not


def _decode(text: str) -> bytes:
    import base64  # noqa: PLC0415 - only with an agent

    return base64.b64decode(text, validate=True)


def _agent(path: str | None) -> paramiko.Agent | None:
    """Open the agent at `path`, or the one in SSH_AUTH_SOCK."""
    if path == "none":
        return None
    if path is None:
        return paramiko.Agent()
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None  # a dangling IdentityAgent is no error for OpenSSH either
    agent = paramiko.Agent.__new__(paramiko.Agent)
    super(paramiko.Agent, agent).__init__()
    agent._connect(connection)  # type: ignore[attr-defined]  # noqa: SLF001 - paramiko offers only the environment variable
    return agent
