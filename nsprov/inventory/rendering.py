"""Variables that are templates: `ansible_host: "{{ inventory_hostname }}.lab"`, filled in when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from nsprov.errors import Diagnostic, InputError
from nsprov.inventory.unsealing import HINT
from nsprov.texts import Sealed, SecretText, Unsafe
from nsprov.topology.scalars import has_jinja


class Rendered(Mapping[str, Any]):
    """The variables of one host, each rendered with the others; `known` gives what Ansible adds to them, and wins."""

    def __init__(self, given: Mapping[str, Any], known: Callable[[], Mapping[str, Any]]) -> None:
        """Render nothing yet."""
        self._given = given
        self._give = known
        self._done: dict[str, Any] = {}
        self._open: set[str] = set()

    @cached_property
    def _known(self) -> Mapping[str, Any]:
        return self._give()

    def __getitem__(self, name: str) -> Any:
        """Give one variable.

        Raises:
            InputError: its template is wrong, asks for what there is not, or for itself; or it is encrypted.

        """
        if name in self._known:
            return self._known[name]
        if name not in self._done:
            value = self._given[name]
            if name in self._open:
                raise InputError(Diagnostic(f'variable "{name}" asks for itself'[:60], hint="write out one of them"))
            self._open.add(name)
            try:
                self._done[name] = self._deep(name, value)
            finally:
                self._open.discard(name)
        return self._done[name]

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter({**self._known, **self._given})

    def __len__(self) -> int:
        """Count them."""
        return len({**self._known, **self._given})

    def _deep(self, name: str, value: Any) -> Any:
        if isinstance(value, Sealed):
            raise InputError(Diagnostic(f'variable "{name}" is encrypted (Ansible Vault)'[:60], hint=HINT))
        if isinstance(value, str) and not isinstance(value, Unsafe) and has_jinja(value):
            text = self._text(value)
            return SecretText(text) if isinstance(value, SecretText) else text
        if isinstance(value, dict):
            return {key: self._deep(name, one) for key, one in value.items()}
        return [self._deep(name, one) for one in value] if isinstance(value, list) else value

    def _text(self, template: str) -> str:
        # Start-up time: jinja2 is loaded when the first template is met.
        from nsprov.render import render_scalar, variables_of  # noqa: PLC0415

        asked = {name: self[name] for name in variables_of(template) if name in self._known or name in self._given}
        return render_scalar(template, {"lookup": lookup, **asked})


def lookup(kind: str, *names: str) -> str:
    """Give environment variables, the one thing that templates of inventories may look up."""
    if kind.removeprefix("ansible.builtin.") != "env":
        hint = "write the value itself; of lookups there is only env"
        raise InputError(Diagnostic(f'there is no lookup "{kind}"'[:60], hint=hint))
    return ",".join(os.environ.get(name, "") for name in names)
