"""`nsprov inventory`: what an inventory says, as `ansible-inventory` shows it; what is secret is not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nsprov.cli import limits, options, targets, views
from nsprov.cli.options import Given, Output
from nsprov.errors import Diagnostic, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from nsprov.inventory import Inventory

Pattern = Annotated[str | None, typer.Argument(help="With --graph: a group, or any pattern of hosts.", metavar="[PATTERN]")]
ListOption = Annotated[bool, typer.Option("--list/--graph", help="All there is as JSON, or groups and hosts as a tree.")]
HostOption = Annotated[str | None, typer.Option("--host", help="The variables of one host, as JSON.")]
VarsOption = Annotated[bool, typer.Option("--vars", help="With --graph: variables, too.")]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("inventory")(show)


def show(  # noqa: PLR0913, PLR0917 - each is an option of the command
    pattern: Pattern = None,
    sources: options.InventoryOption = None,
    limit: options.LimitOption = None,
    everything: ListOption = False,
    host: HostOption = None,
    variables: VarsOption = False,
    topology: options.TopologyOption = None,
    output: options.OutputOption = Output.TEXT,
) -> int:
    """Show an inventory: --graph, --list or --host NAME, as ansible-inventory does; passwords and secrets as ***."""
    if everything and host is not None:
        raise InputError(Diagnostic("--list and --host cannot be shown both", hint="leave out one of them"))
    given = Given(topology=topology, inventory=sources, limit=limit, output=output)
    found = targets.load_inventory(given)
    if host is not None:
        _dump(_variables(found, _one(found, host)), output)
        return 0
    every = found.groups["all"].members
    if everything:
        _dump(_listed(found, limits.within(given, found, every)), output)
        return 0
    start = pattern if pattern is not None and pattern in found.groups else "all"
    chosen = every if pattern in (None, start) else found.names(str(pattern))
    whole = chosen is every and limit is None
    tree = _tree(found, start, None if whole else set(limits.within(given, found, chosen)), variables=variables)
    if output is Output.TEXT:
        for line in _lines(tree, 0):
            views.say(views.printable(line))
    else:
        _dump(tree, output)
    return 0


def _one(inventory: Inventory, pattern: str) -> str:
    names = inventory.names(pattern)
    if len(names) != 1:
        hint = "name one host, or use --list"
        raise InputError(Diagnostic(f'"{pattern}" is {len(names)} hosts', "--host", hint=hint))
    return names[0]


def _dump(value: Mapping[str, Any], output: Output) -> None:
    shown = _plain(value)
    if output is Output.JSONL:
        views.dump_line(shown)
    else:
        views.dump(shown)


def _plain(value: Any) -> Any:
    """Give a value as JSON has it, what is secret or encrypted as stars."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _hidden(given: Mapping[str, Any], is_secret: Callable[[str], bool]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in sorted(given.items(), key=lambda pair: str(pair[0])):
        hide = is_secret(str(name)) and value is not None and not isinstance(value, (dict, list))
        found[name] = "***" if hide else _hidden(value, is_secret) if isinstance(value, dict) else value
    return found


def _variables(inventory: Inventory, name: str) -> dict[str, Any]:
    from nsprov.inventory import IMPLICIT  # noqa: PLC0415 - for start-up: this command alone needs it
    from nsprov.inventory.words import is_secret  # noqa: PLC0415 - as above

    return _hidden(inventory.variables.get(name, IMPLICIT.variables), is_secret)


def _of_group(inventory: Inventory, name: str) -> dict[str, Any]:
    from nsprov.inventory.words import is_secret  # noqa: PLC0415 - as above

    return _hidden(inventory.groups[name].variables(), is_secret)


def _listed(inventory: Inventory, chosen: Sequence[str]) -> dict[str, Any]:
    """Give what `ansible-inventory --list` prints: the groups, and below `_meta` the variables of each host."""
    names = set(chosen)
    found: dict[str, Any] = {"_meta": {"hostvars": {name: own for name in chosen if (own := _variables(inventory, name))}}}
    for name, group in sorted(inventory.groups.items()):
        row = {
            "children": list(group.children),
            "hosts": [host for host in group.hosts if host in names] if name != "all" else [],
        }
        if any(row.values()):
            found[name] = {key: value for key, value in row.items() if value}
    return found


def _tree(inventory: Inventory, name: str, names: Collection[str] | None, *, variables: bool) -> dict[str, Any]:
    """Give a group with what is below it; with `names`, only the groups that have one of them."""
    group = inventory.groups[name]
    below = [child for child in group.children if names is None or set(names) & set(inventory.groups[child].members)]
    own = [host for host in group.hosts if name != "all" and (names is None or host in names)]
    found: dict[str, Any] = {
        "group": name,
        "children": [_tree(inventory, child, names, variables=variables) for child in below],
        "hosts": [{"host": host, **({"vars": _variables(inventory, host)} if variables else {})} for host in own],
    }
    return {**found, "vars": _of_group(inventory, name)} if variables else found


def _lines(tree: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Draw a group as `ansible-inventory --graph` does."""
    yield _branch(f"@{tree['group']}:", depth)
    for child in tree["children"]:
        yield from _lines(child, depth + 1)
    for host in tree["hosts"]:
        yield _branch(host["host"], depth + 1)
        yield from (_branch(f"{{{name} = {value}}}", depth + 2) for name, value in host.get("vars", {}).items())
    yield from (_branch(f"{{{name} = {value}}}", depth + 1) for name, value in tree.get("vars", {}).items())


def _branch(text: str, depth: int) -> str:
    return f"{'  |' * depth}--{text}" if depth else text
