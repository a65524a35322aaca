"""The options that commands share, as annotated types, and what they mean together."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from nsprov import fleet, transport
from nsprov.cli import asking
from nsprov.errors import Diagnostic, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Output(str, Enum):
    """How results are written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class PlayOutput(str, Enum):
    """How results of a playbook are written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    JUNIT = "junit"


class Progressing(str, Enum):
    """How a run shows on stderr how far it is; `auto` is a display in place on a terminal, and lines elsewhere."""

    AUTO = "auto"
    TTY = "tty"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


class BecomeMethod(str, Enum):
    """The program that makes one root on a host."""

    SUDO = "sudo"
    SU = "su"
    DOAS = "doas"


class HostKeys(str, Enum):
    """What to do with a host key that is not known; a changed one is always refused."""

    YES = "yes"
    ACCEPT_NEW = "accept-new"
    NO = "no"


class OnDisconnect(str, Enum):
    """What a host does with what it has done and verified, when its controller is lost before all hosts have."""

    ROLLBACK = "rollback"
    COMMIT = "commit"


TopologyOption = Annotated[str | None, typer.Option("--topology", "-t", help="The topology file; default topology.yml.")]
TopologyArgument = Annotated[
    str | None, typer.Argument(help="The topology file; default topology.yml here or in a parent.", metavar="[TOPOLOGY]")
]
InventoryOption = Annotated[
    list[str] | None,
    typer.Option("--inventory", "-i", help="An inventory, or HOST,HOST, again for more. Default $NSPROV_INVENTORY."),
]
LimitOption = Annotated[str | None, typer.Option("--limit", "-l", help="Only these of the hosts: a pattern, @FILE, @failed.")]
VariablesOption = Annotated[list[str] | None, typer.Option("--extra-vars", "-e", help="Variables: KEY=VALUE, JSON, or @FILE.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to write results.", envvar="NSPROV_OUTPUT")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="List every change, however many.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
ProgressOption = Annotated[
    Progressing, typer.Option("--progress", help="How to show progress on stderr.", envvar="NSPROV_PROGRESS")
]
TimingOption = Annotated[bool, typer.Option("--timing", help="Say where the time went, on stderr.")]
ForksOption = Annotated[int, typer.Option("--forks", "-f", help="How many hosts to work on at a time.", min=1, max=1024)]
HostKeysOption = Annotated[
    HostKeys | None, typer.Option("--host-key-checking", help="Unknown SSH host keys; default as ssh_config says.")
]
SshConfigOption = Annotated[str | None, typer.Option("--ssh-config", "-F", help="The ssh_config file to use.")]
LoginOption = Annotated[str | None, typer.Option("--user", "--remote-user", "-u", help="Who logs in, if not said elsewhere.")]
PrivateKeyOption = Annotated[str | None, typer.Option("--private-key", help="A key file to log in with.")]
AskPassOption = Annotated[bool, typer.Option("--ask-pass", "-k", help="Ask for the SSH password.")]
PassFileOption = Annotated[str | None, typer.Option("--connection-password-file", help="A file with the SSH password.")]
BecomeOption = Annotated[bool, typer.Option("--become", "-b", help="Become root on hosts whose inventory does not say.")]
BecomeMethodOption = Annotated[BecomeMethod | None, typer.Option("--become-method", help="How to become root; default sudo.")]
AskBecomeOption = Annotated[bool, typer.Option("--ask-become-pass", "-K", help="Ask for the password of sudo, su or doas.")]
BecomeFileOption = Annotated[str | None, typer.Option("--become-password-file", help="A file with that password.")]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", "-T", help="Seconds for a host to answer; default 10.", min=0.1)
]
HostTimeoutOption = Annotated[
    float, typer.Option("--host-timeout", help="Seconds without a sign of life after which a host is lost; 0 for never.", min=0)
]
LockTimeoutOption = Annotated[
    float, typer.Option("--lock-timeout", help="Seconds to wait for another run on the lab to end.", min=0)
]
OnDisconnectOption = Annotated[
    OnDisconnect,
    typer.Option("--on-disconnect", help="What a host does with what it has verified, if we are lost before all hosts have."),
]
VaultFileOption = Annotated[
    list[str] | None, typer.Option("--vault-password-file", help="A file with a vault password, or LABEL@FILE; again for more.")
]
AskVaultOption = Annotated[bool, typer.Option("--ask-vault-pass", "-J", help="Ask for the vault password.")]
LabOption = Annotated[str | None, typer.Option("--lab", help="The lab's name, instead of a topology file.")]


@dataclass(frozen=True)
class Given:
    """What the command line said, in one value; the fields are the options that commands share."""

    topology: TopologyArgument = None
    inventory: InventoryOption = None
    limit: LimitOption = None
    variables: VariablesOption = None
    output: OutputOption = Output.TEXT
    verbose: VerboseOption = False
    quiet: QuietOption = False
    progress: ProgressOption = Progressing.AUTO
    timing: TimingOption = False
    forks: ForksOption = fleet.FORKS
    host_keys: HostKeysOption = None
    ssh_config: SshConfigOption = None
    login: LoginOption = None
    private_key: PrivateKeyOption = None
    ask_pass: AskPassOption = False
    connection_password_file: PassFileOption = None
    become: BecomeOption = False
    become_method: BecomeMethodOption = None
    ask_become: AskBecomeOption = False
    become_password_file: BecomeFileOption = None
    timeout: TimeoutOption = None
    host_timeout: HostTimeoutOption = fleet.HOST_TIMEOUT
    lock_timeout: LockTimeoutOption = 0
    on_disconnect: OnDisconnectOption = OnDisconnect.ROLLBACK
    lab: LabOption = None
    vault_password_file: VaultFileOption = None
    ask_vault_pass: AskVaultOption = False

    def run_options(
        self,
        *,
        fingerprint: bool = False,
        progress: Callable[[fleet.Progress], None] | None = None,
        early: transport.Session | None = None,
    ) -> fleet.Options:
        """Give the options of a run."""
        checking: Any = self.host_keys.value if self.host_keys else None
        detail = self.verbose or self.output is not Output.TEXT or fingerprint
        return fleet.Options(
            transport=transport.Options(
                connect_timeout=self.timeout,
                ssh_config=self.ssh_config,
                host_key_checking=checking,
                ask=asking.ask if asking.on_terminal() else None,
            ),
            forks=self.forks,
            detail=detail,
            fingerprint=fingerprint,
            early=early,
            host_timeout=self.host_timeout,
            lock_timeout=self.lock_timeout,
            on_disconnect=self.on_disconnect.value,
            progress=progress if progress and not self.quiet else lambda _progress: None,
        )


def shared(
    topology: Any = TopologyArgument, also: tuple[type, ...] = (), **others: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the shared options: its first parameter receives them as one `Given`; `others` are spelt otherwise.

    `also` are further classes of options; a parameter for the value of each follows the first.
    A parameter of the command's own takes the place of a shared one of that name.
    typer reads a function's signature, so the wrapper is given one of the command's own parameters and the classes' fields.
    """
    groups = (Given, *also)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        hints = get_type_hints(command, include_extras=True)
        own = [p.replace(annotation=hints[p.name]) for p in list(inspect.signature(command).parameters.values())[len(groups) :]]
        ours = [_parameters(group, {"topology": topology, **others}, hints) for group in groups]

        def wrapper(**arguments: Any) -> Any:
            values = [
                group(**{parameter.name: arguments.pop(parameter.name) for parameter in parameters})
                for group, parameters in zip(groups, ours, strict=True)
            ]
            try:
                return command(*values, **arguments)
            except KeyboardInterrupt:
                # Wherever it was, it was not while hosts were being changed: that ends in an outcome of its own.
                # Here, because typer would make of it an exit that says nothing.
                hint = "see with `nsprov status` what is there"
                raise Interrupted(Diagnostic("interrupted", hint=hint)) from None

        parameters = sorted([*own, *(one for group in ours for one in group)], key=lambda parameter: parameter.kind)
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        wrapper.__doc__, wrapper.__name__ = command.__doc__, command.__name__
        return wrapper

    return decorate


def _parameters(group: Any, others: Mapping[str, Any], taken: Mapping[str, Any]) -> list[inspect.Parameter]:
    types = {**get_type_hints(group, include_extras=True), **others}
    found = [inspect.Parameter(f.name, _KEYWORD, default=f.default, annotation=types[f.name]) for f in fields(group)]
    return [parameter for parameter in found if parameter.name not in taken]


_KEYWORD = inspect.Parameter.KEYWORD_ONLY
