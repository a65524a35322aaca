"""What a session with an agent is, and what has to be known of a host to open one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nsprov.transport.terminal import Screen

HostKeyChecking = Literal["yes", "accept-new", "no"]


class Password(Protocol):
    """A secret that has to be asked for its text."""

    def reveal(self) -> str:
        """Give the text."""


class Host(Protocol):
    """What a session needs to know of a host; `nsprov.inventory.Host` has it."""

    @property
    def name(self) -> str:
        """The name in the inventory."""

    @property
    def address(self) -> str:
        """A name, an address, or a `Host` of ~/.ssh/config."""

    @property
    def port(self) -> int | None:
        """The SSH port, `None` for what ~/.ssh/config says."""

    @property
    def user(self) -> str | None:
        """The SSH user, `None` for what ~/.ssh/config says."""

    @property
    def connection(self) -> str:
        """How to reach it: "local" or "ssh"."""

    @property
    def password(self) -> Password | None:
        """The password that the host's sshd may ask for; jump hosts never see it."""

    @property
    def become(self) -> bool:
        """Whether to become root there."""

    @property
    def become_method(self) -> str:
        """By which program: "sudo", "su" or "doas"."""

    @property
    def become_password(self) -> Password | None:
        """The password that this program may ask for."""

    @property
    def python(self) -> str | None:
        """The interpreter's path, `None` to look for one."""

    @property
    def private_key(self) -> str | None:
        """A private key's path, tried before the others."""

    @property
    def passphrase(self) -> Password | None:
        """What opens the host's encrypted keys."""


class Session(Protocol):
    """A conversation with the agent of one host."""

    host: str
    """The name in the inventory."""

    facts: Mapping[str, Any]
    """What connecting found: connect_ms, boot_ms, cached, python, exec_channels, warnings."""

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; Unreachable when the agent has gone."""

    def receive(self, patience: float | None = None) -> dict[str, Any] | None:
        """Wait for the next message; `None` when the agent has closed, TimeoutError when nothing at all came so long."""

    def last_words(self) -> str:
        """Give the last lines that the agent wrote to its stderr."""

    def relay(self, source: int, out: int, err: int) -> int:
        """Join the command that the agent has become to three descriptors of ours; give its exit code."""

    def show(self, screen: Screen) -> int:
        """Join the terminal that the agent has made for a command to our own; give its exit code."""

    def end_input(self) -> None:
        """Say that nothing more will be asked: the agent ends what it is at, and what it says until then can be received."""

    def close(self, *, wait: bool = True) -> None:
        """End the conversation; the agent puts back what was not committed, and exits.

        Not to `wait` for it is for an agent that may be unable to notice for now.
        """


@dataclass(frozen=True)
class Options:
    """How to connect, for all hosts.

    `connect_timeout` of `None` is what ~/.ssh/config says, or 10 seconds.
    `host_key_checking` of `None` is what ~/.ssh/config says, where "ask" counts as "yes".
    `ask` asks the user for a secret, in the thread that calls `Routes.prepare`; without it nobody is there to ask.
    """

    connect_timeout: float | None = None
    ssh_config: str | None = None
    host_key_checking: HostKeyChecking | None = None
    ask: Callable[[str], str] | None = None
