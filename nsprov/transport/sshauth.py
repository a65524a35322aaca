"""Who we are to an SSH server: keys in OpenSSH's order, then a password. Nobody is asked for anything here.

An encrypted key is used through an agent that holds it, or when the keyring was given its passphrase before.
A password goes to the host itself, after its key was verified, once, and never to a jump host.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import paramiko
from paramiko.auth_strategy import AuthFailure, AuthResult, AuthSource, AuthStrategy

from nsprov.transport import certificates, keyring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nsprov.transport.keyring import Keyring
    from nsprov.transport.session import Password
    from nsprov.transport.sshconfig import Target

    Proof = tuple[str, Callable[[paramiko.Transport], list[str]]]

TRIES = 6
"""How many keys sshd lets a client try by default (MaxAuthTries); more would look like an attack."""

_WITH_PASSWORD = 4
"""How many keys we try when there is a password, which shall still have its turn."""


class Login(AuthStrategy):
    """The proofs for one server, and what became of them.

    `begun`: authentication has started, so a connection that ends now was not shed. `left`: what the server wants besides
    what it has accepted. `questions`: what it has asked that a password does not answer. `wrong`: it refused the password.
    `late`: it did not answer. `methods`: what it accepts at all, if it has said so.
    """

    def __init__(self, target: Target, keys: Keyring, password: Password | None) -> None:
        """Store whom to authenticate to."""
        super().__init__(ssh_config=paramiko.SSHConfig())
        self.target = target
        self.passed_over: list[str] = []
        self.offered: list[str] = []
        self.begun = self.wrong = self.late = False
        self.left: list[str] = []
        self.methods: list[str] = []
        self.questions: list[str] = []
        self._keys = keys
        self.password = password
        self._agent: paramiko.Agent | None = None

    def authenticate(self, transport: paramiko.Transport) -> AuthResult:
        """Try one proof after another; what is accepted may be one of several that the server wants."""
        self.begun = True
        for method, prove in self._proofs():
            if method not in self.target.methods or method not in (self.left or self.methods or [method]):
                continue
            try:
                left = prove(transport)
            except paramiko.BadAuthenticationType as problem:
                self.methods = problem.allowed_types
            except paramiko.SSHException as problem:
                self.late = "timeout" in str(problem)
                if self.late or not transport.is_active():
                    break  # it does not want to hear more
                self.wrong = self.wrong or (method != "publickey" and not self.questions)
            else:
                self.left = left
                if not left:
                    return AuthResult(self)
        raise AuthFailure(AuthResult(self))

    def get_sources(self) -> Iterator[AuthSource]:
        """Give nothing: proofs are tried by our own `authenticate`, which knows of hosts that want more than one."""
        return iter(())

    def close(self) -> None:
        """Let go of the agent."""
        if self._agent is not None:
            self._agent.close()

    def _proofs(self) -> Iterator[Proof]:
        limit = TRIES if self.password is None else _WITH_PASSWORD
        if "publickey" in self.target.methods:
            for name, key in self._all_keys():
                if len(self.offered) == limit:
                    break
                self.offered.append(name)
                yield "publickey", self._signed(key)
        if self.password is not None:
            secret = self.password.reveal()
            yield "password", lambda transport: transport.auth_password(self.target.user, secret, fallback=False)
            if not self.wrong:
                yield "keyboard-interactive", self._converse

    def _signed(self, key: paramiko.PKey) -> Callable[[paramiko.Transport], list[str]]:
        return lambda transport: transport.auth_publickey(self.target.user, key)

    def _all_keys(self) -> Iterator[tuple[str, paramiko.PKey]]:
        """Give the keys one by one, each behind its certificates; one that cannot be used is noted and passed over."""
        self._agent = open_agent(self.target.agent)
        held = {key.blob: key for key in self._agent.get_keys()} if self._agent else {}
        for path in self.target.identities:
            of_agent = held.pop(keyring.public_half(path), None)
            if of_agent is not None:
                yield from self._with_certificates(f"{path} (agent)", path, of_agent)
                continue
            key = self._keys.key(path)
            if key is not None:
                yield from self._with_certificates(path, path, key)
            elif self._keys.problem(path):
                self.passed_over.append(f'"{path}" {self._keys.problem(path)}')
        if not self.target.identities_only:
            for blob, key in held.items():
                is_certificate = certificates.parse(blob) is not None
                yield f"{key.comment or key.get_name()} (agent)", keyring.certified(key, blob) if is_certificate else key

    def _with_certificates(self, name: str, path: str, key: paramiko.PKey) -> Iterator[tuple[str, paramiko.PKey]]:
        for file in dict.fromkeys((*self.target.certificates, f"{path}-cert.pub")):
            found = keyring.certificate(file)
            if found is None or found[1].key != key.asbytes():
                continue
            if late := certificates.expired(found[1]):
                self.passed_over.append(f'the certificate "{file}" {late}')
            else:
                yield f"{name} with {file}", keyring.certified(key, found[0])
        yield name, key

    def _converse(self, transport: paramiko.Transport) -> list[str]:
        """Answer the one question that is for the password; others are noted, and left without an answer."""
        answered = False

        def answer(_title: str, _instructions: str, questions: list[tuple[str, bool]]) -> list[str]:
            nonlocal answered
            answers = []
            for text, shown in questions:
                ours = "assword" in text and not shown and not answered
                answered = answered or ours
                answers.append(self.password.reveal() if ours and self.password else "")
                if not ours and "assword" not in text:
                    self.questions.append(text.strip())
            return answers

        return transport.auth_interactive(self.target.user, answer)


def open_agent(path: str | None) -> paramiko.Agent | None:
    """Open the agent at `path`, or the one in SSH_AUTH_SOCK."""
    if path == "none":
        return None
    try:
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
    except paramiko.SSHException:
        return None  # one that does not answer as agents do is as good as none
    return agent
