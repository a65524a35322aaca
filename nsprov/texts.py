"""Texts that are more than their characters: those that nobody is shown, and those whose braces are braces."""

from __future__ import annotations

from typing import Any

_BRACES = ("{{", "{%", "{#")


class SecretText(str):
    """A text that nobody is shown: what is made of it by joining is secret too."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show stars."""
        return "'***'"


class SecretSource(SecretText):
    """A secret text as it was written: the Jinja in it is still to be filled in."""

    __slots__ = ()


class SecretInt(int):
    """A whole number that nobody is shown; it has its own digits, for texts are made of it."""


class SecretFloat(float):
    """A number that nobody is shown; it has its own digits, as above."""

    __slots__ = ()


class Unsafe(str):
    """A text that is not filled in: its braces are braces."""

    __slots__ = ()


class Sealed:
    """A value that Ansible Vault has encrypted: it is there, and what it is is not known."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        """Store the encrypted text."""
        self.text = text

    def __repr__(self) -> str:
        """Show stars."""
        return "***"


def secret(value: Any) -> Any:
    """Give a value that was encrypted, every text and number in it a secret."""
    if isinstance(value, bool):
        return value
    for plain, hidden in ((str, SecretSource), (int, SecretInt), (float, SecretFloat)):
        if isinstance(value, plain):
            return hidden(value)
    if isinstance(value, dict):
        return {key: secret(item) for key, item in value.items()}
    return [secret(item) for item in value] if isinstance(value, list) else value


def literal(value: Any) -> Any:
    """Give a value that came from elsewhere, a host or an expression, with every text in it taken as it is."""
    if isinstance(value, str):
        is_plain = isinstance(value, (SecretText, Unsafe)) or not any(brace in value for brace in _BRACES)
        return value if is_plain else Unsafe(value)
    if isinstance(value, dict):
        return {literal(key): literal(item) for key, item in value.items()}
    return type(value)(map(literal, value)) if type(value) in (list, tuple) else value
