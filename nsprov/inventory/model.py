"""What an inventory is once it is read: hosts, groups, variables, and which of them a pattern means."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from nsprov.errors import Diagnostic, InputError, NothingMatched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

LOCALHOST = "localhost"

_SHOWN = 5


class Secret:
    """A text that no message, log or traceback shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Store the text."""
        self._text = text

    def reveal(self) -> str:
        """Give the text itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        """Show stars."""
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Compare by the text."""
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        """Hash by the text."""
        return hash(self._text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A machine on which nodes can live, and how to get there.

    `underlay` is the address by which the lab's other hosts reach it; `weight` is how much of a lab it takes beside others.
    `variables` is all that the inventory says of it, as it is written there.
    """

    name: str
    address: str
    port: int | None = None
    user: str | None = None
    connection: Literal["local", "ssh"] = "ssh"
    password: Secret | None = None
    become: bool = False
    become_method: Literal["sudo", "su", "doas"] = "sudo"
    become_user: str = "root"
    become_password: Secret | None = None
    python: str | None = None
    private_key: str | None = None
    passphrase: Secret | None = None
    underlay: str | None = None
    weight: int = 1
    variables: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


IMPLICIT = Host(
    name=LOCALHOST,
    address=LOCALHOST,
    connection="local",
    variables=MappingProxyType({"ansible_connection": "local"}),
)
"""The machine that nsprov runs on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Hosts that have a name together: its own ones, and as `members` those of the groups below it, too."""

    name: str
    hosts: tuple[str, ...]
    children: tuple[str, ...]
    members: tuple[str, ...]
    priority: int
    variables: Callable[[], Mapping[str, Any]] = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """Every host by name, in the order of the files, and every group.

    `hosts` makes a host when it is first asked for: what is wrong with one that nobody uses is nobody's trouble.
    `variables` is what is said of each host, merged and as it is written.
    """

    hosts: Mapping[str, Host]
    groups: Mapping[str, Group]
    variables: Mapping[str, Mapping[str, Any]]
    path: str = ""

    def host(self, name: str) -> Host:
        """Give a host by its name; `localhost` needs no entry.

        Raises:
            NothingMatched: there is none.
            InputError: what the inventory says of it cannot be.

        """
        if name in self.hosts:
            return self.hosts[name]
        if name == LOCALHOST:
            return IMPLICIT
        raise NothingMatched(Diagnostic(f'there is no host "{name}"', self._where(), hint=self._nearest(name)))

    def select(self, pattern: str) -> tuple[Host, ...]:
        """Give the hosts that an Ansible pattern stands for: names, groups, wildcards, `~regex`, slices, `:`, `:&`, `:!`.

        Raises:
            NothingMatched: there are none, or a plain name in it is neither a host nor a group.
            InputError: the pattern is none, or what the inventory says of a host cannot be.

        """
        return self.made(self.names(pattern))

    def names(self, pattern: str) -> tuple[str, ...]:
        """Give the names of the hosts that a pattern stands for, in the pattern's order.

        Raises:
            NothingMatched: as for `select`.

        """
        if pattern in self.hosts:
            return (pattern,)
        # Start-up time: most runs name a host and use no pattern.
        from nsprov.inventory.patterns import split  # noqa: PLC0415

        return self._matched(split(pattern), pattern)

    def limited(self, names: Sequence[str], limit: str, failed: Callable[[], Sequence[str]] | None = None) -> tuple[str, ...]:
        """Give those of some hosts' names that a `--limit` leaves: a pattern, `@FILE` with one on each line, `@failed`.

        `failed` gives the names of the hosts that failed in the last run.

        Raises:
            NothingMatched: none is left.

        """
        meant = set(self.limit(limit, failed))
        found = tuple(name for name in names if name in meant)
        if not found:
            detail = f"The hosts are {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}."
            hint = "use a pattern that has one of them in it"
            raise NothingMatched(Diagnostic("the limit leaves no host", f"-l {limit}", detail, hint))
        return found

    def limit(self, limit: str, failed: Callable[[], Sequence[str]] | None = None) -> tuple[str, ...]:
        """Give the names of all hosts that a `--limit` means.

        Raises:
            NothingMatched: there are none.

        """
        from nsprov.inventory.patterns import limit_terms  # noqa: PLC0415 - start-up time, as above

        return self._matched(limit_terms(limit, {LOCALHOST, *self.hosts}, failed), limit)

    def _matched(self, terms: Sequence[str], pattern: str) -> tuple[str, ...]:
        from nsprov.inventory.patterns import matched, unknown  # noqa: PLC0415 - start-up time, as above

        for word in unknown(terms, self.hosts, self.groups):
            summary = f'no host and no group is "{word}"'
            raise NothingMatched(Diagnostic(summary, self._where(), hint=self._nearest(word)))
        found = matched(terms, self.hosts, {name: group.members for name, group in self.groups.items()})
        if not found:
            hint = "list what there is with `nsprov inventory --graph`"
            raise NothingMatched(Diagnostic(f'no host matches "{pattern}"', self._where(), hint=hint))
        return found

    def made(self, names: Iterable[str]) -> tuple[Host, ...]:
        """Give hosts by their names.

        Raises:
            NothingMatched: there is none of a name.
            InputError: what the inventory says of them cannot be, of all of them at once.

        """
        found: list[Host] = []
        wrong: list[Diagnostic] = []
        for name in names:
            try:
                found.append(self.host(name))
            except InputError as problem:  # noqa: PERF203 - a try per host is what is meant
                wrong.extend(problem.diagnostics)
        if wrong:
            raise InputError(*dict.fromkeys(wrong))
        return tuple(found)

    def _where(self) -> str:
        return self.path or "inventory"

    def _nearest(self, word: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415 - only a wrong name pays for it

        if word in ("127.0.0.1", "::1"):
            return f'use "{LOCALHOST}"'
        if word.endswith("]"):
            return f'use "~{word}": at the end of a name, brackets count the hosts of a group'
        near = get_close_matches(word, [*self.hosts, *(name for name in self.groups if name != "ungrouped"), LOCALHOST], n=1)
        return f'use "{near[0]}"' if near else "add it to the inventory, and give that with -i"


def _alone(name: str, children: tuple[str, ...] = ()) -> Group:
    own = () if children else (LOCALHOST,)
    return Group(name=name, hosts=own, children=children, members=(LOCALHOST,), priority=1, variables=dict)


ONLY_THIS = Inventory(
    hosts=MappingProxyType({LOCALHOST: IMPLICIT}),
    groups=MappingProxyType({"all": _alone("all", ("ungrouped",)), "ungrouped": _alone("ungrouped")}),
    variables=MappingProxyType({LOCALHOST: IMPLICIT.variables}),
)
"""What there is without an inventory."""
