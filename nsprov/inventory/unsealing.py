"""Open what Ansible Vault has encrypted in an inventory: values and files, which are secret from there on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nsprov.errors import Diagnostic, InputError
from nsprov.texts import Sealed, SecretSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nsprov.inventory.tree import Variables
    from nsprov.vault import Password

HINT = "give --vault-password-file FILE, or --ask-vault-pass"


class Opener:
    """Decrypts with the passwords that there are; without any, what is encrypted stays so."""

    def __init__(self, passwords: Sequence[Password] = ()) -> None:
        """Store them; nothing is decrypted twice."""
        self._passwords = passwords
        self._texts: dict[str, SecretSource] = {}
        self._done: dict[int, tuple[Variables, Variables]] = {}

    def __bool__(self) -> bool:
        """Tell whether there is a password."""
        return bool(self._passwords)

    def text(self, text: str, where: str = "") -> SecretSource:
        """Decrypt a text.

        Raises:
            InputError: no password fits, or it is damaged.

        """
        # Start-up time: few inventories have something encrypted.
        from nsprov.vault import decrypt  # noqa: PLC0415

        if text not in self._texts:
            self._texts[text] = SecretSource(decrypt(text, self._passwords, where))
        return self._texts[text]

    def variables(self, sealed: Variables) -> Variables:
        """Give variables with every value decrypted; what cannot be is noted where it stands."""
        if not self:
            return sealed
        if id(sealed) not in self._done:
            self._done[id(sealed)] = (sealed, self._opened(sealed))
        return self._done[id(sealed)][1]

    def _opened(self, sealed: Variables) -> Variables:
        wrong = [*sealed.wrong]
        values = {name: self._attempt(sealed, name, value, wrong) for name, value in sealed.values.items()}
        return replace(sealed, values=values, wrong=wrong)

    def _attempt(self, sealed: Variables, name: str, value: Any, wrong: list[Diagnostic]) -> Any:
        try:
            return self._value(value)
        except InputError as problem:
            found = problem.diagnostics[0]
            hint, place = found.hint or "encrypt it anew", sealed.places.get(name)
            where = "" if place is None else place.diagnose("", "").where
            wrong.append(Diagnostic(found.summary, where, found.detail, hint))
            return value

    def _value(self, value: Any) -> Any:
        if isinstance(value, Sealed):
            return self.text(value.text)
        if isinstance(value, dict):
            return {key: self._value(item) for key, item in value.items()}
        return [self._value(item) for item in value] if isinstance(value, list) else value
