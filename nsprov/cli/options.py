"""The options that commands share, as annotated types, and what they mean together."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from nsprov import fleet, transport

if TYPE_CHECKING:
    from collections.abc import Callable


class Output(str, Enum):
    """How results are written to stdout."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


class HostKeys(str, Enum):
    """What to do with a host key that is not known; a changed one is always refused."""

    YES = "yes"
    ACCEPT_NEW = "accept-new"
    NO = "no"


TopologyOption = Annotated[str | None, typer.Option("--topology", "-t", help="The topology file; default topology.yml.")]
TopologyArgument = Annotated[
    str | None, typer.Argument(help="The topology file; default topology.yml here or in a parent.", metavar="[TOPOLOGY]")
]
InventoryOption = Annotated[
    str | None, typer.Option("--inventory", "-i", help="The inventory file.", envvar="NSPROV_INVENTORY")
]
VariablesOption = Annotated[list[str] | None, typer.Option("--extra-vars", "-e", help="KEY=VALUE for the topology's Jinja.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to write results.", envvar="NSPROV_OUTPUT")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="List every change, however many.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
TimingOption = Annotated[bool, typer.Option("--timing", help="Say where the time went, on stderr.")]
ForksOption = Annotated[int, typer.Option("--forks", "-f", help="How many hosts to work on at a time.", min=1, max=1024)]
HostKeysOption = Annotated[
    HostKeys | None, typer.Option("--host-key-checking", help="Unknown SSH host keys; default as ssh_config says.")
]
SshConfigOption = Annotated[str | None, typer.Option("--ssh-config", "-F", help="The ssh_config file to use.")]
AskBecomeOption = Annotated[bool, typer.Option("--ask-become-pass", "-K", help="Ask for the sudo password.")]
LabOption = Annotated[str | None, typer.Option("--lab", help="The lab's name, instead of a topology file.")]


@dataclass(frozen=True)
class Given:
    """What the command line said, in one value; the fields are the options that commands share."""

    topology: TopologyArgument = None
    inventory: InventoryOption = None
    variables: VariablesOption = None
    output: OutputOption = Output.TEXT
    verbose: VerboseOption = False
    quiet: QuietOption = False
    timing: TimingOption = False
    forks: ForksOption = fleet.FORKS
    host_keys: HostKeysOption = None
    ssh_config: SshConfigOption = None
    ask_become: AskBecomeOption = False
    lab: LabOption = None

    def run_options(
        self,
        *,
        fingerprint: bool = False,
        progress: fleet.Progress | None = None,
        early: transport.Session | None = None,
    ) -> fleet.Options:
        """Give the options of a run."""
        checking: Any = self.host_keys.value if self.host_keys else None
        detail = self.verbose or self.output is not Output.TEXT or fingerprint
        return fleet.Options(
            transport=transport.Options(ssh_config=self.ssh_config, host_key_checking=checking),
            forks=self.forks,
            detail=detail,
            fingerprint=fingerprint,
            early=early,
            **({"progress": progress} if progress and not self.quiet else {}),
        )


def shared(topology: Any = TopologyArgument, **others: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the shared options: its first parameter receives them as one `Given`; `others` are spelt otherwise.

    typer reads a function's signature, so the wrapper is given one made of the command's own parameters and `Given`'s fields.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        hints = get_type_hints(command, include_extras=True)
        own = [p.replace(annotation=hints[p.name]) for p in list(inspect.signature(command).parameters.values())[1:]]
        types = {**get_type_hints(Given, include_extras=True), "topology": topology, **others}
        keyword = inspect.Parameter.KEYWORD_ONLY
        ours = [inspect.Parameter(f.name, keyword, default=f.default, annotation=types[f.name]) for f in fields(Given)]

        def wrapper(**arguments: Any) -> Any:
            given = Given(**{parameter.name: arguments.pop(parameter.name) for parameter in ours})
            return command(given, **arguments)

        parameters = sorted([*own, *ours], key=lambda parameter: parameter.kind)
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        wrapper.__doc__, wrapper.__name__ = command.__doc__, command.__name__
        return wrapper

    return decorate
