"""What a plain YAML 1.2 scalar means (core schema), and what a rendered one means.

PyYAML resolves YAML 1.1, where `no` is false, `0123` is octal and `12:30:45` is a number; nothing of that holds here,
but for files of Ansible's, which were written for it: `resolve_1_1`.
"""

from __future__ import annotations

import re
from typing import Union

Scalar = Union[str, int, float, bool, None]

_WORDS: dict[str, bool | float | None] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NUMBER_STARTS = frozenset("0123456789+-.")
_LONGEST_NUMBER = 100

_WORDS_1_1: dict[str, bool] = {
    text: value
    for word, value in (("yes", True), ("no", False), ("on", True), ("off", False))
    for text in (word, word.title(), word.upper())
}
_INT_1_1 = re.compile(
    r"([-+]?)(?:(?P<b2>0b[01_]+)|(?P<b8>0[0-7_]+)|(?P<b10>0|[1-9][0-9_]*)|(?P<b16>0x[0-9a-fA-F_]+)"
    r"|(?P<b60>[1-9][0-9_]*(?::[0-5]?[0-9])+))",
    re.ASCII,
)
_FLOAT_1_1 = re.compile(r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?", re.ASCII)
_MINUTE = 60


class Pending(str):
    """A scalar that waits for a node's own `index` and `name` before it can be rendered."""

    __slots__ = ()


class Rendered(str):
    """The text that a lone `{{ expression }}` gave; where a number is asked for, it is read as YAML would."""

    __slots__ = ()


class WrittenInt(int):
    """A whole number that was written in another way than Python would, such as 0123: `text` keeps it."""

    text: str


class WrittenFloat(float):
    """A number that was written in another way than Python would, such as 1.10: `text` keeps it."""

    text: str


def resolve(text: str) -> Scalar:
    """Give the value of a plain scalar by the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS or len(text) > _LONGEST_NUMBER:
        return text
    if _INT.fullmatch(text):
        # Base 0 would refuse 0123, which is 123 in YAML 1.2.
        return _as_written(int(text, 0) if text[:2] in ("0o", "0x") else int(text), text)
    return _as_written(float(text), text) if _FLOAT.fullmatch(text) else text


def resolve_1_1(text: str) -> Scalar:
    """Give the value of a plain scalar by YAML 1.1, as PyYAML would; what would be a date stays a text."""
    if text in _WORDS_1_1:
        return _WORDS_1_1[text]
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS or len(text) > _LONGEST_NUMBER:
        return text
    whole = _INT_1_1.fullmatch(text)
    if whole is not None and (digits := text.lstrip("+-").replace("_", "")):
        value = _in_sixties(digits) if whole["b60"] else int(digits.removeprefix("0b").removeprefix("0x"), _radix(whole))
        return _as_written(-value if whole[1] == "-" else value, text)
    return _as_written(float(text.replace("_", "")), text) if _FLOAT_1_1.fullmatch(text) else text


def _radix(match: re.Match[str]) -> int:
    return int((match.lastgroup or "b10")[1:])


def _in_sixties(digits: str) -> int:
    value = 0
    for part in digits.split(":"):
        value = value * _MINUTE + int(part)
    return value


def _as_written(value: float, text: str) -> float:
    if str(value) == text:
        return value
    found = WrittenInt(value) if isinstance(value, int) else WrittenFloat(value)
    found.text = text
    return found


def written(value: object) -> object:
    """Give a scalar as the text that stands in the file, and anything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (WrittenInt, WrittenFloat)):
        return value.text
    return str(value) if isinstance(value, (int, float)) else value


def has_jinja(text: str) -> bool:
    """Tell whether a scalar holds a Jinja expression or statement."""
    return "{{" in text or "{%" in text
